"""Bytes of a connection → parts of them, none of which is of two requests; and a request line that is none is refused.

The parser takes what it is given, and reads a request line more freely than the first one of a connection is read: it
gets one that is whole, and right.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from aiorest_ws.exceptions import ConnectionRefused
from aiorest_ws.http.head import end_of_head, request_line, start_of_head

__all__ = ("Framing",)

_END = b"\r\n\r\n"  # of a head, and of a body in chunks; that there is one in a body, too, does no harm
_SEAM = len(_END) - 1
_LAST_OF_ENDS = b"\r"  # who begins with something behind it continues no end of a line


class Framing:
    """Where the requests of a connection begin and end.

    most        bytes of a head, and of what else is no body
    is_head     the next piece is of one, or of what comes before it
    overhead    bytes that came one after the other and are no body: head, trailer, chunk extensions
    """

    def __init__(self, most: int | None) -> None:
        self._most = float("inf") if most is None else most
        self._left = 0  # bytes of a body that says how long it is
        self._tail = b""
        self.begin()

    @property
    def has_line(self) -> bool:
        """Tell whether the request line is known, and is one."""
        return self._line is None

    def begin(self) -> None:
        """Take note that what comes next is another request."""
        self.is_head = True
        self.overhead = 0
        self._line: bytes | None = b""  # what has come of the request line, None behind it

    def end_head(self, length: int) -> None:
        """Take note that the head is over, and a body of `length` bytes comes; 0 for one in chunks, or none."""
        self.is_head = False
        self._left = length

    def pieces(self, data: bytes) -> Iterable[bytes]:
        """Give `data` in parts, each to be parsed before the next."""
        if not self._left and data[:1] > _LAST_OF_ENDS and data.find(_END) == len(data) - len(_END):
            self._tail = data[-_SEAM:]
            return (data,)  # PERF: what comes of most clients is one head
        return self._parts(data)

    def _parts(self, data: bytes) -> Iterator[bytes]:
        at = 0
        while at < len(data):
            begin, at = at, self._end(data, at)
            yield data[begin:at]

    def ready(self, piece: bytes) -> bytes:
        """Give what is to be parsed now that a piece is there: a request line as a whole. Raises ConnectionRefused."""
        self.overhead += len(piece)
        if not self.is_head:
            return piece
        self.check_overhead()
        if self._line is None:
            return piece
        seen = len(self._line)
        self._line += piece
        line, end, _ = self._line[start_of_head(self._line) :].partition(b"\r\n")
        if not end:
            end_of_head(self._line, seen, None)  # it may be seen by now that it is none
            return b""
        if request_line(line)[2] not in (b"1.0", b"1.1"):
            raise ConnectionRefused(505)
        read, self._line = self._line, None
        return read

    def check_overhead(self) -> None:
        """Look, once a piece is parsed, at how much is no body. Raises ConnectionRefused."""
        if self.overhead > self._most:
            raise ConnectionRefused(431, "request header fields too large")

    def _end(self, data: bytes, at: int) -> int:
        if self._left:
            end = min(at + self._left, len(data))
            self._left -= end - at
            return end
        seam = (self._tail + data[at : at + _SEAM]).find(_END)
        if seam >= 0:
            end = at + seam + len(_END) - len(self._tail)
        else:
            found = data.find(_END, at)
            end = found + len(_END) if found >= 0 else len(data)
        self._tail = (self._tail + data[max(at, end - _SEAM) : end])[-_SEAM:]
        return end
