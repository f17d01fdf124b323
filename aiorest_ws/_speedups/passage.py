"""A request, its plan and its path parameters → the rendered reply: past the guards, and into the handler.

One loop asks the guards of a route, in this call, until one of them waits; then one coroutine goes on from that place.
"""

from __future__ import annotations

from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

from aiorest_ws._speedups.asker import asker
from aiorest_ws._speedups.onion import Onion
from aiorest_ws._speedups.trampoline import begin, drive
from aiorest_ws.callables import calls

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from aiorest_ws._speedups.trampoline import Steps

    from .plan import Plan
    from .wrappers import Request

    Answer = bytes | Coroutine[Any, Any, bytes]
    Params = tuple[Any, ...]


# Modules, not names: `passage_c.pxd` cimports the compiled ones under these names, and calls into them are C calls.
if TYPE_CHECKING or not __name__.endswith("_c"):
    from . import guards, replies, wrappers
    from . import plan as plans
else:
    from . import guards_c as guards
    from . import plan_c as plans
    from . import replies_c as replies
    from . import wrappers_c as wrappers

__all__ = ("Passage",)


class Passage(replies.Replies):
    """What every request of one application has to pass on its way to a handler.

    logs          somebody wants to know, of every request, in which context it ended: `Request._ended_in`
    threads       runs the handlers that block: (function, arguments) → an awaitable of its result; none: in the loop
    overrides     dependencies that others take the place of, for tests
    """

    logs: bool
    threads: Callable[..., Any] | None
    overrides: dict[Any, Any]

    def _guard(self, request: Request, plan: Plan, params: Params) -> Answer:
        """Ask the guards, then call the handler; stays in this call until something has to be awaited."""
        if plan.watched is not None and request._live is None:
            request._live = plan.watched.begin(self, request, params)
        view = plan.view()
        threads = self._threads_for(request) if plan.threaded else None
        scope = None if plan.provide is None else plan.provide.scope(threads, self.overrides)
        asked = plan.guards
        if plan.around:
            return self._enter(request, plan, params, view, scope, asked)
        if scope is not None and scope.waits and asked:  # all of it in one coroutine
            return self._finish(request, None, None, self._go_on(request, plan, params, view, scope, asked, None))
        for at, guard in enumerate(asked, 1):
            pending = guards.ask(guard, request, view, self.report)
            if pending is not None and replies.is_awaitable(pending):
                rest = self._go_on(request, plan, params, view, scope, asked[at:], pending)
                return self._finish(request, None, None, rest)
        return self._enter(request, plan, params, view, scope, None)

    async def _go_on(
        self, request: Request, plan: Plan, params: Params, view: Any, scope: Any, left: Any, pending: Any
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

    def _enter(self, request: Request, plan: Plan, params: Params, view: Any, scope: Any, around: Any) -> Answer:
        """Call the handler where its plan says, with what it depends on, and inside of the guards `around` it."""
        if around is None and request._live is not None and request._live.is_once:
            return self._finish(request, None, None, self._enter_once(request, plan, params, view, scope))
        return self._enter_now(request, plan, params, view, scope, around)

    async def _enter_once(self, request: Request, plan: Plan, params: Params, view: Any, scope: Any) -> bytes:
        """Call the handler, unless it was called under this key before."""
        if await request._live.is_done(request):
            again: bytes = request._live.again(self, request, plan, view)
            return again
        rendered = self._enter_now(request, plan, params, view, scope, None)
        return rendered if isinstance(rendered, bytes) else await rendered

    def _enter_now(self, request: Request, plan: Plan, params: Params, view: Any, scope: Any, around: Any) -> Answer:
        if plan.threaded:
            asker.set(id(plan if plan.impersonal else request.connection))
        if scope is not None:
            rendered = begin(self._scoped(request, plan, params, view, scope, around), scope.waits)
            return rendered if type(rendered) is bytes else self._finish(request, None, None, rendered)
        if around is not None:
            return self._finish(request, plan, view, self._peel(request, plan, params, view, None, around))
        return self._answer(request, plan, view, self._call_guarded(request, plan, params, view))

    def _scoped(self, request: Request, plan: Plan, params: Params, view: Any, scope: Any, around: Any) -> Steps:
        """Give the reply; what the request depends on lives until it is rendered. Yields each awaitable."""
        try:
            if around is not None:
                result = yield self._peel(request, plan, params, view, scope, around)
            else:
                args, kwargs = plans.call(plan, request, params, view)
                result = yield from scope.call(request, args, kwargs)
            rendered = self._render(request, plan, view, result)
        except BaseException as exc:
            yield from scope.leave(request, exc)  # raises
        if self.logs and request._ended_in is None:
            request._ended_in = copy_context()
        if scope.opened:
            yield from scope.leave(request)
        return rendered

    def _call_guarded(self, request: Request, plan: Plan, params: Params, view: Any) -> Any:
        """Call the handler where its plan says: here or in a thread."""
        threads = self._threads_for(request) if plan.threaded else None
        if threads is not None:
            return threads(_call_in_thread, request, plan, params, view)
        return plans.call(plan, request, params, view)

    def _threads_for(self, request: Request) -> Any:
        """Give what calls in a thread for `request`."""
        return None if self.threads is None else partial(self.threads, _in_thread, request)

    def _peel(self, request: Request, plan: Plan, params: Params, view: Any, scope: Any, around: Any) -> Any:
        """Give a coroutine of what the guards `around` the handler make of its result."""

        async def core(request: Request) -> Any:
            request._ended_in = None  # a middleware may ask more than once
            try:
                if request._live is not None and request._live.is_once and await request._live.is_done(request):
                    return request._live.given()
                if scope is not None:
                    result = await drive(scope.call(request, *plans.call(plan, request, params, view)))
                else:
                    result = self._call_guarded(request, plan, params, view)
                    if replies.is_awaitable(result):
                        result = await calls.awaitable_of(result)
            except BaseException as exc:
                if request._live is not None:
                    request._live.failed(exc)
                raise
            if request._live is not None:
                request._live.returned()  # whatever those around it make of that
            return result

        made = wrappers.Response
        return Onion(around, plan.checks, view, self.report, core, response=made, logs=self.logs).peel(request)


def _call_in_thread(request: Request, plan: Plan, params: Params, view: Any) -> Any:
    try:
        return plans.call(plan, request, params, view)
    finally:
        request._ended_in = copy_context()  # that of this thread


def _in_thread(request: Request, function: Callable[..., Any], *args: Any) -> Any:
    """Call `function` in this thread, of which `request` may have to know: it may end without waiting for it."""
    if request._live is not None:
        request._live.in_thread()
    try:
        return function(*args)
    except BaseException as exc:
        if request._live is not None:
            request._live.failed(exc)
        raise
    finally:
        if request._live is not None:
            request._live.out_of_thread()
