"""Annotations of every kind → one clear line at registration, or a valid document, with a warning where it is `{}`."""

from __future__ import annotations

import abc
import array
import collections
import dataclasses
import datetime as dt
import enum
import fractions
import io
import ipaddress
import pathlib
import re
import types
import typing
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, Protocol, TypedDict, TypeVar

import msgspec
import pydantic
import pytest
from msgspec import Meta, Raw, Struct

from aiorest_ws import Application, SimpleRouter
from aiorest_ws.exceptions import InvalidHandler
from aiorest_ws.testing import TestClient
from tests.schema.kit import asyncapi_faults, document_of

T = TypeVar("T")
Bounded = TypeVar("Bounded", bound=int)
Choice = TypeVar("Choice", int, str)


class Shape(Protocol):
    side: int


class Mixed(enum.Enum):
    A = 1
    B = "b"


class Nothing(enum.Enum):
    pass


class Flags(enum.IntFlag):
    A = 1


class Tree(Struct):
    kids: list[Tree] = []


class Box(Struct, Generic[T]):
    value: T


class Two(Struct):
    """Has a generic class twice, with other arguments."""

    one: Box[int]
    other: Box[str]
    both: Box[Box[int]]


class User(pydantic.BaseModel):
    name: str


class Lost(Struct):
    field: Nowhere  # type: ignore[name-defined]  # noqa: F821


class LostModel(pydantic.BaseModel):
    field: Nowhere  # type: ignore[name-defined]  # noqa: F821


class Stranger:
    pass


class Abstract(abc.ABC):
    @abc.abstractmethod
    def run(self) -> None: ...


class Text(str):
    __slots__ = ()


class RawStruct(Struct):
    raw: Raw


@dataclasses.dataclass
class RawDataclass:
    raw: Raw


class RawDict(TypedDict):
    raw: Raw


class RawTuple(NamedTuple):
    raw: Raw


