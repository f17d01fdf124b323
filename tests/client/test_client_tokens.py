"""Tokens of `AsyncClient`: asked for before they expire, once when they are refused, and forgotten with their user."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from aiorest_ws import HTTPError, SimpleRouter
from aiorest_ws.auth.token.managers import JSONWebTokenManager
from aiorest_ws.auth.token.middlewares import JSONWebTokenMiddleware
from aiorest_ws.client import AsyncClient, ConnectionLost, HandshakeRefused, Unauthorized
from aiorest_ws.client.tokens import Tokens, claims_of
from tests.kit.peers import Peer, peer
from tests.serving import asynchronous, serving, turn_over, until

QUICK: dict[str, Any] = {"backoff": (0.0, 0.01)}
MANAGER = JSONWebTokenManager(secret_key=secrets.token_bytes(32))


def token_of(name: str = "ada", exp: int = 300) -> str:
    return MANAGER.generate({}, sub=name, exp=exp)


class Issuer:
    """A function that gives tokens, one after the other; the last one again and again."""

    def __init__(self, *tokens: Any) -> None:
        self.tokens = list(tokens)
        self.asked = 0

    def __call__(self) -> Any:
        self.asked += 1
        token = self.tokens.pop(0) if len(self.tokens) > 1 else self.tokens[0]
        if isinstance(token, Exception):
            raise token
        return token

    async def later(self) -> Any:
        await asyncio.sleep(0)
        return self()


@asynccontextmanager
async def a_server(revoked: set[str] | None = None, **options: Any) -> AsyncIterator[str]:
    gone = revoked if revoked is not None else set()

    class Middleware(JSONWebTokenMiddleware):
        manager = MANAGER

        def is_revoked(self, payload: Any) -> bool:
            return payload["sub"] in gone

    router = SimpleRouter()

    @router.get("/me", auth_required=True)
    def me(request: Any) -> str:
        return str(request.user.id)

    @router.get("/mine", live=True, auth_required=True)
    def mine(request: Any) -> str:
        return str(request.user.id)

    @router.get("/no", auth_required=True)
    def no(request: Any) -> None:
        raise HTTPError(401, "not you")

    async with serving(router, middlewares=[Middleware(**options)]) as app:
        yield f"ws://127.0.0.1:{app.addresses[0][1]}"


@asynchronous
async def test_a_token_is_a_string_or_what_a_function_gives() -> None:
    issuer = Issuer(token_of())
    async with a_server() as url:
        for token in (token_of(), issuer, issuer.later, token_of):
            async with AsyncClient(url, token=token) as api:
                assert await api.get("/me") == "ada"
        async with AsyncClient(url) as api:
            with pytest.raises(Unauthorized):
                await api.get("/me")
    assert issuer.asked == 2


@asynchronous
async def test_a_token_that_is_refused_at_the_handshake_is_asked_for_once_more() -> None:
    issuer = Issuer("not.a.token", token_of())
    async with a_server() as url, AsyncClient(url, token=issuer) as api:
        assert await api.get("/me") == "ada"
    assert issuer.asked == 2


@pytest.mark.parametrize("refuse", ["http", "close"])
@pytest.mark.parametrize("tokens", [["not.a.token"], ["not.a.token", "nor.is.this", "a.b.c"]])
@asynchronous
async def test_tokens_that_are_refused_again_end_it(tokens: list[str], refuse: Any) -> None:
    issuer = Issuer(*tokens)
    async with a_server(refuse=refuse) as url:
        api = AsyncClient(url, token=issuer, **QUICK)
        with pytest.raises(ConnectionLost) as caught:
            await api.get("/me")
        await until(lambda: api.status == "closed")
        assert isinstance(caught.value, HandshakeRefused) is (refuse == "http")
        assert (getattr(caught.value, "status", None) or caught.value.code) in (401, 4401)
        assert api.status == "closed"
        assert issuer.asked == 2
        await api.close()


@asynchronous
async def test_a_fixed_token_that_is_refused_ends_it() -> None:
    async with a_server() as url:
        with pytest.raises(HandshakeRefused, match="401") as caught:
            async with AsyncClient(url, token="not.a.token"):
                pass
        assert caught.value.status == 401


@asynchronous
async def test_a_call_that_is_refused_is_made_once_more_with_another_token() -> None:
    tokens = []

    async def talk(connection: Peer) -> None:
        tokens.append((await connection.answer(status=401, detail="expired")).get("token"))
        while True:
            tokens.append((await connection.answer("well")).get("token"))

    issuer = Issuer("one", "two")
    async with peer(talk) as script, AsyncClient(script.url, token=issuer) as api:
        assert await api.post("/x") == "well"
        assert await api.post("/x") == "well"
    assert script.tokens == ["Bearer one"]
    assert tokens == [None, "two", "two"]
    assert issuer.asked == 2


@asynchronous
async def test_many_that_are_refused_at_once_ask_for_one_token() -> None:
    async def talk(connection: Peer) -> None:
        messages = [await connection.take() for _ in range(20)]
        await connection.say(*({"id": each["id"], "status": 401, "detail": "no"} for each in messages))
        while True:
            await connection.answer("well")

    issuer = Issuer("one", "two")
    async with peer(talk) as script, AsyncClient(script.url, token=issuer.later) as api:
        assert await asyncio.gather(*(api.get("/x") for _ in range(20))) == ["well"] * 20
    assert issuer.asked == 2


@asynchronous
async def test_a_call_that_is_refused_again_is_raised() -> None:
    issuer = Issuer(token_of())
    async with a_server() as url, AsyncClient(url, token=issuer) as api:
        for asked in (2, 3):
            with pytest.raises(Unauthorized, match="401: not you"):
                await api.get("/no")
            assert issuer.asked == asked


@asynchronous
async def test_a_token_is_renewed_before_it_expires_for_subscriptions_too() -> None:
    issuer = Issuer(token_of(exp=2), token_of(exp=300))
    async with a_server(grace=0) as url, AsyncClient(url, token=issuer) as api:
        states = api.statuses()
        changes = api.subscribe("/mine")
        assert (await anext(changes)).data == "ada"
        await until(lambda: issuer.asked == 2)
        assert await api.get("/me") == "ada"
        assert (await anext(states)).status == "open"
        assert changes.status == "live"


@asynchronous
async def test_a_function_that_fails_at_first_is_raised_and_later_said_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def talk(connection: Peer) -> None:
        await connection.answer(status=401, detail="expired")
        await connection.close(1012)

    async def again(connection: Peer) -> None:
        await connection.answer("well")

    async with peer(talk, again) as script:
        with pytest.raises(ZeroDivisionError):
            async with AsyncClient(script.url, token=lambda: 1 // 0):  # type: ignore[arg-type, return-value]
                pass
        with pytest.raises(TypeError, match="must give a str or None, got int"):
            async with AsyncClient(script.url, token=lambda: 5):  # type: ignore[arg-type, return-value]
                pass
        api = AsyncClient(script.url, token=lambda: 1 // 0)  # type: ignore[arg-type, return-value]
        with pytest.raises(
            ConnectionLost, match=r"the client has ended: ZeroDivisionError\("
        ):  # not as if it was closed
            await anext(api.subscribe("/x"))
        await api.close()
        issuer = Issuer("one", OSError("no network"), "two")
        async with AsyncClient(script.url, token=issuer, **QUICK) as api:
            with pytest.raises(Unauthorized, match="expired"):
                await api.get("/x")
            await until(lambda: len(script.tokens) == 2)  # as many connections
            assert await api.get("/x") == "well"
    assert "the function of token= raised OSError('no network')" in caplog.text


@asynchronous
async def test_a_function_that_is_not_async_gives_its_token_in_the_same_turn_of_the_loop() -> None:
    """A connection that comes back does not wait for others that do, too."""
    asking = Tokens(lambda: "one", 1.0).current()
    with pytest.raises(StopIteration) as done:
        asking.send(None)
    assert done.value.value == "one"


@pytest.mark.parametrize("kind", ["async", "plain"])
@asynchronous
async def test_a_token_that_expires_during_a_wait_is_asked_for_meanwhile(kind: str) -> None:
    async def talk(connection: Peer) -> None:
        await connection.answer("well")
        connection.abort()

    issuer = Issuer(token_of(exp=60), OSError("no network"))
    token = issuer.later if kind == "async" else issuer
    async with peer(talk) as script, AsyncClient(script.url, token=token, backoff=(1e9, 1e9)) as api:
        assert await api.get("/x") == "well"
        await until(lambda: issuer.asked == 2)
        assert api.status == "offline"
        assert len(script.tokens) == 1


@asynchronous
async def test_another_user_has_another_connection_and_nothing_of_the_first() -> None:
    async with a_server() as url, AsyncClient(url, token=token_of("ada")) as api:
        changes = api.subscribe("/mine")
        assert (await anext(changes)).data == "ada"
        await api.sign_in(token_of("bob"))
        assert await api.get("/me") == "bob"
        assert (await anext(changes)).data == "bob"
        await api.sign_in(None)
        with pytest.raises(Unauthorized):
            await anext(changes)
        with pytest.raises(Unauthorized):
            await api.get("/me")


@asynchronous
async def test_what_was_not_read_is_not_told_to_another_user() -> None:
    async def talk(connection: Peer) -> None:
        await connection.answer([1], topic="/log", version="e.1")
        await connection.say(
            {"event_name": "/log", "version": "e.2", "data": 2}, {"event_name": "news", "data": "ada's"}
        )
        await connection.answer("read")
        await connection.gone()

    async def talk_to_bob(connection: Peer) -> None:
        await connection.gone()

    async with peer(talk, talk_to_bob) as script, AsyncClient(script.url, token="ada", **QUICK) as api:
        changes, events = api.subscribe("/log"), api.events()
        assert await api.get("/x") == "read"
        await api.sign_in("bob")
        readers = [asyncio.ensure_future(anext(each)) for each in (changes, events)]
        await turn_over()
        assert not any(reader.done() for reader in readers)
        for reader in readers:
            reader.cancel()
        await asyncio.wait(readers)


@asynchronous
async def test_what_one_user_has_asked_is_not_asked_as_another() -> None:
    seen = []

    async def talk(connection: Peer) -> None:
        while True:
            seen.append((connection.authorization, (await connection.take())["url"]))

    async def bobs(connection: Peer) -> None:
        while True:
            seen.append((connection.authorization, (await connection.answer("well"))["url"]))

    async with peer(talk, bobs) as script, AsyncClient(script.url, token="ada", max_in_flight=1) as api:
        calls = [asyncio.create_task(api.get(f"/{n}")) for n in range(3)]
        await until(lambda: bool(seen))
        await api.sign_in("bob")
        for call in calls:
            with pytest.raises(ConnectionLost, match="the user has changed"):
                await call
        assert await api.get("/bobs") == "well"
    assert seen == [("Bearer ada", "/0"), ("Bearer bob", "/bobs")]


@asynchronous
async def test_a_since_of_one_user_is_not_told_to_another() -> None:
    asked = []

    async def talk(connection: Peer) -> None:
        asked.append((await connection.answer(1, topic="/x", version="e.1.d")).get("since"))

    async with peer(talk) as script, AsyncClient(script.url, token="ada", **QUICK) as api:
        changes = api.subscribe("/x")
        await anext(changes)
        await api.sign_in("bob")
        await anext(changes)
    assert asked == [None, None]


@asynchronous
async def test_a_token_of_another_subject_is_another_user() -> None:
    """A function that gives one says so by it."""
    issuer = Issuer(token_of("ada"), token_of("bob"))
    asked = []

    async def first(connection: Peer) -> None:
        asked.append((await connection.answer("of ada", topic="/x", version="e.1.d")).get("since"))
        await connection.answer(status=401, detail="expired")

    async def second(connection: Peer) -> None:
        await connection.answer("well")  # it was asked before there was another user
        asked.append((await connection.answer("of bob", topic="/x", version="e.1.d")).get("since"))

    async with peer(first, second) as script, AsyncClient(script.url, token=issuer, **QUICK) as api:
        changes = api.subscribe("/x")
        assert (await anext(changes)).data == "of ada"
        assert await api.get("/x") == "well"
        assert (await anext(changes)).data == "of bob"
    assert asked == [None, None]


@asynchronous
async def test_a_subscription_that_is_refused_asks_for_one_other_token() -> None:
    async def talk(connection: Peer) -> None:
        await connection.answer(1, topic="/x", version="e.1.d")
        await connection.say({"event_name": "/x", "status": 401, "detail": "expired"})
        message = await connection.answer(2, topic="/x", version="e.2.d")
        assert message["token"] == "two"
        await connection.say({"event_name": "/x", "status": 401, "detail": "expired"})

    issuer = Issuer("one", "two", "three")
    async with peer(talk) as script, AsyncClient(script.url, token=issuer) as api:
        changes = api.subscribe("/x")
        with pytest.raises(Unauthorized):
            await _read_all(changes)
    assert issuer.asked == 2


async def _read_all(changes: Any) -> None:
    async for _ in changes:
        pass


# When it is due


async def due_after(exp: float) -> float | None:
    """Give after how many seconds a token that expires in so many is asked for anew."""
    tokens = Tokens(lambda: token_with(exp=time.time() + exp), 1.0)
    await tokens.current()
    return None if tokens.due is None else tokens.due - asyncio.get_running_loop().time()


def token_with(**claims: Any) -> str:
    import base64
    import json

    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{body}.x"


@pytest.mark.parametrize(
    ("exp", "due"), [(10**9, 86370), (3600, 3570), (61, 31), (60, 30), (10, 5), (0, None), (-3600, None)]
)
@asynchronous
async def test_a_token_is_due_half_a_minute_before_it_expires_and_one_that_is_over_is_used(exp: int, due: Any) -> None:
    """What seems to be over by a clock that is wrong, is: else it would be asked for with each call."""
    found = await due_after(exp)
    assert found == due if due is None else found == pytest.approx(due, abs=1)


@pytest.mark.parametrize("jump", [-86400, 86400, 10**10])
@asynchronous
async def test_a_clock_that_jumps_changes_nothing(jump: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a token was taken its time is counted by the clock of the loop, which nobody sets."""
    issuer = Issuer(token_of())

    async def talk(connection: Peer) -> None:
        for number in (1, 2):
            await connection.answer(number)
        await connection.close(1012)

    async def talk_again(connection: Peer) -> None:
        await connection.answer(3)
        await connection.gone()

    async with peer(talk, talk_again) as script, AsyncClient(script.url, token=issuer, **QUICK) as api:
        assert await api.get("/x") == 1
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() + jump)
        assert await api.get("/x") == 2
        await until(lambda: len(script.tokens) == 2)
        assert await api.get("/x") == 3
        assert issuer.asked == 1


