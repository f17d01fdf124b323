"""Who is there in this process → who is there in all, those of processes that died left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orjson import dumps, loads

from aiorest_ws.exceptions import BrokerUnavailable
from aiorest_ws.realtime.brokers.redis.scripts import DAY
from aiorest_ws.realtime.presence import PATH

if TYPE_CHECKING:
    from aiorest_ws.realtime.brokers import Node
    from aiorest_ws.realtime.brokers.redis import RedisBroker
    from aiorest_ws.realtime.brokers.redis.servers import Server

__all__ = ("Members",)

_NODES = "*nodes"  # instead of a url


class Members:
    """Who subscribes, as the server has it: of each url a hash, and of each process when it was heard of last.

    A process that has members, or asks for them, gives a sign of life each `beat`; whoever finds one dead, after
    `grace`, says of all urls where it had members that they have changed. Where those are it has written down.
    """

    def __init__(self, broker: RedisBroker) -> None:
        self._broker = broker
        self._own: dict[tuple[str, Node], Mapping[Any, Any]] = {}
        self._sent: dict[tuple[str, Node], dict[Any, Any]] = {}
        self._numbers: dict[Node, int] = {}  # of nodes of this process
        self._failed: set[tuple[str, Node]] = set()  # of which it is not known what the server has
        self._alive: set[bytes] = set()
        self._dead: set[bytes] = set()  # of which somebody must be told
        self._beats = False

    # For the broker

    def have(self, url: str, node: Node, own: Mapping[Any, Any] | None) -> Any:
        """Send what differs from what was sent last.

        A node that stops has none, not even nobody: they may come back elsewhere. That is sent if anybody looks, or
        found out when this process is dead.
        """
        place = url, node
        if own is None:
            self._own.pop(place, None)
            return {}
        if own:
            self._own[place] = own
        else:
            self._own.pop(place, None)
        self._begin()
        return self._send(place)

    async def at(self, url: str) -> dict[Any, Any]:
        """Give who is at `url`."""
        self._begin()
        for place in [place for place in self._sent if place[0] == url and place not in self._own]:
            await self._send(place)
        server, key = self._broker.keys(url, ":p")
        fields = await server.line.ask("HGETALL", key)
        pairs = list(zip(fields[::2], fields[1::2], strict=True))
        if any(_process(name) not in self._alive for name, _ in pairs):
            await self._beat()  # one that has begun a moment ago is as unknown as one that is long gone
        present = {}
        for name, entry in pairs:
            if _process(name) in self._alive:
                given = loads(entry)
                present[given[0]] = given[1]
        return present

    def again(self) -> None:
        """Send all once more: the server may have lost it."""
        if self._beats:
            self._broker._spawn(self._resend)

    def stop(self) -> None:
        """Give no sign of life any more."""
        self._beats = False

    # What is sent

    def _send(self, place: tuple[str, Node], *, is_all: bool = False) -> Any:
        own, sent = self._own.get(place, {}), self._sent.setdefault(place, {})
        if is_all:
            sent.clear()
        gone = [name for name in sent if name not in own]
        new = [(name, entry) for name, entry in own.items() if sent.get(name) is not entry]
        for name in gone:
            del sent[name]
        sent.update(new)
        if not own:
            self._sent.pop(place, None)
        broker = self._broker
        server, _ = broker.keys(place[0], ":p")
        self._note(place[0])
        future = self._said(server, place, is_all, gone, new)
        future.add_done_callback(lambda done: self._done(place, done))
        return future

    def _said(
        self, server: Server, place: tuple[str, Node], is_all: bool, gone: list[Any], new: list[tuple[Any, Any]]
    ) -> Any:
        url, node = place
        broker = self._broker
        number = self._numbers.setdefault(node, len(self._numbers))
        own = f"{broker.name}.{number}".encode()
        flat: list[bytes] = []
        for name, entry in new:
            flat += (b"%s/%s" % (own, dumps(name)), dumps([name, entry]))
        fields = [b"%s/%s" % (own, dumps(name)) for name in gone]
        script = server.line.scripts.present
        args = (own, int(is_all), len(fields), *fields, *flat)
        return server.line.run(script, (broker._key(url, ":p"),), *args, take=lambda _: {})

    def _done(self, place: tuple[str, Node], done: Any) -> None:
        if done.cancelled() or done.exception() is not None:
            self._sent.pop(place, None)
            self._failed.add(place)
        elif self._beats and self._broker.servers.is_cluster:
            # That it has changed was said at another server, and may have been heard before.
            self._broker.changed(f"{place[0].rstrip('/')}{PATH}")

    def _note(self, url: str) -> None:
        """Write down where this process has members, for who finds it dead."""
        broker = self._broker
        has = any(at == url for at, _ in self._own)
        key = self._urls_of(broker.name.encode())
        line = broker.servers.of(key).line
        line.ask("SADD" if has else "SREM", key, url)
        line.ask("PEXPIRE", key, DAY)

    def renew(self) -> None:
        """Have the server remember who is here for another day."""
        for url in {url for url, _ in self._own}:
            server, key = self._broker.keys(url, ":p")
            server.line.ask("PEXPIRE", key, DAY, is_patient=True)
            self._note(url)

    def _urls_of(self, process: bytes) -> bytes:
        return self._broker._key(f"{_NODES}/{process.decode()}")

    # Who is alive

    def _begin(self) -> None:
        if not self._beats:
            self._beats = True
            self._broker._spawn(self._beat_on)

    async def _beat_on(self) -> None:
        broker = self._broker
        try:
            await self._beat()
        except BrokerUnavailable:
            pass  # it is tried again
        if self._beats:
            broker.timers.after(broker.beat, lambda: broker._spawn(self._beat_on))

    async def _beat(self) -> None:
        """Say that this process is alive, find out which others are, and let go of what the dead had."""
        broker = self._broker
        key = broker._key(_NODES)
        line = broker.servers.of(key).line
        grace = int(broker.grace * 1000)
        is_new, alive, dead = await line.run(line.scripts.alive, (key,), broker.name, grace, broker.now())
        was_known = broker.name.encode() in self._alive
        self._alive = set(alive)
        self._dead.update(dead)
        if self._failed or (is_new and was_known):
            await self._resend()  # others have found us dead
        for process in list(self._dead):
            await self._bury(process)
            self._dead.discard(process)

    async def _bury(self, process: bytes) -> None:
        broker = self._broker
        key = self._urls_of(process)
        urls = await broker.servers.of(key).line.ask("SMEMBERS", key)
        for url in [each.decode() for each in urls]:
            server, present = broker.keys(url, ":p")
            fields = [name for name in await server.line.ask("HKEYS", present) if _process(name) == process]
            if fields:
                await server.line.ask("HDEL", present, *fields)
            await broker.changed(f"{url.rstrip('/')}{PATH}")
        await broker.servers.of(key).line.ask("DEL", key)

    async def _resend(self) -> None:
        broker = self._broker
        places, self._failed = {*self._own, *self._failed}, set()
        for place in places:
            try:
                await self._send(place, is_all=True)
                await broker.changed(f"{place[0].rstrip('/')}{PATH}")
            except BrokerUnavailable:
                self._failed.add(place)  # it is tried again


def _process(field: bytes) -> bytes:
    return field.partition(b".")[0]
