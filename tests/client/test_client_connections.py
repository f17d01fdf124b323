"""How a connection of `AsyncClient` begins, is lost and comes back, and what that is for calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aiorest_ws import SimpleRouter
from aiorest_ws.client import AsyncClient, ClientClosed, ConnectionLost, HandshakeRefused, State
from aiorest_ws.client.connecting import Connector
from aiorest_ws.client.reconnecting import Backoff, is_final
from aiorest_ws.client.wire import Wire
from tests.kit.cuts import Line, line_to
from tests.kit.peers import Peer, peer
from tests.kit.systems import needs_posix
from tests.serving import Certificate, Gates, asynchronous, client_context, gated_router, serving, until

KEY = "a-key-of-16-bytes"
QUICK: dict[str, Any] = {"backoff": (0.0, 0.01)}


def router_of(gates: Gates) -> SimpleRouter:
    router = gated_router(gates)
    router.post("/wait/{name}")(lambda request, name: gates.wait(name))

    @router.get("/headers/{name}")
    def header(request: Any, name: str) -> str | None:
        value: str | None = request.connection.headers.get(name)
        return value

    return router


@asynccontextmanager
async def over_a_line(gates: Gates | None = None, **options: Any) -> AsyncIterator[tuple[AsyncClient, Line]]:
    """Give a client, and the line between it and a server."""
    async with (
        serving(router_of(gates if gates is not None else Gates())) as app,
        line_to(app.addresses[0]) as line,
        AsyncClient(f"ws://127.0.0.1:{line.port}", **(QUICK | options)) as api,
    ):
        yield api, line


# Its beginning


@asynchronous
async def test_a_first_connection_that_cannot_be_had_is_raised() -> None:
    async with line_to(("127.0.0.1", 9)) as line:
        for url in (f"ws://127.0.0.1:{line.port}", "ws://127.0.0.1:9"):
            with pytest.raises(ConnectionLost, match=f"no connection to {url}: ") as caught:
                async with AsyncClient(url):
                    pass
            assert isinstance(caught.value, ConnectionError)
            assert not caught.value.may_have_run


@asynchronous
async def test_a_server_that_says_nothing_is_left_in_time() -> None:
    async with serving(router_of(Gates())) as app, line_to(app.addresses[0]) as line:
        line.hold()
        with pytest.raises(ConnectionLost, match=r"no connection to ws://[\d.:]+ within 0\.05 s"):
            async with AsyncClient(f"ws://127.0.0.1:{line.port}", connect_timeout=0.05):
                pass


@pytest.mark.parametrize("status", [400, 401, 403, 404, 426, 500, 503])
@asynchronous
async def test_a_handshake_that_is_refused_has_its_status(status: int) -> None:
    async with peer(status) as script:
        with pytest.raises(HandshakeRefused, match=f"refuses the connection: {status} refused with {status}") as caught:
            async with AsyncClient(script.url):
                pass
        assert (caught.value.status, caught.value.detail) == (status, f"refused with {status}")


@asynchronous
async def test_a_page_of_html_is_called_so() -> None:
    page = b"<!DOCTYPE html><html>" + b"x" * 1000

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(page) + page)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(HandshakeRefused, match="200 a page of HTML: is it the url of a server of aiorest-ws"):
            async with AsyncClient(f"ws://127.0.0.1:{port}"):
                pass


@asynchronous
async def test_a_server_of_another_protocol_is_no_connection() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.com ESMTP\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectionLost, match="no connection to"):
            async with AsyncClient(f"ws://127.0.0.1:{port}"):
                pass


@asynchronous
async def test_headers_and_token_go_with_the_handshake() -> None:
    async with serving(router_of(Gates())) as app:
        url = f"ws://127.0.0.1:{app.addresses[0][1]}"
        async with AsyncClient(url, token="a.b.c", headers={"X-Tenant": "5"}) as api:
            assert await api.get("/headers/authorization") == "Bearer a.b.c"
            assert await api.get("/headers/x-tenant") == "5"
            assert (await api.get("/headers/user-agent")).startswith("aiorest-ws/")
        async with AsyncClient(url, token="a.b.c", headers=[("Authorization", "Basic x")]) as api:
            assert await api.get("/headers/authorization") == "Basic x"


@needs_posix
@asynchronous
async def test_a_unix_socket(tmp_path: Path) -> None:
    async with serving(router_of(Gates()), unix_path=tmp_path / "s"), AsyncClient(f"unix:{tmp_path / 's'}") as api:
        assert await api.get("/hello") == "Hello, world!"
    with pytest.raises(ConnectionLost, match="No such file or directory"):
        async with AsyncClient(f"unix:{tmp_path / 'nowhere'}"):
            pass


@asynchronous
async def test_tls(certificate: Certificate) -> None:
    async with serving(router_of(Gates()), **certificate.options) as app:
        url = f"wss://127.0.0.1:{app.addresses[0][1]}"
        async with AsyncClient(url, ssl_context=client_context(certificate)) as api:
            assert await api.get("/hello") == "Hello, world!"
        with pytest.raises(ConnectionLost, match="self-signed certificate"):
            async with AsyncClient(url):
                pass


@asynchronous
async def test_tls_where_there_is_none_is_told_with_the_url_that_is_meant() -> None:
    async with serving(router_of(Gates())) as app:
        place = f"127.0.0.1:{app.addresses[0][1]}"
        with pytest.raises(ConnectionLost) as caught:
            async with AsyncClient(f"wss://{place}/x"):
                pass
    assert str(caught.value).startswith(f"no connection to wss://{place}/x: no TLS there (")
    assert str(caught.value).endswith(f"), did you mean ws://{place}/x?")
    assert "permitted" not in str(caught.value)


# It is lost


@asynchronous
async def test_calls_under_way_say_whether_they_may_have_run() -> None:
    gates = Gates()
    async with over_a_line(gates, max_in_flight=1) as (api, line):
        asked = asyncio.create_task(api.post("/wait/a"))
        await gates.until_started("a")
        waiting = asyncio.create_task(api.post("/wait/b"))
        await asyncio.sleep(0)
        line.cut()
        for call, may_have_run, said in ((asked, True, "it may have run"), (waiting, False, "it was not sent")):
            with pytest.raises(ConnectionLost, match=said) as caught:
                await call
            assert caught.value.may_have_run is may_have_run
        assert await api.get("/hello") == "Hello, world!"
        assert gates.started == ["a"]


@asynchronous
async def test_of_what_waits_a_get_is_asked_on_the_next_connection() -> None:
    gates = Gates()
    async with over_a_line(gates, max_in_flight=1) as (api, line):
        asked = asyncio.create_task(api.get("/wait/a"))
        await gates.until_started("a")
        waiting = asyncio.create_task(api.get("/hello"))
        await asyncio.sleep(0)
        line.cut()
        with pytest.raises(ConnectionLost, match="it may have run"):
            await asked
        assert await waiting == "Hello, world!"
        assert line.connections == 2


@asynchronous
async def test_while_it_is_away_a_get_waits_and_a_write_fails_at_once() -> None:
    async with over_a_line(backoff=(3600, 3600), queue=2) as (api, line):
        line.cut()
        await until(lambda: api.status == "offline")
        waiting = [asyncio.create_task(api.get("/hello", timeout=0.05)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(ConnectionLost, match="it was not sent, and only GET waits for the next connection"):
            await api.post("/wait/a")
        with pytest.raises(ConnectionLost, match="it was not sent, as 2 calls wait already"):
            await api.get("/hello")
        for call in waiting:
            with pytest.raises(TimeoutError, match=r"no reply within 0\.05 s: it was not sent, the connection to"):
                await call


@asynchronous
async def test_a_write_with_a_key_waits_and_is_sent_again() -> None:
    """Its server knows by the key that it is the same."""
    keys: list[str] = []

    async def drop(connection: Peer) -> None:
        keys.append((await connection.take())["idempotency_key"])
        connection.abort()

    async def answer(connection: Peer) -> None:
        keys.append((await connection.answer("done"))["idempotency_key"])

    async with peer(drop, answer) as script, AsyncClient(script.url, **QUICK) as api:
        assert await api.post("/pay", data=5, idempotency_key=KEY) == "done"
    assert keys == [KEY, KEY]


@asynchronous
async def test_it_says_how_it_stands() -> None:
    async with over_a_line() as (api, line):
        states = api.statuses()
        line.cut()
        await until(lambda: line.connections == 2)
        await api.get("/hello")
        await api.close()
        seen = [state async for state in states]
    assert [state.status for state in seen] == ["open", "offline", "open", "closed"]
    assert isinstance(seen[1].reason, ConnectionLost)
    assert seen[1].retry_in is not None
    assert isinstance(seen[3].reason, ClientClosed)
    assert [state async for state in api.statuses()] == [State("closed", seen[3].reason)]


@asynchronous
async def test_a_server_that_hears_nothing_any_more_is_left() -> None:
    """The line is up, and swallows all; a PING is not answered."""
    async with over_a_line(ping_after=0.05, dead_after=0.05) as (api, line):
        states = api.statuses()
        assert (await anext(states)).status == "open"
        line.swallow()
        lost = await anext(states)
        assert str(lost.reason) == "nothing was heard for 0.1 s, a PING was not answered"
        line.flow()
        assert await api.get("/hello") == "Hello, world!"
        assert line.connections == 2


@asynchronous
async def test_a_server_that_answers_pings_is_alive() -> None:
    async def talk(connection: Peer) -> None:
        await connection.answer("late")

    async with peer(talk) as script, AsyncClient(script.url, ping_after=0.01, dead_after=5) as api:
        states = api.statuses()
        await anext(states)
        wire = api._link.connector.wire
        assert wire is not None
        heard = wire.heard
        await until(lambda: wire.heard > heard)
        assert await api.get("/x") == "late"
        assert api.status == "open"


@asynchronous
async def test_the_clock_stands_still_while_the_server_has_all_that_it_takes() -> None:
    """A server that is busy reads nothing, and no PING either."""
    gates = Gates()
    async with over_a_line(gates, ping_after=0.02, dead_after=0.02, max_in_flight=1) as (api, line):
        call = asyncio.create_task(api.get("/wait/a"))
        await gates.until_started("a")
        line.hold()
        with pytest.raises(TimeoutError):
            await api.get("/hello", timeout=0.3)
        line.flow()
        gates.open("a")
        assert await call == "a"
        assert line.connections == 1


@pytest.mark.parametrize("code", [1000, 1001, 1009, 1011, 1012, 1013, 3000, 4408, 4500])
@asynchronous
async def test_it_comes_back_after_a_close(code: int) -> None:
    async def close(connection: Peer) -> None:
        await connection.close(code, "why")

    async with peer(close, _answers) as script, AsyncClient(script.url, **QUICK) as api:
        assert await api.get("/x") == "well"


@pytest.mark.parametrize("code", [1008, 4400, 4401, 4403])
@asynchronous
async def test_it_does_not_come_back_after_a_close_that_would_be_repeated(code: int) -> None:
    async with peer(lambda connection: connection.close(code, "why")) as script:
        async with AsyncClient(script.url, **QUICK) as api:
            states = [state async for state in api.statuses()]
            assert states[-1].status == "closed"
            for ask in (api.get("/x"), api.connect()):
                with pytest.raises(ConnectionLost, match=f"closed the connection: {code} why") as caught:
                    await ask
                assert caught.value.code == code
        assert len(script.tokens) == 1


async def _answers(connection: Peer) -> None:
    await connection.answer("well")


@asynchronous
async def test_a_message_that_is_too_large_ends_the_connection() -> None:
    async def talk(connection: Peer) -> None:
        await connection.answer("x" * 2000)

    async with peer(talk, _answers) as script, AsyncClient(script.url, max_size=1000, **QUICK) as api:
        with pytest.raises(ConnectionLost, match="was closed here: 1009") as caught:
            await api.get("/x")
        assert caught.value.may_have_run
        assert await api.get("/x") == "well"


@asynchronous
async def test_what_stands_before_a_server_may_say_404_while_it_is_replaced() -> None:
    async with peer(lambda connection: connection.close(1012), 404, 502, _answers) as script:
        async with AsyncClient(script.url, **QUICK) as api:
            assert await api.get("/x") == "well"
        assert len(script.tokens) == 4


@pytest.mark.parametrize("status", [401, 403])
@asynchronous
async def test_who_is_not_let_in_any_more_does_not_come_back(status: int) -> None:
    async with peer(lambda connection: connection.close(1012), status) as script:
        async with AsyncClient(script.url, **QUICK) as api:
            with pytest.raises(HandshakeRefused) as caught:
                await api.get("/x")
            assert caught.value.status == status
        assert len(script.tokens) == 2


async def in_state(state: str, api: AsyncClient, line: Line, token_is_asked: asyncio.Event) -> None:
    """Bring a client to a state."""
    if state == "never used":
        return
    if state == "connects":
        line.hold()
    if state in ("open", "waits", "connects again", "closed"):
        await api.connect()
    else:
        api.events()  # begins to connect
    if state == "waits for a token":
        await token_is_asked.wait()
    elif state == "connects":
        await until(lambda: line.connections == 1)
    elif state in ("waits", "connects again"):
        line.hold()
        line.cut()
        await until(lambda: api.status == "offline")
    if state == "connects again":
        again = asyncio.create_task(api.reconnect())
        await until(lambda: line.connections == 2)
        again.cancel()
    elif state == "closed":
        await api.close()


STATES = ("never used", "waits for a token", "connects", "open", "waits", "connects again", "closed")


@pytest.mark.parametrize("state", STATES)
@asynchronous
async def test_closing_in_each_state_and_use_after_it(state: str) -> None:
    token_is_asked = asyncio.Event()

    async def token() -> str:
        token_is_asked.set()
        return await asyncio.Future()

    gates = Gates()
    async with serving(router_of(gates)) as app, line_to(app.addresses[0]) as line:
        tasks = asyncio.all_tasks()
        given = {"token": token} if state == "waits for a token" else {}
        api = AsyncClient(f"ws://127.0.0.1:{line.port}", backoff=(3600, 3600), **given)  # type: ignore[arg-type]
        await in_state(state, api, line, token_is_asked)
        is_used = state not in ("never used", "closed")
        calls = [asyncio.create_task(call) for call in (api.get("/wait/a"), api.connect())] if is_used else []
        opened: list[Any] = [api.subscribe("/x"), api.events(), api.statuses()] if is_used else []
        await asyncio.sleep(0)
        await asyncio.gather(api.close(), api.close())
        await api.close()
        assert api.status == "closed"
        for call in calls:
            outcome = (await asyncio.gather(call, return_exceptions=True))[0]
            assert isinstance(outcome, ClientClosed) or (state == "open" and outcome is None)
        for each in opened:
            assert [one async for one in each][1:] in ([], [State("closed", api._link.connector.state.reason)])
        uses = (api.connect, api.reconnect, lambda: api.get("/hello"), lambda: api.sign_in("t"), api.__aenter__)
        for use in uses:
            with pytest.raises(ClientClosed):
                await use()
        for begin in (lambda: api.subscribe("/x"), api.events):
            with pytest.raises(ClientClosed):
                begin()
        line.flow()
        gates.open("a")
        await until(lambda: all("SpareTask" in repr(task) for task in asyncio.all_tasks() - tasks))  # the server's own
        assert line.connections == {"never used": 0, "waits for a token": 0, "connects again": 2}.get(state, 1)


# How long it waits


def test_waits_are_a_part_of_a_bound_that_doubles_and_a_long_life_ends_that() -> None:
    bounds: list[tuple[float, float]] = []

    def jitter(low: float, high: float) -> float:
        bounds.append((low, high))
        return high

    backoff = Backoff(0.5, 20.0, jitter)
    assert [backoff.after(life) for life in (0, 1, 29.9, 5, 5, 5, 5, 30, 0)] == [0.5, 1, 2, 4, 8, 16, 20, 0.5, 1]
    assert {low for low, _ in bounds} == {0}
    assert backoff.after(0, 1.5) == 2 + 1.5
    assert backoff.after(0, 1e300) == 4 + 600
    for _ in range(2000):
        assert backoff.after(0) <= 20


def test_waits_are_spread_over_all_of_the_bound() -> None:
    backoff = Backoff(20.0, 20.0)
    waits = [backoff.after(0) for _ in range(1000)]
    assert min(waits) < 2
    assert max(waits) > 18


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_what_passes_is_not_for_good(status: int) -> None:
    assert not is_final(HandshakeRefused("no", status), was_open=False)


@asynchronous
async def test_nothing_grows_with_the_connections_that_were_lost() -> None:
    """Others' clients leave a task behind each of them, or subscribe twice as often."""
    asked: list[list[str]] = []

    async def talk(connection: Peer) -> None:
        urls: list[str] = []
        asked.append(urls)
        while set(urls) != {"/x", "/y"}:
            urls.append((await connection.answer(1, topic=f"/{len(urls)}", version="e.1.d"))["url"])
        connection.abort()

    async with peer(talk) as script, AsyncClient(script.url, **QUICK) as api:
        kept = [api.subscribe("/x"), api.subscribe("/y")]
        tasks = []
        while len(asked) < 20:
            seen = len(asked)
            await until(lambda: len(asked) > seen)  # noqa: B023
            tasks.append(len(asyncio.all_tasks()))
        assert len(kept) == 2
        assert max(tasks[5:]) <= max(tasks[:5])
    assert {len(urls) for urls in asked[:-1]} == {2}


