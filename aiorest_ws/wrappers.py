"""`Request` and `Response`, compiled or pure, and the forms in which a request can come."""

from __future__ import annotations

from aiorest_ws._speedups import BINARY_BASE64, BINARY_JSON, BINARY_MSGPACK, TEXT_BASE64, TEXT_JSON, Request, Response

__all__ = ("BINARY_BASE64", "BINARY_JSON", "BINARY_MSGPACK", "TEXT_BASE64", "TEXT_JSON", "Request", "Response")
