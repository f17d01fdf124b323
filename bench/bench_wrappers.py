"""Envelope → `Request`: making one, and reading from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.swapping import Impl

HELLO = {"method": "GET", "url": "/hello", "event_name": "e1"}
EXTRA = HELLO | {"token": "t", "args": {"a": 1}, "locale": "en"}


def test_wrap_hello(benchmark: Any, impl: Impl) -> None:
    assert benchmark(impl.wrappers.wrap, HELLO, 0, None).url == "/hello"


def test_wrap_and_read_extra_attribute(benchmark: Any, impl: Impl) -> None:
    wrap = impl.wrappers.wrap

    def read() -> Any:
        return wrap(EXTRA, 0, None).token

    assert benchmark(read) == "t"


def test_read_extra_attribute(benchmark: Any, impl: Impl) -> None:
    request = impl.wrappers.wrap(EXTRA, 0, None)
    assert benchmark(lambda: request.token) == "t"


def test_read_method_url_and_args(benchmark: Any, impl: Impl) -> None:
    request = impl.wrappers.wrap(EXTRA, 0, None)
    assert benchmark(lambda: (request.method, request.url, request.args)) == ("GET", "/hello", {"a": 1})


def test_set_user(benchmark: Any, impl: Impl) -> None:
    request = impl.wrappers.wrap(EXTRA, 0, None)

    def set_user() -> None:
        request.user = "me"

    benchmark(set_user)
    assert request.user == "me"


def test_make_response(benchmark: Any, impl: Impl) -> None:
    assert benchmark(lambda: impl.wrappers.Response("made", status=201)).status == 201
