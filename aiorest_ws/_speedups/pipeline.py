"""Payload in, payload out: decode, wrap, route, call, render, encode.

Sans-IO: it never touches a transport. A reply that is ready comes back as bytes, one that is not as a coroutine.
Whatever happens on the way becomes the one reply of its request.
"""

from __future__ import annotations

from contextvars import copy_context
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from aiorest_ws._speedups.asker import asker
from aiorest_ws._speedups.collector import LARGE, undisturbed
from aiorest_ws._speedups.onion import Layer
from aiorest_ws._speedups.trampoline import begin, drive
from aiorest_ws._speedups.turns import authenticates, in_turn, known_at
from aiorest_ws.callables.calls import call, finished
from aiorest_ws.exceptions import (
    BaseAPIException,
    IncorrectURL,
    InvalidMessage,
    NotSpecifiedHandler,
    NotSpecifiedURL,
)
from aiorest_ws.routing.misses import missed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable

    from .plan import Plan
    from .trie import Trie
    from .wrappers import Request

# Modules, not names: `pipeline_c.pxd` cimports the compiled ones under these names, and calls into them are C calls.
if TYPE_CHECKING or not __name__.endswith("_c"):
    from . import codec, envelope, guards, replies, wrappers
else:
    from . import codec_c as codec
    from . import envelope_c as envelope
    from . import guards_c as guards
    from . import replies_c as replies
    from . import wrappers_c as wrappers

__all__ = ("Pipeline",)

_LARGE = LARGE  # the `.pxd` knows its type


