"""What the connections of an application have counted → metrics for Prometheus, made when they are asked for."""

from __future__ import annotations

import asyncio
import errno
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate
from threading import Lock
from typing import TYPE_CHECKING, Any

from aiorest_ws._speedups import BOUNDS, Meters
from aiorest_ws.exceptions import ImproperlyConfigured
from aiorest_ws.status import WS_NO_STATUS_CODE

try:
    from prometheus_client import REGISTRY, CollectorRegistry, start_http_server
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
    from prometheus_client.metrics_core import Metric
    from prometheus_client.registry import Collector
    from prometheus_client.utils import floatToGoString
except ImportError as exc:
    raise ImportError("metrics need prometheus_client: pip install 'aiorest-ws[metrics]>=2'") from exc

if TYPE_CHECKING:
    from aiorest_ws.realtime.meter import Meter
    from aiorest_ws.request import RequestHandlerFactory, RequestHandlerProtocol

__all__ = ("Exposition", "Metrics", "metrics_of")


@dataclass(slots=True)
class _Traffic:
    """What the frame layers of some connections have counted."""

    received: int = 0
    sent: int = 0
    unpushed: int = 0
    fast: int = 0
    slow: int = 0

    def add(self, connection: RequestHandlerProtocol) -> None:
        received, sent = connection._traffic()
        self.received += received
        self.sent += sent
        self.unpushed += connection._unpushed
        self.fast += connection._fast_frames
        self.slow += connection._unusual_frames


