"""The name under which programs for 1.1.1 know `deflate_offer_accept`."""

from aiorest_ws.conf.options import deflate_offer_accept

__all__ = ("deflate_offer_accept",)
