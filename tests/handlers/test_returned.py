"""A status beside the data that a handler returns, as Flask has it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import pytest

from aiorest_ws import Application, MethodBasedView, Response, SimpleRouter
from aiorest_ws.exceptions import InvalidHandler
from aiorest_ws.testing import TestClient

x: Any = {"a": 1}


def made(request: Any) -> Any:
    return x, 201


def literal(request: Any) -> Any:
    return {"a": x}, 201


def constant(request: Any) -> Any:
    return "no such order", 404


def branched(request: Any, number: int = 1) -> Any:
    if number > 1:
        return "too many", 400
    return x


async def waiting(request: Any) -> dict[str, int]:
    return x, 201  # type: ignore[return-value]


def listed(request: Any) -> Any:
    return [x, 201]


def annotated(request: Any) -> tuple[Any, int]:
    return x, 404


def numbers(request: Any) -> Any:
    return 12, 200


def other(request: Any) -> Any:
    return x, 12


def three(request: Any) -> Any:
    return x, 1, 201


def inside(request: Any) -> Any:
    return {"pair": (x, 201)}


def responded(request: Any) -> Any:
    return Response(x, status=201)


def translated(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        data, status = function(*args, **kwargs)
        return Response(data, status=status)

    return call


@pytest.mark.parametrize(
    ("handler", "cure"),
    [
        (made, "(…, 201), which would be sent as a list, with status 200: return Response(data, status=201)"),
        (literal, "return Response(data, status=201)"),
        (constant, "(…, 404), which would be sent as a list, with status 200: raise HTTPError(404, detail)"),
        (branched, "raise HTTPError(400, detail); if a list is meant, [data, 400]"),
        (waiting, "return Response(data, status=201)"),
        (lambda request: (x, 201), "return Response(data, status=201)"),
    ],
)
def test_a_status_beside_the_data_is_refused(handler: Any, cure: str) -> None:
    with pytest.raises(InvalidHandler) as caught:
        SimpleRouter().get("/a")(handler)
    assert cure in str(caught.value)
    assert str(caught.value).startswith(handler.__qualname__)


def test_that_of_a_view_is_refused_too() -> None:
    class Orders(MethodBasedView):
        def get(self, request: Any) -> Any:
            return x, 201

    with pytest.raises(InvalidHandler, match=r"Orders\.get returns"):
        SimpleRouter().register("/a", Orders, "GET")


@pytest.mark.parametrize(
    ("handler", "status", "data"),
    [
        (listed, 200, [{"a": 1}, 201]),
        (annotated, 200, [{"a": 1}, 404]),
        (numbers, 200, [12, 200]),
        (other, 200, [{"a": 1}, 12]),
        (three, 200, [{"a": 1}, 1, 201]),
        (inside, 200, {"pair": [{"a": 1}, 201]}),
        (responded, 201, {"a": 1}),
        (translated(made), 201, {"a": 1}),
    ],
)
def test_what_is_meant_is_sent(handler: Any, status: int, data: Any) -> None:
    router = SimpleRouter()
    router.get("/a")(handler)
    with TestClient(Application(router)) as client:
        reply = client.get("/a")
        assert (reply.status, reply.data) == (status, data)


def test_where_a_model_says_what_is_sent_it_says_so_too() -> None:
    router = SimpleRouter()
    router.get("/a", response_model=tuple[dict[str, int], int])(made)
    with TestClient(Application(router)) as client:
        assert client.get("/a").data == [{"a": 1}, 201]
