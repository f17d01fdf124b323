"""Requests of one connection in, replies out: each exactly once, those without `id` in order.

`Connection` stands between the flow of a connection and the pipeline of its application, and knows tasks.
"""

from __future__ import annotations

import time  # the compiled form has C functions by this name
from asyncio import CancelledError, current_task
from collections import deque
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

from aiorest_ws.exceptions import HandlerFailed, RequestTimeout, ServerStopping, TooManyRequests

if TYPE_CHECKING or not __name__.endswith("_c"):
    from . import eager, flow
    from .tasks import Begun, Resumed, raised
else:
    from . import eager_c as eager
    from . import flow_c as flow
    from .tasks_c import Begun, Resumed, raised

if TYPE_CHECKING:
    from asyncio import Task
    from collections.abc import Coroutine

    from .eager import Lookout
    from .tasks import SpareTasks
    from .wrappers import Request

__all__ = ("Connection",)

_OPEN = 3
_CLOSING = 2


class Connection(flow.Flow):
    """Runs the requests of one connection.

    Requests without `id` form a lane: one runs, the others wait. Requests with `id` run beside it.

    _request_timeout    seconds that a handler may take, 0 for any time
    _rate               decides with `allow()` about every message, or None
    _stopping           what comes from now on is refused
    _unsent             replies that came too late for their client
    _left, _left_at, _acked, _silent_since, _pinged, _idle_since, _asked    what the watch remembers of this one
    _observes           somebody wants to know of each reply: one of the next two is set
    _logs_replies       the subclass gets every request that has been answered as `_log_reply`
    _meters             count every request that has been answered, or None
    """

    __slots__ = (  # or an idle connection would hold a dict of 1.5 KiB
        "_acked",
        "_asked",
        "_dropped",
        "_idle_since",
        "_lane",
        "_left",
        "_left_at",
        "_logs_replies",
        "_meters",
        "_observes",
        "_pinged",
        "_pipeline",
        "_rate",
        "_request_timeout",
        "_silent_since",
        "_spare_tasks",
        "_stopping",
        "_tasks",
        "_unsent",
    )

    def __init__(self) -> None:
        super().__init__()
        self._observes = False
        self._logs_replies = False
        self._meters: Any = None
        self._pipeline: Any = None
        self._spare_tasks: SpareTasks | None = None
        self._request_timeout = 0.0
        self._rate: Any = None
        self._stopping = False
        self._unsent = 0
        self._left = 0
        self._left_at = 0.0
        self._acked = 0
        self._silent_since = 0.0
        self._pinged = False
        self._idle_since = 0.0
        self._asked = 0
        self._dropped = False
        self._lane: deque[Request] | None = None  # None: free; else what waits for the one that runs
        self._tasks: dict[Task[None], Request] | None = None

    @property
    def tasks(self) -> frozenset[Task[None]]:
        """The handlers that are running."""
        return frozenset(self._tasks or ())

    @property
    def survivors(self) -> frozenset[Task[None]]:
        """Those of them that go on when the connection is gone."""
        tasks = self._tasks or {}
        return frozenset(task for task, of in tasks.items() if of._live is not None and of._live.survives)

    def data_received(self, data: bytes) -> None:
        """Take what has arrived. Called by the transport."""
        context = self._context
        if context is None or self._feeding:  # a handler ran the loop: it is in its context
            self._arrived(data)
        elif eager.enter(context):
            # PERF: `context.run` would take a bound method, and three times the instructions.
            try:
                self._arrived(data)
            finally:
                eager.leave(context)
        else:
            context.run(self._arrived_in_context, data)

    def _arrived_in_context(self, data: bytes) -> None:
        self._arrived(data)

    def _arrived(self, data: bytes) -> None:
        if self.state >= _CLOSING:
            self._take_in(data)
        else:
            self._on_early(data)

    # What the subclass does

    def _on_early(self, data: bytes) -> None:
        """Take bytes that come before the connection is open, or after it is closed."""

    def _give(self, request: Request, rendered: bytes) -> None:
        """Send a rendered reply where none leaves here: a compiled subclass does, or Python's `_send_reply`."""
        self._send_reply(request, rendered)

    def _send_reply(self, request: Request, rendered: bytes) -> None:
        """Send a rendered reply."""

    def _log_reply(self, request: Request, size: int, seconds: float) -> None:
        """Take note of a request that has been answered, with so many bytes, after so many seconds."""

    # Requests

    def _receive(self, request: Request) -> None:
        """Answer `request`, now or when its turn comes."""
        self._serve_request(request)

    def _serve_request(self, request: Request) -> None:
        if self._observes:
            request._started = time.perf_counter()
        if self._stopping:
            request._failure = ServerStopping()
        elif self._rate is not None and not self._rate.allow():
            request._failure = TooManyRequests()
        if request._id is None and self._lane is not None:
            self._lane.append(request)
            self._count(request)
        elif self._start(request):
            self._count(request)

    def _stop(self) -> None:
        """Drop what waits: the connection is closing. What runs goes on, and reading: a close frame is to come."""
        while self._lane:
            self._discount(self._lane.popleft())
        self._go_on(flow.FULL)

    def _drop(self) -> None:
        """Drop what waits and cancel what runs: the connection is gone. What is done once goes on."""
        self._dropped = True
        self._lane = None
        for task, request in (self._tasks or {}).items():
            if request._live is None or not request._live.leave():
                # Not at once: a task that has not begun would drop its handler's coroutine without having awaited it.
                self._loop.call_soon(task.cancel)

    def _start(self, request: Request) -> bool:
        """Answer `request` if that needs no waiting, else start a task for it and tell so."""
        answer = self._pipeline.start(request)
        if type(answer) is bytes:
            self._reply(request, answer)
            return False
        return self._begin(request, answer)

    def _begin(self, request: Request, pending: Any) -> bool:
        """Make the first step of `pending`; give it a task, and tell so, unless that was all."""
        spare_tasks = self._spare_tasks
        spare = None if spare_tasks is None else spare_tasks.take()
        if spare_tasks is None or spare is None:
            if request._is_bare:
                pending = self._pipeline.rest(request, pending)
            task = self._loop.create_task(self._run(request, pending, copy_context()))
        else:
            context = eager.copy_context()
            answer: Any = b""
            try:
                answer = self._first_step(request, pending, context, spare.lookout)
            except CancelledError:
                answer = self._pipeline.refuse(request, HandlerFailed())
            finally:
                if type(answer) is bytes:
                    spare_tasks.put_back(spare)
            if type(answer) is bytes:
                if self._logs_replies and request._ended_in is None:
                    request._ended_in = context
                self._reply(request, answer)
                spare_tasks.prepare()
                return False
            task = spare.adopt(answer, self._run(request, answer, copy_context()))
        if spare_tasks is not None:
            spare_tasks.prepare()
        if task.done():
            return True  # a task factory started it at once, and `_finish` was that quick
        if request._id is None and self._lane is None:
            self._lane = deque()
        self._keep(task, request)
        return True

    def _keep(self, task: Task[None], request: Request) -> None:
        if self._tasks is None:
            self._tasks = {}
        self._tasks[task] = request
        task.add_done_callback(self._tasks.pop)

    def _first_step(self, request: Request, pending: Any, context: Context, lookout: Lookout) -> Any:
        """Give the rendered reply, if one step was all, else the `Resumed` that goes on from there."""
        if request._is_bare:
            # PERF: few handlers wait; the others are spared a coroutine around theirs (a third of what they cost).
            try:
                done, result = eager.first_step(pending, context, lookout)
                if done:
                    return self._pipeline.complete(request, result)
                pending = Begun(pending, result)
            except BaseException as exc:
                pending = raised(exc)
            pending = self._pipeline.rest(request, pending)
        done, result = eager.first_step(pending, context, lookout)
        return result if done else Resumed(pending, context, result)

    async def _run(self, request: Request, pending: Any, context: Context) -> None:
        timer = None
        if self._request_timeout:
            if self._logs_replies and type(pending) is not Resumed:
                pending = Resumed(pending, copy_context(), None, False)  # what it sets is seen if its time is over
            where = _context_of(pending)
            timer = self._loop.call_later(self._request_timeout, self._time_out, request, current_task(), context=where)
        try:
            rendered = await pending
        except CancelledError:
            if self._dropped:
                self._end(request)
                raise
            # The handler cancelled itself; its client still waits for a reply.
            rendered = self._pipeline.refuse(request, HandlerFailed())
        finally:
            if timer is not None:
                timer.cancel()
        if self._dropped:
            self._end(request)
            return
        if self._logs_replies and request._ended_in is None:
            request._ended_in = _context_of(pending)
        # What comes next is to see nothing of this handler's context, nor of its task.
        running = eager.go_out(self._loop)
        try:
            context.run(self._finish, request, rendered)
        finally:
            eager.go_in(self._loop, running)

    def _end(self, request: Request) -> None:
        """Take note that `request` has ended, which nobody is to be answered any more."""
        request._is_over = True
        if request._live is not None:
            request._live.end(request)

    def _time_out(self, request: Request, task: Task[None]) -> None:
        """Answer in the place of a handler that takes too long. It is cancelled; until it has ended it is in flight."""
        if request._failure is not None:
            return
        if not self._dropped:
            self._answer_with(request, RequestTimeout())
        elif request._live is not None and request._live.survives:
            request._failure = RequestTimeout()
            request._live.late(request)
        else:
            return  # it was cancelled
        task.cancel()

    def _answer_with(self, request: Request, exc: Exception) -> None:
        """Answer `request` in the place of what it waits for, which is not wanted any more, and has not ended."""
        request._failure = exc
        if request._live is not None:
            request._live.late(request)
        self._reply(request, self._pipeline.refuse(request, exc))
        request._is_over = False

    def _finish(self, request: Request, rendered: bytes) -> None:
        """Send a reply that took time, with the others of this turn, and go on with what waited for it."""
        self._flush_soon()
        if request._failure is None:
            self._reply(request, rendered)
        else:
            self._end(request)
        self._discount(request)
        if request._id is None:
            self._next()
        if not self._is_full():
            self._go_on(flow.FULL)

    def put_off(self, request: Request, coming: Coroutine[Any, Any, bytes]) -> None:
        """Have `request`, which has an `id`, in flight until its reply has come."""
        self._count(request)
        self._keep(self._loop.create_task(self._reply_late(request, coming), context=Context()), request)

    async def _reply_late(self, request: Request, coming: Coroutine[Any, Any, bytes]) -> None:
        rendered = await coming
        if not self._dropped:
            self._finish(request, rendered)

    def _next(self) -> None:
        """Answer what waits in the lane, up to the next request that takes time, while the client reads."""
        while self._lane and not self._transport.is_closing():
            if self._choked:
                self._stalled = True
                return
            request = self._lane.popleft()
            if self._start(request):
                return
            self._discount(request)
        self._lane = None

    def _reply(self, request: Request, rendered: bytes) -> None:
        request._is_over = True
        if request._live is not None:
            rendered = request._live.settle(self, request, rendered)
            if rendered is None:
                return  # it was put off
        if self.state != _OPEN:
            self._unsent += 1
            return
        if self._writes_replies:
            form = request._form
            opcode = 2 if form & 2 else 1
            if form & 1:
                self._put_base64(rendered, opcode)
            else:
                self._put(rendered, opcode)
        else:
            self._give(request, rendered)
        if self._observes:
            self._observe(request, len(rendered))
        if request._ended_in is not None:
            request._ended_in = None  # it may hold the request

    def _observe(self, request: Request, size: int) -> None:
        seconds = time.perf_counter() - request._started
        if self._meters is not None:
            counted = request._plan if request._live is None else request._live.counted or request._plan
            self._meters.add(counted, request._status, seconds)
        if self._logs_replies:
            if request._form & 1:
                size = (size + 2) // 3 * 4  # in base64
            self._log_reply(request, size, seconds)


def _context_of(pending: Any) -> Context:
    """Give the context in which `pending`, which this task awaits, goes on."""
    return pending._context if type(pending) is Resumed else copy_context()
