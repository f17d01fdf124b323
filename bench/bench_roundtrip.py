"""Payload in, payload out, no socket. `test_measure_orjson_floor` is the reference: divide by it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import orjson
from msgspec import Meta, Struct

from aiorest_ws.decorators import endpoint
from aiorest_ws.routers import SimpleRouter
from aiorest_ws.views import MethodBasedView
from tests.swapping import using

if TYPE_CHECKING:
    from tests.swapping import Impl

HELLO = b'{"method":"GET","url":"/hello","event_name":"e1"}'
HELLO_REPLY = b'{"data":"Hello, world!","event_name":"e1"}'


@endpoint("/hello", "GET")
def hello(request: Any) -> str:
    return "Hello, world!"


class Hello(MethodBasedView):
    def get(self, request: Any) -> str:
        return "Hello, world!"


@endpoint("/users/{user_id}/posts/{post_id}", "GET")
def post(request: Any, user_id: str, post_id: str) -> str:
    return post_id


@endpoint("/sum", "GET")
def add(request: Any, a: Any, b: Any) -> Any:
    return a + b


class Order(Struct):
    number: int
    customer: int
    reference: str
    city: str
    weight: float
    express: bool
    note: str
    priority: int
    articles: list[str]
    voucher: str | None


ORDER = (
    b'{"method":"POST","url":"/users/17/orders/23","args":{"limit":20,"offset":5,"order":"name"},"data":{"number":1,'
    b'"customer":2,"reference":"A-17","city":"Oslo","weight":1.5,"express":true,"note":"ring twice","priority":9,'
    b'"articles":["pen","ink"],"voucher":null},"event_name":"e1"}'
)


@endpoint("/users/{user_id}/orders/{order_id}", "POST")
def untyped_order(request: Any, user_id: Any, order_id: Any, limit: Any = 20, offset: Any = 0, order: Any = "") -> str:
    return "ok" if request.data else "none"


@endpoint("/users/{user_id}/orders/{order_id}", "POST")
def typed_order(
    request: Any,
    user_id: int,
    order_id: int,
    data: Order,
    limit: Annotated[int, Meta(ge=1, le=100)] = 20,
    offset: int = 0,
    order: str = "",
) -> str:
    return "ok" if data.number else "none"


def make_pipeline(impl: Impl, *routes: Any, **options: Any) -> Any:
    """Give a pipeline of `impl` over `routes`: endpoints, or arguments of `register`."""
    with using(impl):
        router = SimpleRouter()
        for route in routes:
            router.register(*route() if callable(route) else route)
    return impl.pipeline.Pipeline(router._trie, **options)


def orjson_floor() -> Callable[[], bytes]:
    """Give what nobody who speaks JSON can do without: reading the request and writing the reply."""
    loads, dumps = orjson.loads, orjson.dumps
    reply = {"data": "Hello, world!", "event_name": "e1"}

    def floor() -> bytes:
        loads(HELLO)
        return dumps(reply)

    return floor


def test_measure_orjson_floor(benchmark: Any) -> None:
    assert benchmark(orjson_floor()) == HELLO_REPLY


def test_answer_hello_endpoint(benchmark: Any, impl: Impl) -> None:
    handle = make_pipeline(impl, hello).handle
    assert benchmark(handle, HELLO, False) == HELLO_REPLY


def test_answer_hello_view(benchmark: Any, impl: Impl) -> None:
    handle = make_pipeline(impl, ("/hello", Hello, "GET")).handle
    assert benchmark(handle, HELLO, False) == HELLO_REPLY


def test_answer_hello_with_id(benchmark: Any, impl: Impl) -> None:
    handle = make_pipeline(impl, hello).handle
    request = b'{"method":"GET","url":"/hello","id":123456}'
    assert benchmark(handle, request, False) == b'{"id":123456,"status":200,"data":"Hello, world!"}'


def test_answer_two_path_parameters(benchmark: Any, impl: Impl) -> None:
    handle = make_pipeline(impl, post).handle
    request = b'{"method":"GET","url":"/users/17/posts/23","event_name":"e1"}'
    assert benchmark(handle, request, False) == b'{"data":"23","event_name":"e1"}'


def test_answer_with_args(benchmark: Any, impl: Impl) -> None:
    handle = make_pipeline(impl, add).handle
    request = b'{"method":"GET","url":"/sum","args":{"a":1,"b":2},"event_name":"e1"}'
    assert benchmark(handle, request, False) == b'{"data":3,"event_name":"e1"}'


def test_answer_untyped_order(benchmark: Any, impl: Impl) -> None:
    handle = make_pipeline(impl, untyped_order).handle
    assert benchmark(handle, ORDER, False) == b'{"data":"ok","event_name":"e1"}'


def test_answer_typed_order(benchmark: Any, impl: Impl) -> None:
    handle = make_pipeline(impl, typed_order).handle
    assert benchmark(handle, ORDER, False) == b'{"data":"ok","event_name":"e1"}'


def test_answer_hello_in_base64(benchmark: Any, impl: Impl) -> None:
    handle = make_pipeline(impl, hello).handle
    assert benchmark(handle, base64.b64encode(HELLO), True) == base64.b64encode(HELLO_REPLY)


def test_answer_hello_in_messagepack(benchmark: Any, impl: Impl) -> None:
    handle = make_pipeline(impl, hello).handle
    request, reply = (msgspec.msgpack.encode(orjson.loads(text)) for text in (HELLO, HELLO_REPLY))
    assert benchmark(handle, request, True) == reply


def test_answer_hello_through_a_middleware(benchmark: Any, impl: Impl) -> None:
    class Middleware:
        def process_request(self, request: Any, handler: Any) -> None:
            request.user = "me"

    handle = make_pipeline(impl, hello, middlewares=[Middleware()]).handle
    assert benchmark(handle, HELLO, False) == HELLO_REPLY


def test_refuse_unknown_url(benchmark: Any, impl: Impl) -> None:
    handle = make_pipeline(impl, hello).handle
    assert benchmark(handle, HELLO.replace(b"hello", b"no"), False).startswith(b'{"detail":"For URL')


def test_refuse_malformed_json(benchmark: Any, impl: Impl) -> None:
    handle = make_pipeline(impl, hello).handle
    assert benchmark(handle, HELLO[:-1], False).startswith(b'{"detail":"request is not valid JSON')
