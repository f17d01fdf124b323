"""What a handler gave, or what went wrong → the rendered reply, not yet base64."""

from __future__ import annotations

from asyncio import CancelledError, current_task
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from aiorest_ws._speedups.unsendable import unsendable
from aiorest_ws.callables import calls
from aiorest_ws.callables.failures import ASTRAY, sole
from aiorest_ws.exceptions import BaseAPIException, HandlerFailed, IncorrectArgument, InvalidMessage, SerializerError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from typing import TypedDict

    from .plan import Plan
    from .wrappers import Request

    Answer = bytes | Coroutine[Any, Any, bytes]

    class Answering(TypedDict, total=False):
        """Options of `Replies`."""

        debug: bool
        report: Callable[[Request, BaseException], None] | None
        recoveries: Iterable[dict[type, Any]]


# Modules, not names: `replies_c.pxd` cimports the compiled ones under these names, and calls into them are C calls.
if TYPE_CHECKING or not __name__.endswith("_c"):
    from . import codec, envelope, wrappers
else:
    from . import codec_c as codec
    from . import envelope_c as envelope
    from . import wrappers_c as wrappers

__all__ = ("Replies", "check_event_name", "is_awaitable", "rendered")

# What a handler usually returns, and never an awaitable.
_PLAIN_TYPES = frozenset((str, dict, list, bytes, int, float, bool, tuple, type(None), wrappers.Response))

_UNSENT = "the handler's result cannot be encoded"


class Replies:
    """Makes the replies of one application.

    debug         show the traceback of a failed handler to the client
    report        called once with (request, exception) for each unexpected exception
    recoveries    exception handlers: dicts of exception class → (request, exception) → what to reply, or an awaitable
    """

    def __init__(
        self,
        *,
        debug: bool = False,
        report: Callable[[Request, BaseException], None] | None = None,
        recoveries: Iterable[dict[type, Any]] = (),
    ) -> None:
        self.debug = debug
        self.report = report
        self.recoveries = tuple(recoveries)

    def _render(self, request: Request, plan: Plan, view: Any, result: Any) -> bytes:
        """Give the reply that carries `result`, unless somebody takes it instead."""
        live = request._live
        if live is not None:
            live.returned()
            if live.takes_value:
                taken: bytes = live.take(self, request, plan, view, result)
                return taken
        try:
            if plan.render is None and not isinstance(result, wrappers.Response):
                return envelope.render(request, result)
            whole = _body(request, result)
            return envelope.write_for(request, whole) if plan.render is None else plan.render(view, request, whole)
        except Exception as exc:
            if isinstance(exc, BaseAPIException) and not isinstance(exc, SerializerError):
                raise
            error = unsendable(_data_of(result), exc)
        raise error

    def carry(self, request: Request, plan: Plan, view: Any, result: Any) -> bytes:
        """Give the reply that carries `result`, for who has taken it."""
        live, request._live = request._live, None
        try:
            return self._render(request, plan, view, result)
        finally:
            request._live = live

    def value(self, request: Request, result: Any, form: int) -> bytes:
        """Give the data in `result`, as it is encoded in `form`."""
        try:
            data = result.content.get("data") if isinstance(result, wrappers.Response) else result
            return codec.write(data, form)
        except Exception as exc:
            error = unsendable(_data_of(result), exc)
        raise error

    def _answer(self, request: Request, plan: Plan | None, view: Any, result: Any) -> Answer:
        """Give the reply that carries `result`, or a coroutine of it where that has to be awaited; as `_finish`."""
        kind = type(result)  # PERF: most give one of these, and a look at their types costs a call
        if kind is not str and kind is not dict and is_awaitable(result):
            return self._finish(request, plan, view, result)
        return rendered(result) if plan is None else self._render(request, plan, view, result)

    async def _finish(self, request: Request, plan: Plan | None, view: Any, pending: Any) -> bytes:
        """Give the reply that carries what comes of `pending`; without a `plan` that is rendered already."""
        try:
            result = await _awaitable(pending)
            return rendered(result) if plan is None else self._render(request, plan, view, result)
        except BaseException as exc:
            _raise_if_cancelled(exc)
            answer = self._recover(request, exc)
        return answer if isinstance(answer, bytes) else await answer

    def refuse(self, request: Request, exc: BaseException) -> bytes:
        """Give the reply that says why `request` failed. Reports what is not the client's fault.

        A group of one exception stands for that exception.
        """
        whole, exc = exc, sole(exc)
        if isinstance(exc, KeyboardInterrupt):
            raise exc
        explained = _explained(request, exc)
        if explained is not exc:
            whole = exc = explained
        if not isinstance(exc, BaseAPIException) or isinstance(exc, SerializerError):
            if self.report is not None:
                self.report(request, whole)
            if not isinstance(exc, BaseAPIException):
                exc = HandlerFailed(_traceback(exc) if self.debug else None)
        detail = exc.detail
        if isinstance(exc, SerializerError) and exc.why:
            detail = self._unsent(request, exc)
        status = exc.status
        status = int(status) if isinstance(status, int) and 100 <= status <= 599 else HandlerFailed.status
        request._status = status
        plain = envelope.render_detail(request, detail)
        if plain is not None:
            return plain
        body = wrappers.body(request, {"detail": detail})
        # What cannot be encoded is left out, the detail first: the client gets its reply.
        for key, instead in (("detail", HandlerFailed.default_detail), ("event_name", None)):
            try:
                return codec.write(body, request._form)
            except Exception as raised:  # a value of the user's own may raise anything when it is encoded
                if key == "detail" and self.report is not None:
                    self.report(request, unsendable({"detail": detail}, raised))
                if key in body:
                    body[key] = instead
        return codec.write(body, request._form)

    def _unsent(self, request: Request, exc: SerializerError) -> str:
        """Give what a client is told of a result that cannot be encoded."""
        if self.debug:
            return f"{_UNSENT}: {exc.why}"
        # What runs for those who subscribe has no id of its own; they have.
        return SerializerError.default_detail if request._id is None and request._live is None else _UNSENT

    def _recover(self, request: Request, exc: BaseException) -> bytes | Coroutine[Any, Any, bytes]:
        """Give the reply of the exception handler that is there for `exc`, else the one that says what went wrong."""
        plan = request._plan
        if request._live is not None:
            request._live.failed(exc)
        recoveries = self.recoveries if plan is None else plan.recoveries + self.recoveries
        whole, exc = exc, sole(exc)
        if not recoveries or not isinstance(exc, Exception):
            return self._refused(request, whole)
        exc = _explained(request, exc)
        handler = _handler_for(exc, recoveries)
        if handler is None and isinstance(whole, ExceptionGroup):
            exc, handler = whole, _handler_for(whole, recoveries)  # who asks for groups gets one of one, too
        if handler is None:
            return self._refused(request, whole)
        request._status = 200
        try:
            result = handler(request, exc)
            if is_awaitable(result):
                return self._finish_recovery(request, result)
            return self._recovered(request, result)
        except BaseException as raised:
            refusal = self._refused(request, raised)
        return refusal

    def _refused(self, request: Request, exc: BaseException) -> bytes:
        """Give the reply that says why `request` failed, or raise that where somebody waits for it instead."""
        if request._live is not None and request._live.raises:
            raise exc
        return self.refuse(request, exc)

    async def _finish_recovery(self, request: Request, awaitable: Any) -> bytes:
        try:
            return self._recovered(request, await calls.finished(awaitable))
        except BaseException as exc:
            _raise_if_cancelled(exc)
            refusal = self._refused(request, exc)
        return refusal

    def _recovered(self, request: Request, result: Any) -> bytes:
        """Give the reply that carries what an exception handler gave, plain as every error."""
        if isinstance(result, BaseException):
            raise result
        if request._live is not None:
            taken = request._live.recovered(self, request, result)
            if taken is not None:
                return taken  # type: ignore[no-any-return]
        try:
            if isinstance(result, wrappers.Response):
                return codec.write(_body(request, result), request._form)
            return envelope.render(request, result)
        except Exception as exc:
            error = unsendable(_data_of(result), exc)
        raise error


