"""What users subclass to answer requests with: a class, and a method for each verb."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from aiorest_ws.exceptions import MethodNotAllowed
from aiorest_ws.gone import missing
from aiorest_ws.renderers import BaseRenderer, JSONRenderer

if TYPE_CHECKING:
    from aiorest_ws.dependencies.depends import Depends
    from aiorest_ws.middlewares import Middleware
    from aiorest_ws.permissions import Permission
    from aiorest_ws.realtime.live import Live
    from aiorest_ws.wrappers import Request

__all__ = ("AROUND", "ATTRIBUTES", "GUARDS", "MethodBasedView", "View", "http_methods")

http_methods = frozenset(("get", "post", "head", "options", "delete", "put", "trace", "patch"))

ATTRIBUTES = (
    *("auth_required", "dependencies", "middlewares", "permission_classes", "renderers", "response_model"),
    *("live", "changes", "threaded"),
)
"""What a view may say of itself; what is almost called so would be read by nobody, and is refused."""


GUARDS = ("auth_required", "permission_classes")
AROUND = ("dependencies", "middlewares")  # which may guard, too


class View:
    """Base of every view; one instance serves one request."""


class MethodBasedView(View):
    """Answers each HTTP verb with the method of that name, `def` or `async def`.

        class User(MethodBasedView):
            def get(self, request, user_id, *args, **kwargs):
                return {"id": user_id}

    Path parameters come positionally, as strings or what their converters make of them; `args` of the request come as
    keyword arguments. Only verbs that are declared at registration can be called from the wire.

    methods               verbs that the class has, upper case, sorted
    renderers             renderer classes; `args.format` chooses one, else the first; none means JSON
    permission_classes    every one must let the request pass
    auth_required         `request.user` must be set, authenticated and active
    middlewares           classes or instances around its methods, inside those of application and routers
    threaded              call methods that are not `async def` in a thread: they may block
    dependencies          list of Depends(…), which run for their effect before those of its methods
    live                  how what GET answers changes, a Live: then it may be subscribed to, too. True is Live()
    changes               urls that its other methods change: `["/orders/{id}", "/orders"]`, filled in from the path
    response_model        a type: of what the methods return, what belongs to it is sent and nothing else
    status                of replies, 200 to 299, where a method does not return a Response with another one
    deprecated, tags      what the schema says of it: whether it is, and names of groups that it is listed in
    """

    methods: ClassVar[list[str]] = []
    renderers: Sequence[type[BaseRenderer]] = ()
    permission_classes: Sequence[Permission] = ()
    auth_required = False
    middlewares: Sequence[Middleware] = ()
    dependencies: Sequence[Depends] = ()
    live: Live | bool | None = None
    changes: Sequence[str] = ()
    threaded = False
    response_model: Any = None
    status = 200
    deprecated = False
    tags: Sequence[str] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.methods = sorted(verb.upper() for verb in http_methods if callable(getattr(cls, verb, None)))

    def __setattr__(self, name: str, value: Any) -> None:
        if name in GUARDS or name in AROUND:
            raise AttributeError(
                f"{name} of one instance of {type(self).__qualname__} guards nothing, set it in the class"
            )
        super().__setattr__(name, value)

    def dispatch(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        """Call the method for the verb of `request`. Override it to wrap every verb of the view."""
        verb = str(request.method).strip(" ").lower()
        if verb.upper() not in self.methods:
            raise MethodNotAllowed()
        return getattr(self, verb)(request, *args, **kwargs)

    def get_renderer(self, preferred_format: str | None, *args: Any, **kwargs: Any) -> BaseRenderer:
        """Give the renderer whose format is `preferred_format`, else the first, else JSON."""
        for renderer in self.renderers:
            if preferred_format and renderer.format == preferred_format:
                return renderer()
        return self.renderers[0]() if self.renderers else JSONRenderer()


if not TYPE_CHECKING:  # type checkers would take any name for one of ours

    def __getattr__(name: str) -> Any:
        raise missing(__name__, name)
