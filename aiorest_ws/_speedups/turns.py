"""Several middlewares that authenticate → the same, asked in turn until one of them knows who it is.

The first that knows counts; later ones may add to what it knows (another user of the same `id`). One that finds nothing
of its own leaves the request to the next, and so does one that finds what may be another's (it raises an exception that
`leaves`). One that finds something wrong refuses.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from aiorest_ws._speedups.trampoline import Steps, begin
from aiorest_ws.callables.calls import call, finished, is_awaitable
from aiorest_ws.exceptions import BaseAPIException

__all__ = ("authenticates", "in_turn", "listed")

_NOBODY = 401
_OF_A_TOKEN = 3  # `leaves` of who found a token, and one that it does not believe


def listed(middlewares: Sequence[Any], checks: tuple[Any, ...]) -> tuple[Any, ...]:
    """Give the guards of a handler: `middlewares`, and `checks` behind the last that authenticates, or behind all."""
    guards = in_turn(middlewares)
    known_at = len(guards)
    while known_at and not authenticates(guards[known_at - 1]):
        known_at -= 1
    at = known_at or len(guards)
    return (*guards[:at], *checks, *guards[at:])


def authenticates(middleware: Any) -> bool:
    """Tell whether `middleware` says that it sets `request.user`."""
    return bool(getattr(middleware, "authenticates", False))


def in_turn(middlewares: Iterable[Any]) -> tuple[Any, ...]:
    """Give `middlewares`, of which those that authenticate wait for each other if there are several."""
    all_of_them = tuple(middlewares)
    asked = [at for at, middleware in enumerate(all_of_them) if authenticates(middleware)]
    if len(asked) < 2:
        return all_of_them
    return tuple(
        _turn_of(middleware, is_last=at == asked[-1]) if at in asked else middleware
        for at, middleware in enumerate(all_of_them)
    )


def _turn_of(middleware: Any, *, is_last: bool) -> _Turn:
    return (_TurnBefore if hasattr(middleware, "process_request") else _TurnAround)(middleware, is_last)


class _Turn:
    """One of several that authenticate."""

    authenticates = True

    def __init__(self, middleware: Any, is_last: bool) -> None:
        self._middleware = middleware
        self._is_last = is_last

    def __repr__(self) -> str:
        return repr(self._middleware)

    def _leave(self, request: Any, fault: BaseAPIException) -> None:
        """Let the next be asked all the same, or refuse; of several faults the most telling is the answer."""
        if not fault.leaves:
            _refuse(fault)
        earlier = getattr(request, "_fault", None)
        request._fault = fault if earlier is None else max(earlier, fault, key=lambda each: each.leaves)
        self._settle(request)

    def _settle(self, request: Any) -> None:
        """Refuse what was left to the others, if none of them knows more."""
        fault = getattr(request, "_fault", None)
        if fault is None:
            return
        if not _is_known(request.user):
            if self._is_last:
                _refuse(fault)
        elif fault.leaves >= _OF_A_TOKEN and not getattr(self._middleware, "reads_tokens", False):
            _refuse(fault)  # whom it knows by something else, and the token is still wrong
        else:
            request._fault = None


class _TurnBefore(_Turn):
    def process_request(self, request: Any, handler: Any) -> Any:
        return begin(self._asked(request, handler))

    def _asked(self, request: Any, handler: Any) -> Steps:
        known = _Known(request) if _is_known(request.user) else None
        if known is not None and getattr(self._middleware, "reads_tokens", False):
            return None
        request._in_turn = True
        try:
            pending = self._middleware.process_request(request, handler)
            if is_awaitable(pending):
                yield finished(pending)
        except BaseAPIException as exc:
            self._end(request, known, exc)
        else:
            self._end(request, known)

    def _end(self, request: Any, known: _Known | None, fault: BaseAPIException | None = None) -> None:
        if known is not None:
            if fault is not None and fault.status != _NOBODY:
                raise fault
            known.keep(request)
        elif fault is not None:
            self._leave(request, fault)
        else:
            self._settle(request)


class _TurnAround(_Turn):
    """What it raises may come from inside of it: that is never left to the next."""

    async def __call__(self, request: Any, call_next: Callable[[Any], Awaitable[Any]]) -> Any:
        known = _Known(request) if _is_known(request.user) else None

        async def settled(request: Any) -> Any:
            if known is None:
                self._settle(request)
            else:
                known.keep(request)
            return await call_next(request)

        return await call(self._middleware, request, settled)


class _Known:
    """Who was known before another was asked: those who come later may add to the user, and put nobody in its place."""

    def __init__(self, request: Any) -> None:
        self._user = request.user
        self._payload = request.token_payload

    def keep(self, request: Any) -> None:
        before, now = getattr(self._user, "id", None), getattr(request.user, "id", None)
        if before is None or now is None or str(before) != str(now):
            request.user = self._user
        if request.token_payload is None:
            request.token_payload = self._payload


def _is_known(user: Any) -> bool:
    """Tell whether somebody said who it is. Who that may be, and whether they may, is asked later."""
    flag = getattr(user, "is_authenticated", user is not None)
    return bool(flag() if callable(flag) else flag)


def _refuse(fault: BaseAPIException) -> None:
    if fault.blame is not None:
        fault.blame()
    raise fault
