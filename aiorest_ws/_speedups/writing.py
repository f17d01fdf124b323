"""Replies → TCP bytes, gathered into few writes (RFC 6455 §5): the half of `frames` that leads out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from pybase64 import b64encode

from .headers import header

if TYPE_CHECKING:
    from .deflate import Packer

__all__ = ("CLOSED", "CLOSING", "CONNECTING", "OPEN", "Writing")

# The states are Autobahn's, by its own numbers.
CLOSED, CONNECTING, CLOSING, OPEN = range(4)

_COMPRESSED = 0x40  # RSV1 (RFC 7692 §6)
_FLUSH_AT = 64 * 1024


class Writing:
    """What leaves a connection: gathered while something is read, at once elsewhere.

    state        CONNECTING, OPEN, CLOSING or CLOSED; nothing leaves once it is closed
    _feeding     something is being read
    _gathers     what is written outside of a read waits for `_flush`, too
    _packer      compresses messages of `_packs_from` bytes and more, of `deflate`; or None
    _socket      descriptor to which the compiled twin may send what the transport would send at once, or -1
    """

    state = CONNECTING
    _transport: Any = None
    _socket = -1
    _packer: Packer | None = None
    _packs_from = sys.maxsize
    _gathers = False
    _feeding = False
    _out: list[bytes] | None = None
    _out_size = 0

    # Counted for statistics: bytes of messages and of frames, frames, and what compression has saved.
    _octets_out = 0
    _octets_on_wire_out = 0
    _frames_out = 0
    _saved_out = 0

    @property
    def transport(self) -> Any:
        """The transport. Whoever asks for it may write to it or close it: what is gathered goes first."""
        if self._out:
            self._flush_out()
        return self._transport

    @transport.setter
    def transport(self, transport: Any) -> None:
        self._transport = transport
        self._socket = -1

    def _write(self, payload: bytes, opcode: int) -> None:
        """Send a frame: at once when nothing is being read, else with the other replies of this read."""
        self._put(payload, opcode)

    def _put(self, payload: bytes, opcode: int) -> None:
        size = len(payload)
        if size >= self._packs_from:
            payload, opcode = self._packed(payload, opcode)
            size = len(payload)
        frame = header(0x80 | opcode, size) + payload
        if self._out is None:
            self._out = []
        self._out.append(frame)
        self._out_size += len(frame)
        if not opcode & 8:
            self._octets_out += size
            self._frames_out += 1
        if not (self._feeding or self._gathers) or self._out_size >= _FLUSH_AT:
            self._flush_out()

    def _packed(self, message: bytes, opcode: int) -> tuple[bytes, int]:
        """Compress `message`, if it is one, and if that makes it smaller or changes what the next one may refer to."""
        packer = self._packer
        if packer is not None and not opcode & (8 | _COMPRESSED):
            packed = packer.pack(message)
            if len(packed) < len(message) or packer.takes_over:
                self._saved_out += len(message) - len(packed)
                return packed, opcode | _COMPRESSED
        return message, opcode

    def _write_packed(self, packed: bytes, opcode: int, size: int) -> None:
        """Send a message of `size` bytes as `_packer` has compressed it: unless it takes over, for all who have it."""
        self._saved_out += size - len(packed)
        self._put(packed, opcode | _COMPRESSED)

    def _write_base64(self, payload: bytes, opcode: int) -> None:
        """Send a frame that holds `payload` in base64."""
        self._put_base64(payload, opcode)

    def _put_base64(self, payload: bytes, opcode: int) -> None:
        self._put(b64encode(payload), opcode)

    def _put_frames(self, frames: bytes, octets: int, count: int, saved: int) -> None:
        """Send `count` whole frames, of messages of `octets` bytes, that others are sent, too."""
        if self._out and len(frames) >= _FLUSH_AT:
            self._flush_out()  # what is large is not to be copied for each
        if self._out is None:
            self._out = []
        self._out.append(frames)
        self._out_size += len(frames)
        self._octets_out += octets
        self._frames_out += count
        self._saved_out += saved
        if not (self._feeding or self._gathers) or self._out_size >= _FLUSH_AT:
            self._flush_out()

    def _gathered(self) -> int:
        """Give the bytes that are gathered, and that the transport does not know of."""
        return self._out_size

    def _flush(self) -> None:
        """Hand to the transport what has been gathered."""
        self._flush_out()

    def _flush_out(self) -> None:
        out = self._out
        if out:
            self._out = None
            self._out_size = 0
            if self._transport is not None and self.state != CLOSED:
                data = out[0] if len(out) == 1 else b"".join(out)
                self._octets_on_wire_out += len(data)
                self._transport.write(data)
