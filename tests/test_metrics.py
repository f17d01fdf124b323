"""What Prometheus is told: every reply once, whatever its way, and no label that a client can choose."""

from __future__ import annotations

import asyncio
import os
import struct
from threading import Event
from typing import Any

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest

from aiorest_ws import (
    Application,
    Depends,
    HTTPError,
    Live,
    MethodBasedView,
    RequestHandlerProtocol,
    Response,
    SimpleRouter,
    endpoint,
)
from aiorest_ws.exceptions import ImproperlyConfigured
from aiorest_ws.metrics import Metrics
from aiorest_ws.testing import AsyncTestClient, TestClient
from tests.kit.pages import ROOT, blocks
from tests.serving import (
    BINARY,
    CLOSE,
    CONTINUATION,
    LOOPS,
    TEXT,
    Client,
    Gates,
    asynchronous,
    dump,
    factory_of,
    run_program,
    serving,
    turn_over,
)

on_each_loop = pytest.mark.parametrize("loop", LOOPS)


class User(MethodBasedView):
    def get(self, request: Any, user_id: str) -> Any:
        return user_id

    async def post(self, request: Any, user_id: str) -> Any:
        await asyncio.sleep(0)
        return Response(user_id, status=201)

    def put(self, request: Any, user_id: str) -> Any:
        raise HTTPError(409, "no")

    def delete(self, request: Any, user_id: str) -> Any:
        return object()  # cannot be encoded


class Around:
    async def __call__(self, request: Any, call_next: Any) -> Any:
        return await call_next(request)


def make_router() -> SimpleRouter:
    router = SimpleRouter()
    router.register("/users/{user_id}", User, ["GET", "POST", "PUT", "DELETE"])
    return router


def make_metrics() -> Metrics:
    return Metrics(CollectorRegistry())


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"aiorest_ws_{name}", labels)


def requests(metrics: Metrics) -> dict[tuple[str, str, str], float]:
    """Give how many requests of (route, method, status) were counted."""
    return {
        (sample.labels["route"], sample.labels["method"], sample.labels["status"]): sample.value
        for family in metrics.collect()
        for sample in family.samples
        if sample.name == "aiorest_ws_requests_total"
    }


async def empty(app: Application) -> None:
    """Wait until the last connection is gone."""
    await factory_of(app).when_empty()


class Sending(RequestHandlerProtocol):
    def sendMessage(self, *args: Any, **kwargs: Any) -> None:
        super().sendMessage(*args, **kwargs)


class Decoding(RequestHandlerProtocol):
    def _decode_message(self, payload: bytes, isBinary: bool = False) -> Any:
        return super()._decode_message(payload, isBinary)


class Routing(SimpleRouter):
    def process_request(self, request: Any) -> Any:
        return super().process_request(request)


ROUTE = "/users/{user_id}/"


# Requests


@on_each_loop
@pytest.mark.parametrize("protocol", [RequestHandlerProtocol, Sending, Decoding])
@pytest.mark.parametrize("middlewares", [[], [Around]])
@pytest.mark.parametrize("routes", [SimpleRouter, Routing])
@asynchronous
async def test_every_reply_is_counted_once(
    loop: str, protocol: Any, middlewares: Any, routes: type[SimpleRouter]
) -> None:
    metrics, router = make_metrics(), routes()
    router.include(make_router())
    options = {"metrics": metrics, "protocol": protocol, "middlewares": middlewares}
    async with serving(router, **options) as app, await Client.connect(app) as client:
        for n in range(3):
            client.request("GET", f"/users/{n}")
            client.request("post", f" /users/{n} ", id=n)
            client.request("PUT", f"/users/{n}")
        client.request("DELETE", "/users/1")
        client.request("GET", "/nowhere")
        client.request("PATCH", "/users/1")
        client.send(b"{")
        client.send(b"", BINARY)
        for _ in range(14):
            await client.receive()
    assert requests(metrics) == {
        (ROUTE, "GET", "200"): 3,
        (ROUTE, "POST", "201"): 3,
        (ROUTE, "PUT", "409"): 3,
        (ROUTE, "DELETE", "500"): 1,
        ("", "", "404"): 1,
        ("", "", "405"): 1,
        ("", "", "400"): 2,
    }
    for method, number in (("GET", 3), ("POST", 3), ("PUT", 3), ("DELETE", 1)):
        labels = {"route": ROUTE, "method": method}
        assert value(metrics, "request_duration_seconds_count", **labels) == number
        assert value(metrics, "request_duration_seconds_bucket", **labels, le="+Inf") == number
        seconds = value(metrics, "request_duration_seconds_sum", **labels)
        assert seconds is not None
        assert 0 < seconds < 10


