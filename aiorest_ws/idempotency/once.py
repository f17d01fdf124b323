"""A request with a key, on its way: whether its handler is called, and what is kept of what came of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiorest_ws._speedups import Response, set_status, write
from aiorest_ws.callables.failures import sole
from aiorest_ws.exceptions import BaseAPIException, RequestTimeout
from aiorest_ws.idempotency.exceptions import Replayed
from aiorest_ws.idempotency.ledgers import Outcome
from aiorest_ws.idempotency.replies import kept_of, reply, response, value_of
from aiorest_ws.realtime.messages import family_of, fitting
from aiorest_ws.realtime.roles import Role

if TYPE_CHECKING:
    from aiorest_ws.idempotency.keys import Keys
    from aiorest_ws.idempotency.ledgers import Asked, Sent

__all__ = ("Once",)

_PATIENCE = 1.0  # seconds that a reply waits until it is kept


class Once(Role):
    """Does a request once. What it means to subscriptions, it still does: that is `_inner`.

    What was done before stands in the place of the handler: guards are asked, and middlewares stand around it, but
    whatever they make of it, the client gets what the first got; unless they refuse it.
    """

    is_once = True
    takes_value = True

    def __init__(self, keys: Keys, pipeline: Any, request: Any, plan: Any, sent: Sent | BaseAPIException) -> None:
        self._keys = keys
        self._pipeline = pipeline
        self._plan = plan
        self._sent = sent
        self._inner: Any = request._live or Role()
        self._asked: Asked | None = None
        self._ledger: Any = None
        self._ticket: Any = None
        self._is_entered = False  # the handler was called
        self._has_left = False  # its client
        self._fresh: Outcome | None = None  # what the handler gave, unless something went wrong behind it
        self._old: Outcome | None = None  # what came of it before
        self._stand_in: Replayed | None = None
        self._late: Outcome | None = None  # what its client got instead

    # Whether the handler is called

    async def is_done(self, request: Any) -> bool:
        """Tell whether it was done before; waits where it is being done. Raises what is wrong with it."""
        if self._ticket is not None or self._old is not None:
            return self._old is not None  # a middleware may ask more than once
        if isinstance(self._sent, BaseAPIException):
            raise self._sent
        self._asked = self._keys.asked(request, self._sent, self._plan.method)
        self._ledger = self._keys.ledger
        found = await self._ledger.reserve(self._asked)
        if isinstance(found, Outcome):
            self._old = found
            return True
        self._ticket = found
        if self._has_left:
            self._let_go()
            await asyncio.get_running_loop().create_future()  # its cancellation is on its way
        return False

    def given(self) -> Response:
        """Give what the handler would, for those around it; or raise it."""
        assert self._old is not None
        if self._old.name == "detail":
            self._stand_in = Replayed(self._old.status, value_of(self._old))
            raise self._stand_in
        return response(self._old)

    def again(self, replies: Any, request: Any, plan: Any, view: Any) -> bytes:
        """Give the reply that carries what came of it before."""
        assert self._old is not None
        set_status(request, self._old.status)
        self.is_replayed = True
        if plan.render is not None and self._old.name == "data":
            rendered: bytes = replies.carry(request, plan, view, response(self._old))
            return rendered
        return reply(request, self._old, is_again=True)

    # What comes of it

    async def through(self, request: Any, answer: Any) -> bytes:
        """Give the reply, once what came of it is kept; `answer` is what the guards, and all behind them, give."""
        try:
            rendered: bytes = await answer
        except BaseException:  # raised again: it was cancelled
            self._let_go()
            raise
        if self._old is not None:
            return self.again(self._pipeline, request, self._plan, None) if self._stand_in is not None else rendered
        if self._ticket is not None:
            await self._conclude(request, rendered)
        return rendered

    async def _conclude(self, request: Any, rendered: bytes) -> None:
        self._come_home()
        if not self._is_entered:
            self._ledger.release(self._ticket)
            return
        outcome = kept_of(rendered, request) if self._fresh is None else self._fresh
        pending = self._ledger.keep(self._ticket, outcome)
        if pending is not None:
            await asyncio.wait([pending], timeout=_PATIENCE)

    def _let_go(self) -> None:
        """Take note that it was cancelled."""
        self._come_home()
        ticket, self._ticket = self._ticket, None
        if ticket is None:
            return
        if not self._is_entered:
            self._ledger.release(ticket)
        elif self._late is not None:
            self._ledger.keep(ticket, self._late)
        else:
            self._ledger.lose(ticket)

    def take(self, replies: Any, request: Any, plan: Any, view: Any, result: Any) -> bytes:
        if self._old is not None:
            return self.again(replies, request, plan, view)
        content = result.content if isinstance(result, Response) else {"data": result}
        name = "detail" if "detail" in content and "data" not in content else "data"
        value = fitting(replies.value(request, content.get(name), request.form))
        status = result.status if isinstance(result, Response) else 200
        outcome = Outcome(status, name, family_of(request.form), value)
        rendered: bytes
        if plan.render is None and not content.keys() - {"data"}:
            set_status(request, status)
            rendered = reply(request, outcome, is_again=False)
        else:
            rendered = replies.carry(request, plan, view, result)
        self._fresh = outcome
        return rendered

    def failed(self, exc: BaseException) -> None:
        self._fresh = None
        self.is_replayed = False
        if self._stand_in is None or sole(exc) is not self._stand_in:
            self._stand_in = self._old = None  # those around it refuse it, or have failed
        self._inner.failed(exc)

    def late(self, request: Any) -> None:
        self.is_replayed = False
        if self._is_entered:
            detail = write(RequestTimeout.default_detail, 0)
            self._late = Outcome(RequestTimeout.status, "detail", 0, detail)
        self._inner.late(request)

    # Its client

    def leave(self) -> bool:
        """Let it go on, if it is being done; unless there are too many already of who asks."""
        self._has_left = True
        if self._ticket is not None and self._asked is not None:
            self.survives = self._keys.takes_in(self._asked.who)
        return self.survives

    def _come_home(self) -> None:
        """Take note that it runs no longer."""
        if self.survives and self._asked is not None:
            self.survives = False
            self._keys.let_out(self._asked.who)

    # What it means to subscriptions

    def called(self) -> None:
        self._inner.called()

    def entered(self) -> None:
        self._is_entered = True
        self._inner.entered()

    def returned(self) -> None:
        self._inner.returned()

    def in_thread(self) -> None:
        self._inner.in_thread()

    def out_of_thread(self) -> None:
        self._inner.out_of_thread()

    def settle(self, connection: Any, request: Any, rendered: bytes) -> bytes | None:
        told: bytes | None = self._inner.settle(connection, request, rendered)
        return told

    def end(self, request: Any) -> None:
        self._inner.end(request)

    def add(self, url: str) -> None:
        """Say that `url` changes, too; see `Request.changed`."""
        if type(self._inner) is Role:
            if self._pipeline.live is None:
                return
            self._inner = self._pipeline.live.effect(self._pipeline)
        self._inner.add(url)
