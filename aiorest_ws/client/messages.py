"""A message as a dict ↔ what goes over the wire: JSON in a text frame, or MessagePack in a binary one."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from typing import Any

import orjson

__all__ = ("FORMS", "Form", "decode", "encoder_of")

FORMS = ("json", "msgpack")
Form = str
_JSON_OPTIONS = orjson.OPT_NON_STR_KEYS
_NEEDS_MSGSPEC = "MessagePack needs msgspec: pip install 'aiorest-ws[client,msgpack]>=2'"


def encoder_of(form: Form) -> Callable[[dict[str, Any]], bytes]:
    """Give what writes messages in `form`. Raises ValueError for what is none, ImportError without its library."""
    if form == "json":
        return _as_json
    if form != "msgpack":
        raise ValueError(f"form must be one of {', '.join(FORMS)}, got {form!r:.100}")
    try:
        import msgspec
    except ImportError:
        raise ImportError(_NEEDS_MSGSPEC) from None
    return msgspec.msgpack.Encoder(enc_hook=_simpler).encode


def _as_json(message: dict[str, Any]) -> bytes:
    """Give JSON. Raises TypeError that names what JSON cannot say."""
    try:
        return orjson.dumps(message, _simpler, _JSON_OPTIONS)
    except TypeError as exc:
        cause = exc.__cause__
        raise TypeError(f"this cannot be said in JSON: {cause if isinstance(cause, TypeError) else exc}") from None


def _simpler(value: Any) -> Any:
    """Give what says the same as `value`, of a type that the encoders know."""
    if hasattr(type(value), "__struct_fields__"):
        import msgspec

        return msgspec.to_builtins(value)
    if hasattr(type(value), "__pydantic_validator__"):
        return value.model_dump(mode="json", by_alias=True)
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    if hasattr(type(value), "__attrs_attrs__"):
        return {field.name: getattr(value, field.name) for field in type(value).__attrs_attrs__}
    if type(value).__module__ == "decimal":
        return str(value)
    raise TypeError(f"{type(value).__name__} is not JSON serializable: give what JSON has a word for")


def decode(payload: bytes) -> dict[str, Any]:
    """Give the message. Raises ValueError for what is none.

    Pushes of `send_event` are JSON, whatever the requests are: which it is, its first byte says.
    """
    first = payload[0] if payload else 0
    if 0x80 <= first <= 0x8F or first in (0xDE, 0xDF):
        message = _from_msgpack(payload)
    elif first == 0x65:  # of base64: what a server without MessagePack says to it
        message = orjson.loads(b64decode(payload, validate=True))
    else:
        message = orjson.loads(payload)
    if type(message) is not dict:
        raise ValueError("not an object")
    return message


def _from_msgpack(payload: bytes) -> Any:
    try:
        import msgspec
    except ImportError:
        raise ValueError(_NEEDS_MSGSPEC) from None
    try:
        return msgspec.msgpack.decode(payload)
    except msgspec.MsgspecError as exc:
        raise ValueError(str(exc)) from None
