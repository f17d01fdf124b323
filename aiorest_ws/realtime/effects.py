"""What a request changes → the urls that changed, said once its handler has ended and what it needed is cleaned up."""

from __future__ import annotations

import asyncio
from asyncio import _get_running_loop
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any

from aiorest_ws._speedups import renders_otherwise, write
from aiorest_ws.callables.failures import sole
from aiorest_ws.exceptions import BaseAPIException, EndpointValueError, InvalidHandler
from aiorest_ws.realtime.messages import added
from aiorest_ws.realtime.roles import Role
from aiorest_ws.routing.templates import converters_by_parameter, parameter_names, replace_parameters

if TYPE_CHECKING:
    from aiorest_ws.realtime.feeds import Feeds

__all__ = ("Changes", "Effect")

_PATIENCE = 1.0  # seconds that a reply waits for what the broker says of its changes


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
            if set(replace_parameters(template, lambda name: "")) & {"{", "}"}:
                raise EndpointValueError(f"changes of {title} must have parameters like {{id}}, got {template!r}")
            for name in parameter_names(template):
                if name not in known:
                    raise EndpointValueError(
                        f"changes of {title} name the parameter {name!r}, which its path {route.path} does not have"
                    )
        self.title = title
        self.templates = tuple(route.prefix + template for template in templates)
        self._names = known
        self._texts = _texts_of(route)

    def urls(self, params: tuple[Any, ...]) -> Iterator[Callable[[], str]]:
        """Give what gives each of the urls, filled in from the path; a converter may have no text for a value."""
        values = dict(zip(self._names, params, strict=True))
        return (partial(self._filled, template, values) for template in self.templates)

    def _filled(self, template: str, values: Mapping[str, Any]) -> str:
        return replace_parameters(template, lambda name: self._texts[name](values[name]))

    def begin(self, pipeline: Any, request: Any, params: tuple[Any, ...]) -> Role:
        """Give what says so when the request has ended."""
        return Role() if pipeline.live is None else Effect(pipeline.live, pipeline, self, params)


def _texts_of(route: Any) -> dict[str, Callable[[Any], str]]:
    """Give, for each parameter of `route`, what writes it into a url."""
    found = converters_by_parameter(route.path)
    texts: dict[str, Callable[[Any], str]] = {}
    for name, converter in found.items():
        known = route.converters[converter] if converter else None
        texts[name] = str if known is None else known.to_text
    return texts


class Effect(Role):
    """Says what a request has changed, once: when its handler, which was entered, has ended, in whatever way.

    It has ended when its thread and the clean-up of what it depends on have, which may be long after its client has
    got a reply. Only a handler that says by a 4xx that the client was wrong has changed nothing.
    """

    def __init__(self, feeds: Feeds, pipeline: Any, changes: Changes | None, params: tuple[Any, ...]) -> None:
        self._feeds = feeds
        self._pipeline = pipeline
        self._changes = changes
        self._params = params
        self._urls: list[str] = []
        self._is_inside = changes is None  # of its handler: one that names its urls itself is
        self._has_changed = False  # its handler has ended, and may have changed something
        self._is_said = False
        self._is_answered = False  # and has not ended
        self._lock = Lock()  # for the next three
        self._threads = 1 if changes is None and _get_running_loop() is None else 0  # that are at it
        self._has_ended = False
        self._ended: Any = None  # the request, from then on until it is said: it has this, too

    def add(self, url: str) -> None:
        """Say that `url` changes, too: at once, if all is said already. Raises NotLive now, where somebody sees it."""
        self._feeds.find(url)
        with self._lock:
            is_late = self._has_ended and not self._threads
            if not is_late:
                self._urls.append(url)
        if is_late:
            self._feeds.changed(url)

    # What becomes of its handler

    def entered(self) -> None:
        self._is_inside = True

    def returned(self) -> None:
        self._is_inside, self._has_changed = False, self._has_changed or self._is_inside

    def failed(self, exc: BaseException) -> None:
        if self._is_inside:
            self._is_inside = False
            self._has_changed = self._has_changed or not _refuses(exc)

    def in_thread(self) -> None:
        with self._lock:
            self._threads += 1

    def out_of_thread(self) -> None:
        with self._lock:
            self._threads -= 1
            is_last = self._has_ended and not self._threads
        if is_last:
            self._feeds.call_soon(self._say, self._ended, None)

    # Its end

    def late(self, request: Any) -> None:
        self._is_answered = True

    def settle(self, connection: Any, request: Any, rendered: bytes) -> bytes | None:
        """Say what changed; give the reply, with the versions of what its client subscribes to.

        None: it is put off until a broker that is elsewhere has said them.
        """
        if self._is_answered:
            return rendered
        changed = self._over(request, connection)
        if not changed or request.id is None or (request.status < 400 and renders_otherwise(request)):
            return rendered
        if all(isinstance(version, str) for version in changed.values()):
            return _with(rendered, request, changed)
        self._is_answered = True
        connection.put_off(request, _told(rendered, request, changed))
        return None

    def end(self, request: Any) -> None:
        self._over(request, None)

    def _over(self, request: Any, connection: Any) -> dict[str, Any]:
        with self._lock:
            self._has_ended, self._ended = True, request
            if self._threads:
                return {}  # the last of them says it
        return self._say(request, connection)

    def _say(self, request: Any, connection: Any) -> dict[str, Any]:
        if self._is_said or not (self._has_changed or self._is_inside):
            return {}
        self._is_said = True
        self._ended = None
        report = partial(self._report, request)
        urls = list(self._urls)
        for filled in () if self._changes is None else self._changes.urls(self._params):
            try:
                urls.append(filled())
            except Exception as exc:  # of a converter: what was done is done
                report(exc)
        return self._feeds.tell(dict.fromkeys(urls), connection, report)

    def _report(self, request: Any, exc: Exception) -> None:
        if self._pipeline.report is not None:
            self._pipeline.report(request, exc)


def _with(rendered: bytes, request: Any, changed: dict[str, str]) -> bytes:
    return added(rendered, request.form, "changed", write(changed, request.form)) if changed else rendered


async def _told(rendered: bytes, request: Any, changed: dict[str, Any]) -> bytes:
    """Give the reply with the versions that the broker has said, which it gets a while for."""
    await asyncio.wait(changed.values(), timeout=_PATIENCE)
    said = {name: task.result() for name, task in changed.items() if task.done() and not task.cancelled()}
    return _with(rendered, request, {name: version for name, version in said.items() if version is not None})


def _refuses(exc: BaseException) -> bool:
    """Tell whether `exc` says that the client was wrong."""
    exc = sole(exc)
    return isinstance(exc, BaseAPIException) and isinstance(exc.status, int) and 400 <= exc.status < 500
