"""One publication and those who subscribe → the same bytes to each, made once for all who take them in one way.

What is published in one turn of the loop leaves at its end, in one write for each connection: an `Outbox` has one call
of the loop for all of them. A `Fan` has what is told, as it goes to connections; they keep it by reference.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from pybase64 import b64encode

# A module, not names: `fanout_c.pxd` cimports the compiled one under this name.
if TYPE_CHECKING or not __name__.endswith("_c"):
    from . import frames
else:
    from . import frames_c as frames

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from .connection import Connection
    from .deflate import Packer

__all__ = ("Fan", "Outbox", "Subscriber", "fan_out", "fan_out_state", "forms_of")

_OPEN = 3
_TEXT, _BINARY = 1, 2
_COMPRESSED = 0x40  # RSV1 (RFC 7692 §6)


class Subscriber:
    """One who is told of a topic.

    connection    where it is
    form          of its pushes
    at            its index among those who are told
    position      number of what it was sent last
    seen          which value it has, of those that were sent for its topic
    is_held       nothing may be sent to it now
    is_over       nothing may be sent to it any more
    """

    __slots__ = ("at", "connection", "form", "is_held", "is_over", "position", "seen")

    def __init__(self, connection: Connection, form: int, position: int) -> None:
        self.connection = connection
        self.form = form
        self.at = 0
        self.position = position
        self.seen = 0
        self.is_held = False
        self.is_over = False


class Outbox:
    """What leaves in this turn of a loop: gathered by connections, one write for each, one call for all.

    context    gives what that runs in: who publishes is none of the business of who is told
    """

    __slots__ = ("_context", "_due", "_gathering", "_is_scheduled", "_loop")

    def __init__(self, loop: Any, context: Callable[[], Context]) -> None:
        self._loop = loop
        self._context = context
        self._due: deque[Callable[[], None]] = deque()
        self._gathering: list[Connection] = []
        self._is_scheduled = False

    def soon(self, tell: Callable[[], None]) -> None:
        """Call `tell` once whoever is publishing has come to an end, before what is gathered leaves."""
        self._due.append(tell)
        self._schedule()

    def push(self, connection: Connection, payloads: list[bytes], form: int) -> None:
        """Send rendered messages to one connection, whether it reads or not."""
        self.gather(connection)
        connection._push(payloads, form)

    def gather(self, connection: Connection) -> None:
        """Have what `connection` is sent from now on leave at the end of this turn."""
        if not connection._flushes_late:
            self._gathering.append(connection)
            connection._flushes_late = connection._gathers = True
            self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._loop.call_soon(self._turn, context=self._context())
            self._is_scheduled = True

    def _turn(self) -> None:
        try:
            self._tell()
            self._flush()
        finally:
            # What came up meanwhile, or is left because something was raised, is for the next turn.
            self._is_scheduled = False
            if self._due or self._gathering:
                self._schedule()

    def _tell(self) -> None:
        due = self._due
        for _ in range(len(due)):
            due.popleft()()

    def _flush(self) -> None:
        gathering = self._gathering
        done, number = 0, len(gathering)
        try:
            while done < number:
                connection = gathering[done]
                done += 1
                connection._end_turn()
        finally:
            del gathering[:done]


class _Bundle:
    """Pushes as whole frames, one behind the other: the same bytes for all who take them in one form and packed so."""

    __slots__ = ("count", "form", "frames", "octets", "packer", "saved")

    def __init__(self, payloads: list[bytes], form: int, packer: Packer | None, packs_from: int) -> None:
        self.form = form
        self.packer = packer
        self.count = len(payloads)
        self.octets = 0
        self.saved = 0  # bytes, by compression
        pieces = []
        for payload in payloads:
            first = 0x80 | (_BINARY if form & 2 else _TEXT)
            if form & 1:
                payload = b64encode(payload)
            size = len(payload)
            if packer is not None and size >= packs_from:
                packed = packer.pack(payload)
                if len(packed) < size:
                    self.saved += size - len(packed)
                    first |= _COMPRESSED
                    payload = packed
                    size = len(packed)
            self.octets += size
            pieces.append(frames.header(first, size))
            pieces.append(payload)
        self.frames = b"".join(pieces)


class Fan:
    """What is told: rendered once for each form, framed once for each way in which connections take it.

    render    form → the rendered pushes, or None where they cannot be had now
    """

    __slots__ = ("_bundles", "_last", "_outbox", "_render", "_rendered")

    def __init__(self, outbox: Outbox, render: Callable[[int], list[bytes] | None]) -> None:
        self._outbox = outbox
        self._render = render
        self._rendered: dict[int, list[bytes] | None] = {}
        self._bundles: list[_Bundle] = []
        self._last: _Bundle | None = None

    def send(self, subscriber: Subscriber, number: int, seen: int) -> bool:
        """Send it to one, who is at `number` and has seen `seen` then.

        False, and nothing is sent: it may not be, its client does not read, or there is nothing in its form.
        """
        connection = subscriber.connection
        if subscriber.is_held or subscriber.is_over or connection.state != _OPEN or connection._choked:
            return False
        form = subscriber.form
        if not connection._writes_replies:
            return self._send_by_hand(subscriber, number, seen)
        packer = connection._packer
        if packer is not None and packer.takes_over:
            packer = None  # what it makes is for its own connection only
        bundle = self._last
        if bundle is None or bundle.form != form or bundle.packer is not packer:
            bundle = self._bundle(form, packer, connection._packs_from)
            if bundle is None:
                return False
        self._outbox.gather(connection)
        connection._put_frames(bundle.frames, bundle.octets, bundle.count, bundle.saved)
        subscriber.position = number
        subscriber.seen = seen
        return True

    def _bundle(self, form: int, packer: Packer | None, packs_from: int) -> _Bundle | None:
        for bundle in self._bundles:
            if bundle.form == form and bundle.packer is packer:
                self._last = bundle
                return bundle
        payloads = self._payloads(form)
        if payloads is None:
            return None
        bundle = _Bundle(payloads, form, packer, packs_from)
        self._bundles.append(bundle)
        self._last = bundle
        return bundle

    def _payloads(self, form: int) -> list[bytes] | None:
        if form not in self._rendered:
            self._rendered[form] = self._render(form)
        return self._rendered[form]

    def _send_by_hand(self, subscriber: Subscriber, number: int, seen: int) -> bool:
        """Send it by what a subclass brings, which may do anything: what is true before it need not be behind it."""
        form = subscriber.form
        payloads = self._payloads(form)
        if payloads is None:
            return False
        connection = subscriber.connection
        self._outbox.gather(connection)
        subscriber.position = number  # before: who publishes from within finds it told
        subscriber.seen = seen
        for payload in payloads:
            if subscriber.is_over or connection.state != _OPEN:
                break
            connection._send_push(payload, form)
        return True


def fan_out(subscribers: list[Any], fan: Fan, since: int, number: int, seen: int) -> tuple[int, list[Any]]:
    """Send `fan` to those at `since`, who are at `number` then; give how many, and all who were not told.

    Somebody's own code, called by a subscriber, may let others in and out meanwhile.
    """
    told = 0
    left = []
    for subscriber in list(subscribers):
        if subscriber.position == since and fan.send(subscriber, number, seen):
            told += 1
        else:
            left.append(subscriber)
    return told, left


def fan_out_state(subscribers: list[Any], news: Fan, same: Fan | None, number: int, seen: int) -> tuple[int, list[Any]]:
    """Send `news` to those who have not `seen` it, `same` to the others; give how many, and all who could not be told.

    same    None: they are told nothing
    """
    told = 0
    left = []
    for subscriber in list(subscribers):
        fan = news if subscriber.seen != seen else same
        if fan is None:
            continue
        if fan.send(subscriber, number, seen):
            told += 1
        else:
            left.append(subscriber)
    return told, left


def forms_of(subscribers: list[Any]) -> set[int]:
    """Give the forms in which they are told."""
    forms = 0
    for subscriber in subscribers:
        forms |= 1 << subscriber.form
    return {form for form in range(8) if forms >> form & 1}
