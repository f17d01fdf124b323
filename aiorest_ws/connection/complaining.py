"""What Autobahn logs about a connection → at most one line of it, among not too many about all of them."""

from __future__ import annotations

import logging
from typing import Any

from autobahn.asyncio.websocket import WebSocketServerProtocol

from aiorest_ws.logs.throttled import printable

__all__ = ("Complaining",)


class Log:
    """What Autobahn logs about one connection: a line of it at most, escaped, and not too many about all of them.

    Its debug output goes where Autobahn's goes.
    """

    __slots__ = ("_protocol",)

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol

    def _complain(self, level: int, text: str, **values: Any) -> None:
        protocol = self._protocol
        if not protocol._complained:
            protocol._complained = True
            factory = protocol.factory
            complaints = factory.refusals if protocol.state == protocol.STATE_CONNECTING else factory.complaints
            complaints.write(level, f"{protocol.peer}: {printable(text.format(**values))}")

    def info(self, text: str, **values: Any) -> None:
        self._complain(logging.INFO, text, **values)

    def warn(self, text: str, **values: Any) -> None:
        self._complain(logging.WARNING, text, **values)

    def error(self, text: str, **values: Any) -> None:
        self._complain(logging.ERROR, text, **values)

    def __getattr__(self, name: str) -> Any:
        return getattr(WebSocketServerProtocol.log, name)


class Complaining:
    """The log of a connection, made when it is used: almost always to be silent."""

    def __get__(self, protocol: Any, owner: type) -> Any:
        return WebSocketServerProtocol.log if protocol is None else Log(protocol)
