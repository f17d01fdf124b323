"""What handlers, hooks and threads say has changed → the broker, and from there whoever subscribes: `app.live`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from contextvars import Context
from functools import partial
from threading import RLock
from typing import Any

from aiorest_ws._speedups import write
from aiorest_ws._speedups.unsendable import why_not
from aiorest_ws.callables.calls import is_awaitable
from aiorest_ws.exceptions import BrokerUnavailable, HTTPError, NotLive, NotSpecifiedHandler
from aiorest_ws.realtime.brokers import Broker, Item, Retention
from aiorest_ws.realtime.brokers.memory import MOST_HISTORY, MemoryBroker
from aiorest_ws.realtime.effects import Effect
from aiorest_ws.realtime.messages import MSGPACK, fitting
from aiorest_ws.realtime.meter import Meter
from aiorest_ws.realtime.names import canonical_url, topic_of
from aiorest_ws.realtime.node import LocalNode
from aiorest_ws.realtime.pending import Pending, hand_over, log_failure, or_reported
from aiorest_ws.realtime.presence import listed
from aiorest_ws.realtime.said import Said
from aiorest_ws.realtime.verbs import announce, answer, subscribe
from aiorest_ws.realtime.versions import Mark, version_of
from aiorest_ws.routing.misses import cure_of

__all__ = ("Feeds", "Said")

logger = logging.getLogger("aiorest_ws")

_LAST = 1.0  # seconds that a broker has for what was said last


class Feeds:
    """Says what has changed: `app.live`, in a handler `request.app.live`.

        app.live.changed("/orders/7")                 whoever subscribes to it is told
        app.live.publish("/rooms/5/messages", item)   the next item of a log
        app.live.recheck("/rooms/5")                  ask the guards of its subscriptions again

    From `def`, `async def`, threads and background tasks, in the loop that serves or not; each gives something to
    await: the version. Raises NotLive for a url that leads to no route which may be subscribed to.
    """

    def __init__(self, router: Callable[[], Any], reaches_others: Callable[[], bool] = lambda: False) -> None:
        self._router = router
        self._reaches_others = reaches_others
        self._broker: Broker | None = None
        self._node: LocalNode | None = None
        self._home: asyncio.AbstractEventLoop | None = None  # of a broker that was started
        self._starts = 0
        self._starting = asyncio.Lock()
        self._pending = Pending()
        self.meter = Meter()
        self.ledger: Any = None  # what knows keys wherever the broker reaches, see `idempotency`; once one was sent
        self._most_history: int | None = MOST_HISTORY
        # Whoever publishes while nobody subscribes does so where they are, one after another.
        self._lock = RLock()

    # For those who publish

    def changed(self, url: str) -> Said:
        """Say that the state at `url` is another: it is looked at again, for all who subscribe to it, of any `args`."""
        name, _ = self.find(url)
        return self._in_loop(lambda: self._say_changed(name, None))

    def publish(self, url: str, value: Any, args: Mapping[str, Any] | None = None) -> Said:
        """Publish the next item of the log at `url`; or the value of a shared state, with these `args`.

        The handler of a state is not run: it must find that value when it is. Raises what the value cannot be
        encoded with; then nothing is sent.
        """
        name, plan = self._found(url)
        live = plan.live
        if not live.live.shared:
            raise NotLive(f"GET {plan.route.path} depends on who asks: say `changed`, or declare it shared=True")
        if live.live.mode == "log" and args:
            raise NotLive(f"GET {plan.route.path} is a log, which has no args")
        topic = _topic(name, args)
        item = self._encoded(name, live, value)
        if live.live.mode == "log":
            kept = Retention(live.live.history, live.live.history_seconds, live.live.history_bytes)
            return self._in_loop(lambda: self._say_item(name, item, kept))
        item.topic = topic
        return self._in_loop(lambda: self._say_changed(name, item))

    def recheck(self, url: str | None = None) -> Said:
        """Ask the guards of all subscriptions of `url` again, None: of all urls, before they are sent anything more.

        After a role has changed, or a member was removed. When that was awaited it holds in this process: whoever's
        guards have not let pass since then is sent nothing.
        """
        name = None if url is None else self._found(url)[0]
        return self._in_loop(lambda: self.broker.recheck(name))

    def topics(self) -> list[str]:
        """Give the names of what is subscribed to in this process, sorted."""
        node = self._node
        if node is None:
            return []
        names: set[str] = set()
        for place in list(node.places.values()):
            names.update(name for name, topic in list(place.topics.items()) if topic.subscribers)
            names.update(private.name for private in list(place.private))
        return sorted(names)

    @property
    def most_history(self) -> int | None:
        """Bytes of items that are kept of all logs; None: any number."""
        return self._most_history

    @most_history.setter
    def most_history(self, most: int | None) -> None:
        self._most_history = most
        if isinstance(self._broker, MemoryBroker):
            self._broker.most = most

    @property
    def broker(self) -> Broker:
        """What carries publications; in memory unless there are other processes.

        Raises RuntimeError while that is not there: before the application has started, and behind its end.
        """
        if self._broker is None:
            if self._reaches_others():
                raise RuntimeError(
                    "the application has a broker, which is there while it runs: publish between its start and end"
                )
            with self._lock:
                self._broker = self._broker or MemoryBroker(self._most_history)
        return self._broker

    # For requests

    def members(self, url: str) -> Any:
        """Give who subscribes to `url`, in canonical form, as `<url>/presence` says it; or an awaitable of that."""
        given = self.broker.members(url)
        return _listed(given) if is_awaitable(given) else listed(given)

    def answer(self, pipeline: Any, request: Any, trie: Any) -> Any:
        """Answer a request with one of the verbs of subscriptions: see `verbs`."""
        return answer(self.node_of, pipeline, request, trie)

    def subscribe(self, pipeline: Any, request: Any, trie: Any) -> Any:
        """Answer a SUBSCRIBE."""
        return subscribe(self.node_of, pipeline, request, trie)

    def announce(self, pipeline: Any, request: Any, trie: Any) -> Any:
        """As `answer`, where a router has its own way: None if that way is to be gone, as by a GET."""
        return announce(self.node_of, pipeline, request, trie)

    def effect(self, pipeline: Any) -> Effect:
        """Give what takes the urls that a handler says it changes."""
        return Effect(self, pipeline, None, ())

    def node_of(self, connection: Any) -> LocalNode:
        """Give what has the subscriptions of `connection`, made when it is first asked for."""
        factory = connection.factory
        node = self._node
        if node is None or node.loop is not connection._loop:
            with self._lock:  # from now on all is said in this loop
                node = self._node = LocalNode(self.broker, self.meter, factory, self._pending)
        elif factory not in node.factories:
            node.factories.append(factory)
        return node

    def find(self, url: str) -> tuple[str, Any]:
        """Give the canonical form of `url` and the plan of its GET. Raises NotLive, also for a log."""
        name, plan = self._found(url)
        if plan.live.live.mode == "log":
            raise NotLive(f"{name} is a log, which does not change: publish its items")
        return name, plan

    def _found(self, url: str) -> tuple[str, Any]:
        if not isinstance(url, str) or not url:
            raise NotLive(f"a url must be a string like '/orders/7', got {url!r:.200}")
        trie = getattr(self._router(), "_trie", None)
        if trie is None:
            raise NotLive(f"{url!r:.200} leads to no live route: the application has no SimpleRouter")
        try:
            plan, params = trie.match("GET", url)
            name = canonical_url(trie, plan, params)
        except NotSpecifiedHandler as exc:
            raise NotLive(f"{url!r:.200} leads to no route that answers GET{cure_of(url)}") from exc
        except HTTPError as exc:
            raise NotLive(f"{url!r:.200}: {exc.detail}") from exc
        if plan.live is None:
            raise NotLive(f"GET {plan.route.path} does not say how it changes: give it live=Live(…)")
        return name, plan

    def tell(self, urls: Iterable[str], connection: Any, report: Callable[[Exception], None]) -> dict[str, Any]:
        """Say that `urls` have changed; give the version of each that `connection` subscribes to.

        Of a broker that is elsewhere it is a task, which gives None in the end if nobody there was told. `report` is
        told of those that lead nowhere, and of what nobody was told of: what was done is done.
        """
        versions: dict[str, Any] = {}
        table = None if connection is None else connection._live
        watched = set() if table is None else {each.topic.place.url for each in table.by_topic.values()}
        for url in urls:
            try:
                name, _ = self.find(url)
                said = self._say_changed(name, None)
            except (NotLive, BrokerUnavailable) as exc:
                report(exc)
                continue
            version = self._pending.add(or_reported(said, report)) if is_awaitable(said) else version_of(*said)
            if name in watched:
                versions[name] = version
        return versions

    def _say_changed(self, name: str, value: Item | None) -> Any:
        """Give the mark of now, or an awaitable of it."""
        self.meter.publications += 1
        try:
            given = self.broker.changed(name, value)
        except BrokerUnavailable:
            self._changed_here(name, value)
            raise
        return self._carried(name, value, given) if is_awaitable(given) else given

    async def _carried(self, name: str, value: Item | None, given: Any) -> Any:
        """Give the mark, once the broker has; where it cannot be reached those in this process are told."""
        try:
            return await given
        except BrokerUnavailable:
            self._changed_here(name, value)
            raise

    def _changed_here(self, name: str, value: Item | None) -> None:
        if value is None and self._node is not None:
            self._node.changed_here(name)

    def _say_item(self, name: str, item: Item, kept: Retention) -> Any:
        """Give the mark of the item, or an awaitable of it."""
        self.meter.publications += 1
        return self.broker.publish(name, item, kept)

    def _encoded(self, name: str, live: Any, value: Any) -> Item:
        if live.shape is not None:
            value = live.shape(value)
        try:
            json = fitting(write(value, 0))
            node = self._node
            place = None if node is None else node.places.get(name)
            wanted = place is not None and MSGPACK in place.families
            return Item(0, json, fitting(write(value, MSGPACK)) if wanted else None)
        except Exception as exc:
            exc.add_note(why_not(value))
            raise

    # Where it is done

    def _loop(self) -> asyncio.AbstractEventLoop | None:
        """Give the loop in which all is said, None where that may be anywhere."""
        if self._home is not None:
            return self._home
        return None if self._node is None else self._node.loop

    def _in_loop(self, say: Callable[[], Any]) -> Said:
        """Do it now, in the loop that serves or where nobody subscribes, else there soon."""
        loop = self._loop()
        if loop is not None and asyncio._get_running_loop() is loop:
            return self._said(say())
        with self._lock:
            loop = self._loop()
            if loop is None or not loop.is_running():
                if self._home is not None:
                    raise RuntimeError("the loop that serves does not run: nobody can be told")
                return Said(say())
            future: Future[Mark | None] = Future()
            loop.call_soon_threadsafe(self._do, say, future, context=Context())
            return Said(None, future, loop)

    def _said(self, given: Any) -> Said:
        if not is_awaitable(given):
            return Said(given)
        task = self._pending.add(given)
        task.add_done_callback(log_failure)
        return Said(None, task=task)

    def _do(self, say: Callable[[], Any], future: Future[Mark | None]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            with self._lock:  # by now there may be no node any more, and threads that publish where they are
                given = say()
        except BaseException as exc:
            future.set_exception(exc)
        else:
            if is_awaitable(given):
                self._pending.add(given).add_done_callback(partial(hand_over, future))
            else:
                future.set_result(given)

    def call_soon(self, function: Callable[..., Any], *args: Any) -> None:
        """Call `function` in the loop that serves, if there is one."""
        loop = self._loop()
        if loop is None or loop.is_closed():
            function(*args)
        else:
            loop.call_soon_threadsafe(function, *args)

    # Its life

    async def start(self, broker: Broker) -> None:
        """Have `broker` carry what is published from now on; as often as this is asked, `close` is to be.

        Raises ImproperlyConfigured, in one line, if it cannot.
        """
        loop = asyncio.get_running_loop()
        if self._starts and self._home is not loop:
            raise RuntimeError("the application serves in another loop already, with its broker")
        async with self._starting:  # two that begin at once have one broker
            if not self._starts:
                if isinstance(self._broker, MemoryBroker) and len(self._broker):
                    logger.warning("what was published before the application started is lost: it had no broker yet")
                await broker.start()
                self._broker, self._home = broker, loop
                self._leave_ledger(broker)
            self._starts += 1

    async def close(self) -> None:
        """Let go of the broker that was started, with the last who has asked for it."""
        self._starts -= 1
        if not self._starts and self._broker is not None:
            if tasks := self._pending.tasks:
                await asyncio.wait(tasks, timeout=_LAST)
            stopped = self._pending.stop()
            broker, self._broker, self._home = self._broker, None, None
            self._leave_ledger(broker)
            await broker.stop()
            if stopped:
                await asyncio.wait(stopped)

    def _leave_ledger(self, broker: Broker) -> None:
        """Have no ledger that `broker` does not reach, or that was at `broker`; what is in this process stays."""
        if not broker.is_local:
            self.ledger = None

    def stop(self, factory: Any) -> list[asyncio.Task[None]]:
        """Let go of what serves subscriptions, unless another listener than `factory` has some.

        Gives what still runs, and is cancelled.
        """
        node = self._node
        if node is None or factory not in node.factories:
            return []
        node.factories.remove(factory)
        if node.factories:
            return []
        with self._lock:
            self._node = None
            return node.stop()


def _topic(name: str, args: Mapping[str, Any] | None) -> str:
    """Give the topic of what is published. What is wrong with `args` is no client's fault here, unlike in a message."""
    if args is not None and not isinstance(args, Mapping):
        raise TypeError(f"args must be a mapping, as those of a request, got {args!r:.200}")
    try:
        return topic_of(name, dict(args) if args else None)
    except HTTPError as exc:
        raise ValueError(exc.detail) from exc


async def _listed(given: Any) -> dict[str, Any]:
    return listed(await given)
