"""A body that is not called `data`, and what stands where the request comes: told at registration, or in the 422."""

from __future__ import annotations

from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, Optional, TypedDict

import pydantic
import pytest
from msgspec import Struct

from aiorest_ws.app import Application
from aiorest_ws.exceptions import InvalidHandler
from aiorest_ws.routers import SimpleRouter
from aiorest_ws.testing import TestClient
from aiorest_ws.wrappers import Request

if TYPE_CHECKING:
    from collections.abc import Mapping as Unimported


class OfMsgspec(Struct):
    name: str


class OfPydantic(pydantic.BaseModel):
    name: str


@dataclass
class OfDataclass:
    name: str


class OfAttrs:  # as `attrs.define` would make it
    __attrs_attrs__ = ()


class OfTypedDict(TypedDict):
    name: str


BODIES: list[Any] = [
    OfMsgspec,
    OfPydantic,
    OfDataclass,
    OfTypedDict,
    Optional[OfMsgspec],  # noqa: UP045 (as people write it)
    OfPydantic | None,
    list[OfDataclass],
    Annotated[OfMsgspec, "new"],
    dict[str, list[OfTypedDict]],
]
BODY = "the body comes as the parameter called `data`"


def taking(**annotations: Any) -> Any:
    """Give a function with these parameters."""
    names = ", ".join(annotations)
    namespace: dict[str, Any] = {}
    exec(f"def function({names}): return 'called'", namespace)
    function = namespace["function"]
    function.__annotations__ = {name: hint for name, hint in annotations.items() if hint is not None}
    return function


@pytest.mark.parametrize("hint", BODIES, ids=str)
def test_the_422_of_a_body_that_is_not_called_data_names_it(hint: Any) -> None:
    router = SimpleRouter()
    router.post("/users")(taking(request=None, user=hint))
    router.post("/users/{number}")(taking(request=None, number=int, user=hint))
    with TestClient(Application(router)) as client:
        for url in ("/users", "/users/7"):
            reply = client.post(url, data={"name": "ada"})
            assert reply.status == 422
            assert reply.detail == [{"loc": ["args", "user"], "msg": f"missing argument `user`: {BODY}"}]


@pytest.mark.parametrize(
    "hint", [dict, list, dict[str, int], list[int], set[str], list[int] | None, tuple[int, ...]], ids=str
)
def test_a_container_is_meant_as_the_body_where_one_came(hint: Any) -> None:
    router = SimpleRouter()
    router.post("/a")(taking(request=None, items=hint, number=int))
    router.post("/b")(taking(request=None, items=hint, data=dict))
    missing, number = "missing argument `items`", {"loc": ["args", "number"], "msg": "missing argument `number`"}
    with TestClient(Application(router)) as client:
        first = {"loc": ["args", "items"], "msg": f"{missing}: {BODY}"}
        assert client.post("/a", data=[1]).detail == [first, number]
        assert client.post("/a").detail == [{"loc": ["args", "items"], "msg": missing}, number]
        assert client.post("/b", data={}).detail == [{"loc": ["args", "items"], "msg": missing}]


def test_an_argument_that_is_no_body_is_missing_as_before() -> None:
    router = SimpleRouter()
    router.post("/a")(taking(request=None, number=int, user=OfMsgspec))
    with TestClient(Application(router)) as client:
        reply = client.post("/a", args={"user": {"name": "ada"}})
        assert reply.detail == [{"loc": ["args", "number"], "msg": "missing argument `number`"}]
        assert client.post("/a", args={"user": {"name": "ada"}, "number": 1}).data == "called"


@pytest.mark.parametrize("hint", BODIES, ids=str)
def test_a_body_where_a_path_parameter_comes_is_refused(hint: Any) -> None:
    with pytest.raises(InvalidHandler) as caught:
        SimpleRouter().put("/users/{number}")(taking(request=None, user=hint))
    assert str(caught.value) == (
        f"parameter 'user' of function stands where path parameter 'number' comes, as text: {BODY}"
    )


@pytest.mark.parametrize("hint", [*BODIES, OfAttrs], ids=str)
def test_a_body_where_the_request_comes_is_refused(hint: Any) -> None:
    with pytest.raises(InvalidHandler) as caught:
        SimpleRouter().post("/users")(taking(user=hint))
    assert str(caught.value).startswith("function must take `request` first, which would come as its parameter 'user'")
    assert str(caught.value).endswith(f"; {BODY}")


