"""What requests change → who subscribes is told, once the handler has ended, with its threads and its clean-up."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import pytest

from aiorest_ws import Application, Depends, HTTPError, Live, MethodBasedView, Request, SimpleRouter
from aiorest_ws.exceptions import NotLive
from aiorest_ws.renderers import JSONRenderer, XMLRenderer
from aiorest_ws.testing import AsyncTestClient, Reply
from tests.kit.live import message, nothing_more, number_of, pushed, subscribed
from tests.serving import asynchronous


class Orders:
    """An application with one order, whose state may be subscribed to, and what else a test registers."""

    def __init__(self) -> None:
        self.router = SimpleRouter()
        self.value = 1
        self.events: list[str] = []

        @self.router.get("/orders/{id:int}", live=Live(interval=0.0))
        def order(request: Request, id: int) -> int:  # noqa: A002
            self.events.append("read")
            return self.value

    def app(self, **options: Any) -> Application:
        return Application(self.router, **options)


def numbers(reply: Any) -> Any:
    """Give what `reply` says has changed: url → number."""
    return {url: number_of(version) for url, version in message(reply).get("changed", {}).items()}


@asynchronous
async def test_a_reply_says_the_version_in_which_its_own_change_comes_back() -> None:
    orders = Orders()

    @orders.router.put("/orders/{id:int}", changes=["/orders/{id}"])
    def change(request: Request, id: int) -> str:  # noqa: A002
        orders.value = request.data
        return "done"

    async with AsyncTestClient(orders.app()) as client, client.connect() as other:
        await subscribed(client, "/orders/7")
        for form in ("text", "text-base64", "binary", "binary-base64", "msgpack"):
            reply = await client.put("/orders/007", data=form, form=form)
            assert (reply.status, reply.data) == (200, "done")
            number, data = await pushed(client)
            assert (data, numbers(reply)) == (form, {"/orders/7": number})
        reply = await other.put("/orders/7", data=1)
        assert numbers(reply) == {}  # it does not subscribe to it
        assert await pushed(client) == (6, 1)
        await client.send('{"method":"PUT","url":"/orders/7","data":2}')
        assert message(await client.receive()) == {"data": "done", "event_name": None}
        assert await pushed(client) == (7, 2)


@asynchronous
async def test_an_error_of_the_server_may_have_changed_something_and_one_of_the_client_has_not() -> None:
    orders = Orders()
    outcomes: dict[str, Any] = {"500": HTTPError(500), "404": HTTPError(404), "bug": KeyError("x")}

    @orders.router.put("/orders/{id:int}", changes=["/orders/{id}"])
    def change(request: Request, id: int) -> None:  # noqa: A002
        orders.value += 1
        raise outcomes[request.data]

    app = orders.app()
    app.exception_handler(KeyError)(lambda request, exc: "recovered")
    async with AsyncTestClient(app) as client:
        await subscribed(client, "/orders/7")
        refused = await client.put("/orders/7", data="404")
        assert (refused.status, numbers(refused)) == (404, {})
        await nothing_more(client)
        for what, status in (("500", 500), ("bug", 200)):
            reply = await client.put("/orders/7", data=what)
            assert reply.status == status
            number, value = await pushed(client)
            assert (numbers(reply), value) == ({"/orders/7": number}, orders.value)


@asynchronous
async def test_who_is_refused_before_the_handler_has_changed_nothing() -> None:
    orders = Orders()

    def guard(request: Request) -> None:
        raise HTTPError(503 if request.data else 403)

    @orders.router.put("/orders/{id:int}", changes=["/orders/{id}"], dependencies=[Depends(guard)])
    def change(request: Request, id: int) -> None:  # noqa: A002
        raise AssertionError

    async with AsyncTestClient(orders.app()) as client:
        await subscribed(client, "/orders/7")
        for data, status in ((1, 503), (0, 403)):
            assert (await client.put("/orders/7", data=data)).status == status
        assert (await client.put("/orders/7", args={"nonsense": 1})).status == 422
        await nothing_more(client)


@asynchronous
async def test_what_goes_wrong_behind_a_handler_does_not_take_back_what_it_has_changed() -> None:
    """A middleware around it, or the clean-up of what it depends on, may answer with what is the client's fault."""
    orders = Orders()

    class Strict:
        async def __call__(self, request: Any, call_next: Any) -> Any:
            await call_next(request)
            raise HTTPError(409, "of the middleware")

    def session() -> Iterator[int]:
        yield 1
        raise HTTPError(409, "of the clean-up")

    @orders.router.put("/orders/{id:int}", changes=["/orders/{id}"], middlewares=[Strict])
    async def change(request: Request, id: int) -> None:  # noqa: A002
        orders.value = 2

    @orders.router.patch("/orders/{id:int}", changes=["/orders/{id}"])
    def patch(request: Request, id: int, s: Annotated[int, Depends(session)]) -> None:  # noqa: A002
        orders.value = 3

    async with AsyncTestClient(orders.app()) as client:
        await subscribed(client, "/orders/7")
        assert (await client.put("/orders/7")).detail == "of the middleware"
        assert await pushed(client) == (1, 2)
        assert (await client.patch("/orders/7")).detail == "of the clean-up"
        assert await pushed(client) == (2, 3)


