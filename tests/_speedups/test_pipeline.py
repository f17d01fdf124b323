"""Payload in, payload out, without a socket: every request gets its one reply, on both implementations."""

from __future__ import annotations

import asyncio
import base64
import functools
import inspect
import json
from collections.abc import Callable, Generator
from http import HTTPStatus
from typing import Any
from unittest import mock

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorest_ws.decorators import Endpoint, endpoint
from aiorest_ws.exceptions import (
    BaseAPIException,
    HandlerFailed,
    InvalidMessage,
    PermissionDeniedException,
    SerializerError,
    ValidationError,
)
from aiorest_ws.renderers import BaseRenderer, JSONRenderer, XMLRenderer
from aiorest_ws.routers import SimpleRouter
from aiorest_ws.views import MethodBasedView
from tests.kit.examples import examples
from tests.kit.servers import NO_HANDLER, Server, data, detail, get, hello, waited
from tests.swapping import Impl, using

HELLO = b'{"method":"GET","url":"/hello","event_name":"e1"}'
NO_METHOD = "In query not specified `method` argument."
NO_URL = "In query not specified `url` argument."
SERVER_ERROR = "A server error occurred."
SERIALIZER_ERROR = "Error has occurred inside serializer class."  # as in 1.1.1, to requests without `id`
UNENCODABLE = "the handler's result cannot be encoded"


@endpoint("/hello-later", "GET")
async def hello_later(request: Any) -> str:
    await asyncio.sleep(0)
    return "Hello, world!"


class Hello(MethodBasedView):
    def get(self, request: Any) -> str:
        return "Hello, world!"


class HelloLater(MethodBasedView):
    async def get(self, request: Any) -> str:
        await asyncio.sleep(0)
        return "Hello, world!"


# Shapes of a reply


@pytest.mark.parametrize("path", ["/hello", "/hello-later", "/view", "/view-later"])
def test_hello_is_answered_byte_for_byte(impl: Impl, path: str) -> None:
    server = Server(impl, hello, hello_later, ("/view", Hello, "GET"), ("/view-later", HelloLater, ["GET"]))
    request = b'{"method":"GET","url":"%s"}' % path.encode()
    assert server.send(request) == b'{"data":"Hello, world!","event_name":null}'
    assert server.send(request[:-1] + b',"event_name":"e1"}') == b'{"data":"Hello, world!","event_name":"e1"}'
    assert server.send(request[:-1] + b',"id":7}') == b'{"id":7,"status":200,"data":"Hello, world!"}'
    assert (
        server.send(request[:-1] + b',"id":"a","event_name":"e1"}')
        == b'{"id":"a","status":200,"data":"Hello, world!","event_name":"e1"}'
    )
    assert server.send(request[:-1] + b',"id":null}') == b'{"data":"Hello, world!","event_name":null}'
    assert server.reports == []


def test_errors_are_answered_byte_for_byte(impl: Impl) -> None:
    server = Server(impl, hello)
    detail = b'"detail":"' + NO_HANDLER.encode() + b'"'
    assert server.send(b'{"method":"GET","url":"/no"}') == b"{" + detail + b',"event_name":null}'
    assert server.send(b'{"method":"GET","url":"/no","event_name":"e"}') == b"{" + detail + b',"event_name":"e"}'
    detail = b'"detail":"no route /no"'
    assert server.send(b'{"method":"GET","url":"/no","id":1}') == b'{"id":1,"status":404,' + detail + b"}"
    assert (
        server.send(b'{"method":"GET","url":"/no","id":1,"event_name":0}')
        == b'{"id":1,"status":404,' + detail + b',"event_name":0}'
    )


@pytest.mark.parametrize(
    "event_name", [None, "e1", "", 0, False, 1.5, [], {}, {"a": [1, {"b": None}]}, "\u2028é\U0001f600", 2**64 - 1]
)
@pytest.mark.parametrize("url", ["/hello", "/hello-later", "/no"])
def test_event_name_is_echoed_whatever_it_is(impl: Impl, event_name: Any, url: str) -> None:
    server = Server(impl, hello, hello_later)
    request = {"method": "GET", "url": url, "event_name": event_name}
    reply = orjson.loads(server.send(orjson.dumps(request)))
    assert reply.pop("event_name") == event_name
    assert list(reply) == ["detail" if url == "/no" else "data"]
    assert server.ask(url, event_name=event_name).get("event_name") == event_name


@pytest.mark.parametrize(
    "number", [0, 1, -1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), "", "a", "é" * 128, "x" * 256, "1"]
)
@pytest.mark.parametrize("url", ["/hello", "/hello-later", "/no"])
def test_id_is_echoed_exactly(impl: Impl, number: Any, url: str) -> None:
    server = Server(impl, hello, hello_later)
    reply = json.loads(server.send(json.dumps({"method": "GET", "url": url, "id": number}).encode()))
    assert reply["id"] == number
    assert type(reply["id"]) is type(number)
    assert reply["status"] == (404 if url == "/no" else 200)


@pytest.mark.parametrize(
    "number",
    [
        True,
        False,
        1.0,
        1.5,
        2**64,
        -(2**63) - 1,
        10**30,
        [],
        {},
        [1],
        {"a": 1},
        "x" * 257,
        "é" * 129,
        "\U0001f600" * 65,
    ],
    ids=lambda number: str(number)[:20],
)
@pytest.mark.parametrize("url", ["/hello", "/no"])
def test_an_id_that_is_not_allowed_is_a_400_without_id(impl: Impl, number: Any, url: str) -> None:
    called = []
    server = Server(impl, get(lambda request: called.append(1), "/hello"))
    reply = json.loads(server.send(json.dumps({"method": "GET", "url": url, "id": number, "event_name": "e"}).encode()))
    assert list(reply) == ["detail", "event_name"]
    assert "`id` must be" in reply["detail"]
    assert reply["event_name"] == "e"
    assert called == []
    assert server.reports == []


def test_duplicate_keys_mean_the_last_one(impl: Impl) -> None:
    server = Server(impl, hello)
    assert server.send(b'{"url":"/no","url":"/hello","method":"GET","id":1,"id":2}') == (
        b'{"id":2,"status":200,"data":"Hello, world!"}'
    )


# Answered in kind


@pytest.mark.parametrize("url", ["/hello", "/hello-later", "/no", "/fails"])
def test_all_four_forms_are_answered_in_kind(impl: Impl, url: str) -> None:
    server = Server(impl, hello, hello_later, get(lambda request: 1 / 0, "/fails"))
    plain = orjson.dumps({"method": "GET", "url": url, "event_name": "e1"})
    expected = server.send(plain)
    assert orjson.loads(expected)["event_name"] == "e1"
    assert server.send(plain, True) == expected
    assert server.send(b" \n" + plain + b"\n", True) == expected
    for is_binary in (False, True):
        assert server.send(base64.b64encode(plain), is_binary) == base64.b64encode(expected)


MALFORMED: list[tuple[bytes, bool, bool]] = [  # payload, binary frame, answered in base64
    (b"", False, False),
    (b"", True, True),
    (b"null", False, False),
    (b"true", False, False),
    (b"1", False, False),
    (b'"x"', False, False),
    (b"[1]", False, False),
    (b"[1]", True, False),
    (b"{", False, False),
    (b" {", True, False),
    (b"e31=", False, True),
    (b"e31=", True, True),
    (b"eyJh", False, True),
    (b"eyJh Og==", False, True),
    (b"hello", True, True),
    (b"hello", False, False),
    (b"[" * 900 * 1024, False, False),
    (b'{"a":' + b"1" * 900 * 1024 + b"}", False, False),
    (b'\xef\xbb\xbf{"method":"GET","url":"/hello"}', False, False),
]


@pytest.mark.parametrize(("payload", "is_binary", "in_base64"), MALFORMED, ids=lambda value: repr(value)[:20])
def test_what_is_no_request_is_a_400_in_kind(impl: Impl, payload: bytes, is_binary: bool, in_base64: bool) -> None:
    server = Server(impl, hello)
    reply = server.send(payload, is_binary)
    if in_base64:
        reply = base64.b64decode(reply, validate=True)
    body = json.loads(reply)
    assert list(body) == ["detail", "event_name"]
    assert body["detail"].startswith("request ")
    assert body["event_name"] is None
    assert server.reports == []
    assert server.send(HELLO) == b'{"data":"Hello, world!","event_name":"e1"}'


