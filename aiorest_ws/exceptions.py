"""Every error of the framework: its text, its close code and the status that goes on the wire.

`status` is the HTTP-like number of a reply with `id`; `status_code` is the WebSocket close code that
aiorest-ws 1.1.1 gave the class and is never sent in a reply.

    BaseAPIException 400
    ├── InvalidMessage 400                  not JSON, base64 or MessagePack, no object, bad `id`
    ├── EndpointValueError                  ┐
    ├── InvalidHandler                      │
    ├── InvalidPathArgument                 │ raised at registration,
    ├── InvalidRenderer                     │ never by a request
    ├── NotImplementedMethod                │
    ├── NotSupportedArgumentType            ┘
    ├── NotSpecifiedError 400
    │   ├── NotSpecifiedURL 400
    │   ├── NotSpecifiedMethodName 400
    │   └── NotSpecifiedHandler 404
    │       └── MethodNotAllowed 405        without an `id` the text of 404, as 1.1.1 said
    ├── IncorrectURL 400                    not a string, or with a control character
    ├── IncorrectMethodNameType 400
    ├── IncorrectArgument 422
    │   └── InvalidArguments 422            of an annotated handler; detail: a list of {"loc": […], "msg": …}
    ├── ValidationError 422                 detail: str → list, dict and list kept
    ├── SerializerError 500
    ├── HandlerFailed 500                   what a client sees of an unexpected exception
    ├── TooManyRequests 429                 the connection exceeds `requests_per_second`
    ├── ServerStopping 503
    ├── BrokerUnavailable 503               what carries publications between processes cannot be reached
    ├── RequestTimeout 504                  the handler exceeds `request_timeout`
    ├── HTTPError any                       what a handler raises to choose a status
    └── BaseAuthException 401
        ├── NotAuthenticated 401
        ├── PermissionDeniedException 403
        └── BaseTokenException 401          in `auth.token.exceptions`, with what is wrong with a token

    ConnectionRefused 403                   the answer to an opening handshake

    ImproperlyConfigured                    the application cannot start; never on the wire
    └── RouterNotDefined                    also an AssertionError, as in 1.1.1

    NoMatch                                 no route has this url  ┐ raised by `urls`, `url_for`;
    NoReverseMatch                          no url for this name   ┘ a handler that lets it out has failed: 500
    NotLive                                 nothing at this url can be subscribed to, or changes so; likewise
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Self

from aiorest_ws.gone import missing
from aiorest_ws.portable import Portable

__all__ = (
    "BaseAPIException",
    "BaseAuthException",
    "BrokerUnavailable",
    "ConnectionRefused",
    "EndpointValueError",
    "HTTPError",
    "HandlerFailed",
    "ImproperlyConfigured",
    "IncorrectArgument",
    "IncorrectMethodNameType",
    "IncorrectURL",
    "InvalidArguments",
    "InvalidHandler",
    "InvalidMessage",
    "InvalidPathArgument",
    "InvalidRenderer",
    "MethodNotAllowed",
    "NoMatch",
    "NoReverseMatch",
    "NotAuthenticated",
    "NotImplementedMethod",
    "NotLive",
    "NotSpecifiedError",
    "NotSpecifiedHandler",
    "NotSpecifiedMethodName",
    "NotSpecifiedURL",
    "NotSupportedArgumentType",
    "PermissionDeniedException",
    "RequestTimeout",
    "RouterNotDefined",
    "SerializerError",
    "ServerStopping",
    "TooManyRequests",
    "ValidationError",
)


class BaseAPIException(Portable):
    """An error that becomes the reply: `detail` on the wire, `status` beside it when the request had an `id`."""

    status_code = 1002
    status = 400
    default_detail = "A server error occurred."

    # Not 0: the next authenticator is asked all the same; and if none knows more, how telling this is (1, 2, …).
    leaves: int = 0
    blame: Callable[[], None] | None = None  # to be called when it becomes the answer

    detail: Any

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls, *args)
        self.detail = cls.default_detail  # a subclass need not call our __init__
        return self

    def __init__(self, detail: Any = None) -> None:
        super().__init__(detail)
        self.detail = self.default_detail if detail is None else _text(detail)

    def __str__(self) -> str:
        return str(self.detail)


def _text(detail: Any) -> str:
    """Give `detail` as text; bytes are UTF-8."""
    return detail.decode("utf-8", "replace") if isinstance(detail, bytes) else str(detail)


class InvalidMessage(BaseAPIException):
    """The message is not a request: not JSON, base64 or MessagePack, no object, or its `id` is not allowed."""

    status_code = 1003
    default_detail = "request is not valid"


class EndpointValueError(BaseAPIException):
    """A path template is malformed, or clashes with one that is registered."""

    default_detail = "Incorrect endpoint. Check path to your API."


class IncorrectArgument(BaseAPIException):
    """`args` of the request do not fit the handler. `missing` names the one that is not there, if that is why."""

    status_code = 1003
    status = 422
    default_detail = "Check `args` in query on errors and try again."
    missing: str | None = None


class InvalidArguments(IncorrectArgument):
    """Path parameters, `args` or `data` do not fit the annotations of the handler.

    detail    a list of {"loc": ["args", "limit"], "msg": "Expected `int`, got `str`"}
    """

    def __init__(self, detail: list[dict[str, Any]]) -> None:
        super().__init__("")
        self.detail = detail


class IncorrectMethodNameType(BaseAPIException):
    """`method` of the request is not a string."""

    default_detail = "Method name should be a string type."


class IncorrectURL(BaseAPIException):
    """`url` of the request is not a string, or has a control character."""

    default_detail = "URL should be a string type."


class InvalidHandler(BaseAPIException):
    """What was registered is neither an endpoint function nor a view class, lacks a verb, or cannot be called."""

    default_detail = (
        "Received handler isn't correct. It shall be function or class, inherited from the MethodBasedView class."
    )


class InvalidPathArgument(BaseAPIException):
    """A path template does not start with `/`."""

    default_detail = "Received path value not valid."


class InvalidRenderer(BaseAPIException):
    """`renderers` of a view is not a list or tuple of renderer classes."""

    status = 500
    default_detail = (
        "Attribute `renderers` should be defined as list or tuple of inherited from BaseSerializer classes."
    )


class NotImplementedMethod(BaseAPIException):
    """An abstract method was called."""

    status = 500
    default_detail = "Error occurred in not implemented method."


class NotSpecifiedError(BaseAPIException):
    """Something that a request needs is missing."""

    default_detail = "Not specified parameter."


class NotSpecifiedHandler(NotSpecifiedError):
    """No template matches the url."""

    status = 404
    default_detail = "For URL, typed in request, handler not specified."


class MethodNotAllowed(NotSpecifiedHandler):
    """Templates match the url, none of them has the method."""

    status = 405


class NotLive(Portable, ValueError):
    """A url that was said to change leads to no route that says how it does, or to one of another kind."""


class NotSpecifiedMethodName(NotSpecifiedError):
    """The request has no `method`."""

    default_detail = "In query not specified `method` argument."


class NotSpecifiedURL(NotSpecifiedError):
    """The request has no `url`."""

    default_detail = "In query not specified `url` argument."


class NotSupportedArgumentType(BaseAPIException):
    """An argument of a registration has the wrong type."""

    status_code = 1003
    default_detail = "Check your arguments on supported types."


class SerializerError(BaseAPIException):
    """What the handler returned cannot be encoded, or is not what its `response_model` says.

    why    for the log and for who debugs: what in it is to blame; clients get `detail`
    """

    status = 500
    default_detail = "Error has occurred inside serializer class."  # as in 1.1.1, to requests without `id`

    def __init__(self, detail: Any = None, *, why: str = "") -> None:
        super().__init__(detail)
        self.why = why


class HandlerFailed(BaseAPIException):
    """An unexpected exception in user code, without a word of it."""

    status_code = 1011
    status = 500


class TooManyRequests(BaseAPIException):
    """The connection asks faster than it may."""

    status_code = 1008
    status = 429
    default_detail = "Too many requests."


class ServerStopping(BaseAPIException):
    """The server is shutting down and takes no new requests."""

    status_code = 1001
    status = 503
    default_detail = "The server is shutting down."


class BrokerUnavailable(BaseAPIException):
    """What carries publications between processes cannot be reached: nobody elsewhere is told, or can be asked."""

    status_code = 1011
    status = 503
    default_detail = "Subscriptions are not available now."


class RequestTimeout(BaseAPIException):
    """The handler took too long, and was cancelled."""

    status_code = 1011
    status = 504
    default_detail = "The request took too long."


class ValidationError(BaseAPIException):
    """Data that does not validate. `detail` is required: a string becomes a list, lists and dicts are kept."""

    status = 422

    def __init__(self, detail: Any) -> None:
        super().__init__("")
        self.detail = detail if isinstance(detail, (dict, list)) else [_text(detail)]


class HTTPError(BaseAPIException):
    """What a handler raises to refuse a request: `raise HTTPError(409, "name is taken")`.

    status    400 to 599
    detail    anything that JSON can say; without one, the status' own name
    """

    def __init__(self, status: int, detail: Any = None) -> None:
        if not isinstance(status, int) or isinstance(status, bool) or not 400 <= status <= 599:
            raise ValueError(f"status must be an integer from 400 to 599, got {status!r}")
        super().__init__("")
        self.status = int(status)
        self.detail = _phrase(self.status) if detail is None else detail


def _phrase(status: int) -> str:
    from http import HTTPStatus

    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return BaseAPIException.default_detail


class BaseAuthException(BaseAPIException):
    """Base of everything that authentication and permissions refuse."""

    status = 401
    default_detail = "Error occurred in the authentication process."


class NotAuthenticated(BaseAuthException):
    """The view needs a user and the request has none."""

    status_code = 1008
    default_detail = "Authentication is required."
    leaves = 1


class PermissionDeniedException(BaseAuthException):
    """A permission of the view refused the request."""

    status = 403
    default_detail = "Permission denied: user doesn't have enough rights."


class ConnectionRefused(Portable):
    """A client may not connect: its handshake is answered with this HTTP status, from 400 to 599.

    reason      short text for the status line; the standard's if it is not given
    headers     pairs of name and value that the answer has too
    close       a code, 3000 to 4999: accept the handshake and close with it at once. A browser sees that, and no status
    """

    def __init__(
        self,
        status: int = 403,
        reason: str | None = None,
        *,
        headers: Iterable[tuple[str, str]] = (),
        close: int | None = None,
    ) -> None:
        if type(status) is not int or not 400 <= status <= 599:
            raise ValueError(f"status must be an integer from 400 to 599, got {status!r}")
        super().__init__(status, reason)
        self.status = status
        self.reason = reason
        self.headers = tuple(headers)
        if close is not None and (type(close) is not int or not 3000 <= close <= 4999):
            raise ValueError(f"close must be a code from 3000 to 4999, got {close!r}")
        self.close = close


class ImproperlyConfigured(Portable):
    """The application cannot start as it is configured; the text says what to change."""


class RouterNotDefined(ImproperlyConfigured, AssertionError):
    """The application has no router."""

    def __init__(self) -> None:
        super().__init__("Argument `router` must be defined for the Application.")


class NoMatch(Portable):
    """No route has this url."""


class NoReverseMatch(Portable, ValueError):
    """No route has this name, or these parameters make no url that leads to it."""


if not TYPE_CHECKING:  # type checkers would take any name for one of ours

    def __getattr__(name: str) -> Any:
        raise missing(__name__, name)
