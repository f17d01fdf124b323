"""Subscriptions: whoever may GET a url may SUBSCRIBE to it, if its route says how it changes."""

from aiorest_ws.realtime.live import Live

__all__ = ("Live",)