# Statuses of what is wrong with a request


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({}, 400, NO_URL),
    ({"method": "GET"}, 400, NO_URL),
    ({"method": "GET", "url": None}, 400, NO_URL),
    ({"method": "GET", "url": ""}, 400, NO_URL),
    ({"method": "GET", "url": 5}, 400, "URL should be a string type."),
    ({"method": "GET", "url": ["/hello"]}, 400, "URL should be a string type."),
    ({"method": "GET", "url": {"a": 1}}, 400, "URL should be a string type."),
    ({"method": "GET", "url": True}, 400, "URL should be a string type."),
    ({"method": "GET", "url": "/hel\x00lo"}, 400, "url contains a control character"),
    ({"method": "GET", "url": "/hello\n"}, 400, "url contains a control character"),
    ({"method": "GET", "url": "\t/hello"}, 400, "url contains a control character"),
    ({"method": "GET", "url": "/hello\x7f"}, 400, "url contains a control character"),
    ({"url": "/hello"}, 400, NO_METHOD),
    ({"method": None, "url": "/hello"}, 400, NO_METHOD),
    ({"method": "", "url": "/hello"}, 400, NO_METHOD),
    ({"method": 5, "url": "/hello"}, 400, "Method name should be a string type."),
    ({"method": ["GET"], "url": "/hello"}, 400, "Method name should be a string type."),
    ({"method": {"a": 1}, "url": "/hello"}, 400, "Method name should be a string type."),
    ({"method": True, "url": "/hello"}, 400, "Method name should be a string type."),
    ({"url": "/no"}, 404, NO_HANDLER),
    ({"method": 5, "url": "/no"}, 404, NO_HANDLER),
    ({"method": "GET", "url": "/no"}, 404, NO_HANDLER),
    ({"method": "GET", "url": "hello"}, 404, NO_HANDLER),
    ({"method": "GET", "url": "/hello//"}, 404, NO_HANDLER),
    ({"method": "GET", "url": "/hello?x=1"}, 404, NO_HANDLER),
    ({"method": "GET", "url": "/HELLO"}, 404, NO_HANDLER),
    ({"method": "GET", "url": "/{x}"}, 404, NO_HANDLER),
    ({"method": "GET", "url": "/../hello"}, 404, NO_HANDLER),
    ({"method": "GET", "url": "/" + "a" * 65536}, 404, NO_HANDLER),
    ({"method": "GET", "url": "/a" * 32768}, 404, NO_HANDLER),
    ({"method": "GET", "url": "/%68ello"}, 404, NO_HANDLER),
    ({"method": "PUT", "url": "/hello"}, 405, NO_HANDLER),
    ({"method": "HEAD", "url": "/hello"}, 405, NO_HANDLER),
    ({"method": "OPTIONS", "url": "/hello"}, 405, NO_HANDLER),
    ({"method": "dispatch", "url": "/hello"}, 405, NO_HANDLER),
    ({"method": "get_renderer", "url": "/hello"}, 405, NO_HANDLER),
    ({"method": "__init__", "url": "/hello"}, 405, NO_HANDLER),
    ({"method": "endpoint_function", "url": "/hello"}, 405, NO_HANDLER),
    ({"method": "G\u0130T", "url": "/hello"}, 405, NO_HANDLER),
    ({"method": "GET\n", "url": "/hello"}, 405, NO_HANDLER),
    ({"method": "GET", "url": "/hello", "args": [1]}, 422, "`args` must be an object"),
    ({"method": "GET", "url": "/hello", "args": []}, 422, "`args` must be an object"),
    ({"method": "GET", "url": "/hello", "args": "x"}, 422, "`args` must be an object"),
    ({"method": "GET", "url": "/hello", "args": ""}, 422, "`args` must be an object"),
    ({"method": "GET", "url": "/hello", "args": 5}, 422, "`args` must be an object"),
    ({"method": "GET", "url": "/hello", "args": 0}, 422, "`args` must be an object"),
    ({"method": "GET", "url": "/hello", "args": 0.0}, 422, "`args` must be an object"),
    ({"method": "GET", "url": "/hello", "args": True}, 422, "`args` must be an object"),
    ({"method": "GET", "url": "/hello", "args": False}, 422, "`args` must be an object"),
    ({"method": "GET", "url": "/hello", "args": {"a": 1}}, 422, "unexpected argument `a`"),
]


@pytest.mark.parametrize(("envelope", "status", "text"), REFUSED, ids=lambda value: repr(value)[:60])
@pytest.mark.parametrize("kind", ["endpoint", "view"])
def test_a_request_that_is_refused_gets_its_status_and_text(
    impl: Impl, kind: str, envelope: dict[str, Any], status: int, text: str
) -> None:
    server = Server(impl, hello if kind == "endpoint" else ("/hello", Hello, "GET"))
    assert json.loads(server.send(json.dumps(envelope).encode())) == {"detail": text, "event_name": None}
    with_id = json.loads(server.send(json.dumps(envelope | {"id": 1}).encode()))
    if text == NO_HANDLER:  # tests/routing/test_misses.py has what is said instead
        text = with_id["detail"]
        assert text.startswith("no route " if status == 404 else "no method ")
    assert with_id == {"id": 1, **detail(status, text)}
    assert server.reports == []


