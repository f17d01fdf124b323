"""A connection whose frames are somebody else's: messages in, in order and some at a time; what is to be said, out.

`Carried` stands between a carrier of messages, such as a server of ASGI, and the requests of a connection. The two
loops of the carrier, `Carried._hear` and `Outgoing.tell`, go on until there is something that is no message.
"""

from __future__ import annotations

import sys
from asyncio import get_running_loop
from typing import TYPE_CHECKING, Any

# Modules, not names: `carried_c.pxd` cimports the compiled ones under these names.
if TYPE_CHECKING or not __name__.endswith("_c"):
    from . import codec, connection, flow
else:
    from . import codec_c as codec
    from . import connection_c as connection
    from . import flow_c as flow

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Awaitable, Callable, Iterator, Mapping
    from typing import TypeAlias

    from .wrappers import Request

    Event: TypeAlias = dict[str, Any]

__all__ = ("Carried", "Outgoing", "Queue")

_MOST_WAITING = 64 * 1024  # bytes that wait for the carrier, from which on nothing more is read
_AT_ONCE = 256  # messages that are served before others get their turn
_FEW = 64  # taken items whose places are not worth having anew


class Queue:
    """First in, first out. PERF: what is compiled calls a deque's methods as Python does."""

    __slots__ = ("_at", "_items")

    def __init__(self) -> None:
        self._items: list[Any] = []
        self._at = 0  # of the next of them: what is before it was taken

    def __len__(self) -> int:
        return len(self._items) - self._at

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items[self._at :])

    def is_empty(self) -> bool:
        return self._at == len(self._items)

    def put(self, item: Any) -> None:
        self._items.append(item)

    def take(self) -> Any:
        """Give the next. Raises IndexError when there is none."""
        items, at = self._items, self._at
        item = items[at]
        items[at] = None
        at += 1
        if at == len(items) or (at > _FEW and at > len(items) // 2):
            del items[:at]
            at = 0
        self._at = at
        return item

    def clear(self) -> None:
        self._at = 0
        self._items.clear()


class Outgoing:
    """What is to be said, in order, for one who takes it away.

    said         what waits to be taken away: messages, text as str, and whatever else its taker knows
    waiting      how much of the client's there is in it, and in what is being taken
    is_choked    that is too much, and has not become little since
    is_over      nothing more is to be said
    """

    __slots__ = ("_idle", "is_choked", "is_over", "said", "waiting")

    def __init__(self) -> None:
        self.said = Queue()
        self.waiting = 0
        self.is_choked = False
        self.is_over = False
        self._idle: Future[None] | None = None  # what the taker waits for

    def is_awaited(self) -> bool:
        """Tell whether its taker waits for more."""
        return self._idle is not None

    def say(self, what: Any, size: int) -> bool:
        """Have `what` taken away, behind what waits; tell whether that has become too much."""
        if self.is_over:
            return False
        self.said.put(what)
        self.waiting += size
        if self._idle is not None:
            self._wake()
        if self.is_choked or self.waiting < _MOST_WAITING:
            return False
        self.is_choked = True
        return True

    def took(self, size: int) -> bool:
        """Take note that a message has left; tell whether what was too much has become little."""
        self.waiting -= size
        if not self.is_choked or self.waiting >= _MOST_WAITING // 4:
            return False
        self.is_choked = False
        return True

    def end(self) -> None:
        """Have nothing more said, but what waits."""
        self.is_over = True
        self._wake()

    def drop(self) -> None:
        """Have nothing more said, nor what waits."""
        self.said.clear()
        self.waiting = 0
        self.end()

    def _wake(self) -> None:
        idle, self._idle = self._idle, None
        if idle is not None and not idle.done():
            idle.set_result(None)

    async def more(self) -> None:
        """Wait until something is said, or nothing will be any more."""
        if self.said.is_empty() and not self.is_over:
            self._idle = get_running_loop().create_future()
            await self._idle

    async def tell(self, send: Callable[[Event], Awaitable[None]], breathe: Callable[[], None]) -> Any:
        """Send messages as they are said; give the first thing that is none, or None when nothing more will be said.

        breathe    is called when what was too much has become little. Raises what `send` raises.
        """
        said = self.said
        while True:
            if said.is_empty():
                if self.is_over:
                    return None
                # PERF: as `more`, without a coroutine of its own for each wait.
                self._idle = get_running_loop().create_future()
                await self._idle
                continue
            what = said.take()
            event = _event_of(what)
            if event is None:
                return what
            await send(event)
            if self.took(len(what)):
                breathe()


def _event_of(what: Any) -> Event | None:
    """Give the event that says a message, None for what is none."""
    event: Event | None = None
    if type(what) is str:
        event = {"type": "websocket.send", "text": what}
    elif type(what) is bytes:
        event = {"type": "websocket.send", "bytes": what}
    return event


class Carried(connection.Connection):
    """One connection of a carrier.

    ahead        what the carrier has given, and has not had its turn; text as str
    is_held      what comes has to wait for its turn; first of all until it is decided who may connect
    is_due       somebody will look at what has come
    _outgoing    what is to be said
    _is_plain    replies go there as they are: nobody wants to see them on their way
    """

    __slots__ = ("_is_plain", "_outgoing", "ahead", "is_due", "is_held")

    def __init__(self) -> None:
        super().__init__()
        self.ahead = Queue()
        self.is_held = True
        self.is_due = False
        self._outgoing: Any = None
        self._is_plain = False

    # What the subclass does

    def _most_of_message(self) -> int:
        """Give how many bytes a message may have, 0 for any number."""
        return 0

    async def _wait_for_room(self, message: bytes | str) -> None:
        """Wait, where messages are held, until one more than `message` may be taken."""

    def _count_held(self) -> None:
        """Take note that what is ahead is held from now on."""

    def _exceed(self, most: int) -> None:
        """Take note of a message that has more than `most` bytes."""

    def _fail_text(self) -> None:
        """Take note of text that UTF-8 has no bytes for."""

    # What comes

    async def _hear(self, receive: Callable[[], Awaitable[Mapping[str, Any]]]) -> Event:
        """Serve the messages that `receive` gives; give the first event that is none.

        Raises RuntimeError for an event that should have a message, and what `receive` raises.
        """
        while True:
            given = await receive()
            event = given if type(given) is dict else dict(given)
            if event["type"] != "websocket.receive":
                return event
            message = _message_of(event)
            self.ahead.put(message)
            if not self.is_due:
                self.wake()
            if self.is_held:
                await self._wait_for_room(message)

    def wake(self) -> None:
        """Serve what is `ahead`, soon, and outside of any task.

        PERF: what comes at once is served in one turn of the loop, so that many answers wake the taker once.
        """
        if not self.is_due and not self.ahead.is_empty():
            self.is_due = True
            get_running_loop().call_soon(self._catch_up, context=self._context)

    def _catch_up(self) -> None:
        """Serve what has come, as far as it is not held, and some of it at a time."""
        self.is_due = False
        self._heard = True
        most = self._most_of_message() or sys.maxsize
        ahead = self.ahead
        left = _AT_ONCE
        while left > 0 and not self.is_held and not ahead.is_empty():
            left -= 1
            self._serve_next(ahead.take(), most)
        if not self.is_held:
            self.wake()
        elif not ahead.is_empty():
            self._count_held()

    def _serve_next(self, message: Any, most: int) -> None:
        """Serve a message, if it has at most so many bytes."""
        is_binary = type(message) is bytes
        payload = message if is_binary else _utf8(message)
        if payload is None:
            self._fail_text()
        elif len(payload) > most:
            self._exceed(most)
        else:
            flow.Flow._take_message(self, payload, is_binary)  # PERF: `self.` would look for an override of it

    # What leaves

    def _give(self, request: Request, rendered: bytes) -> None:
        if not self._is_plain:
            self._send_reply(request, rendered)
            return
        form = request._form
        payload = codec.encode(rendered, form) if form & 1 else rendered
        size = len(payload)
        flow.Flow._note_sent(self, size)
        if form & 2:
            chokes = self._outgoing.say(payload, size)
        else:
            text = payload.decode("utf-8")
            chokes = self._outgoing.say(text, len(text))
        if chokes:
            self.pause_writing()


def _utf8(text: str) -> bytes | None:
    """Give the bytes of a text; None if UTF-8 has none for it: a half of a surrogate pair is in it."""
    payload = None
    try:
        payload = text.encode("utf-8")
    except UnicodeEncodeError:
        payload = None
    return payload


def _message_of(event: Event) -> bytes | str:
    """Give the message that an event brings, as exactly str or bytes. Raises RuntimeError when there is none."""
    text = event.get("text")
    if type(text) is str:
        return text
    data = event.get("bytes")
    if isinstance(text, str):
        return str.__str__(text)
    if isinstance(data, bytes):
        return data if type(data) is bytes else bytes(data)
    if isinstance(data, bytearray | memoryview):
        return bytes(data)
    raise RuntimeError("the server must send text or bytes with websocket.receive, there is neither")
