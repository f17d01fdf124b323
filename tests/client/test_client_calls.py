"""Calls of `AsyncClient` to a server: data, types, errors, timeouts, cancellation; and to servers that are none."""

from __future__ import annotations

import asyncio
import copy
import pickle
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypedDict

import msgspec
import pydantic
import pytest

from aiorest_ws import HTTPError, Response, SimpleRouter
from aiorest_ws.client import (
    AsyncClient,
    BadRequest,
    ClientClosed,
    ClientError,
    Conflict,
    ConnectionLost,
    Forbidden,
    HandshakeRefused,
    MethodNotAllowed,
    NotFound,
    RequestFailed,
    ServerFailed,
    TimedOut,
    TooManyRequests,
    Unauthorized,
    UnexpectedReply,
    Unprocessable,
    errors,
)
from tests.kit.peers import Peer, peer
from tests.serving import Gates, asynchronous, gated_router, serving, until

FORMS = ("json", "msgpack")


@dataclass
class Item:
    name: str
    count: int = 0


class Order(msgspec.Struct):
    number: int
    items: list[Item] = []
    at: datetime | None = None


class Row(TypedDict):
    number: int


class Model(pydantic.BaseModel):
    number: int
    items: list[dict[str, int]] = []


def router_of(gates: Gates | None = None) -> SimpleRouter:
    router = gated_router(gates if gates is not None else Gates())

    @router.route("/echo", ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
    def echo(request: Any, **args: Any) -> Any:
        return {"method": request.method, "args": args, "data": request.data, "extra": dict(request.extra)}

    @router.post("/made")
    def made(request: Any) -> Any:
        return Response({"number": 7}, status=201)

    @router.get("/fails/{status:int}")
    def fails(request: Any, status: int) -> None:
        raise HTTPError(status, {"why": status})

    return router


@asynccontextmanager
async def talking(gates: Gates | None = None, **options: Any) -> AsyncIterator[AsyncClient]:
    """Give a client of a server."""
    async with serving(router_of(gates)) as app, AsyncClient(url_of(app), **options) as api:
        yield api


def url_of(app: Any) -> str:
    return f"ws://127.0.0.1:{app.addresses[0][1]}"


# What is called


@pytest.mark.parametrize("form", FORMS)
@asynchronous
async def test_each_verb_takes_args_data_and_extra(form: Any) -> None:
    async with talking(form=form) as api:
        for verb in (api.get, api.post, api.put, api.patch, api.delete, api.head, api.options):
            got = await verb("/echo", args={"a": 1}, data=[None, "é"], extra={"tenant": 5})
            name = verb.__name__.upper()
            assert got == {"method": name, "args": {"a": 1}, "data": [None, "é"], "extra": {"tenant": 5}}


@asynchronous
async def test_a_hundred_calls_at_once_are_each_given_their_own_reply() -> None:
    async with talking() as api:
        assert await asyncio.gather(*(api.get(f"/later/{n}") for n in range(100))) == list(range(100))


@asynchronous
async def test_no_more_than_48_are_asked_at_once_and_the_others_wait_here() -> None:
    gates = Gates()
    async with talking(gates) as api:
        calls = [asyncio.create_task(api.get(f"/wait/{n}")) for n in range(60)]
        await gates.until(lambda: len(gates.started) == 48)
        with pytest.raises(TimedOut, match="it was not sent") as caught:
            await api.get("/hello", timeout=0.05)
        assert not caught.value.may_have_run
        gates.open(*map(str, range(60)))
        assert await asyncio.gather(*calls) == [str(n) for n in range(60)]


@asynchronous
async def test_the_whole_reply_has_its_status() -> None:
    async with talking() as api:
        reply = await api.exchange("POST", "/made")
        assert (reply.status, reply.data, reply.changed) == (201, {"number": 7}, {})


@pytest.mark.parametrize("form", FORMS)
@asynchronous
async def test_what_is_sent_may_be_of_a_type(form: Any) -> None:
    at = datetime(2024, 2, 29, tzinfo=UTC)
    for given in (Order(1, [Item("tea")], at), {"number": 1, "items": [Item("tea")], "at": at}):
        async with talking(form=form) as api:
            order = (await api.put("/echo", data=given))["data"]
            assert msgspec.convert(order, Order) == Order(1, [Item("tea")], at)
    async with talking(form=form) as api:
        got = await api.put("/echo", data=Model(number=3, items=[{"a": 1}]))
        assert got["data"] == {"number": 3, "items": [{"a": 1}]}


@asynchronous
async def test_what_cannot_be_said_is_raised_at_once_and_disturbs_nothing() -> None:
    async with talking() as api:
        with pytest.raises(TypeError, match="cannot be said in JSON: object is not"):
            await api.put("/echo", data=object())
        with pytest.raises(TypeError, match="cannot be said in JSON"):
            await api.put("/echo", data=1 << 70)
        with pytest.raises(ValueError, match="idempotency_key must have 16 to 128 bytes, got 'short'"):
            await api.put("/echo", idempotency_key="short")
        with pytest.raises(TypeError, match="tiemout"):
            await api.get("/hello", tiemout=1)  # type: ignore[call-overload]
        assert await api.get("/hello") == "Hello, world!"


# Types


@pytest.mark.parametrize("form", FORMS)
@asynchronous
async def test_a_reply_becomes_what_was_asked_for(form: Any) -> None:
    async with peer_with({"number": 1, "items": [{"name": "tea"}]}) as url, AsyncClient(url) as api:
        assert await api.get("/x", type=Order) == Order(1, [Item("tea")])
        assert (await api.get("/x", type=Row))["number"] == 1
        assert (await api.get("/x"))["number"] == 1
        assert await api.get("/x", type=dict[str, Any]) == {"number": 1, "items": [{"name": "tea"}]}
    async with peer_with([{"number": 1}]) as url, AsyncClient(url) as api:
        assert await api.get("/x", type=list[Model]) == [Model(number=1)]


@pytest.mark.parametrize(
    ("data", "hint", "place"),
    [
        ({"number": 1, "items": [{"name": 5}]}, Order, "$.items[0].name"),
        ({"number": "x"}, Model, "$.number"),
        ([{"number": 1}, {"number": 1, "items": [{"a": "b"}]}], list[Model], "$[1].items[0].a"),
        ("text", int, "$"),
        (None, Row, "$"),
    ],
)
@asynchronous
async def test_a_reply_that_does_not_fit_says_where(data: Any, hint: Any, place: str) -> None:
    async with peer_with(data) as url, AsyncClient(url) as api:
        with pytest.raises(UnexpectedReply) as caught:
            await api.get("/x", type=hint)
        assert str(caught.value).endswith(f"at `{place}`")
        assert str(caught.value).startswith("the reply is no ")
        assert caught.value.data == data
        assert await api.get("/x") == data


@asynccontextmanager
async def peer_with(data: Any) -> AsyncIterator[str]:
    """Serve one that answers everything with `data`."""

    async def talk(connection: Peer) -> None:
        while True:
            await connection.answer(data)

    async with peer(talk) as script:
        yield script.url


# Errors


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequest),
        (401, Unauthorized),
        (403, Forbidden),
        (404, NotFound),
        (405, MethodNotAllowed),
        (409, Conflict),
        (418, RequestFailed),
        (422, Unprocessable),
        (429, TooManyRequests),
        (500, ServerFailed),
        (503, ServerFailed),
    ],
)
@asynchronous
async def test_a_status_has_its_error(status: int, kind: type[RequestFailed]) -> None:
    async with talking() as api:
        with pytest.raises(RequestFailed) as caught:
            await api.get(f"/fails/{status}")
        assert type(caught.value) is kind
        assert (caught.value.status, caught.value.detail) == (status, {"why": status})
        assert str(caught.value) == f"{status}: {{'why': {status}}}"
        assert caught.value.message["detail"] == {"why": status}


