"""The header Accept → in which form a reply goes."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from aiorest_ws._speedups import BINARY_MSGPACK, TEXT_JSON, is_installed

__all__ = ("PACKED", "form_of", "preferred", "wants_events")

_MOST = 32  # members that are looked at
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


def _weight(header: str, media: str) -> float:
    """Give how much `media` is wanted, the nearest range first (RFC 9110 §12.5.1)."""
    if not header:
        return 1.0
    weights = _weights(header)
    for range_ in (media, f"{media.partition('/')[0]}/*", "*/*"):
        if range_ in weights:
            return weights[range_]
    return 0.0


@lru_cache(maxsize=256)
def form_of(header: str) -> int:
    """Give the form of a reply: MessagePack where that is named, and wanted more than JSON."""
    weights = _weights(header)
    packed = max((weights.get(media, 0.0) for media in PACKED), default=0.0)
    return BINARY_MSGPACK if packed > weights.get("application/json", 0.0) and is_installed() else TEXT_JSON


def wants_events(header: str) -> bool:
    """Tell whether a stream of events is asked for."""
    return "text/event-stream" in header and _weights(header).get("text/event-stream", 0.0) > 0


def preferred(header: str, renderers: Iterable[Any]) -> str | None:
    """Give the format of the renderer whose type is wanted most, the first of equals."""
    best, most = None, 0.0
    for renderer in renderers:
        weight = _weight(header, getattr(renderer, "media_type", ""))
        if weight > most:
            best, most = renderer.format, weight
    return best