@asynchronous
async def test_a_request_that_times_out_is_counted_once() -> None:
    gates, metrics = Gates(), make_metrics()
    router = make_router()
    router.get("/slow")(lambda request: gates.wait_on("slow"))
    async with (
        serving(router, metrics=metrics, request_timeout=0.01) as app,
        await Client.connect(app) as client,
    ):
        assert (await client.ask(url="/slow", id=1))["status"] == 504
        await gates.until(lambda: "slow" in gates.finished)
        await client.ask("GET", "/users/1")
    assert requests(metrics) == {("/slow/", "GET", "504"): 1, (ROUTE, "GET", "200"): 1}


@asynchronous
async def test_refused_requests_have_no_route() -> None:
    gates, metrics = Gates(), make_metrics()

    @endpoint("/slow", "GET")
    async def slow(request: Any) -> str:
        return await gates.wait("slow")

    router = make_router()
    router.register_endpoint(slow)
    options: dict[str, Any] = {"requests_per_second": 0.001, "burst": 2, "shutdown_timeout": 5.0}
    async with serving(router, metrics=metrics, **options) as app, await Client.connect(app) as client:
        client.request(url="/slow", id=1)
        await gates.until_started("slow")
        assert (await client.ask("GET", "/users/1", id=2))["status"] == 200
        assert (await client.ask("GET", "/users/1", id=3))["status"] == 429
        stopping = asyncio.ensure_future(app.stop())
        await turn_over()
        assert (await client.ask("GET", "/users/1", id=4))["status"] == 503
        gates.open("slow")
        assert (await client.reply())["status"] == 200
        await client.left()
        await stopping
    assert requests(metrics) == {
        ("/slow/", "GET", "200"): 1,
        (ROUTE, "GET", "200"): 1,
        ("", "", "429"): 1,
        ("", "", "503"): 1,
    }


@asynchronous
async def test_a_reply_that_nobody_waits_for_is_not_counted() -> None:
    gates, metrics = Gates(), make_metrics()

    @endpoint("/slow", "GET")
    async def slow(request: Any) -> str:
        return await gates.wait("slow")

    router = SimpleRouter()
    router.register_endpoint(slow)
    async with serving(router, metrics=metrics) as app:
        async with await Client.connect(app) as client:
            client.request(url="/slow")
            await gates.until_started("slow")
            client.abort()
            await gates.until(lambda: "slow" in gates.cancelled)
        await empty(app)
    assert value(metrics, "connections") == 0
    assert requests(metrics) == {}
    assert value(metrics, "requests_in_flight") == 0


@asynchronous
async def test_no_label_is_what_a_client_sent() -> None:
    metrics = make_metrics()
    async with serving(make_router(), metrics=metrics) as app, await Client.connect(app) as client:
        for n in range(300):
            client.request(f"M{n}", f"/users/{n}")
            client.request("gEt", f"/users/{n}-\u2028")
            client.request("GET", f'/evil"{n}\\')
            client.request(n, [n])
        for _ in range(1200):
            await client.reply()
    assert requests(metrics) == {
        ("", "", "404"): 300,
        ("", "", "405"): 300,
        ("", "", "400"): 300,
        (ROUTE, "GET", "200"): 300,
    }
    assert len(generate_latest(metrics.registry).splitlines()) < 100


@asynchronous
async def test_applications_that_share_a_router_count_for_themselves() -> None:
    router, first, second = make_router(), make_metrics(), make_metrics()
    async with serving(router, metrics=first) as one, serving(router, metrics=second) as two, serving(router) as three:
        for app, number in ((one, 1), (two, 2), (three, 3)):
            async with await Client.connect(app) as client:
                for _ in range(number):
                    await client.ask("GET", "/users/1")
    assert requests(first) == {(ROUTE, "GET", "200"): 1}
    assert requests(second) == {(ROUTE, "GET", "200"): 2}


