"""Hostile and clumsy requests over a real socket: each gets exactly one reply, in kind, and nothing else changes.

S…, H…, R… are rows of the contract (2.1 to 2.3).
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from typing import Any, NoReturn

import msgspec
import pytest

from aiorest_ws import Application, MethodBasedView, SimpleRouter, endpoint
from aiorest_ws.exceptions import (
    BaseAPIException,
    IncorrectArgument,
    NotSpecifiedHandler,
    PermissionDeniedException,
    SerializerError,
    ValidationError,
)
from aiorest_ws.renderers import JSONRenderer, XMLRenderer
from tests.serving import BINARY, CLOSE, PING, PONG, TEXT, Client, Frame, asynchronous, dump, factory_of, frame, serving

UNKNOWN = "For URL, typed in request, handler not specified."
NO_METHOD = "In query not specified `method` argument."
METHOD_TYPE = "Method name should be a string type."
NO_URL = "In query not specified `url` argument."
URL_TYPE = "URL should be a string type."
CONTROL = "url contains a control character"
FAILED = "A server error occurred."
UNENCODABLE = "the handler's result cannot be encoded"
AS_IN_1_1_1 = {UNENCODABLE: "Error has occurred inside serializer class."}  # what replies without `id` still say
BAD_ID = "`id` must be a string of at most 256 bytes or an integer of 64 bits"
NOT_JSON = re.compile(r"request is not valid JSON: .+", re.DOTALL)
NOT_BASE64 = "request is not valid base64"
TRAILING = "request is not valid base64: trailing bits are not zero"
KIB = 1024

HELLO = b'{"data":"Hello, world!","event_name":null}'


# The application


class BrokenText(Exception):
    def __str__(self) -> NoReturn:
        raise RuntimeError("no text")

    __repr__ = __str__


class Teapot(BaseAPIException):
    status = 418
    default_detail = "I'm a teapot."


class NoDetail(BaseAPIException):
    """As people write them: without `super().__init__()`."""

    def __init__(self, what: str) -> None:
        self.what = what


class OddStatus(BaseAPIException):
    status = "teapot"  # type: ignore[assignment]


class NotAnException(BaseException):
    pass


RAISED: dict[str, Callable[[], BaseException]] = {
    "KeyError": lambda: KeyError("secret"),
    "ValueError": lambda: ValueError("secret"),
    "TypeError": lambda: TypeError("secret"),
    "AttributeError": lambda: AttributeError("secret"),
    "AssertionError": AssertionError,
    "RecursionError": lambda: RecursionError("secret"),
    "MemoryError": MemoryError,
    "TimeoutError": TimeoutError,
    "ConnectionResetError": ConnectionResetError,
    "StopIteration": lambda: StopIteration("secret"),
    "StopAsyncIteration": StopAsyncIteration,
    "SystemExit": lambda: SystemExit(3),
    "GeneratorExit": GeneratorExit,
    "CancelledError": asyncio.CancelledError,
    "BaseException": lambda: NotAnException("secret"),
    "BaseExceptionGroup": lambda: BaseExceptionGroup("secret", [NotAnException()]),
    "UnicodeDecodeError": lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "secret"),
    "BrokenText": BrokenText,
}
API_RAISED: dict[str, tuple[Callable[[], BaseException], int, Any]] = {
    "BaseAPIException": (BaseAPIException, 400, FAILED),
    "text": (lambda: BaseAPIException("no such car"), 400, "no such car"),
    "bytes": (lambda: BaseAPIException(b"b\xc3\xa4d"), 400, "bäd"),
    "empty": (lambda: BaseAPIException(""), 400, ""),
    "number": (lambda: BaseAPIException(7), 400, "7"),
    "own-status": (Teapot, 418, "I'm a teapot."),
    "ValidationError-text": (lambda: ValidationError("bad name"), 422, ["bad name"]),
    "ValidationError-dict": (lambda: ValidationError({"name": ["taken"]}), 422, {"name": ["taken"]}),
    "ValidationError-object": (lambda: ValidationError([object()]), 422, FAILED),
    "IncorrectArgument": (IncorrectArgument, 422, "Check `args` in query on errors and try again."),
    "NotSpecifiedHandler": (lambda: NotSpecifiedHandler("no such user"), 404, "no such user"),
    "PermissionDenied": (PermissionDeniedException, 403, "Permission denied: user doesn't have enough rights."),
    "SerializerError": (SerializerError, 500, "Error has occurred inside serializer class."),
    "lone-surrogate": (lambda: BaseAPIException("\ud800"), 400, FAILED),
    "without-detail": (lambda: NoDetail("x"), 400, FAILED),
    "status-of-another-type": (OddStatus, 500, FAILED),
}


def circle() -> list[Any]:
    items: list[Any] = []
    items.append(items)
    return items


def nested(depth: int) -> list[Any]:
    items: list[Any] = []
    for _ in range(depth):
        items = [items]
    return items


async def numbers() -> Any:
    yield 1


class Awaitable:
    def __await__(self) -> Any:
        yield from asyncio.sleep(0).__await__()
        return "awaited"


class BadYield:
    def __await__(self) -> Any:
        yield "what the loop does not know"


class Mapping:
    def __getitem__(self, key: str) -> str:
        return key

    def keys(self) -> NoReturn:
        raise RuntimeError("no keys")


UNENCODABLES: dict[str, Callable[[], Any]] = {
    "object": object,
    "type": lambda: object,
    "function": lambda: nested,
    "coroutine-function": lambda: asyncio.sleep,
    "generator": lambda: (i for i in (1, 2)),
    "async-generator": numbers,
    "lone-surrogate": lambda: "\ud800",
    "lone-surrogate-key": lambda: {"\ud800": 1},
    "circular-list": circle,
    "tuple-key": lambda: {(1, 2): 3},
    "set-of-objects": lambda: {object()},
    "odd-mapping": Mapping,
    "exception": lambda: ValueError("secret"),
}
ENCODABLES: dict[str, tuple[Callable[[], Any], Any]] = {
    "bytes": (lambda: b"\x00\xff", "AP8="),
    "nan": (lambda: [float("nan"), float("inf")], [None, None]),
    "big-integer": (lambda: 2**200, 2**200),
    "integer-keys": (lambda: {1: "a"}, {"1": "a"}),
    "decimal": (lambda: Decimal("1.10"), "1.10"),
    "datetime": (lambda: datetime(2020, 1, 2, tzinfo=UTC), "2020-01-02T00:00:00+00:00"),
    "nested": (lambda: nested(300), nested(300)),
    "set": (lambda: {1}, [1]),
    "line-separator": (lambda: "\u2028", "\u2028"),
    "coroutine": (lambda: asyncio.sleep(0, "slept"), "slept"),
    "awaitable": (Awaitable, "awaited"),
}


class User(MethodBasedView):
    helper_calls = count()

    def get(self, request: Any, user_id: str, *args: Any, **kwargs: Any) -> Any:
        return [user_id, kwargs]

    def put(self, request: Any, user_id: str, *, n: Any) -> Any:
        return [user_id, n]

    def patch(self, request: Any, user_id: str) -> str:
        raise AssertionError("PATCH is not declared")

    def helper(self, request: Any, user_id: str) -> Any:
        raise AssertionError("no verb")

    def _hidden(self, request: Any, user_id: str) -> Any:
        raise AssertionError("no verb")


class Unmakeable(MethodBasedView):
    def __init__(self) -> None:
        raise RuntimeError("secret")

    def get(self, request: Any) -> str:
        return "never"


class Markup(MethodBasedView):
    renderers = (XMLRenderer, JSONRenderer)

    def post(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        return request.data


def make_router() -> SimpleRouter:
    """Give a router whose handlers misbehave as their url says."""
    router = SimpleRouter()

    @endpoint("/hello", "GET")
    def hello(request: Any) -> str:
        return "Hello, world!"

    @endpoint("/any", ["GET", "POST"])
    def anything(request: Any, *args: Any, **kwargs: Any) -> Any:
        return len(kwargs)

    @endpoint("/echo", "POST")
    def echo(request: Any) -> Any:
        return request.data

    @endpoint("/read/{name}", "GET")
    def read(request: Any, name: str) -> Any:
        try:
            return repr(getattr(request, name))
        except AttributeError as exc:
            return str(exc)

    @endpoint("/extra", "GET")
    def extra(request: Any) -> Any:
        return request.extra

    @endpoint("/raise/{what}", "GET")
    def fail(request: Any, what: str) -> NoReturn:
        raise RAISED[what]()

    @endpoint("/raise-later/{what}", "GET")
    async def fail_later(request: Any, what: str) -> NoReturn:
        await asyncio.sleep(0)
        raise RAISED[what]()

    @endpoint("/refuse/{what}", "GET")
    def refuse(request: Any, what: str) -> NoReturn:
        raise API_RAISED[what][0]()

    @endpoint("/refuse-later/{what}", "GET")
    async def refuse_later(request: Any, what: str) -> NoReturn:
        await asyncio.sleep(0)
        raise API_RAISED[what][0]()

    @endpoint("/return/{what}", "GET")
    def give(request: Any, what: str) -> Any:
        return UNENCODABLES[what]() if what in UNENCODABLES else ENCODABLES[what][0]()

    @endpoint("/return-later/{what}", "GET")
    async def give_later(request: Any, what: str) -> Any:
        value = UNENCODABLES[what]() if what in UNENCODABLES else ENCODABLES[what][0]()
        return await value if hasattr(value, "__await__") else value

    @endpoint("/bad-yield", "GET")
    def bad_yield(request: Any) -> Any:
        return BadYield()

    @endpoint("/cancel-itself", "GET")
    async def cancel_itself(request: Any) -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)
        return "never"

    @endpoint("/cancel-itself-and-return", "GET")
    async def cancel_and_return(request: Any) -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return "returned"

    @endpoint("/recurse", "GET")
    def recurse(request: Any) -> Any:
        return recurse.function(request)

    for function in (
        *(hello, anything, echo, read, extra, fail, fail_later, refuse, refuse_later, give, give_later),
        *(bad_yield, cancel_itself, cancel_and_return, recurse),
    ):
        router.register_endpoint(function)
    router.register("/users/{user_id}", User, ["GET", "PUT"])
    router.register("/unmakeable", Unmakeable, "GET")
    router.register("/markup", Markup, "POST")
    return router


# Faulty requests that are objects: tried in all four forms, without and with an `id`


@dataclass(frozen=True)
class Faulty:
    envelope: dict[str, Any]
    status: int
    detail: Any


def hello(**changes: Any) -> dict[str, Any]:
    return {"method": "GET", "url": "/hello"} | changes


FAULTY: dict[str, Faulty] = {
    # url
    "H5-url-number": Faulty(hello(url=5), 400, URL_TYPE),
    "H5-url-list": Faulty(hello(url=["/hello"]), 400, URL_TYPE),
    "H5-url-object": Faulty(hello(url={"a": 1}), 400, URL_TYPE),
    "H5-url-true": Faulty(hello(url=True), 400, URL_TYPE),
    "H5-url-missing": Faulty({"method": "GET"}, 400, NO_URL),
    "H5-url-null": Faulty(hello(url=None), 400, NO_URL),
    "H5-url-empty": Faulty(hello(url=""), 400, NO_URL),
    "H5-url-zero": Faulty(hello(url=0), 400, NO_URL),
    "url-64-KiB": Faulty(hello(url="/" + "a" * 64 * KIB), 404, UNKNOWN),
    "url-64-KiB-of-slashes": Faulty(hello(url="/" * 64 * KIB), 404, UNKNOWN),
    "url-64-KiB-of-segments": Faulty(hello(url="/a" * 32 * KIB), 404, UNKNOWN),
    "url-of-two-slashes": Faulty(hello(url="//"), 404, UNKNOWN),
    "url-with-NUL": Faulty(hello(url="/hello\0"), 400, CONTROL),
    "url-with-newline": Faulty(hello(url="/hel\nlo"), 400, CONTROL),
    "url-with-newline-behind": Faulty(hello(url="/hello\n"), 400, CONTROL),
    "url-with-tab-in-front": Faulty(hello(url="\t/hello"), 400, CONTROL),
    "url-with-DEL-in-a-parameter": Faulty(hello(url="/users/\x7f"), 400, CONTROL),
    "url-with-dots": Faulty(hello(url="/users/../hello"), 404, UNKNOWN),
    "url-with-a-template": Faulty(hello(url="/users/{user_id}"), 404, UNKNOWN),
    "url-with-braces": Faulty(hello(url="/{x}"), 404, UNKNOWN),
    "url-with-an-empty-parameter": Faulty(hello(url="/users//"), 404, UNKNOWN),
    "url-without-slash": Faulty(hello(url="hello"), 404, UNKNOWN),
    "url-with-query": Faulty(hello(url="/hello?x=1"), 404, UNKNOWN),
    "url-in-capitals": Faulty(hello(url="/HELLO"), 404, UNKNOWN),
    "url-percent-encoded": Faulty(hello(url="/%68ello"), 404, UNKNOWN),
    "url-absolute": Faulty(hello(url="ws://127.0.0.1/hello"), 404, UNKNOWN),
    "url-of-another-script": Faulty(hello(url="/ｈello"), 404, UNKNOWN),
    # method
    "method-missing": Faulty({"url": "/hello"}, 400, NO_METHOD),
    "method-null": Faulty(hello(method=None), 400, NO_METHOD),
    "method-empty": Faulty(hello(method=""), 400, NO_METHOD),
    "method-zero": Faulty(hello(method=0), 400, NO_METHOD),
    "method-number": Faulty(hello(method=5), 400, METHOD_TYPE),
    "method-list": Faulty(hello(method=["GET"]), 400, METHOD_TYPE),
    "method-object": Faulty(hello(method={"GET": 1}), 400, METHOD_TYPE),
    "method-true": Faulty(hello(method=True), 400, METHOD_TYPE),
    "method-spaces": Faulty(hello(method="   "), 405, UNKNOWN),
    "method-with-newline": Faulty(hello(method="GET\n"), 405, UNKNOWN),
    "method-900-KiB": Faulty(hello(method="G" * 900 * KIB), 405, UNKNOWN),
    "method-lookalike": Faulty(hello(method="ＧＥＴ"), 405, UNKNOWN),
    "method-long-s": Faulty(hello(method="poſt", url="/echo"), 405, UNKNOWN),  # "ſ".upper() is "S"
    "R2-method-of-another-route": Faulty(hello(method="POST"), 405, UNKNOWN),
    "R2-method-unknown": Faulty(hello(method="BREW"), 405, UNKNOWN),
    "R1-method-of-the-view-that-is-not-declared": Faulty(hello(method="PATCH", url="/users/1"), 405, UNKNOWN),
    "R2-method-wrong-and-url-unknown": Faulty(hello(method=5, url="/nowhere"), 404, UNKNOWN),
    "HEAD-not-declared": Faulty(hello(method="HEAD"), 405, UNKNOWN),
    "OPTIONS-not-declared": Faulty(hello(method="OPTIONS"), 405, UNKNOWN),
    **{
        f"S2-method-{name}": Faulty(hello(method=name, url="/users/1"), 405, UNKNOWN)
        for name in (
            *(
                "dispatch",
                "as_view",
                "get_renderer",
                "handler",
                "helper",
                "_hidden",
                "__init__",
                "__class__",
                "methods",
            ),
            *("endpoint_function", "mro", "get.__globals__", "get__", "__getattribute__"),
        )
    },
    # args
    "H4-args-list": Faulty(hello(args=[1]), 422, "`args` must be an object"),
    "H4-args-empty-list": Faulty(hello(args=[]), 422, "`args` must be an object"),
    "H4-args-string": Faulty(hello(args="a"), 422, "`args` must be an object"),
    "H4-args-empty-string": Faulty(hello(args=""), 422, "`args` must be an object"),
    "H4-args-number": Faulty(hello(args=1), 422, "`args` must be an object"),
    "H4-args-zero": Faulty(hello(args=0), 422, "`args` must be an object"),
    "H4-args-true": Faulty(hello(args=True), 422, "`args` must be an object"),
    "H4-args-false": Faulty(hello(args=False), 422, "`args` must be an object"),
    "H4-args-list-where-all-are-taken": Faulty(hello(url="/any", args=[1]), 422, "`args` must be an object"),
    "H4-args-unknown": Faulty(hello(args={"x": 1}), 422, "unexpected argument `x`"),
    "H4-args-unknown-and-dangerous": Faulty(hello(args={"__class__": 1}), 422, "unexpected argument `__class__`"),
    "H4-args-of-the-url": Faulty(
        hello(url="/users/1", args={"user_id": 2}), 422, "argument `user_id` is already given by the url"
    ),
    "H4-args-request": Faulty(
        hello(url="/any", args={"request": 2}), 422, "argument `request` is already given by the url"
    ),
    "H4-args-self": Faulty(hello(url="/users/1", args={"self": 2}), 422, "argument `self` is already given by the url"),
    "H4-args-missing": Faulty(hello(method="PUT", url="/users/1"), 422, "missing argument `n`"),
    "H4-args-missing-all-null": Faulty(hello(method="PUT", url="/users/1", args=None), 422, "missing argument `n`"),
    "H4-args-one-too-many": Faulty(
        hello(method="PUT", url="/users/1", args={"n": 1, "m": 2}), 422, "unexpected argument `m`"
    ),
    "H4-args-name-empty": Faulty(hello(args={"": 1}), 422, "unexpected argument ``"),
    "H4-args-name-64-KiB": Faulty(hello(args={"n" * 64 * KIB: 1}), 422, f"unexpected argument `{'n' * 100}`"),
    "H4-args-10000-keys": Faulty(hello(args={f"k{i}": i for i in range(10_000)}), 422, "unexpected argument `k0`"),
    # handlers
    "view-that-cannot-be-made": Faulty(hello(url="/unmakeable"), 500, FAILED),
    "handler-recurses": Faulty(hello(url="/recurse"), 500, FAILED),
    "handler-yields-garbage": Faulty(hello(url="/bad-yield"), 500, FAILED),
    "handler-cancels-itself": Faulty(hello(url="/cancel-itself"), 500, FAILED),
    **{f"H2-raises-{what}": Faulty(hello(url=f"/raise/{what}"), 500, FAILED) for what in RAISED},
    **{f"H2-raises-later-{what}": Faulty(hello(url=f"/raise-later/{what}"), 500, FAILED) for what in RAISED},
    **{
        f"{how}-{what}": Faulty(hello(url=f"/{how}/{what}"), status, detail)
        for how in ("refuse", "refuse-later")
        for what, (_, status, detail) in API_RAISED.items()
    },
    **{
        f"H3-{how}-{what}": Faulty(hello(url=f"/{how}/{what}"), 500, UNENCODABLE)
        for how in ("return", "return-later")
        for what in UNENCODABLES
    },
    "S10-error-of-a-view-with-XML-is-JSON": Faulty(
        hello(method="POST", url="/markup", args=[1]), 422, "`args` must be an object"
    ),
}


def in_form(envelope: dict[str, Any], form: str) -> tuple[bytes, int]:
    """Give (payload, opcode) of a request in one of the four forms."""
    payload = json.dumps(envelope, separators=(",", ":")).encode()
    if form.endswith("base64"):
        payload = base64.b64encode(payload)
    return payload, TEXT if form.startswith("text") else BINARY


def out_of_form(reply: Frame, form: str) -> bytes:
    """Give the JSON of a reply, which must be of the same form."""
    assert reply.opcode == (TEXT if form.startswith("text") else BINARY)
    return base64.b64decode(reply.payload, validate=True) if form.endswith("base64") else reply.payload


FORMS = ("text-json", "text-base64", "binary-json", "binary-base64")


@pytest.mark.parametrize("row", FAULTY.values(), ids=FAULTY.keys())
@asynchronous
async def test_faulty_request_gets_its_one_reply_in_its_form(row: Faulty) -> None:
    async with (
        serving(make_router(), max_message_size=2_000_000) as app,
        await Client.connect(app) as client,
        await Client.connect(app) as other,
    ):
        for form in FORMS:
            client.send(*in_form(row.envelope, form))
            client.send(dump(hello()))
            detail = AS_IN_1_1_1.get(row.detail, row.detail) if isinstance(row.detail, str) else row.detail
            assert out_of_form(await client.receive(), form) == dump({"detail": detail, "event_name": None})
            assert (await client.receive()).payload == HELLO

            client.send(*in_form(row.envelope | {"id": "é", "event_name": {"on": 1}}, form))
            answer = out_of_form(await client.receive(), form)
            detail = row.detail
            if detail == UNKNOWN:
                detail = json.loads(answer)["detail"]
                assert detail.startswith("no route " if row.status == 404 else "no method ")
                assert len(detail) < 250  # a large url or method is not sent back
            assert answer == dump({"id": "é", "status": row.status, "detail": detail, "event_name": {"on": 1}})
        await unharmed(client, other)


async def unharmed(client: Client, other: Client) -> None:
    """See that both connections go on, and that nothing but what was asked for comes."""
    for one in (client, other):
        one.send(dump(hello()))
        assert await one.receive() == Frame(TEXT, HELLO)
        assert (await one.leave()).close_code == 1000


# Messages that are no request at all, as bytes


@dataclass(frozen=True)
class Message:
    payload: bytes
    detail: str | re.Pattern[str]
    opcode: int = TEXT
    base64: bool = False
    event_name: Any = None
    packed: bool = False


def b64(text: bytes) -> bytes:
    return base64.b64encode(text)


HELLO_REQUEST = b'{"method":"GET","url":"/hello"}'
HELLO_BASE64 = b64(HELLO_REQUEST)
PADDED = b64(b'{"method":"GET","url":"/hello" }')  # 32 bytes: one "="
URL_SAFE = b64(b'{"method":"GET","url":"/hello","x":"???>>>"}').replace(b"+", b"-").replace(b"/", b"_")
assert PADDED.endswith(b"=")
assert not PADDED.endswith(b"==")
assert b"_" in URL_SAFE


def text64(payload: bytes, detail: str | re.Pattern[str]) -> Message:
    return Message(payload, detail, base64=True)


def binary64(payload: bytes, detail: str | re.Pattern[str] = NOT_BASE64) -> Message:
    return Message(payload, detail, BINARY, base64=True)


def packed(payload: bytes, detail: str) -> Message:
    return Message(payload, f"request is not valid MessagePack: {detail}", BINARY, packed=True)


def bad_id(value: str) -> Message:
    return Message(b'{"id":%s,"method":"GET","url":"/hello"}' % value.encode(), BAD_ID)


MESSAGES: dict[str, Message] = {
    # H1: no JSON
    "H1-empty-text": Message(b"", NOT_JSON),
    "H1-empty-binary": binary64(b"", NOT_JSON),
    "H1-space": Message(b" ", NOT_JSON),
    "H1-spaces-in-a-binary-frame": binary64(b" \n"),
    "H1-words": Message(b"hello?", NOT_JSON),
    "H1-unclosed": Message(b'{"method":"GET"', NOT_JSON),
    "H1-trailing-data": Message(HELLO_REQUEST + b"{}", NOT_JSON),
    "H1-two-requests": Message(HELLO_REQUEST + b"\n" + HELLO_REQUEST, NOT_JSON),
    "H1-trailing-comma": Message(b'{"method":"GET","url":"/hello",}', NOT_JSON),
    "H1-single-quotes": Message(b"{'method':'GET','url':'/hello'}", NOT_JSON),
    "H1-comment": Message(b'{"method":"GET"/* */,"url":"/hello"}', NOT_JSON),
    "H1-number-as-key": Message(b'{1:"GET"}', NOT_JSON),
    "H1-NaN": Message(b'{"method":"GET","url":"/hello","data":NaN}', NOT_JSON),
    "H1-Infinity": Message(b'{"method":"GET","url":"/hello","data":-Infinity}', NOT_JSON),
    "H1-NaN-alone": Message(b"NaN", NOT_JSON),
    "H1-hexadecimal": Message(b'{"data":0x10}', NOT_JSON),
    "H1-leading-zero": Message(b'{"data":01}', NOT_JSON),
    "H1-lone-surrogate": Message(b'{"method":"GET","url":"/hello","data":"\\ud800"}', NOT_JSON),
    "H1-lone-surrogate-in-a-key": Message(b'{"\\udc00":1}', NOT_JSON),
    "H1-raw-newline-in-a-string": Message(b'{"method":"GET","url":"/hel\nlo"}', NOT_JSON),
    "H1-BOM": Message(b"\xef\xbb\xbf" + HELLO_REQUEST, NOT_JSON),
    "H1-no-break-space": Message("\u00a0".encode() + HELLO_REQUEST, NOT_JSON),
    "H1-NUL": Message(b"\0", NOT_JSON),
    "H1-NUL-behind": Message(HELLO_REQUEST + b"\0", NOT_JSON),
    "H1-900-KiB-of-brackets": Message(b"[" * 900 * KIB, NOT_JSON),
    "H1-900-KiB-of-braces": Message(b'{"a":' * 180 * KIB, NOT_JSON),
    "H1-900-KiB-of-brackets-as-data": Message(b'{"data":' + b"[" * 900 * KIB, NOT_JSON),
    "H1-2000-levels-closed": Message(b'{"data":' + b"[" * 2000 + b"]" * 2000 + b"}", NOT_JSON),
    "H1-900-KiB-of-spaces": Message(b" " * 900 * KIB, NOT_JSON),
    "H1-900-KiB-of-backslashes": Message(b'{"data":"' + b"\\" * 900 * KIB, NOT_JSON),
    # H1: no object
    "H1-null": Message(b"null", "request must be a JSON object, got null"),
    "H1-true": Message(b"true", "request must be a JSON object, got a boolean"),
    "H1-1": Message(b"1", "request must be a JSON object, got a number"),
    "H1-float": Message(b"-1.5", "request must be a JSON object, got a number"),
    "H1-string": Message(b'"GET"', "request must be a JSON object, got a string"),
    "H1-list": Message(b'["GET","/hello"]', "request must be a JSON object, got an array"),
    "H1-list-of-requests": Message(b"[" + HELLO_REQUEST + b"]", "request must be a JSON object, got an array"),
    "H1-list-in-a-binary-frame": Message(b"[]", "request must be a JSON object, got an array", BINARY),
    "H1-900-KiB-integer": Message(b"9" * 900 * KIB, re.compile(r"request (is not valid JSON|must be a JSON object).*")),
    # H1: no base64
    "H1-e31=": text64(b"e31=", TRAILING),  # "{}", with a bit that is not zero behind it
    "H1-base64-of-a-list": text64(b"IFsxXQ==", "request must be a JSON object, got an array"),  # " [1]"
    "H1-base64-with-a-space": text64(HELLO_BASE64[:8] + b" " + HELLO_BASE64[8:], NOT_BASE64),
    "H1-base64-with-a-line-break": text64(HELLO_BASE64[:8] + b"\r\n" + HELLO_BASE64[8:], NOT_BASE64),
    "H1-base64-with-a-newline-behind": text64(HELLO_BASE64 + b"\n", NOT_BASE64),
    "H1-base64-with-a-space-in-front": Message(b" " + HELLO_BASE64, NOT_JSON),
    "H1-base64-with-a-space-in-front-binary": binary64(b" " + HELLO_BASE64),
    "H1-base64-without-padding": text64(PADDED[:-1], NOT_BASE64),
    "H1-base64-with-too-much-padding": text64(PADDED + b"=", NOT_BASE64),
    "H1-base64-with-padding-inside": text64(b"e30=" + HELLO_BASE64, NOT_BASE64),
    "H1-base64-padding-alone": binary64(b"===="),
    "H1-base64-one-character": text64(b"e", NOT_BASE64),
    "H1-base64-two-trailing-bits": text64(b"e30xfR==", TRAILING),
    "H1-base64-url-safe": text64(URL_SAFE, NOT_BASE64),
    "H1-base64-with-junk": text64(HELLO_BASE64[:8] + b"!" + HELLO_BASE64[8:], NOT_BASE64),
    "H1-base64-not-ASCII": text64(HELLO_BASE64 + "é".encode(), NOT_BASE64),
    "H1-base64-twice": binary64(b64(HELLO_BASE64), NOT_JSON),
    "H1-base64-of-bad-UTF-8": text64(b64(b'{"method":"\xff","url":"/hello"}'), NOT_JSON),
    "H1-base64-of-an-overlong-slash": text64(b64(b'{"method":"GET","url":"\xc0\xafhello"}'), NOT_JSON),
    "H1-base64-of-a-surrogate": text64(b64(b'{"method":"GET","url":"\xed\xa0\x80"}'), NOT_JSON),
    "H1-base64-of-nothing": binary64(b"AAAA", NOT_JSON),
    "H1-error": text64(b"error", NOT_BASE64),  # a word that begins as base64 of an object does
    # binary frames that are neither
    "H1-binary-NUL": binary64(b"\0"),
    "H1-binary-bad-UTF-8": binary64(b"\xff\xfe"),
    "H1-binary-JSON-with-bad-UTF-8": Message(b'{"method":"\xff"}', NOT_JSON, BINARY),
    "H1-binary-UTF-16": binary64(HELLO_REQUEST.decode().encode("utf-16")),
    "H1-binary-BOM": binary64(b"\xef\xbb\xbf" + HELLO_REQUEST),
    "H1-MessagePack-80": packed(b"\x80\xa3url", "bytes follow its end"),
    **{
        f"H1-MessagePack-{first:02x}": packed(bytes([first]) + b"\xc3" * 30, "a key is not a string")
        for first in range(0x81, 0x90)
    },
    "H1-MessagePack-de": packed(b"\xde\xff\xff\xa3url\xa6/hello", "it ends too early"),
    "H1-MessagePack-df": packed(b"\xdf\xff\xff\xff\xff\xa3url\xa6/hello", "it ends too early"),
    "H1-MessagePack-900-KiB-of-arrays": packed(
        b"\x81\xa4data" + b"\x91" * 900 * KIB, "it is nested deeper than 512 levels"
    ),
    # id
    "id-2^64": bad_id(str(2**64)),
    "id-below-int64": bad_id(str(-(2**63) - 1)),
    "id-float": bad_id("1.5"),
    "id-float-that-is-whole": bad_id("1.0"),
    "id-exponent": bad_id("1e3"),
    "id-minus-zero-float": bad_id("-0.0"),
    "id-true": bad_id("true"),
    "id-false": bad_id("false"),
    "id-list": bad_id("[1]"),
    "id-empty-list": bad_id("[]"),
    "id-object": bad_id('{"a":1}'),
    "id-257-bytes": bad_id('"' + "a" * 257 + '"'),
    "id-258-bytes-not-ASCII": bad_id('"' + "é" * 129 + '"'),
    "id-64-emoji-and-one": bad_id('"' + "😀" * 64 + 'a"'),
    "id-900-KiB": bad_id('"' + "a" * 900 * KIB + '"'),
    "id-900-KiB-of-digits": Message(
        b'{"method":"GET","url":"/hello","id":' + b"9" * 900 * KIB + b"}",
        re.compile(r"request is not valid JSON.*|`id` must be .*"),
    ),
    "id-last-of-two-is-bad": Message(b'{"id":1,"id":[],"method":"GET","url":"/hello"}', BAD_ID),
    "id-bad-and-nothing-else": Message(b'{"id":[]}', BAD_ID),
    "id-bad-with-event-name": Message(
        b'{"id":[],"event_name":"x","method":"GET","url":"/hello"}', BAD_ID, event_name="x"
    ),
    "empty-object": Message(b"{}", NO_URL),
    "empty-object-in-base64": text64(b"e30=", NO_URL),
    "H1-900-KiB-integer-as-args": Message(
        b'{"method":"GET","url":"/hello","args":' + b"9" * 900 * KIB + b"}",
        re.compile(r"request is not valid JSON.*|`args` must be an object"),
    ),
}


@pytest.mark.parametrize("row", MESSAGES.values(), ids=MESSAGES.keys())
@asynchronous
async def test_malformed_message_gets_its_one_reply_in_its_form(row: Message) -> None:
    async with serving(make_router()) as app, await Client.connect(app) as client, await Client.connect(app) as other:
        client.send(row.payload, row.opcode)
        client.send(dump(hello()))
        reply = await client.receive()
        assert reply.opcode == row.opcode
        body = base64.b64decode(reply.payload, validate=True) if row.base64 else reply.payload
        if row.packed:
            body = dump(msgspec.msgpack.decode(body))
        parsed = json.loads(body)
        if isinstance(row.detail, str):
            assert parsed["detail"] == row.detail
        else:
            assert row.detail.fullmatch(parsed["detail"])
            assert len(parsed["detail"]) < 200  # a large message is not sent back
        assert body == dump({"detail": parsed["detail"], "event_name": row.event_name})
        assert await client.receive() == Frame(TEXT, HELLO)
        await unharmed(client, other)


# Requests that look bad and are good


@dataclass(frozen=True)
class Odd:
    payload: bytes
    reply: bytes
    opcode: int = TEXT


def odd(reply: Any, payload: bytes | None = None, /, **envelope: Any) -> Odd:
    return Odd(dump(hello(**envelope)) if payload is None else payload, dump({"data": reply, "event_name": None}))


GOOD: dict[str, Odd] = {
    "spaces-around-JSON": odd("Hello, world!", b" \t\r\n" + HELLO_REQUEST + b" \r\n"),
    "spaces-around-JSON-in-a-binary-frame": Odd(b" \n" + HELLO_REQUEST + b"\n", HELLO, BINARY),
    "spaces-around-url": odd("Hello, world!", url="  /hello "),
    "slash-behind-url": odd("Hello, world!", url="/hello/"),
    "spaces-around-method": odd("Hello, world!", method=" get "),
    "duplicate-keys-last-wins": odd("Hello, world!", b'{"url":"/no","method":5,"url":"/hello","method":"GET"}'),
    "duplicate-keys-in-args-last-wins": odd(["1", {"a": 2}], b'{"method":"GET","url":"/users/1","args":{"a":1,"a":2}}'),
    "escapes": odd("Hello, world!", b'{"\\u006dethod":"G\\u0045T","url":"\\/hello"}'),
    "args-null": odd("Hello, world!", args=None),
    "args-empty": odd("Hello, world!", args={}),
    "args-format-that-the-handler-does-not-take": odd("Hello, world!", args={"format": "xml"}),
    "args-format-of-a-type-that-no-renderer-has": odd("Hello, world!", args={"format": [{}]}),
    "args-10000-keys": odd(10_000, url="/any", args={f"k{i}": i for i in range(10_000)}),
    "args-names-that-are-no-identifiers": odd(["1", {"a b": 1, "é": 2}], url="/users/1", args={"a b": 1, "é": 2}),
    "args-dangerous-names": odd(
        ["1", {"__class__": 1, "kwargs": 2, "args": 3}], url="/users/1", args={"__class__": 1, "kwargs": 2, "args": 3}
    ),
    "url-parameter-of-dots": odd(["..", {}], url="/users/.."),
    "url-parameter-percent-encoded": odd(["b%2Fb", {}], url="/users/b%2Fb"),
    "url-parameter-64-KiB": odd(["a" * 64 * KIB, {}], url="/users/" + "a" * 64 * KIB),
    "url-parameter-with-quotes": odd(["'\"<&>", {}], url="/users/'\"<&>"),
    "url-parameter-like-a-method": odd(["__class__", {}], url="/users/__class__"),
    "id-null-counts-as-absent": odd("Hello, world!", id=None),
    "data-nested-300": odd(nested(300), method="POST", url="/echo", data=nested(300)),
    "data-integer-beyond-64-bits-is-a-float": odd(1.8446744073709552e19, method="POST", url="/echo", data=2**64),
    "data-NUL": odd("\0", method="POST", url="/echo", data="\0"),
    "data-900-KiB": odd("é" * 450 * KIB, method="POST", url="/echo", data="é" * 450 * KIB),
    "H6-coroutine-function": odd("awaited", url="/return/awaitable"),
    "handler-cancels-itself-and-returns": odd("returned", url="/cancel-itself-and-return"),
    **{
        f"H3-{how}-{what}": odd(reply, url=f"/{how}/{what}")
        for how in ("return", "return-later")
        for what, (_, reply) in ENCODABLES.items()
    },
    **{
        f"S1-{key}": odd("Hello, world!", **{key: "POST"})
        for key in (
            *("__class__", "__init__", "__dict__", "_method", "_url", "_envelope", "connection", "to_representation"),
            *("get_argument", "extra", "route", "form", "status", "user", "session", "self", "", "a b"),
        )
    },
    "S1-10000-keys": odd("Hello, world!", **{f"k{i}": i for i in range(10_000)}),
    **{
        f"S1-{name}-is-not-read-from-the-wire": odd(
            f"request has no attribute {name!r}{where}", url=f"/read/{name}", **{name: "evil"}
        )
        for name, where in (("session", ", look for request.connection.session"), ("_secret", ""), ("__len__", ""))
    },
    "S1-state-is-not-read-from-the-wire": odd("namespace()", url="/read/state", state="evil"),
    **{
        f"S1-{name}-stays-what-it-is": odd("None", url=f"/read/{name}", **{name: "evil"})
        for name in ("user", "token_payload")
    },
    "S1-key-is-readable": odd("'t'", url="/read/token", token="t"),
    "S1-keys-are-in-extra": odd(
        {"token": "t", "__class__": 1, "user": "evil"}, url="/extra", token="t", __class__=1, user="evil"
    ),
    "event_name-is-echoed": Odd(
        dump(hello(event_name={"a": [1, None]})), b'{"data":"Hello, world!","event_name":{"a":[1,null]}}'
    ),
    "event_name-nested-30": Odd(
        dump(hello(event_name=nested(30))), dump({"data": "Hello, world!", "event_name": nested(30)})
    ),
    "event_name-4-KiB": Odd(
        dump(hello(event_name="x" * 4094)), dump({"data": "Hello, world!", "event_name": "x" * 4094})
    ),
    **{
        f"id-{name}": Odd(dump(hello(id=value)), dump({"id": value, "status": 200, "data": "Hello, world!"}))
        for name, value in {
            "uint64-max": 2**64 - 1,
            "int64-min": -(2**63),
            "zero": 0,
            "empty-string": "",
            "256-bytes": "a" * 256,
            "256-bytes-not-ASCII": "é" * 128,
            "256-bytes-of-emoji": "😀" * 64,
            "NUL": "\0",
            "quotes": '"\\</script>',
            "like-a-number": "1",
        }.items()
    },
    "id-minus-zero": Odd(b'{"id":-0,"method":"GET","url":"/hello"}', b'{"id":0,"status":200,"data":"Hello, world!"}'),
    "S10-XML-element-names-are-escaped": Odd(
        dump({"method": "POST", "url": "/markup", "data": {"a b><x": "<&>"}}),
        b'<?xml version="1.0" encoding="utf-8"?>\n'
        b"<root><data><a_x0020_b_x003E__x003C_x>&lt;&amp;&gt;</a_x0020_b_x003E__x003C_x></data><event_name></event_name></root>",
    ),
    "S10-format-chooses-JSON": Odd(
        dump({"method": "POST", "url": "/markup", "args": {"format": "json"}, "data": {"a b><x": 1}}),
        b'{"data":{"a b><x":1},"event_name":null}',
    ),
}


@pytest.mark.parametrize("row", GOOD.values(), ids=GOOD.keys())
@asynchronous
async def test_odd_but_valid_request_is_answered(row: Odd) -> None:
    async with serving(make_router()) as app, await Client.connect(app) as client, await Client.connect(app) as other:
        client.send(row.payload, row.opcode)
        assert await client.receive() == Frame(row.opcode, row.reply)
        await unharmed(client, other)


def test_the_table_is_as_long_as_promised() -> None:
    assert len(FAULTY) + len(MESSAGES) >= 60


@pytest.mark.parametrize("depth", [900, 1000, 1020])
@asynchronous
async def test_event_name_too_deep_to_be_encoded_gets_one_reply(depth: int) -> None:
    async with serving(make_router()) as app, await Client.connect(app) as client, await Client.connect(app) as other:
        client.send(b'{"method":"GET","url":"/hello","event_name":' + b"[" * depth + b"]" * depth + b"}")
        client.send(b'{"method":"GET","url":"/hello","id":1,"event_name":' + b"[" * depth + b"]" * depth + b"}")
        first, second = await client.receive(), await client.receive()
        assert first.payload.startswith((b'{"data":"Hello, world!"', b'{"detail":"'))
        assert second.payload.startswith(b'{"id":1,"status":')
        await unharmed(client, other)


@asynchronous
async def test_key_of_one_request_is_seen_by_no_other() -> None:
    """S1: 1.1.1 installed unknown keys as properties of the class."""
    async with serving(make_router()) as app, await Client.connect(app) as client, await Client.connect(app) as other:
        assert (await client.ask(url="/read/token", token="mine"))["data"] == "'mine'"
        assert (await client.ask(url="/read/token"))["data"] == "request has no attribute 'token'"
        assert (await other.ask(url="/read/token"))["data"] == "request has no attribute 'token'"


@asynchronous
async def test_all_rows_pipelined_on_one_connection_are_answered_in_order() -> None:
    router = make_router()
    async with serving(router) as app, await Client.connect(app) as client, await Client.connect(app) as other:
        rows = [(row.payload, row.opcode) for row in MESSAGES.values() if len(row.payload) < 10_000]
        rows += [in_form(row.envelope, form) for row, form in zip(FAULTY.values(), FORMS * len(FAULTY), strict=False)]
        rows = [(payload, opcode) for payload, opcode in rows if len(payload) < 10_000]
        rows += [
            (row.payload, row.opcode)
            for row in GOOD.values()
            if b'"id"' not in row.payload and len(row.payload) < 10_000
        ]
        for number, (payload, opcode) in enumerate(rows):
            client.send(payload, opcode)
            client.send(dump(hello(event_name=number)))
        for number, (_, opcode) in enumerate(rows):
            assert (await client.receive()).opcode == opcode
            assert await client.reply() == {"data": "Hello, world!", "event_name": number}
        await unharmed(client, other)


# What is logged, and what is shown


@asynchronous
async def _ask(url: str, replies: list[Any], **options: Any) -> None:
    async with serving(make_router(), **options) as app, await Client.connect(app) as client:
        replies.append(await client.ask(url=url, id=1))
        replies.append(await client.ask(url="/hello"))


@pytest.mark.parametrize("url", ["/raise/KeyError", "/raise-later/KeyError", "/raise/SystemExit", "/raise/BrokenText"])
def test_unexpected_exception_is_logged_once_with_method_and_url(url: str, caplog: pytest.LogCaptureFixture) -> None:
    replies: list[Any] = []
    _ask(url, replies)
    (record,) = [record for record in caplog.records if record.name.startswith("aiorest_ws")]
    assert record.levelno == logging.ERROR
    assert "'GET'" in record.getMessage()
    assert repr(url) in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[0] is type(RAISED[url.rpartition("/")[2]]())
    assert replies[0] == {"id": 1, "status": 500, "detail": FAILED}


@pytest.mark.parametrize("what", ["object", "circular-list"])
def test_unencodable_result_is_logged_once(what: str, caplog: pytest.LogCaptureFixture) -> None:
    replies: list[Any] = []
    _ask(f"/return/{what}", replies)
    (record,) = [record for record in caplog.records if record.name.startswith("aiorest_ws")]
    assert f"/return/{what}" in record.getMessage()
    assert replies[0]["status"] == 500


@pytest.mark.parametrize("url", ["/nowhere", "/refuse/own-status", "/refuse/ValidationError-dict"])
def test_error_of_the_client_is_not_logged(url: str, caplog: pytest.LogCaptureFixture) -> None:
    _ask(url, [])
    assert [record for record in caplog.records if record.name.startswith("aiorest_ws")] == []


@pytest.mark.parametrize("how", ["raise", "raise-later"])
def test_traceback_is_shown_to_clients_only_with_debug(how: str) -> None:
    replies: list[Any] = []
    _ask(f"/{how}/KeyError", replies, debug=True)
    assert replies[0]["status"] == 500
    assert "Traceback (most recent call last)" in replies[0]["detail"]
    assert "KeyError: 'secret'" in replies[0]["detail"]
    assert replies[1]["data"] == "Hello, world!"


@pytest.mark.parametrize("what", RAISED)
def test_debug_survives_whatever_is_raised(what: str) -> None:
    replies: list[Any] = []
    _ask(f"/raise/{what}", replies, debug=True)
    assert replies[0]["status"] == 500
    assert replies[1]["data"] == "Hello, world!"


# The protocol level


@asynchronous
async def test_ping_between_requests_is_answered_in_its_place() -> None:
    async with serving(make_router()) as app, await Client.connect(app) as client:
        client.writer.write(frame(dump(hello())) + frame(b"p", PING) + frame(dump(hello())))
        assert await client.receive() == Frame(TEXT, HELLO)
        assert await client.receive() == Frame(PONG, b"p")
        assert await client.receive() == Frame(TEXT, HELLO)


@asynchronous
async def test_fragmented_request_is_one_request() -> None:
    async with serving(make_router()) as app, await Client.connect(app) as client, await Client.connect(app) as other:
        client.writer.write(
            frame(HELLO_REQUEST[:7], TEXT, fin=False)
            + frame(b"", PING)
            + frame(HELLO_REQUEST[7:9], 0, fin=False)
            + frame(HELLO_REQUEST[9:], 0)
        )
        assert (await client.receive()).opcode == PONG
        assert await client.receive() == Frame(TEXT, HELLO)
        await unharmed(client, other)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        pytest.param(frame(b"\xff", TEXT), 1007, id="text-that-is-no-UTF-8"),
        pytest.param(frame(b'{"a":"\xed\xa0\x80"}', TEXT), 1007, id="surrogate-in-text"),
        pytest.param(b"\x81\x02{}", 1002, id="unmasked"),
        pytest.param(frame(b"{}", 0x3), 1002, id="reserved-opcode"),
        pytest.param(frame(b"{}", TEXT, compressed=True), 1002, id="reserved-bit"),
        pytest.param(frame(b"{}", 0x0), 1002, id="continuation-of-nothing"),
        pytest.param(frame(b"", PING, fin=False), 1002, id="fragmented-ping"),
        pytest.param(frame(b"\x03\xe7", CLOSE), 1002, id="close-code-999"),
    ],
)
@asynchronous
async def test_protocol_fault_closes_only_its_connection(sent: bytes, code: int) -> None:
    async with serving(make_router()) as app, await Client.connect(app) as client, await Client.connect(app) as other:
        client.writer.write(frame(dump(hello())) + sent)
        assert await client.receive() == Frame(TEXT, HELLO)
        assert (await client.left()).close_code == code
        assert await other.ask() == json.loads(HELLO)


@asynchronous
async def test_nothing_is_dispatched_after_the_fault() -> None:
    calls: list[str] = []
    router = make_router()

    @endpoint("/count", "GET")
    def counted(request: Any) -> None:
        calls.append("called")

    router.register_endpoint(counted)
    async with serving(router) as app, await Client.connect(app) as client:
        client.writer.write(frame(b"\xff", TEXT) + frame(dump(hello(url="/count"))))
        assert (await client.left()).close_code == 1007
    assert calls == []


# Routing, as it shows on the wire


class Named(MethodBasedView):
    def get(self, request: Any, *args: Any) -> Any:
        return [request.route.path, *args]

    post = delete = get


@asynchronous
async def test_methods_of_one_path_come_from_several_registrations() -> None:
    """R1."""
    router = SimpleRouter()
    router.register("/a", Named, "GET")
    router.register("/a", Named, ["POST"])
    async with serving(router) as app, await Client.connect(app) as client:
        assert (await client.ask("GET", "/a", id=1))["data"] == ["/a/"]
        assert (await client.ask("POST", "/a", id=2))["status"] == 200
        assert (await client.ask("DELETE", "/a", id=3))["status"] == 405
        assert (await client.ask("DELETE", "/b", id=4))["status"] == 404


@asynchronous
async def test_static_beats_parameter_and_backtracks() -> None:
    """R6."""
    router = SimpleRouter()
    for path, methods in {
        "/user/{id}": ["GET", "POST"],
        "/user/list": ["GET"],
        "/a/{y}/b": ["GET"],
        "/{x}/c": ["GET"],
        "/f/{name}.json": ["GET"],
        "/f/{name}": ["GET"],
    }.items():
        router.register(path, Named, methods)
    expected = {
        ("GET", "/user/list"): ["/user/list/"],
        ("POST", "/user/list"): ["/user/{id}/", "list"],
        ("GET", "/user/7"): ["/user/{id}/", "7"],
        ("GET", "/a/1/b"): ["/a/{y}/b/", "1"],
        ("GET", "/a/c"): ["/{x}/c/", "a"],
        ("GET", "/f/x.json"): ["/f/{name}.json/", "x"],
        ("GET", "/f/x.xml"): ["/f/{name}/", "x.xml"],
    }
    async with serving(router) as app, await Client.connect(app) as client:
        for (method, url), data in expected.items():
            assert (await client.ask(method, url))["data"] == data
        assert (await client.ask("DELETE", "/user/list", id=1))["status"] == 405
        assert (await client.ask("GET", "/a/1/c", id=1))["status"] == 404


@asynchronous
async def test_included_router_is_live() -> None:
    """R7."""
    router, inner = SimpleRouter(), SimpleRouter()
    router.include(inner, prefix="/v2")
    async with serving(router) as app, await Client.connect(app) as client:
        assert (await client.ask("GET", "/v2/x/1", id=1))["status"] == 404
        inner.register("/x/{n}", Named, "GET")
        assert (await client.ask("GET", "/v2/x/1", id=1))["data"] == ["/v2/x/{n}/", "1"]


@asynchronous
async def test_view_is_made_afresh_for_each_request() -> None:
    made: list[int] = []

    class View(MethodBasedView):
        def __init__(self) -> None:
            made.append(id(self))
            self.calls = 0

        def get(self, request: Any) -> int:
            self.calls += 1
            return self.calls

    router = SimpleRouter()
    router.register("/", View, "GET")
    async with serving(router) as app, await Client.connect(app) as client:
        assert [(await client.ask("GET", "/"))["data"] for _ in range(3)] == [1, 1, 1]
    assert len(made) == 3


@asynchronous
async def test_a_thousand_bad_messages_leave_nothing_behind() -> None:
    async with serving(make_router()) as app, await Client.connect(app) as client:
        for _ in range(1000):
            client.send(b"{")
        for _ in range(1000):
            assert (await client.reply())["detail"].startswith("request is not valid JSON")
        (connection,) = _connections(app)

        assert connection.tasks == frozenset()
        assert await client.ask() == json.loads(HELLO)


def _connections(app: Application) -> Any:
    return factory_of(app).connections


@asynchronous
async def test_application_of_a_request_is_not_read_from_the_wire() -> None:
    async with serving(make_router()) as app, await Client.connect(app) as client:
        assert (await client.ask(url="/read/app", app="evil"))["data"] == repr(app)
