"""A request that is kept behind its reply, asked again, and made to look otherwise: what subscriptions need of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# A module, not names: `keeping_c.pxd` cimports the compiled one under this name.
if TYPE_CHECKING or not __name__.endswith("_c"):
    from . import wrappers
else:
    from . import wrappers_c as wrappers

if TYPE_CHECKING:
    from .wrappers import Request

__all__ = ("again", "came_as", "kept", "over", "renders_otherwise", "set_method", "set_status", "weight_of")


def again(request: Request, kind: Any = wrappers.Request) -> Any:
    """Give a GET with what the client sent in `request`, and nothing of what was found out about it.

    kind    a subclass, of a request that is made by nobody: it has the url and `args`, and nothing else
    """
    fresh: Request = kind.__new__(kind)
    wrappers.clear(fresh)
    fresh._status = 200
    fresh._method = "GET"
    fresh._url = request._url
    fresh._args = _copied(request._args)  # a handler may have its way with what it gets
    fresh._text = request._text
    if kind is wrappers.Request:
        fresh._form = request._form
        fresh.connection = request.connection
        fresh._event_name = _copied(request._event_name)
        fresh._id = request._id
        fresh._envelope = _copied(request._envelope)
        fresh._extra = _copied(request._extra)  # the compiled reader makes no more of a small message
    else:
        fresh._form = 0
        fresh.connection = None
    return fresh


def kept(request: Request, is_exact: bool) -> Request:
    """Give `again(request)` to be kept, and asked again and again: without `since`, which says what was known once.

    is_exact    its plan reads the text of the message
    """
    fresh: Request = again(request)
    if fresh._envelope is not None:
        fresh._envelope.pop("since", None)
    if not is_exact and type(fresh._text) is not tuple:
        fresh._text = None
    return fresh


def weight_of(request: Request) -> int:
    """Give the bytes of memory that the message takes, about, 0 where nobody has counted."""
    return request._size + wrappers.CONTAINER * request._holds


def _copied(value: Any) -> Any:
    """Give `value`, which came in a message, in containers of its own."""
    kind = type(value)
    if kind is dict:
        return {key: _copied(member) for key, member in value.items()}
    return [_copied(member) for member in value] if kind is list else value


def set_method(request: Request, method: str) -> None:
    """Have it answered as if it had come with this method."""
    request._method = method


def set_status(request: Request, status: int) -> None:
    """Have its reply say this."""
    request._status = status


def came_as(request: Request, data: bytes) -> None:
    """Take note of the JSON in which the `data` of a request came that somebody else has read."""
    request._text = (None, data)
    request._size = len(data)


def over(request: Request) -> None:
    """Take note that it is answered, and that nothing of it goes on, where no connection does."""
    request._is_over = True
    request._ended_in = None  # it may hold the request


def renders_otherwise(request: Request) -> bool:
    """Tell whether the view that answers `request` has renderers of its own."""
    return request._plan is not None and request._plan.render is not None