SAMPLES: list[ClientError] = [
    *(errors.failure_of({"status": status, "detail": ["x"], "retry": 1500}) for status in (400, 401, 403, 404, 405)),
    *(errors.failure_of({"status": status, "detail": ["x"]}) for status in (409, 418, 422, 429, 500)),
    ConnectionLost("lost", may_have_run=True, code=1006),
    HandshakeRefused("refused", 401, "no", 2.0),
    ClientClosed("closed"),
    TimedOut("late", may_have_run=True),
    UnexpectedReply("odd", {"a": 1}),
]


@pytest.mark.parametrize("error", SAMPLES, ids=lambda error: type(error).__name__)
def test_errors_can_be_pickled_and_copied(error: ClientError) -> None:
    for other in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert type(other) is type(error)
        assert str(other) == str(error)
        assert vars(other) == vars(error)


def test_all_errors_are_in_the_tree_that_the_module_shows() -> None:
    assert errors.__doc__ is not None
    for name in errors.__all__:
        kind = getattr(errors, name)
        if isinstance(kind, type):
            assert name in errors.__doc__
            assert issubclass(kind, ClientError)
            assert kind in {type(sample) for sample in SAMPLES} | {ClientError}


# Those that nobody waits for


@asynchronous
async def test_a_call_that_is_cancelled_leaves_the_others_alone() -> None:
    gates = Gates()
    async with talking(gates) as api:
        one, two = (asyncio.create_task(api.get(f"/wait/{n}")) for n in "ab")
        await gates.until_started("a", "b")
        one.cancel()
        await asyncio.wait([one])
        assert one.cancelled()
        gates.open("a", "b")
        assert await two == "b"
        assert await api.get("/hello") == "Hello, world!"


