"""Envelope → `Request`; what a handler returns → `Response`."""

from __future__ import annotations

from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from aiorest_ws.exceptions import InvalidMessage, NoReverseMatch

if TYPE_CHECKING:
    from contextvars import Context

__all__ = (
    "CONTAINER",
    "Request",
    "Response",
    "blank",
    "body",
    "check_id",
    "clear",
    "extra_of",
    "failed",
    "texts_of",
    "wrap",
)

_MAX_ID_BYTES = 256
CONTAINER = 64  # bytes of memory, beside those on the wire, that an array or object of a message takes at least

_ABSENT: Any = object()
_KNOWN = frozenset(("method", "url", "args", "data", "event_name", "id"))
# What users may look for on a request must never come from the wire.
_RESERVED = frozenset(
    (
        *("app", "connection", "form", "route", "session", "state", "token_payload", "user"),
        *("client", "cookies", "headers", "query_params"),
    )
)
# What other frameworks' requests have, and where it is here.
_QUERY = "request.args, or request.connection.query of the handshake"
_ELSEWHERE = {
    **{name: f"request.connection.{name}" for name in ("close", "cookies", "headers", "peer", "send_event", "session")},
    **dict.fromkeys(("client", "remote", "remote_addr", "ip"), "request.connection.peer"),
    **dict.fromkeys(("query", "query_params", "query_string", "GET"), _QUERY),
    **dict.fromkeys(("params", "arguments", "kwargs"), "request.args"),
    **dict.fromkeys(("json", "body", "payload", "content", "text", "POST"), "request.data"),
    "path": "request.url, or request.connection.path of the handshake",
    "host": 'request.connection.headers["host"]',
    "verb": "request.method",
}


