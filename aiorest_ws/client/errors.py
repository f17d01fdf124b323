"""What a call, a subscription or a connection can end with, instead of what was asked for.

ClientError
├── RequestFailed               the server refused or failed: `status` as in HTTP, `detail` as it was sent
│   ├── BadRequest 400          ┐
│   ├── Unauthorized 401        │
│   ├── Forbidden 403           │
│   ├── NotFound 404            │
│   ├── MethodNotAllowed 405    │ by status; another of 4xx or 5xx is
│   ├── Conflict 409            │ a RequestFailed or a ServerFailed
│   ├── Unprocessable 422       │
│   ├── TooManyRequests 429     │
│   └── ServerFailed 5xx        ┘
├── ConnectionLost              no reply, as there is no connection (any more); also a ConnectionError
│   ├── HandshakeRefused        the server answers the opening of a connection with an HTTP status
│   └── ClientClosed            the client was closed
├── TimedOut                    no reply in time; also a TimeoutError
└── UnexpectedReply             a reply that is none, or does not fit `type`; also a ValueError
"""

from __future__ import annotations

from copy import copy
from typing import Any, Self

from aiorest_ws.portable import Portable

__all__ = (
    "BadRequest",
    "ClientClosed",
    "ClientError",
    "Conflict",
    "ConnectionLost",
    "Forbidden",
    "HandshakeRefused",
    "MethodNotAllowed",
    "NotFound",
    "RequestFailed",
    "ServerFailed",
    "TimedOut",
    "TooManyRequests",
    "Unauthorized",
    "UnexpectedReply",
    "Unprocessable",
    "failure_of",
)


class ClientError(Portable):
    """Base of all errors of the client. All can be copied and pickled."""

    def to_raise(self) -> Self:
        """Give the same, to be raised: its traceback keeps what is there then, and that of a reason keeps nothing."""
        told = copy(self)
        told.__cause__ = self.__cause__
        return told


class RequestFailed(ClientError):
    """The server refused a request, or failed at it; or it has ended a subscription.

    status     400 to 599
    detail     what the server says of it: text, or anything that JSON can say
    message    the whole reply
    retry      seconds after which it makes sense to come back, if the server says so
    """

    def __init__(self, status: int, detail: Any = None, message: dict[str, Any] | None = None) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail
        self.message: dict[str, Any] = {} if message is None else message
        retry = self.message.get("retry")
        self.retry: float | None = retry / 1000 if isinstance(retry, (int, float)) and retry >= 0 else None

    def __str__(self) -> str:
        return f"{self.status}: {self.detail}"


class BadRequest(RequestFailed):
    """400: the message is malformed."""


class Unauthorized(RequestFailed):
    """401: the route needs a user, or something is wrong with the token, with a fresh one, too."""


class Forbidden(RequestFailed):
    """403: a permission refused."""


class NotFound(RequestFailed):
    """404: no such url, or nothing there."""


class MethodNotAllowed(RequestFailed):
    """405: not this method; of a subscription, the route does not say how it changes, or the server is an older one."""


class Conflict(RequestFailed):
    """409."""


class Unprocessable(RequestFailed):
    """422: `args` or `data` do not fit; `detail` may be a list of {"loc": […], "msg": …}."""


class TooManyRequests(RequestFailed):
    """429."""


class ServerFailed(RequestFailed):
    """500 to 599."""


_BY_STATUS: dict[int, type[RequestFailed]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    409: Conflict,
    422: Unprocessable,
    429: TooManyRequests,
}


def failure_of(message: dict[str, Any]) -> RequestFailed:
    """Give the error that a reply is, or the end of a subscription."""
    status: int = message["status"]
    kind = _BY_STATUS.get(status, ServerFailed if status >= 500 else RequestFailed)
    return kind(status, message.get("detail"), message)


class ConnectionLost(ClientError, ConnectionError):
    """There is no reply, as there is no connection (any more).

    may_have_run    False: the server has not seen the request, and it can be sent again
    code            with which the connection was closed (RFC 6455 §7.4), None if there was none
    """

    def __init__(self, text: str, *, may_have_run: bool = False, code: int | None = None) -> None:
        super().__init__(text)
        self.may_have_run = may_have_run
        self.code = code

    def of_call(self, *, may_have_run: bool) -> Self:
        """Give the same of one call, which is told whether it may have run."""
        said = "it may have run" if may_have_run else "it was not sent"
        told = self.to_raise()
        told.args = (f"{self.args[0]}: {said}",)
        told.may_have_run = may_have_run
        return told


class HandshakeRefused(ConnectionLost):
    """The server answers the opening of a connection with an HTTP status.

    status    401 if the token is not valid, with a fresh one, too
    detail    the first line of what it says
    """

    def __init__(self, text: str, status: int, detail: str = "", retry: float | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.detail = detail
        self.retry = retry


class ClientClosed(ConnectionLost):
    """The client was closed, before the call or meanwhile."""


class TimedOut(ClientError, TimeoutError):
    """No reply came in time; or nothing that was waited for by `next(timeout=…)`.

    may_have_run    False: the server has not seen the request
    """

    def __init__(self, text: str, *, may_have_run: bool = False) -> None:
        super().__init__(text)
        self.may_have_run = may_have_run


class UnexpectedReply(ClientError, ValueError):
    """What came is no reply, or its `data` does not fit `type`; the text says where in it.

    data    what came
    """

    def __init__(self, text: str, data: Any = None) -> None:
        super().__init__(text)
        self.data = data
