"""WebSocket close codes (RFC 6455 §7.4.1) and the ranges they fall into (§7.4.2)."""

from __future__ import annotations

__all__ = (
    "WS_CLOSED_ABNORMALLY",
    "WS_DATA_CANNOT_ACCEPT",
    "WS_FAILURE_TLS",
    "WS_GOING_AWAY",
    "WS_MESSAGE_NOT_CONSISTENT",
    "WS_MESSAGE_TOO_BIG",
    "WS_MESSAGE_VIOLATE_POLICY",
    "WS_NORMAL",
    "WS_NO_STATUS_CODE",
    "WS_PROTOCOL_ERROR",
    "WS_RESERVED",
    "WS_SERVER_DIDNT_RETURN_EXTENSIONS",
    "WS_SERVICE_RESTART",
    "WS_UNEXPECTED_CONDITION",
    "is_library",
    "is_not_used",
    "is_private",
    "is_reserved",
)

WS_NORMAL = 1000
WS_GOING_AWAY = 1001
WS_PROTOCOL_ERROR = 1002
WS_DATA_CANNOT_ACCEPT = 1003
WS_RESERVED = 1004
WS_NO_STATUS_CODE = 1005
WS_CLOSED_ABNORMALLY = 1006
WS_MESSAGE_NOT_CONSISTENT = 1007
WS_MESSAGE_VIOLATE_POLICY = 1008
WS_MESSAGE_TOO_BIG = 1009
WS_SERVER_DIDNT_RETURN_EXTENSIONS = 1010
WS_UNEXPECTED_CONDITION = 1011
WS_SERVICE_RESTART = 1012
WS_FAILURE_TLS = 1015


def is_not_used(code: int) -> bool:
    """Tell whether `code` is below every close code in use (0 to 999)."""
    return 0 <= code <= 999


def is_reserved(code: int) -> bool:
    """Tell whether `code` belongs to the protocol and its extensions (1000 to 2999)."""
    return 1000 <= code <= 2999


def is_library(code: int) -> bool:
    """Tell whether `code` is for libraries and frameworks (3000 to 3999)."""
    return 3000 <= code <= 3999


def is_private(code: int) -> bool:
    """Tell whether `code` is for private use (4000 to 4999)."""
    return 4000 <= code <= 4999