class Request:
    """One request: what the client sent, read-only, and what the server knows about it.

    method, url    as sent; None when missing
    args           dict of keyword arguments; {} when missing, None when sent as null
    data           any JSON value, from MessagePack also bytes, datetime (UTC), NaN; None when missing
    event_name     the same, echoed in the reply; None when missing
    id             str or int, echoed in the reply; None when missing or null
    extra          every further key of the envelope; also readable as attributes (`request.token`)
    connection     the protocol that received it (None outside a connection)
    form           how it came in, and so how it is answered (`codec.TEXT_JSON`, ...)
    route          the route that it matched (None before routing)
    path_params    what its url gave, by the names of the template: strings, or what converters made of them; read-only
    user, token_payload    None until a middleware sets them
    state          a namespace of this request, for middlewares and handlers
    app            the Application (None outside a connection)

    A middleware may set any other attribute; only this request sees it.
    """

    __slots__ = (
        "__dict__",
        "_args",
        "_data",
        "_ended_in",
        "_envelope",
        "_event_name",
        "_extra",
        "_failure",
        "_form",
        "_holds",
        "_id",
        "_is_bare",
        "_is_over",
        "_live",
        "_method",
        "_params",
        "_pipeline",
        "_plan",
        "_size",
        "_started",
        "_status",
        "_text",
        "_url",
        "connection",
        "token_payload",
        "user",
    )

    _method: Any
    _url: Any
    _args: Any
    _data: Any
    _event_name: Any
    _id: Any
    _envelope: dict[str, Any] | None
    _extra: dict[str, Any] | None
    _failure: BaseException | None
    _live: Any  # what it is for subscriptions: a SUBSCRIBE, a run again, what says that something has changed; or None
    _params: Any  # in order, and then by name
    _pipeline: Any
    _plan: Any
    _text: Any  # JSON of the message, or a pair: that of `args` and that of `data`; None where neither is kept
    _form: int
    _size: int  # bytes of the message, 0 where nobody has counted
    _holds: int  # arrays and objects in it
    _is_bare: bool
    _is_over: bool  # it is answered, and nothing of it goes on
    _status: int
    _started: float  # only where somebody observes
    _ended_in: Context | None  # that of the handler, as it was at its end: what is logged of it is logged there
    connection: Any
    user: Any
    token_payload: Any

    def __init__(self, **kwargs: Any) -> None:
        clear(self)
        self._form = 0
        self._status = 200
        self.connection = None
        _fill(self, kwargs)

    @property
    def method(self) -> Any:
        return self._method

    @property
    def url(self) -> Any:
        return self._url

    @property
    def args(self) -> Any:
        if self._args is None and (self._envelope is None or "args" not in self._envelope):
            self._args = {}
        return self._args

    @property
    def data(self) -> Any:
        return self._data

    @property
    def event_name(self) -> Any:
        return self._event_name

    @property
    def id(self) -> Any:
        return self._id

    @property
    def extra(self) -> dict[str, Any]:
        if self._extra is None:
            self._extra = {key: value for key, value in (self._envelope or {}).items() if key not in _KNOWN}
        return self._extra

    @property
    def form(self) -> int:
        return self._form

    @property
    def route(self) -> Any:
        return None if self._plan is None else self._plan.route

    @property
    def path_params(self) -> Any:
        params = () if self._params is None else self._params
        if type(params) is tuple:
            names = self._plan.route.parameters if params else ()
            params = self._params = MappingProxyType(dict(zip(names, params, strict=True)))
        return params

    @property
    def subscribing(self) -> bool:
        """Whether this GET is asked for a subscription, now or again."""
        return self._live is not None and self._live.subscribes

    @property
    def status(self) -> int:
        """Status of the reply, with or without `id`: 200 until something says otherwise."""
        return self._status

    def __getattr__(self, name: str) -> Any:
        if name == "state":
            state = SimpleNamespace()
            setattr(self, name, state)  # from now on it is found without this
            return state
        if name == "app":
            return getattr(getattr(self.connection, "factory", None), "app", None)
        if name[:1] != "_" and name not in _RESERVED:
            sent = _sent(self, name)
            if sent is not _ABSENT:
                return sent
        elsewhere = f", look for {_ELSEWHERE[name]}" if name in _ELSEWHERE else ""
        raise AttributeError(f"request has no attribute {name!r}{elsewhere}")

    def __repr__(self) -> str:
        url = self._url.partition("?")[0] if isinstance(self._url, str) else self._url  # behind it are secrets
        return f"<Request {self._method!r:.40} {url!r:.200}>"

    def get_argument(self, name: str) -> Any:
        """Give the value of `name` in `args`, or None."""
        args = self.args
        return args.get(name) if isinstance(args, dict) else None

    def get_extra(self, name: str) -> Any:
        """Give the value of `name` in `extra`, or None, without making all of `extra`."""
        return extra_of(self, name)

    def url_for(self, name: str, /, **params: Any) -> str:
        """Give the url of the route with this name, as `SimpleRouter.url_for` of the router that answers.

        In a router that is included with a namespace, names of its own need none.
        """
        if self._plan is None:
            raise NoReverseMatch(f"no url for {name!r}: the request has no route yet, ask its router")
        return self._plan.route.url_for(name, **params)  # type: ignore[no-any-return]

    def changed(self, url: str) -> None:
        """Say that this request changes `url`, beside what its route names: told when the handler has ended.

        In what goes on behind it, a background task say, it is told at once. Raises NotLive for a url that leads to
        no route which says how it changes.
        """
        if self._live is None:
            live = None if self.connection is None else self.connection._pipeline.live
            if live is None:
                return
            if self._is_over:
                live.changed(url)
                return
            self._live = live.effect(self.connection._pipeline)
        if hasattr(self._live, "add"):
            self._live.add(url)
        else:
            raise RuntimeError("a GET that is subscribed to, or shared, changes nothing: say it in another handler")

    def to_representation(self) -> dict[str, Any]:
        """Give what a reply repeats of this request: {'event_name': …}."""
        return {"event_name": self._event_name}


def blank(form: int, connection: Any) -> Request:
    """Give a request in which nothing was sent."""
    request = Request.__new__(Request)
    if not _IS_BLANK:
        clear(request)
    request._form = form
    request._status = 200
    request.connection = connection
    return request


def wrap(envelope: dict[str, Any], form: int, connection: Any) -> Request:
    """Give the `Request` in `envelope`, which must not be changed afterwards."""
    request = blank(form, connection)
    _fill(request, envelope)
    return request