def _body(request: Request, result: Any) -> dict[str, Any]:
    if not isinstance(result, wrappers.Response):
        return wrappers.body(request, {"data": result})
    request._status = result.status
    content = dict(result.content) or {"data": None}
    if len(content) > 1 and getattr(request.connection, "over_http", None) is not None:
        name = "data" if "data" in content else "detail"  # which alone is the body there
        content = {name: content.get(name)}
    return wrappers.body(request, content)


def check_event_name(request: Request, most: int) -> None:
    """Take away an `event_name` of more than `most` bytes of JSON, as `wrappers.check_id` does with an `id`."""
    if not codec.is_short(request._event_name, most):
        request._event_name = None
        if request._failure is None:
            request._failure = InvalidMessage(
                f"`event_name` must be at most {most} bytes of JSON in {codec.MAX_LEVELS} levels"
            )


def rendered(given: Any) -> bytes:
    """Give what a router's own `process_request` gave, as bytes."""
    if type(given) is not bytes and not isinstance(given, (bytes, bytearray, memoryview)):
        raise TypeError(f"process_request must give bytes, got {type(given).__qualname__}")
    return bytes(given)


def _data_of(result: Any) -> Any:
    if not isinstance(result, wrappers.Response):
        return result
    return result.content["data"] if result.content.keys() == {"data"} else result.content


def is_awaitable(value: Any) -> bool:
    """As `calls.is_awaitable`, without its call for what handlers usually give."""
    kind = type(value)
    return kind is CoroutineType or (kind not in _PLAIN_TYPES and calls.is_awaitable(value))


def _awaitable(value: Any) -> Any:
    """As `calls.awaitable_of`, without its call for a coroutine."""
    return value if type(value) is CoroutineType else calls.awaitable_of(value)


def _raise_if_cancelled(exc: BaseException) -> None:
    """Raise `exc` if it is the end of the task in which a request is answered."""
    if isinstance(exc, (CancelledError, GeneratorExit)):
        # Without a task this coroutine is being closed, by a loop that is torn down.
        task = current_task()
        if task is None or task.cancelling():
            raise exc


def _explained(request: Request, exc: BaseException) -> BaseException:
    """Give the fault in `args` that caused `exc`, raised by a decorator around a handler that they do not fit.

    What is missing there, and is in `data`, is said to be.
    """
    plan = request._plan
    if isinstance(exc, TypeError) and plan is not None and plan.explain is not None:
        exc = plan.explain(request.args, exc) or exc
    if isinstance(exc, IncorrectArgument) and exc.missing is not None:
        data = request._data
        if type(data) is dict and exc.missing in data:
            exc = IncorrectArgument(f"{exc.detail}{ASTRAY}")
    return exc


def _handler_for(exc: BaseException, recoveries: Any) -> Any:
    """Give the exception handler for `exc` in the first of `recoveries` that has one, the nearest class first.

    What the framework says itself is nobody's business who asks for no more than `Exception`.
    """
    for handlers in recoveries:
        for cls in type(exc).__mro__ if handlers else ():
            if cls in handlers:
                return handlers[cls]
            if cls is BaseAPIException:
                break
    return None


def _traceback(exc: BaseException) -> str:
    from traceback import format_exception

    return "".join(format_exception(exc))