@asynchronous
async def test_applications_may_be_counted_together() -> None:
    metrics = make_metrics()
    async with (
        serving(make_router(), metrics=metrics) as one,
        serving(make_router(), metrics=metrics) as two,
        await Client.connect(one) as client,
        await Client.connect(two) as other,
    ):
        await client.ask("GET", "/users/1")
        await other.ask("GET", "/users/1")
        assert value(metrics, "connections") == 2
    assert requests(metrics) == {(ROUTE, "GET", "200"): 2}  # one sample, although there are two plans


def test_requests_of_a_test_client_are_counted() -> None:
    metrics = make_metrics()
    with TestClient(Application(router=make_router(), metrics=metrics)) as client:
        client.get("/users/1")
        assert value(metrics, "connections") == 1
    assert requests(metrics) == {(ROUTE, "GET", "200"): 1}
    assert value(metrics, "closes_total", code="1000") == 1


@asynchronous
async def test_in_flight_is_what_runs_and_what_waits() -> None:
    gates, metrics = Gates(), make_metrics()

    @endpoint("/wait", "GET")
    async def wait(request: Any) -> str:
        return await gates.wait("wait")

    router = SimpleRouter()
    router.register_endpoint(wait)
    async with serving(router, metrics=metrics) as app, await Client.connect(app) as client:
        for _ in range(3):
            client.request(url="/wait")
        client.request(url="/wait", id=1)
        await gates.until(lambda: len(gates.started) == 2)
        assert value(metrics, "requests_in_flight") == 4
        gates.open("wait")
        for _ in range(4):
            await client.reply()
        assert value(metrics, "requests_in_flight") == 0


# Connections


@asynchronous
async def test_bytes_and_frames_stay_counted_when_connections_have_gone() -> None:
    metrics = make_metrics()
    async with serving(make_router(), metrics=metrics) as app:
        for n in range(1, 3):
            async with await Client.connect(app) as client:
                await client.ask("GET", "/users/1")
                message = dump({"method": "GET", "url": "/users/1"})
                client.send(message[:5], TEXT, fin=False)
                client.send(message[5:], CONTINUATION)
                await client.receive()
                # A frame of a client has 6 bytes around its payload, one of ours 2.
                size = len(message)
                before = 8 * (n - 1)  # close frames, of 8 bytes in and 4 out
                assert value(metrics, "received_bytes_total") == n * (2 * size + 18) + before
                assert value(metrics, "frames_total", way="fast") == n
                assert value(metrics, "frames_total", way="slow") == 2 * n + (n - 1)
                await client.leave()
            await empty(app)
            reply = len(b'{"data":"1","event_name":null}') + 2
            assert value(metrics, "sent_bytes_total") == n * (2 * reply + 4)
            assert value(metrics, "received_bytes_total") == n * (2 * size + 18 + 8)


@asynchronous
async def test_closes_are_counted_by_code() -> None:
    metrics = make_metrics()

    @endpoint("/close", "GET")
    def close(request: Any) -> None:
        request.connection.close(4401, "token expired")

    router = SimpleRouter()
    router.register_endpoint(close)
    async with serving(router, metrics=metrics) as app:
        for code in (1000, None, 3000, 3777, 4999):
            await (await Client.connect(app)).leave(code)
        client = await Client.connect(app)
        client.request(url="/close")
        assert (await client.receive()).close_code == 4401
        client.send(struct.pack("!H", 3001), CLOSE)  # and not what we said
        await client.eof()
        await client.drop()
        client = await Client.connect(app)
        client.send(b"", CONTINUATION)
        assert (await client.left()).close_code == 1002
        client = await Client.connect(app)
        client.abort()
        await empty(app)
    expected = {"1000": 1, "1005": 1, "3xxx": 2, "4xxx": 1, "4401": 1, "1002": 1, "1006": 1}
    assert metrics._closes == expected
    for label, number in expected.items():
        assert value(metrics, "closes_total", code=label) == number