@pytest.mark.parametrize(
    "envelope",
    [
        {"url": "/hello/"},
        {"url": "  /hello "},
        {"method": "get"},
        {"method": " Get "},
        {"args": None},
        {"args": {}},
        {"args": {"format": "xml"}},
        {"args": {"format": None}},
        {"data": {"a": 1}},
        {"unknown": {"a": 1}, "__class__": 1, "_method": "PUT", "connection": 1, "to_representation": 1, "status": 500},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["endpoint", "view"])
def test_a_request_that_is_merely_unusual_is_answered(impl: Impl, kind: str, envelope: dict[str, Any]) -> None:
    server = Server(impl, hello if kind == "endpoint" else ("/hello", Hello, "GET"))
    assert server.ask(**({"url": "/hello"} | envelope)) == data("Hello, world!")


# Arguments


def plain(request: Any, p: str, a: Any, b: Any = 2) -> Any:
    return [p, a, b]


def keyword_only(request: Any, p: str, *, a: Any, b: Any = 2) -> Any:
    return [p, a, b]


def open_to_all(request: Any, p: str, a: Any = 1, *rest: Any, **kwargs: Any) -> Any:
    return [p, a, list(rest), kwargs]


def positional_only(request: Any, p: str, /, a: Any = 1, **kwargs: Any) -> Any:
    return [p, a, kwargs]


def gathers_all(*args: Any, **kwargs: Any) -> Any:
    return [list(args[1:]), kwargs]


def takes_format(request: Any, p: str, format: Any = "none") -> Any:  # noqa: A002
    return [p, format]


def needs_format(request: Any, p: str, *, format: Any) -> Any:  # noqa: A002
    return [p, format]


def takes_no_arguments(request: Any, p: str) -> Any:
    return [p]


def passed_on(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate as people do: takes anything, passes everything on."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def passed_on_later(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        return await result if hasattr(result, "__await__") else result

    return wrapper


def as_coroutine(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a coroutine function with the very signature of `function`; its body runs when it is awaited."""
    name = function.__name__
    namespace: dict[str, Any] = {"function": function}
    parameters = inspect.signature(function).parameters.values()
    stars = {"VAR_POSITIONAL": "*{0}", "VAR_KEYWORD": "**{0}", "KEYWORD_ONLY": "{0}={0}"}
    call = ", ".join(stars.get(p.kind.name, "{0}").format(p.name) for p in parameters)
    bare = inspect.Signature([p.replace(annotation=p.empty) for p in parameters])
    exec(f"async def {name}{bare}:\n    return function({call})", namespace)
    result: Callable[..., Any] = namespace[name]
    return result


FITS: list[tuple[Callable[..., Any], Any, Any]] = [
    (plain, {"a": 1}, ["P", 1, 2]),
    (plain, {"a": None, "b": [1]}, ["P", None, [1]]),
    (plain, {"a": 1, "format": "json"}, ["P", 1, 2]),
    (keyword_only, {"a": 1, "b": 3}, ["P", 1, 3]),
    (open_to_all, ..., ["P", 1, [], {}]),
    (open_to_all, None, ["P", 1, [], {}]),
    (open_to_all, {}, ["P", 1, [], {}]),
    (open_to_all, {"a": 5, "x": 6, "": 7, "é": 8}, ["P", 5, [], {"x": 6, "": 7, "é": 8}]),
    (
        open_to_all,
        {"rest": 1, "kwargs": 2, "self": 3, "format": 4},
        ["P", 1, [], {"rest": 1, "kwargs": 2, "self": 3, "format": 4}],
    ),
    (positional_only, {"p": "mine", "request": "mine", "a": 2}, ["P", 2, {"p": "mine", "request": "mine"}]),
    (
        gathers_all,
        {"request": 1, "p": 2, "args": 3, "kwargs": 4},
        [["P"], {"request": 1, "p": 2, "args": 3, "kwargs": 4}],
    ),
    (takes_format, {"format": "xml"}, ["P", "xml"]),
    (takes_format, ..., ["P", "none"]),
    (needs_format, {"format": "xml"}, ["P", "xml"]),
    (takes_no_arguments, ..., ["P"]),
    (takes_no_arguments, None, ["P"]),
    (takes_no_arguments, {}, ["P"]),
    (takes_no_arguments, {"format": "json"}, ["P"]),
]
DOES_NOT_FIT: list[tuple[Callable[..., Any], Any, str]] = [
    (plain, ..., "missing argument `a`"),
    (plain, None, "missing argument `a`"),
    (plain, {}, "missing argument `a`"),
    (plain, {"format": "json"}, "missing argument `a`"),
    (plain, {"b": 1}, "missing argument `a`"),
    (plain, {"a": 1, "x": 2}, "unexpected argument `x`"),
    (plain, {"a": 1, "": 2}, "unexpected argument ``"),
    (plain, {"a": 1, "p": 2}, "argument `p` is already given by the url"),
    (plain, {"a": 1, "request": 2}, "argument `request` is already given by the url"),
    (plain, {"a": 1, "self": 2}, "unexpected argument `self`"),
    (keyword_only, {"b": 1}, "missing argument `a`"),
    (keyword_only, ..., "missing argument `a`"),
    (keyword_only, {"a": 1, "p": 1}, "argument `p` is already given by the url"),
    (open_to_all, {"p": 1}, "argument `p` is already given by the url"),
    (open_to_all, {"request": 1}, "argument `request` is already given by the url"),
    (needs_format, ..., "missing argument `format`"),
    (takes_no_arguments, {"x": 1}, "unexpected argument `x`"),
    (takes_no_arguments, {"x" * 1000: 1}, f"unexpected argument `{'x' * 100}`"),
    (plain, [1], "`args` must be an object"),
    (open_to_all, "text", "`args` must be an object"),
]
SHAPES: dict[str, Callable[[Callable[..., Any]], Any]] = {
    "def": lambda function: get(function, "/{p}"),
    "async def": lambda function: get(as_coroutine(function), "/{p}"),
    "decorated": lambda function: get(passed_on(function), "/{p}"),
    "twice decorated": lambda function: get(passed_on(passed_on(function)), "/{p}"),
    "decorated async def": lambda function: get(passed_on(as_coroutine(function)), "/{p}"),
    "async decorator": lambda function: get(passed_on_later(function), "/{p}"),
    "async decorator, async def": lambda function: get(passed_on_later(as_coroutine(function)), "/{p}"),
}


@pytest.mark.parametrize(
    ("function", "args", "expected"), FITS, ids=lambda value: getattr(value, "__name__", str(value)[:40])
)
@pytest.mark.parametrize("shape", SHAPES)
def test_args_that_fit_reach_the_handler(
    impl: Impl, shape: str, function: Callable[..., Any], args: Any, expected: Any
) -> None:
    server = Server(impl, SHAPES[shape](function))
    assert server.ask("/P", args) == data(expected)


@pytest.mark.parametrize(
    ("function", "args", "text"), DOES_NOT_FIT, ids=lambda value: getattr(value, "__name__", str(value)[:40])
)
@pytest.mark.parametrize("shape", SHAPES)
def test_args_that_do_not_fit_are_a_422_that_names_the_argument(
    impl: Impl, shape: str, function: Callable[..., Any], args: Any, text: str
) -> None:
    server = Server(impl, SHAPES[shape](function))
    assert server.ask("/P", args) == detail(422, text)
    assert server.reports == []
    assert "data" in server.ask("/P", {"a": 1}) or function in (takes_format, needs_format, takes_no_arguments)


class Methods(MethodBasedView):
    def get(self, request: Any, p: str, a: Any, *, b: Any = 2) -> Any:
        return [p, a, b]

    async def put(self, request: Any, p: str, **kwargs: Any) -> Any:
        return [p, kwargs]

    @passed_on
    def post(self, request: Any, p: str, a: Any) -> Any:
        return [p, a]

    def patch(this, request, /, p, **kwargs):  # type: ignore[no-untyped-def]
        return [p, kwargs]


@pytest.mark.parametrize(
    ("method", "args", "expected"),
    [
        ("GET", {"a": 1}, data(["P", 1, 2])),
        ("GET", {}, detail(422, "missing argument `a`")),
        ("GET", {"a": 1, "self": 1}, detail(422, "argument `self` is already given by the url")),
        ("GET", {"a": 1, "request": 1}, detail(422, "argument `request` is already given by the url")),
        ("GET", {"a": 1, "c": 1}, detail(422, "unexpected argument `c`")),
        ("PUT", {"c": 1}, data(["P", {"c": 1}])),
        ("PUT", {"p": 1}, detail(422, "argument `p` is already given by the url")),
        ("PUT", {"self": 1}, detail(422, "argument `self` is already given by the url")),
        ("POST", {"a": 1}, data(["P", 1])),
        ("POST", {"b": 1}, detail(422, "unexpected argument `b`")),
        ("POST", {}, detail(422, "missing argument `a`")),
        ("POST", ..., detail(422, "missing argument `a`")),
        ("PATCH", {"self": 1, "this": 2, "request": 3}, data(["P", {"self": 1, "this": 2, "request": 3}])),
    ],
)
def test_args_of_a_method_are_checked_likewise(impl: Impl, method: str, args: Any, expected: Any) -> None:
    server = Server(impl, ("/{p}", Methods, ["GET", "PUT", "POST", "PATCH"]))
    assert server.ask("/P", args, method=method) == expected
    assert server.reports == []


def test_ten_thousand_arguments_are_read_or_refused(impl: Impl) -> None:
    args = {f"a{number}": number for number in range(10_000)}
    server = Server(impl, get(open_to_all, "/{p}"), hello)
    assert server.ask("/P", args) == data(["P", 1, [], args])
    assert server.ask("/hello", args) == detail(422, "unexpected argument `a0`")


def test_args_are_the_handlers_to_change(impl: Impl) -> None:
    """What a handler does to its kwargs must not reach the next request."""

    def change(request: Any, **kwargs: Any) -> Any:
        kwargs["seen"] = True
        return [len(kwargs), len(request.args)]

    server = Server(impl, get(change))
    for args in (..., {}, {"a": 1}):
        expected = 0 if args in (..., {}) else 1
        assert server.ask("/", args) == data([expected + 1, expected])
        assert server.ask("/", args) == data([expected + 1, expected])


def test_path_parameters_come_positionally_as_strings(impl: Impl) -> None:
    server = Server(impl, get(lambda request, x, y: [x, y], "/a/{y}/b/{x}"), get(gathers_all, "/c/{p}.{q}"))
    assert server.ask("/a/1/b/b%2Fb") == data(["1", "b%2Fb"])
    assert server.ask("/c/name.tar.gz") == data([["name.tar", "gz"], {}])


# Decorators that do more than pass on


def injecting(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(request: Any, *args: Any, **kwargs: Any) -> Any:
        return function(request, "DB", *args, **kwargs)

    return wrapper


def injecting_by_keyword(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, db="DB", **kwargs)

    return wrapper


def swallowing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate so that the path parameter is used up, as "load the user and pass it" does."""

    @functools.wraps(function)
    def wrapper(request: Any, p: str, **kwargs: Any) -> Any:
        request.loaded = f"loaded {p}"
        return function(request, **kwargs)

    return wrapper


def test_a_decorator_that_injects_an_argument_is_not_refused(impl: Impl) -> None:
    def positional(request: Any, db: str, p: str, a: Any = 1) -> Any:
        return [db, p, a]

    def only_positional(request: Any, db: str, p: str, /, a: Any = 1) -> Any:
        return [db, p, a]

    def by_keyword(request: Any, p: str, *, db: str, a: Any = 1) -> Any:
        return [db, p, a]

    server = Server(
        impl,
        get(injecting(positional), "/1/{p}"),
        get(injecting(only_positional), "/2/{p}"),
        get(injecting_by_keyword(by_keyword), "/3/{p}"),
    )
    for number in "123":
        assert server.ask(f"/{number}/P") == data(["DB", "P", 1])
        assert server.ask(f"/{number}/P", {"a": 2}) == data(["DB", "P", 2])


def test_a_decorator_that_uses_a_path_parameter_up_is_not_refused(impl: Impl) -> None:
    def loaded(request: Any, a: Any = 1) -> Any:
        return [request.loaded, a]

    server = Server(impl, get(swallowing(loaded), "/{p}"))
    assert server.ask("/P") == data(["loaded P", 1])
    assert server.ask("/P", {"a": 2}) == data(["loaded P", 2])


@pytest.mark.parametrize("args", [..., {"a": 1}])
def test_a_type_error_behind_an_injecting_decorator_is_a_500(impl: Impl, args: Any) -> None:
    def fails(request: Any, db: str, p: str, a: Any = 1) -> Any:
        raise TypeError("mine")

    server = Server(impl, get(injecting(fails), "/{p}"))
    assert server.ask("/P", args) == detail(500, SERVER_ERROR)
    assert server.reported() == [TypeError]


# Failures of user code


def raising(exc: BaseException | type[BaseException]) -> Callable[..., Any]:
    def handler(request: Any, **kwargs: Any) -> Any:
        raise exc

    return handler


def raising_later(exc: BaseException | type[BaseException]) -> Callable[..., Any]:
    async def handler(request: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        raise exc

    return handler


class BadText(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Group(ExceptionGroup[Exception]):
    pass


UNEXPECTED: list[Any] = [
    ValueError("secret"),
    TypeError("secret() takes 1 positional argument but 2 were given"),
    KeyError("secret"),
    AttributeError("secret"),
    StopIteration("secret"),
    StopAsyncIteration("secret"),
    RecursionError("secret"),
    MemoryError("secret"),
    AssertionError,
    NotImplementedError,
    BadText(),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "secret"),
    Group("secret", [ValueError("secret")]),
    asyncio.CancelledError("secret"),
    TimeoutError("secret"),
    SystemExit(3),
    BaseException("secret"),
]


@pytest.mark.parametrize("exc", UNEXPECTED, ids=lambda exc: getattr(exc, "__name__", type(exc).__name__))
@pytest.mark.parametrize("where", ["def", "async def", "middleware", "async middleware", "view"])
def test_an_unexpected_exception_is_a_500_reported_once_and_not_shown(impl: Impl, where: str, exc: Any) -> None:
    sync, later = raising(exc), raising_later(exc)

    class Gate:
        def process_request(self, request: Any, handler: Any) -> Any:
            return sync(request) if where == "middleware" else later(request)

    class View(MethodBasedView):
        def get(self, request: Any) -> Any:
            return sync(request)

    route: Any = {"def": get(sync), "async def": get(later), "view": ("/", View, "GET")}.get(
        where, get(lambda request: 1)
    )
    server = Server(impl, route, hello, middlewares=[Gate()] if "middleware" in where else [])
    assert server.ask() == detail(500, SERVER_ERROR)
    expected = exc if isinstance(exc, type) else type(exc)
    if expected is StopIteration and "async" in where:
        expected = RuntimeError  # PEP 479: that is what a coroutine makes of it
    assert server.reported() == [expected]
    if "middleware" not in where:
        assert server.ask("/hello") == data("Hello, world!")


def test_a_report_carries_the_request_and_the_exception(impl: Impl) -> None:
    error = ValueError("mine")
    server = Server(impl, get(raising(error)))
    server.ask()
    ((request, exc),) = server.reports
    assert exc is error
    assert (request.method, request.url, request.status) == ("GET", "/", 500)


def test_without_a_report_the_reply_is_the_same(impl: Impl) -> None:
    server = Server(impl, get(raising(ValueError("mine"))), report=None)
    assert server.ask() == detail(500, SERVER_ERROR)


@pytest.mark.parametrize("function", [raising, raising_later])
def test_a_type_error_inside_a_handler_is_a_500(impl: Impl, function: Callable[..., Any]) -> None:
    error = TypeError("handler() got an unexpected keyword argument 'a'")
    for handler in (function(error), passed_on(function(error)), passed_on_later(function(error))):
        server = Server(impl, get(handler))
        for args in (..., {"a": 1}):
            assert server.ask("/", args) == detail(500, SERVER_ERROR)
            assert server.reported() == [TypeError]


def test_a_type_error_of_a_call_inside_a_handler_is_a_500(impl: Impl) -> None:
    def helper(a: Any) -> None: ...

    def handler(request: Any, a: Any = 1) -> Any:
        return helper()  # type: ignore[call-arg]

    for function in (handler, passed_on(handler), passed_on_later(handler), as_coroutine(handler)):
        server = Server(impl, get(function))
        for args in (..., {"a": 1}):
            assert server.ask("/", args) == detail(500, SERVER_ERROR)
            assert server.reported() == [TypeError]


def test_debug_shows_the_traceback_and_still_reports_once(impl: Impl) -> None:
    server = Server(impl, get(raising(ValueError("mine")), "/a"), get(raising(BadText()), "/b"), debug=True)
    reply = server.ask("/a")
    assert reply["status"] == 500
    assert reply["detail"].startswith("Traceback (most recent call last):\n")
    assert "ValueError: mine" in reply["detail"]
    assert server.ask("/b")["detail"].startswith("Traceback (most recent call last):\n")
    assert server.reported() == [ValueError, BadText]


def test_keyboard_interrupt_is_not_swallowed(impl: Impl) -> None:
    server = Server(impl, get(raising(KeyboardInterrupt), "/a"), get(raising_later(KeyboardInterrupt), "/b"))
    for url in ("/a", "/b"):
        with pytest.raises(KeyboardInterrupt):
            server.ask(url)
    assert server.reports == []


def test_a_cancelled_task_stays_cancelled_and_is_not_reported(impl: Impl) -> None:
    async def main() -> None:
        async def waits(request: Any) -> None:
            await asyncio.get_running_loop().create_future()

        server = Server(impl, get(waits))
        reply = server.pipeline.handle(b'{"method":"GET","url":"/","id":1}', False)
        task = asyncio.ensure_future(waited(reply))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert server.reports == []

    asyncio.run(main())


class Conflict(BaseAPIException):
    status = 409
    default_detail = "Taken."


class Gone(BaseAPIException):
    status = HTTPStatus.GONE


@pytest.mark.parametrize(
    ("exc", "expected"),
    [
        (BaseAPIException(), detail(400, SERVER_ERROR)),
        (BaseAPIException("mine"), detail(400, "mine")),
        (BaseAPIException(b"bytes"), detail(400, "bytes")),
        (BaseAPIException(5), detail(400, "5")),
        (Conflict(), detail(409, "Taken.")),
        (Conflict, detail(409, "Taken.")),
        (Gone("left"), detail(410, "left")),
        (ValidationError("msg"), detail(422, ["msg"])),
        (
            ValidationError({"name": ["This field must be unique."]}),
            detail(422, {"name": ["This field must be unique."]}),
        ),
        (ValidationError(["a", 1]), detail(422, ["a", 1])),
        (PermissionDeniedException(), detail(403, "Permission denied: user doesn't have enough rights.")),
        (HandlerFailed("down"), detail(500, "down")),
    ],
    ids=repr,
)
@pytest.mark.parametrize("later", [False, True])
def test_an_api_exception_is_the_reply_and_is_not_reported(impl: Impl, exc: Any, expected: Any, later: bool) -> None:
    server = Server(impl, get((raising_later if later else raising)(exc)))
    assert server.ask() == expected
    assert json.loads(server.send(b'{"method":"GET","url":"/"}')) == {"detail": expected["detail"], "event_name": None}
    assert server.reports == []


class Silent(BaseAPIException):
    """A subclass that forgets `super().__init__`."""

    def __init__(self, code: int) -> None:
        self.code = code


class Odd(BaseAPIException):
    status: Any = "teapot"


class Huge(BaseAPIException):
    status = 2**70


@pytest.mark.parametrize("exc", [Silent(1), Odd("x"), Huge("x")], ids=repr)
@pytest.mark.parametrize("later", [False, True])
def test_an_api_exception_that_is_badly_made_gets_its_one_reply(impl: Impl, exc: Any, later: bool) -> None:
    server = Server(impl, get((raising_later if later else raising)(exc)))
    reply = server.ask()
    assert isinstance(reply["status"], int)
    assert reply["detail"]


@pytest.mark.parametrize(
    "value",
    [object(), {"a": object()}, ["\ud800"], "\udfff", {"\ud800": 1}, {(1,): 2}],
    ids=lambda value: ascii(value)[:12],
)
def test_a_detail_that_cannot_be_encoded_is_replaced(impl: Impl, value: Any) -> None:
    error = Conflict()
    error.detail = value
    server = Server(impl, get(raising(error)))
    assert server.ask(event_name="e") == {**detail(409, SERVER_ERROR), "event_name": "e"} | {"event_name": mock.ANY}
    assert json.loads(server.send(b'{"method":"GET","url":"/"}')) == {"detail": SERVER_ERROR, "event_name": None}


@pytest.mark.parametrize(
    "value",
    [object(), {1j}, [object], "\ud800", {"a": {(1, 2): 3}}, range(3), (x for x in "ab"), type],
    ids=lambda value: ascii(value)[:12],
)
@pytest.mark.parametrize("later", [False, True])
def test_a_result_that_cannot_be_encoded_is_a_500_reported_once(impl: Impl, value: Any, later: bool) -> None:
    async def handler(request: Any) -> Any:
        return value

    server = Server(impl, get(handler if later else lambda request: value))
    assert server.ask() == detail(500, UNENCODABLE)
    ((_, exc),) = server.reports
    assert isinstance(exc, SerializerError)
    assert isinstance(exc.__cause__, (TypeError, ValueError))


@pytest.mark.parametrize("depth", [200, 400, 1000])
def test_a_deeply_nested_event_name_gets_its_one_reply(impl: Impl, depth: int) -> None:
    server = Server(impl, hello)
    nested = b"[" * depth + b"]" * depth
    reply = server.send(b'{"method":"GET","url":"/hello","event_name":' + nested + b"}")
    echoed = b'{"data":"Hello, world!","event_name":' + nested + b"}"
    refused = b'{"detail":"A server error occurred.","event_name":null}'
    assert reply in ((echoed,) if depth <= 400 else (echoed, refused))


# What handlers may return


def test_results_of_every_type_of_the_table_are_answered(impl: Impl) -> None:
    values = [None, True, 0, 1.5, "text", "", [], {}, [1], {"a": 1}, (1, 2)]
    for value in values:
        server = Server(impl, get(lambda request, value=value: value))
        # A default is an argument that a client may give: that is Python, and what the original did.
        assert server.ask() == data(list(value) if isinstance(value, tuple) else value)


def test_a_def_may_return_any_awaitable(impl: Impl) -> None:
    class Custom:
        def __await__(self) -> Generator[Any, None, str]:
            yield from asyncio.sleep(0).__await__()
            return "custom"

    async def coroutine() -> str:
        return "coroutine"

    server = Server(
        impl,
        get(lambda request: Custom(), "/custom"),
        get(lambda request: coroutine(), "/coroutine"),
        get(lambda request: asyncio.ensure_future(coroutine()), "/task"),
    )
    assert server.ask("/custom") == data("custom")
    assert server.ask("/coroutine") == data("coroutine")

    async def main() -> bytes:
        return await waited(server.pipeline.handle(b'{"method":"GET","url":"/task"}', False))

    assert asyncio.run(main()) == b'{"data":"coroutine","event_name":null}'


@pytest.mark.parametrize("later", [False, True])
def test_a_response_chooses_status_and_data(impl: Impl, later: bool) -> None:
    response = impl.wrappers.Response

    class Special(response):  # type: ignore[misc, valid-type]
        pass

    def serve(make: Callable[[], Any], path: str) -> Endpoint[..., Any]:
        async def handler(request: Any) -> Any:
            return make()

        return get(handler if later else lambda request: make(), path)

    def filled() -> Any:
        result = response(status=202)
        result.content = [1]
        return result

    server = Server(
        impl,
        serve(lambda: response({"a": 1}, status=201), "/created"),
        serve(filled, "/filled"),
        serve(response, "/empty"),
        serve(lambda: response(1), "/plain"),
        serve(lambda: Special(2, status=203), "/special"),
    )
    assert server.ask("/created") == data({"a": 1}, 201)
    assert server.ask("/filled") == data([1], 202)
    assert server.ask("/empty") == data(None)
    assert server.ask("/plain") == data(1)
    assert server.ask("/special") == data(2, 203)
    assert server.send(b'{"method":"GET","url":"/created"}') == b'{"data":{"a":1},"event_name":null}'
    assert server.reports == []


def test_one_response_may_be_returned_again_and_again(impl: Impl) -> None:
    shared = impl.wrappers.Response([1], status=201)
    server = Server(impl, get(lambda request: shared))
    assert server.ask(event_name="e") == {**data([1], 201), "event_name": "e"}
    assert server.ask(id=2) == data([1], 201)
    assert shared.content == {"data": [1]}


def test_request_status_says_what_was_answered(impl: Impl) -> None:
    server = Server(impl, hello, get(lambda request: impl.wrappers.Response(1, status=201), "/created"))
    for url, status in (("/hello", 200), ("/created", 201), ("/no", 404)):
        request = impl.envelope.read(b'{"method":"GET","url":"%s"}' % url.encode(), False, None)
        assert isinstance(server.pipeline.respond(request), bytes)
        assert request.status == status


# Views


def test_every_request_gets_a_fresh_view(impl: Impl) -> None:
    class Counting(MethodBasedView):
        def __init__(self) -> None:
            self.count = 0

        def get(self, request: Any) -> int:
            self.count += 1
            return self.count

    server = Server(impl, ("/", Counting, "GET"))
    assert [server.ask() for _ in range(3)] == [data(1)] * 3


def test_a_view_whose_init_fails_is_a_500(impl: Impl) -> None:
    class Broken(MethodBasedView):
        def __init__(self) -> None:
            raise LookupError("what it needs is gone")

        def get(self, request: Any) -> None: ...

    server = Server(impl, ("/", Broken, "GET"))
    assert server.ask() == detail(500, SERVER_ERROR)
    assert server.reported() == [LookupError]


def test_the_handler_sees_request_connection_and_route(impl: Impl) -> None:
    seen: list[Any] = []
    server = Server(impl, get(seen.append))
    connection = object()
    server.pipeline.handle(b'{"method":"GET","url":"/","token":"t"}', False, connection)
    (request,) = seen
    assert isinstance(request, impl.wrappers.Request)
    assert request.connection is connection
    assert request.token == "t"
    assert request.route is server.router.routes[0]
    assert request.form == impl.codec.TEXT_JSON


@pytest.mark.parametrize("verb", ["get", "post", "head", "options", "delete", "put", "trace", "patch"])
def test_every_verb_can_be_called_where_it_is_declared(impl: Impl, verb: str) -> None:
    view = type("View", (MethodBasedView,), {verb: lambda self, request: request.method})
    server = Server(impl, ("/", view, verb.upper()))
    for spelling in (verb, verb.upper(), verb.title()):
        assert server.ask(method=spelling) == data(spelling)


def test_a_verb_that_the_view_has_and_the_route_lacks_is_405(impl: Impl) -> None:
    class Two(MethodBasedView):
        def get(self, request: Any) -> str:
            return "got"

        def delete(self, request: Any) -> str:
            return "deleted"

    server = Server(impl, ("/", Two, "GET"))
    assert server.ask(method="DELETE") == detail(405, "no method DELETE at /, expected GET")


class Dispatching(MethodBasedView):
    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        return ["dispatched", super().dispatch(request, *args, **kwargs)]

    def get(self, request: Any, p: str, a: Any = 1) -> Any:
        return [p, a]


class DispatchingLater(MethodBasedView):
    async def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        return ["dispatched", await super().dispatch(request, *args, **kwargs)]

    async def get(self, request: Any, p: str, a: Any = 1) -> Any:
        return [p, a]


@pytest.mark.parametrize("view", [Dispatching, DispatchingLater])
def test_an_overridden_dispatch_is_honoured_and_args_are_still_checked(impl: Impl, view: type[MethodBasedView]) -> None:
    server = Server(impl, ("/{p}", view, "GET"))
    assert server.ask("/P") == data(["dispatched", ["P", 1]])
    assert server.ask("/P", {"a": 2}, method=" get ") == data(["dispatched", ["P", 2]])
    assert server.ask("/P", {"b": 2}) == detail(422, "unexpected argument `b`")
    assert server.ask("/P", {"request": 2}) == detail(422, "argument `request` is already given by the url")
    assert server.ask("/P", method="PUT") == detail(405, "no method PUT at /P, expected GET")
    assert server.reports == []


def test_a_name_that_only_dispatch_gives_clashes_too(impl: Impl) -> None:
    class Renamed(MethodBasedView):
        def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
            return super().dispatch(request, *args, **kwargs)

        def get(this, req: Any, **kwargs: Any) -> Any:
            return kwargs

    server = Server(impl, ("/", Renamed, "GET"))
    for name in ("self", "request"):
        assert server.ask("/", {name: 1}) == detail(422, f"argument `{name}` is already given by the url")
    assert server.ask("/", {"other": 1}) == data({"other": 1})
    assert server.reports == []


def test_static_and_class_methods_and_partials_serve_as_handlers(impl: Impl) -> None:
    def anywhere(kind: str, request: Any, p: str, a: Any = 1) -> Any:
        return [kind, p, a]

    class Mixed(MethodBasedView):
        @staticmethod
        def get(request: Any, p: str, a: Any = 1) -> Any:
            return ["static", p, a]

        @classmethod
        def put(cls, request: Any, p: str, a: Any = 1) -> Any:
            return [cls.__name__, p, a]

        post = functools.partialmethod(lambda self, kind, request, p, a=1: [kind, p, a], "partial")
        patch = staticmethod(functools.partial(anywhere, "static partial"))

    server = Server(impl, ("/{p}", Mixed, ["GET", "PUT", "POST", "PATCH"]))
    kinds = {"GET": "static", "PUT": "Mixed", "POST": "partial", "PATCH": "static partial"}
    for method, kind in kinds.items():
        assert server.ask("/P", method=method) == data([kind, "P", 1])
        assert server.ask("/P", {"a": 2}, method=method) == data([kind, "P", 2])
        assert server.ask("/P", {"b": 2}, method=method) == detail(422, "unexpected argument `b`")
        assert server.ask("/P", {"p": 2}, method=method) == detail(422, "argument `p` is already given by the url")
    assert server.reports == []


# Middlewares


class Step:
    """A middleware that notes when it runs, at once or later."""

    def __init__(self, name: str, log: list[Any], later: bool = False, exc: Exception | None = None) -> None:
        self.name, self.log, self.later, self.exc = name, log, later, exc

    def process_request(self, request: Any, handler: Any) -> Any:
        return self._run_later(request, handler) if self.later else self._run(request, handler)

    async def _run_later(self, request: Any, handler: Any) -> None:
        await asyncio.sleep(0)
        self._run(request, handler)

    def _run(self, request: Any, handler: Any) -> None:
        self.log.append((self.name, type(handler).__name__))
        handler.steps = [*getattr(handler, "steps", ()), self.name]
        request.user = self.name
        if self.exc is not None:
            raise self.exc


@pytest.mark.parametrize("pattern", ["sss", "lll", "sls", "lsl", "l", "s", "ssl", "lss"])
@pytest.mark.parametrize("later", [False, True])
def test_middlewares_run_in_order_before_the_handler(impl: Impl, pattern: str, later: bool) -> None:
    log: list[Any] = []

    class Noting(MethodBasedView):
        steps: Any = ()

        def get(self, request: Any) -> Any:
            log.append("handler")
            return self._later(request) if later else [self.steps, request.user]

        async def _later(self, request: Any) -> Any:
            await asyncio.sleep(0)
            return [self.steps, request.user]

    steps = [Step(str(number), log, kind == "l") for number, kind in enumerate(pattern)]
    server = Server(impl, ("/", Noting, "GET"), middlewares=steps)
    names = [step.name for step in steps]
    assert server.ask() == data([names, names[-1]])
    assert log == [(name, "Noting") for name in names] + ["handler"]


@pytest.mark.parametrize("pattern", ["ss", "ll", "sl", "ls"])
@pytest.mark.parametrize("exc", [Conflict(), ValueError("mine")], ids=repr)
def test_a_middleware_that_raises_is_the_last_to_run(impl: Impl, pattern: str, exc: Exception) -> None:
    log: list[Any] = []
    first, second = (kind == "l" for kind in pattern)
    steps = [Step("1", log, first, exc), Step("2", log, second)]
    called: list[Any] = []
    server = Server(impl, get(called.append), middlewares=steps)
    expected = detail(409, "Taken.") if isinstance(exc, Conflict) else detail(500, SERVER_ERROR)
    assert server.ask() == expected
    assert [name for name, _ in log] == ["1"]
    assert called == []
    assert server.reported() == ([] if isinstance(exc, Conflict) else [ValueError])


def test_middlewares_see_neither_unknown_urls_nor_methods(impl: Impl) -> None:
    log: list[Any] = []
    server = Server(impl, hello, middlewares=[Step("1", log)])
    server.ask("/no")
    server.ask("/hello", method="PUT")
    server.send(b"nonsense")
    assert log == []
    server.ask("/hello", {"x": 1})  # arguments are looked at after middlewares
    assert log == [("1", "FunctionView")]


@pytest.mark.parametrize("outcome", [False, True, "text", 5, []])
def test_what_a_middleware_returns_is_ignored(impl: Impl, outcome: Any) -> None:
    class Gate:
        def process_request(self, request: Any, handler: Any) -> Any:
            return outcome

    assert Server(impl, hello, middlewares=[Gate()]).ask("/hello") == data("Hello, world!")


def test_a_middleware_reads_attributes_that_endpoint_set(impl: Impl) -> None:
    class Gate:
        def process_request(self, request: Any, handler: Any) -> None:
            request.seen = handler.auth_level

    server = Server(impl, get(lambda request: request.seen, AUTH_LEVEL=5), middlewares=[Gate()])
    assert server.ask() == data(5)


# Permissions and auth_required


def permission(answer: Any, log: list[Any] | None = None, later: bool = False) -> type:
    class Permission:
        @staticmethod
        def check(request: Any, handler: Any) -> Any:
            if log is not None:
                log.append(answer)
            if isinstance(answer, Exception):
                raise answer
            return Permission.wait() if later else answer

        @staticmethod
        async def wait() -> Any:
            await asyncio.sleep(0)
            return answer

    return Permission


DENIED = detail(403, "Permission denied: user doesn't have enough rights.")


@pytest.mark.parametrize("answer", [False, None])
@pytest.mark.parametrize("later", [False, True])
def test_a_permission_that_says_no_denies(impl: Impl, answer: Any, later: bool) -> None:
    called: list[Any] = []
    server = Server(impl, get(called.append, permission_classes=(permission(answer, later=later),)))
    assert server.ask() == DENIED
    assert server.ask(args={"x": 1}) == DENIED  # arguments are looked at after permissions
    assert called == []
    assert server.reports == []


@pytest.mark.parametrize("later", [False, True])
def test_a_permission_that_is_true_lets_pass(impl: Impl, later: bool) -> None:
    server = Server(impl, get(lambda request: "in", permission_classes=[permission(True, later=later)]))
    assert server.ask() == data("in")


@pytest.mark.parametrize("answer", [0, 1, "", "yes", [], [0], (True,), NotImplemented, len, object()], ids=repr)
@pytest.mark.parametrize("later", [False, True])
def test_a_permission_that_gives_no_answer_denies_and_is_reported_once(impl: Impl, answer: Any, later: bool) -> None:
    called: list[Any] = []
    server = Server(impl, get(called.append, permission_classes=[permission(answer, later=later)]))
    assert server.ask() == DENIED
    assert server.reported() == [TypeError]
    assert called == []


def test_a_permission_that_raises_denies_with_its_own_error(impl: Impl) -> None:
    for exc, expected in ((PermissionDeniedException(), DENIED), (Conflict(), detail(409, "Taken."))):
        server = Server(impl, get(lambda request: "in", permission_classes=(permission(exc),)))
        assert server.ask() == expected
        assert server.reports == []


@pytest.mark.parametrize("exc", [ValueError("mine"), TypeError("mine"), KeyError("mine")], ids=repr)
@pytest.mark.parametrize("later", [False, True])
def test_a_permission_that_fails_denies_and_is_reported_once(impl: Impl, exc: Exception, later: bool) -> None:
    class Failing:
        @staticmethod
        def check(request: Any, handler: Any) -> Any:
            return raising_later(exc)(request) if later else raising(exc)(request)

    called: list[Any] = []
    server = Server(impl, get(called.append, permission_classes=(permission(True), Failing, permission(True))))
    assert server.ask() == DENIED
    assert server.reported() == [type(exc)]
    assert called == []


@pytest.mark.parametrize("later", [False, True])
def test_permissions_are_checked_in_order_up_to_the_first_that_denies(impl: Impl, later: bool) -> None:
    log: list[Any] = []
    classes = [permission(answer, log, later) for answer in (True, True, False, None)]
    server = Server(impl, get(lambda request: "in", permission_classes=classes))
    assert server.ask() == DENIED
    assert log == [True, True, False]


def test_permissions_see_what_middlewares_set(impl: Impl) -> None:
    class IsFirst:
        @staticmethod
        def check(request: Any, handler: Any) -> bool:
            return bool(request.user == "first" and isinstance(handler, MethodBasedView))

    server = Server(
        impl, get(lambda request: "in", permission_classes=(IsFirst,)), middlewares=[Step("first", [], True)]
    )
    assert server.ask() == data("in")


class Person:
    def __init__(self, authenticated: Any) -> None:
        self.is_authenticated = authenticated


@pytest.mark.parametrize(
    ("user", "passes"),
    [
        (None, False),
        (object(), False),
        (Person(False), False),
        (Person(True), True),
        (Person(lambda: False), False),
        (Person(lambda: True), True),
    ],
    ids=["none", "object", "no", "yes", "method no", "method yes"],
)
@pytest.mark.parametrize("later", [False, True])
def test_auth_required_wants_an_authenticated_user(impl: Impl, user: Any, passes: bool, later: bool) -> None:
    class Login:
        authenticates = True

        def process_request(self, request: Any, handler: Any) -> Any:
            request.user = user
            return asyncio.sleep(0) if later else None

    server = Server(
        impl,
        get(lambda request: "in", "/closed", auth_required=True),
        get(lambda request: "in", "/open"),
        middlewares=[Login()],
    )
    assert server.ask("/closed") == (data("in") if passes else detail(401, "Authentication is required."))
    assert server.ask("/open") == data("in")
    assert server.reports == []


def test_auth_required_without_a_middleware_refuses(impl: Impl) -> None:
    server = Server(impl, get(lambda request: "in", auth_required=True))
    assert server.ask(user={"is_authenticated": True}) == detail(401, "Authentication is required.")


# Renderers


XML_HEAD = '<?xml version="1.0" encoding="utf-8"?>\n'


class Both(MethodBasedView):
    renderers = (JSONRenderer, XMLRenderer)

    def get(self, request: Any, **kwargs: Any) -> Any:
        return {"a": 1}


class OnlyXML(MethodBasedView):
    renderers = (XMLRenderer,)

    async def get(self, request: Any) -> Any:
        return {"a": 1}


def test_args_format_chooses_the_renderer(impl: Impl) -> None:
    server = Server(impl, ("/both", Both, "GET"), ("/xml", OnlyXML, "GET"))
    xml = (XML_HEAD + "<root><data><a>1</a></data><event_name></event_name></root>").encode()
    as_json = b'{"data":{"a":1},"event_name":null}'
    for url, args, expected in [
        ("/both", b'{"format":"xml"}', xml),
        ("/both", b'{"format":"json"}', as_json),
        ("/both", b'{"format":"yaml"}', as_json),
        ("/both", b'{"format":5}', as_json),
        ("/both", b'{"format":[]}', as_json),
        ("/both", b"{}", as_json),
        ("/both", b"null", as_json),
        ("/xml", b"null", xml),
        ("/xml", b'{"format":"json"}', xml),
    ]:
        request = b'{"method":"GET","url":"%s","args":%s}' % (url.encode(), args)
        assert server.send(request) == expected
        assert server.send(base64.b64encode(request), True) == base64.b64encode(expected)


def test_xml_carries_id_and_status_too(impl: Impl) -> None:
    server = Server(impl, ("/", OnlyXML, "GET"))
    reply = server.send(b'{"method":"GET","url":"/","id":7}').decode()
    assert reply == XML_HEAD + "<root><id>7</id><status>200</status><data><a>1</a></data></root>"


def test_errors_are_always_json(impl: Impl) -> None:
    server = Server(impl, ("/", OnlyXML, "GET"), get(raising(Conflict()), "/conflict", renderers=(XMLRenderer,)))
    assert server.ask("/conflict", {"format": "xml"}) == detail(409, "Taken.")
    assert server.ask("/", {"x": 1}) == detail(422, "unexpected argument `x`")


class Latin(BaseRenderer):
    format = "latin"
    charset = "latin-1"

    def render(self, data: Any) -> str:
        return "Grüße"


class Raw(BaseRenderer):
    format = "raw"

    def render(self, data: Any) -> bytes:
        return b"\xff\xfe"


class Failing(BaseRenderer):
    def render(self, data: Any) -> bytes:
        raise ValueError("mine")


class Wrong(BaseRenderer):
    def render(self, data: Any) -> Any:
        return 5


def test_a_custom_renderer_gives_text_in_its_charset_or_bytes(impl: Impl) -> None:
    class Upper(BaseRenderer):
        format = "upper"

        def render(self, data: Any) -> str:
            return str(data["data"]).upper() + "É"

    server = Server(impl, get(lambda request: "text", renderers=(Upper,)))
    assert server.send(b'{"method":"GET","url":"/"}') == "TEXTÉ".encode()


@pytest.mark.parametrize(("renderer", "rendered"), [(Latin, "Grüße".encode("latin-1")), (Raw, b"\xff\xfe")])
def test_what_is_no_utf8_cannot_go_into_a_text_frame(impl: Impl, renderer: Any, rendered: bytes) -> None:
    server = Server(impl, get(lambda request: 1, renderers=(renderer,)))
    request = b'{"method":"GET","url":"/"}'
    assert json.loads(server.send(request)) == {"detail": SERIALIZER_ERROR, "event_name": None}
    assert server.reported() == [SerializerError]
    assert server.send(request, True) == rendered
    assert server.send(base64.b64encode(request)) == base64.b64encode(rendered)
    assert server.reports == []


@pytest.mark.parametrize("renderer", [Failing, Wrong])
@pytest.mark.parametrize("later", [False, True])
def test_a_renderer_that_fails_is_a_500_reported_once(impl: Impl, renderer: Any, later: bool) -> None:
    async def handler(request: Any) -> int:
        return 1

    server = Server(impl, get(handler if later else lambda request: 1, renderers=(renderer,)))
    assert server.ask() == detail(500, UNENCODABLE)
    assert server.reported() == [SerializerError]


def test_a_result_that_the_renderer_refuses_is_a_500_reported_once(impl: Impl) -> None:
    for renderer in (XMLRenderer, JSONRenderer):
        server = Server(impl, get(lambda request: [object()], renderers=(renderer, XMLRenderer)))
        assert server.ask() == detail(500, UNENCODABLE)
        assert server.reported() == [SerializerError]


def test_an_overridden_get_renderer_is_honoured(impl: Impl) -> None:
    class Choosing(MethodBasedView):
        def get_renderer(self, preferred_format: Any, *args: Any, **kwargs: Any) -> Any:
            return XMLRenderer() if preferred_format == "x" else JSONRenderer()

        def get(self, request: Any) -> Any:
            return 1

    server = Server(impl, ("/", Choosing, "GET"))
    assert server.send(b'{"method":"GET","url":"/","args":{"format":"x"}}').startswith(b"<?xml")
    assert server.send(b'{"method":"GET","url":"/"}') == b'{"data":1,"event_name":null}'


def test_a_get_renderer_that_raises_is_answered(impl: Impl) -> None:
    class Refusing(MethodBasedView):
        def get_renderer(self, preferred_format: Any, *args: Any, **kwargs: Any) -> Any:
            raise Conflict("no such format") if preferred_format else ValueError("mine")

        def get(self, request: Any) -> Any:
            return 1

    server = Server(impl, ("/", Refusing, "GET"))
    assert server.ask(args={"format": "x"}) == detail(409, "no such format")
    assert server.reports == []
    assert server.ask()["status"] == 500
    assert len(server.reported()) == 1


# Seams: a router's own `process_request`, a protocol's own decoding


@pytest.mark.parametrize("form", [False, True])
def test_a_routers_own_process_request_gives_bytes_or_an_awaitable_of_them(impl: Impl, form: bool) -> None:
    async def later(request: Any) -> bytes:
        await asyncio.sleep(0)
        return b"later " + str(request.url).encode()

    def fails(request: Any) -> Any:
        raise Conflict() if request.url == "/conflict" else ValueError("mine")

    async def fails_later(request: Any) -> Any:
        return fails(request)

    def gives(value: Any) -> Callable[[Any], Any]:
        return lambda request: value

    def send(process: Callable[[Any], Any], url: str = "/x") -> bytes:
        server = Server(impl, process=process)
        payload = b'{"method":"GET","url":"%s"}' % url.encode()
        reply = server.send(base64.b64encode(payload), True) if form else server.send(payload)
        if form:
            reply = base64.b64decode(reply, validate=True)
        assert len(server.reports) == (b"Taken" not in reply and b"detail" in reply)
        return reply

    assert send(lambda request: b"now") == b"now"
    assert send(lambda request: bytearray(b"now")) == b"now"
    assert send(later) == b"later /x"
    for process in (fails, fails_later):
        assert send(process, "/conflict") == b'{"detail":"Taken.","event_name":null}'
        assert send(process) == b'{"detail":"A server error occurred.","event_name":null}'
    for wrong in ("text", None, 5, {"a": 1}):
        assert send(gives(wrong)) == b'{"detail":"A server error occurred.","event_name":null}'


def test_a_subclassed_router_may_call_super(impl: Impl) -> None:
    class Counting(SimpleRouter):
        count = 0

        def process_request(self, request: Any) -> Any:
            self.count += 1
            return super().process_request(request)

    log: list[Any] = []
    reports: list[Any] = []
    with using(impl):
        router = Counting()
        router.register_endpoint(hello)
        router.register_endpoint(get(raising(ValueError("mine")), "/fails"))
        pipeline = impl.pipeline.Pipeline(
            process=router.process_request,
            middlewares=[Step("1", log)],
            report=lambda request, exc: reports.append(exc),
        )
        assert pipeline.handle(HELLO, False) == b'{"data":"Hello, world!","event_name":"e1"}'
        assert b"A server error" in pipeline.handle(b'{"method":"GET","url":"/fails"}', False)
        assert b"handler not specified" in pipeline.handle(b'{"method":"GET","url":"/no"}', False)
    assert (router.count, len(log), len(reports)) == (3, 2, 1)


def test_a_request_that_other_code_decoded_is_adopted(impl: Impl) -> None:
    server = Server(impl, hello)
    connection = object()
    request = impl.wrappers.Request(method="GET", url="/hello", id=7)
    assert server.pipeline.adopt(request, impl.codec.BINARY_BASE64, connection) is request
    assert (request.connection, request.form) == (connection, impl.codec.BINARY_BASE64)
    assert server.pipeline.respond(request) == b'{"id":7,"status":200,"data":"Hello, world!"}'
    refused = server.pipeline.adopt(impl.wrappers.Request(method="GET", url="/hello", id=[1]), 0, connection)
    assert b"`id` must be" in server.pipeline.respond(refused)


def test_an_adopted_id_must_fit_64_bits(impl: Impl) -> None:
    server = Server(impl, hello)
    for number in (2**64, -(2**63) - 1, 10**100):
        request = server.pipeline.adopt(impl.wrappers.Request(method="GET", url="/hello", id=number), 0, None)
        reply = json.loads(server.pipeline.respond(request))
        assert list(reply) == ["detail", "event_name"]


def test_what_could_not_be_decoded_is_answered_with_its_error(impl: Impl) -> None:
    server = Server(impl, hello)
    for exc, expected, count in [
        (InvalidMessage("mine"), b'{"detail":"mine","event_name":null}', 0),
        (ValueError("mine"), b'{"detail":"A server error occurred.","event_name":null}', 1),
    ]:
        assert server.pipeline.respond(impl.wrappers.failed(exc, 0, None)) == expected
        assert len(server.reported()) == count


def test_pipelines_share_nothing(impl: Impl) -> None:
    log: list[Any] = []
    first = Server(impl, hello, middlewares=[Step("1", log)])
    second = Server(impl, get(lambda request: "second", "/hello"), debug=True)
    assert first.ask("/hello") == data("Hello, world!")
    assert second.ask("/hello") == data("second")
    assert len(log) == 1


# Pure against compiled


def everything_sent(request: Any, **kwargs: Any) -> Any:
    names = ("method", "url", "args", "data", "event_name", "id", "extra")
    return [{name: getattr(request, name) for name in names}, kwargs]


def build(impl: Impl) -> Server:
    """Give one application with a bit of everything."""

    class Everything(MethodBasedView):
        renderers = (JSONRenderer, XMLRenderer)

        def get(self, request: Any, x: str, *args: Any, **kwargs: Any) -> Any:
            return {"x": x, "kwargs": kwargs, "extra": request.extra, "data": request.data}

        async def post(self, request: Any, x: str, data: Any = None) -> Any:
            await asyncio.sleep(0)
            return impl.wrappers.Response([x, data], status=201)

    class Open:
        @staticmethod
        def check(request: Any, handler: Any) -> bool:
            return bool(getattr(request, "token", None))

    class Login:
        def process_request(self, request: Any, handler: Any) -> Any:
            if hasattr(request, "user_name"):
                request.user = Person(request.user_name)

    return Server(
        impl,
        hello,
        hello_later,
        ("/every/{x}", Everything, ["GET", "POST"]),
        ("/every/{x}.json", Everything, "GET"),
        get(plain, "/plain/{p}"),
        get(passed_on(keyword_only), "/keyword/{p}"),
        get(raising(ValueError("x")), "/fails"),
        get(raising(Conflict()), "/conflict"),
        get(lambda request: object(), "/unencodable"),
        get(lambda request: request.args, "/echo"),
        get(everything_sent, "/all"),
        get(lambda request: "in", "/token", permission_classes=(Open,)),
        get(lambda request: "in", "/user", auth_required=True),
        middlewares=[Login()],
    )


keys = st.sampled_from(["a", "b", "p", "request", "self", "format", "data", "x", ""]) | st.text(max_size=3)
leaf = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
)
anything = st.recursive(
    leaf, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=5
)
URLS = [
    "/hello",
    "/hello-later",
    "/every/1",
    "/every/1.json",
    "/every/é",
    "/plain/P",
    "/keyword/P",
    "/fails",
    "/conflict",
    "/unencodable",
    "/echo",
    "/token",
    "/user",
    "/all",
    "/no",
    "/",
    "/every//",
    "/every/{}",
]
urls = st.sampled_from([*URLS, "", " /hello ", "/hello\n"]) | anything
methods = st.just("GET") | st.sampled_from(["get", "POST", " Get ", "PUT", "", "__init__"]) | anything
optional: dict[str, st.SearchStrategy[Any]] = {
    "args": st.dictionaries(keys, anything, max_size=3) | anything,
    "data": anything,
    "event_name": anything,
    "id": st.integers(0, 9) | st.text(max_size=3) | anything,
    "token": anything,
    "user_name": anything,
    "_method": anything,
    "extra": anything,
}
envelopes = st.fixed_dictionaries({"method": methods, "url": urls}, optional=optional) | st.fixed_dictionaries(
    {}, optional=optional | {"method": methods, "url": urls}
)
messages = st.builds(
    lambda envelope, ensure_ascii, separators: json.dumps(
        envelope, ensure_ascii=ensure_ascii, separators=separators
    ).encode(),
    envelopes,
    st.booleans(),
    st.sampled_from([(",", ":"), (", ", ": "), (",\n", ":\t")]),
)

# Envelopes as clients write them, without white space: each value is one that JSON allows, or very nearly.
FRAGMENTS = [
    *[
        "null",
        "true",
        "false",
        "0",
        "-0",
        "1",
        "-1",
        "17",
        "1.5",
        "-0.0",
        "1e3",
        "1E+2",
        "1e-7",
        "123456789012345678",
        "1234567890123456789",
    ],
    *[
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775808",
    ],
    *[
        "-9223372036854775809",
        "9999999999999999999",  # 19 digits that overflow 64 bits with a sign
        "99999999999999999999999999",
        "0.1e1",
        "{}",
        "[]",
        "[1]",
        '{"a":1}',
        "[[],{}]",
        '[1,[2,{"b":[]}]]',
    ],
    *[
        '""',
        '"a"',
        '"/hello"',
        '"GET"',
        '"/every/1"',
        '"é"',
        '"😀"',
        '"a\\"b"',
        '"\\\\"',
        '"\\n"',
        '"\\u0041"',
        '"\\/"',
        '"{"',
        '"}"',
        '"["',
        '","',
        '":"',
    ],
    *['{"a":{"a":1},"a":2}', '{"format":"xml"}', '{"a":"]"}', '["}"]', '["\\\\"]', '{"":0}', '"\x7f"'],
    *[
        "01",
        "-01",
        "-",
        "+",
        ".5",
        "1.",
        "1e",
        "1e+",
        "1e999",
        "-1e999",
        "NaN",
        "Infinity",
        "nul",
        "nulll",
        "tru",
        "TRUE",
        "None",
        "0x1",
        "1_0",
        "--1",
        "1a",
    ],
    *[
        '"',
        '"a',
        '"\\x"',
        '"\\u12"',
        '"\\ud800"',
        '"\\udc00\\ud800"',
        '"\\ud83d\\ude00"',
        "'a'",
        "[",
        "]",
        "{",
        "}",
        "[1,]",
        "[,1]",
        '{"a"}',
        '{"a":}',
        "{a:1}",
    ],
    *[
        '{"a":1,}',
        "{1:2}",
        "[1}",
        '{"a":1]',
        "[1]]",
        "{{}}",
        "[[[",
        '"a""b"',
        "1,2",
        '{"a":1,,"b":2}',
        '{"a"1}',
        "[1",
        "2]",
        '"a":1',
    ],
    *['"\x01"', '"\x1f"', '"\x00"', '"a\x80"'],
    *("[" * depth + "]" * depth for depth in (63, 64, 65, 66, 200)),
    *('{"a":' * depth + "1" + "}" * depth for depth in (63, 64, 65)),
    '"' + "x" * 400 + '"',
    '"' + "x" * 600 + '"',
    " 1",
    "1 ",
    "[ 1]",
    '"a\nb"',
    "",
]
fragment = st.sampled_from(FRAGMENTS)
KEYS = ["method", "url", "args", "data", "event_name", "id", "token", "user_name", "Method", "ur", "urls", "", "a b"]
pair = st.tuples(st.sampled_from(KEYS), fragment).map(lambda item: f'"{item[0]}":{item[1]}')
route = st.sampled_from([f'"method":"GET","url":"{url}"' for url in URLS])


def compact(pairs: list[str], where: int, route: str, joint: str, ends: tuple[str, str]) -> bytes:
    parts = [*pairs[:where], route, *pairs[where:]]
    return (ends[0] + joint.join(part for part in parts if part) + ends[1]).encode("utf-8", "surrogatepass")


compacts = st.builds(
    compact,
    st.lists(pair, max_size=3),
    st.integers(0, 3),
    route | st.just(""),
    st.sampled_from([",", ",", ",", ", ", ",,", "", ":"]),
    st.sampled_from(
        [("{", "}"), ("{", "}"), ("{", "}"), ("{", ""), ("", "}"), ("{", "}}"), ("{", ",}"), ("[", "]"), ("{ ", " }")]
    ),
)


def edited(message: bytes, at: int, cut: int, new: bytes) -> bytes:
    at %= len(message) + 1
    return message[:at] + new + message[at + cut :]


mutations = st.builds(
    edited,
    messages | compacts | st.just(HELLO),
    st.integers(0, 10_000),
    st.integers(0, 3),
    st.binary(max_size=2)
    | st.sampled_from([b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b" ", b"0", b"-", b"\x00"]),
)
raw = messages | compacts | mutations | st.binary(max_size=20)
frames = st.tuples(raw | raw.map(base64.b64encode), st.booleans())


@pytest.fixture(scope="session")
def servers(both: tuple[Impl, Impl]) -> tuple[Server, Server]:
    pure, compiled = both
    return build(pure), build(compiled)


@examples(300)
@given(st.lists(frames, min_size=1, max_size=4))
def test_pure_and_compiled_answer_every_message_alike(
    servers: tuple[Server, Server], exchange: list[tuple[bytes, bool]]
) -> None:
    pure, compiled = servers
    for payload, is_binary in exchange:
        assert compiled.send(payload, is_binary) == pure.send(payload, is_binary)
        assert compiled.reported() == pure.reported()


def reading(impl: Impl, payload: bytes, form: int) -> Any:
    """Give all that a request says of itself, or why it could not be read."""
    try:
        request = impl.envelope.read(payload, form, None)
    except InvalidMessage as exc:
        return exc.detail
    names = ("method", "url", "args", "data", "event_name", "id", "extra", "form", "status", "connection", "user")
    # repr tells 1 from True and from 1.0, and 0.0 from -0.0.
    return [repr(getattr(request, name)) for name in names] + [repr(getattr(request, "token", "absent"))]


@examples(600)
@given(raw)
def test_pure_and_compiled_read_every_envelope_alike(both: tuple[Impl, Impl], payload: bytes) -> None:
    pure, compiled = both
    for form, text in ((0, payload), (2, payload), (3, base64.b64encode(payload))):
        assert reading(compiled, text, form) == reading(pure, text, form)


def test_every_fragment_is_read_alike_in_every_place(both: tuple[Impl, Impl]) -> None:
    pure, compiled = both
    for key in KEYS:
        for piece in FRAGMENTS:
            for template in ('{"%s":%s}', '{"url":"/a","%s":%s,"method":"GET"}', '{"%s":%s,"id":1}', '{"%s":%s'):
                payload = (template % (key, piece)).encode("utf-8", "surrogatepass")
                for text in (payload, payload + b" ", payload + b"}", payload[:-1]):
                    assert reading(compiled, text, 0) == reading(pure, text, 0), text


@pytest.mark.parametrize("size", [*range(508, 516), 1020, 1024, 1028])
def test_envelopes_of_every_size_are_read(impl: Impl, size: int) -> None:
    empty = b'{"method":"GET","url":"/all","data":""}'
    message = empty[:-2] + b"x" * (size - len(empty)) + empty[-2:]
    assert len(message) == size
    reply = json.loads(build(impl).send(message))
    assert reply["data"][0]["data"] == "x" * (size - len(empty))


@examples(100)
@given(envelopes)
def test_a_message_is_answered_alike_in_every_form(impl: Impl, envelope: dict[str, Any]) -> None:
    server = build(impl)
    plain_text = json.dumps(envelope).encode()
    expected = server.send(plain_text)
    assert server.send(plain_text, True) == expected
    for is_binary in (False, True):
        assert server.send(base64.b64encode(plain_text), is_binary) == base64.b64encode(expected)