@asynchronous
async def test_a_4xx_of_the_handler_stays_one_whatever_is_made_of_it_outside() -> None:
    orders = Orders()

    class Forgiving:
        async def __call__(self, request: Any, call_next: Any) -> Any:
            try:
                return await call_next(request)
            except HTTPError:
                raise HTTPError(500) from None

    @orders.router.put("/orders/{id:int}", changes=["/orders/{id}"], middlewares=[Forgiving])
    async def change(request: Request, id: int) -> None:  # noqa: A002
        raise HTTPError(404)

    async with AsyncTestClient(orders.app()) as client:
        await subscribed(client, "/orders/7")
        assert (await client.put("/orders/7")).status == 500
        await nothing_more(client)


@pytest.mark.parametrize("threaded", [False, True], ids=["in the loop", "in a thread"])
@pytest.mark.parametrize("kind", ["def", "async def"])
@asynchronous
async def test_it_is_said_once_what_the_handler_needed_is_cleaned_up(kind: str, threaded: bool) -> None:
    """A row that is not committed is not there for whoever reads it."""
    orders = Orders()

    def session() -> Iterator[list[int]]:
        rows: list[int] = []
        yield rows
        orders.events.append("commit")
        orders.value = rows[0]

    async def asynchronous_session() -> AsyncIterator[list[int]]:
        rows: list[int] = []
        yield rows
        await asyncio.sleep(0)
        orders.events.append("commit")
        orders.value = rows[0]

    needs = session if kind == "def" else asynchronous_session

    @orders.router.put("/orders/{id:int}", changes=["/orders/{id}"], threaded=threaded)
    def change(request: Request, id: int, rows: Annotated[list[int], Depends(needs)]) -> None:  # noqa: A002
        orders.events.append("write")
        rows.append(2)

    async with AsyncTestClient(orders.app()) as client:
        await subscribed(client, "/orders/7")
        orders.events.clear()
        await client.put("/orders/7")
        assert await pushed(client) == (1, 2)
        assert orders.events == ["write", "commit", "read"]


class Blocked:
    """A handler that blocks in a thread until it is let go."""

    def __init__(self) -> None:
        self.is_in = threading.Event()
        self.may_go = threading.Event()

    def __call__(self) -> None:
        self.is_in.set()
        assert self.may_go.wait(5)


def handler(orders: Orders, blocked: Blocked) -> None:
    @orders.router.put("/orders/{id:int}", changes=["/orders/{id}"], threaded=True)
    def change(request: Request, id: int) -> None:  # noqa: A002
        blocked()
        orders.value = 2


def names_it_itself(orders: Orders, blocked: Blocked) -> None:
    @orders.router.put("/orders/{id:int}", threaded=True)
    def change(request: Request, id: int) -> None:  # noqa: A002
        request.changed("/orders/7")
        blocked()
        orders.value = 2


def dependencies_too(orders: Orders, blocked: Blocked) -> None:
    def session() -> Iterator[int]:
        yield 1
        blocked()
        orders.value = 2

    @orders.router.put("/orders/{id:int}", changes=["/orders/{id}"], threaded=True)
    def change(request: Request, id: int, s: Annotated[int, Depends(session)]) -> None:  # noqa: A002
        pass


def clean_up(orders: Orders, blocked: Blocked) -> None:
    def session() -> Iterator[int]:
        yield 1
        blocked()
        orders.value = 2

    async def later() -> None:
        pass

    @orders.router.put("/orders/{id:int}", changes=["/orders/{id}"], threaded=True, dependencies=[Depends(later)])
    def change(request: Request, id: int, s: Annotated[int, Depends(session)]) -> None:  # noqa: A002
        pass