@asynchronous
async def test_counters_never_fall_whoever_asks_meanwhile() -> None:
    """They are asked in another thread; a counter that falls is a restart, for Prometheus."""
    metrics, done = make_metrics(), Event()

    def ask() -> list[tuple[float, ...]]:
        seen: list[tuple[float, ...]] = []
        while not done.is_set():
            page = {sample.name: sample.value for family in metrics.collect() for sample in family.samples}
            seen.append((page["aiorest_ws_received_bytes_total"], page["aiorest_ws_sent_bytes_total"]))
        return seen

    async with serving(make_router(), metrics=metrics) as app:
        asking = asyncio.ensure_future(asyncio.to_thread(ask))
        for _ in range(30):
            async with await Client.connect(app) as client:
                await client.ask("GET", "/users/1")
        await empty(app)
        done.set()
        seen = await asking
    assert all(list(values) == sorted(values) for values in zip(*seen, strict=True))
    assert requests(metrics) == {(ROUTE, "GET", "200"): 30}


@asynchronous
async def test_a_refused_handshake_is_no_connection() -> None:
    metrics = make_metrics()
    async with serving(make_router(), metrics=metrics, path="api") as app:
        with pytest.raises(Exception, match="404"):
            await Client.connect(app, "/other")
        assert value(metrics, "connections") == 0
    assert metrics._closes == {}


def test_a_registry_takes_the_metrics_once() -> None:
    metrics = make_metrics()
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        Metrics(metrics.registry)


# The port


async def scrape(address: tuple[str, int] | None, query: str = "") -> str:
    assert address is not None
    reader, writer = await asyncio.open_connection(*address)
    writer.write(f"GET /metrics{query} HTTP/1.0\r\n\r\n".encode())
    page = await reader.read()
    writer.close()
    await writer.wait_closed()
    return page.decode()


@on_each_loop
@asynchronous
async def test_a_port_serves_them_until_the_application_stops(loop: str) -> None:
    app = Application(router=make_router(), port=0, metrics_port=0, shutdown_timeout=0.1)
    for _ in range(2):  # and again when it is started again
        await app.start()
        address = app.metrics_address
        assert address is not None
        assert address[0] == "127.0.0.1"
        async with await Client.connect(app) as client:
            await client.ask("GET", "/users/1")
            page = await scrape(address)
        assert page.startswith("HTTP/1.0 200 OK\r\n")
        assert 'aiorest_ws_requests_total{method="GET",route="/users/{user_id}/",status="200"} 1.0\n' in page
        assert "aiorest_ws_connections 1.0\n" in page
        assert "python_info" in page  # what else is in the default registry
        await app.stop()
        assert app.metrics_address is None
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*address)
        assert REGISTRY.get_sample_value("aiorest_ws_connections") is None


@asynchronous
async def test_a_port_serves_the_registry_that_is_given() -> None:
    metrics = make_metrics()
    async with serving(make_router(), metrics=metrics, metrics_port=0) as app:
        page = await scrape(app.metrics_address)
    assert "aiorest_ws_connections 0.0\n" in page
    assert "python_info" not in page
    assert value(metrics, "connections") == 0  # still there


# In CI, on Linux, it is refused.
@pytest.mark.skipif(os.name == "nt", reason="A refusal of a port that is taken is missing in http.server on Windows.")
@asynchronous
async def test_a_port_that_is_taken_is_one_line_and_leaves_nothing() -> None:
    async with serving(make_router(), metrics_port=0, metrics=make_metrics()) as app:
        assert app.metrics_address is not None
        taken = app.metrics_address[1]
        ended: list[Any] = []
        other = Application(router=make_router(), port=0, on_shutdown=[ended.append])
        for _ in range(2):
            with pytest.raises(ImproperlyConfigured) as caught:
                await other.start(metrics_port=taken)
            assert str(caught.value) == (
                f"cannot serve metrics on 127.0.0.1:{taken}: address already in use: choose another `metrics_port`"
            )
            assert other.metrics_address is None
        assert ended == [other, other]
    assert REGISTRY.get_sample_value("aiorest_ws_connections") is None


@asynchronous
async def test_a_start_that_fails_frees_the_port() -> None:
    async with serving(make_router()) as app:
        other = Application(router=make_router(), port=app.addresses[0][1], metrics_port=0)
        with pytest.raises(ImproperlyConfigured, match="cannot listen on"):
            await other.start()
        assert other.metrics_address is None
    assert REGISTRY.get_sample_value("aiorest_ws_connections") is None


