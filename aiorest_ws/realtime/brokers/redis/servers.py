"""An option `broker="redis://…"` → the servers behind it: one, or those of a cluster, and which of them has a url."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import AskError, AuthenticationError, ClusterDownError, InvalidResponse, MovedError, ResponseError

from aiorest_ws.exceptions import BrokerUnavailable, ImproperlyConfigured
from aiorest_ws.realtime.brokers.redis.ear import Ear
from aiorest_ws.realtime.brokers.redis.line import Command, Line
from aiorest_ws.realtime.brokers.redis.link import ERRORS, logger, reason_of
from aiorest_ws.realtime.timers import Timers

__all__ = ("Address", "Server", "Servers")

_OLDEST = 7  # of redis: the first with sharded channels and flags of scripts; valkey says 7.2
_SCHEMES = ("redis", "rediss", "unix")
_AGAIN = 1.0  # seconds between two looks at how a cluster is laid out


class Address:
    """Where a server is, and how connections to it are made. Raises ImproperlyConfigured for what is no such url.

    url       as redis-py takes it
    name      for people: without user and password
    prefix    before the names of all keys and channels: `?prefix=` of the url
    """

    def __init__(self, url: str, prefix: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in _SCHEMES:
            raise ImproperlyConfigured(
                f"the url of a broker must begin with redis://, rediss:// or unix://, got {parts.scheme + '://…'!r}"
            )
        try:
            where = f"{parts.hostname or 'localhost'}:{parts.port or 6379}"
        except ValueError:  # its text may have a part of the password
            raise ImproperlyConfigured(
                "the url of a broker has no port that is a number: write / # ? and @ of a password as %2F %23 %3F %40"
            ) from None
        self.name = f"{parts.scheme}://{parts.path if parts.scheme == 'unix' else where}"
        query = parse_qsl(parts.query, keep_blank_values=True)
        self.prefix = dict(query).get("prefix", prefix)
        if not self.prefix or not self.prefix.isascii() or any(letter in "{} \n" for letter in self.prefix):
            raise ImproperlyConfigured(
                f"prefix of a broker must be ASCII letters without braces and spaces, got {self.prefix!r}"
            )
        rest = urlencode([(name, value) for name, value in query if name != "prefix"])
        self._kwargs = self._parsed(urlunsplit(parts._replace(query=rest)))
        self.dial()  # what it does not take is wrong now

    def _parsed(self, url: str) -> dict[str, Any]:
        try:
            kwargs: dict[str, Any] = dict(parse_url(url))
        except ValueError as exc:
            raise ImproperlyConfigured(f"the broker's url {self.name} is wrong: {reason_of(exc)}") from None
        for name in ("max_connections", "timeout"):
            kwargs.pop(name, None)  # of pools, which are not used
        return kwargs | {
            # RESP 2 has plain lists for what is said; how long something may take is watched here.
            "protocol": 2,
            "decode_responses": False,
            "socket_timeout": None,
            "socket_connect_timeout": None,
            "health_check_interval": 0,
            "retry": Retry(NoBackoff(), 0),
            "retry_on_timeout": False,
        }

    def dial(self, host: str | None = None, port: int | None = None) -> Any:
        """Give a connection that is not open yet; `host` and `port` are those of another server of the cluster."""
        kwargs = dict(self._kwargs)
        kind = kwargs.pop("connection_class", Connection)
        if host is not None:
            kwargs |= {"host": host, "port": port}
        try:
            return kind(**kwargs)
        except TypeError as exc:
            raise ImproperlyConfigured(f"the broker's url {self.name} is wrong: {reason_of(exc)}") from None

    @property
    def is_socket(self) -> bool:
        return self._kwargs.get("connection_class") is UnixDomainSocketConnection

    @property
    def is_encrypted(self) -> bool:
        return self._kwargs.get("connection_class") is SSLConnection

    @property
    def host(self) -> str:
        return str(self._kwargs.get("host", "localhost"))

    @property
    def port(self) -> int:
        return int(self._kwargs.get("port", 6379))


class Server:
    """One server: a line for commands, and an ear; to the same, not to one before and one after a fail-over."""

    def __init__(self, name: str, dial: Callable[[], Any], options: dict[str, Any], silence: float) -> None:
        self.name = name
        self.line = Line(name, dial, **options)
        self.ear = Ear(name, dial, **options, silence=silence)
        self.line.on_up = self._line_is_up
        self.ear.on_up = self._ear_is_up
        self.on_up: Callable[[], None] = lambda: None

    async def open(self) -> None:
        """Open both. Raises one of link.ERRORS."""
        await self.line.open()
        self.ear.is_sharded = self.line.is_cluster
        await self.ear.open()

    def keep(self) -> None:
        """Open both as soon as that can be: it is one more of a cluster."""
        self.ear.is_sharded = True
        self.line.keep()
        self.ear.keep()

    async def close(self) -> None:
        await self.ear.close()
        await self.line.close()

    @property
    def _are_of_one(self) -> bool:
        return not self.line.is_up or not self.ear.is_up or self.line.run_id == self.ear.run_id

    def _line_is_up(self) -> None:
        if not self._are_of_one:
            self.ear.drop("commands go to another server now")
        self.ear.hurry()
        self.on_up()

    def _ear_is_up(self) -> None:
        if not self._are_of_one:
            self.line.drop("another server is there now")
        self.line.hurry()


class Servers:
    """The servers that have all urls: one, or those of a cluster.

    on_new      called with each server, before it is opened
    on_moved    called when urls may have another server
    """

    def __init__(
        self,
        address: Address,
        timers: Timers,
        *,
        timeout: float,
        wait: Callable[[int], float],
        silence: float,
    ) -> None:
        self.address = address
        self.timers = timers
        self.on_new: Callable[[Server], None] = lambda server: None
        self.on_moved: Callable[[], None] = lambda: None
        self._options = {"timers": timers, "timeout": timeout, "wait": wait}
        self._silence = silence
        self.all: dict[tuple[str, int], Server] = {}
        self._slots: dict[int, Server] = {}
        self._first: Server | None = None
        self._looking: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Open what the address leads to. Raises ImproperlyConfigured, in one line, if that is not to be used."""
        server = self._server(self.address.host, self.address.port, self.address.name, self.address.dial)
        self._first = server
        try:
            await server.open()
        except ERRORS as exc:
            await server.close()
            raise ImproperlyConfigured(self._why_not(exc)) from None
        version = server.line.server.get("redis_version", "")
        if version.partition(".")[0].isdecimal() and int(version.partition(".")[0]) < _OLDEST:
            await server.close()
            raise ImproperlyConfigured(
                f"redis at {server.name} is of version {version}: expected {_OLDEST}.0 or newer, or valkey"
            )
        if server.line.is_cluster:
            await self._lay_out()

    def _why_not(self, exc: BaseException) -> str:
        name, why = self.address.name, reason_of(exc)
        if isinstance(exc, AuthenticationError) or "uthentication" in why:
            return f"redis at {name} wants another user or password, or one at all: {why}"
        if isinstance(exc, InvalidResponse):
            return f"what listens at {name} is no redis"
        if isinstance(exc, TimeoutError):
            return f"redis at {name} did not answer within {self._options['timeout']:g} s"
        return f"redis at {name} cannot be used: {why}"

    async def settle(self) -> None:
        """Wait until all commands have their answers, or have failed."""
        for server in self.all.values():
            if server.line.is_up:
                try:
                    await server.line.ask("PING")
                except BrokerUnavailable:
                    pass  # no more answers will come

    async def close(self) -> None:
        looking, self._slots = self._looking, {}
        if looking is not None:
            looking.cancel()
            await asyncio.wait({looking})
        for server in self.all.values():
            await server.close()

    @property
    def is_cluster(self) -> bool:
        return self._first is not None and self._first.line.is_cluster

    def of(self, key: bytes) -> Server:
        """Give the server that has `key`. Raises BrokerUnavailable before it is open."""
        if self._first is None:
            raise BrokerUnavailable("the broker has not started, or has stopped")
        return self._slots.get(key_slot(key), self._first) if self._slots else self._first

    # A cluster

    def _server(self, host: str, port: int, name: str, dial: Callable[[], Any]) -> Server:
        server = self.all[host, port] = Server(name, dial, self._options, self._silence)
        server.line.on_redirect = self._redirected
        server.line.on_lost = self._look_around
        server.ear.on_moved = self.look
        self.on_new(server)
        return server

    def _at(self, host: str, port: int) -> Server:
        server = self.all.get((host, port))
        if server is None:
            scheme = "rediss" if self.address.is_encrypted else "redis"
            name = f"{scheme}://{host}:{port}"
            server = self._server(host, port, name, lambda: self.address.dial(host, port))
            server.keep()
        return server

    def _redirected(self, command: Command, exc: ResponseError) -> bool:
        """Have a command done by the server that has its keys now."""
        if isinstance(exc, MovedError):
            server = self._at(exc.host or self.address.host, exc.port)
            self._slots[exc.slot_id] = server
            server.line.put(command)
            self.look()
            self.on_moved()
            return True
        if isinstance(exc, AskError):
            server = self._at(exc.host or self.address.host, exc.port)
            server.line.ask("ASKING")
            server.line.put(command)
            return True
        if isinstance(exc, ClusterDownError):
            self.look()
        return False

    def _look_around(self) -> None:
        """A server of a cluster is lost: another may have its slots."""
        if self._slots:
            self.look()

    def look(self) -> None:
        """Ask, soon, which server has which slots."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        try:
            await self._lay_out()
        except BrokerUnavailable as exc:
            logger.error("cannot find out how the cluster at %s is laid out: %s", self.address.name, exc)
        self.on_moved()
        owners = {self._first, *self._slots.values()}
        for place, server in list(self.all.items()):
            if server not in owners:
                del self.all[place]
                await server.close()
        if any(not server.line.is_up for server in owners if server is not None):
            self.timers.after(_AGAIN, self.look)

    async def _lay_out(self) -> None:
        """Ask any server that answers."""
        servers = sorted(self.all.values(), key=lambda server: not server.line.is_up)
        last: BrokerUnavailable | None = None
        for server in servers:
            try:
                ranges = await server.line.ask("CLUSTER", "SLOTS")
            except BrokerUnavailable as exc:
                last = exc
                continue
            for first, end, master, *_ in ranges:
                host = master[0].decode() if master[0] and master[0] != b"?" else self.address.host
                owner = self._at(host, int(master[1]))
                self._slots.update(dict.fromkeys(range(first, end + 1), owner))
            return
        if last is not None:
            raise last
