"""What a connection asks of its surroundings: the factory of a listener, or whatever else brings connections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from contextvars import Context
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from aiorest_ws._speedups import Pipeline, SpareTasks
    from aiorest_ws.connection.compression import Packers
    from aiorest_ws.connection.protocol import RequestHandlerProtocol
    from aiorest_ws.http.hosts import Hosts
    from aiorest_ws.http.origins import Origins
    from aiorest_ws.limits import Limits
    from aiorest_ws.limits.admission import Admissions
    from aiorest_ws.logs.access import AccessLog
    from aiorest_ws.logs.throttled import Complaints

__all__ = ("Listener", "Teller")


class Teller(Protocol):
    """Runs what the application wants to be told of, see `server.hooks.Hooks`."""

    def keep(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]: ...
    def tell(self, name: str, hook: Callable[..., Any], *args: Any) -> None: ...
    async def told(self, name: str, pending: Any) -> None: ...


class Listener(Protocol):
    """Answers requests, keeps count of connections, and knows what they may do.

    `server.factory.RequestHandlerFactory` is one, and says what each name is; it is Autobahn's factory, too, of which
    `connection.autobahn` reads the options.
    """

    # The way of requests
    app: Any  # an `Application`, which is above; None without one
    limits: Limits
    context: Context | None
    stopping: bool
    metrics: Any  # a `metrics.Metrics`, which is above
    access_log: bool | str

    @property
    def pipeline(self) -> Pipeline: ...
    @property
    def spare_tasks(self) -> SpareTasks: ...
    @property
    def access(self) -> AccessLog: ...
    @property
    def threads(self) -> int: ...

    # The handshake
    served_path: str | None
    health_path: str | None
    http: Any  # takes connections that ask for no WebSocket, an `exchange.port.Port`, which is above; or None
    subprotocols: Iterable[str]
    on_connect: Callable[[Any], Any] | None
    on_disconnect: Callable[[Any, Any, Any], Any] | None

    @property
    def hosts(self) -> Hosts: ...
    @property
    def origins(self) -> Origins: ...
    @property
    def gatekeepers(self) -> list[Any]: ...
    @property
    def hooks(self) -> Teller: ...
    def serves(self, path: str, at: str | None = None) -> bool: ...

    # Its connections
    admissions: Admissions
    connections: set[RequestHandlerProtocol]
    unsent: int
    unpushed: int

    def arrive(self, connection: Any, address: str | None) -> None: ...
    def take(self, connection: RequestHandlerProtocol) -> None: ...
    def leaves(self, connection: Any) -> None: ...
    def forget(self, connection: RequestHandlerProtocol) -> None: ...

    # Compression
    compress_threshold: int
    packers: Packers

    @property
    def declines_compression(self) -> Callable[..., Any]: ...

    # What is logged
    failures: Complaints
    complaints: Complaints
    refusals: Complaints
    misses: Complaints

    # Autobahn's
    countConnections: int
    externalPort: int | None
    server: str | None
    headers: dict[str, Any]
    _batched_timer: Any
