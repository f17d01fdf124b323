"""A request that nobody made, for what is the same for all; and a GET of it, which asks for it behind its guards."""

from __future__ import annotations

from contextvars import Context
from typing import TYPE_CHECKING, Any

from aiorest_ws._speedups import Request, Response, Resumed, again
from aiorest_ws.realtime.roles import Role

if TYPE_CHECKING:
    from aiorest_ws.realtime.live import LiveRoute

__all__ = ("Impersonal", "SharedGet", "Value", "application_context", "connection_context", "enter", "impersonal")


class NobodysRequest(RuntimeError):
    """The handler of a shared route looked at who asks: its answer would be wrong for the others."""


class Impersonal(Request):
    """What the handler of a shared route sees: url, path parameters and `args`; whoever asks is not there."""

    def _refuse(self, name: str) -> NobodysRequest:
        path = getattr(self.route, "path", self.url)
        return NobodysRequest(
            f"request.{name} is not there for the handler of GET {path}: the route is shared, its answer is one for "
            "all; look at it in a guard or in `dependencies=`, or leave out shared=True"
        )

    @property
    def user(self) -> Any:
        raise self._refuse("user")

    @user.setter
    def user(self, user: Any) -> None:
        """Leave it: a request is made with nobody."""

    @property
    def token_payload(self) -> Any:
        raise self._refuse("token_payload")

    @token_payload.setter
    def token_payload(self, payload: Any) -> None:
        """Leave it."""

    @property
    def connection(self) -> Any:
        raise self._refuse("connection")

    @connection.setter
    def connection(self, connection: Any) -> None:
        """Leave it."""

    @property
    def extra(self) -> Any:
        raise self._refuse("extra")

    def get_extra(self, name: str) -> Any:
        raise self._refuse("extra")

    def __getattr__(self, name: str) -> Any:
        if name[:1] == "_" or name == "state":
            return super().__getattr__(name)
        raise self._refuse(name)  # also what a guard has set on the request of who asks


def impersonal(request: Request, app: Any) -> Impersonal:
    """Give a GET of the url and the `args` of `request`, made by nobody."""
    fresh: Impersonal = again(request, Impersonal)
    vars(fresh)["app"] = app
    return fresh


def application_context(connection: Any) -> Context:
    """Give a copy of the context of the application that `connection` is of: what is for all runs in nobody's."""
    context = getattr(getattr(connection, "factory", None), "context", None)
    return Context() if context is None else context.copy()


def connection_context(connection: Any) -> Context:
    """Give a copy of the context in which the requests of `connection` run."""
    context = connection._context
    return application_context(connection) if context is None else context.copy()


class Value(Role):
    """Takes what a handler gives, or what an exception handler makes of its error; any other error is raised.

    result     what it gave
    is_there   whether it gave anything
    """

    takes_value = True
    raises = True

    def __init__(self) -> None:
        self.result: Any = None
        self.is_there = False

    def take(self, replies: Any, request: Any, plan: Any, view: Any, result: Any) -> bytes:
        self.result, self.is_there = result, True
        return b""

    def recovered(self, replies: Any, request: Any, result: Any) -> bytes:
        return self.take(replies, request, None, None, result)


class SharedGet(Role):
    """A GET of a shared route: `enter` is in the place of its handler, and the value is put in behind what is around.

    So a middleware around it never sees the value, and cannot make it another for one of those who ask.
    """

    takes_value = True

    def __init__(self, pipeline: Any, route: LiveRoute, params: tuple[Any, ...]) -> None:
        self._pipeline = pipeline
        self._route = route
        self._params = params
        self._value: Value | None = None

    def enter(self, request: Any) -> Any:
        """Run the handler for nobody; give an empty Response, or an awaitable of it."""
        value = Value()
        fresh = impersonal(request, request.app)
        fresh._live = value
        fresh._pipeline = self._pipeline
        context = application_context(request.connection)
        given = context.run(self._pipeline.run, fresh, self._route.value, self._params)
        if type(given) is bytes:
            self._value = value
            return Response()
        return self._later(Resumed(given, context, None, False), value)

    async def _later(self, given: Any, value: Value) -> Response:
        await given
        self._value = value
        return Response()

    def take(self, replies: Any, request: Any, plan: Any, view: Any, result: Any) -> bytes:
        """Give the reply with the value, which is to be nobody else's."""
        if self._value is not None:
            check_empty(result, self._route)
            result = self._value.result
        rendered: bytes = replies.carry(request, plan, view, result)
        return rendered


def check_empty(result: Any, route: LiveRoute) -> None:
    """Raise RuntimeError if something around a shared route has put a value in."""
    if not isinstance(result, Response) or result.content:
        raise RuntimeError(
            f"a middleware around GET {route.title} set its data: the route is shared, the value is put in behind all "
            "middlewares; leave out shared=True where it depends on who asks"
        )


def enter(request: Any, *params: Any) -> Any:
    """Be the handler of a shared route, as its guards know it."""
    return request._live.enter(request)