@asynchronous
async def test_another_connection_can_be_asked_for() -> None:
    gates = Gates()
    async with over_a_line(gates, backoff=(3600, 3600)) as (api, line):
        call = asyncio.create_task(api.get("/wait/a"))
        await gates.until_started("a")
        await api.reconnect()
        with pytest.raises(ConnectionLost, match="another connection was asked for: it may have run"):
            await call
        line.cut()
        await until(lambda: api.status == "offline")
        waiting = asyncio.create_task(api.get("/hello"))
        await asyncio.gather(api.reconnect(), api.reconnect())
        assert await waiting == "Hello, world!"
        await api.close()
        with pytest.raises(ClientClosed):
            await api.reconnect()


@asynchronous
async def test_what_was_asked_for_is_no_reason_to_come_back_from_a_close_for_good() -> None:
    async def talk(connection: Peer) -> None:
        await connection.answer("well")
        await connection.close(1008)

    async with peer(talk) as script, AsyncClient(script.url, **QUICK) as api:
        await api.reconnect()
        assert await api.get("/x") == "well"
        await until(lambda: api.status == "closed")
        assert len(script.tokens) == 2


@asynchronous
async def test_what_is_done_at_a_loss_has_no_part_in_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, pauses, ends = asyncio.get_running_loop(), [], []
    close, pause = Wire.close, Connector._pause

    async def slow(self: Wire, *args: Any) -> None:
        began = loop.time()
        await until(lambda: loop.time() > began)
        await close(self, *args)

    async def noted(self: Connector, due: float) -> None:
        pauses.append(due)
        await pause(self, due)

    monkeypatch.setattr(Wire, "close", slow)
    monkeypatch.setattr(Connector, "_pause", noted)
    async with over_a_line() as (api, line), api.statuses() as states:
        assert (await anext(states)).status == "open"
        ends.append(loop.time())
        line.cut()
        state = await anext(states)
        assert state.retry_in is not None
        ends.append(loop.time() + state.retry_in)
        await until(lambda: api.status == "open")
        assert ends[0] <= pauses[0] <= ends[1]