@pytest.mark.parametrize("hint", [int, str, dict, dict[str, Any], list[int], bytes], ids=str)
def test_a_value_where_the_request_comes_is_refused(hint: Any) -> None:
    with pytest.raises(InvalidHandler, match="must take `request` first, which would come as its parameter 'number'"):
        SimpleRouter().get("/users/{other}")(taking(number=hint, other=None))


def test_the_request_under_another_name_elsewhere_is_refused() -> None:
    with pytest.raises(InvalidHandler, match="must take `request` first, not as its parameter 'req'"):
        SimpleRouter().get("/users/{number}")(taking(number=None, req=Request))
    with pytest.raises(InvalidHandler, match="must take `request` first, not as its parameter 'req'"):
        SimpleRouter().get("/users")(taking(first=None, req=Request))


def test_a_request_may_be_annotated() -> None:
    def unimported(request: Unimported[str, Any], number: int) -> int:
        return number

    class Own(Request):
        pass

    router = SimpleRouter()
    router.get("/a/{number}")(unimported)
    for number, hint in enumerate((Request, Own, Any, object, "Request")):
        router.get(f"/{number}")(taking(request=hint, number=None))
    assert len(router.routes) == 6


def test_a_class_that_nobody_can_send_is_refused_with_both_cures() -> None:
    class Stranger:
        pass

    with pytest.raises(InvalidHandler) as caught:
        SimpleRouter().post("/users")(taking(request=None, user=Stranger))
    assert BODY in str(caught.value)
    assert str(caught.value).endswith("what does not come from there is Annotated[…, Depends(…)]")


# What came in the other place


def asked(handler: Any, **sent: Any) -> Any:
    """Give the detail of the 422 that a handler of POST answers."""
    router = SimpleRouter()
    router.post("/a")(handler)
    with TestClient(Application(router)) as client:
        reply = client.post("/a", **sent)
    assert reply.status == 422
    return reply.detail


ASTRAY = "missing argument `number`: it is in `data`, and belongs in `args`"


@pytest.mark.parametrize("more", [{}, {"data": OfMsgspec}, {"other": str | None}], ids=["alone", "body", "other"])
def test_an_argument_that_came_in_the_body_is_told_of(more: dict[str, Any]) -> None:
    handler = taking(request=None, number=int, **more)
    detail = asked(handler, data={"number": 3, "name": "ada"}, args={"other": None} if "other" in more else {})
    assert detail == [{"loc": ["args", "number"], "msg": ASTRAY}]


def passing(handler: Any) -> Any:
    @wraps(handler)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return handler(*args, **kwargs)

    return inner


@pytest.mark.parametrize("around", [lambda handler: handler, passing])
def test_one_of_a_handler_without_annotations_is_told_of_likewise(around: Any) -> None:
    plain = around(taking(request=None, number=None))
    assert asked(plain, data={"number": 3}) == ASTRAY
    for sent in ([3], None, {"nmber": 3}, "number"):
        assert asked(plain, data=sent) == "missing argument `number`"
    assert asked(plain, data={"number": 3}, args={"other": 1}) == "unexpected argument `other`"


@pytest.mark.parametrize("sent", [[3], "number=3", None, {"nmber": 3}, 3, {"NUMBER": 3}])
def test_nothing_is_told_of_a_body_without_it(sent: Any) -> None:
    (fault,) = asked(taking(request=None, number=int), data=sent)
    assert fault["msg"] == "missing argument `number`"


@pytest.mark.parametrize(
    ("args", "cure"),
    [
        ({"name": "ada"}, ": does what is unexpected in `args` belong in `data`?"),
        ({"number": 1, "name": "ada"}, ": does what is unexpected in `args` belong in `data`?"),
        ({"data": {"name": "ada"}}, ": `data` belongs beside `args`, not in it"),
        ({"number": 1}, ""),
        ({"format": "json"}, ""),
        ({}, ""),
    ],
)
def test_a_body_that_came_in_the_arguments_is_told_of(args: dict[str, Any], cure: str) -> None:
    def handler(request: Any, data: OfMsgspec, number: int = 0) -> None: ...

    *unexpected, last = asked(handler, args=args)
    assert last == {"loc": ["data"], "msg": f"missing{cure}"}
    assert len(unexpected) == bool(cure)


def test_a_handler_that_takes_any_argument_is_told_of_none() -> None:
    def handler(request: Any, data: OfMsgspec, **others: Any) -> None: ...

    assert asked(handler, args={"name": "ada"}) == [{"loc": ["data"], "msg": "missing"}]
