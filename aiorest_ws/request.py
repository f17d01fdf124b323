"""The protocol and the factory that people know and subclass, under the path that they have had since 1.1.1."""

from __future__ import annotations

from aiorest_ws.connection.protocol import RequestHandlerProtocol
from aiorest_ws.server.factory import RequestHandlerFactory

__all__ = ("RequestHandlerFactory", "RequestHandlerProtocol")