@asynchronous
async def test_the_server_may_say_when_to_come_back() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        api = AsyncClient(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", **QUICK)
        states = api.statuses()
        with pytest.raises(HandshakeRefused, match="503 Busy"):
            await api.connect()
        assert (await anext(states)).status == "connecting"
        state = await anext(states)
        assert state.retry_in is not None
        assert 7 <= state.retry_in < 7.1
        await api.close()


class Jumping(asyncio.SelectorEventLoop):
    """A loop whose clock jumps, as where a computer has slept."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


def test_a_computer_that_has_slept_asks_first_whether_the_server_is_there() -> None:
    async def main() -> None:
        async with over_a_line() as (api, line):
            states = api.statuses()
            assert (await anext(states)).status == "open"
            for _ in range(3):
                loop.ahead += 3600.0
                assert await api.get("/hello") == "Hello, world!"
            assert api.status == "open"
            assert line.connections == 1

    loop = Jumping()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(asyncio.wait_for(main(), None))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("ws://ada:secret@127.0.0.1:9/api?token=secret", "ws://127.0.0.1:9/api"),
        ("ws://127.0.0.1:9?token=secret", "ws://127.0.0.1:9"),
        ("ws://127.0.0.1:9/a@b/c//d", "ws://127.0.0.1:9/a@b/c//d"),
        ("unix:/nowhere/s", "unix:/nowhere/s"),
    ],
)
@asynchronous
async def test_no_error_has_what_may_be_a_secret_in_a_url(url: str, shown: str) -> None:
    with pytest.raises(ConnectionLost) as caught:
        async with AsyncClient(url):
            pass
    assert str(caught.value).startswith(f"no connection to {shown}: ")
    assert "secret" not in str(caught.value)
