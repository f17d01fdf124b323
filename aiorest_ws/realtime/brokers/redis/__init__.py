"""The broker of many machines: Redis or Valkey gives numbers and epochs, keeps logs, and tells nodes what changed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextvars import Context
from itertools import count
from typing import TYPE_CHECKING, Any

from aiorest_ws.exceptions import BrokerUnavailable, ImproperlyConfigured
from aiorest_ws.realtime.brokers import Item, Node, Retention
from aiorest_ws.realtime.brokers.redis.messages import decoded, encoded, item_of
from aiorest_ws.realtime.timers import Timer, Timers
from aiorest_ws.realtime.versions import Mark, new_epoch

if TYPE_CHECKING:
    from aiorest_ws.realtime.brokers.redis.servers import Server, Servers

__all__ = ("RedisBroker",)

_RENEWAL = 3600.0  # seconds until the server is told again that somebody subscribes to a url
_MOST_HELD = 1000  # messages of one url that wait until it is known how far it has come
_MOST_UNTOLD = 10_000  # urls that changed while nobody could be told
_TOGETHER = 500  # urls that are asked after at once
_ALL = "*"  # instead of a url: what is said to all; a url begins with a slash

logger = logging.getLogger("aiorest_ws")


class _Record:
    """One url to which somebody in this process subscribes.

    mark     how far it has come, as far as we were told; None: not known yet
    heard    the last number that was said on this connection: the next one is higher
    held     what was said while it is not known how far it has come; None: it is
    breaks   how often something may have been missed
    waits    SUBSCRIBEs that wait for the mark
    """

    __slots__ = ("breaks", "channel", "heard", "held", "mark", "nodes", "server", "settling", "url", "waits")

    def __init__(self, url: str, channel: bytes, server: Server) -> None:
        self.url = url
        self.channel = channel
        self.server = server
        self.nodes: list[Node] = []
        self.mark: Mark | None = None
        self.heard = 0
        self.held: list[tuple[str, Mark, bytes]] | None = []
        self.waits = 0
        self.settling: asyncio.Task[None] | None = None
        self.breaks = 0


class RedisBroker:
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
        self.timeout = timeout
        self.silence = silence
        self.grace = grace
        self.beat = beat
        self.clock = clock
        self.name = new_epoch()  # of this process
        self._epochs = count()
        self._wait = wait
        self._timers: Timers | None = None
        self._servers: Servers | None = None
        self._records: dict[str, _Record] = {}
        self._urls: dict[bytes, _Record] = {}  # channel → its record
        self._untold: dict[str, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
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
        except BaseException:
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

    @property
    def servers(self) -> Servers:
        """Where everything is. Raises BrokerUnavailable before the start, and after the end."""
        if self._servers is None:
            raise BrokerUnavailable("the broker has not started, or has stopped")
        return self._servers

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
            mark = _mark(reply)
            item.number = mark.number
            return mark

        return self._run(
            *("publish", url, data, item.size, retention.items, milliseconds, retention.size, self.now()), take=take
        )

    def changed(self, url: str, value: Item | None = None) -> Any:
        """As `Broker` says; who cannot be told now is told that it has changed once the server is back."""
        data = b"" if value is None else encoded(url, value)
        future = self._run("changed", url, "c" if value is None else "v", data, take=_mark)
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

    def _recheck(self, url: str | None) -> None:
        records: Iterable[_Record] = self._records.values()
        if url is not None:
            records = [self._records[url]] if url in self._records else []
        for node in dict.fromkeys(node for record in records for node in record.nodes):
            self._tell(node.on_recheck, url)

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

    # Who is told

    async def subscribe(self, url: str, node: Node) -> Mark:
        record = self._records.get(url)
        if record is None:
            channel = self._key(url)
            record = _Record(url, channel, self.servers.of(channel))
            self._records[url] = self._urls[channel] = record
        record.waits += 1
        try:
            if record.mark is None:
                await self._settled(record)
            if node not in record.nodes:
                record.nodes.append(node)
        finally:
            record.waits -= 1
            self._drop_if_unused(record)
        assert record.mark is not None
        return record.mark

    async def _settled(self, record: _Record) -> None:
        if record.settling is None:
            record.settling = asyncio.get_running_loop().create_task(self._settle(record), context=Context())
            record.settling.add_done_callback(_seen)
        await asyncio.shield(record.settling)

    async def _settle(self, record: _Record) -> None:
        """Hear it, then ask how far it has come: what is said behind that is heard."""
        breaks = record.breaks
        try:
            await record.server.ear.hear(record.channel)
            record.mark = await self._run("mark", record.url, "", 0, take=_mark)
        except asyncio.CancelledError:
            raise BrokerUnavailable("nobody waits for it any more") from None
        finally:
            record.settling = None
        if record.breaks == breaks:
            asyncio.get_running_loop().call_soon(self._flush_first, record, breaks)  # behind those who waited
        elif record.server.ear.is_caught:
            self._return_soon(record)  # else it is when the ear hears again

    def _flush_first(self, record: _Record, breaks: int) -> None:
        if record.breaks == breaks:
            self._flush(record)

    def unsubscribe(self, url: str, node: Node) -> None:
        record = self._records.get(url)
        if record is not None and node in record.nodes:
            record.nodes.remove(node)
            self._drop_if_unused(record)

    def _drop_if_unused(self, record: _Record) -> None:
        if not record.nodes and not record.waits and self._records.get(record.url) is record:
            del self._records[record.url], self._urls[record.channel]
            record.server.ear.leave(record.channel)

    # What is heard

    def _on_message(self, channel: bytes, data: bytes) -> None:
        kind, mark, rest = decoded(data)
        record = self._urls.get(channel)
        if kind == "r":
            if mark.epoch != self.name:
                self._recheck(None if record is None else record.url)
        elif record is not None:
            self._take(record, kind, mark, rest)

    def _take(self, record: _Record, kind: str, mark: Mark, rest: bytes) -> None:
        known = record.mark
        if record.held is not None or known is None:
            self._hold(record, (kind, mark, rest))
            return
        if mark.epoch == known.epoch and mark.number != known.number + 1:
            if record.heard < mark.number <= known.number:
                record.heard = mark.number
                return  # it was told before: what was asked for was quicker
            # It went back, or something is missing.
            self._be_behind(record)
            self._return_soon(record)
            return
        record.mark = mark
        record.heard = mark.number
        self._tell_of(record, kind, mark, rest)

    def _hold(self, record: _Record, said: tuple[str, Mark, bytes]) -> None:
        held = record.held
        if held is None:
            held = record.held = []
        if len(held) >= _MOST_HELD:
            held.clear()  # by the mark that comes it is seen that they are missing
        held.append(said)

    def _flush(self, record: _Record) -> None:
        """Take what was said meanwhile."""
        held, record.held = record.held, None
        for kind, mark, rest in held or ():
            self._take(record, kind, mark, rest)

    def _tell_of(self, record: _Record, kind: str, mark: Mark, rest: bytes) -> None:
        url = record.url
        item = item_of(mark.number if kind == "i" else 0, rest) if rest else None
        for node in list(record.nodes):
            if node not in record.nodes:
                continue  # it left while another was told
            if kind == "i" and item is not None:
                self._tell(node.on_item, url, mark, item)
            elif kind == "e":
                self._tell(node.on_return, url, mark)
            else:
                self._tell(node.on_changed, url, mark, item)

    def _tell(self, call: Callable[..., Any], *args: Any) -> None:
        try:
            call(*args)
        except Exception:  # the others must still be told
            logger.exception("cannot take what redis at %s tells", self.address.name)

    # Breaks

    def _on_deaf(self, server: Server) -> None:
        """Nothing is heard: it is not known how far anything has come."""
        for record in self._records.values():
            if record.server is server:
                self._be_behind(record)

    def _be_behind(self, record: _Record) -> None:
        record.breaks += 1
        record.heard = 0
        record.held = []

    def _on_heard(self, server: Server) -> None:
        """All is heard again: find out what was said meanwhile; whose guards were to be asked is not known at all."""
        self._return(server)
        self._recheck(None)

    def _on_line(self, server: Server) -> None:
        if server.ear.is_caught:
            self._return(server)
        untold, self._untold = self._untold, {}
        if self._servers is not None:
            for url in untold:
                self.changed(url)
            self._present.again()

    def _return(self, server: Server) -> None:
        behind = [
            record
            for record in self._records.values()
            if record.server is server and record.held is not None and record.mark is not None
        ]
        if behind:
            self._spawn(self._return_all, behind)

    def _return_soon(self, record: _Record) -> None:
        self._spawn(self._return_all, [record])

    async def _return_all(self, records: list[_Record]) -> None:
        for at in range(0, len(records), _TOGETHER):
            some = [(record, record.breaks, self._ask_mark(record)) for record in records[at : at + _TOGETHER]]
            for record, breaks, asked in some:
                try:
                    mark = await asked
                except BrokerUnavailable:
                    continue  # it is asked again when there is a server
                if record.breaks == breaks:  # else it is asked once more, by who saw that
                    self._returned(record, mark)

    def _ask_mark(self, record: _Record) -> Any:
        known = record.mark or Mark("", 0)
        return self._run("mark", record.url, known.epoch, known.number, is_patient=True, take=_mark)

    def _returned(self, record: _Record, mark: Mark) -> None:
        if self._records.get(record.url) is not record or record.held is None:
            return  # nobody subscribes any more, or it was asked twice
        record.mark = mark
        for node in list(record.nodes):
            if node in record.nodes:
                self._tell(node.on_return, record.url, mark)
        self._flush(record)

    def _rehome(self) -> None:
        """Hear at its new server what has one."""
        if self._servers is None:
            return
        for record in list(self._records.values()):
            server = self._servers.of(record.channel)
            if server is not record.server:
                record.server.ear.leave(record.channel)
                record.server = server
                self._be_behind(record)
                self._spawn(self._move, record)

    async def _move(self, record: _Record) -> None:
        try:
            await record.server.ear.hear(record.channel)
        except (BrokerUnavailable, asyncio.CancelledError):
            return  # it is heard when there is a server
        if record.mark is not None:
            await self._return_all([record])

    def _renew(self) -> None:
        """Have the server remember what is subscribed to; whoever has not heard all of it hears it now."""
        self._renewal = self.timers.after(_RENEWAL, self._renew)
        if self._servers is not None:
            self._present.renew()
            self._spawn(self._renew_all)

    async def _renew_all(self) -> None:
        records = [record for record in self._records.values() if record.held is None]
        for at in range(0, len(records), _TOGETHER):
            some = records[at : at + _TOGETHER]
            asked = [(record, self._ask_renewal(record)) for record in some]
            for record, mark in asked:
                try:
                    mark = await mark
                    await record.server.ear.ping()
                except BrokerUnavailable:
                    continue
                if record.held is None and record.mark is not None and _is_behind(record.mark, mark):
                    record.server.ear.drop(f"it does not hear what is said of {record.url}")

    def _ask_renewal(self, record: _Record) -> Any:
        return self._run("mark", record.url, "", 0, is_patient=True, take=_mark)

    def _spawn(self, call: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        task = asyncio.get_running_loop().create_task(_as_far_as_it_goes(call, *args), context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _mark(reply: Any) -> Mark:
    return Mark(reply[0].decode(), reply[1])


def _is_behind(known: Mark, mark: Mark) -> bool:
    return known.epoch == mark.epoch and known.number < mark.number


async def _as_far_as_it_goes(call: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
    try:
        await call(*args)
    except BrokerUnavailable:
        pass  # it is done again when there is a server, or nobody is there any more


def _seen(task: asyncio.Task[None]) -> None:
    """Look at what became of it: there may be nobody who waits any more."""
    if not task.cancelled():
        task.exception()


def _nothing(_: Any) -> None:
    """Who was told is not known: subscribers are on other machines."""
