"""A test's user → who asks on a connection, without a token: an authenticator in front of the application's own."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import TYPE_CHECKING, Any

from aiorest_ws.abstract import AbstractMiddleware
from aiorest_ws.auth.token.credentials import Credentials
from aiorest_ws.auth.user.models import User

if TYPE_CHECKING:
    from aiorest_ws.request import RequestHandlerFactory, RequestHandlerProtocol

__all__ = ("act_as",)


class Acting(AbstractMiddleware):
    """Knows the users of those connections that act as one."""

    authenticates = True

    def process_request(self, request: Any, handler: Any) -> None:
        credentials = request.connection._credentials
        if credentials is not None:
            credentials.recall(request, self, 0.0)


def act_as(
    factory: RequestHandlerFactory, connection: RequestHandlerProtocol, user: Any, claims: Mapping[str, Any] | None
) -> None:
    """Let `connection`, which is not open yet, be that of `user`: a user, or the id of one."""
    acting = next((m for m in factory.middlewares if isinstance(m, Acting)), None)
    if acting is None:
        acting = Acting()
        factory.middlewares = (acting, *factory.middlewares)
        factory._pipeline = None  # connections from now on have another
    if isinstance(user, (str, int)):
        user = User(id=user, username=str(user), is_user=True)
    name = getattr(user, "id", None)
    payload = ({} if name is None else {"sub": str(name)}) | dict(claims or {})
    credentials = Credentials(acting, "", payload, user, inf)
    credentials.lasting = True
    connection._credentials = credentials
