"""Compressed messages in, their bytes out, and back: permessage-deflate (RFC 7692) of one direction of a connection.

It is the standard library's zlib that inflates: a small message takes it 1 us, isal 4, and what a connection keeps for
the next message is 11 KiB, not 87. What deflates is the quickest that is installed.
"""

from __future__ import annotations

import zlib
from functools import cache
from importlib import import_module
from typing import Any

__all__ = ("Packer", "Unpacker", "quickest")

_TAIL = b"\x00\x00\xff\xff"  # of every flush, and never sent (RFC 7692 §7.2.1)
_FINAL = b"\x03\x00"  # an empty block that is the last of a stream
_BLOCK = 64 * 1024  # bytes that are inflated at once
_MOST_STREAMS = 8  # in one message: each costs as much as a message


@cache
def quickest() -> Any:
    """Give the module that deflates, of those installed: 20 KB of JSON take isal 31 us, zlib-ng 104, zlib 138."""
    for name in ("isal.isal_zlib", "zlib_ng.zlib_ng"):
        try:
            return import_module(name)
        except ImportError:
            pass
    return zlib


class Packer:
    """Compresses messages.

    window_bits  9 to 15: how far back a message refers, as a power of 2
    level        1 to 9: memory for the search, of zlib (`memLevel`)
    takes_over   a message refers to those before it: the packer is one connection's own. Else each message stands for
                 itself, any number of connections may have one packer, and what it gives may be sent to all of them
    """

    __slots__ = ("_deflater", "_library", "level", "takes_over", "window_bits")

    def __init__(self, window_bits: int, level: int, *, takes_over: bool) -> None:
        self.window_bits = window_bits
        self.level = level
        self.takes_over = takes_over
        self._library = quickest()
        self._deflater: Any = None

    def pack(self, message: bytes) -> bytes:
        """Give the payload for `message`."""
        library, deflater = self._library, self._deflater
        if deflater is None:
            deflater = library.compressobj(wbits=-self.window_bits, memLevel=self.level)
        self._deflater = None  # should it fail: a new one refers to nothing
        # A full flush makes a deflater forget what it has seen, and costs a tenth of a new one.
        flush = library.Z_SYNC_FLUSH if self.takes_over else library.Z_FULL_FLUSH
        packed: bytes = deflater.compress(message) + deflater.flush(flush)
        self._deflater = deflater
        # Nothing comes of nothing behind a flush; the empty message has a form of its own (RFC 7692 §7.2.3.6).
        return packed[:-4] or b"\x00"


class Unpacker:
    """Inflates the messages of one connection, as they come.

    window_bits  8 to 15, as the client was told
    takes_over   a message may refer to those before it: their last bytes are kept from the first message on
    limit        bytes of a message, 0 for any number
    """

    __slots__ = ("_inflater", "_inside", "_size", "_streams", "limit", "takes_over", "window_bits")

    def __init__(self, window_bits: int, *, takes_over: bool) -> None:
        self.window_bits = window_bits
        self.takes_over = takes_over
        self.limit = 0
        self._inflater: Any = None
        self._size = 0  # of what has come of the message
        self._streams = 0
        self._inside = False  # of a stream that began in this message, or goes on in it

    def unpack(self, data: bytes, is_last: bool) -> bytes:
        """Give what the next bytes of a message hold; `is_last`: they end it.

        Raises ValueError for what is not DEFLATE, OverflowError for more than `limit`.
        """
        if data:
            self._inside = True
        if is_last and self._inside:
            data = data + _TAIL
        inflated = self._inflate(data) if data else b""
        inflater = self._inflater
        if data and (len(inflated) == _BLOCK or inflater.eof or inflater.unconsumed_tail):
            inflated = self._go_on(inflated, is_last)
        else:
            self._count(len(inflated))
        if is_last:
            self._end()
        return inflated

    def _inflate(self, data: bytes) -> bytes:
        if self._inflater is None:
            self._inflater = zlib.decompressobj(-self.window_bits)
        try:
            inflated: bytes = self._inflater.decompress(data, _BLOCK)
        except zlib.error as exc:
            self._inflater = None
            raise ValueError(f"not compressed as agreed: {exc}") from None
        return inflated

    def _go_on(self, inflated: bytes, is_last: bool) -> bytes:
        """Give `inflated` and all that follows: more than a block, or more than one stream (RFC 7692 §7.2.3.4)."""
        blocks = [inflated]
        self._count(len(inflated))
        while True:
            inflater = self._inflater
            if inflater.eof:
                rest = inflater.unused_data
                self._streams += 1
                if self._streams > _MOST_STREAMS:
                    raise ValueError(f"more than {_MOST_STREAMS} final blocks in a message")
                # What comes next may still refer to what was before: to this message, as far as it is known here.
                seen = b"".join(blocks[-_MOST_STREAMS - 1 :])[-(1 << self.window_bits) :]  # all but one may be short
                try:
                    self._inflater = zlib.decompressobj(-self.window_bits, zdict=seen)
                except zlib.error:
                    raise MemoryError from None  # nothing else can be wrong with it
                if not rest or (is_last and rest == _TAIL):
                    self._inside = False
                    break
            elif len(inflated) == _BLOCK or inflater.unconsumed_tail:
                rest = inflater.unconsumed_tail
            else:
                break
            inflated = self._inflate(rest)
            self._count(len(inflated))
            blocks.append(inflated)
        return b"".join(blocks)

    def _count(self, size: int) -> None:
        self._size += size
        if 0 < self.limit < self._size:
            self._inflater = None
            raise OverflowError(f"message has more than {self.limit} bytes")

    def _end(self) -> None:
        self._size = self._streams = 0
        self._inside = False
        if not self.takes_over and self._inflater is not None:
            inflater, self._inflater = self._inflater, None
            try:
                whole = not inflater.decompress(_FINAL, 1) and inflater.eof
            except zlib.error:
                whole = False
            if not whole:
                raise ValueError("not compressed as agreed: message ends inside of a block")
