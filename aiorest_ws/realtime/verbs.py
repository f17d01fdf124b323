"""SUBSCRIBE, UNSUBSCRIBE and PING: the verbs that are the framework's → what answers them (live.md §2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiorest_ws._speedups import set_method, weight_of
from aiorest_ws.exceptions import HTTPError, IncorrectURL, MethodNotAllowed, NotSpecifiedHandler, NotSpecifiedURL
from aiorest_ws.realtime.attempts import Attempt
from aiorest_ws.realtime.names import canonical_url, topic_of
from aiorest_ws.realtime.roles import Answered, Counted
from aiorest_ws.realtime.versions import parsed
from aiorest_ws.routing.misses import OWN_VERBS, missed

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiorest_ws.realtime.node import LocalNode

__all__ = ("announce", "answer", "subscribe")

_UNPROCESSABLE = 422
_SAID = {verb: Answered(Counted(None, verb)) for verb in OWN_VERBS}  # until it is known which route it is about
_HEAVIEST = 16 * 1024  # bytes of a message that is kept, with some for each array or object in it


def answer(node_of: Callable[[Any], LocalNode], pipeline: Any, request: Any, trie: Any) -> Any:
    """Give what answers `request`, as `Pipeline.start` does; raises what it is refused with."""
    verb = request.method
    if request.id is None:
        raise HTTPError(400, f"{verb} needs an `id`")
    request._live = _SAID[verb]
    if verb == "PING":
        return pipeline.say(request, None)
    if request.connection is None:
        raise HTTPError(400, f"{verb} needs a connection")
    if verb == "SUBSCRIBE":
        return subscribe(node_of, pipeline, request, trie)
    return _unsubscribe(pipeline, request, trie)


def announce(node_of: Callable[[Any], LocalNode], pipeline: Any, request: Any, trie: Any) -> Any:
    """As `answer`; but a SUBSCRIBE goes by the router's own way, which sees a GET: None is given for it."""
    if request.method != "SUBSCRIBE" or request.id is None or request.connection is None:
        return answer(node_of, pipeline, request, trie)
    request._live = Announced(Counted(None, request.method), node_of)
    set_method(request, "GET")
    return None


class Announced(Answered):
    """A SUBSCRIBE before it is routed: a router that answers it by itself subscribes nobody."""

    subscribes = True
    is_announced = True

    def __init__(self, counted: Counted, node_of: Callable[[Any], LocalNode]) -> None:
        super().__init__(counted)
        self._node_of = node_of

    def settle(self, connection: Any, request: Any, rendered: bytes) -> bytes:
        set_method(request, "SUBSCRIBE")
        if request.status >= 400:
            return rendered
        error = HTTPError(503, f"{request.url!r:.200} was answered by its router alone: nobody is subscribed")
        self._node_of(connection).report(request, error)
        refused: bytes = connection._pipeline.refuse(request, error)
        return refused


def subscribe(node_of: Callable[[Any], LocalNode], pipeline: Any, request: Any, trie: Any) -> Any:
    """Let a SUBSCRIBE go the way of a GET; raises what it is refused with before."""
    node = node_of(request.connection)
    plan, params = _found(pipeline, request, trie)
    if plan.live is None:
        raise MethodNotAllowed(
            f"GET {plan.route.path} does not say how it changes: "
            "it cannot be subscribed to, unless its route has live=True"
        )
    _check_message(request, plan)
    url = canonical_url(trie, plan, params)
    args = request.args
    if args and plan.live.live.mode == "log":
        raise HTTPError(_UNPROCESSABLE, f"{url} is a log, which has no `args`")
    name = topic_of(url, args)
    table = node.table(request.connection)
    most = node.factory.limits.max_subscriptions
    if most is not None and not table.has_room(name, most):
        raise HTTPError(429, f"at most {most} subscriptions on a connection: unsubscribe from others first")
    place = node.place(url, plan.live.live)
    set_method(request, "GET")
    since = parsed(request.get_extra("since"))
    attempt = Attempt(table, place, name, request, plan=plan, params=params, since=since)
    request._live = attempt
    if place.coming is not None:
        return pipeline.go_on_after(place.coming, request, plan, params)
    return pipeline.go_on(request, plan, params)


def _found(pipeline: Any, request: Any, trie: Any) -> tuple[Any, tuple[Any, ...]]:
    url = request.url
    if type(url) is not str or not url:
        raise IncorrectURL() if url else NotSpecifiedURL()
    try:
        return pipeline.find(trie, "GET", url)  # type: ignore[no-any-return]
    except NotSpecifiedHandler as miss:
        raise missed(request, trie, miss, pipeline.debug) from None


def _check_message(request: Any, plan: Any) -> None:
    weight = weight_of(request)
    since = request.get_extra("since")
    if type(since) is str and not plan.exact:
        weight -= len(since)  # which is not kept
    if weight > _HEAVIEST:
        raise HTTPError(
            _UNPROCESSABLE, f"SUBSCRIBE takes at most {_HEAVIEST} bytes of memory, as it is kept, got about {weight}"
        )
    if request.data is not None:
        raise HTTPError(_UNPROCESSABLE, "SUBSCRIBE takes no `data`: what it depends on belongs into `args`")
    args = request.args
    _check_args(args)
    if plan.render is not None and args and args.get("format") not in (None, "json"):
        raise HTTPError(_UNPROCESSABLE, f"what is subscribed to comes as JSON, not as {args['format']!r:.100}")


def _unsubscribe(pipeline: Any, request: Any, trie: Any) -> Any:
    name = request.get_extra("topic")
    plan = None
    if name is None:
        plan, params = _found(pipeline, request, trie)
        _count_as(request, plan)
        if plan.live is None:
            raise HTTPError(404, "not subscribed to")
        _check_args(request.args)
        name = topic_of(canonical_url(trie, plan, params), request.args)
    table = request.connection._live
    subscription = table.by_topic.get(name) if table is not None and type(name) is str else None
    attempts = table.attempts.get(name, []) if table is not None and type(name) is str else []
    if subscription is None and not attempts:
        raise HTTPError(404, "not subscribed to")
    if plan is None:
        _count_as(request, subscription.plan if subscription is not None else attempts[0].plan)
    for attempt in list(attempts):
        attempt.cancel()
    if subscription is not None:
        table.drop(subscription)
    return pipeline.say(request, None)


def _count_as(request: Any, plan: Any) -> None:
    """Let log and metrics know which route it is about."""
    request._live = Answered(Counted(plan.route, request.method))


def _check_args(args: Any) -> None:
    if args is not None and not isinstance(args, dict):
        raise HTTPError(_UNPROCESSABLE, "`args` must be an object")
