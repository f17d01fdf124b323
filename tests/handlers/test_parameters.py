"""Annotated handlers: what they get, what a request that does not fit them is told, and what cannot be registered."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict
from uuid import UUID

import pytest
from annotated_types import Ge
from msgspec import Meta, Struct
from msgspec import field as struct_field
from pydantic import BaseModel, Field, PositiveInt

from aiorest_ws import Application, Depends, MethodBasedView, SimpleRouter, endpoint
from aiorest_ws.exceptions import IncorrectArgument, InvalidArguments, InvalidHandler
from aiorest_ws.testing import TestClient
from aiorest_ws.wrappers import Request
from tests.kit.systems import MSGSPEC
from tests.serving import Client, asynchronous, printed, serving

if TYPE_CHECKING:
    from nowhere import Unresolvable  # type: ignore[import-not-found]

Limit = Annotated[int, Meta(ge=1, le=100)]


class Line(Struct):
    name: str
    count: int = 1


class Order(Struct):
    items: list[Line]
    due: date | None = None


class Cat(Struct, tag="cat"):
    lives: int


class Dog(Struct, tag="dog"):
    name: str


class Node(Struct):
    children: list[Node] = []


class Colour(Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    y: float = 0.0


class Range(TypedDict):
    low: int
    high: int


class Model(BaseModel):
    number: int
    names: list[str] = []


class NodeModel(BaseModel):
    children: list[NodeModel] = []


class CatModel(BaseModel):
    kind: Literal["cat"]


class DogModel(BaseModel):
    kind: Literal["dog"]


class Checked(Struct):
    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low is above high")


class Stranger:
    pass


@contextmanager
def client_of(*handlers: Any, router: SimpleRouter | None = None, **options: Any) -> Iterator[TestClient]:
    router = SimpleRouter() if router is None else router
    for handler in handlers:
        router.register_endpoint(handler)
    with TestClient(Application(router=router, **options)) as client:
        yield client


def taking(hint: Any, *, path: str = "/", name: str = "value", default: Any = ...) -> Any:
    """Give an endpoint with one parameter, annotated with `hint`, that gives its value back as text."""

    def handler(request: Any, **kwargs: Any) -> Any: ...

    namespace: dict[str, Any] = {"hint": hint, "default": default}
    start = "" if default is ... else " = default"
    exec(f"def handler(request, {name}: hint{start}): return repr({name})", namespace)
    return endpoint(path, "POST")(namespace["handler"])


def told(hint: Any, value: Any, **options: Any) -> Any:
    """Give what a handler gets for `value` in `args`, as text, or the text of the only fault."""
    with client_of(taking(hint, **options)) as client:
        reply = client.post("/", args={"value": value})
        if reply.ok:
            return reply.data
        assert reply.status == 422
        (fault,) = reply.detail
        assert fault["loc"][:2] == ["args", "value"]
        return fault["msg"] if len(fault["loc"]) == 2 else (fault["loc"][2:], fault["msg"])


def from_url(hint: Any, text: str, path: str = "/{value}") -> Any:
    """Give what a handler gets for `text` in the url, as text, or the text of the only fault."""
    with client_of(taking(hint, path=path)) as client:
        reply = client.post(f"/{text}")
        if reply.ok:
            return reply.data
        ((loc, text),) = [(fault["loc"], fault["msg"]) for fault in reply.detail]
        assert loc == ["path", "value"]
        return text


def from_body(hint: Any, data: Any, **options: Any) -> Any:
    """Give what a handler gets for `data`, as text, or places and texts of the faults."""
    with client_of(taking(hint, name="data", **options)) as client:
        reply = client.post("/", data=data)
        if reply.ok:
            return reply.data
        assert reply.status == 422
        assert all(fault["loc"][0] == "data" for fault in reply.detail)
        return [(fault["loc"][1:], fault["msg"]) for fault in reply.detail]


# What a handler gets


@endpoint("/users/{user_id}/posts/{post_id}", "POST")
def everything(
    request: Request,
    user_id: int,
    post_id: int,
    data: Order,
    fields: list[str] = [],  # noqa: B006 (as people write it)
    limit: Limit = 20,
    raw: Any = None,
) -> Any:
    return [user_id, post_id, fields, limit, raw, data]


def test_path_parameters_arguments_and_body_are_converted() -> None:
    with client_of(everything) as client:
        args = {"fields": ["a"], "limit": 7, "raw": {"b": 1}}
        reply = client.post("/users/17/posts/23", args=args, data={"items": [{"name": "pen"}], "due": "2024-02-29"})
        order = {"items": [{"name": "pen", "count": 1}], "due": "2024-02-29"}
        assert reply.data == [17, 23, ["a"], 7, {"b": 1}, order]


def test_arguments_that_are_not_sent_have_their_defaults() -> None:
    with client_of(everything) as client:
        nothing: list[Any] = [None, {}]
        for args in nothing:
            reply = client.post("/users/17/posts/23", args=args, data={"items": []})
            assert reply.data[:5] == [17, 23, [], 20, None]


def test_a_default_is_not_converted() -> None:
    default: Any = Stranger()
    seen: list[Any] = []

    def handler(request: Any, value: Any = default, data: float = 1) -> None:
        seen.append((value, type(data)))

    with client_of(endpoint("/", "GET")(handler)) as client:
        assert client.get("/").ok
        assert seen == [(default, int)]


def test_all_faults_are_told_at_once_each_with_its_place() -> None:
    with client_of(everything) as client:
        reply = client.post(
            "/users/x/posts/1.5", args={"limit": 101, "fields": "a", "nick": 1}, data={"items": [{"name": "a"}, {}]}
        )
        assert (reply.status, reply.detail) == (
            422,
            [
                {"loc": ["path", "user_id"], "msg": "Expected `int`, got `str`"},
                {"loc": ["path", "post_id"], "msg": "Expected `int`, got `str`"},
                {"loc": ["args", "limit"], "msg": "Expected `int` <= 100"},
                {"loc": ["args", "fields"], "msg": "Expected `array`, got `str`"},
                {"loc": ["args", "nick"], "msg": "unexpected argument `nick`"},
                {"loc": ["data", "items", 1], "msg": "Object missing required field `name`"},
            ],
        )


def test_arguments_are_named_as_they_are_without_annotations() -> None:
    @endpoint("/{id}", "GET")
    def handler(request: Any, id: int, needed: int, other: Any, more: int = 0) -> None: ...  # noqa: A002

    with client_of(handler) as client:
        assert client.get("/1", args={"id": 2, "nick": 3}).detail == [
            {"loc": ["args", "id"], "msg": "argument `id` is already given by the url"},
            {"loc": ["args", "nick"], "msg": "unexpected argument `nick`"},
            {"loc": ["args", "needed"], "msg": "missing argument `needed`"},
            {"loc": ["args", "other"], "msg": "missing argument `other`"},
        ]
        for args in ([1], "a", 5, [], "", False, 0):
            fault = {"loc": ["args"], "msg": "`args` must be an object"}
            assert client.get("/1", args=args).detail == [fault], args


def test_format_chooses_the_renderer_all_the_same() -> None:
    @endpoint("/", "GET")
    def plain(request: Any, a: int) -> Any:
        return a

    @endpoint("/takes", "GET")
    def takes(request: Any, a: int, format: str = "") -> Any:  # noqa: A002
        return [a, format]

    with client_of(plain, takes) as client:
        assert client.get("/", args={"a": 1, "format": "xml"}).data == 1
        assert client.get("/takes", args={"a": 1, "format": "xml"}).data == [1, "xml"]


def test_a_handler_with_kwargs_takes_further_arguments_as_they_are() -> None:
    @endpoint("/{id}", "GET")
    def handler(request: Any, id: int, *args: int, limit: int = 1, **kwargs: int) -> Any:  # noqa: A002
        return [id, list(args), limit, kwargs]

    with client_of(handler) as client:
        assert client.get("/1").data == [1, [], 1, {}]
        assert client.get("/1", args={"limit": 5}).data == [1, [], 5, {}]
        assert client.get("/1", args={"limit": 5, "x": "raw", "data": 1}).data == [1, [], 5, {"x": "raw", "data": 1}]
        assert client.get("/1", args={"id": 5}).status == 422


def test_async_handlers_classes_and_threads_are_alike() -> None:
    class View(MethodBasedView):
        async def get(self, request: Request, id: int, n: int = 0) -> Any:  # noqa: A002
            return [id, n]

        @staticmethod
        def put(request: Request, id: int, n: int = 0) -> Any:  # noqa: A002
            return [id, n]

        @classmethod
        def post(cls, request: Request, id: int, n: int = 0) -> Any:  # noqa: A002
            return [id, n]

        def delete(self, request: Request, id: int, n: int = 0) -> Any:  # noqa: A002
            return [id, n]

    class Threaded(View):
        threaded = True

    router = SimpleRouter()
    router.register("/v/{id}", View, ["GET", "PUT", "POST", "DELETE"])
    router.register("/t/{id}", Threaded, ["GET", "PUT", "POST", "DELETE"])
    with client_of(router=router) as client:
        for path in ("/v/7", "/t/7"):
            for ask in (client.get, client.put, client.post, client.delete):
                assert ask(path, args={"n": 1}).data == [7, 1]
                assert ask(path, args={"n": "1"}).status == 422


def test_middlewares_and_permissions_come_before_the_check() -> None:
    class Never(MethodBasedView):
        permission_classes: Any = (type("No", (), {"check": staticmethod(lambda request, view: False)}),)

        def get(self, request: Any, n: int) -> None: ...

    router = SimpleRouter()
    router.register("/", Never, "GET")
    with client_of(router=router) as client:
        assert client.get("/", args={"n": "1"}).status == 403


def test_exception_handlers_get_the_faults() -> None:
    router = SimpleRouter()

    @router.exception_handler(IncorrectArgument)
    def handler(request: Any, exc: InvalidArguments) -> Any:
        return [type(exc).__name__, exc.detail]

    with client_of(taking(int), router=router) as client:
        name, detail = client.post("/", args={"value": "1"}).data
        assert (name, detail) == ("InvalidArguments", [{"loc": ["args", "value"], "msg": "Expected `int`, got `str`"}])


@asynchronous
async def test_over_a_socket_in_every_shape() -> None:
    router = SimpleRouter()
    router.register_endpoint(everything)
    async with serving(router) as app, await Client.connect(app) as client:
        detail = [{"loc": ["path", "user_id"], "msg": "Expected `int`, got `str`"}]
        reply = await client.ask("POST", "/users/x/posts/1", data={"items": []})
        assert reply == {"detail": detail, "event_name": None}
        reply = await client.ask("POST", "/users/x/posts/1", data={"items": []}, id=1)
        assert reply == {"id": 1, "status": 422, "detail": detail}


# Bad input: values of JSON are taken strictly


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (5, "5"),
        ("1", "Expected `int`, got `str`"),
        (1.0, "Expected `int`, got `float`"),
        (1.5, "Expected `int`, got `float`"),
        (True, "Expected `int`, got `bool`"),
        (None, "Expected `int`, got `null`"),
        ([], "Expected `int`, got `array`"),
        ({}, "Expected `int`, got `object`"),
        (2**64 - 1, "18446744073709551615"),
    ],
)
def test_an_integer_is_nothing_else(value: Any, expected: str) -> None:
    assert told(int, value) == expected


def test_an_integer_beyond_64_bits_is_a_float() -> None:
    """The JSON reader makes it one, without its last digits."""
    with client_of(taking(int)) as client:
        client.send('{"method":"POST","url":"/","args":{"value":18446744073709551616},"id":1}')
        reply = client.receive()
        assert '"msg":"Expected `int`, got `float`"' in str(reply)
        client.send('{"method":"POST","url":"/","args":{"value":NaN},"id":1}')
        assert "request is not valid JSON" in str(client.receive())


def test_nan_of_messagepack_passes_no_bound() -> None:
    with client_of(taking(float), taking(Annotated[float, Meta(ge=0, le=1)], path="/bounded")) as client:
        assert client.post("/", args={"value": float("nan")}, form="msgpack").data == "nan"
        (fault,) = client.post("/bounded", args={"value": float("nan")}, form="msgpack").detail
        assert fault == {"loc": ["args", "value"], "msg": "Expected `float` >= 0.0"}


@pytest.mark.parametrize(
    ("hint", "value", "expected"),
    [
        (float, 1, "1.0"),
        (float, "1", "Expected `float`, got `str`"),
        (str, 1, "Expected `str`, got `int`"),
        (bool, 1, "Expected `bool`, got `int`"),
        (date, "2024-02-29", "datetime.date(2024, 2, 29)"),
        (date, "2024-02-30", "Invalid RFC3339 encoded date"),
        (datetime, 5, "Expected `datetime`, got `int`"),
        (UUID, "x", "Invalid UUID"),
        (Decimal, "1.50", "Decimal('1.50')"),
        (bytes, "aGk=", "b'hi'"),
        (bytes, "aGk", "Invalid base64 encoded string"),
        (Colour, "red", "<Colour.RED: 'red'>"),
        (Colour, "blue", "Invalid enum value 'blue'"),
        (Literal["a", "b"], "c", "Invalid enum value 'c'"),
        (int | None, None, "None"),
        (int | str, [], "Expected `int | str`, got `array`"),
        (dict[int, str], {"1": "a"}, "{1: 'a'}"),
        (list[int], [1, "2"], ([1], "Expected `int`, got `str`")),
        (dict[str, list[int]], {"a": [1, "2"]}, (["...", 1], "Expected `int`, got `str`")),
        (dict[int, int], {"a": 1}, "Expected `int`, got `str` as key"),
        (Range, {"low": 1}, "Object missing required field `high`"),
        (tuple[int, int], [1], "Expected `array` of length 2, got 1"),
    ],
    ids=str,
)
def test_other_types_are_what_json_has_for_them(hint: Any, value: Any, expected: Any) -> None:
    assert told(hint, value) == expected


@pytest.mark.parametrize(
    ("hint", "data", "expected"),
    [
        (Order, {"items": []}, "Order(items=[], due=None)"),
        (Order, [], [([], "Expected `object`, got `array`")]),
        (Order, {}, [([], "Object missing required field `items`")]),
        (Order, {"items": [], "more": 1}, "Order(items=[], due=None)"),
        (Order, {"items": [{"name": "a", "count": "1"}]}, [(["items", 0, "count"], "Expected `int`, got `str`")]),
        (Point, {"x": 1}, "Point(x=1, y=0.0)"),
        (Point, {"x": 1.5}, [(["x"], "Expected `int`, got `float`")]),
        (Range, {"low": 1, "high": 2}, "{'low': 1, 'high': 2}"),
        (list[Line], [{"name": "a"}, 5], [([1], "Expected `object`, got `int`")]),
        (Cat | Dog, {"type": "cat", "lives": 9}, "Cat(lives=9)"),
        (Cat | Dog, {"type": "cow"}, [(["type"], "Invalid value 'cow'")]),
        (Cat | Dog, {"lives": 9}, [([], "Object missing required field `type`")]),
        (int | str | Line, True, [([], "Expected `int | str | object`, got `bool`")]),
        (Checked, {"low": 2, "high": 1}, [([], "low is above high")]),
        (dict[str, Any], [1], [([], "Expected `object`, got `array`")]),
        (dict[int, Line], {"7": {"name": "a"}}, "{7: Line(name='a', count=1)}"),
        (Any, [1, "a"], "[1, 'a']"),
        (int, 0, "0"),
    ],
    ids=str,
)
def test_a_body_is_checked(hint: Any, data: Any, expected: Any) -> None:
    assert from_body(hint, data) == expected


def test_no_body_is_the_default_or_a_fault() -> None:
    assert from_body(Order, None) == [([], "missing")]
    assert from_body(Order, None, default=None) == "None"
    assert from_body(Order | None, None) == "None"
    assert from_body(Any, None) == "None"


def test_a_body_is_no_argument() -> None:
    with client_of(taking(Order, name="data")) as client:
        reply = client.post("/", args={"data": 1}, data={"items": []})
        assert reply.detail == [{"loc": ["args", "data"], "msg": "unexpected argument `data`"}]


def test_a_parameter_named_data_without_an_annotation_is_an_argument() -> None:
    @endpoint("/", "POST")
    def handler(request, n: int, data):  # type: ignore[no-untyped-def]
        return [n, data]

    with client_of(handler) as client:
        assert client.post("/", args={"n": 1, "data": 2}, data=3).data == [1, 2]


def test_a_path_parameter_may_be_named_data() -> None:
    with client_of(taking(int, path="/{data}", name="data")) as client:
        assert client.post("/7", data=3).data == "7"


@pytest.mark.parametrize(
    ("hint", "text", "expected"),
    [
        (int, "7", "7"),
        (int, "-7", "-7"),
        (int, "007", "Expected `int`, got `str`"),
        (int, "1.5", "Expected `int`, got `str`"),
        (int, "x", "Expected `int`, got `str`"),
        (int, "9" * 5000, "Integer value out of range"),
        (Limit, "101", "Expected `int` <= 100"),
        (float, "1.5", "1.5"),
        (float, "nan", "Expected a finite number"),
        (float, "-Infinity", "Expected a finite number"),
        (Decimal, "NaN", "Expected a finite number"),
        (Decimal, "sNaN", "Expected a finite number"),
        (Decimal, "1E+400", "Decimal('1E+400')"),
        # The first second of the year 10000.
        (datetime, "253402300800", "Invalid value" if MSGSPEC < (0, 23) else "Timestamp is out of range "),
        (bool, "true", "True"),
        (bool, "yes", "Expected `bool`, got `str`"),
        (date, "2024-02-29", "datetime.date(2024, 2, 29)"),
        (Colour, "red", "<Colour.RED: 'red'>"),
        (Literal["a"], "b", "Invalid enum value 'b'"),
        (PositiveInt, "5", "5"),
        (PositiveInt, "0", "Input should be greater than 0"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_the_text_of_a_path_parameter_is_read_as_its_type(hint: Any, text: str, expected: str) -> None:
    assert from_url(hint, text) == expected


def test_what_a_converter_made_is_checked_too() -> None:
    assert from_url(Limit, "7", "/{value:int}") == "7"
    assert from_url(Limit, "101", "/{value:int}") == "Expected `int` <= 100"
    assert from_url(bool, "1", "/{value:int}") == "Expected `bool`, got `int`"
    assert from_url(int, "a/b", "/{value:path}") == "Expected `int`, got `str`"


def test_what_a_converter_made_may_be_of_any_class() -> None:
    router = SimpleRouter()
    router.add_converter("stranger", lambda text: Stranger() if text == "s" else text, str)
    with client_of(taking(Stranger, path="/{value:stranger}"), router=router) as client:
        assert "Stranger" in client.post("/s").data
        assert client.post("/t").status == 422


def test_what_is_not_checked_passes_as_it_is() -> None:
    seen: list[Any] = []

    def handler(request: Any, what: Any, unit: UUID, number: int, more: Any, data: int | None = None) -> None:
        seen.extend((what, unit, number, more))

    router = SimpleRouter()
    stranger = Stranger()
    router.add_converter("stranger", lambda text: stranger, str)
    path = "/{what:stranger}/{unit:uuid}/{number}"
    with client_of(endpoint(path, "GET")(handler), router=router) as client:
        assert client.get(f"/x/{UUID(int=1)}/7", args={"more": {"a": [1, None]}}).ok
        assert seen == [stranger, UUID(int=1), 7, {"a": [1, None]}]


def test_a_router_that_is_included_has_typed_handlers_too() -> None:
    inner, outer = SimpleRouter(), SimpleRouter()
    outer.include(inner, prefix="/{shop}")
    inner.register_endpoint(endpoint("/{number}", "GET")(lambda request, shop, number: [shop, number]))

    @endpoint("/typed/{number}", "GET")
    def typed(request: Any, number: int) -> Any:
        return number

    with pytest.raises(InvalidHandler, match=r"takes 1 path parameters, its path has 2"):
        inner.register_endpoint(typed)
    shops = SimpleRouter()
    shops.register_endpoint(typed)
    outer.include(shops, prefix="/shops")
    with client_of(router=outer) as client:
        assert client.get("/shops/typed/7").data == 7
        assert client.get("/shops/typed/x").status == 422


def test_a_handler_without_request_is_told_that_it_comes_first() -> None:
    def show(number: int) -> int:
        return number

    with pytest.raises(InvalidHandler) as caught:
        SimpleRouter().get("/x/{number}")(show)
    assert str(caught.value).endswith(
        "takes 0 path parameters, its path has 1: it must take `request` first, which comes as its parameter 'number'"
    )

    def bare(request: Any) -> None: ...

    with pytest.raises(InvalidHandler, match=r"takes 0 path parameters, its path has 1$"):
        SimpleRouter().get("/x/{id}")(bare)


def test_a_path_parameter_may_have_another_name_than_in_the_template() -> None:
    with client_of(taking(int, path="/{id}", name="number")) as client:
        assert client.post("/7").data == "7"
        assert client.post("/x").detail[0]["loc"] == ["path", "id"]


# Hostile input


def test_a_fault_does_not_grow_with_what_was_sent() -> None:
    long = "x" * 100_000
    with client_of(taking(Colour), taking(Cat | Dog, path="/pet", name="data")) as client:
        (fault,) = client.post("/", args={"value": long}).detail
        assert len(fault["msg"]) == 200
        (fault,) = client.post("/pet", data={"type": long}).detail
        assert len(fault["msg"]) == 200
        many = client.post("/", args={f"{number}{long[:200]}": 1 for number in range(500)}).detail
        assert len(many) == 50
        assert max(len(fault["loc"][1]) for fault in many) <= 100


def test_what_msgspec_only_stumbles_over_is_a_fault_of_the_client_and_of_nobody_else() -> None:
    class Numbers(Struct):
        seen: set[Decimal]

    class Default(Struct):
        n: int = struct_field(default_factory=lambda: int("x"))

    assert from_body(Numbers, {"seen": ["sNaN"]}) == [(["seen", 0], "Expected a finite number")]
    with client_of(taking(Default, name="data")) as client:
        assert client.post("/", data={}).status == 500


def test_a_bound_is_looked_at_before_members_with_equal_hashes_are_made() -> None:
    """Without one, these would take minutes: what is no string has a hash that a client can choose."""
    numbers = [number * (2**61 - 1) for number in range(20_000)]
    few = Meta(max_length=100)
    members = [str(UUID(int=number)) for number in numbers]
    assert from_body(Annotated[set[UUID], few], members) == [([], "Expected `array` of length <= 100")]
    keys = {str(number): 1 for number in numbers}
    assert from_body(Annotated[dict[int, int], few], keys) == [([], "Expected `object` of length <= 100")]


def test_many_faults_of_pydantic_are_only_counted() -> None:
    class Closed(BaseModel, extra="forbid"):
        n: int = 0

    unknown = {f"a{number}": 0 for number in range(10_001)}
    assert from_body(Closed, unknown) == [([], "10001 faults, which are too many to tell")]


def test_a_place_does_not_grow_with_what_was_sent() -> None:
    class Closed(Struct, forbid_unknown_fields=True):
        n: int

    name = "x` - at `$" + ".a" * 10_000
    ((loc, text),) = from_body(Closed, {"n": 1, name: 2})
    assert len(loc) < 64
    assert len(text) <= 200
    deep: Any = 5
    for _ in range(100):
        deep = {"children": [deep]}
    ((loc, text),) = from_body(Node, deep)
    assert (len(loc), text) == (63, "Expected `object`, got `int`")


def test_a_value_cannot_pretend_to_be_a_place() -> None:
    assert told(Colour, "x - at `$.a.b`") == "Invalid enum value 'x - at `$.a.b`'"


@pytest.mark.parametrize("hint", [Node, Any, dict[str, Any], dict[str, list[Node]], NodeModel], ids=str)
def test_deeply_nested_data_is_taken_or_refused(hint: Any) -> None:
    def handler(request: Any, data: Any) -> str:
        return "taken"

    handler.__annotations__["data"] = hint
    with client_of(endpoint("/", "POST")(handler)) as client:
        data = '{"children":[' * 480 + "]}" * 480
        client.send(f'{{"method":"POST","url":"/","data":{data},"id":1}}')
        reply = str(client.receive())
        assert '"data":"taken"' in reply or '"status":422' in reply


def test_a_validation_that_fails_with_another_error_is_a_failed_handler() -> None:
    class Broken(Struct):
        n: int

        def __post_init__(self) -> None:
            raise KeyError(self.n)

    with client_of(taking(Broken, name="data")) as client:
        assert client.post("/", data={"n": 1}).status == 500


# pydantic


@pytest.mark.parametrize(
    ("hint", "data", "expected"),
    [
        (Model, {"number": 1}, "Model(number=1, names=[])"),
        (Model, {}, [(["number"], "Field required")]),
        (Model, [], [([], "Input should be a valid dictionary or instance of Model")]),
        (list[Model], [{"number": 1}], "[Model(number=1, names=[])]"),
        (Model | None, None, "None"),
        (
            list[Model],
            [{"number": "x"}, {"number": 1, "names": [2]}],
            [
                ([0, "number"], "Input should be a valid integer, unable to parse string as an integer"),
                ([1, "names", 0], "Input should be a valid string"),
            ],
        ),
        (
            Annotated[CatModel | DogModel, Field(discriminator="kind")],
            {"kind": "cow"},
            [([], "Input tag 'cow' found using 'kind' does not match any of the expected tags: 'cat', 'dog'")],
        ),
    ],
    ids=str,
)
def test_models_of_pydantic_are_checked_by_pydantic(hint: Any, data: Any, expected: Any) -> None:
    assert from_body(hint, data) == expected


def test_constraints_of_pydantic_are_not_ignored() -> None:
    for hint in (Annotated[int, Field(ge=1)], Annotated[int, Ge(1)], Annotated[list[PositiveInt], Meta(max_length=3)]):
        value: Any = [0] if "list" in str(hint) else 0
        assert "greater than" in str(told(hint, value))


def test_faults_of_pydantic_do_not_repeat_what_was_sent() -> None:
    long = "x" * 10_000
    hint = Annotated[CatModel | DogModel, Field(discriminator="kind")]
    for found in (from_body(hint, {"kind": long}), from_body(dict[int, Model], {long: {}, "1": {"number": long}})):
        assert len(repr(found)) < 1000
    assert len(from_body(list[Model], [{}] * 900)) == 50


# What is left as it is


class Unbound(MethodBasedView):
    def get(self, request: Unresolvable, id: str, *args: Unresolvable, **kwargs: Unresolvable) -> Unresolvable:  # noqa: A002
        return [id, kwargs]

    def put(self, request: Request, id, name, age=0):  # type: ignore[no-untyped-def] # noqa: A002
        return [id, name, age]

    def post(self, request: Any, id: Any, name: object, age: Any = 0) -> Any:  # noqa: A002
        return [id, name, age]


def bind_of(router: SimpleRouter, method: str, url: str) -> Any:
    return router._trie.match(method, url)[0].bind  # type: ignore[attr-defined]


def test_annotations_that_say_nothing_about_a_request_change_nothing() -> None:
    router = SimpleRouter()
    router.register("/{id}", Unbound, ["GET", "PUT", "POST"])
    assert [bind_of(router, method, "/1") for method in ("GET", "PUT", "POST")] == [None, None, None]
    with client_of(router=router) as client:
        assert client.get("/1", args={"a": 2}).data == ["1", {"a": 2}]
        for ask in (client.put, client.post):
            assert ask("/1", args={"name": [1]}).data == ["1", [1], 0]
            assert ask("/1").detail == "missing argument `name`"


@pytest.mark.parametrize(
    ("path", "hint", "url"),
    [
        ("/{value}", str, "/a"),
        ("/{value:str}", str, "/a"),
        ("/{value:path}", str, "/a/b"),
        ("/{value:int}", int, "/1"),
        ("/{value:float}", float, "/1"),
        ("/{value:date}", date, "/2024-02-29"),
        ("/{value:uuid}", UUID, "/12345678-1234-1234-1234-123456789abc"),
    ],
)
def test_what_the_path_sees_to_is_not_checked_again(path: str, hint: Any, url: str) -> None:
    router = SimpleRouter()
    router.register_endpoint(taking(hint, path=path))
    assert bind_of(router, "POST", url) is None


@asynchronous
async def test_msgspec_is_imported_with_the_first_annotated_handler() -> None:
    told = await printed(
        "import sys\n"
        "from aiorest_ws import SimpleRouter, endpoint\n"
        "router = SimpleRouter()\n"
        "@endpoint('/{id}', 'GET')\n"
        "def plain(request, id: str, **kwargs: int) -> int: ...\n"
        "router.register_endpoint(plain)\n"
        "print('msgspec' in sys.modules, 'pydantic' in sys.modules)\n"
        "@endpoint('/', 'GET')\n"
        "def typed(request, n: int): ...\n"
        "router.register_endpoint(typed)\n"
        "print('msgspec' in sys.modules, 'pydantic' in sys.modules)\n"
    )
    assert told == "False False\nTrue False\n"


# What cannot be registered


def refused(handler: Any, path: str = "/") -> str:
    router = SimpleRouter()
    with pytest.raises(InvalidHandler) as caught:
        router.register_endpoint(endpoint(path, "POST")(handler))
    assert router.routes == ()
    return str(caught.value)


def test_without_msgspec_registration_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("aiorest_ws.handlers.validation", "aiorest_ws.handlers.binding"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.delattr("aiorest_ws.handlers.validation", raising=False)
    monkeypatch.delattr("aiorest_ws.handlers.binding", raising=False)
    monkeypatch.setitem(sys.modules, "msgspec", None)

    def handler(request: Any, n: int) -> None: ...

    text = "handler has annotations that are to be checked, which needs msgspec: pip install 'aiorest-ws[typed]>=2'"
    assert refused(handler).endswith(text)
    router = SimpleRouter()
    view = type("View", (Unbound,), {"response_model": Line})
    with pytest.raises(InvalidHandler, match=r"response_model of view View needs msgspec: pip install"):
        router.register("/{id}", view, "PUT")
    router.register("/{id}", Unbound, ["GET", "PUT", "POST"])


def test_an_annotation_that_cannot_be_resolved_is_named() -> None:
    def handler(request: Any, n: Unresolvable) -> None: ...

    assert refused(handler).endswith(
        "annotation of parameter 'n' of test_an_annotation_that_cannot_be_resolved_is_named.<locals>.handler "
        "cannot be resolved: name 'Unresolvable' is not defined"
    )


def test_an_annotation_may_be_a_name_that_the_handler_has_from_around_it() -> None:
    class Local(Struct):
        n: int

    def handler(request: Any, data: Local) -> Any:
        assert isinstance(data, Local)
        return data.n

    with client_of(endpoint("/", "POST")(handler)) as client:
        assert client.post("/", data={"n": 5}).data == 5


@pytest.mark.parametrize(
    ("hint", "reason"),
    [
        (Stranger, "msgspec cannot make a `Stranger` of what a client sends"),
        (list[Stranger], "msgspec cannot make a `Stranger` of what a client sends"),
        (Callable[[], int], "msgspec cannot make a `Callable` of what a client sends"),
        (Annotated[str, Meta(ge=1)], "Can only set `ge` on a numeric type"),
        (list[int] | set[int], "Type unions may not contain more than one array-like"),
        (Line | Order, "all Struct types must be tagged"),
        (Annotated[Stranger, Field()], "Unable to generate pydantic-core schema for"),
    ],
    ids=str,
)
def test_an_annotation_that_cannot_work_is_refused_with_its_reason(hint: Any, reason: str) -> None:
    text = refused(taking(hint).function)
    assert text.startswith("annotation of parameter 'value' of handler cannot work: ")
    assert reason in text


def test_a_class_that_nobody_can_send_is_refused_with_what_was_forgotten() -> None:
    assert refused(taking(Stranger).function).endswith(
        "msgspec cannot make a `Stranger` of what a client sends; what does not come from there is "
        "Annotated[…, Depends(…)]"
    )


def test_a_field_that_nobody_can_send_is_refused_unless_it_has_a_default() -> None:
    inner = type("Inner", (Struct,), {"__annotations__": {"it": Stranger}})
    assert "cannot make a `Stranger`" in refused(taking(inner, name="data").function)

    class Outer(Struct):
        n: int
        it: Stranger = struct_field(default_factory=Stranger)

    assert from_body(Outer, {"n": 1}).startswith("test_a_field") or "Outer(n=1" in from_body(Outer, {"n": 1})


def test_the_name_of_another_path_parameter_is_refused() -> None:
    def swapped(request: Any, post_id: int, user_id: int) -> None: ...

    def further(request: Any, a: int, b: int, user_id: int) -> None: ...

    def untyped(request: Any, post_id: Any, user_id: Any) -> Any:
        return [post_id, user_id]

    path = "/users/{user_id}/posts/{post_id}"
    with client_of(endpoint(path, "POST")(untyped)) as client:
        assert client.post("/users/1/posts/2").data == ["1", "2"]
    assert "parameter 'post_id'" in refused(swapped, path)
    assert "path parameters bind by position" in refused(swapped, path)
    assert "parameter 'user_id'" in refused(further, path)


# Decorators


def counted(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def test_a_decorated_handler_is_taken_for_what_it_wraps() -> None:
    class View(MethodBasedView):
        @counted
        def post(self, request: Any, id: int, data: Order, limit: Limit = 20) -> Any:  # noqa: A002
            return [id, data.items[0].name, limit]

    router = SimpleRouter()
    router.register("/{id}", View, "POST")
    with client_of(router=router) as client:
        body = {"items": [{"name": "pen"}]}
        assert client.post("/7", data=body).data == [7, "pen", 20]
        assert client.post("/7", args={"limit": 5}, data=body).data == [7, "pen", 5]
        assert [fault["loc"] for fault in client.post("/x", args={"limit": 0}).detail] == [
            ["path", "id"],
            ["args", "limit"],
            ["data"],
        ]
        assert client.post("/7", args={"nick": 1}, data=body).detail == "unexpected argument `nick`"


def test_what_a_decorator_gives_itself_is_left_to_it() -> None:
    def with_stranger(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(request: Any, *args: Any, **kwargs: Any) -> Any:
            return function(request, *args, stranger=Stranger(), number=5, **kwargs)

        return wrapper

    @endpoint("/{id}", "GET")
    @with_stranger
    def handler(request: Any, id: int, limit: int = 1, *, stranger: Stranger, number: int) -> Any:  # noqa: A002
        return [id, limit, type(stranger).__name__, number]

    with client_of(handler) as client:
        assert client.get("/7", args={"limit": 3}).data == [7, 3, "Stranger", 5]
        assert client.get("/7", args={"limit": "3"}).status == 422


def test_a_decorator_that_puts_an_argument_before_the_path_parameters_gets_them_as_before() -> None:
    def with_user(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(request: Any, *args: Any, **kwargs: Any) -> Any:
            return function(request, Stranger(), *args, **kwargs)

        return wrapper

    @endpoint("/{id}", "GET")
    @with_user
    def handler(request: Any, user: Stranger, id: str, n: int = 0) -> Any:  # noqa: A002
        return [type(user).__name__, id, n]

    with client_of(handler) as client:
        assert client.get("/7", args={"n": 1}).data == ["Stranger", "7", 1]


def test_a_dispatch_of_ones_own_gets_what_was_bound() -> None:
    class View(MethodBasedView):
        def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
            return [list(args), kwargs, super().dispatch(request, *args, **kwargs)]

        def get(self, request: Any, id: int, n: int = 0) -> Any:  # noqa: A002
            return id + n

    router = SimpleRouter()
    router.register("/{id}", View, "GET")
    with client_of(router=router) as client:
        assert client.get("/7").data == [[7], {}, 7]
        assert client.get("/7", args={"n": 1}).data == [[7], {"n": 1}, 8]
        assert client.get("/7", args={"n": "1"}).status == 422


def test_partial_methods_and_callable_objects_have_annotations_too() -> None:
    class Handler:
        def __call__(self, request: Any, n: int) -> Any:
            return n

    def base(request: Any, extra: Any, n: int) -> Any:
        return [extra, n]

    for handler, expected in ((Handler(), 5), (functools.partial(base, extra="e"), ["e", 5])):
        view = type("View", (MethodBasedView,), {"get": staticmethod(handler)})
        router = SimpleRouter()
        router.register("/", view, "GET")
        with client_of(router=router) as client:
            assert client.get("/", args={"n": 5}).data == expected
            assert client.get("/", args={"n": "5"}).status == 422


OPENED: list[int] = []


def opened() -> Stranger:
    OPENED.append(1)
    return Stranger()


Opened = Annotated[Stranger, Depends(opened)]


def test_a_parameter_that_depends_on_something_is_no_argument() -> None:
    def handler(request: Any, db: Opened, number: int, again: Opened, n: int = 1) -> Any:
        return [number, n, type(db).__name__, again is db]

    OPENED.clear()
    with client_of(endpoint("/{number}", "GET")(handler)) as client:
        assert client.get("/7", args={"n": 5}).data == [7, 5, "Stranger", True]
        assert client.get("/7", args={"db": 5}).detail == [{"loc": ["args", "db"], "msg": "unexpected argument `db`"}]
        wrong = [{"loc": loc, "msg": "Expected `int`, got `str`"} for loc in (["path", "number"], ["args", "n"])]
        assert client.get("/x", args={"n": "5"}).detail == wrong
    assert OPENED == [1]  # what cannot be called opens nothing


@pytest.mark.parametrize("threaded", [False, True])
def test_response_model_reads_the_result_before_what_it_depends_on_is_put_away(threaded: bool) -> None:
    class Session:
        is_open = True

        @property
        def count(self) -> int:
            assert self.is_open
            return 3

        name = "lazy"

    def session() -> Iterator[Session]:
        made = Session()
        yield made
        made.is_open = False

    def handler(request: Any, row: Annotated[Any, Depends(session)], factor: int = 1) -> Any:
        return row

    route = endpoint("/", "GET", threaded=threaded, response_model=Line)(handler)
    handler.__annotations__["row"] = Annotated[Any, Depends(session)]
    with client_of(route) as client:
        assert client.get("/").data == {"name": "lazy", "count": 3}
