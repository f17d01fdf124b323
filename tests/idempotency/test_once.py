"""Requests with a key, from a client's side: each is done once, and answered as often as it is asked."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from prometheus_client import CollectorRegistry

from aiorest_ws import Application, Depends, HTTPError, Live, MethodBasedView, Request, Response, SimpleRouter
from aiorest_ws.exchange import Exchange
from aiorest_ws.idempotency import Idempotency
from aiorest_ws.idempotency.keys import Keys
from aiorest_ws.metrics import Metrics
from aiorest_ws.renderers import XMLRenderer
from aiorest_ws.testing import AsyncTestClient, Reply
from tests.kit.live import message, nothing_more, pushed, subscribed
from tests.serving import Client, Gates, asynchronous, factory_of, serving, turn_over, until

KEY = "7f1c6d1e-2b1a-4d3f"
FORMS = ("text", "text-base64", "binary", "binary-base64", "msgpack")


class Till:
    """An application that counts what it does."""

    def __init__(self, **options: Any) -> None:
        self.router = SimpleRouter()
        self.done: list[Any] = []
        self.gates = Gates()
        self.options = options

    def note(self, given: Any = None) -> Any:
        """Take note that something was done; give `given`."""
        self.done.append(1)
        return given

    def does(self, function: Callable[..., Any], path: str = "/pay", verb: str = "post", **options: Any) -> "Till":
        getattr(self.router, verb)(path, **options)(function)
        return self

    def client(self, user: str = "ada", **options: Any) -> AsyncTestClient:
        return AsyncTestClient(Application(self.router, **self.options), user=user, **options)


def paying(**options: Any) -> Till:
    """Give a till that takes payments, each with a number."""
    till = Till(**options)

    async def pay(request: Request) -> Response:
        till.done.append(request.data)
        return Response({"number": len(till.done)}, status=201)

    return till.does(pay)


def waiting(**options: Any) -> Till:
    """Give a till whose handler waits at the gate that `data` names."""
    till = Till(**options)

    async def pay(request: Request) -> str:
        till.done.append(request.data)
        return await till.gates.wait(request.data)

    return till.does(pay).does(lambda request: "here", "/ping", "get")


def said(reply: Reply) -> tuple[int | None, Any, bool]:
    """Give what is the same in the replies to one request, and whether it says that it is one again."""
    return reply.status, reply.data if reply.ok else reply.detail, reply.replayed


# Again


@asynchronous
async def test_a_request_is_done_once_and_answered_in_the_form_in_which_it_is_asked() -> None:
    till = paying()
    async with till.client() as client:
        first = await client.post("/pay", data=5, idempotency_key=KEY)
        assert said(first) == (201, {"number": 1}, False)
        for form in FORMS:
            again = await client.post("/pay", data=5, idempotency_key=KEY, form=form, event_name=form)
            assert said(again) == (201, {"number": 1}, True)
            assert again.event_name == form
        plain = await client.post("/pay", data=5, idempotency_key=KEY, id=None, event_name="x")
        assert message(plain.raw) == {"data": {"number": 1}, "event_name": "x"}
        assert till.done == [5]


@asynchronous
async def test_a_first_reply_is_what_it_is_without_a_key() -> None:
    till = paying()
    async with till.client() as client:
        for form in FORMS:
            for own in ({}, {"event_name": "x"}, {"id": None}, {"id": None, "event_name": "x"}, {"id": "ü"}):
                till.done.clear()
                without = await client.post("/pay", form=form, **{"id": 9} | own)
                till.done.clear()
                key = f"{KEY}{form}{own}"
                assert (await client.post("/pay", form=form, idempotency_key=key, **{"id": 9} | own)).raw == without.raw


@asynchronous
async def test_a_value_is_the_same_whichever_form_was_first() -> None:
    till = Till().does(lambda request: {"bytes": b"\xff", "many": ["ü", 1.5, None, 2**64 - 1], "nan": float("nan")})
    async with till.client() as client:
        for number, first in enumerate(FORMS):
            one = await client.post("/pay", idempotency_key=f"{KEY}{number}", form=first)
            for second in FORMS:
                again = await client.post("/pay", idempotency_key=f"{KEY}{number}", form=second)
                if (first == "msgpack") == (second == "msgpack"):
                    assert repr(again.data) == repr(one.data)
                assert again.data["many"] == ["ü", 1.5, None, 2**64 - 1]


@pytest.mark.parametrize("status", [400, 404, 409, 429, 500, 503])
@asynchronous
async def test_an_error_of_the_handler_is_an_outcome(status: int) -> None:
    till = Till()

    def pay(request: Request) -> None:
        till.done.append(1)
        raise HTTPError(status, {"why": [status]})

    async with till.does(pay).client() as client:
        assert said(await client.post("/pay", idempotency_key=KEY)) == (status, {"why": [status]}, False)
        for form in FORMS:
            assert said(await client.post("/pay", idempotency_key=KEY, form=form)) == (status, {"why": [status]}, True)
        assert till.done == [1]


@asynchronous
async def test_a_bug_is_an_outcome_and_what_answers_for_it_is_called_once(caplog: pytest.LogCaptureFixture) -> None:
    till, recovered = Till(), []

    def pay(request: Request) -> None:
        raise {"key": KeyError, "value": ValueError}[request.data](1)

    @till.router.exception_handler(ValueError)
    def recover(request: Request, exc: ValueError) -> Response:
        recovered.append(exc)
        return Response("never mind", status=202)

    async with till.does(pay).client() as client:
        for _ in range(2):
            reply = await client.post("/pay", data="key", idempotency_key=KEY)
            assert (reply.status, reply.detail) == (500, "A server error occurred.")
            reply = await client.post("/pay", data="value", idempotency_key=KEY * 2)
            assert (reply.status, reply.data) == (202, "never mind")
    assert reply.replayed
    assert len(recovered) == 1
    assert caplog.text.count("failed: KeyError") == 1


# Which request it is


@asynchronous
async def test_other_args_or_data_are_another_request() -> None:
    till = paying()
    async with till.client() as client:
        sent: dict[str, Any] = {"args": {}, "data": {"a": [1, {"b": 2, "c": 3}]}}
        await client.post("/pay", idempotency_key=KEY, **sent)
        others: list[dict[str, Any]] = [{"args": {"x": 1}}, {"data": {"a": [1, {"b": 2, "c": 4}]}}, {"data": None}]
        for other in others:
            for form in FORMS:
                reply = await client.post("/pay", idempotency_key=KEY, form=form, **sent | other)
                assert reply.status == 422
                assert "was used with other `args` or `data`" in reply.detail
        again = await client.post("/pay", idempotency_key=KEY, data={"a": [1, {"c": 3, "b": 2}]})  # in another order
        assert again.replayed
    assert len(till.done) == 1


@asynchronous
async def test_one_key_is_another_for_another_method_url_or_user() -> None:
    till = paying()

    def change(request: Request, id: int) -> int:  # noqa: A002
        till.done.append(id)
        return id

    till.does(change, "/orders/{id:int}", "put").does(change, "/orders/{id:int}", "post")
    async with till.client() as client, client.connect(user="bob") as bob:
        for _ in range(2):
            await client.post("/pay", idempotency_key=KEY)
            await bob.post("/pay", idempotency_key=KEY)
            for number in (1, 2):
                assert (await client.put(f"/orders/{number}", idempotency_key=KEY)).data == number
            await client.post("/orders/1", idempotency_key=KEY)
    assert till.done == [None, None, 1, 2, 1]


@asynchronous
async def test_digits_matter_where_a_handler_sees_them() -> None:
    till = Till()

    def pay(request: Request, amount: Decimal) -> str:
        till.done.append(amount)
        return str(amount)

    async with till.does(pay).client() as client:

        async def ask(amount: str) -> dict[str, Any]:
            await client.send(
                f'{{"method":"POST","url":"/pay","id":"x","idempotency_key":"{KEY}","args":{{"amount":{amount}}}}}'
            )
            return message(await client.receive())

        assert (await ask("0.1000000000000000000001"))["data"] == "0.1000000000000000000001"
        assert (await ask("0.1000000000000000000001"))["replayed"]
        for other in ("0.1", "0.1000000000000000000002", '"0.1000000000000000000001"'):
            assert (await ask(other))["status"] == 422


@asynchronous
async def test_what_a_middleware_does_to_a_request_makes_it_no_other() -> None:
    class Stamp:
        def process_request(self, request: Any, handler: Any) -> None:
            till.done.append(len(till.done))
            request.data["at"] = len(till.done)

    till = Till(middlewares=[Stamp()]).does(lambda request: request.data)
    async with till.client() as client:
        assert (await client.post("/pay", data={}, idempotency_key=KEY)).data == {"at": 1}
        assert said(await client.post("/pay", data={}, idempotency_key=KEY)) == (200, {"at": 1}, True)


@pytest.mark.parametrize("key", ["a" * 15, "a" * 129, "ü" * 65, "", 1234567890123456, ["a" * 16], {"a": 1}, True])
@asynchronous
async def test_what_is_no_key_is_refused(key: Any) -> None:
    till = paying()
    async with till.client() as client:
        for form in FORMS:
            reply = await client.post("/pay", idempotency_key=key, form=form)
            assert said(reply) == (400, "`idempotency_key` must be a string of 16 to 128 bytes", False)
        assert till.done == []


@pytest.mark.parametrize("key", ["a" * 16, "a" * 128, "ü" * 64, " " * 16])
@asynchronous
async def test_what_is_a_key_is_taken(key: str) -> None:
    async with paying().client() as client:
        for again in (False, True):
            assert (await client.post("/pay", idempotency_key=key)).replayed is again


@asynchronous
async def test_what_cannot_be_compared_is_refused() -> None:
    till = paying()
    async with till.client() as client:
        for levels, status in ((300, 201), (900, 400)):
            deep = "[" * levels + "]" * levels
            await client.send(
                f'{{"method":"POST","url":"/pay","id":"x","idempotency_key":"{KEY}{levels}","data":{deep}}}'
            )
            assert message(await client.receive())["status"] == status
    assert len(till.done) == 1


@pytest.mark.parametrize("key", [KEY, "x", 5])
@asynchronous
async def test_what_only_asks_needs_no_key_and_takes_no_notice_of_one(key: Any) -> None:
    till = Till()
    for verb in ("get", "head", "options", "trace"):
        till.does(
            lambda request: till.done.append(request.method),
            "/pay",
            verb,
            **({"live": Live()} if verb == "get" else {}),
        )
    async with till.client(user="ada") as client:
        for _ in range(2):
            for verb in ("GET", "HEAD", "OPTIONS", "TRACE", "SUBSCRIBE"):
                assert not (await client.request(verb, "/pay", idempotency_key=key)).replayed
    assert till.done == ["GET", "HEAD", "OPTIONS", "TRACE", "GET"] * 2


# Who asks


@asynchronous
async def test_nobody_has_no_keys() -> None:
    till = paying()
    async with AsyncTestClient(Application(till.router)) as client:
        reply = await client.post("/pay", idempotency_key=KEY)
        assert (reply.status, reply.replayed) == (400, False)
        assert reply.detail.endswith(
            ": authenticate, or have the server tell who asks: `Application(idempotency=lambda request: ...)`"
        )
        assert (await client.post("/pay", idempotency_key=None)).status == 201


@asynchronous
async def test_the_issuer_of_a_token_counts_too() -> None:
    till = paying()
    async with till.client(claims={"iss": "a"}) as client:
        others: list[Any] = [("ada", {"iss": "b"}), ("ada", {}), ("da", {"iss": "aa"})]
        await client.post("/pay", idempotency_key=KEY)
        for user, claims in others:
            async with client.connect(user=user, claims=claims) as other:
                assert not (await other.post("/pay", idempotency_key=KEY)).replayed
        async with client.connect(user="ada", claims={"iss": "a", "exp": 2**40}) as same:
            assert (await same.post("/pay", idempotency_key=KEY)).replayed


@asynchronous
async def test_an_application_may_say_itself_who_asks() -> None:
    till = paying(idempotency=lambda request: request.get_extra("shop"))
    async with till.client() as client:
        for shop in ("a", "b", "a"):
            await client.post("/pay", idempotency_key=KEY, shop=shop)
        for nobody in (None, ""):
            assert (await client.post("/pay", idempotency_key=KEY, shop=nobody)).status == 400
        assert (await client.post("/pay", idempotency_key=KEY, shop=7)).status == 500
    assert len(till.done) == 2


@asynchronous
async def test_without_idempotency_a_key_means_nothing() -> None:
    till = Till(idempotency=False).does(lambda request: request.idempotency_key)
    async with till.client() as client:
        for _ in range(2):
            assert said(await client.post("/pay", idempotency_key="mine")) == (200, "mine", False)


# Whether the handler was called


@asynchronous
async def test_what_the_handler_was_not_called_for_is_not_kept() -> None:
    till, answers = Till(), ["forbidden", "busy", "busy", "fine"]

    class Guard:
        @staticmethod
        def check(request: Any, handler: Any) -> bool:
            return answers[0] != "forbidden"

    def database(request: Request) -> str:
        if answers[0] == "busy":
            raise HTTPError(503, "no database")
        return "db"

    def pay(request: Request, db: Annotated[str, Depends(database)], amount: int) -> int:
        till.done.append(amount)
        return amount

    till.does(pay, permission_classes=[Guard])
    async with till.client() as client:
        for status in (403, 503, 503, 200):
            assert (await client.post("/pay", args={"amount": 1}, idempotency_key=KEY)).status == status
            answers.pop(0)
        answers.append("fine")
        for again in (False, False):
            reply = await client.post("/pay", args={"amount": "x"}, idempotency_key=KEY * 2)
            assert (reply.status, reply.replayed) == (422, again)
        assert (await client.post("/pay", args={"amount": 2}, idempotency_key=KEY * 2)).data == 2
        answers[0] = "forbidden"  # by now
        assert (await client.post("/pay", args={"amount": 1}, idempotency_key=KEY)).status == 403
    assert till.done == [1, 2]


@pytest.mark.parametrize("kind", ["sync", "async", "threaded"])
@asynchronous
async def test_what_a_handler_depends_on_is_made_for_it_alone_and_its_clean_up_counts(kind: str) -> None:
    till = Till()

    def opened(request: Request) -> Iterator[str]:
        till.done.append("open")
        yield "db"
        till.done.append("close")
        raise HTTPError(500, "not committed")

    async def opened_later(request: Request) -> AsyncIterator[str]:
        for each in opened(request):
            yield each

    def pay(request: Request, db: Annotated[str, Depends(opened_later if kind == "async" else opened)]) -> str:
        till.done.append("pay")
        return db

    async with till.does(pay, threaded=kind == "threaded").client() as client:
        for again in (False, True):
            assert said(await client.post("/pay", idempotency_key=KEY)) == (500, "not committed", again)
    assert till.done == ["open", "pay", "close"]


@asynchronous
async def test_a_handler_in_a_thread_and_one_of_a_view_are_done_once() -> None:
    till = Till()

    class Pay(MethodBasedView):
        def post(self, request: Request) -> str:
            till.done.append(request.data)
            return "paid"

    till.router.register("/view", Pay, ["POST"])
    till.does(lambda request: till.done.append(request.data), threaded=True)
    for debug in (False, True):
        till.options["debug"] = debug
        async with till.client() as client:
            for again in (False, True):
                assert said(await client.post("/view", data=debug, idempotency_key=KEY)) == (200, "paid", again)
                assert said(await client.post("/pay", data=debug, idempotency_key=KEY)) == (200, None, again)
    assert till.done == [False] * 2 + [True] * 2


@asynchronous
async def test_what_cannot_be_encoded_is_an_outcome() -> None:
    till = Till().does(lambda request: till.note(object()))
    async with till.client() as client:
        for again in (False, True):
            reply = await client.post("/pay", idempotency_key=KEY)
            assert (reply.status, reply.replayed) == (500, again)
    assert till.done == [1]


@asynchronous
async def test_a_renderer_of_a_view_renders_it_again() -> None:
    till = Till()

    class Pay(MethodBasedView):
        renderers = (XMLRenderer,)

        def post(self, request: Request) -> dict[str, int]:
            till.done.append(1)
            return {"number": len(till.done)}

    till.router.register("/pay", Pay, ["POST"])
    async with till.client() as client:
        first = await client.post("/pay", idempotency_key=KEY, event_name="a", id=None)
        again = await client.post("/pay", idempotency_key=KEY, event_name="b", id=None)
        assert b"<number>1</number>" in first.raw
        assert again.raw == first.raw.replace(b">a<", b">b<")
    assert till.done == [1]


# What stands around it


@asynchronous
async def test_those_around_it_see_it_again_and_change_nothing_of_it() -> None:
    seen: list[Any] = []

    async def around(request: Any, call_next: Any) -> Any:
        given = await call_next(request)
        seen.append(given.content["data"])
        return Response({"wrapped": given.content["data"]}, status=203)

    till = Till(middlewares=[around])
    till.does(lambda request: till.note() or len(till.done))
    async with till.client() as client:
        for again in (False, True):
            assert said(await client.post("/pay", idempotency_key=KEY)) == (203, {"wrapped": 1}, again)
    assert seen == [1, {"wrapped": 1}]
    assert till.done == [1]


@asynchronous
async def test_those_around_it_see_an_error_again_and_may_refuse() -> None:
    seen: list[Any] = []
    closed = asyncio.Event()

    async def around(request: Any, call_next: Any) -> Any:
        try:
            given = await call_next(request)
        except Exception as exc:
            seen.append((getattr(exc, "status", None), getattr(exc, "detail", None)))
            raise
        if closed.is_set():
            raise HTTPError(403, "closed by now")
        return given

    till = Till(middlewares=[around])

    def pay(request: Request) -> str:
        till.done.append(request.data)
        if request.data == "broke":
            raise HTTPError(402, ["no money"])
        return "paid"

    async with till.does(pay).client() as client:
        for again in (False, True):
            assert said(await client.post("/pay", data="broke", idempotency_key=KEY)) == (402, ["no money"], again)
            assert said(await client.post("/pay", data="rich", idempotency_key=KEY * 2)) == (200, "paid", again)
        closed.set()
        assert said(await client.post("/pay", data="rich", idempotency_key=KEY * 2)) == (403, "closed by now", False)
    assert seen == [(402, ["no money"])] * 2
    assert till.done == ["broke", "rich"]


@asynchronous
async def test_a_middleware_that_tries_again_has_it_done_again() -> None:
    async def trying(request: Any, call_next: Any) -> Any:
        try:
            return await call_next(request)
        except KeyError:
            return await call_next(request)

    till = Till(middlewares=[trying])

    def pay(request: Request) -> int:
        till.done.append(1)
        if len(till.done) == 1:
            raise KeyError
        return len(till.done)

    async with till.does(pay).client() as client:
        for again in (False, True):
            assert said(await client.post("/pay", idempotency_key=KEY)) == (200, 2, again)


@asynchronous
async def test_what_it_changes_is_told_once() -> None:
    till = Till()
    till.does(lambda request: len(till.done), "/till", "get", live=Live(interval=0.0))
    till.does(lambda request: till.done.append(1), changes=["/till"])

    def say(request: Request) -> None:
        till.done.append(1)
        request.changed("/till")

    till.does(say, "/say")
    async with till.client() as client:
        await subscribed(client, "/till")
        for number, url in ((1, "/pay"), (2, "/say")):
            first = await client.post(url, idempotency_key=KEY)
            assert "/till" in (first.changed or {})
            assert (await pushed(client))[1] == number
            again = await client.post(url, idempotency_key=KEY)
            assert (again.replayed, again.changed) == (True, None)
            await nothing_more(client)


# While it runs


@asynchronous
async def test_who_asks_while_it_runs_waits_and_keeps_nobody_waiting() -> None:
    till = waiting()
    async with till.client() as client, client.connect(user="ada") as other:
        asked = [
            asyncio.ensure_future(each.post("/pay", data="a", idempotency_key=KEY, form=form))
            for each, form in ((client, "text"), (client, "msgpack"), (other, "binary"))
        ]
        await till.gates.until_started("a")
        assert (await client.get("/ping")).data == (await other.get("/ping")).data == "here"
        assert (await client.post("/pay", data="b", idempotency_key=KEY)).status == 422
        assert not any(each.done() for each in asked)
        till.gates.open("a")
        assert [said(await each) for each in asked] == [(200, "a", False), (200, "a", True), (200, "a", True)]
    assert till.done == ["a"]


@asynchronous
async def test_ordered_requests_keep_their_order() -> None:
    till = waiting()
    async with till.client() as client, client.connect(user="ada") as other:
        first = asyncio.ensure_future(client.post("/pay", data="a", idempotency_key=KEY))
        await till.gates.until_started("a")
        for url, method in (("/pay", "POST"), ("/ping", "GET")):
            await other.send(
                f'{{"method":"{method}","url":"{url}","idempotency_key":"{KEY}","data":"a","event_name":"{url}"}}'
            )
        await turn_over()
        assert other.events() == []
        till.gates.open("a")
        assert [message(await other.receive())["event_name"] for _ in range(2)] == ["/pay", "/ping"]
        await first


@asynchronous
async def test_who_waits_has_its_own_time_and_what_takes_too_long_is_an_outcome() -> None:
    till = waiting(request_timeout=0.05)
    async with till.client() as client:
        for again in (False, True):
            assert said(await client.post("/pay", data="a", idempotency_key=KEY)) == (
                504,
                "The request took too long.",
                again,
            )
        stuck = asyncio.Event()

        async def stubborn(request: Request) -> str:
            till.done.append("stubborn")
            while not stuck.is_set():
                try:
                    await stuck.wait()
                except asyncio.CancelledError:
                    till.gates._note(till.gates.cancelled, "stubborn")
            return "at last"

        till.does(stubborn, "/stubborn")
    async with till.client() as client:
        for _ in range(2):  # the second waits for the first, which does not end
            reply = await client.post("/stubborn", idempotency_key=KEY)
            assert (reply.status, reply.replayed) == (504, False)
        stuck.set()
        assert said(await client.post("/stubborn", idempotency_key=KEY)) == (200, "at last", True)
    assert till.done == ["a", "stubborn"]


# When its client leaves


@asynchronous
async def test_a_client_that_leaves_takes_nothing_with_a_key_along() -> None:
    till = waiting()
    async with till.client() as client, client.connect(user="ada") as leaving:
        await leaving.send(f'{{"method":"POST","url":"/pay","id":1,"data":"a","idempotency_key":"{KEY}"}}')
        await leaving.send('{"method":"POST","url":"/pay","id":2,"data":"b"}')
        await till.gates.until_started("a", "b")
        leaving.abort()
        await till.gates.until(lambda: till.gates.cancelled == ["b"])
        again = asyncio.ensure_future(client.post("/pay", data="a", idempotency_key=KEY))
        await turn_over()
        till.gates.open("a")
        assert said(await again) == (200, "a", True)
    assert till.gates.cancelled == ["b"]
    assert till.done == ["a", "b"]


@asynchronous
async def test_so_many_handlers_of_one_go_on_without_a_client_and_no_more() -> None:
    till = waiting(idempotency=Idempotency(max_running_each=1))
    async with till.client() as client:
        async with client.connect(user="ada") as leaving:
            for name in "ab":
                await leaving.send(
                    f'{{"method":"POST","url":"/pay","id":"{name}","data":"{name}","idempotency_key":"{KEY}{name}"}}'
                )
            await till.gates.until_started("a", "b")
            leaving.abort()
            await till.gates.until(lambda: till.gates.cancelled == ["b"])
            till.gates.open("a")
            assert said(await client.post("/pay", data="a", idempotency_key=KEY + "a")) == (200, "a", True)
            unknown = await client.post("/pay", data="b", idempotency_key=KEY + "b")
            assert (unknown.status, unknown.detail[:46]) == (409, "the request with this `idempotency_key` may ha")
        async with client.connect(user="ada") as leaving:  # there is room again
            await leaving.send(f'{{"method":"POST","url":"/pay","id":1,"data":"c","idempotency_key":"{KEY}c"}}')
            await till.gates.until_started("c")
            leaving.abort()
            await turn_over()
            till.gates.open("c")
            assert said(await client.post("/pay", data="c", idempotency_key=KEY + "c")) == (200, "c", True)


@asynchronous
async def test_who_leaves_before_the_handler_is_called_has_begun_nothing() -> None:
    class Guard:
        async def process_request(self, request: Any, handler: Any) -> None:
            if request.get_extra("gate"):
                await till.gates.wait("guard")

    till = paying(middlewares=[Guard()])
    async with till.client() as client:
        async with client.connect(user="ada") as leaving:
            await leaving.send(f'{{"method":"POST","url":"/pay","id":1,"gate":1,"idempotency_key":"{KEY}"}}')
            await till.gates.until_started("guard")
            leaving.abort()
            await till.gates.until(lambda: till.gates.cancelled == ["guard"])
        assert said(await client.post("/pay", idempotency_key=KEY)) == (201, {"number": 1}, False)


@asynchronous
async def test_who_leaves_in_the_moment_in_which_it_would_begin_has_begun_nothing() -> None:
    released: list[str] = []

    class Slow:
        async def reserve(self, asked: Any) -> str:
            await till.gates.wait("reserve")
            return "ticket"

        def release(self, ticket: str) -> None:
            released.append(ticket)

    till = paying()
    keys = Keys(lambda request: "ada", None)
    keys.__class__ = type("SlowKeys", (Keys,), {"ledger": Slow()})
    request = Request(method="POST", url="/pay")
    once = keys.begin(None, request, SimpleNamespace(method="POST"), KEY)

    async def answer() -> bytes:
        await once.is_done(request)
        raise AssertionError("it went on")

    task = asyncio.ensure_future(once.through(request, answer()))
    await till.gates.until_started("reserve")
    assert not once.leave()  # its task is to be cancelled; until it is, the ticket may come
    till.gates.open("reserve")
    await turn_over()
    assert released == ["ticket"]
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert released == ["ticket"]


@asynchronous
async def test_a_handler_whose_client_left_has_no_more_time_than_others() -> None:
    till = waiting(request_timeout=0.05)
    async with till.client() as client:
        async with client.connect(user="ada") as leaving:
            await leaving.send(f'{{"method":"POST","url":"/pay","id":1,"data":"a","idempotency_key":"{KEY}"}}')
            await till.gates.until_started("a")
            leaving.abort()
            await till.gates.until(lambda: till.gates.cancelled == ["a"])
        assert said(await client.post("/pay", data="a", idempotency_key=KEY)) == (
            504,
            "The request took too long.",
            True,
        )


# How much


@asynchronous
async def test_what_is_too_large_is_done_and_not_kept() -> None:
    till = Till().does(lambda request: till.note("x" * 65534))
    till.does(lambda request: till.note("x" * 65535), "/more")
    async with till.client() as client:
        await client.post("/pay", idempotency_key=KEY)
        assert said(await client.post("/pay", idempotency_key=KEY)) == (200, "x" * 65534, True)
        assert (await client.post("/more", idempotency_key=KEY)).status == 200
        for _ in range(2):
            reply = await client.post("/more", idempotency_key=KEY)
            assert said(reply) == (
                409,
                "the request with this `idempotency_key` is done, its reply was not kept",
                False,
            )
    assert till.done == [1, 1]


@asynchronous
async def test_one_who_has_too_many_keys_is_told_so_and_others_are_not() -> None:
    till = paying(idempotency=Idempotency(max_keys_each=2))
    async with till.client() as client, client.connect(user="bob") as bob:
        for number, status in enumerate((201, 201, 429)):
            assert (await client.post("/pay", idempotency_key=f"{KEY}{number}")).status == status
        assert (await client.post("/pay", idempotency_key=f"{KEY}0")).replayed
        assert (await bob.post("/pay", idempotency_key=KEY)).status == 201
        assert (await client.post("/pay")).status == 201


@asynchronous
async def test_a_test_may_let_the_five_minutes_pass() -> None:
    till = paying()
    async with till.client() as client:
        await client.post("/pay", idempotency_key=KEY)
        await client.advance(299)
        assert (await client.post("/pay", idempotency_key=KEY)).replayed
        await client.advance(2)
        assert said(await client.post("/pay", idempotency_key=KEY)) == (201, {"number": 2}, False)


@asynchronous
async def test_no_key_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    till = Till(access_log="json", debug=True)

    def pay(request: Request) -> None:
        raise KeyError(1)

    with caplog.at_level("DEBUG"):
        async with till.does(pay).client() as client:
            for data in (1, 1, 2):
                reply = await client.post("/pay", data=data, idempotency_key=KEY)
                assert KEY not in str(reply)
    assert "KeyError" in caplog.text
    assert '"status":422' in caplog.text.replace(" ", "")
    assert KEY not in caplog.text


@asynchronous
async def test_replays_are_counted_as_requests() -> None:
    registry = CollectorRegistry()
    till = paying(metrics=Metrics(registry))
    async with till.client() as client:
        for _ in range(3):
            await client.post("/pay", idempotency_key=KEY)
        labels = {"route": "/pay/", "method": "POST", "status": "201"}
        assert registry.get_sample_value("aiorest_ws_requests_total", labels) == 3


# The end


@asynchronous
async def test_the_end_waits_for_what_its_client_has_left() -> None:
    till = waiting()
    async with serving(till.router, idempotency=lambda request: "ada") as app:
        client = await Client.connect(app)
        client.request("POST", "/pay", id=1, data="a", idempotency_key=KEY)
        await till.gates.until_started("a")
        client.abort()
        await until(lambda: not factory_of(app).connections)
        end = asyncio.ensure_future(app.stop())
        await turn_over()
        assert not end.done()
        till.gates.open("a")
        await end
    assert till.gates.finished == ["a"]
    assert till.gates.cancelled == []


@asynchronous
async def test_the_end_does_not_wait_for_ever() -> None:
    till = waiting()
    async with serving(till.router, idempotency=lambda request: "ada", shutdown_timeout=0.05) as app:
        client = await Client.connect(app)
        client.request("POST", "/pay", id=1, data="a", idempotency_key=KEY)
        await till.gates.until_started("a")
        client.abort()
        await until(lambda: not factory_of(app).connections)
        await app.stop()
    assert till.gates.cancelled == ["a"]


@asynchronous
async def test_an_application_that_is_gone_is_not_kept_by_its_keys() -> None:
    async def used() -> weakref.ref[Application]:
        app = Application(paying().router, idempotency=lambda request: str(id(app)))
        async with AsyncTestClient(app) as client:
            for again in (False, True):
                assert (await client.post("/pay", idempotency_key=KEY)).replayed is again
        return weakref.ref(app)

    app = await used()
    gc.collect()
    assert app() is None


# Over HTTP


@asynchronous
async def test_what_is_asked_over_http_may_be_asked_again_over_a_websocket() -> None:
    till = paying(idempotency=lambda request: "ada")
    app = Application(till.router, **till.options)
    sent: list[Any] = []

    async def ask() -> None:
        body = [{"type": "http.request", "body": b'{"pens":3}'}]

        async def receive() -> dict[str, Any]:
            if not body:
                await asyncio.Event().wait()  # it stays
            return body.pop()

        await door(scope, receive, send)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"t"), (b"content-type", b"application/json"), (b"content-length", b"10")]
    headers.append((b"idempotency-key", f'"{KEY}"'.encode()))
    scope = {"type": "http", "method": "POST", "path": "/pay", "http_version": "1.1", "headers": headers}
    door = Exchange(app.prepare())
    async with AsyncTestClient(app) as client:
        await ask()
        assert (sent[0]["status"], sent[1]["body"]) == (201, b'{"number":1}')
        assert said(await client.post("/pay", data={"pens": 3}, idempotency_key=KEY)) == (201, {"number": 1}, True)
        await client.post("/pay", data={"pens": 4}, idempotency_key=KEY * 2)
        headers[-1] = (b"idempotency-key", (KEY * 2).encode())
        assert (await client.post("/pay", data={"pens": 3}, idempotency_key=KEY * 2)).status == 422
        await ask()
        assert sent[2]["status"] == 422
    assert till.done == [{"pens": 3}, {"pens": 4}]
