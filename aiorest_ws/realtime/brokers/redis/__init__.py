"""The broker of many machines: Redis or Valkey gives numbers and epochs, keeps logs, and tells nodes what changed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any

from aiorest_ws.exceptions import BrokerUnavailable, ImproperlyConfigured
from aiorest_ws.realtime.brokers import Item, Node, Retention
from aiorest_ws.realtime.brokers.redis.hearing import Hearing, mark_of
from aiorest_ws.realtime.brokers.redis.messages import encoded, item_of
from aiorest_ws.realtime.timers import Timer, Timers
from aiorest_ws.realtime.versions import Mark, new_epoch

if TYPE_CHECKING:
    from aiorest_ws.realtime.brokers.redis.servers import Server

__all__ = ("RedisBroker",)

_RENEWAL = 3600.0  # seconds until the server is told again that somebody subscribes to a url
_MOST_UNTOLD = 10_000  # urls that changed while nobody could be told
_ALL = "*"  # instead of a url: what is said to all; a url begins with a slash

logger = logging.getLogger("aiorest_ws")


class RedisBroker(Hearing):
    """What joins processes on several machines, through a Redis (7.0 or newer) or a Valkey, alone or a cluster.

        app.run(broker="redis://:password@10.0.0.5:6379/0?prefix=shop")

    url        as redis-py takes it: redis://, rediss:// (TLS) or unix://, and its options behind `?`; `prefix` is ours
    prefix     of all keys and channels; two applications with the same one see each other's
    timeout    seconds that a command may take, and the opening of a connection
    silence    seconds without a word after which the connection that hears is asked whether it still does
    grace      seconds for which the members of a process that died are still listed
    beat       seconds between two signs of life of a process that has members
    clock      gives seconds, for a test; None: the server's clock
    wait       gives the seconds to wait before a connection is opened again, after so many failures

    Of a log it keeps what `Retention` says, exactly, as long as the server keeps it: beyond its `maxmemory` the server
    refuses publications (`noeviction`), or lets go of logs (any other `maxmemory-policy`). `max_history` is not for it.
    A url of which nobody speaks is forgotten after a day, not at once.

    What was kept by a server that has died, or is not the one from before, is of an epoch that is over: nobody can know
    whether it is whole. Whoever resumes then gets the value anew.
    """

    is_local = False

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "aw",
        timeout: float = 1.0,
        silence: float = 30.0,
        grace: float = 5.0,
        beat: float = 1.0,
        clock: Callable[[], float] | None = None,
        wait: Callable[[int], float] | None = None,
    ) -> None:
        try:
            from aiorest_ws.realtime.brokers.redis.servers import Address
        except ImportError as exc:
            if (exc.name or "").partition(".")[0] != "redis":
                raise
            raise ImproperlyConfigured(
                "a broker at redis:// needs the package redis: pip install 'aiorest-ws[redis]>=2'"
            ) from None
        self.address = Address(url, prefix)
        super().__init__(self.address.name, new_epoch())
        self.timeout = timeout
        self.silence = silence
        self.grace = grace
        self.beat = beat
        self.clock = clock
        self._epochs = count()
        self._wait = wait
        self._timers: Timers | None = None
        self._untold: dict[str, None] = {}
        self._renewal: Timer | None = None
        self._present: Any = None

    def __repr__(self) -> str:
        return f"<RedisBroker {self.address.name}>"

    # Its life

    @property
    def timers(self) -> Timers:
        """What measures the time of this broker: a test lets it pass."""
        if self._timers is None:
            raise BrokerUnavailable("the broker has not started")
        return self._timers

    async def start(self) -> None:
        """Connect. Raises ImproperlyConfigured, in one line, if that does not succeed at once."""
        from aiorest_ws.realtime.brokers.redis.link import jitter
        from aiorest_ws.realtime.brokers.redis.members import Members
        from aiorest_ws.realtime.brokers.redis.servers import Servers

        timers = self._timers = Timers(asyncio.get_running_loop())
        servers = Servers(self.address, timers, timeout=self.timeout, wait=self._wait or jitter, silence=self.silence)
        servers.on_new = self._take_server
        servers.on_moved = self._rehome
        self._present = Members(self)
        try:
            await servers.open()
        except BaseException:  # raised again: no connection stays open, whatever stopped it
            await servers.close()
            timers.stop()
            raise
        self._servers = servers
        await self._hear_all()
        self._renewal = timers.after(_RENEWAL, self._renew)

    async def _hear_all(self) -> None:
        """Hear what is said to all."""
        channel = self._key(_ALL)
        await self.servers.of(channel).ear.hear(channel)

    def _renew(self) -> None:
        """Have the server remember what is subscribed to; whoever has not heard all of it hears it now."""
        self._renewal = self.timers.after(_RENEWAL, self._renew)
        if self._servers is not None:
            self._present.renew()
            self._spawn(self._renew_all)

    async def stop(self) -> None:
        """Let go of everything, once what was said has its answer, or `timeout` is over.

        Who was here is listed until `grace` is over: they may come back elsewhere.
        """
        servers, self._servers = self._servers, None
        if servers is None or self._timers is None:
            return
        self._present.stop()
        await servers.settle()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await servers.close()
        for record in list(self._records.values()):
            if record.settling is not None:
                record.settling.cancel()
                await asyncio.wait({record.settling})
        self._records.clear()
        self._urls.clear()
        self._untold.clear()
        self._timers.stop()

    def _take_server(self, server: Server) -> None:
        server.ear.on_message = self._on_message
        server.ear.on_heard = lambda: self._on_heard(server)
        server.ear.on_lost = lambda: self._on_deaf(server)
        server.on_up = lambda: self._on_line(server)

    def _on_line(self, server: Server) -> None:
        super()._on_line(server)
        untold, self._untold = self._untold, {}
        if self._servers is not None:
            for url in untold:
                self.changed(url)
            self._present.again()

    def _key(self, url: str, kind: str = "") -> bytes:
        return f"{self.address.prefix}:{{{url}}}{kind}".encode()

    def keys(self, url: str, kind: str) -> tuple[Server, bytes]:
        """Give the server that has a url, and the name of one of its keys."""
        key = self._key(url, kind)
        return self.servers.of(key), key

    def now(self) -> str:
        """Give the time in ms, for scripts; "": the server's."""
        return "" if self.clock is None else str(int(self.clock() * 1000))

    def _run(self, name: str, url: str, *args: Any, is_patient: bool = False, take: Any = None) -> Any:
        """Run one of the scripts that begin alike."""
        channel = self._key(url)
        line = self.servers.of(channel).line
        keys = (channel + b":m", channel + b":s")
        script = getattr(line.scripts, name)
        head = (self._new_epoch(), channel)
        return line.run(script, keys, *head, *args, is_patient=is_patient, takes_server=True, take=take)

    def _new_epoch(self) -> str:
        """Give one that no other process gives: most are not needed, so it is to be cheap."""
        return f"{self.name}-{next(self._epochs):x}"

    # What is said

    def publish(self, url: str, item: Item, retention: Retention) -> Any:
        """As `Broker` says. Raises ValueError for an item of more than 1 MiB."""
        data = encoded(url, item)
        milliseconds = max(1, int(retention.seconds * 1000))

        def take(reply: Any) -> Mark:
            mark = mark_of(reply)
            item.number = mark.number
            return mark

        return self._run(
            *("publish", url, data, item.size, retention.items, milliseconds, retention.size, self.now()), take=take
        )

    def changed(self, url: str, value: Item | None = None) -> Any:
        """As `Broker` says; who cannot be told now is told that it has changed once the server is back."""
        data = b"" if value is None else encoded(url, value)
        future = self._run("changed", url, "c" if value is None else "v", data, take=mark_of)
        future.add_done_callback(lambda done: self._keep_untold(url, done))
        return future

    def _keep_untold(self, url: str, done: asyncio.Future[Any]) -> None:
        if not done.cancelled() and done.exception() is not None and len(self._untold) < _MOST_UNTOLD:
            self._untold[url] = None

    def recheck(self, url: str | None) -> Any:
        """As `Broker` says; this process does it at once, whether or not others can be told."""
        self._recheck(url)
        channel = self._key(_ALL if url is None else url)
        line = self.servers.of(channel).line
        tell = "SPUBLISH" if line.is_cluster else "PUBLISH"
        return line.ask(tell, channel, f"r{self.name} 0\n".encode(), take=_nothing)

    def history(self, url: str, since: Mark) -> Any:
        def take(reply: Any) -> list[Item] | None:
            if reply is None:
                return None
            try:
                return [item_of(int(entry.partition(b"-")[0]), fields[5]) for entry, fields in reply]
            except (ValueError, IndexError):
                return None  # somebody else wrote them

        return self._run("history", url, since.epoch, since.number, self.now(), take=take)

    async def heard(self) -> None:
        """Wait until nodes have been told of all that was said so far."""
        for server in list(self.servers.all.values()):
            await server.ear.ping()

    def members(self, url: str, node: Node | None = None, own: Mapping[Any, Any] | None = None) -> Any:
        """As `Broker` says; those of a process that died are gone after `grace`."""
        if node is not None:
            return self._present.have(url, node, own)
        return self._present.at(url)


def _nothing(_: Any) -> None:
    """Who was told is not known: subscribers are on other machines."""