@asynchronous
async def test_a_call_that_is_late_says_that_it_may_have_run() -> None:
    gates = Gates()
    async with talking(gates, timeout=0.05) as api:
        with pytest.raises(TimedOut, match=r"no reply within 0\.05 s: it may have run") as caught:
            await api.get("/wait/a")
        assert isinstance(caught.value, TimeoutError)
        assert caught.value.may_have_run
        gates.open("a")
        assert await api.get("/hello", timeout=None) == "Hello, world!"


@asynchronous
async def test_calls_that_nobody_waits_for_do_not_take_all_places_for_good() -> None:
    """Of a server that answers none of them: another connection is taken."""
    gates = Gates()
    async with talking(gates, max_in_flight=3) as api:
        for n in range(3):
            with pytest.raises(TimedOut):
                await api.get(f"/wait/{n}", timeout=0.05)
        assert await api.get("/hello") == "Hello, world!"
        await gates.until(lambda: len(gates.cancelled) == 3)


# Servers that are none of ours


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ('{"data":"Hello","event_name":null}', "a reply came without `id`"),
        ("<html>", "what came is no message"),
        ("[1]", "what came is no message (not an object)"),
        ('{"detail":"what?","event_name":null}', "a reply came without `id`: 'what?'"),
        ("eyJkZXRhaWwiOiJubyBtc2dzcGVjIiwiZXZlbnRfbmFtZSI6bnVsbH0=", "a reply came without `id`: 'no msgspec'"),
    ],
)
@asynchronous
async def test_a_server_that_answers_otherwise_is_named_at_once(said: str, text: str) -> None:
    async def talk(connection: Peer) -> None:
        await connection.take()
        await connection.say(said)

    async with peer(talk) as script, AsyncClient(script.url) as api:
        with pytest.raises(UnexpectedReply) as caught:
            await api.get("/hello")
        assert text in str(caught.value)
        assert str(caught.value).endswith("is it a server of aiorest-ws?")


@asynchronous
async def test_a_server_that_echoes_gives_no_reply() -> None:
    async def talk(connection: Peer) -> None:
        while True:
            await connection.say(await connection.connection.recv())

    async with peer(talk) as script, AsyncClient(script.url) as api:
        with pytest.raises(UnexpectedReply, match="a reply without a status, is it a server of aiorest-ws"):
            await api.get("/hello")


@asynchronous
async def test_replies_to_nobody_and_replies_that_come_twice_are_passed_over() -> None:
    async def talk(connection: Peer) -> None:
        await connection.say({"id": 99, "status": 200}, {"id": "x", "status": 200}, {"id": [1], "status": 200})
        first = await connection.answer(1)
        await connection.say({"id": first["id"], "status": 500, "detail": "twice"}, "no JSON", [1])
        await connection.answer(2)

    async with peer(talk) as script, AsyncClient(script.url) as api:
        assert [await api.get("/x"), await api.get("/x")] == [1, 2]


