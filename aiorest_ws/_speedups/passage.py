"""A request, its plan and its path parameters → the rendered reply: past the guards, and into the handler.

One loop asks the guards of a route, in this call, until one of them waits; then one coroutine goes on from that place.
"""

from __future__ import annotations

from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from aiorest_ws._speedups import turns
from aiorest_ws._speedups.asker import asker
from aiorest_ws._speedups.collector import LARGE, undisturbed
from aiorest_ws._speedups.onion import Onion
from aiorest_ws._speedups.trampoline import begin, drive
from aiorest_ws.callables import calls

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Iterable

    from .plan import Plan
    from .wrappers import Request

# Modules, not names: `passage_c.pxd` cimports the compiled ones under these names, and calls into them are C calls.
if TYPE_CHECKING or not __name__.endswith("_c"):
    from . import guards, replies, wrappers
else:
    from . import guards_c as guards
    from . import replies_c as replies
    from . import wrappers_c as wrappers

__all__ = ("Passage",)

_LARGE = LARGE  # the `.pxd` knows its type


class Passage(replies.Replies):
    """What every request of one application has to pass on its way to a handler.

    middlewares   instances; their `process_request(request, view)` runs in order, sync or async
    onion         one of `middlewares` is called with (request, call_next) instead
    guarded       there are `middlewares`
    logs          somebody wants to know, of every request, in which context it ended: `Request._ended_in`
    threads       runs the handlers that block: (function, arguments) → an awaitable of its result; none: in the loop
    overrides     dependencies that others take the place of, for tests
    debug, report, recoveries    see `Replies`
    """

    def __init__(
        self,
        *,
        middlewares: Iterable[Any] = (),
        onion: bool = False,
        logs: bool = False,
        debug: bool = False,
        report: Callable[[Request, BaseException], None] | None = None,
        threads: Callable[..., Any] | None = None,
        recoveries: Iterable[dict[type, Any]] = (),
        overrides: dict[Any, Any] | None = None,
    ) -> None:
        super().__init__(debug=debug, report=report, recoveries=recoveries)
        self.middlewares = tuple(middlewares)
        self.onion = onion
        self.guarded = bool(self.middlewares)
        self.logs = logs
        self.threads = threads
        self.overrides = {} if overrides is None else overrides
        self._guards: dict[Plan, tuple[Any, ...]] = {}  # those of the plans, with `middlewares`

    def _guard(self, request: Request, plan: Plan, params: tuple[Any, ...]) -> bytes | Coroutine[Any, Any, bytes]:
        """Ask the guards, then call the handler; stays in this call until something has to be awaited."""
        view = plan.view()
        scope = None if plan.provide is None else plan.provide.scope(self.threads, self.overrides)
        asked = self._guards_of(plan) if self.guarded else plan.guards
        if self.onion or plan.around:
            return self._enter(request, plan, params, view, scope, asked)
        if scope is not None and scope.waits and asked:  # all of it in one coroutine
            return self._finish(request, None, None, self._go_on(request, plan, params, view, scope, asked, None))
        for at, guard in enumerate(asked, 1):
            pending = guards.ask(guard, request, view, self.report)
            if pending is not None and replies.is_awaitable(pending):
                rest = self._go_on(request, plan, params, view, scope, asked[at:], pending)
                return self._finish(request, None, None, rest)
        return self._enter(request, plan, params, view, scope, None)

    def _guards_of(self, plan: Plan) -> tuple[Any, ...]:
        """Give what stands before the handler of `plan`: the application's middlewares, then those of the plan."""
        listed = self._guards.get(plan)
        if listed is None:
            listed = self._guards[plan] = turns.listed(self.middlewares + plan.middlewares, plan.checks)
        return listed

    async def _go_on(
        self, request: Request, plan: Plan, params: tuple[Any, ...], view: Any, scope: Any, left: Any, pending: Any
    ) -> bytes:
        """Go on behind the guard that gave `pending`: the guards that are `left`, and the handler."""
        if pending is not None:
            await calls.finished(pending)
        for guard in left:
            pending = guards.ask(guard, request, view, self.report)
            if pending is not None and replies.is_awaitable(pending):
                await calls.finished(pending)
        rendered = self._enter(request, plan, params, view, scope, None)
        return rendered if isinstance(rendered, bytes) else await rendered

    def _enter(
        self, request: Request, plan: Plan, params: tuple[Any, ...], view: Any, scope: Any, around: Any
    ) -> bytes | Coroutine[Any, Any, bytes]:
        """Call the handler where its plan says, with what it depends on, and inside of the guards `around` it."""
        if plan.threaded:
            asker.set(id(request.connection))
        if scope is not None:
            rendered = begin(self._scoped(request, plan, params, view, scope, around), scope.waits)
            return rendered if type(rendered) is bytes else self._finish(request, None, None, rendered)
        if around is None:
            result = self._call_guarded(request, plan, params, view)
        else:
            result = self._peel(request, plan, params, view, scope, around)
        kind = type(result)  # PERF: most give one of these, and a look at their types costs a call
        if kind is not str and kind is not dict and replies.is_awaitable(result):
            return self._finish(request, plan, view, result)
        return self._render(request, plan, view, result)

    def _scoped(
        self, request: Request, plan: Plan, params: tuple[Any, ...], view: Any, scope: Any, around: Any
    ) -> Generator[Any, Any, bytes]:
        """Give the reply; what the request depends on lives until it is rendered. Yields each awaitable."""
        try:
            if around is not None:
                result = yield self._peel(request, plan, params, view, scope, around)
            else:
                args, kwargs = self._call(request, plan, params, view)
                result = yield from scope.call(request, args, kwargs)
            rendered = self._render(request, plan, view, result)
        except BaseException as exc:
            if request._ended_in is None:
                request._ended_in = copy_context()
            yield from scope.leave(exc)  # raises
        if self.logs and request._ended_in is None:
            request._ended_in = copy_context()
        if scope.opened:
            yield from scope.leave()
        return rendered

    def _call_guarded(self, request: Request, plan: Plan, params: tuple[Any, ...], view: Any) -> Any:
        """Call the handler where its plan says: here or in a thread."""
        if plan.threaded and self.threads is not None:
            return self.threads(self._call_in_thread, request, plan, params, view)
        return self._call(request, plan, params, view)

    def _call_in_thread(self, request: Request, plan: Plan, params: tuple[Any, ...], view: Any) -> Any:
        try:
            return self._call(request, plan, params, view)
        finally:
            request._ended_in = copy_context()  # that of this thread

    def _call(self, request: Request, plan: Plan, params: tuple[Any, ...], view: Any) -> Any:
        """Call the handler with the path parameters and the arguments of `request`."""
        args = request._args
        kwargs = None
        if plan.bind is not None:
            if request._size > _LARGE:
                params, kwargs = undisturbed(plan.bind, request, params)
            else:
                params, kwargs = plan.bind(request, params)
        elif not plan.takes_nothing or (args is not None and (type(args) is not dict or args)):
            kwargs = plan.fit(args)
        if not plan.bare and view is None:
            view = plan.view()
        function = plan.function
        if kwargs is not None:
            if plan.bare:
                return function(request, *params, **kwargs)
            return function(view, request, *params, **kwargs)
        if plan.bare:
            return function(request, *params) if params else function(request)
        return function(view, request, *params) if params else function(view, request)

    def _peel(self, request: Request, plan: Plan, params: tuple[Any, ...], view: Any, scope: Any, around: Any) -> Any:
        """Give a coroutine of what the guards `around` the handler make of its result."""

        async def core(request: Request) -> Any:
            request._ended_in = None  # a middleware may ask more than once
            if scope is not None:
                args, kwargs = self._call(request, plan, params, view)
                return await drive(scope.call(request, args, kwargs))
            result = self._call_guarded(request, plan, params, view)
            return await result if replies.is_awaitable(result) else result

        onion = Onion(around, plan.checks, view, ask=self.ask, core=core, answer=_response, logs=self.logs)
        return onion.peel(request)

    def ask(self, check: Any, request: Request, view: Any) -> Any:
        """As `guards.ask`, for the onion."""
        return guards.ask(check, request, view, self.report)


def _response(result: Any) -> wrappers.Response:
    return result if isinstance(result, wrappers.Response) else wrappers.Response(result)
