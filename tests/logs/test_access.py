"""The access log: a line per request, one line whatever was sent, and no reply that depends on it."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import signal
from contextlib import AbstractContextManager
from time import sleep
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorest_ws import Application, HTTPError, Live, MethodBasedView, Response, SimpleRouter
from aiorest_ws.logs.access import AccessLog
from aiorest_ws.logs.throttled import without_secrets
from aiorest_ws.testing import AsyncTestClient, TestClient
from tests.kit.logs import heard_by
from tests.serving import BINARY, LOOPS, Client, Gates, Outcome, Program, asynchronous, dump, frame, serving

on_each_loop = pytest.mark.parametrize("loop", LOOPS)


class User(MethodBasedView):
    def get(self, request: Any, user_id: str) -> Any:
        return {"id": user_id}

    async def post(self, request: Any, user_id: str) -> Any:
        await asyncio.sleep(0)
        return Response(user_id, status=201)

    def delete(self, request: Any, user_id: str) -> Any:
        raise HTTPError(409, "no")


def make_router() -> SimpleRouter:
    router = SimpleRouter()
    router.register("/users/{user_id}", User, ["GET", "POST", "DELETE"])
    return router


def handled(handler: logging.Handler) -> AbstractContextManager[None]:
    """Let `handler` take the lines of the access log, and nobody else."""
    return heard_by(handler, "aiorest_ws.access", alone=True)


class Lines(logging.Handler):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


async def say(client: Client) -> None:
    """Send one request of every kind."""
    await client.ask("GET", "/users/7")
    await client.ask("post", " /users/8 ", id=1)
    await client.ask("DELETE", "/users/9/")
    await client.ask("GET", '/nowhere\u2028" 200')
    await client.ask("PATCH", "/users/7")
    await client.ask({"a": 1}, ["b"])
    client.send(b"{")
    await client.receive()


@pytest.mark.parametrize("form", [True, "text"])
def test_text_has_peer_method_template_status_time_and_size(form: Any) -> None:
    @asynchronous
    async def run() -> None:
        async with serving(make_router(), access_log=form) as app, await Client.connect(app) as client:
            await say(client)

    kept = Lines()
    with handled(kept):
        run()
    peer, time = r"tcp4:127\.0\.0\.1:\d+", r"\d+\.\d{3} ms"
    assert len(kept.lines) == 7
    for line, expected in zip(
        kept.lines,
        [
            rf"{peer} GET /users/{{user_id}}/ 200 {time} 37 bytes",
            rf"{peer} POST /users/{{user_id}}/ 201 {time} 32 bytes",
            rf"{peer} DELETE /users/{{user_id}}/ 409 {time} 33 bytes",
            rf'{peer} "GET" "/nowhere\\u2028\\" 200" 404 {time} \d+ bytes',
            rf'{peer} "PATCH" "/users/7" 405 {time} \d+ bytes',
            rf"{peer} <dict> <list> 400 {time} \d+ bytes",
            rf"{peer} - - 400 {time} \d+ bytes",
        ],
        strict=True,
    ):
        assert re.fullmatch(expected, line), line


def test_json_has_an_object_per_line() -> None:
    @asynchronous
    async def run() -> None:
        async with serving(make_router(), access_log="json") as app, await Client.connect(app) as client:
            await say(client)

    kept = Lines()
    with handled(kept):
        run()
    lines = [json.loads(line) for line in kept.lines]
    assert [line["status"] for line in lines] == [200, 201, 409, 404, 405, 400, 400]
    assert [line["route"] for line in lines] == ["/users/{user_id}/"] * 3 + [None] * 4
    assert [line["method"] for line in lines] == ["GET", "POST", "DELETE", "GET", "PATCH", "<dict>", None]
    assert [line["url"] for line in lines[3:]] == ['/nowhere\u2028" 200', "/users/7", "<list>", None]
    assert lines[0]["bytes"] == 37
    for line in lines:
        assert line["peer"].startswith("tcp4:127.0.0.1:")
        assert type(line["ms"]) is float
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", line["time"])


@asynchronous
async def test_size_is_that_of_the_payload_in_base64() -> None:
    kept = Lines()
    with handled(kept):
        async with serving(make_router(), access_log=True) as app, await Client.connect(app) as client:
            client.send(b"eyJtZXRob2QiOiJHRVQiLCJ1cmwiOiIvdXNlcnMvNyJ9", BINARY)
            reply = await client.receive()
    assert kept.lines[0].endswith(f" {len(reply.payload)} bytes")


def test_nothing_is_logged_unless_it_is_asked_for() -> None:
    kept = Lines()
    with handled(kept), TestClient(Application(router=make_router())) as client:
        assert client.get("/users/7").status == 200
    assert kept.lines == []


@asynchronous
async def test_a_timeout_and_a_late_handler_are_one_line() -> None:
    gates, kept = Gates(), Lines()
    router = make_router()
    router.get("/slow")(lambda request: gates.wait_on("slow"))
    with handled(kept):
        async with (
            serving(router, access_log=True, request_timeout=0.01) as app,
            await Client.connect(app) as client,
        ):
            assert (await client.ask(url="/slow", id=1))["status"] == 504
            await gates.until(lambda: "slow" in gates.finished)
            await client.ask("GET", "/users/7")
    assert [line.split()[3] for line in kept.lines] == ["504", "200"]


# Bad input


def unseen(text: str) -> bool:
    """Tell whether a terminal would do something with `text`, or a reader take it for two lines."""
    return not text.isascii() or not text.isprintable()


class Sent:
    """A request as far as the log looks at it."""

    route = None
    _live = None
    status = 400

    def __init__(self, method: Any, url: Any) -> None:
        self.method = method
        self.url = url


HOSTILE = st.one_of(st.text(), st.none(), st.integers(), st.lists(st.text()), st.just("\ud800\x1b[2J\x7f\r\n" * 100))


@given(method=HOSTILE, url=HOSTILE)
def test_a_line_is_one_line_of_printable_ascii(method: Any, url: Any) -> None:
    kept = Lines()
    with handled(kept):
        for form in ("text", "json"):
            AccessLog(form).write("tcp4:127.0.0.1:1", Sent(method, url), 10, 0.001)
    text, as_json = kept.lines
    assert not unseen(text)
    assert not unseen(as_json)
    assert len(text) < 2 * 6 * 280 + 100
    fields = json.loads(as_json)
    for name, value in (("method", method), ("url", url)):
        expected = value[:280] if isinstance(value, str) else None if value is None else f"<{type(value).__name__}>"
        if name == "url" and isinstance(value, str):
            expected = without_secrets(value)
        assert fields[name] == expected


def test_a_peer_that_a_proxy_names_cannot_break_the_line() -> None:
    kept = Lines()
    with handled(kept):
        for form in ("text", "json"):
            AccessLog(form).write("a\r\nb\x1b", Sent("GET", "/"), 10, 0.001)
    assert not any(unseen(line) for line in kept.lines)


class Failing(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise RuntimeError("disk\nfull")


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_log_that_fails_is_told_once_and_breaks_no_reply(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    @asynchronous
    async def run() -> None:
        async with serving(make_router(), access_log=form) as app, await Client.connect(app) as client:
            for n in range(20):
                client.request("POST" if n % 2 else "GET", f"/users/{n}", id=n)
            assert {(await client.reply())["id"] for _ in range(20)} == set(range(20))

    with handled(Failing()):
        run()
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "aiorest-ws: the access log failed, lines are lost, and this is not said again: RuntimeError: disk\\nfull"
    )


class Slow(Lines):
    def emit(self, record: logging.LogRecord) -> None:
        sleep(0.01)
        super().emit(record)


@asynchronous
async def test_a_log_that_is_slow_changes_no_reply() -> None:
    slow = Slow()
    with handled(slow):
        async with serving(make_router(), access_log=True) as app, await Client.connect(app) as client:
            for n in range(10):
                client.request("GET", f"/users/{n}")
                client.request("POST", f"/users/{n}")
            replies = [(await client.reply())["data"] for _ in range(20)]
    assert replies == [data for n in range(10) for data in ({"id": str(n)}, str(n))]
    assert len(slow.lines) == 20


@asynchronous
async def test_a_log_that_calls_back_changes_no_reply() -> None:
    """A handler of the log may do anything, even send."""

    class Calling(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            client.connection.send_event("logged", record.getMessage().split()[3])

    app = Application(router=make_router(), access_log=True)
    with handled(Calling()):
        async with AsyncTestClient(app) as client:
            assert (await client.get("/users/1")).status == 200
            assert (await client.receive_event()).data == "200"
            assert (await client.post("/users/2")).status == 201


@asynchronous
async def test_run_writes_json_lines_as_they_are() -> None:
    source = (
        "from aiorest_ws import Application, SimpleRouter\n"
        "router = SimpleRouter()\n"
        "router.get('/')(lambda request: None)\n"
        "Application(router=router, port=0).run(loop='asyncio')\n"
    )
    async with await Program.start(source, AIOREST_WS_ACCESS_LOG="json") as program:
        lines = await program.started()
        (line,) = [line for line in lines if line.startswith("Server started at ")]
        host, _, port = line.partition("//")[2].partition("/")[0].rpartition(":")
        async with await Client.connect((host, int(port))) as client:
            client.send(dump({"url": "/x"}))
            await client.receive()
            assert program.process.stderr is not None
            logged = json.loads(await program.process.stderr.readline())
    assert (logged["status"], logged["url"]) == (404, "/x")


@pytest.mark.parametrize("access_log", ["xml", 3, None])
def test_other_forms_are_refused(access_log: Any) -> None:
    with pytest.raises(ValueError, match=r"^access_log must be one of False, True, 'text', 'json', got "):
        Application(access_log=access_log)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("/me?token=secret", "/me"),
        ("/me#access_token=secret", "/me"),
        ("/me?\nsecret", "/me"),
        ("?secret", ""),
        ("ws://ada:secret@host/me?token=secret", "ws://host/me"),
        ("//secret@host/me", "//host/me"),
        ("/a@b/c", "/a@b/c"),
        ("/" + "x" * 270 + "?token=secret", "/" + "x" * 270),
    ],
)
@pytest.mark.parametrize("form", ["text", "json"])
def test_no_line_has_what_may_be_a_token(url: str, shown: str, form: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "aiorest_ws")
    with TestClient(Application(router=SimpleRouter(), access_log=form)) as client:
        assert client.get(url).status in (400, 404)
    assert "secret" not in caplog.text
    (line,) = (record.getMessage() for record in caplog.records if record.name == "aiorest_ws.access")
    assert (json.loads(line)["url"] == shown) if form == "json" else (f'"{shown}"' in line)


def test_line_of_a_failure_has_no_query(caplog: pytest.LogCaptureFixture) -> None:
    class Router(SimpleRouter):
        def process_request(self, request: Any) -> Any:
            raise LookupError(repr(request))

    with TestClient(Application(router=Router())) as client:
        assert client.get("/me?token=secret").status == 500
    assert "'GET' '/me' failed: LookupError" in [record.getMessage() for record in caplog.records]
    assert "secret" not in caplog.text


# The lines of one turn

SERVER = """
import asyncio, logging, os, signal, sys
from aiorest_ws import Application, HTTPError, SimpleRouter

