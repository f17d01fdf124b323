"""Payload in, payload out: decode, wrap, route, call, render, encode.

Sans-IO: it never touches a transport. A reply that is ready comes back as bytes, one that is not as a coroutine.
Whatever happens on the way becomes the one reply of its request.
"""

from __future__ import annotations

from asyncio import shield
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from aiorest_ws.exceptions import IncorrectURL, NotSpecifiedHandler, NotSpecifiedURL
from aiorest_ws.routing.misses import OWN_VERBS, missed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable
    from typing import Unpack

    from .plan import Plan
    from .replies import Answering
    from .trie import Trie
    from .wrappers import Request

# Modules, not names: `pipeline_c.pxd` cimports the compiled ones under these names, and calls into them are C calls.
if TYPE_CHECKING or not __name__.endswith("_c"):
    from . import codec, envelope, passage, replies, wrappers
    from . import plan as plans
else:
    from . import codec_c as codec
    from . import envelope_c as envelope
    from . import passage_c as passage
    from . import plan_c as plans
    from . import replies_c as replies
    from . import wrappers_c as wrappers

__all__ = ("Pipeline",)


class Pipeline(passage.Passage):
    """The way of every request of one application.

    process       a router's own `process_request` (request → bytes or an awaitable), or None to route with `trie`
    middlewares   instances around every handler: their `process_request(request, view)` runs in order, sync or async;
                  one without it is called with (request, call_next) instead
    dependencies  what runs before those of every route for its effect
    max_event_name    bytes of JSON that an `event_name` may have, 0 for any number
    logs, threads, overrides    see `Passage`
    keys          does once what comes with a key, an `idempotency.Keys`; None: a key means nothing
    live          answers SUBSCRIBE and its like, a `realtime.feeds.Feeds`; None: they are no verbs
    answering     options of `Replies`
    """

    def __init__(
        self,
        trie: Trie | None = None,
        *,
        process: Callable[[Request], Any] | None = None,
        middlewares: Iterable[Any] = (),
        dependencies: tuple[Any, ...] = (),
        max_event_name: int = 0,
        logs: bool = False,
        threads: Callable[..., Any] | None = None,
        overrides: dict[Any, Any] | None = None,
        live: Any = None,
        keys: Any = None,
        **answering: Unpack[Answering],
    ) -> None:
        super().__init__(**answering)
        self.trie = trie
        self.process = process
        self.middlewares = tuple(middlewares)
        self.dependencies = dependencies
        self.max_event_name = max_event_name
        self.logs = logs
        self.threads = threads
        self.overrides = {} if overrides is None else overrides
        self.live = live
        self.keys = keys
        self._adds = bool(self.middlewares or dependencies)
        self._plans: dict[Plan, Plan] = {}  # those of the router → with `middlewares` and `dependencies`

    def handle(self, payload: bytes, is_binary: bool, connection: Any = None) -> bytes | Awaitable[bytes]:
        """Give the payload that answers `payload`, in the same form, or a coroutine of it."""
        request = envelope.read(payload, is_binary, connection)
        rendered = self.respond(request)
        return codec.encode(rendered, request._form) if type(rendered) is bytes else self._encoded(request, rendered)

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
        if request._event_name is not None:
            replies.check_event_name(request, self.max_event_name)
        if request._failure is not None:
            return self.refuse(request, request._failure)
        try:
            if self.process is None:
                return self._route(request, self.trie)
            if self._is_of_live(request):
                answer = self.live.announce(self, request, self.trie)
                if answer is not None:
                    return answer
            return self._process(request)
        except BaseException as exc:
            answer = self._recover(request, exc)
        return answer

    def _process(self, request: Request) -> bytes | Coroutine[Any, Any, bytes]:
        """Have a router's own `process_request` answer."""
        assert self.process is not None
        request._pipeline = self
        return self._answer(request, None, None, self.process(request))

    def complete(self, request: Request, result: Any) -> bytes:
        """Give the reply that carries `result` of a bare coroutine, or raise what went wrong."""
        return self._render(request, request._plan, None, result)

    def rest(self, request: Request, bare: Any) -> Coroutine[Any, Any, bytes]:
        """Give a coroutine of the rendered reply, which awaits `bare`: what `start` gave, or what is left of it."""
        request._is_bare = False
        return self._finish(request, request._plan, None, bare)

    def route(self, request: Request, trie: Any) -> bytes | Coroutine[Any, Any, bytes]:
        """Route `request` with `trie` and give its rendered reply or a coroutine of it. Raises what went wrong."""
        over_http = getattr(request.connection, "over_http", None)
        found = None if over_http is None else over_http.found(self, request, trie)
        if found is not None:
            answer = self._follow(request, found[0], found[1])
        elif request._live is not None and request._live.is_announced:
            answer = self.live.subscribe(self, request, trie)
        else:
            answer = self._route(request, trie)
        return self.rest(request, answer) if request._is_bare else answer

    def _route(self, request: Request, trie: Any) -> Any:
        # PERF: the trie would say by an exception that no route takes it, a tenth of what it costs to come back.
        if request._id is not None and request._method == "SUBSCRIBE" and self.live is not None:
            return self.live.answer(self, request, trie)
        url = request._url
        found = None
        if type(url) is str and url:
            try:
                found = trie.match(request._method, url)
            except NotSpecifiedHandler as miss:
                # PERF: looked at here, where nothing else comes: no route answers one of them.
                if not self._is_of_live(request):
                    raise missed(request, trie, miss, self.debug) from None
        elif not self._is_of_live(request):
            raise IncorrectURL() if url else NotSpecifiedURL()
        if found is None:
            return self.live.answer(self, request, trie)
        plan: Plan = found[0]
        return self._follow(request, self._own(plan) if self._adds else plan, found[1])

    def _is_of_live(self, request: Request) -> bool:
        """Tell whether its method is a verb of subscriptions, in any letters; it is written as that then."""
        if self.live is None or type(request._method) is not str:
            return False
        verb = request._method.strip(" ").upper()
        if verb not in OWN_VERBS:
            return False
        request._method = verb
        return True

    def find(self, trie: Any, method: str, url: str) -> tuple[Plan, Any]:
        """Give the plan for `method` and `url`, and the path parameters. Raises NotSpecifiedHandler."""
        plan, params = trie.match(method, url)
        return self._own(plan) if self._adds else plan, params

    def run(self, request: Request, plan: Plan, params: Any) -> bytes | Coroutine[Any, Any, bytes]:
        """As `respond`, for a request of which it is known where it leads; a router's own way is gone again."""
        try:
            if self.process is None or plan.impersonal:
                answer = self.go_on(request, plan, params)
            else:
                answer = self._process(request)
        except BaseException as exc:
            answer = self._recover(request, exc)
        return self.rest(request, answer) if request._is_bare else answer

    def say(self, request: Request, data: Any) -> bytes:
        """Give the reply that carries `data`, of the framework's own."""
        return envelope.render(request, data)

    def go_on(self, request: Request, plan: Plan, params: Any) -> Any:
        """Go on with what a request was routed to; gives what `start` does. Raises what went wrong."""
        return self._follow(request, plan, params)

    def go_on_after(self, coming: Any, request: Request, plan: Plan, params: Any) -> Coroutine[Any, Any, bytes]:
        """As `go_on`, once the future `coming` is done; what it raises is what went wrong."""
        return self._finish(request, None, None, self._wait_for(coming, request, plan, params))

    async def _wait_for(self, coming: Any, request: Request, plan: Plan, params: Any) -> bytes:
        await shield(coming)
        answer = self._whole(request, plan, params)
        return answer if type(answer) is bytes else await answer

    def _whole(self, request: Request, plan: Plan, params: Any) -> Any:
        """As `go_on`; but what it gives is no bare coroutine."""
        answer = self.go_on(request, plan, params)
        return self.rest(request, answer) if request._is_bare else answer

    def _follow(self, request: Request, plan: Plan, params: Any) -> Any:
        request._plan = plan
        if request._text is not None and not plan.exact:
            request._text = None
        request._params = params
        if plan.writes and request._envelope is not None and self.keys is not None:
            key = request._envelope.get("idempotency_key")
            if key is not None:
                return self._once(request, plan, params, key)
        if plan.guarded:
            return self._guard(request, plan, params)
        result = plans.call(plan, request, params, None)
        kind = type(result)
        if kind is str or kind is dict:  # PERF: most give one of these
            return self._render(request, plan, None, result)
        if kind is CoroutineType:
            request._is_bare = True
            return result
        return self._answer(request, plan, None, result)

    def _once(self, request: Request, plan: Plan, params: Any, key: Any) -> Any:
        """Have it done once, however often it is asked for under this key."""
        if plan.watched is not None:
            request._live = plan.watched.begin(self, request, params)
        once = request._live = self.keys.begin(self, request, plan, key)
        return once.through(request, self._guard(request, plan, params))

    def _own(self, plan: Plan) -> Plan:
        """Give `plan` with what the application adds to it, worked out when it is first asked for."""
        own = self._plans.get(plan)
        if own is None:
            own = self._plans[plan] = plan.inside(self.middlewares, self.dependencies)
        return own

    async def _encoded(self, request: Request, rendered: Any) -> bytes:
        return codec.encode(await rendered, request.form)