async def given_up(asking: asyncio.Future[Reply], client: AsyncTestClient, end: str) -> None:
    """Wait until nobody waits for a request of `client` any more: its time is over, or so is the connection."""
    if end == "time":
        assert (await asking).status == 504
    else:
        client.abort()
        with pytest.raises(Exception, match="closed"):
            await asking


@pytest.mark.parametrize("end", ["time", "connection"])
@pytest.mark.parametrize("register", [handler, names_it_itself, dependencies_too, clean_up])
@asynchronous
async def test_a_thread_that_its_request_does_not_wait_for_is_waited_for(register: Any, end: str) -> None:
    orders, blocked = Orders(), Blocked()
    register(orders, blocked)
    app = orders.app(request_timeout=0.05 if end == "time" else None)
    async with AsyncTestClient(app) as client, client.connect() as other:
        await subscribed(client, "/orders/7")
        asking = asyncio.ensure_future(other.put("/orders/7"))
        await asyncio.to_thread(blocked.is_in.wait, 5)
        await given_up(asking, other, end)
        await nothing_more(client)
        blocked.may_go.set()
        assert await pushed(client) == (1, 2)


@pytest.mark.parametrize("end", ["time", "connection"])
@pytest.mark.parametrize("insists", [False, True], ids=["cancelled", "goes on"])
@asynchronous
async def test_a_handler_that_is_cancelled_may_have_changed_something(insists: bool, end: str) -> None:
    orders = Orders()
    is_in, is_cancelled, may_go = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @orders.router.put("/orders/{id:int}", changes=["/orders/{id}"])
    async def change(request: Request, id: int) -> None:  # noqa: A002
        is_in.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            is_cancelled.set()
            await may_go.wait()
            orders.value = 2
            if not insists:
                raise

    app = orders.app(request_timeout=0.05 if end == "time" else None)
    async with AsyncTestClient(app) as client, client.connect() as other:
        await subscribed(client, "/orders/7")
        asking = asyncio.ensure_future(other.put("/orders/7"))
        await is_in.wait()
        await given_up(asking, other, end)
        await is_cancelled.wait()
        await nothing_more(client)
        may_go.set()
        assert await pushed(client) == (1, 2)


@asynchronous
async def test_a_handler_names_urls_that_only_it_knows() -> None:
    orders = Orders()
    caught: list[Exception] = []

    @orders.router.post("/orders")
    async def create(request: Request) -> int:
        orders.value = 2
        request.changed("/orders/0007")
        await asyncio.sleep(0)
        try:
            request.changed("/nowhere")
        except NotLive as exc:
            caught.append(exc)
        return 7

    @orders.router.post("/refused")
    def refuse(request: Request) -> None:
        request.changed("/orders/7")
        raise HTTPError(403)

    async with AsyncTestClient(orders.app()) as client:
        await subscribed(client, "/orders/7")
        reply = await client.post("/orders")
        assert (reply.data, numbers(reply)) == (7, {"/orders/7": 1})
        assert await pushed(client) == (1, 2)
        assert "'/nowhere'" in str(caught[0])
        assert (await client.post("/refused")).status == 403
        await nothing_more(client)


@pytest.mark.parametrize("named", [[], ["/orders/7"]], ids=["the first", "one more"])
@asynchronous
async def test_what_goes_on_behind_a_reply_is_told_when_it_says_so(named: list[str]) -> None:
    """A task in the background has the request, too: what it says is not lost."""
    orders = Orders()
    requests: list[Request] = []

    @orders.router.post("/orders")
    def create(request: Request) -> str:
        requests.append(request)
        for url in named:
            request.changed(url)
        return "accepted"

    async with AsyncTestClient(orders.app()) as client:
        await subscribed(client, "/orders/7")
        assert (await client.post("/orders")).data == "accepted"
        for number in range(1, len(named) + 1):
            assert await pushed(client) == (number, ...)
        orders.value = 2
        requests[0].changed("/orders/7")
        assert await pushed(client) == (len(named) + 1, 2)
        with pytest.raises(NotLive):
            requests[0].changed("/nowhere")


