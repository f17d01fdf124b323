"""The header Accept → in which form a reply goes."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from aiorest_ws._speedups import BINARY_MSGPACK, TEXT_JSON, is_installed

__all__ = ("PACKED", "form_of", "preferred", "wants_events")

_MOST = 32  # members that are looked at
_JSON = "application/json"
PACKED = ("application/msgpack", "application/x-msgpack", "application/vnd.msgpack")


@lru_cache(maxsize=256)
def _weights(header: str) -> dict[str, float]:
    """Give the weight of each media range."""
    weights: dict[str, float] = {}
    for member in header.split(",")[:_MOST]:
        media, *parameters = [part.strip(" \t").lower() for part in member.split(";")]
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    weight = min(max(float(parameter[2:]), 0.0), 1.0)
                except ValueError:
                    weight = 0.0
        if media:
            weights[media] = max(weights.get(media, 0.0), weight)
    return weights


def _wish(header: str, media: str) -> tuple[float, int]:
    """Give how much `media` is wanted, as the nearest range says, and how near that is (RFC 9110 §12.5.1)."""
    if not header:
        return 1.0, 0
    weights = _weights(header)
    for nearness, range_ in ((2, media), (1, f"{media.partition('/')[0]}/*"), (0, "*/*")):
        if range_ in weights:
            return weights[range_], nearness
    return 0.0, 0


@lru_cache(maxsize=256)
def form_of(header: str) -> int:
    """Give the form of a reply: MessagePack where it is wanted more than JSON, or as much, and named."""
    packed = max(_wish(header, media) for media in PACKED)
    is_wanted = packed[0] > 0 and packed > _wish(header, _JSON)
    return BINARY_MSGPACK if is_wanted and is_installed() else TEXT_JSON


@lru_cache(maxsize=256)
def wants_events(header: str) -> bool:
    """Tell whether a stream of events is asked for by name, and nothing rather than that."""
    weight, nearness = _wish(header, "text/event-stream")
    return nearness == 2 and weight > 0 and weight >= max(_wish(header, media)[0] for media in (_JSON, *PACKED))


def preferred(header: str, renderers: Iterable[Any]) -> str | None:
    """Give the format of the renderer whose type is wanted most, of equals what is named, and then the first."""
    best, most = None, (0.0, 2)
    for renderer in renderers:
        wish = _wish(header, getattr(renderer, "media_type", ""))
        if wish > most:
            best, most = renderer.format, wish
    return best