def failed(exc: BaseException, form: int, connection: Any) -> Request:
    """Give the stand-in for a message that could not be decoded; `Pipeline.respond` answers it with `exc`."""
    request = blank(form, connection)
    request._failure = exc
    return request


def extra_of(request: Request, name: str) -> Any:
    """As `Request.get_extra`, for those who are compiled."""
    sent = _sent(request, name)
    return None if sent is _ABSENT else sent


def _sent(request: Request, name: str) -> Any:
    """Give what was sent as `name`, which is none of the known keys; _ABSENT if it was not."""
    if request._extra is not None:
        return request._extra.get(name, _ABSENT)
    envelope = request._envelope
    return _ABSENT if envelope is None or name in _KNOWN else envelope.get(name, _ABSENT)


def texts_of(request: Request) -> tuple[bytes | None, bytes | None, bytes | None]:
    """Give the JSON in which `request` came, that of its `args` and that of its `data`, as far as they are kept.

    With the first there are no others. It is there until the request is routed, and then only for a plan that is
    `exact`. The others stay, and are short.
    """
    text = request._text
    if type(text) is tuple:
        return None, text[0], text[1]
    return text, None, None


def check_id(request: Request) -> None:
    """Take away an `id` that is not allowed, and with it the chance to answer anything but that."""
    value = request._id
    if type(value) is int:
        allowed = -(2**63) <= value < 2**64
    else:
        allowed = type(value) is str and len(value) <= _MAX_ID_BYTES and len(value.encode("utf-8")) <= _MAX_ID_BYTES
    if not allowed:
        request._id = None
        request._failure = InvalidMessage(
            f"`id` must be a string of at most {_MAX_ID_BYTES} bytes or an integer of 64 bits"
        )


def body(request: Request, content: dict[str, Any]) -> dict[str, Any]:
    """Give the reply to `request` that carries `content`, with the status when that had an id."""
    if request._id is None:
        return {**content, "event_name": request._event_name}
    whole = {"id": request._id, "status": request._status, **content}
    if request._event_name is not None:
        whole["event_name"] = request._event_name
    return whole


# PERF: compiled, all that holds an object is None in an instance that was just made, and all else 0: a hundred
# instructions of a message (bench/instructions.py).
_IS_BLANK = __name__.endswith("_c")


def clear(request: Request) -> None:
    """Set what is neither form, nor status, nor connection to what it is before anything was sent."""
    request._method = None
    request._url = None
    request._args = None
    request._data = None
    request._event_name = None
    request._id = None
    request._envelope = None
    request._extra = None
    request._failure = None
    request._params = None
    request._pipeline = None
    request._plan = None
    request._text = None
    request._size = 0
    request._holds = 0
    request._is_bare = False
    request._is_over = False
    request._ended_in = None
    request._live = None
    request.user = None
    request.token_payload = None


def _fill(request: Request, envelope: dict[str, Any]) -> None:
    request._method = envelope.get("method")
    request._url = envelope.get("url")
    request._args = envelope.get("args")
    request._data = envelope.get("data")
    request._event_name = envelope.get("event_name")
    request._id = envelope.get("id")
    request._envelope = envelope


class Response:
    """What a handler may return instead of bare data, to choose the status: `Response(data, status=201)`.

    status    200 to 299; on the wire only when the request had an `id`. Errors are raised, not returned.
    """

    __slots__ = ("_content", "status")

    def __init__(self, data: Any = _ABSENT, *, status: int = 200) -> None:
        if not isinstance(status, int) or not 200 <= status <= 299:
            raise ValueError(
                f"status must be an integer from 200 to 299, got {status!r}; raise an error for the others"
            )
        self._content: dict[str, Any] = {} if data is _ABSENT else {"data": data}
        self.status = int(status)

    @property
    def content(self) -> dict[str, Any]:
        """The body of the reply, {'data': …} or {'detail': …}; setting it stores under 'data'."""
        return self._content

    @content.setter
    def content(self, value: Any) -> None:
        self._content["data"] = value

    def wrap_exception(self, exc: Any) -> None:
        """Store the detail of `exc` under 'detail'."""
        self._content["detail"] = exc.detail

    def append_request(self, request: Request) -> None:
        """Store what a reply repeats of `request`."""
        self._content.update(request.to_representation())
