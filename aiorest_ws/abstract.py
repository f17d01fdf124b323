"""What users may subclass: endpoints, routers, middlewares, permissions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Any

from aiorest_ws.permissions import AbstractPermission

if TYPE_CHECKING:
    from aiorest_ws.views import MethodBasedView
    from aiorest_ws.wrappers import Request

__all__ = ("AbstractEndpoint", "AbstractMiddleware", "AbstractPermission", "AbstractRouter")


class AbstractEndpoint(ABC):
    """A path template with the handler and the methods that are registered for it."""

    def __init__(
        self, path: str, handler: type[MethodBasedView], methods: Sequence[str], name: str | None = None
    ) -> None:
        self.path = path
        self.handler = handler
        self.methods = tuple(methods)
        self.name = name

    @abstractmethod
    def match(self, path: str) -> tuple[Any, ...] | None:
        """Give the path parameters of `path` in the order of the template, or None when it does not match."""


class AbstractRouter(ABC):
    """Finds the handler of a request and gives the rendered reply."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    @abstractmethod
    def process_request(self, request: Request) -> bytes | Awaitable[bytes]:
        """Give the rendered reply to `request`, or an awaitable of it; or raise BaseAPIException.

        It is JSON, not yet base64, or MessagePack where `request.form` says so.
        """


class AbstractMiddleware(ABC):
    """Sees every request between routing and the handler; what it raises becomes the reply.

    authenticates    True for a middleware that sets `request.user`; views with `auth_required` need one. Who may
                     pass is checked behind the last of them

    A method `at_handshake(connection)`, if there is one, is called with each connection before it is accepted, and
    before `on_connect`. It may raise exceptions.ConnectionRefused, and gives the subprotocol to agree on, or None.
    """

    authenticates = False

    @abstractmethod
    def process_request(self, request: Request, handler: MethodBasedView) -> Awaitable[None] | None:
        """Look at `request` before `handler`, the view instance. Sync or async; what it returns is ignored."""
