"""What authentication and permissions refuse, under the import path of 1.1.1."""

from __future__ import annotations

from aiorest_ws.exceptions import BaseAuthException, NotAuthenticated, PermissionDeniedException

__all__ = ("BaseAuthException", "NotAuthenticated", "PermissionDeniedException")
