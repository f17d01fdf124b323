"""Payload → envelope and its form; reply → payload in the same form.

Five forms, told apart by the frame's opcode and the first byte. What comes in must be strict: canonical base64
(RFC 4648 §3.5, §4), JSON as orjson reads it (RFC 8259; no NaN, no lone surrogates, nothing after the document, at most
1,024 levels), MessagePack as `msgpack` reads it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import Enum
from itertools import islice
from math import isfinite
from typing import TYPE_CHECKING, Any

from orjson import OPT_PASSTHROUGH_DATACLASS, JSONDecodeError, loads
from orjson import dumps as _orjson_dumps
from pybase64 import b64decode, b64encode

from aiorest_ws._speedups.collector import undisturbed
from aiorest_ws._speedups.values import JSON_KEYS, is_plain_struct, simpler, written_key
from aiorest_ws.exceptions import InvalidMessage

if TYPE_CHECKING or not __name__.endswith("_c"):
    from . import msgpack
else:
    from . import msgpack_c as msgpack

__all__ = (
    "BINARY_BASE64",
    "BINARY_JSON",
    "BINARY_MSGPACK",
    "EMPTY",
    "MAX_LEVELS",
    "TEXT_BASE64",
    "TEXT_JSON",
    "decode",
    "decode_base64",
    "dumps",
    "encode",
    "is_short",
    "native",
    "plain",
    "recognise",
    "write",
)

# Bit 0 of a form says base64, bit 1 says binary frame, bit 2 says MessagePack.
TEXT_JSON = 0
TEXT_BASE64 = 1
BINARY_JSON = 2
BINARY_BASE64 = 3
BINARY_MSGPACK = 6

_JSON_SPACE = b" \t\n\r"
_MAX_DEPTH = 400
_ORDINARY = frozenset((str, int, float, bool, type(None), list, tuple, dict))
MAX_LEVELS = 32  # of what `is_short`
_FOUR_ZERO_BITS = frozenset(b"AQgw")
_TWO_ZERO_BITS = frozenset(b"AEIMQUYcgkosw048")


def recognise(payload: bytes, is_binary: bool) -> int:
    """Give the form of `payload`, one of the five. MessagePack, without msgspec, is answered in base64."""
    if not payload:
        return BINARY_BASE64 if is_binary else TEXT_JSON
    first = payload[0]
    if not is_binary:
        return TEXT_BASE64 if first in (0x65, 0x49, 0x43, 0x44) else TEXT_JSON  # e, I, C, D
    if first in (0x20, 0x09, 0x0A, 0x0D):
        rest = payload.lstrip(_JSON_SPACE)
        first = rest[0] if rest else 0
    elif first >= 0x80 and msgpack.is_map(first) and msgpack.is_installed():
        return BINARY_MSGPACK
    return BINARY_JSON if first in (0x7B, 0x5B) else BINARY_BASE64  # { and [


def decode(payload: bytes, form: int) -> dict[str, Any]:
    """Give the object in `payload`; anything else is an `InvalidMessage` that says why."""
    if form & 4:
        return msgpack.unpack(payload)
    if form & 1:
        payload = decode_base64(payload)
    try:
        envelope = loads(payload)
    except JSONDecodeError as exc:
        raise InvalidMessage(f"request is not valid JSON: {exc}") from None
    if type(envelope) is not dict:
        raise InvalidMessage(f"request must be a JSON object, got {_json_name(envelope)}")
    return envelope


def _of_nothing() -> InvalidMessage:
    detail = None
    try:
        decode(b"", TEXT_JSON)
    except InvalidMessage as exc:
        detail = exc.detail
    return InvalidMessage(detail)


# What an empty message deserves. It is never raised: that would add to its traceback, for ever.
EMPTY = _of_nothing()


def encode(rendered: bytes, form: int) -> bytes:
    """Give the rendered reply as the payload of a frame of `form`."""
    return b64encode(rendered) if form & 1 else rendered


def decode_base64(payload: bytes) -> bytes:
    """Give what `payload` encodes, which must be canonical base64, or raise InvalidMessage."""
    try:
        decoded: bytes = b64decode(payload, None, True)
    except ValueError:
        is_packed = bool(payload) and msgpack.is_map(payload[0]) and not msgpack.is_installed()
        raise InvalidMessage(msgpack.MISSING if is_packed else "request is not valid base64") from None
    # pybase64 does not look at the bits that the padding leaves over; RFC 4648 §3.5 wants them zero.
    canonical = True
    if payload.endswith(b"=="):
        canonical = payload[-3] in _FOUR_ZERO_BITS
    elif payload.endswith(b"="):
        canonical = payload[-2] in _TWO_ZERO_BITS
    if not canonical:
        raise InvalidMessage("request is not valid base64: trailing bits are not zero")
    return decoded


def _json_name(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, str):
        return "a string"
    return "an array" if isinstance(value, list) else "a number"


def dumps(value: Any) -> bytes:
    """Encode `value` as JSON (UTF-8).

    What orjson writes itself, and what `values.simpler` makes of the rest; NaN and Infinity → null. What
    only orjson refuses (keys that are not strings, integers beyond 64 bits, deep nesting) is as Python's `json` has it.

    Raises TypeError, ValueError or RecursionError for what cannot be encoded.
    """
    try:
        rendered: bytes = _orjson_dumps(value, _default, OPT_PASSTHROUGH_DATACLASS)
    except TypeError:
        rendered = undisturbed(_dumps_slowly, value)
    return rendered


def write(value: Any, form: int) -> bytes:
    """Encode `value` for a reply of `form`: as JSON (not yet base64) or as MessagePack. Raises what `dumps` does."""
    return msgpack.pack(native(value)) if form & 4 else dumps(value)


def is_short(value: Any, most: int) -> bool:
    """Tell whether `value`, of a client's message, is at most `most` bytes of JSON, in at most `MAX_LEVELS` levels.

    Of a longer one no more is looked at than that many bytes may hold. 0: it may be of any size.
    """
    if not most or (type(value) is str and 6 * len(value) + 2 <= most):  # "\u0000" is the longest that one becomes
        return True
    todo = [(value, 1)]
    left = most
    while todo:
        item, level = todo.pop()
        kind = type(item)
        left -= 1
        if kind is str or kind is bytes or kind is dict or kind is list:
            left -= len(item)
        if left < 0:
            return False
        if kind is dict or kind is list:
            if level > MAX_LEVELS:
                return False
            todo += [(part, level + 1) for part in item]
            if kind is dict:
                todo += [(part, level + 1) for part in item.values()]
    try:
        fits = len(dumps(value)) <= most
    except Exception:  # a value of the application's own, which decodes messages itself, may raise anything
        fits = False
    return fits


def _default(value: Any) -> Any:
    """Give what orjson knows for a type that it does not."""
    cls: Any = type(value)
    if hasattr(cls, "__struct_config__") and is_plain_struct(cls):
        from msgspec.json import encode as encode_struct
        from orjson import Fragment

        return Fragment(encode_struct(value, enc_hook=simpler))
    return simpler(value)


def _dumps_slowly(value: Any) -> bytes:
    text = _dumps_ordinary(value)
    if text is None:
        import json

        text = json.dumps(plain(value), ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8")


def _dumps_ordinary(value: Any) -> str | None:
    """Do the same in one step, for what clients can make orjson refuse: nothing but depth is odd about it."""
    import json

    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        text = ""
    return text if text and _is_ordinary(value) else None  # not before: it could contain itself, for ever


def _is_ordinary(value: Any) -> bool:
    """Tell whether `value`, which ends somewhere, is made of what JSON has, no subclasses, and as deep as `plain` goes.

    PERF: level by level, each looked at as a whole; item by item `plain` takes ten times as long.
    """
    level = [value]
    for _ in range(_MAX_DEPTH + 1):
        if not _ORDINARY.issuperset(map(type, level)):
            return False
        inner: list[Any] = []
        for item in level:
            kind = type(item)
            if not item:
                continue  # of `{}`, three bytes, there may be most
            if kind is list or kind is tuple:
                inner += item
            elif kind is dict:
                if not JSON_KEYS.issuperset(map(type, item)):
                    return False
                inner += item.values()
        if not inner:
            return True
        level = inner
    return False


def plain(value: Any, depth: int = 0) -> Any:
    """Rebuild `value` from what `json` encodes; leaves become what orjson makes of them. Raises RecursionError."""
    # Compiled, this recursion is C's, which nothing else would stop.
    if depth > _MAX_DEPTH:
        raise RecursionError(f"nested deeper than {_MAX_DEPTH} levels")
    if value is None or (isinstance(value, (str, int)) and not isinstance(value, Enum)):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, (list, tuple, set, frozenset)):
        items = []
        for item in value:
            items.append(plain(item, depth + 1))  # noqa: PERF401 (a comprehension would be a second frame a level)
        return items
    if isinstance(value, dict):
        members = {}
        for key, item in value.items():
            members[key if type(key) in JSON_KEYS else written_key(key)] = plain(item, depth + 1)
        return members
    return loads(_orjson_dumps(value)) if type(value) is datetime else plain(simpler(value), depth + 1)


def native(value: Any, depth: int = 0) -> Any:
    """Give `value` as MessagePack says it itself: as it is where that is so throughout, else rebuilt.

    That is what JSON says, but bytes, datetimes with a time zone, NaN and Infinity stay what they are, and integers
    beyond 64 bits become strings, as Decimals do: no float says them exactly. Raises what `dumps` does.
    """
    # PERF: what came in MessagePack goes out as it is; to rebuild a MiB of empty arrays took longer than to read it.
    kind = type(value)
    if value is None or kind is str or kind is float or kind is bool or kind is bytes:
        return value
    if kind is int:
        return value if -(2**63) <= value < 2**64 else str(value)
    if depth > _MAX_DEPTH:
        raise RecursionError(f"nested deeper than {_MAX_DEPTH} levels")
    if kind is list or kind is tuple:
        return _native_items(value, depth + 1) if value else value
    if kind is dict:
        return _native_members(value, depth + 1) if value else value
    return _native_slowly(value, depth)


def _native_items(items: Any, depth: int) -> Any:
    """Give `items`, a list or tuple, with the first that is to be said otherwise as a list of its own."""
    made: list[Any] | None = None
    for at, item in enumerate(items):
        known = native(item, depth)
        if known is not item:
            if made is None:
                made = list(items)
            made[at] = known
    return items if made is None else made


def _native_members(members: dict[Any, Any], depth: int) -> dict[Any, Any]:
    """Give `members`, from the first on that is to be said otherwise in a dict of their own, in the same order."""
    made: dict[Any, Any] | None = None
    at = 0
    for key, item in members.items():
        name = key if type(key) is str else written_key(key)
        known = native(item, depth)
        if made is None and (known is not item or name is not key):
            made = dict(islice(members.items(), at))
        if made is not None:
            made[name] = known
        at += 1  # noqa: SIM113 (compiled, `enumerate` would make a tuple of each key and value)
    return members if made is None else made


def _native_slowly(value: Any, depth: int) -> Any:
    """Do the same for what has no type of those."""
    if isinstance(value, Enum):
        return native(value.value, depth + 1)
    if isinstance(value, (bytearray, memoryview, bytes)):
        return bytes(value)
    if isinstance(value, int):
        return native(int.__int__(value), depth)
    if isinstance(value, datetime):
        return _instant(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        return native(list(value), depth)
    if isinstance(value, dict):
        return native(dict(value), depth)
    return native(simpler(value), depth + 1)


def _instant(value: Any) -> Any:
    """Give a datetime as MessagePack's timestamp has it, in UTC; without a time zone, or out of range, as a string."""
    if type(value) is datetime and value.tzinfo is UTC:
        return value  # as msgspec reads them: to make it anew takes a hundred times as long as to write it
    if value.utcoffset() is not None:
        try:
            return datetime.combine(value.date(), value.timetz()).astimezone(UTC)
        except OverflowError:
            pass
    return plain(value)
