"""What is said on the channels of this process → its nodes, each url in order; and what was missed, after a break."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from contextvars import Context
from typing import TYPE_CHECKING, Any

from aiorest_ws.exceptions import BrokerUnavailable
from aiorest_ws.realtime.brokers import Node
from aiorest_ws.realtime.brokers.redis.messages import decoded, item_of
from aiorest_ws.realtime.versions import Mark

if TYPE_CHECKING:
    from aiorest_ws.realtime.brokers.redis.servers import Server, Servers

__all__ = ("Hearing", "mark_of")

_MOST_HELD = 1000  # messages of one url that wait until it is known how far it has come
_TOGETHER = 500  # urls that are asked after at once

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


class Hearing:
    """The half of a `RedisBroker` that hears: which urls this process subscribes to, and how far each has come.

    title    of the server, for the log
    name     of this process, by which it knows what it has said itself
    """

    def __init__(self, title: str, name: str) -> None:
        self.title = title
        self.name = name
        self._servers: Servers | None = None
        self._records: dict[str, _Record] = {}
        self._urls: dict[bytes, _Record] = {}  # channel → its record
        self._tasks: set[asyncio.Task[None]] = set()

    # What the broker does

    @property
    def servers(self) -> Servers:
        """Where everything is. Raises BrokerUnavailable before the start, and after the end."""
        if self._servers is None:
            raise BrokerUnavailable("the broker has not started, or has stopped")
        return self._servers

    def _key(self, url: str, kind: str = "") -> bytes:
        raise NotImplementedError

    def _run(self, name: str, url: str, *args: Any, is_patient: bool = False, take: Any = None) -> Any:
        raise NotImplementedError

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
            record.mark = await self._run("mark", record.url, "", 0, take=mark_of)
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
            logger.exception("cannot take what redis at %s tells", self.title)

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
        return self._run("mark", record.url, known.epoch, known.number, is_patient=True, take=mark_of)

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
        return self._run("mark", record.url, "", 0, is_patient=True, take=mark_of)

    def _spawn(self, call: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        task = asyncio.get_running_loop().create_task(_as_far_as_it_goes(call, *args), context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _recheck(self, url: str | None) -> None:
        records: Iterable[_Record] = self._records.values()
        if url is not None:
            records = [self._records[url]] if url in self._records else []
        for node in dict.fromkeys(node for record in records for node in record.nodes):
            self._tell(node.on_recheck, url)


def mark_of(reply: Any) -> Mark:
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