class Pipeline(replies.Replies):
    """The way of every request of one application.

    process       a router's own `process_request` (request → bytes or an awaitable), or None to route with `trie`
    middlewares   instances; their `process_request(request, view)` runs in order, sync or async
    logs          somebody wants to know, of every request, in which context it ended: `Request._ended_in`
    onion         one of `middlewares` is called with (request, call_next) instead
    debug, report, recoveries    see `Replies`
    threads       runs the handlers that block: (function, arguments) → an awaitable of its result; none: in the loop
    overrides     dependencies that others take the place of, for tests
    dependencies  what runs before those of every route for its effect
    max_event_name    bytes of JSON that an `event_name` may have, 0 for any number
    """

    def __init__(
        self,
        trie: Trie | None = None,
        *,
        process: Callable[[Request], Any] | None = None,
        middlewares: Iterable[Any] = (),
        onion: bool = False,
        logs: bool = False,
        debug: bool = False,
        report: Callable[[Request, BaseException], None] | None = None,
        threads: Callable[..., Any] | None = None,
        recoveries: Iterable[dict[type, Any]] = (),
        overrides: dict[Any, Any] | None = None,
        dependencies: tuple[Any, ...] = (),
        max_event_name: int = 0,
    ) -> None:
        super().__init__(debug=debug, report=report, recoveries=recoveries)
        self.trie = trie
        self.process = process
        self._own = tuple(middlewares)
        self._turns: dict[Plan, tuple[Any, ...]] = {}  # plans with middlewares → theirs, with the application's
        self.middlewares = in_turn(self._own)
        self.known_at = known_at(self.middlewares)
        at = self.known_at or len(self.middlewares)
        self.steps = (*self.middlewares[:at], None, *self.middlewares[at:])  # None: the plan's guards are asked
        self.onion = onion
        self.logs = logs
        self.guarded = bool(self.middlewares)
        self.threads = threads
        self.overrides = {} if overrides is None else overrides
        self.dependencies = dependencies
        self.max_event_name = max_event_name
        self._plans: dict[Plan, Plan] = {}  # those of the router → with `dependencies`

    def handle(self, payload: bytes, is_binary: bool, connection: Any = None) -> bytes | Awaitable[bytes]:
        """Give the payload that answers `payload`, in the same form, or a coroutine of it."""
        request = envelope.read(payload, is_binary, connection)
        rendered = self.respond(request)
        if type(rendered) is bytes:
            return codec.encode(rendered, request._form)
        return self._encode_later(request, rendered)

    def adopt(self, request: Request, form: int, connection: Any, payload: bytes = b"") -> Request:
        """Give a request that the user's own code made of `payload`, ready for `respond`."""
        if request.connection is None:
            request.connection = connection
            request._form = form
        request._size = len(payload)
        request._holds = envelope.holds_of(payload, request._form)
        if request._id is not None:
            wrappers.check_id(request)
        return request

    def respond(self, request: Request) -> bytes | Coroutine[Any, Any, bytes]:
        """Give the rendered reply (not yet base64), or a coroutine of it. Raises KeyboardInterrupt and nothing else."""
        answer = self.start(request)
        return self.rest(request, answer) if request._is_bare else answer

    def start(self, request: Request) -> Any:
        """As `respond`; or give the handler's own coroutine, and set `request._is_bare`.

        Such a coroutine may be gone through to its end, and what it returns be rendered with `complete`; for all that
        is not as simple, `rest` makes what `respond` gives.
        """
        if request._event_name is not None and not codec.is_short(request._event_name, self.max_event_name):
            self._refuse_event_name(request)
        if request._failure is not None:
            return self.refuse(request, request._failure)
        try:
            if self.process is None:
                return self._route(request, self.trie)
            request._pipeline = self
            rendered = self.process(request)
            if type(rendered) is bytes:
                return rendered
            return self._finish_foreign(request, rendered)
        except BaseException as exc:
            answer = self._recover(request, exc)
        return answer

    def _refuse_event_name(self, request: Request) -> None:
        """Take away an `event_name` that is too long, as `wrappers.check_id` does with an `id`."""
        request._event_name = None
        if request._failure is None:
            request._failure = InvalidMessage(
                f"`event_name` must be at most {self.max_event_name} bytes of JSON in {codec.MAX_LEVELS} levels"
            )

    def complete(self, request: Request, result: Any) -> bytes:
        """Give the reply that carries `result` of a bare coroutine, or raise what went wrong."""
        return self._render(request, request._plan, None, result)

    def rest(self, request: Request, bare: Any) -> Coroutine[Any, Any, bytes]:
        """Give a coroutine of the rendered reply, which awaits `bare`: what `start` gave, or what is left of it."""
        request._is_bare = False
        return self._finish(request, request._plan, None, bare)

    def route(self, request: Request, trie: Any) -> bytes | Coroutine[Any, Any, bytes]:
        """Route `request` with `trie` and give its rendered reply or a coroutine of it. Raises what went wrong."""
        answer = self._route(request, trie)
        return self.rest(request, answer) if request._is_bare else answer

    def _route(self, request: Request, trie: Any) -> Any:
        url = request._url
        if type(url) is not str or not url:
            raise _url_error(url)
        try:
            found = trie.match(request._method, url)
        except NotSpecifiedHandler as miss:
            raise missed(request, trie, miss, self.debug) from None
        plan: Plan = found[0]
        params = found[1]
        if self.dependencies:
            plan = self._depending(plan)
        request._plan = plan
        if request._text is not None and not plan.exact:
            request._text = None
        request._params = params
        if self.guarded or plan.guarded:
            return self._guard(request, plan, params)
        result = self._call(request, plan, params, None)
        kind = type(result)
        if kind is CoroutineType:
            request._is_bare = True
            return result
        if kind is not str and kind is not dict and replies.is_awaitable(result):
            return self._finish(request, plan, None, result)
        return self._render(request, plan, None, result)

    def _depending(self, plan: Plan) -> Plan:
        """Give `plan` with the dependencies of the application, worked out when it is first asked for."""
        depending = self._plans.get(plan)
        if depending is None:
            depending = self._plans[plan] = plan.route.plan(plan.method, self.dependencies)
        return depending

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

    def _guard(self, request: Request, plan: Plan, params: tuple[Any, ...]) -> bytes | Coroutine[Any, Any, bytes]:
        """Run middlewares and permissions, then the handler; stays in this call until something has to be awaited."""
        view = plan.view()
        if plan.provide is not None:
            return self._provide(request, plan, params, view)
        if self.onion or plan.middlewares:
            return self._finish(request, plan, view, self._peel(request, plan, params, view, None))
        # PERF: what needs no waiting is called here; `_gates` is a generator.
        for done, step in enumerate(self.steps, 1):
            pending = self._step(step, request, plan, view)
            if pending is not None and replies.is_awaitable(pending):
                gates = self._gates(request, plan, view, done, pending)
                return self._finish_guarded(request, plan, params, view, gates, next(gates))
        result = self._call_guarded(request, plan, params, view)
        if replies.is_awaitable(result):
            return self._finish(request, plan, view, result)
        return self._render(request, plan, view, result)

    def _provide(
        self, request: Request, plan: Plan, params: tuple[Any, ...], view: Any
    ) -> bytes | Coroutine[Any, Any, bytes]:
        """As `_guard`, for a handler that has dependencies."""
        if plan.threaded:
            asker.set(id(request.connection))
        scope = plan.provide.scope(self.threads, self.overrides)
        rendered = begin(self._scoped(request, plan, params, view, scope), scope.waits)
        return rendered if type(rendered) is bytes else self._finish_foreign(request, rendered)

    def _scoped(
        self, request: Request, plan: Plan, params: tuple[Any, ...], view: Any, scope: Any
    ) -> Generator[Any, Any, bytes]:
        """Give the reply; what the request depends on lives until it is rendered. Yields as `_gates`."""
        try:
            if self.onion or plan.middlewares:
                result = yield self._peel(request, plan, params, view, scope)
            else:
                if self.guarded or plan.closed:
                    yield from self._gates(request, plan, view)
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

    def _call_guarded(self, request: Request, plan: Plan, params: tuple[str, ...], view: Any) -> Any:
        """Call the handler where its plan says: here or in a thread."""
        if plan.threaded and self.threads is not None:
            asker.set(id(request.connection))
            return self.threads(self._call_in_thread, request, plan, params, view)
        return self._call(request, plan, params, view)

    def _call_in_thread(self, request: Request, plan: Plan, params: tuple[str, ...], view: Any) -> Any:
        try:
            return self._call(request, plan, params, view)
        finally:
            request._ended_in = copy_context()  # that of this thread

    def _step(self, step: Any, request: Request, plan: Plan, view: Any) -> Any:
        """Do one of `steps`; give what it may have to wait for."""
        if step is None:
            return guards.ask(plan, request, view, self.report)
        return step.process_request(request, view)

    def _gates(
        self, request: Request, plan: Plan, view: Any, done: int = 0, pending: Any = None
    ) -> Generator[Any, Any, None]:
        """Run what stands before the handler; yields each awaitable and takes its outcome back.

        `done` steps have been made, the last of which gave `pending`.
        """
        if pending is not None:
            outcome = yield pending
            if type(outcome) is CoroutineType:
                yield finished(outcome)
        for step in self.steps[done:]:
            outcome = self._step(step, request, plan, view)
            if replies.is_awaitable(outcome):
                outcome = yield outcome
                if type(outcome) is CoroutineType:
                    yield finished(outcome)

    async def _finish_guarded(
        self, request: Request, plan: Plan, params: tuple[Any, ...], view: Any, gates: Any, pending: Any
    ) -> bytes:
        try:
            await drive(gates, pending)
            result = self._call_guarded(request, plan, params, view)
            if replies.is_awaitable(result):
                result = await result
            return self._render(request, plan, view, result)
        except BaseException as exc:
            answer = self._recover_unless_cancelled(request, exc)
        return answer if isinstance(answer, bytes) else await answer

    async def _peel(self, request: Request, plan: Plan, params: tuple[str, ...], view: Any, scope: Any) -> Any:
        """Give what the middlewares make of the handler's result."""

        async def core(request: Request) -> wrappers.Response:
            request._ended_in = None  # a middleware may ask more than once
            if scope is not None:
                args, kwargs = self._call(request, plan, params, view)
                return _response(await drive(scope.call(request, args, kwargs)))
            result = self._call_guarded(request, plan, params, view)
            if replies.is_awaitable(result):
                result = await result
            return _response(result)

        guard = guards.Guard(plan, self.report)
        around = self._around(plan, guard)
        given = await Layer(around, view, core, _response, self.logs)(request)
        if guard.asked or not plan.closed:
            return given

        async def answered(request: Request) -> Any:
            return given

        # One of them has answered by itself, before the user was known: nobody gets that who may not pass.
        asking = tuple(m for m in around if m is guard or authenticates(m))
        given = await Layer(asking, view, answered, _response)(request)
        if not guard.asked:  # by one that authenticates
            await call(guard.process_request, request, view)
        return given

    def _around(self, plan: Plan, guard: Any) -> tuple[Any, ...]:
        """Give all middlewares, and `guard` where the user is known: behind the last that authenticates, or all."""
        middlewares = self._all_of(plan)
        at = self.known_at or len(middlewares)
        if plan.known_at:
            at = len(self.middlewares) + plan.known_at
        return (*middlewares[:at], guard, *middlewares[at:])

    def _all_of(self, plan: Plan) -> tuple[Any, ...]:
        """Give the middlewares around the handler of `plan`: the application's, then its own."""
        if not plan.middlewares:
            return self.middlewares
        found = self._turns.get(plan)
        if found is None:
            found = self._turns[plan] = in_turn(self._own + plan.middlewares)
        return found

    async def _finish(self, request: Request, plan: Plan, view: Any, awaitable: Any) -> bytes:
        try:
            return self._render(request, plan, view, await awaitable)
        except BaseException as exc:
            answer = self._recover_unless_cancelled(request, exc)
        return answer if isinstance(answer, bytes) else await answer

    async def _finish_foreign(self, request: Request, awaitable: Any) -> bytes:
        """Wait for what a router's own `process_request` gave."""
        try:
            rendered = await awaitable if replies.is_awaitable(awaitable) else awaitable
            if not isinstance(rendered, (bytes, bytearray, memoryview)):
                raise TypeError(f"process_request must give bytes, got {type(rendered).__qualname__}")
            return bytes(rendered)
        except BaseException as exc:
            answer = self._recover_unless_cancelled(request, exc)
        return answer if isinstance(answer, bytes) else await answer

    async def _encode_later(self, request: Request, rendered: Any) -> bytes:
        return codec.encode(await rendered, request.form)


def _response(result: Any) -> wrappers.Response:
    return result if isinstance(result, wrappers.Response) else wrappers.Response(result)


def _url_error(url: Any) -> BaseAPIException:
    return IncorrectURL() if url else NotSpecifiedURL()
