"""What a request changes → the urls that changed, said once its handler has ended and what it needed is cleaned up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any

from aiorest_ws._speedups import write
from aiorest_ws.exceptions import BaseAPIException, EndpointValueError, InvalidHandler, sole
from aiorest_ws.realtime.messages import MSGPACK, added
from aiorest_ws.realtime.roles import Role
from aiorest_ws.routing.templates import converters_by_parameter, parameter_names, replace_parameters

if TYPE_CHECKING:
    from aiorest_ws.realtime.feeds import Feeds

__all__ = ("Changes", "Effect")


class Changes:
    """What the requests of one route change: `changes=["/orders/{id}", "/orders"]`.

    templates    with the prefixes of the routers that include the route
    """

    __slots__ = ("_names", "_texts", "templates", "title")

    def __init__(self, templates: Any, route: Any, title: str) -> None:
        if not isinstance(templates, (list, tuple)) or not all(isinstance(each, str) for each in templates):
            raise InvalidHandler(f"changes of {title} must be a list of urls, got {templates!r:.200}")
        known = route.parameters
        for template in templates:
            if not template.startswith("/"):
                raise EndpointValueError(f"changes of {title} must begin with '/', got {template!r}")
            for name in parameter_names(template):
                if name not in known:
                    raise EndpointValueError(
                        f"changes of {title} name the parameter {name!r}, which its path {route.path} does not have"
                    )
        self.title = title
        self.templates = tuple(route.prefix + template for template in templates)
        self._names = known
        self._texts = _texts_of(route)

    def urls(self, params: tuple[Any, ...]) -> list[str]:
        """Give the urls, filled in from the path."""
        values = dict(zip(self._names, params, strict=True))
        return [self._filled(template, values) for template in self.templates]

    def _filled(self, template: str, values: Mapping[str, Any]) -> str:
        return replace_parameters(template, lambda name: self._texts[name](values[name]))

    def begin(self, pipeline: Any, request: Any, params: tuple[Any, ...]) -> Effect:
        """Give what says so when the request has ended."""
        return Effect(pipeline.live, pipeline, self, params)


def _texts_of(route: Any) -> dict[str, Callable[[Any], str]]:
    """Give, for each parameter of `route`, what writes it into a url."""
    found = converters_by_parameter(route.path)
    texts: dict[str, Callable[[Any], str]] = {}
    for name, converter in found.items():
        known = route.converters[converter] if converter else None
        texts[name] = str if known is None else known.to_text
    return texts


class Effect(Role):
    """Says what a request has changed, once: when its handler, which was called, has ended, in whatever way."""

    def __init__(self, feeds: Feeds | None, pipeline: Any, changes: Changes | None, params: tuple[Any, ...]) -> None:
        self._feeds = feeds
        self._pipeline = pipeline
        self._changes = changes
        self._params = params
        self._urls: list[str] = []
        self._is_called = changes is None
        self._is_said = False
        self._in_thread = 0
        self._lock = Lock()
        self._is_answered = False
        self._is_late = False  # it has ended, and a thread of it goes on
        self._request: Any = None  # then

    def add(self, url: str) -> None:
        """Say that `url` changes, too."""
        if self._feeds is not None:
            self._feeds.find(url)  # raises now, where somebody sees it
        self._urls.append(url)

    def called(self) -> None:
        self._is_called = True

    def watched(self, threads: Any) -> Any:
        """Give `threads`, and know of what goes on in one although the request has ended."""
        return None if threads is None else partial(threads, self._threaded)

    def _threaded(self, function: Callable[..., Any], *args: Any) -> Any:
        with self._lock:
            self._in_thread += 1
        try:
            return function(*args)
        finally:
            with self._lock:
                self._in_thread -= 1
                is_last = self._is_late and not self._in_thread
            if is_last and self._feeds is not None:
                self._feeds.call_soon(self._say, self._request, None)

    def late(self, request: Any) -> None:
        self._is_answered = True  # what it changes is not known before it has ended

    def settle(self, connection: Any, request: Any, rendered: bytes) -> bytes:
        """Say what changed; give the reply, with the numbers of what its client subscribes to."""
        if self._is_answered:
            return rendered
        changed = self._say(request, connection)
        if not changed or request.id is None:
            return rendered
        form = request.form
        if rendered[:1] == b"{" if not form & MSGPACK else 0x80 <= rendered[0] < 0x8F:
            return added(rendered, form, "changed", write(changed, form))
        return rendered

    def end(self, request: Any) -> None:
        """Say what changed: the request has ended without a reply."""
        with self._lock:
            self._is_late = self._in_thread > 0
            self._request = request
            if self._is_late:
                return
        self._say(request, None)

    def _say(self, request: Any, connection: Any) -> dict[str, str]:
        if self._is_said or not self._is_called or self._feeds is None or self._was_refused():
            return {}
        self._is_said = True
        names = self._changes.urls(self._params) if self._changes is not None else []
        return self._feeds.tell(dict.fromkeys([*names, *self._urls]), connection, partial(self._report, request))

    def _report(self, request: Any, exc: Exception) -> None:
        if self._pipeline.report is not None:
            self._pipeline.report(request, exc)

    def _was_refused(self) -> bool:
        """Tell whether the handler has said that the client was wrong: then it has changed nothing."""
        exc = None if self.raised is None else sole(self.raised)
        return isinstance(exc, BaseAPIException) and 400 <= exc.status < 500
