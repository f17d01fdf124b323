"""What carries publications between those who change something and those who subscribe: one interface, several ways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from aiorest_ws.realtime.versions import Mark

__all__ = ("Broker", "Item", "Node", "Retention")

_OVERHEAD = 200  # bytes of an item beside its data


@dataclass(slots=True)
class Item:
    """One item of a log, as it is encoded.

    number      dense: one more with each item of its log
    json        as JSON
    msgpack     as MessagePack, None where nobody has wanted that
    topic       of the value of a state: which of its url it is
    size        bytes that it takes, about
    """

    number: int
    json: bytes
    msgpack: bytes | None = None
    topic: str = ""
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = len(self.json) + len(self.msgpack or b"") + _OVERHEAD

    def encoded(self, family: int) -> bytes | None:
        return self.msgpack if family else self.json


@dataclass(frozen=True, slots=True)
class Retention:
    """What is kept of a log for those who come back: items, seconds, bytes. Of items and bytes, one item at least."""

    items: int
    seconds: float
    size: int


class Node(Protocol):
    """One process that has subscribers; the broker tells it what happens to the urls that it has subscribed to.

    Of one url it is told in order. Whatever it does meanwhile, it is told one thing after another.

    on_return    there was a break between broker and node, or nobody can know whether something was lost: the url has
                 come to `mark` by now, and what was missed of a log is in its `history`
    """

    def on_item(self, url: str, mark: Mark, item: Item) -> None: ...
    def on_changed(self, url: str, mark: Mark, value: Item | None) -> None: ...
    def on_recheck(self, url: str | None) -> None: ...
    def on_return(self, url: str, mark: Mark) -> None: ...


class Broker(Protocol):
    """Gives numbers and epochs, keeps logs (no states), and tells nodes what changed.

    url    in canonical form: `realtime.names.canonical_url`

    All is called in the loop that serves, between `start` and `stop`; one that `is_local` also while there is none.
    What a method gives may be an awaitable of what it is said to give: one that goes over a network has no other way,
    and raises BrokerUnavailable, soon, while it cannot do that. Nothing is left of a url to which nobody subscribes and
    of which no item is kept: a url that comes back has another epoch.

    is_local    it is all in this process, and nothing that it does ever waits
    """

    is_local: bool

    async def start(self) -> None:
        """Be ready for what comes. Raises ImproperlyConfigured, in one line, where that cannot be."""

    async def stop(self) -> None:
        """Let go of everything: nothing comes any more."""

    def publish(self, url: str, item: Item, retention: Retention) -> Any:
        """Add an item, whose number is given to it here, to the log at `url`; gives its Mark.

        Numbers are dense: one more with each item, as long as the epoch is the same.
        """

    def changed(self, url: str, value: Item | None = None) -> Any:
        """Say that the state at `url` is another, which may be `value`; gives the Mark from now on."""

    def recheck(self, url: str | None) -> Any:
        """Have the guards of all subscriptions of `url` asked again, None: of all urls."""

    def subscribe(self, url: str, node: Node) -> Any:
        """Tell `node` of `url` from now on; gives the Mark of now: of all that comes behind it the node is told."""

    def unsubscribe(self, url: str, node: Node) -> Any:
        """Tell `node` no longer."""

    def history(self, url: str, since: Mark) -> Any:
        """Give the items of a log behind `since`, in order; None if some of them are kept no longer."""

    def members(self, url: str, node: Node | None = None, own: Mapping[Any, Any] | None = None) -> Any:
        """Give who is at `url`, id → entry, in all processes.

        With `node`, which has changed `own`, take note of those in it, and give nothing: they may be many. `own` is
        kept, not copied: it is what is there until the next call.
        """
