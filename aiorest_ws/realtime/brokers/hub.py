"""The broker of a worker: what it is asked for → the hub, in the supervisor; what the hub says → its nodes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from aiorest_ws.exceptions import BrokerUnavailable
from aiorest_ws.logs.throttled import Complaints, path_of
from aiorest_ws.realtime.brokers import Item, Node, Retention
from aiorest_ws.realtime.brokers.hub_messages import MOST_OF_ITEM, MOST_PENDING, Channel, body_of, item_of
from aiorest_ws.realtime.brokers.hub_presence import OwnMembers, members_of
from aiorest_ws.realtime.versions import Mark

__all__ = ("HubBroker",)

_complaints = Complaints(logging.getLogger("aiorest_ws"))

_PATIENCE = 5.0  # seconds in which the hub answers; what it has not answered after twice as many is refused


class _Subscription:
    """One url to which nodes of this process subscribe.

    number     by which the hub knows it
    mark       how far it has come, as they were told; None: the hub has not said that yet
    waiting    who is told of it as soon as that is so; None in the place of one who has left since
    """

    __slots__ = ("mark", "nodes", "number", "url", "waiting")

    def __init__(self, number: int, url: str) -> None:
        self.number = number
        self.url = url
        self.mark: Mark | None = None
        self.nodes: list[Node] = []
        self.waiting: list[tuple[Node | None, asyncio.Future[Mark]]] = []

    def tell(self, what: str, mark: Mark, *more: Any) -> None:
        """Tell the nodes, each whatever another makes of it; one that leaves meanwhile is told nothing."""
        self.mark = mark
        for node in tuple(self.nodes):
            if node in self.nodes:
                try:
                    getattr(node, what)(self.url, mark, *more)
                except Exception as exc:
                    _complaints.write(logging.ERROR, f"cannot tell subscribers of {path_of(self.url)} what came", exc)

    def all_nodes(self) -> list[Node]:
        """Give who is told of it, and who will be."""
        return [*self.nodes, *(node for node, _ in self.waiting if node is not None)]


class HubBroker:
    """Asks the hub for everything, over the channel to the supervisor.

    What it is asked in one turn of the loop leaves in one write. The hub is told of each url once, however many nodes
    subscribe; what a node of this process publishes does not come back, but for its number. When the channel is lost,
    or the hub does not answer, what waits for it ends with BrokerUnavailable, and so does whatever is asked then.
    """

    is_local = False

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self._loop: Any = None
        self._why_not = "the broker was not started"  # why nothing can be asked, if so
        self._last = 0  # number of what was asked
        # Number → what waits for its answer; of what was published, how nodes of this process are told of it, and it.
        self._asked: dict[int, tuple[asyncio.Future[Any], str, Item | None]] = {}
        self._parts: dict[int, list[Any]] = {}  # of large answers
        self._urls: dict[str, _Subscription] = {}
        self._subscriptions: dict[int, _Subscription] = {}
        self._members = OwnMembers(channel)
        self._watch: asyncio.TimerHandle | None = None
        self._watched = 0  # number up to which all should have been answered when it is looked at next

    async def start(self) -> None:
        """Take what the hub says from now on."""
        self._loop = asyncio.get_running_loop()
        self._why_not = ""
        for kind, handler in (
            ("answer", self._on_answer),
            ("item", self._on_item),
            ("changed", self._on_changed),
            ("returned", self._on_returned),
            ("rechecked", self._on_rechecked),
            ("items", self._on_items),
            ("listed", self._on_listed),
        ):
            self.channel.take(kind, handler)
        self.channel.on_lost(lambda: self._end("the supervisor is gone"))

    async def stop(self) -> None:
        """Ask nothing more. Who was there is kept by the hub for a while: they may come back, elsewhere."""
        if not self._why_not:
            self.channel.send("leave")
            self._end("the server is stopping")

    # What is asked

    def publish(self, url: str, item: Item, retention: Retention) -> asyncio.Future[Mark]:
        kept = (retention.items, float(retention.seconds), retention.size)
        return self._ask("publish", url, *kept, len(item.json), told="on_item", item=item)

    def changed(self, url: str, value: Item | None = None) -> asyncio.Future[Mark]:
        if value is None:
            return self._ask("change", url, "", 0, told="on_changed")
        return self._ask("change", url, value.topic, len(value.json), told="on_changed", item=value)

    def recheck(self, url: str | None) -> asyncio.Future[Any] | None:
        """Have the guards asked again: of this process at once, whether or not the hub can be told."""
        self._on_rechecked([url], b"")
        if (why_not := self._refusal()) is not None:
            return self._failed(why_not)
        self.channel.send("recheck", url)
        return None

    def subscribe(self, url: str, node: Node) -> Mark | asyncio.Future[Mark]:
        subscription = self._urls.get(url)
        if subscription is None:
            future = self._ask("subscribe", url)
            if future.done():
                return future  # it cannot be asked
            subscription = self._urls[url] = self._subscriptions[self._last] = _Subscription(self._last, url)
        elif subscription.mark is not None:
            if node not in subscription.nodes:
                subscription.nodes.append(node)
            return subscription.mark
        else:
            future = self._loop.create_future()
        subscription.waiting.append((node, future))
        return future

    def unsubscribe(self, url: str, node: Node) -> None:
        subscription = self._urls.get(url)
        if subscription is None:
            return
        if node in subscription.nodes:
            subscription.nodes.remove(node)
        subscription.waiting = [(None if who is node else who, future) for who, future in subscription.waiting]
        if not subscription.all_nodes():
            del self._urls[url]
            if subscription.mark is not None:  # else who waits is told when it has come
                del self._subscriptions[subscription.number]
            self.channel.send("unsubscribe", subscription.number)

    def history(self, url: str, since: Mark) -> asyncio.Future[list[Item] | None]:
        return self._ask("history", url, since.epoch, since.number)

    def members(self, url: str, node: Node | None = None, own: Mapping[Any, Any] | None = None) -> Any:
        if node is None:
            self._members.tell(url)
            return self._ask("members", url)
        if not self._why_not:
            self._members.set(url, node, own)
        return {}

    def _ask(self, kind: str, *head: Any, told: str = "", item: Item | None = None) -> asyncio.Future[Any]:
        """Ask the hub; of what was published, `told` is how the nodes of this process are told of it.

        Raises ValueError for an item that is too large, TypeError for a url that JSON cannot say.
        """
        if item is not None and item.size > MOST_OF_ITEM:
            raise ValueError(
                f"what is published must have at most {MOST_OF_ITEM} bytes as JSON and MessagePack, got {item.size}: "
                "publish where to find it"
            )
        if (why_not := self._refusal()) is not None:
            return self._failed(why_not)
        number = self._last + 1
        self.channel.send(kind, number, *head, body=b"" if item is None else body_of(item))
        self._last = number
        future: asyncio.Future[Any] = self._loop.create_future()
        self._asked[number] = (future, told, item)
        if self._watch is None:
            self._watch = self._loop.call_later(_PATIENCE, self._look)
        return future

    def _refusal(self) -> str | None:
        """Give why nothing can be asked now, None if it can."""
        if self._why_not:
            return self._why_not
        if self.channel.pending > MOST_PENDING:
            return "the supervisor does not take what it is told"
        return None

    def _failed(self, why_not: str) -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().create_future()
        _fail(future, why_not)
        return future

    # Its end

    def _look(self) -> None:
        """Let wait no longer for what the hub has not answered since the last look, and asked it before that.

        So a loop that was blocked has read, between two looks, what came meanwhile. What was published may be so yet:
        then the nodes of this process are told with all others.
        """
        late = [number for number in self._asked if number <= self._watched]
        self._watched = self._last
        for number in late:
            future, told, _ = self._asked[number]
            if not told:
                del self._asked[number]
                self._parts.pop(number, None)
            subscription = self._subscriptions.pop(number, None)
            if subscription is not None:
                self._give_up(subscription)
            _fail(future, "the supervisor does not answer")
        self._watch = self._loop.call_later(_PATIENCE, self._look) if self._asked else None

    def _give_up(self, subscription: _Subscription) -> None:
        if self._urls.get(subscription.url) is subscription:
            del self._urls[subscription.url]
            self.channel.send("unsubscribe", subscription.number)
        for _, future in subscription.waiting:
            _fail(future, "the supervisor does not answer")

    def _end(self, why: str) -> None:
        """Have nobody wait, and nothing asked, from now on."""
        if self._why_not:
            return
        self._why_not = why
        waiting = [future for future, _, _ in self._asked.values()]
        waiting += [future for each in self._subscriptions.values() for _, future in each.waiting]
        for kept in (self._asked, self._parts, self._urls, self._subscriptions):
            kept.clear()
        self._members.stop()
        if self._watch is not None:
            self._watch.cancel()
        for future in waiting:
            _fail(future, why)

    # What the hub says

    def _on_answer(self, head: list[Any], body: bytes) -> None:
        number, told, epoch, at = head
        mark = Mark(epoch, at)
        future, how, item = self._asked.pop(number, _NOBODY)
        if number in self._subscriptions:
            self._begin(self._subscriptions[number], mark)
        elif told in self._subscriptions and how:
            if item is not None and how == "on_item":
                item.number = at
            self._subscriptions[told].tell(how, mark, item)
        _give(future, mark)

    def _begin(self, subscription: _Subscription, mark: Mark) -> None:
        subscription.mark = mark
        waiting, subscription.waiting = subscription.waiting, []
        if self._urls.get(subscription.url) is not subscription:  # all have left
            del self._subscriptions[subscription.number]
        for node, future in waiting:
            if node is not None and node not in subscription.nodes:
                subscription.nodes.append(node)
            _give(future, mark)

    def _on_item(self, head: list[Any], body: bytes) -> None:
        told, number, size = head
        subscription = self._subscriptions.get(told)
        if subscription is not None and subscription.mark is not None:
            subscription.tell("on_item", Mark(subscription.mark.epoch, number), item_of(body, size, number))

    def _on_changed(self, head: list[Any], body: bytes) -> None:
        told, number, topic, size = head
        subscription = self._subscriptions.get(told)
        if subscription is not None and subscription.mark is not None:
            value = item_of(body, size, topic=topic) if size else None
            subscription.tell("on_changed", Mark(subscription.mark.epoch, number), value)

    def _on_returned(self, head: list[Any], body: bytes) -> None:
        told, number = head
        subscription = self._subscriptions.get(told)
        if subscription is not None and subscription.mark is not None:
            subscription.tell("on_return", Mark(subscription.mark.epoch, number))

    def _on_rechecked(self, head: list[Any], body: bytes) -> None:
        (url,) = head
        found = list(self._urls.values()) if url is None else [self._urls[url]] if url in self._urls else []
        for node in dict.fromkeys(node for each in found for node in each.all_nodes()):
            try:
                node.on_recheck(url)
            except Exception as exc:
                _complaints.write(logging.ERROR, "cannot have the guards of subscriptions asked again", exc)

    def _on_items(self, head: list[Any], body: bytes) -> None:
        number, is_last, first, sizes = head
        if sizes is None:
            _give(self._asked.pop(number, _NOBODY)[0], None)
            return
        items = []
        at = 0
        for offset, (of_json, of_msgpack) in enumerate(sizes):
            end = at + of_json + of_msgpack
            items.append(item_of(body[at:end], of_json, first + offset))
            at = end
        self._take_part(number, is_last, items, list)

    def _on_listed(self, head: list[Any], body: bytes) -> None:
        number, is_last = head
        self._take_part(number, is_last, members_of(body), dict)

    def _take_part(self, number: int, is_last: bool, part: list[Any], whole: Callable[[list[Any]], Any]) -> None:
        if number in self._asked:
            parts = self._parts.setdefault(number, [])
            parts += part
            if is_last:
                del self._parts[number]
                _give(self._asked.pop(number)[0], whole(parts))


_NOBODY: tuple[None, str, None] = (None, "", None)


def _give(future: asyncio.Future[Any] | None, result: Any) -> None:
    if future is not None and not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], why: str) -> None:
    if not future.done():
        future.set_exception(BrokerUnavailable(f"{why}: nobody elsewhere can be told, or asked"))
        future.exception()  # looked at: there may be nobody who waits
