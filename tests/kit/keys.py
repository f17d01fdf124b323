"""Middlewares that know a user by a key, each in a way of its own."""

from __future__ import annotations

from typing import Any

from aiorest_ws import HTTPError
from aiorest_ws.abstract import AbstractMiddleware
from aiorest_ws.auth.user.models import User

__all__ = ("KEYS", "Around", "Overwriting", "Strict")

KEYS = {"k-1": "kay"}


class Overwriting(AbstractMiddleware):
    """As the README has it: sets what it finds, be it nothing."""

    authenticates = True

    def process_request(self, request: Any, handler: Any) -> None:
        name = KEYS.get(request.get_extra("key"))
        request.user = None if name is None else User(id=name, is_user=True)


class Strict(Overwriting):
    def process_request(self, request: Any, handler: Any) -> None:
        key = request.get_extra("key")
        if key is not None:
            if key not in KEYS:
                raise HTTPError(401, "wrong key")
            request.user = User(id=KEYS[key], is_user=True)


class Around:
    authenticates = True

    async def __call__(self, request: Any, call_next: Any) -> Any:
        key = request.get_extra("key")
        if key in KEYS:
            request.user = User(id=KEYS[key], is_user=True)
        return await call_next(request)