class Arbitrary(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    odd: Stranger | None = None


class Calling(pydantic.BaseModel):
    call: Callable[[], int] | None = None


class Untrue(Struct):
    """Has defaults that are null where null does not fit."""

    size: int = None  # type: ignore[assignment]
    names: list[str] = None  # type: ignore[assignment]
    kind: Literal["a"] = None  # type: ignore[assignment]
    tree: Tree = None  # type: ignore[assignment]
    note: str | None = None
    anything: Any = None


class UntrueModel(pydantic.BaseModel):
    size: int = None  # type: ignore[assignment]
    user: User = None  # type: ignore[assignment]
    note: str | None = None


NAMELESS = (Any, object, T)
ODD: tuple[Any, ...] = (
    *(Any, object, T, Bounded, Choice, callable, Callable, Callable[[int], int], Callable[..., Awaitable[int]]),
    *(Shape, Mixed, Nothing, Flags, Tree, Box, Box[int], Box[Box[int]], Box[User], Two, list[Box[User]]),
    *(Lost, LostModel, Stranger, Abstract, Text, "Nowhere", "list[", "", Arbitrary, Calling, Untrue, UntrueModel),
    *(Raw, Raw | None, list[Raw], dict[str, Raw], Box[Raw], RawStruct, RawDataclass, RawDict, RawTuple),
    *(msgspec.msgpack.Ext, list[msgspec.msgpack.Ext]),
    *(NewType("Id", int), NewType("Ids", list[int]), Literal["a", 1, None], Literal[b"x"], Literal[Mixed.A], None),
    *(Annotated[int, Meta(gt=1)], Annotated[int, Meta(pattern="x")], Annotated[int, object()], Annotated[int, {}]),
    *(Annotated[int, pydantic.Field(gt=1)], Box[Annotated[int, pydantic.Field(gt=1)]], pydantic.Json[int]),
    *(Decimal, complex, bytes, bytearray, memoryview, re.Pattern, re.Pattern[str], re.Match, fractions.Fraction),
    *(ipaddress.IPv4Address, ipaddress.IPv4Address | ipaddress.IPv6Address, pathlib.Path, pathlib.PureWindowsPath),
    *(dt.timezone, dt.timedelta, io.BytesIO, typing.TextIO, array.array, range, type, type[int], Exception),
    *(list, dict, tuple, set, tuple[()], tuple[int, ...], collections.deque[int], collections.Counter[str], Hashable),
    *(Iterator[int], Sequence[int], Mapping[str, int], types.SimpleNamespace, types.ModuleType, types.FunctionType),
    *(dict[tuple[int, int], int], dict[bytes, int], set[list[int]], list[int] | set[int], Tree | dict[str, int]),
    *(typing.Never, typing.ClassVar[int], typing.Final[int], typing.Required[int], typing.Self, Generic),
    *(..., 5, (int, str)),
)  # fmt: skip


def as_argument(hint: Any) -> SimpleRouter:
    def handler(request: Any, value: Any) -> Any: ...

    handler.__annotations__["value"] = hint
    router = SimpleRouter()
    router.get("/odd")(handler)
    return router


def as_path_parameter(hint: Any) -> SimpleRouter:
    def handler(request: Any, value: Any) -> Any: ...

    handler.__annotations__["value"] = hint
    router = SimpleRouter()
    router.get("/odd/{value}")(handler)
    return router


def as_body(hint: Any) -> SimpleRouter:
    def handler(request: Any, data: Any) -> Any: ...

    handler.__annotations__["data"] = hint
    router = SimpleRouter()
    router.post("/odd")(handler)
    return router


def as_answer(hint: Any) -> SimpleRouter:
    router = SimpleRouter()
    router.get("/odd", response_model=hint, live=True)(lambda request: None)
    return router


def as_annotation_of_what_is_returned(hint: Any) -> SimpleRouter:
    def handler(request: Any) -> Any: ...

    handler.__annotations__["return"] = hint
    router = SimpleRouter()
    router.get("/odd")(handler)
    return router


PLACES = (as_argument, as_path_parameter, as_body, as_answer, as_annotation_of_what_is_returned)


def schema_in(document: dict[str, Any]) -> Any:
    """Give the schema of the value that the only operation takes, or else answers."""
    (item,) = document["paths"].values()
    (operation,) = item.values()
    if "requestBody" in operation:
        return operation["requestBody"]["content"]["application/json"]["schema"]
    for parameter in operation.get("parameters", ()):
        return parameter["schema"] if "schema" in parameter else parameter["content"]["application/json"]["schema"]
    return operation["responses"]["200"]["content"]["application/json"]["schema"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("hint", ODD, ids=lambda hint: f"{hint!r:.50}")
def test_it_is_refused_in_a_line_or_described(
    hint: Any, place: Callable[[Any], SimpleRouter], caplog: pytest.LogCaptureFixture
) -> None:
    try:
        router = place(hint)
    except InvalidHandler as exc:
        refusal = str(exc)
    else:
        refusal = ""
    if refusal:
        assert "\n" not in refusal
        assert "handler" in refusal or "<lambda>" in refusal
        return
    document = document_of(router)
    assert asyncapi_faults(Application(router).asyncapi()) == []
    warnings = [record.getMessage() for record in caplog.records if record.name == "aiorest_ws"]
    assert all("/odd" in warning and "\n" not in warning for warning in warnings)
    if place is as_annotation_of_what_is_returned:
        assert (schema_in(document), warnings) == ({}, [])  # nobody asks for it: `response_model` says it
    elif schema_in(document) == {} and hint not in NAMELESS and hint is not None:
        assert warnings


def test_a_generic_class_may_be_there_with_several_arguments() -> None:
    schemas = document_of(as_body(Two))["components"]["schemas"]
    assert {name.partition("_")[0] for name in schemas} == {"Two", "Box"}
    assert len(schemas) == 4


def test_a_default_that_is_null_is_said_where_null_fits() -> None:
    for model, nullable in ((Untrue, {"note", "anything"}), (UntrueModel, {"note"})):
        properties = document_of(as_body(model))["components"]["schemas"][model.__name__]["properties"]
        assert {name for name, schema in properties.items() if "default" in schema} == nullable


def test_a_model_of_pydantics_may_be_the_argument_of_a_generic_struct() -> None:
    router = SimpleRouter()

    def echo(request: Any, data: Any) -> Any:
        return data

    echo.__annotations__["data"] = Box[User]
    router.post("/", response_model=Box[User])(echo)
    with TestClient(Application(router)) as client:
        assert client.post("/", data={"value": {"name": "A"}}).data == {"value": {"name": "A"}}
        assert client.post("/", data={"value": {}}).status == 422
