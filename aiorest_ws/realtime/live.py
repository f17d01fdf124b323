"""What a route says of how it changes → what subscriptions need to know of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from inspect import signature
from typing import TYPE_CHECKING, Any, Literal

from aiorest_ws.callables.calls import may_wait, named
from aiorest_ws.callables.spelling import spelled

if TYPE_CHECKING:
    from aiorest_ws.realtime.sharing import SharedGet

__all__ = ("Live", "LiveRoute")

_OF_LOGS = ("history", "history_seconds", "history_bytes", "key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """How the value of a GET route changes: `@router.get("/orders/{id:int}", live=Live(shared=True))`.

    mode        "state": each push is the whole value, and of several the last counts; "log": every item in its order
    shared      the answer does not depend on who asks: one run of the handler serves all. It sees a request that is
                nobody's, on a plain GET, too
    interval    seconds between two runs for one topic, at least
    refresh     seconds after which the handler is run again while anybody subscribes, for what others write; or None
    recheck     seconds after which the guards of each subscription are asked again; or None
    history, history_seconds, history_bytes    of a log: items, seconds and bytes that are kept for who comes back
    presence    function(request) → {"id": …, …}: who subscribes, as `<url>/presence` lists it. Called behind the guards
    key         of a log: the name of the key of each item, for clients to drop what they have already

    Raises TypeError or ValueError for what cannot be.
    """

    mode: Literal["state", "log"] = "state"
    shared: bool = False
    interval: float = 0.1
    refresh: float | None = None
    recheck: float | None = None
    history: int = 100
    history_seconds: float = 300.0
    history_bytes: int = 1024 * 1024
    key: str | None = None
    presence: Callable[[Any], dict[str, Any]] | None = None

    def __post_init__(self) -> None:
        if self.mode not in ("state", "log"):
            raise ValueError(f"mode of Live must be 'state' or 'log', got {self.mode!r}")
        if type(self.shared) is not bool:
            raise TypeError(f"shared of Live must be True or False, got {self.shared!r}")
        _check_number("interval", self.interval, least=0.0)
        for name in ("refresh", "recheck"):
            if getattr(self, name) is not None:
                _check_number(name, getattr(self, name), least=0.001)
        _check_number("history_seconds", self.history_seconds, least=0.001)
        for name in ("history", "history_bytes"):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= 2**31:
                raise ValueError(f"{name} of Live must be an integer from 1 to {2**31}, got {value!r}")
        if self.key is not None and (not isinstance(self.key, str) or not self.key):
            raise TypeError(f"key of Live must be the name of a key, got {self.key!r}")
        if self.presence is not None:
            _check_presence(self.presence)
        self._check_mode()

    def _check_mode(self) -> None:
        if self.mode == "log":
            if not self.shared:
                raise ValueError("a log is the same for all who may see it: expected Live(mode='log', shared=True)")
            if self.refresh is not None:
                raise ValueError("refresh of Live is for a state: what is new in a log is published")
            return
        for field in fields(self):
            if field.name in _OF_LOGS and getattr(self, field.name) != field.default:
                raise ValueError(f"{field.name} of Live is for a log: expected mode='log', or no {field.name}")


Live.__init__ = spelled(Live.__init__)  # type: ignore[method-assign]


def _check_number(name: str, value: Any, *, least: float) -> None:
    if type(value) not in (int, float) or not least <= value < 1e9:
        raise ValueError(f"{name} of Live must be a number of seconds from {least:g}, got {value!r}")


def _check_presence(function: Any) -> None:
    if not callable(function) or may_wait(function):
        raise TypeError(f"presence of Live must be a function(request), not `async def`, got {function!r}")
    try:
        signature(function).bind(None)
    except ValueError:
        pass  # it does not say what it takes
    except TypeError as exc:
        raise TypeError(
            f"presence of Live must take the request, and nothing else, got {named(function)}: {exc}"
        ) from exc


class LiveRoute:
    """How the GET of one route changes, and what gives its value.

    live      what was declared
    title     of the route, for errors
    value     of a shared one: the plan of its handler, without the guards, for a request that is nobody's
    shape     what is published → what of it is sent, as `response_model` has it; None: it is sent as it is
    """

    __slots__ = ("_get", "live", "shape", "title", "value")

    def __init__(self, live: Live, title: str, value: Any, shape: Callable[[Any], Any] | None) -> None:
        self.live = live
        self.title = title
        self.value = value
        self.shape = shape
        if value is not None:
            from aiorest_ws.realtime.sharing import SharedGet  # which most applications do without

            self._get = SharedGet

    def begin(self, pipeline: Any, request: Any, params: tuple[Any, ...]) -> SharedGet:
        """Give what a plain GET of a shared route asks for the value, once its guards have let it pass."""
        return self._get(pipeline, self, params)
