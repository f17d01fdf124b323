"""Text, whole or in pieces: whether it is UTF-8."""

from __future__ import annotations

from codecs import getincrementaldecoder

__all__ = ("Text", "wrong_in")

_Utf8Decoder = getincrementaldecoder("utf-8")


def wrong_in(text: bytes) -> int:
    """Give the first byte of a whole text that cannot be right, -1 if all are."""
    wrong = -1
    try:
        text.decode("utf-8")
    except UnicodeDecodeError as exc:
        wrong = exc.start
    return wrong


class Text:
    """Text that comes in pieces, each of which is looked at once."""

    __slots__ = ("_decoder", "_size")

    def __init__(self) -> None:
        self._decoder = _Utf8Decoder()
        self._size = 0

    def wrong_in(self, piece: bytes, *, is_last: bool) -> int:
        """Give the first byte of the whole text that cannot be right, -1 if all may be."""
        wrong = -1
        start = self._size - len(self._decoder.getstate()[0])
        self._size += len(piece)
        try:
            self._decoder.decode(piece, is_last)
        except UnicodeDecodeError as exc:
            wrong = start + exc.start
        else:
            rest = self._decoder.getstate()[0]
            if rest[:1] == b"\xed" and rest[1:] > b"\x9f":  # a surrogate: Python waits for its third byte
                wrong = self._size - len(rest)
        return wrong