@asynchronous
async def test_two_applications_have_metrics_of_their_own() -> None:
    async with (
        serving(make_router(), metrics_port=0) as one,
        serving(make_router(), metrics=Metrics(), metrics_port=0) as two,
        await Client.connect(one) as client,
    ):
        await client.ask("GET", "/users/1")
        pages = [await scrape(app.metrics_address) for app in (one, two)]
        assert ["aiorest_ws_connections 1.0" in page for page in pages] == [True, False]
        assert ["python_info" in page for page in pages] == [True, True]
        assert "python_info" not in await scrape(one.metrics_address, "?name[]=aiorest_ws_connections")
        assert "python_info" in await scrape(one.metrics_address, "?name[]=python_info")
        await client.leave()


@asynchronous
async def test_the_default_registry_may_be_given() -> None:
    metrics = Metrics(REGISTRY)
    try:
        async with serving(make_router(), metrics=metrics, metrics_port=0) as app:
            assert (await scrape(app.metrics_address)).count("python_info{") == 1
        assert REGISTRY.get_sample_value("aiorest_ws_connections") == 0
    finally:
        REGISTRY.unregister(metrics)


@asynchronous
async def test_a_setting_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOREST_WS_METRICS_PORT", "0")
    monkeypatch.setenv("AIOREST_WS_METRICS_HOST", "localhost")
    async with serving(make_router()) as app:
        assert "aiorest_ws_connections 0.0\n" in await scrape(app.metrics_address)


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ({"metrics": True}, "metrics must be an aiorest_ws.metrics.Metrics or None, got True"),
        ({"metrics_port": "9100"}, "metrics_port must be an integer, got '9100'"),
        ({"metrics_port": 65536}, "metrics_port must be from 0 to 65535, got 65536"),
        ({"metrics_host": None}, "metrics_host must be a string, got None"),
    ],
)
def test_options_are_checked(option: dict[str, Any], text: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        Application(**option)
    assert str(caught.value) == text


@asynchronous
async def test_prometheus_client_is_imported_when_it_is_used_and_named_when_it_is_missing() -> None:
    outcome = await run_program(
        "import sys, aiorest_ws\n"
        "print('prometheus_client' in sys.modules)\n"
        "sys.modules['prometheus_client'] = None\n"
        "router = aiorest_ws.SimpleRouter()\n"
        "router.get('/')(lambda request: None)\n"
        "app = aiorest_ws.Application(router=router, port=0)\n"
        "app.run(metrics_port=0)\n"
    )
    assert (outcome.code, outcome.out) == (1, "False\n")
    assert outcome.err == "aiorest-ws: metrics need prometheus_client: pip install 'aiorest-ws[metrics]>=2'\n"


# Subscriptions


class Feeds:
    """A log, a state for all, and one's own, with what they are told of."""

    def __init__(self, metrics: Metrics) -> None:
        self.value = 0
        self.closed = False
        router = SimpleRouter()
        router.get("/news", live=Live(mode="log", shared=True))(lambda request: [])
        router.get("/board", live=Live(shared=True, interval=0), dependencies=[Depends(self.guard)])(self.now)
        router.get("/mine", live=Live(interval=0))(self.now)
        self.app = Application(router=router, metrics=metrics)

    def guard(self, request: Any) -> None:
        if self.closed:
            raise HTTPError(403, "closed")

    def now(self, request: Any) -> int:
        return self.value


def live_values(metrics: Metrics) -> dict[str, float | None]:
    names = {
        "subscriptions": "subscriptions",
        "publications": "publications_total",
        "runs": "live_runs_total",
        "encodings": "push_encodings_total",
        "pushes": "pushes_total",
        "skipped": "pushes_skipped_total",
    }
    return {short: value(metrics, name) for short, name in names.items()}


def test_subscriptions_and_what_they_are_told_are_counted() -> None:
    metrics = make_metrics()
    feeds = Feeds(metrics)
    nothing = dict.fromkeys(("subscriptions", "publications", "runs", "encodings", "pushes", "skipped"), 0.0)
    assert live_values(metrics) == nothing
    with TestClient(feeds.app) as one, one.connect() as two, one.connect(form="msgpack") as three:
        for client in (one, two, three):
            client.subscribe("/news")
        client.advance(1)  # logs have let go of what they began with
        before = live_values(metrics)
        assert before == nothing | {"subscriptions": 3, "runs": before["runs"]}
        feeds.app.live.publish("/news", {"n": 1})
        one.advance()
        after = live_values(metrics)
        assert after == before | {"publications": 1, "encodings": 2, "pushes": 3}

        boards = [client.subscribe("/board") for client in (one, two)]
        before = live_values(metrics)
        feeds.value = 1
        feeds.app.live.changed("/board")
        assert [board.receive().data for board in boards] == [1, 1]
        after = {name: (after or 0) - (before[name] or 0) for name, after in live_values(metrics).items()}
        assert after == nothing | {"publications": 1, "runs": 1, "encodings": 1, "pushes": 2}

        feeds.closed = True
        feeds.app.live.recheck("/board")
        assert [board.wait_ended().status for board in boards] == [403, 403]
        assert value(metrics, "subscription_ends_total", status="403") == 2
        assert live_values(metrics)["subscriptions"] == 3
    assert live_values(metrics)["subscriptions"] == 0


def test_requests_for_subscriptions_are_counted_by_route_and_verb() -> None:
    metrics = make_metrics()
    with TestClient(Feeds(metrics).app) as client:
        client.get("/mine")
        client.subscribe("/mine").unsubscribe()
        client.subscribe("/board").unsubscribe()
        client.request("SUBSCRIBE", "/nowhere")
        client.request("UNSUBSCRIBE", "/board")
        client.ping()
    assert requests(metrics) == {
        ("/mine/", "GET", "200"): 1,
        ("/mine/", "SUBSCRIBE", "200"): 1,
        ("/mine/", "UNSUBSCRIBE", "200"): 1,
        ("/board/", "SUBSCRIBE", "200"): 1,
        ("/board/", "UNSUBSCRIBE", "200"): 1,
        ("/board/", "UNSUBSCRIBE", "404"): 1,
        ("", "SUBSCRIBE", "404"): 1,
        ("", "PING", "200"): 1,
    }


def test_runs_for_ones_own_subscription_are_counted_beside_requests() -> None:
    metrics = make_metrics()
    feeds = Feeds(metrics)
    with TestClient(feeds.app) as client, client.subscribe("/mine") as mine:
        for feeds.value in (1, 2):
            feeds.app.live.changed("/mine")
            client.advance()
        assert [push.data for push in mine.pushes()] == [1, 2]
        assert requests(metrics) == {("/mine/", "SUBSCRIBE", "200"): 1}
        counted = live_values(metrics)
        assert (counted["runs"], counted["encodings"], counted["pushes"]) == (2, 2, 2)


def test_subscriptions_of_applications_with_the_same_metrics_are_added() -> None:
    metrics = make_metrics()
    with TestClient(Feeds(metrics).app) as one, TestClient(Feeds(metrics).app) as two:
        one.subscribe("/mine")
        two.subscribe("/mine")
        assert live_values(metrics)["subscriptions"] == 2


# docs/observability.md


@asynchronous
async def test_the_code_of_the_documentation_runs() -> None:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    page = ROOT / "docs" / "observability.md"
    names: dict[str, Any] = {"__name__": "documentation"}
    examples = blocks("python", page.read_text("utf-8"))
    assert len(examples) >= 3
    for block in examples:
        exec(compile(block, page.name, "exec"), names)
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    names["tracer"] = provider.get_tracer("shop")
    app: Application = names["app"]
    sent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with AsyncTestClient(app) as client:
        assert (await client.get("/orders/7", traceparent=sent)).ok
        assert (await client.get("/orders/8", traceparent=["no", "text"])).ok
        assert (await client.get("/orders/none")).status == 404
        assert (await client.get("/orders/bad")).status == 500
        assert (await client.get("/nowhere")).status == 404
    first, second, missing, failed = exporter.get_finished_spans()
    assert [span.name for span in (first, second, missing, failed)] == ["GET /orders/{number}/"] * 4
    assert first.parent is not None
    assert first.context is not None
    assert f"{first.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
    assert f"{first.parent.span_id:016x}" == "b7ad6b7169203331"
    assert second.parent is None
    statuses = [dict(span.attributes or {})["aiorest_ws.status"] for span in (first, second, missing, failed)]
    assert statuses == [200, 200, 404, 500]
    codes = [span.status.status_code for span in (first, second, missing, failed)]
    assert codes == [trace.StatusCode.UNSET] * 3 + [trace.StatusCode.ERROR]
    assert [event.name for event in failed.events] == ["exception"]
    names["metrics"].registry.unregister(names["metrics"])
    names["listener"].stop()
