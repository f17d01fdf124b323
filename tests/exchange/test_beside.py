"""An ASGI app of the user's on our port, beside the routes."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request

from aiorest_ws import Application, SimpleRouter
from aiorest_ws.exceptions import ImproperlyConfigured
from tests.serving import TIMEOUT, Client, HandshakeRefused, asynchronous, factory_of, until

router = SimpleRouter()
router.get("/hello")(lambda request: [request.url, request.connection.path])


@asynccontextmanager
async def serving(http: Any, **options: Any) -> AsyncIterator[tuple[Application, httpx.AsyncClient]]:
    app = Application(router, http=http, **{"port": 0, "shutdown_timeout": 0.2} | options)
    await app.start()
    try:
        async with httpx.AsyncClient(base_url="http://{}:{}".format(*app.addresses[0]), timeout=TIMEOUT) as client:
            yield app, client
    finally:
        await app.stop()


def fastapi_app(told: list[str]) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        told.append("begins")
        yield {"db": "a db"}
        told.append("ends")

    app = FastAPI(lifespan=lifespan)

    @app.get("/who")
    async def who(request: Request) -> Any:
        assert request.client is not None
        return [request.url.path, request.state.db, request.client.host, request.url.scheme]

    @app.post("/upload")
    async def upload(request: Request) -> int:
        return len(await request.body())

    return app


@asynchronous
async def test_fastapi_is_served_with_its_lifespan_inside_ours() -> None:
    told: list[str] = []

    @asynccontextmanager
    async def own(app: Application) -> AsyncIterator[dict[str, Any]]:
        told.append("ours begins")
        yield {"name": "kept"}
        told.append("ours ends")

    async with serving(fastapi_app(told), http_prefix="/api", lifespan=own) as (app, client):
        assert app.state.name == "kept"
        assert (await client.get("/who")).json() == ["/who", "a db", "127.0.0.1", "http"]
        assert (await client.get("/nowhere")).json() == {"detail": "Not Found"}
        assert (await client.get("/openapi.json")).json()["info"]["title"] == "FastAPI"
        assert (await client.get("/api/hello")).json() == ["/hello", "/hello"]
        assert (await client.get("/api/nowhere")).json() == {"detail": "no route /nowhere"}
        assert (await client.get("/apis")).json() == {"detail": "Not Found"}
        async with await Client.connect(app) as websocket:
            assert (await websocket.ask(id=1))["data"] == ["/hello", "/"]
    assert told == ["ours begins", "begins", "ends", "ours ends"]


@asynchronous
async def test_without_a_prefix_all_of_http_is_the_apps() -> None:
    async with serving(fastapi_app([])) as (_, client):
        assert (await client.get("/hello")).status_code == 404
        assert (await client.get("/who")).status_code == 200


@asynchronous
async def test_bodies_are_the_apps_to_bound() -> None:
    async with serving(fastapi_app([]), max_message_size=1000) as (_, client):
        response = await client.post("/upload", content=b"x" * 300_000)
        assert response.json() == 300_000


@asynchronous
async def test_proxies_and_hosts_are_looked_at_for_it() -> None:
    async with serving(fastapi_app([]), trusted_proxies=1) as (_, client):
        headers = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
        assert (await client.get("/who", headers=headers)).json()[2:] == ["203.0.113.7", "https"]
    async with serving(fastapi_app([]), allowed_hosts=["good.example"]) as (_, client):
        assert (await client.get("/who")).status_code == 403
        assert (await client.get("/who", headers={"Host": "good.example"})).status_code == 200


@asynchronous
async def test_a_page_whose_name_leads_here_gets_nothing_of_it() -> None:
    async with serving(fastapi_app([])) as (_, client):
        assert (await client.get("/who", headers={"Host": "evil.example"})).status_code == 403


@asynchronous
async def test_who_is_refused_before_the_body_came_is_closed() -> None:
    """As with our routes, nobody could tell the rest of the body from the next request."""
    async with serving(fastapi_app([])) as (app, _client):
        reader, writer = await asyncio.open_connection(*app.addresses[0])
        writer.write(b"POST /upload HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 2\r\n\r\n")
        async with asyncio.timeout(TIMEOUT):
            reply = await reader.read()  # to the end
        assert reply.startswith(b"HTTP/1.1 403 ")
        assert b"\r\nconnection: close\r\n" in reply
        writer.close()


@pytest.mark.parametrize("raises", [False, True])
@asynchronous
async def test_an_app_that_fails_to_start_is_one_line(raises: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def fails(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no db"})
        if raises:  # as Starlette does
            raise ValueError("no db")

    with pytest.raises(ImproperlyConfigured, match="the startup of the ASGI app beside the routes failed: no db"):
        async with serving(fails):
            pass
    assert caplog.messages == []


def living(told: list[str], does: str) -> Any:
    """Give an app with a lifespan that is wrong."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        try:
            told.append((await receive())["type"])
            if does == "says that it failed, and waits":
                await send({"type": "lifespan.startup.failed", "message": "no db"})
            if does in ("hangs", "says that it failed, and waits"):
                await asyncio.Event().wait()
            await send({"type": "lifespan.nonsense"})
            await send({"type": "lifespan.startup.complete"})
            told.append((await receive())["type"])
            if does == "raises at its end":
                raise ValueError("at its end")
            await send({"type": "lifespan.nonsense"})
            await asyncio.sleep(0)
            told.append("done")
            await send({"type": "lifespan.shutdown.complete"})
        finally:
            told.append("over")

    return app


