"""Options → those that Autobahn has for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ("protocol_options",)


def protocol_options(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Give those of Autobahn's options that are not as they are by default: a factory class may set its own."""
    options: dict[str, Any] = {}
    forwarding = settings["trusted_proxies"] - settings["proxy_protocol"]  # the nearest says it in another way
    if forwarding > 0:
        options["trustXForwardedFor"] = forwarding
    if settings["compress"]:
        options["perMessageCompressionAccept"] = settings["accept_function"]
    return options