@asynchronous
async def test_what_is_pushed_to_no_topic_is_passed_over() -> None:
    async def talk(connection: Peer) -> None:
        await connection.say(
            {"event_name": "/nobody", "version": "e.1", "data": 1},
            {"event_name": "/nobody", "status": 403, "detail": "no"},
            {"event_name": {"a": 1}, "version": "e.1"},
        )
        await connection.answer("well")

    async with peer(talk) as script, AsyncClient(script.url) as api:
        assert await api.get("/x") == "well"


@asynchronous
async def test_events_come_to_who_wants_them_and_the_oldest_are_left_out() -> None:
    async def talk(connection: Peer) -> None:
        await connection.answer()
        await connection.say({"event_name": "news", "data": "rain"}, {"event_name": {"n": 1}})
        await connection.answer()
        await connection.say(*({"event_name": "n", "data": n} for n in range(1030)))
        await connection.answer()

    async with peer(talk) as script, AsyncClient(script.url) as api:
        events = api.events()
        await api.get("/x")
        assert [(event.name, event.data) for event in (await anext(events), await anext(events))] == [
            ("news", "rain"),
            ({"n": 1}, None),
        ]
        await api.get("/x")
        await api.get("/x")
        event = await anext(events)
        assert (event.data, event.missed) == (6, 6)
        assert (await anext(events)).missed == 0
        events.close()
        events.close()


@asynchronous
async def test_events_end_with_their_client() -> None:
    async with peer_with(1) as url, AsyncClient(url) as api:
        events = api.events()
        reading = asyncio.create_task(_all(events))
        await api.get("/x")
        await api.close()
        assert await reading == []


async def _all(things: Any) -> list[Any]:
    return [thing async for thing in things]


# Ends


@asynchronous
async def test_who_has_closed_it_is_told_so() -> None:
    async with talking() as api:
        await api.get("/hello")
    for _ in range(2):
        with pytest.raises(ClientClosed, match="the client is closed: make another one"):
            await api.get("/hello")
        with pytest.raises(ClientClosed):
            api.subscribe("/x")
        with pytest.raises(ClientClosed):
            async with api:
                pass
    await api.close()
    assert api.status == "closed"


@asynchronous
async def test_closing_fails_what_is_under_way() -> None:
    gates = Gates()
    async with talking(gates) as api:
        call = asyncio.create_task(api.get("/wait/a"))
        await gates.until_started("a")
        await asyncio.gather(api.close(), api.close())
        with pytest.raises(ClientClosed, match="it may have run") as caught:
            await call
        assert caught.value.may_have_run


@asynchronous
async def test_a_client_that_was_never_used_can_be_closed() -> None:
    api = AsyncClient("ws://127.0.0.1:9")
    assert api.status == "connecting"
    await api.close()
    with pytest.raises(ClientClosed):
        await api.get("/x")


@asynchronous
async def test_the_first_call_connects() -> None:
    async with serving(router_of()) as app:
        api = AsyncClient(url_of(app))
        assert await api.post("/made") == {"number": 7}
        await until(lambda: api.status == "open")
        await api.close()


def test_a_client_is_of_one_loop() -> None:
    api = AsyncClient("ws://127.0.0.1:9")

    with asyncio.Runner() as one, asyncio.Runner() as two:
        with pytest.raises(ConnectionLost):
            one.run(api.connect())
        with pytest.raises(RuntimeError, match="belongs to another event loop: make one in each"):
            two.run(api.get("/x"))
        with pytest.raises(RuntimeError, match="belongs to another event loop"):
            two.run(api.close())
        one.run(api.close())