@pytest.mark.parametrize(
    "token", ["", "opaque", "a.b.c", "e30.W10.x", "e30.bnVsbA.x", "e30.e30=.x", f"e30.{'W1tb' * 5000}.x", None]
)
def test_of_what_is_no_token_nothing_is_known(token: str | None) -> None:
    assert claims_of(token) == {}


@pytest.mark.parametrize("exp", ["soon", True, None, [1], -1, 10**400, float("nan"), float("inf")])
@asynchronous
async def test_a_token_with_an_odd_exp_is_used_until_it_is_refused(exp: Any) -> None:
    give: Callable[[], str] = lambda: token_with(exp=exp, sub="ada")  # noqa: E731
    tokens = Tokens(give, 1.0)
    await tokens.current()
    assert tokens.due is None
    assert tokens.subject == (None, "ada")


@asynchronous
async def test_a_function_that_never_answers_is_left_in_time() -> None:
    async def never() -> str:
        await asyncio.Event().wait()
        return ""

    async with a_server() as url:
        with pytest.raises(TimeoutError):
            async with AsyncClient(url, token=never, connect_timeout=0.05):
                pass


@asynchronous
async def test_while_another_token_is_fetched_a_write_fails_with_the_reason() -> None:
    may_give = asyncio.Event()

    async def fetch() -> str:
        if script.tokens:
            await may_give.wait()
        return f"token-{len(script.tokens)}"

    async def first(connection: Peer) -> None:
        await connection.close(4401, "expired")

    async def second(connection: Peer) -> None:
        await connection.answer("well")

    async with peer(first, second) as script, AsyncClient(script.url, token=fetch, **QUICK) as api:
        await until(lambda: api.status == "offline")
        with pytest.raises(ConnectionLost, match="4401 expired: it was not sent, and only GET waits"):
            await api.post("/x")
        waiting = asyncio.create_task(api.get("/x"))
        may_give.set()
        assert await waiting == "well"
    assert script.tokens == ["Bearer token-0", "Bearer token-1"]
