"""What a client sent → digests by which it is known again, whichever form it came in."""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

import orjson

from aiorest_ws._speedups import plain, texts_of
from aiorest_ws._speedups.values import simpler
from aiorest_ws.exceptions import InvalidMessage

__all__ = ("digest", "said_in")


def digest(parts: Iterable[bytes], size: int = 32) -> bytes:
    """Give `size` bytes that stand for `parts`, in order: for no others."""
    known = blake2b(digest_size=size)
    for part in parts:
        known.update(len(part).to_bytes(8, "big"))
        known.update(part)
    return known.digest()


def said_in(request: Any) -> bytes:
    """Give the digest of `args` and `data`. The order of keys does not matter, nor does the form, if JSON can say it.

    Where a handler wants the digits of numbers (Decimals), they matter, too. Raises InvalidMessage.
    """
    args, data = request.args, request.data
    whole, *texts = texts_of(request)
    try:
        if whole is not None:
            read = json.loads(whole, parse_float=_exactly)
            args, data = read.get("args", {}), read.get("data")
        else:
            args, data = (
                value if text is None else json.loads(text, parse_float=_exactly)
                for value, text in zip((args, data), texts, strict=True)
            )
        return digest((_canonical(args), _canonical(data)))
    except (TypeError, ValueError, RecursionError) as exc:
        raise InvalidMessage("`args` and `data` of a request with an `idempotency_key` must not be so deep") from exc


def _canonical(value: Any) -> bytes:
    try:
        return orjson.dumps(value, simpler, orjson.OPT_SORT_KEYS)
    except TypeError:  # deeper than that, or larger integers
        return json.dumps(plain(value), ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def _exactly(digits: str) -> Any:
    """Give a number that a float says as that, and any other as what no client can send in its place."""
    number = float(digits)
    return number if repr(number) == digits else {"": digits}