@asynchronous
async def test_a_client_is_of_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    async with talking() as api:
        with monkeypatch.context() as patch:
            patch.setattr("aiorest_ws.client.connecting.os.getpid", lambda: -1)
            with pytest.raises(RuntimeError, match="made in another process: make one after the fork"):
                await api.get("/hello")
        assert await api.get("/hello") == "Hello, world!"


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("http://x:1/y", "ws://x:1/y"),
        ("https://x", "wss://x"),
        ("localhost:8080", "ws://localhost:8080"),
        ("", "ws://host:port?"),
        ("ftp://x", "ws://host:port?"),
        ("ws:x", "ws://x?"),
        ("ws:127.0.0.1:8080", "ws://127.0.0.1:8080?"),
        ("wss:/x/y", "wss://x/y?"),
        (" ws://x", "ws://x?"),
        ("ws://", "ws://host:port?"),
        ("unix:", "ws://"),
    ],
)
def test_a_url_of_another_kind_is_refused_with_the_one_that_is_meant(url: str, meant: str) -> None:
    with pytest.raises(ValueError, match="expected ws://…, wss://… or unix:…") as caught:
        AsyncClient(url)
    assert f"did you mean {meant}" in str(caught.value)


@pytest.mark.parametrize("url", [None, b"ws://x", 8080])
def test_a_url_that_is_no_str_is_refused(url: Any) -> None:
    with pytest.raises(TypeError, match=f"^url must be a str such as 'ws://host:port', got {type(url).__name__}$"):
        AsyncClient(url)


@pytest.mark.parametrize("url", ["ws://x:99999", "ws://x#there", "ws://["])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (of urllib, too)
        AsyncClient(url)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"tiemout": 1}, "unknown option 'tiemout', did you mean 'timeout'"),
        ({"form": "xml"}, "form must be one of json, msgpack, got 'xml'"),
        ({"token": 5}, "token must be a str, a function that gives one, or None, got int"),
        ({"backoff": (2, 1)}, "backoff must be seconds, the least and the most"),
        ({"max_in_flight": 0}, "max_in_flight must be more than 0, got 0"),
        ({"queue": -1}, "queue must be 0 or more calls, got -1"),
        ({"timeout": "5"}, "timeout must be a number of seconds, or None, got '5'"),
        ({"timeout": True}, "timeout must be a number of seconds, or None, got True"),
        ({"connect_timeout": None}, "connect_timeout must be a number of seconds, got None"),
        ({"ping_after": "1"}, "ping_after must be a number, got '1'"),
        ({"queue": None}, "queue must be a number, got None"),
        ({"backoff": 5}, "backoff must be two numbers of seconds, such as (0.5, 20), got 5"),
        ({"backoff": ("0", 1)}, "backoff must be two numbers of seconds, such as (0.5, 20), got ('0', 1)"),
        ({"backoff": (1, 2, 3)}, "backoff must be two numbers of seconds, such as (0.5, 20), got (1, 2, 3)"),
        ({"headers": "a: b"}, "headers must be a mapping, or pairs of name and value, got str"),
        ({"headers": None}, "headers must be a mapping, or pairs of name and value, got NoneType"),
        ({"headers": [1]}, "headers must be a mapping, or pairs of name and value, got list"),
        ({"token": "a\nb"}, "the token has characters that no token has"),
    ],
)
def test_an_option_that_is_none_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        AsyncClient("ws://127.0.0.1:9", **options)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("keyword", "cure"),
    [
        ("json", "give the payload as data="),
        ("params", "give arguments as args="),
        ("headers", "it is of the handshake, give headers= to the client"),
        ("tiemout", "did you mean timeout=?"),
        ("colour", "there are args, data, timeout, idempotency_key, extra"),
    ],
)
@asynchronous
async def test_a_keyword_that_no_call_has_is_refused_with_what_is_meant(keyword: str, cure: str) -> None:
    api = AsyncClient("ws://127.0.0.1:9")
    unknown: Any = {keyword: {}}
    for call in (api.post, api.exchange):
        with pytest.raises(TypeError, match=f"^a call has no '{keyword}': {re.escape(cure)}$"):
            await call(*(("/x",) if call == api.post else ("GET", "/x")), **unknown)
    await api.close()


@asynchronous
async def test_a_keyword_that_no_subscription_has_is_refused_with_what_is_meant() -> None:
    api = AsyncClient("ws://127.0.0.1:9")
    for keyword, cure in (("params", "give arguments as args="), ("json", "there are args, presence, extra")):
        unknown: Any = {keyword: {}}
        with pytest.raises(TypeError, match=f"^a subscription has no '{keyword}': {cure}$"):
            api.subscribe("/x", **unknown)
    await api.close()