class Stream:
    '''Notes how its text came, and says so at the end.'''
    def __init__(self, inner):
        self.inner, self.writes = inner, []
    def write(self, text):
        self.writes.append(text.count("GET /"))
        return self.inner.write(text)
    def flush(self):
        self.inner.flush()

stream = sys.stderr = Stream(sys.stderr)
router = SimpleRouter()

@router.get("/hello")
def hello(request):
    return "Hello, world!"

@router.get("/fails")
def fails(request):
    raise ZeroDivisionError

@router.get("/ends")
def ends(request):
    asyncio.get_running_loop().call_soon(sys.exit, 3)

def prepare(app):
    PREPARE

Application(router=router, port=0, shutdown_timeout=1, access_log=FORM, on_listening=[prepare]).run(loop="LOOP")
print("writes:", *filter(None, stream.writes))
"""
DATED = r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}\] \[INFO\] "
LINE = rf"{DATED}tcp4:127\.0\.0\.1:\d+ GET /hello/ 200 \d+\.\d{{3}} ms 4[456] bytes"


async def served(
    urls: list[str], *, prepare: str = "pass", form: str = "text", loop: str = "asyncio", replies: int | None = None
) -> Outcome:
    """Run the server, ask for all of `urls` in one write, and give how it ended."""
    source = SERVER.replace("PREPARE", prepare).replace("FORM", repr(form)).replace("LOOP", loop)
    async with await Program.start(source) as program:
        (line,) = [line for line in await program.started() if line.startswith("Server started at ")]
        host, _, port = line.partition("//")[2].partition("/")[0].rpartition(":")
        async with await Client.connect((host, int(port))) as client:
            client.writer.write(
                b"".join(frame(dump({"method": "GET", "url": url, "id": n})) for n, url in enumerate(urls))
            )
            for _ in range(len(urls) if replies is None else replies):
                await client.reply()
            if replies is None:
                await client.leave()
                program.signal(signal.SIGTERM)
            return await program.end()


def lines_in(outcome: Outcome, what: str = "GET /") -> list[str]:
    return [line for line in outcome.err.splitlines() if what in line]


@on_each_loop
@asynchronous
async def test_lines_of_one_turn_are_written_at_once(loop: str) -> None:
    outcome = await served(["/hello"] * 16, loop=loop)
    lines = lines_in(outcome)
    assert len(lines) == 16
    assert all(re.fullmatch(LINE, line) for line in lines), lines
    assert outcome.out.splitlines()[-1] == "writes: 16"


@on_each_loop
@asynchronous
async def test_lines_on_a_stream_of_many_processes_are_written_in_what_a_pipe_takes_at_once(loop: str) -> None:
    prepare = "from aiorest_ws.logs.access import share_stream; share_stream()"
    outcome = await served(["/hello"] * 200, loop=loop, prepare=prepare)
    lines = lines_in(outcome)
    assert len(lines) == 200
    assert all(re.fullmatch(LINE, line) for line in lines), lines
    longest = max(len(line) + 1 for line in lines)
    writes = [int(number) for number in outcome.out.splitlines()[-1].removeprefix("writes: ").split()]
    assert sum(writes) == 200
    assert max(writes) * longest <= 4096 + longest
    assert min(writes[:-1]) > 1  # not one by one


@on_each_loop
@asynchronous
async def test_json_lines_of_one_turn_are_written_at_once(loop: str) -> None:
    outcome = await served(["/hello"] * 16 + ["/none"], form="json", loop=loop)
    logged = [json.loads(line) for line in lines_in(outcome, '"time"')]
    assert [(line["status"], line["route"], line.get("url")) for line in logged] == [
        *[(200, "/hello/", None)] * 16,
        (404, None, "/none"),
    ]


@pytest.mark.parametrize(
    ("prepare", "expected"),
    [
        ("logging.getLogger().addHandler(logging.StreamHandler(sys.stdout))", 32),
        ("logging.getLogger('aiorest_ws').addHandler(logging.StreamHandler(sys.stdout))", 16),
        ("logging.getLogger('aiorest_ws.access').addHandler(logging.StreamHandler(sys.stdout))", 16),
        ("logging.getLogger().handlers[0].setFormatter(logging.Formatter('mine %(message)s'))", 16),
        ("logging.getLogger().handlers[0].addFilter(lambda record: 'hello' in record.getMessage())", 16),
        ("logging.getLogger('aiorest_ws.access').addFilter(lambda record: True)", 16),
        ("logging.basicConfig(force=True, level=20, format='mine %(message)s')", 16),
        ("logging.getLogger('aiorest_ws.access').setLevel('WARNING')", 0),
        ("logging.disable(logging.INFO)", 0),
        ("logging.getLogger().handlers[0].setLevel('WARNING')", 0),
        ("logging.getLogger('aiorest_ws.access').propagate = False", 0),
    ],
)
@asynchronous
async def test_what_a_program_sets_up_itself_gets_every_line_on_its_own(prepare: str, expected: int) -> None:
    outcome = await served(["/hello"] * 16, prepare=prepare)
    assert f"{outcome.out}{outcome.err}".count("GET /hello") == expected
    assert f"{outcome.out}{outcome.err}".count("mine ") == (16 if "mine" in prepare else 0)
    in_theirs_only = "'aiorest_ws" in prepare and "addHandler" in prepare
    assert outcome.out.splitlines()[-1] == ("writes:" + " 1" * 16 if expected and not in_theirs_only else "writes:")


@asynchronous
async def test_a_tool_that_changes_logging_itself_sees_every_line() -> None:
    prepare = (
        "inner = logging.Logger.callHandlers\n"
        "    seen = lambda self, record: (print('seen', record.getMessage()), inner(self, record))\n"
        "    logging.Logger.callHandlers = seen"
    )
    outcome = await served(["/hello"] * 4, prepare=prepare)
    assert outcome.out.count("seen tcp4") == 4
    assert len(lines_in(outcome)) == 4


@on_each_loop
@asynchronous
async def test_no_line_is_lost_when_the_program_ends_in_the_same_turn(loop: str) -> None:
    outcome = await served(["/hello"] * 4 + ["/ends"] + ["/hello"] * 4, loop=loop, replies=0)
    assert len(lines_in(outcome)) == 9


@asynchronous
async def test_error_of_a_handler_comes_behind_the_lines_before_it() -> None:
    outcome = await served(["/hello", "/hello", "/fails", "/hello"])
    kinds = [
        ("fails/" if "/fails/" in line else "failed" if "failed" in line else "hello")
        for line in outcome.err.splitlines()
        if "/hello" in line or "[ERROR]" in line or "GET /fails" in line
    ]
    assert kinds == ["hello", "hello", "failed", "fails/", "hello"]


@asynchronous
async def test_a_stream_that_fails_is_told_once_and_breaks_no_reply() -> None:
    prepare = "logging.getLogger().handlers[0].setStream(open('/dev/full', 'w'))"
    outcome = await served(["/hello"] * 16, prepare=prepare)
    assert outcome.err.count("aiorest-ws: the access log failed, lines are lost") == 1


def test_many_lines_in_one_turn_are_not_all_kept() -> None:
    log = AccessLog("text")
    written: list[int] = []

    class Counting:
        is_dated = False

        def write_lines(self, lines: list[str]) -> None:
            written.append(len(lines))

    log._handler, log._gather = Counting(), lambda: True  # type: ignore[method-assign]
    for _ in range(2500):
        log.write("peer", Sent("GET", "/"), 10, 0.001)
    log.flush()
    assert written == [1000, 1000, 500]


# Subscriptions


def live_router(opened: asyncio.Event) -> SimpleRouter:
    router = SimpleRouter()
    router.get("/orders/{number}", live=Live())(lambda request, number: number)
    router.get("/plain")(lambda request: 1)

    @router.get("/slow", live=Live())
    async def slow(request: Any) -> None:
        await opened.wait()

    return router


async def speak_of_subscriptions(client: Client) -> None:
    await client.ask("SUBSCRIBE", "/orders/7", id=1)
    await client.ask("SUBSCRIBE", "/plain", id=2)
    await client.ask("SUBSCRIBE", "/nowhere", id=3)
    await client.ask("UNSUBSCRIBE", "/orders/7", id=4)
    await client.ask("UNSUBSCRIBE", "/orders/7", id=5)
    await client.ask("PING", id=6)
    await client.ask("PING")
    await client.ask("SUBSCRIBE", "/slow", id=7)


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_verbs_of_subscriptions_are_what_they_are(form: str) -> None:
    @asynchronous
    async def run() -> None:
        router = live_router(asyncio.Event())
        options = {"access_log": form, "request_timeout": 0.01}
        async with serving(router, **options) as app, await Client.connect(app) as client:
            await speak_of_subscriptions(client)

    kept = Lines()
    with handled(kept):
        run()
    expected = [
        ("SUBSCRIBE", "/orders/{number}/", 200),
        ("SUBSCRIBE", None, 405),
        ("SUBSCRIBE", None, 404),
        ("UNSUBSCRIBE", "/orders/{number}/", 200),
        ("UNSUBSCRIBE", "/orders/{number}/", 404),
        ("PING", None, 200),
        ("PING", None, 400),
        ("SUBSCRIBE", "/slow/", 504),
    ]
    if form == "json":
        lines = [json.loads(line) for line in kept.lines]
        assert [(line["method"], line["route"], line["status"]) for line in lines] == expected
        return
    heads = [line.split(" ", 1)[1].rsplit(" ", 4)[0] for line in kept.lines]
    assert heads == [
        "SUBSCRIBE /orders/{number}/ 200",
        '"SUBSCRIBE" "/plain" 405',
        '"SUBSCRIBE" "/nowhere" 404',
        "UNSUBSCRIBE /orders/{number}/ 200",
        "UNSUBSCRIBE /orders/{number}/ 404",
        "PING - 200",
        "PING - 400",
        "SUBSCRIBE /slow/ 504",
    ]


def test_runs_for_subscriptions_are_no_lines() -> None:
    @asynchronous
    async def run() -> None:
        app = Application(router=live_router(asyncio.Event()), access_log=True)
        async with AsyncTestClient(app) as client, client.subscribe("/orders/7") as order:
            app.live.changed("/orders/7")
            assert (await order.receive()).is_unchanged

    kept = Lines()
    with handled(kept):
        run()
    assert [line.split(" ")[1] for line in kept.lines] == ["SUBSCRIBE", "UNSUBSCRIBE"]