@pytest.mark.parametrize("outlives", ["its reply", "its end"])
@asynchronous
async def test_a_handler_that_took_too_long_names_urls_when_it_goes_on(outlives: str) -> None:
    orders = Orders()
    gate = threading.Event()

    def named(request: Request) -> None:
        orders.value = 2
        request.changed("/orders/7")

    @orders.router.put("/thread", threaded=True)
    def threaded(request: Request) -> None:
        gate.wait(5)
        named(request)

    @orders.router.put("/cancelled")
    async def cancelled(request: Request) -> None:
        try:
            await asyncio.sleep(5)
        finally:
            named(request)

    url = "/thread" if outlives == "its end" else "/cancelled"
    async with AsyncTestClient(orders.app(request_timeout=0.01)) as client:
        await subscribed(client, "/orders/7")
        assert (await client.put(url)).status == 504
        gate.set()
        assert await pushed(client) == (1, 2)
        await nothing_more(client)


@asynchronous
async def test_urls_stand_below_the_prefixes_of_their_route() -> None:
    router, inner, outer = SimpleRouter(), SimpleRouter(), SimpleRouter()
    value = 1

    @router.get("/orders/{id:int}", live=Live(interval=0.0))
    def order(request: Request, *path: Any) -> int:
        return value

    @router.put("/orders/{id:int}", changes=["/orders/{id}"])
    def change(request: Request, *path: Any) -> None:
        nonlocal value
        value = 2

    inner.include(router, prefix="/shop")
    outer.include(inner, prefix="/{tenant}")
    async with AsyncTestClient(Application(outer)) as client:
        await subscribed(client, "/acme/shop/orders/7")
        assert numbers(await client.put("/acme/shop/orders/07")) == {"/acme/shop/orders/7": 1}
        assert await pushed(client) == (1, 2)
        assert numbers(await client.put("/other/shop/orders/7")) == {}


@asynchronous
async def test_a_url_that_leads_nowhere_is_reported_and_the_reply_stands(caplog: pytest.LogCaptureFixture) -> None:
    router = SimpleRouter()

    @router.get("/logs/{name}", live=Live(mode="log", shared=True))
    def log(request: Request, name: str) -> list[int]:
        return []

    @router.get("/{kind}/1", live=Live())
    def one(request: Request, kind: str) -> int:
        return 1

    @router.put("/{kind}/{number}", changes=["/{kind}/{number}"])
    def change(request: Request, kind: str, number: str) -> str:
        return "done"

    async with AsyncTestClient(Application(router)) as client:
        await client.request("SUBSCRIBE", "/a/1")
        reply = await client.put("/a/1")
        assert (reply.data, numbers(reply)) == ("done", {"/a/1": 1})
        for url, why in (("/a/2", "no route that answers GET"), ("/logs/x", "is a log")):
            caplog.clear()
            reply = await client.put(url)
            assert (reply.status, reply.data, numbers(reply)) == (200, "done", {})
            assert why in caplog.text


@asynchronous
async def test_replies_of_renderers_of_their_own_stay_as_they_are() -> None:
    orders = Orders()

    @orders.router.put("/orders/{id:int}", changes=["/orders/{id}"], renderers=[JSONRenderer, XMLRenderer])
    def change(request: Request, id: int) -> None:  # noqa: A002
        orders.value += 1
        if request.data:
            raise HTTPError(500)

    async with AsyncTestClient(orders.app()) as client:
        await subscribed(client, "/orders/7")
        assert numbers(await client.put("/orders/7")) == {}
        assert await pushed(client) == (1, 2)
        assert numbers(await client.put("/orders/7", data=1)) == {"/orders/7": 2}  # an error is plain


@asynchronous
async def test_methods_of_a_view_that_change_nothing_tell_nobody() -> None:
    runs = []
    router = SimpleRouter()

    class Order(MethodBasedView):
        live = Live(interval=0.0)
        changes = ("/orders/{id}",)

        def get(self, request: Request, id: int) -> int:  # noqa: A002
            runs.append(request.subscribing)
            return len(runs)

        def delete(self, request: Request, id: int) -> None:  # noqa: A002
            pass

    router.register("/orders/{id:int}", Order)
    async with AsyncTestClient(Application(router)) as client:
        await subscribed(client, "/orders/7")
        await client.get("/orders/7")
        assert runs == [True, False]
        assert numbers(await client.delete("/orders/7")) == {"/orders/7": 1}
        assert await pushed(client) == (1, 3)
