"""TCP bytes → whole messages (RFC 6455 §5); what leaves is in `writing`.

`Frames` finds every frame's boundary, by offset, in one pass over what the transport delivers. It serves what is usual:
whole, masked, unfragmented data frames, compressed messages in any number of frames, pings and pongs. Whatever else
there is (close frames, other fragments, faults) goes to the subclass one frame at a time, in the pieces in which it
arrives. This is the specification of `frames_c.pyx`, its compiled twin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .envelope import read
from .headers import extended_length, header, header_size, length_in, unmask
from .texts import Text, wrong_in
from .writing import CLOSED, CLOSING, CONNECTING, OPEN, Writing

if TYPE_CHECKING:
    from .deflate import Unpacker
    from .wrappers import Request

__all__ = ("CLOSED", "CLOSING", "CONNECTING", "OPEN", "Frames", "header")

# What the next bytes belong to.
_HEADER, _PART, _SKIP, _UNUSUAL_HEADER, _UNUSUAL, _PACKED = range(6)

_CONTINUATION, _TEXT, _BINARY, _PING, _PONG = 0, 1, 2, 9, 10
_COMPRESSED = 0x40  # RSV1 (RFC 7692 §6)
_SLICE = 256  # frames that are served before others get their turn
_AS_SLOW_AS = 8  # frames: one that is not served here
_AS_LARGE_AS = 1024  # bytes that are inflated: a frame


class Frames(Writing):
    """The frame layer of one connection. A subclass brings the transport and `_receive`, and moves `state`.

    state            CONNECTING, OPEN, CLOSING or CLOSED. Frames are read from OPEN on; while CLOSING, data, pings and
                     pongs are skipped, until a close frame comes
    _held            reasons to read no further while OPEN, 0 for none; what has come stays where it is until `_resume`
    _fast            False sends every frame the unusual way
    _serves_pings    False sends pings and pongs the unusual way
    _reads_requests  messages become requests here, for `_receive`; else they go to `_on_message`
    _checks_utf8     text must be UTF-8
    _heard           set with whatever arrives; whoever looks for silence takes it back
    _max_fragments   frames of one message, 0 for any number
    _limit           bytes of a message, 0 for any number; more goes the unusual way as soon as it is declared
    _unpacker        inflates compressed messages, of `deflate`; None sends their frames the unusual way
    """

    _held = 0
    _fast = True
    _serves_pings = True
    _reads_requests = True
    _limit = 0
    _checks_utf8 = True
    _heard = False
    _max_fragments = 0
    inside_message = False
    autoPingTimeoutCall: Any = None

    # Counted for statistics: frames served here and elsewhere, messages and their bytes.
    _fast_frames = 0
    _unusual_frames = 0
    _messages = 0
    _octets = 0
    _octets_on_wire = 0
    _fragments_in = 0  # frames that were not the last of their message
    _saved = 0  # bytes that messages have more than their frames, by compression

    _unpacker: Unpacker | None = None

    _data = b""
    _at = 0
    _expects = _HEADER
    _left = 0
    _served = 0
    _fragments = 0
    _head = b""
    _part: bytearray | None = None
    _mask = b""
    _opcode = 0
    _text: Text | None = None  # if `_part` has to be UTF-8
    _unpacks = False  # inside of a compressed message
    _ends = False  # with this frame

    # What the subclass does

    def _receive(self, request: Request) -> None:
        """Take a request."""

    def _serve_request(self, request: Request) -> None:
        """Do what `_receive` does, from here: the compiled twin has no Python call in between."""
        self._receive(request)

    def _on_message(self, payload: bytes, is_binary: bool) -> None:
        """Take a message, where requests are not read here."""

    def _on_pong(self, payload: bytes) -> None:
        """Take a pong."""

    def _on_traffic(self) -> None:
        """Take note that a message came while a pong is waited for."""

    def _on_unusual_frame(self) -> None:
        """Take note that a frame begins which is not served here."""

    def _on_unusual(self, data: bytes) -> None:
        """Take the next bytes of it, header and payload."""

    def _on_invalid_utf8(self, index: int) -> None:
        """Take note that the text which comes in is not UTF-8 from byte `index` on. The rest of it is skipped."""

    def _on_bad_message(self, wrong: Exception) -> None:
        """Take note that a compressed message is not as agreed (ValueError), or too large (OverflowError)."""

    def _on_fragments(self) -> None:
        """Take note that a message has more fragments than it may have. It must not stay open."""

    def _on_slice(self) -> None:
        """Take note that many frames were served without a pause: hold, or go on."""

    # Reading

    # `_feed`, `_write` and `_flush` are for Python code; what is compiled calls what they call.

    def _feed(self, data: bytes) -> None:
        """Take what has arrived, and serve it as far as nothing holds it up. Replies leave before this returns."""
        self._take_in(data)

    def _take_in(self, data: bytes) -> None:
        self._heard = True
        if self.state == OPEN:
            self._octets_on_wire += len(data)
        if self._at < len(self._data):
            data = self._data[self._at :] + data
        self._data, self._at = data, 0
        self._serve()

    def _resume(self) -> None:
        """Go on with what has arrived, unless the transport was closed since."""
        if self._transport is not None and not self._transport.is_closing():
            self._serve()

    def _serve(self) -> None:
        if self._feeding:
            return  # a handler made this call: the loop below is under way
        self._feeding = True
        self._served = 0
        try:
            while self._at < len(self._data) and self._may_go_on() and self._step():
                if self._at < len(self._data) and (self._transport is None or self._transport.is_closing()):
                    self._at = len(self._data)  # a handler aborted it, or ran the loop until it was gone
                    self._expects = _HEADER
        finally:
            self._feeding = False
            if self.state == CLOSED or self._may_go_on():
                # What is left is part of a header at most: not worth keeping the whole read for.
                self._data, self._at = b"" if self.state == CLOSED else self._data[self._at :], 0
            self._flush_out()

    def _may_go_on(self) -> bool:
        return self.state == CLOSING or (self.state == OPEN and not self._held)

    def _step(self) -> bool:
        """Consume the next piece; False when more bytes must come first."""
        if self._expects == _HEADER:
            self._served += 1
            if self._served > _SLICE:
                self._served = 0
                self._on_slice()
                return True
            return self._begin_frame()
        if self._expects == _UNUSUAL_HEADER:
            return self._unusual_header()
        piece = self._data[self._at : self._at + self._left]
        self._at += len(piece)
        self._left -= len(piece)
        expected = self._expects
        if not self._left:
            self._expects = _HEADER
        if expected == _UNUSUAL:
            self._on_unusual(piece)
        elif self.state != OPEN:
            self._drop_part()
        elif expected == _PART:
            self._add_part(piece)
        elif expected == _PACKED:
            self._add_packed(piece)
        return True

    def _begin_frame(self) -> bool:
        """Look at a header; serve the frame, or settle how its bytes are to be served."""
        data, at = self._data, self._at
        have = len(data) - at
        if have < 2:
            return False
        first, second = data[at], data[at + 1]
        opcode = first & 0x0F
        usual = self._fast and first & 0xF0 == 0x80 and second & 0x80
        if self.state == CLOSING and opcode <= _BINARY:
            usual = second & 0x80  # whatever it is a part of, it is skipped
        elif opcode in (_TEXT, _BINARY):
            usual = usual and not self.inside_message
        else:
            usual = usual and opcode in (_PING, _PONG) and self._serves_pings and second & 0x7F < 126
        if not usual:
            return self._begin_packed() if self._is_packed(first, second) else self._begin_unusual()
        length = second & 0x7F
        header = 6
        if length >= 126:
            header, length = extended_length(data, at)
            if length < 0:
                return length == -2 and self._begin_unusual()
        if 0 < self._limit < length and opcode < 8 and self.state == OPEN:
            return self._begin_unusual()
        if have < header:
            return False
        mask = data[at + header - 4 : at + header]
        if have < header + length:
            if opcode >= 8:
                return False  # at most 125 bytes are waited for
            self._fast_frames += 1
            self._at = at + header
            self._begin_part(opcode, mask, length)
            return True
        self._fast_frames += 1
        self._at = at + header + length
        self._frame(opcode, unmask(data[at + header : self._at], mask))
        return True

    def _frame(self, opcode: int, payload: bytes) -> None:
        """Serve a whole frame."""
        if self.state != OPEN or not self._may_be(opcode, payload):
            return
        if opcode == _PING:
            self._put(payload, _PONG)
        elif opcode == _PONG:
            self._on_pong(payload)
        else:
            self._take_bytes(payload, opcode == _BINARY)

    def _may_be(self, opcode: int, payload: bytes) -> bool:
        """Tell whether `payload` is text, if it has to be."""
        wrong = wrong_in(payload) if opcode == _TEXT and self._checks_utf8 and not payload.isascii() else -1
        if wrong >= 0:
            self._on_invalid_utf8(wrong)
        return wrong < 0

    def _take_bytes(self, payload: bytes, is_binary: bool) -> None:
        """Serve a whole message."""
        self._messages += 1
        self._octets += len(payload)
        if self.autoPingTimeoutCall is not None:
            self._on_traffic()
        if self._reads_requests:
            self._serve_request(read(payload, is_binary, self))
        else:
            self._on_message(payload, is_binary)

    def _begin_part(self, opcode: int, mask: bytes, length: int) -> None:
        """Expect a message that has not arrived whole: it is unmasked and checked as it comes."""
        self._left = length
        if self.state != OPEN:
            self._expects = _SKIP
            return
        self._expects = _PART
        self._opcode = opcode
        self._mask = mask
        self._part = bytearray()
        self._text = Text() if opcode == _TEXT and self._checks_utf8 else None

    def _add_part(self, piece: bytes) -> None:
        part = self._part
        assert part is not None
        turn = len(part) & 3
        piece = unmask(piece, self._mask[turn:] + self._mask[:turn])
        part += piece
        wrong = -1 if self._text is None else self._text.wrong_in(piece, is_last=not self._left)
        if wrong >= 0:
            self._drop_part()
            self._on_invalid_utf8(wrong)
            return
        if not self._left:
            opcode = self._opcode
            self._part = self._text = None
            self._take_bytes(bytes(part), opcode == _BINARY)

    def _drop_part(self) -> None:
        self._part = self._text = None
        if self._left:
            self._expects = _SKIP

    # Compressed messages (RFC 7692)

    def _is_packed(self, first: int, second: int) -> bool:
        """Tell whether these bytes begin a frame of a compressed message, without a fault."""
        if self._unpacker is None or not self._fast or self.state != OPEN or not second & 0x80:
            return False
        if first & 0x0F == _CONTINUATION:
            return self._unpacks and not first & 0x70
        return first & 0x7F in (_COMPRESSED | _TEXT, _COMPRESSED | _BINARY) and not self.inside_message

    def _begin_packed(self) -> bool:
        """Look at the header of such a frame; serve what has arrived of it."""
        data, at = self._data, self._at
        first, length = data[at], data[at + 1] & 0x7F
        have = len(data) - at
        header = 6
        if length >= 126:
            header, length = extended_length(data, at)
            if length < 0:
                return length == -2 and self._begin_unusual()
        if have < header:
            return False
        opcode = first & 0x0F
        if opcode == _CONTINUATION:
            if 0 < self._max_fragments <= self._fragments:
                self._on_fragments()
                return True  # looked at again, closing
            self._fragments += 1
        else:
            self._fragments = 1
            self._opcode = opcode
        self._fast_frames += 1
        self._ends = bool(first & 0x80)
        self.inside_message = self._unpacks = not self._ends
        self._mask = data[at + header - 4 : at + header]
        self._at = at + header
        self._left = length
        assert self._unpacker is not None
        limit = self._unpacker.limit
        if limit > 0 and limit + (limit >> 3) + 1024 < length:  # more than DEFLATE makes of anything
            self._expects = _SKIP
            self._on_bad_message(OverflowError(f"message has more than {limit} bytes"))
        elif have - header < length:
            self._expects = _PACKED
        else:
            self._left = 0
            self._at += length
            self._add_packed(data[at + header : self._at])
        return True

    def _add_packed(self, piece: bytes) -> None:
        """Inflate what has arrived of a frame; with the end of the message, serve it."""
        turn = len(piece) & 3
        piece, self._mask = unmask(piece, self._mask), self._mask[turn:] + self._mask[:turn]
        ends = self._ends and not self._left
        message = self._unpack(piece, ends)
        if message is None:
            return
        self._saved += len(message) - len(piece)
        self._served += len(message) // _AS_LARGE_AS
        if self._part is None and not ends:
            self._part = bytearray()
        if self._part is not None:
            self._part += message
        if ends:
            if self._part is not None:
                message, self._part = bytes(self._part), None
            if self._may_be(self._opcode, message):
                self._take_bytes(message, self._opcode == _BINARY)
        elif not self._left:
            self._fragments_in += 1

    def _unpack(self, piece: bytes, ends: bool) -> bytes | None:
        assert self._unpacker is not None
        try:
            return self._unpacker.unpack(piece, ends)
        except (ValueError, OverflowError) as exc:
            wrong = exc
        self._drop_part()
        self._on_bad_message(wrong)
        return None

    def _begin_unusual(self) -> bool:
        """Expect the header of a frame that the subclass serves."""
        opcode = self._data[self._at] & 0x0F
        self._fragments = 1 if opcode in (_TEXT, _BINARY) else self._fragments + (opcode == 0)
        if opcode == 0 and 0 < self._max_fragments < self._fragments and self.state == OPEN:
            self._on_fragments()
            return True  # looked at again, closing
        self._unusual_frames += 1
        self._served += _AS_SLOW_AS - 1
        self._on_unusual_frame()
        self._expects = _UNUSUAL_HEADER
        self._head = b""
        return True

    def _unusual_header(self) -> bool:
        """Hand over as much of the header as is there: a fault shows before it is complete."""
        head = self._head
        piece = self._data[self._at : self._at + header_size(head or self._data[self._at : self._at + 2]) - len(head)]
        self._at += len(piece)
        self._head = head = head + piece
        size = header_size(head)
        if len(head) == size:
            self._left = length = length_in(head)
            self._expects = _UNUSUAL if length else _HEADER
        self._on_unusual(piece)
        return True
