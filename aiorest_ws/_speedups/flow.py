"""How much of one connection is in flight, and how much its client takes: whether to read on, and when to write.

`Flow` stands between the frames of a connection and its requests. Of the transport it knows no more than `write`,
`pause_reading` and `resume_reading`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# Modules, not names: `flow_c.pxd` cimports the compiled ones under these names.
if TYPE_CHECKING or not __name__.endswith("_c"):
    from . import frames, wrappers
else:
    from . import frames_c as frames
    from . import wrappers_c as wrappers

if TYPE_CHECKING:
    from contextvars import Context

    from .wrappers import Request

__all__ = ("FULL", "Flow")

_OPEN = 3
_CLOSING = 2

# Reasons to hold (`Frames._held`).
FULL = 1
_CHOKED = 2
_SLICED = 4

_DECODED = 8  # times the bytes on the wire that requests in flight may take


class Flow(frames.Frames):
    """Holds one connection up while it has enough to do. A subclass brings the requests.

    Those that run and those that wait are in flight; at `_limit_in_flight` of them, or at `_limit_octets`, nothing more
    is parsed, and nothing is read. Nor is it while the client does not read, and then nothing that waits begins.

    _limit_octets       bytes of messages in flight, 0 for any number; in memory they may take eight times as many

    _context            what is read is read in it, and every request runs in it or in a copy: nobody else's context
                        variables are seen there. None leaves that to who calls
    _choked_at          time of the loop since when the transport takes no more, 0 if it does
    _live               its subscriptions, a `realtime.subscriptions.Subscriptions`, or None
    _writes_replies     replies leave here; else the subclass gets them as `_send_reply`, and pushes as `_send_push`
    """

    __slots__ = (  # or an idle connection would hold a dict of 1.5 KiB
        "_choked",
        "_choked_at",
        "_context",
        "_flushes_late",
        "_holds_in_flight",
        "_in_flight",
        "_limit_in_flight",
        "_limit_octets",
        "_live",
        "_loop",
        "_octets_in_flight",
        "_stalled",
        "_writes_replies",
    )

    def __init__(self) -> None:
        self._writes_replies = True
        self._loop: Any = None
        self._context: Context | None = None
        self._flushes_late = False
        self._limit_in_flight = 64
        self._in_flight = 0
        self._limit_octets = 0
        self._octets_in_flight = 0
        self._holds_in_flight = 0
        self._choked = False
        self._stalled = False  # the lane waits until the client reads
        self._choked_at = 0.0
        self._live: Any = None

    # What the subclass does

    def _next(self) -> None:
        """Answer what waits in the lane, while the client reads; where it does not, be `_stalled`."""

    def _send_push(self, rendered: bytes, form: int) -> None:
        """Send a rendered push, where replies do not leave here."""

    # In flight

    def _count(self, request: Request) -> None:
        self._in_flight += 1
        self._octets_in_flight += request._size
        self._holds_in_flight += request._holds
        if self._is_full():
            self._hold(FULL)

    def _discount(self, request: Request) -> None:
        self._in_flight -= 1
        self._octets_in_flight -= request._size
        self._holds_in_flight -= request._holds

    def _is_full(self) -> bool:
        """Tell whether no more may be in flight. What one request brings always may, however much that is."""
        if self._in_flight >= self._limit_in_flight:
            return True
        octets, most = self._octets_in_flight, self._limit_octets
        return most > 0 and (octets >= most or octets + wrappers.CONTAINER * self._holds_in_flight >= _DECODED * most)

    # Writing

    def _flush_soon(self) -> None:
        """Gather what is written from now on, until the loop comes round."""
        if not self._flushes_late:
            self._flushes_late = self._gathers = True
            self._loop.call_soon(self._flush_late)

    def _flush_late(self) -> None:
        self._end_turn()

    def _end_turn(self) -> None:
        """Let go of what was gathered in this turn, if the client takes it."""
        self._flushes_late = False
        self._gathers = self._choked
        if not self._choked:
            self._flush_out()

    def _takes_pushes(self) -> bool:
        """Tell whether the client takes what it is sent."""
        return self.state == _OPEN and not self._choked

    def _push(self, rendered: list[bytes], form: int) -> None:
        """Send messages that answer nothing, in `form`."""
        opcode = 2 if form & 2 else 1
        for message in rendered:
            if not self._writes_replies:
                self._send_push(message, form)
            elif form & 1:
                self._put_base64(message, opcode)
            else:
                self._put(message, opcode)

    def pause_writing(self) -> None:
        """Parse nothing more: the client does not read what it is sent. Called by the transport.

        What is written from now on is gathered, up to 64 KiB at a time: a transport may count its buffer anew, write by
        write, whenever its size is asked for (asyncio does from Python 3.12 on, with each write, too).
        """
        self._choked = self._gathers = True
        self._choked_at = 0.0 if self._loop is None else self._loop.time()
        self._hold(_CHOKED)

    def resume_writing(self) -> None:
        """Go on. Called by the transport."""
        self._choked = False
        self._choked_at = 0.0
        self._gathers = self._flushes_late
        if not self._gathers:
            self._flush_out()
        if self._context is None:
            self._breathe()
        else:
            self._context.copy().run(self._breathe)  # the transport is in that of whoever wrote to it

    def _breathe(self) -> None:
        """Go on with the lane, then with what has been read, as far as the client takes it."""
        if self._stalled:
            self._stalled = False
            self._flush_soon()
            self._next()
            if not self._is_full():
                self._go_on(FULL)
        if self._live is not None and not self._choked:
            self._live.breathe()
        if not self._choked:
            self._go_on(_CHOKED)

    # Where frames are somebody else's

    def _take_message(self, payload: bytes, is_binary: bool) -> None:
        """Serve a message that has not come in frames; text is UTF-8."""
        if self.state == _OPEN:
            self._octets_on_wire += len(payload)
            self._take_bytes(payload, is_binary)

    def _note_sent(self, size: int) -> None:
        """Count a message of `size` bytes that does not leave in frames."""
        self._octets_on_wire_out += size
        self._octets_out += size
        self._frames_out += 1

    # Reading

    def _on_slice(self) -> None:
        """Let others have their turn."""
        if self.state == _OPEN:
            self._hold(_SLICED)
            self._loop.call_soon(self._go_on, _SLICED)

    def _hold(self, reason: int) -> None:
        if not self._held and self.state == _OPEN and not self._transport.is_closing():
            self._transport.pause_reading()
        self._held |= reason

    def _go_on(self, reason: int) -> None:
        """Take a reason to hold away; with the last one gone, first serve what has been read, then read on."""
        if not self._held:
            return
        self._held &= ~reason
        if self._held and self.state == _OPEN:
            return
        self._resume()
        if (
            (not self._held or self.state == _CLOSING)
            and self._transport is not None
            and not self._transport.is_closing()
        ):
            self._transport.resume_reading()
