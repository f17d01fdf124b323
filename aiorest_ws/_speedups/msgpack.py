"""MessagePack → a dict, once it is known to be one strict document; what MessagePack says itself → MessagePack.

msgspec (the extra `msgpack`) reads and writes. What comes in is walked before that, without recursion and without
making anything: msgspec would take any value as a key, build keys of arrays (whose hashes a client can make equal),
and recurse as deep as the interpreter lets it.
"""

from __future__ import annotations

from typing import Any

from aiorest_ws.exceptions import InvalidMessage

__all__ = ("MISSING", "check", "is_installed", "is_map", "made", "pack", "unpack")

MISSING = "MessagePack needs msgspec on the server: pip install 'aiorest-ws[msgpack]>=2'"

_MAX_DEPTH = 512
_TIMESTAMP = 0xFF  # type -1, of 4, 8 or 12 bytes

# For the first bytes 0xC0 to 0xDF: how many bytes give the length, and how many follow when none do.
#                   nil .  no yes  bin      ext      float    uint        int         fixext       str      array map
_LENGTHS = bytes((*(0, 0, 0, 0), *(1, 2, 4), *(1, 2, 4), *(0,) * 10, *(0,) * 5, *(1, 2, 4), *(2, 4), *(2, 4)))
_FOLLOW = bytes((*(0,) * 10, *(4, 8), *(1, 2, 4, 8), *(1, 2, 4, 8), *(1, 2, 4, 8, 16), *(0,) * 7))

_decode: Any = None
_encode: Any = None
_state = 0  # 1: msgspec is imported, -1: there is none


def is_map(first: int) -> bool:
    """Tell whether a MessagePack map begins with this byte."""
    return 0x80 <= first <= 0x8F or first in (0xDE, 0xDF)


def is_installed() -> bool:
    """Tell whether msgspec is there. The first call imports it, which takes milliseconds."""
    global _decode, _encode, _state  # noqa: PLW0603 (an import is once for all)
    if _state == 0:
        try:
            from msgspec.msgpack import Decoder, Encoder

            _decode, _encode, _state = Decoder().decode, Encoder().encode, 1
        except ImportError:
            _state = -1
    return _state > 0


def unpack(payload: bytes) -> dict[str, Any]:
    """Give the map in `payload`; anything else is an InvalidMessage that says why."""
    if not is_installed():
        raise InvalidMessage(MISSING)
    check(payload)
    return made(payload)


def made(payload: bytes) -> dict[str, Any]:
    """Do the same for a payload that `check` has let pass."""
    try:
        envelope: dict[str, Any] = _decode(payload)
    except (ValueError, RecursionError) as exc:  # UTF-8, timestamps
        raise _fault(str(exc)) from None
    return envelope


def pack(value: Any) -> bytes:
    """Encode `value`, which `codec.native` gave. Raises ImportError without msgspec."""
    if not is_installed():
        raise ImportError(MISSING)
    packed: bytes = _encode(value)
    return packed


def check(payload: bytes) -> int:
    """Raise InvalidMessage unless `payload` is one map, whole, with string keys and known types throughout.

    Gives the number of arrays and maps in it.
    """
    # PERF: one loop, as a call for each value would double its time (bench/bench_msgpack.py).
    size = len(payload)
    if not size or not is_map(payload[0]):
        raise InvalidMessage("request must be a MessagePack map")
    at = 0
    left = 1  # how many values are due, of this container; in a map keys are values too
    in_map = False
    found = 0
    outer: list[int] = []  # the same for the containers around it, as left * 2 + in_map
    while True:
        while left == 0:
            if not outer:
                if at != size:
                    raise _fault("bytes follow its end")
                return found
            around = outer.pop()
            left = around >> 1
            in_map = around & 1 == 1
        if at >= size:
            raise _fault("it ends too early")
        first = payload[at]
        at += 1
        if in_map and left & 1 == 0 and not (0xA0 <= first <= 0xBF or 0xD9 <= first <= 0xDB):
            raise _fault("a key is not a string")
        left -= 1
        if first < 0x80 or first >= 0xE0:
            continue
        if first < 0xA0:
            count = first & 0x0F
        elif first < 0xC0:
            count = first & 0x1F
        elif first == 0xC1:
            raise _fault("0xc1 is no type")
        else:
            width = _LENGTHS[first - 0xC0]
            if width > size - at:
                raise _fault("it ends too early")
            count = _length(payload, at, width) if width else _FOLLOW[first - 0xC0]
            at += width
        if first < 0xA0 or first >= 0xDC:
            found += 1
            becomes_map = first < 0x90 or first >= 0xDE
            if becomes_map:
                count *= 2
            if count > size - at:  # each takes a byte, at least
                raise _fault("it ends too early")
            if len(outer) >= _MAX_DEPTH:
                raise _fault(f"it is nested deeper than {_MAX_DEPTH} levels")
            if count:
                outer.append(left * 2 + in_map)
                left = count
                in_map = becomes_map
            continue
        if 0xC7 <= first <= 0xC9 or 0xD4 <= first <= 0xD8:
            if at >= size:
                raise _fault("it ends too early")
            if payload[at] != _TIMESTAMP or count not in (4, 8, 12):
                raise _fault("an extension type is not taken, unless it is a timestamp")
            at += 1
        if count > size - at:
            raise _fault("it ends too early")
        at += count


def _length(payload: bytes, at: int, width: int) -> int:
    """Give the integer of `width` bytes at `at`."""
    length = 0
    for i in range(width):
        length = length << 8 | payload[at + i]
    return length


def _fault(reason: str) -> InvalidMessage:
    return InvalidMessage(f"request is not valid MessagePack: {reason}")