class Metrics(Collector):
    """The metrics of an application: `Application(router=router, metrics=Metrics())`.

    registry    of prometheus_client; one of its own if not given, so that each application of a process may have its
                metrics. Raises ValueError if one of these is in it
    exposed     what a port serves: `registry`; if it is its own, what is in prometheus_client's default one as well
    meters      count the replies

    Applications that are given the same object are counted together. It may be asked in any thread.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = CollectorRegistry() if registry is None else registry
        self.exposed = _Joined(self.registry, REGISTRY) if registry is None else registry
        self.meters = Meters()
        self._lock = Lock()  # for what the loop changes in more than one step
        self._open: set[RequestHandlerProtocol] = set()
        self._gone = _Traffic()
        self._closes: Counter[str] = Counter()
        self._live: set[Meter] = set()  # of the applications whose connections were counted
        self.registry.register(self)

    def opened(self, connection: RequestHandlerProtocol) -> None:
        """Take note of a connection that was accepted."""
        with self._lock:
            self._open.add(connection)
            live = connection.factory.pipeline.live
            if live is not None:
                self._live.add(live.meter)

    def closed(self, connection: RequestHandlerProtocol) -> None:
        """Take note that it is gone."""
        with self._lock:
            if connection in self._open:
                self._open.remove(connection)
                self._gone.add(connection)
                self._closes[_close_label(connection)] += 1

    def describe(self) -> list[Metric]:
        """Give the metrics without their values."""
        return list(_Families().all())

    def collect(self) -> Iterator[Metric]:
        """Give the metrics as they are now."""
        families = _Families()
        with self._lock:
            connections = list(self._open)
            traffic = replace(self._gone)
            closes = dict(self._closes)
            live = list(self._live)
        for connection in connections:
            traffic.add(connection)
        families.requests_of(self.meters)
        families.in_flight.add_metric([], sum(connection._in_flight for connection in connections))
        families.connections.add_metric([], len(connections))
        for code, number in closes.items():
            families.closes.add_metric([code], number)
        families.received.add_metric([], traffic.received)
        families.sent.add_metric([], traffic.sent)
        families.unpushed.add_metric([], traffic.unpushed)
        families.frames.add_metric(["fast"], traffic.fast)
        families.frames.add_metric(["slow"], traffic.slow)
        families.live_of(live)
        yield from families.all()


class _Joined(CollectorRegistry):
    """All that is in several registries, as it is when it is asked for."""

    def __init__(self, *registries: Any) -> None:
        super().__init__()
        self._registries = registries

    def collect(self) -> Iterator[Metric]:
        for registry in self._registries:
            yield from registry.collect()

    def restricted_registry(self, names: Iterable[str]) -> Any:
        names = list(names)
        return _Joined(*(registry.restricted_registry(names) for registry in self._registries))


class _Families:
    """The metrics of one scrape."""

    def __init__(self) -> None:
        of_route = ["route", "method"]
        self.requests = CounterMetricFamily(
            "aiorest_ws_requests", "Requests that were answered.", labels=[*of_route, "status"]
        )
        self.durations = HistogramMetricFamily(
            "aiorest_ws_request_duration_seconds", "Time from a request's arrival to its reply.", labels=of_route
        )
        self.in_flight = GaugeMetricFamily(
            "aiorest_ws_requests_in_flight", "Requests whose handler runs, or that wait for their turn.", labels=[]
        )
        self.connections = GaugeMetricFamily("aiorest_ws_connections", "Connections that are open.", labels=[])
        self.closes = CounterMetricFamily("aiorest_ws_closes", "Connections that have ended.", labels=["code"])
        self.received = CounterMetricFamily(
            "aiorest_ws_received_bytes", "Bytes received after the handshake.", labels=[]
        )
        self.sent = CounterMetricFamily("aiorest_ws_sent_bytes", "Bytes sent after the handshake.", labels=[])
        self.unpushed = CounterMetricFamily(
            "aiorest_ws_unpushed_events", "Events that were left out, as their client was behind.", labels=[]
        )
        self.frames = CounterMetricFamily(
            "aiorest_ws_frames", "Frames received that our reader served (fast) or Autobahn (slow).", labels=["way"]
        )
        self.subscriptions = GaugeMetricFamily("aiorest_ws_subscriptions", "Subscriptions that there are.", labels=[])
        self.ends = CounterMetricFamily(
            "aiorest_ws_subscription_ends", "Subscriptions that the server has ended.", labels=["status"]
        )
        self.publications = CounterMetricFamily(
            "aiorest_ws_publications", "Items and values that were published, and changes.", labels=[]
        )
        self.runs = CounterMetricFamily(
            "aiorest_ws_live_runs", "Runs of handlers for subscriptions, beside requests.", labels=[]
        )
        self.encodings = CounterMetricFamily(
            "aiorest_ws_push_encodings", "Pushes that were made, once for all subscribers of a form.", labels=[]
        )
        self.pushes = CounterMetricFamily("aiorest_ws_pushes", "Pushes that were sent to subscribers.", labels=[])
        self.skipped = CounterMetricFamily(
            "aiorest_ws_pushes_skipped", "Pushes that found their client behind, and were not sent then.", labels=[]
        )

    def all(self) -> Iterator[Metric]:
        yield from vars(self).values()

    def live_of(self, meters: list[Meter]) -> None:
        """Add what happened to subscriptions."""
        ends: Counter[int] = Counter()
        for meter in meters:
            ends.update(dict(meter.ends))
        for status, number in ends.items():
            self.ends.add_metric([str(status)], number)
        for family, name in (
            (self.subscriptions, "subscriptions"),
            (self.publications, "publications"),
            (self.runs, "runs"),
            (self.encodings, "encodings"),
            (self.pushes, "deliveries"),
            (self.skipped, "skipped"),
        ):
            family.add_metric([], sum(getattr(meter, name) for meter in meters))

    def requests_of(self, meters: Meters) -> None:
        """Add what `meters` have counted. A router that was replaced may have left plans with the same labels."""
        statuses: dict[tuple[str, str], Counter[int]] = {}
        buckets: dict[tuple[str, str], list[int]] = {}
        seconds: Counter[tuple[str, str]] = Counter()
        for plan, meter in meters.items():
            labels = ("", "") if plan is None else (getattr(plan.route, "path", ""), plan.method)
            statuses.setdefault(labels, Counter()).update(meter.statuses)
            before = buckets.get(labels, [0] * (len(BOUNDS) + 1))
            buckets[labels] = [a + b for a, b in zip(before, meter.buckets, strict=True)]
            seconds[labels] += meter.seconds  # type: ignore[assignment]
        for labels, numbers in statuses.items():
            for status, number in numbers.items():
                self.requests.add_metric([*labels, str(status)], number)
            up_to = zip(_LES, accumulate(buckets[labels]), strict=True)
            self.durations.add_metric(labels, list(up_to), seconds[labels])


_LES = [floatToGoString(bound) for bound in (*BOUNDS, float("inf"))]


def _close_label(connection: RequestHandlerProtocol) -> str:
    """Give the code that we sent if the close was ours, else that of the client: its own codes only in thousands."""
    if connection.closedByMe:
        return str(connection.localCloseCode or WS_NO_STATUS_CODE)
    code = connection.close_code or WS_NO_STATUS_CODE
    return str(code) if code < 3000 else f"{code // 1000}xxx"


def metrics_of(factory: RequestHandlerFactory) -> Metrics:
    """Give the metrics of `factory`; one that has none gets its own."""
    metrics: Metrics | None = factory.metrics
    if metrics is None:
        factory.metrics = metrics = Metrics()
    return metrics


class Exposition:
    """Serves what is in a registry over HTTP, by prometheus_client and in a thread of its own, until it is closed."""

    def __init__(self, registry: CollectorRegistry, host: str, port: int) -> None:
        try:
            self._server, self._thread = start_http_server(port, host, registry)
        except OSError as exc:
            reason = os.strerror(exc.errno) if exc.errno and exc.errno > 0 else str(exc)
            cure = ": choose another `metrics_port`" if exc.errno == errno.EADDRINUSE else ""
            raise ImproperlyConfigured(f"cannot serve metrics on {host}:{port}: {reason.lower()}{cure}") from exc

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, port = self._server.server_address[:2]
        return str(host), int(port)

    async def close(self) -> None:
        """Stop listening."""
        await asyncio.to_thread(self._server.shutdown)  # it looks up twice a second
        self._server.server_close()
        self._thread.join()