@asynchronous
async def test_a_lifespan_that_fails_at_the_start_and_waits_is_cancelled() -> None:
    told: list[str] = []
    with pytest.raises(ImproperlyConfigured, match="lifespan of the ASGI app failed at the start: RuntimeError"):
        async with serving(living(told, "says that it failed, and waits")):
            pass
    assert told == ["lifespan.startup", "over"]


@asynchronous
async def test_a_lifespan_that_hangs_is_cancelled_with_who_waits_for_it() -> None:
    told: list[str] = []
    starting = asyncio.ensure_future(Application(router, http=living(told, "hangs"), port=0).start())
    await until(lambda: bool(told))
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert told == ["lifespan.startup", "over"]


@asynchronous
async def test_messages_that_no_lifespan_sends_answer_nothing() -> None:
    told: list[str] = []
    async with serving(living(told, "")):
        assert told == ["lifespan.startup"]
    assert told == ["lifespan.startup", "lifespan.shutdown", "done", "over"]


@asynchronous
async def test_a_lifespan_that_raises_once_it_has_begun_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(living([], "raises at its end")):
        pass
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.getMessage() == "the lifespan of the ASGI app beside the routes failed"
    assert "at its end" in str(record.exc_info and record.exc_info[1])


@asynchronous
async def test_a_lifespan_that_raises_at_the_start_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """As ASGI has it, the app is served: so do those begin that know no lifespan."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            raise ValueError("no db")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    async with serving(app) as (_, client):
        assert (await client.get("/")).text == "ok"
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.getMessage() == "the ASGI app beside the routes is served, though its lifespan failed"
    assert "no db" in str(record.exc_info and record.exc_info[1])


@asynchronous
async def test_an_app_that_knows_no_lifespan_needs_none() -> None:
    async def plain(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode()})

    async with serving(plain) as (_, client):
        assert (await client.get("/a%20b")).text == "/a b"


@pytest.mark.parametrize("answers", ["twice", "and raises", "nothing", "raises"])
@asynchronous
async def test_an_app_that_is_wrong_ends_its_connection_only(answers: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)

    async def wrong(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        if answers == "nothing":
            return
        if answers == "raises":
            raise ValueError
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        if answers == "and raises":
            raise ValueError
        for _ in range(2):
            await send({"type": "http.response.body", "body": b"ok"})

    async with serving(wrong, http_prefix="/api") as (_, client):
        if answers == "and raises":
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get("/")
        else:
            assert (await client.get("/")).status_code == (200 if answers == "twice" else 500)
        assert (await client.get("/api/hello")).status_code == 200


async def streams(scope: Any, receive: Any, send: Any) -> None:
    """Send as many parts as the path says, with the headers of the query."""
    assert scope["type"] == "http"
    headers = [tuple(pair.split(b"=")) for pair in scope["query_string"].split(b"&") if pair]
    await send({"type": "http.response.start", "status": int(scope["path"].split("/")[1]), "headers": headers})
    for part in scope["path"].split("/")[2:]:
        await send({"type": "http.response.body", "body": part.encode(), "more_body": True})
    await send({"type": "http.response.body"})


@pytest.mark.parametrize(
    ("request_", "body"),
    [
        ("GET /200/ab/cd", b"abcd"),
        ("GET /200/ab/cd?Transfer-Encoding=chunked", b"abcd"),
        ("GET /200/ab/cd?content-length=4", b"abcd"),
        ("GET /200", b""),
        ("HEAD /200/ab", b""),
        ("GET /204", b""),
    ],
)
@asynchronous
async def test_http_1_0_is_answered_without_chunks(request_: str, body: bytes) -> None:
    """RFC 9112 §6.1: who speaks it knows of none, and reads to the end of the connection."""
    async with serving(streams) as (app, _client):
        reader, writer = await asyncio.open_connection(*app.addresses[0])
        writer.write(f"{request_} HTTP/1.0\r\n\r\n".encode())
        async with asyncio.timeout(TIMEOUT):
            head, _, said = (await reader.read()).partition(b"\r\n\r\n")  # to the end
        assert (said, b"transfer-encoding" in head.lower()) == (body, False)
        assert b"connection: close" in head
        writer.close()


@pytest.mark.parametrize(("expected", "closes"), [("100-continue", True), ("", False)])
@asynchronous
async def test_an_app_that_answers_who_waits_to_send_is_asked_nothing_more(expected: str, closes: bool) -> None:
    """Whether the body comes behind that response is for the client to say: nobody could tell it from a request."""
    async with serving(streams) as (app, _client):
        reader, writer = await asyncio.open_connection(*app.addresses[0])
        writer.write(
            f"POST /200 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nExpect: {expected}\r\n\r\n".encode()
        )
        async with asyncio.timeout(TIMEOUT):
            head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert (b"connection: close" in head) is closes
        writer.transport.abort()


@asynchronous
async def test_an_app_that_never_answers_does_not_keep_the_server() -> None:
    begun, told = asyncio.Event(), []

    async def never(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        begun.set()
        while True:
            told.append((await receive())["type"])
            if told[-1] == "http.disconnect":
                return

    async with serving(never) as (app, client):
        asking = asyncio.ensure_future(client.get("/"))
        await begun.wait()
        await app.stop()
        with pytest.raises(httpx.RemoteProtocolError):
            await asking
    assert told[-1] == "http.disconnect"


@pytest.mark.parametrize("behind", [b"", b"GET /next HTTP/1.1\r\nHost: localhost\r\n\r\n"])
@asynchronous
async def test_an_app_is_told_that_its_client_left(behind: bytes) -> None:
    begun, told = asyncio.Event(), asyncio.Event()

    async def waits(scope: Any, receive: Any, send: Any) -> None:
        assert scope["path"] == "/first"
        begun.set()
        while (await receive())["type"] != "http.disconnect":
            pass
        told.set()

    async with serving(waits) as (app, _client):
        _, writer = await asyncio.open_connection(*app.addresses[0])
        writer.write(b"GET /first HTTP/1.1\r\nHost: localhost\r\n\r\n" + behind)
        await begun.wait()
        writer.transport.abort()
        await told.wait()
        await until(lambda: not factory_of(app).connections)


@asynchronous
async def test_what_an_app_does_behind_its_response_comes_to_its_end() -> None:
    done, told = asyncio.Event(), []

    async def works(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for stage in ("startup", "shutdown"):
                await receive()
                told.append(stage)
                await send({"type": f"lifespan.{stage}.complete"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})
        if scope["path"] == "/slow":
            await done.wait()
            told.append("done")

    async with serving(works, shutdown_timeout=TIMEOUT) as (app, client):
        for path in ("/slow", "/fast"):  # of one connection: the first works on
            assert (await client.get(path)).status_code == 200
        factory = factory_of(app)
        stopping = asyncio.ensure_future(app.stop())
        await until(lambda: factory.stopping)
        done.set()
        await stopping
    assert told == ["startup", "done", "shutdown"]


@asynchronous
async def test_an_app_that_does_not_listen_is_cancelled_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    begun, told = asyncio.Event(), []

    async def deaf(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            told.append("cancelled")

    async with serving(deaf) as (app, _client):
        _, writer = await asyncio.open_connection(*app.addresses[0])
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await begun.wait()
        writer.transport.abort()
        await until(lambda: not factory_of(app).connections)
        assert told == []
    assert told == ["cancelled"]
    assert not [record for record in caplog.records if record.name == "aiorest_ws"]


@asynchronous
async def test_a_websocket_of_the_app_is_refused_with_what_to_do_instead(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with serving(fastapi_app([])) as (app, _client):
        with pytest.raises(HandshakeRefused) as caught:
            await Client.connect(app, "/theirs")
    assert caught.value.status == 404
    assert "WebSockets of the app that is `http` want it as the host: mount app.asgi() in it" in caplog.text


@pytest.mark.parametrize("value", ["app", 1, None])
def test_what_is_no_app_is_an_error(value: Any) -> None:
    with pytest.raises(TypeError, match="http must be True, False, or an ASGI app"):
        Application(router, http=value)
    with pytest.raises(ValueError, match="http_prefix must be empty or a path such as '/api'"):
        Application(router, http_prefix="api/")


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    return []


def of_asgi_2(scope: Any) -> Any:
    return None


@pytest.mark.parametrize(
    ("value", "cure"),
    [
        (FastAPI, r", did you mean FastAPI\(\)\?"),
        (wsgi, ": one of WSGI becomes it by asgiref.wsgi.WsgiToAsgi"),
        (of_asgi_2, ": one of ASGI 2 becomes it by asgiref.compatibility.guarantee_single_callable"),
        (lambda: None, "<lambda> at .*>"),
    ],
)
def test_what_cannot_be_called_as_an_app_is_an_error(value: Any, cure: str) -> None:
    with pytest.raises(TypeError, match=f"http must be an ASGI app, which takes scope, receive and send, .*{cure}$"):
        Application(router, http=value)


@pytest.mark.parametrize("value", [True, FastAPI(), functools.partial(FastAPI()), print])
def test_what_may_be_called_as_an_app_is_none(value: Any) -> None:
    assert Application(router, http=value)._options["http"] is value


@asynchronous
async def test_a_prefix_without_http_is_an_error() -> None:
    with pytest.raises(ImproperlyConfigured, match="http_prefix is where the routes are over HTTP: give http=True"):
        await Application(router, http_prefix="/api", port=0).start()
