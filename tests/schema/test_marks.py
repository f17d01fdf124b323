"""What msgspec knows of types and its schemas do not say: moments, and fields that are not set or not sent."""

from __future__ import annotations

import dataclasses
from datetime import date, datetime, time
from enum import Flag, IntEnum, IntFlag
from typing import Annotated, Any, Generic, NamedTuple, TypedDict, TypeVar

import attrs
import msgspec
import pytest
from msgspec import Meta, Struct

from aiorest_ws import Application, SimpleRouter
from aiorest_ws.testing import TestClient
from tests.schema.kit import asyncapi_faults, document_of

T = TypeVar("T")
MOMENT = {"type": "string", "format": "date-time"}
TEXT = {"type": "string"}
NAIVE = Annotated[datetime, Meta(tz=False)]


class Event(Struct):
    at: datetime


class Cat(Struct, tag=True):
    at: datetime


class Dog(Struct, tag=True):
    born: datetime | None = None


class Node(Struct):
    at: datetime
    kids: list[Node] = []


class Row(Struct, array_like=True, tag="row"):
    name: str
    at: datetime


class Pair(NamedTuple):
    at: datetime
    name: str


class Movie(TypedDict):
    at: datetime


class Box(Struct, Generic[T]):
    value: T


@dataclasses.dataclass
class Plain:
    at: datetime
    name: str = ""


def echo(hint: Any) -> SimpleRouter:
    def add(request: Any, data: Any) -> Any:
        return data

    add.__annotations__["data"] = hint
    router = SimpleRouter()
    router.post("/", response_model=hint)(add)
    return router


def described(hint: Any) -> tuple[Any, dict[str, Any]]:
    """Give the schema of a body, and of the classes in it."""
    router = echo(hint)
    document = document_of(router)
    assert asyncapi_faults(Application(router).asyncapi()) == []
    schema = document["paths"]["/"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    return schema, document.get("components", {}).get("schemas", {})


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (datetime, MOMENT),
        (time, {"type": "string", "format": "time"}),
        (NAIVE, TEXT),
        (datetime | None, {"anyOf": [MOMENT, {"type": "null"}]}),
        (Annotated[datetime, Meta(description="when")], {"description": "when"} | MOMENT),
        (list[datetime], {"type": "array", "items": MOMENT}),
        (dict[str, datetime], {"type": "object", "additionalProperties": MOMENT}),
        (int | datetime | list[datetime], {"anyOf": [{"type": "integer"}, MOMENT, {"type": "array", "items": MOMENT}]}),
        (tuple[str, datetime], {"type": "array", "minItems": 2, "maxItems": 2, "prefixItems": [TEXT, MOMENT]}),
        (tuple[datetime, ...], {"type": "array", "items": MOMENT}),
    ],
    ids=str,
)
def test_a_moment_is_a_date_time(hint: Any, schema: Any) -> None:
    assert described(hint) == (schema, {})


@pytest.mark.parametrize("hint", [Event, Node, Movie, Plain, list[Event], Event | None, dict[str, Event], Box[Event]])
def test_it_is_one_in_every_class(hint: Any) -> None:
    (fields,) = (each["properties"] for each in described(hint)[1].values() if "at" in each["properties"])
    assert fields["at"] == MOMENT


def test_it_is_one_in_each_class_of_a_union() -> None:
    schemas = described(list[Cat | Dog | date | None])[1]
    assert schemas["Cat"]["properties"]["at"] == MOMENT
    assert schemas["Dog"]["properties"]["born"] == {"anyOf": [MOMENT, {"type": "null"}], "default": None}


def test_it_is_one_in_a_class_that_is_an_array() -> None:
    schemas = described(dict[str, Row])[1] | described(list[Pair])[1]
    assert schemas["Row"]["prefixItems"][1:] == [TEXT, MOMENT]
    assert schemas["Pair"]["prefixItems"] == [MOMENT, TEXT]


class Size(IntEnum):
    SMALL, LARGE = 1, 2


class Rights(Flag):
    READ, WRITE = 1, 4


class Extras(IntFlag):
    A, B = 1, 2


Days = Flag("Days", [f"D{number}" for number in range(7)])  # type: ignore[misc]


@pytest.mark.parametrize(
    ("hint", "schema", "sent"),
    [
        (Size, {"enum": [1, 2]}, [1, 2]),
        (Rights, {"enum": [0, 1, 4, 5]}, [0, 1, 4, 5]),
        (Extras, {"type": "integer"}, [0, 3, 9]),
        (Days, {"type": "integer"}, [0, 127]),
    ],
    ids=str,
)
def test_flags_may_be_several_at_once(hint: Any, schema: Any, sent: list[int]) -> None:
    (found,) = described(hint)[1].values()
    assert found == {"title": hint.__name__} | schema
    with TestClient(Application(echo(hint))) as client:
        assert [client.post("/", data=number).data for number in sent] == sent
        assert [client.post("/", data=number).status for number in (8.5, "1", None)] == [422] * 3


@pytest.mark.parametrize(
    ("hint", "value", "sent"),
    [
        (Rights, Rights.READ, 1),
        (list[Rights], [Rights.READ | Rights.WRITE, Rights(0)], [5, 0]),
        (dict[str, Extras], {"a": Extras.B}, {"a": 2}),
        (Box[Rights], Box(Rights.WRITE), {"value": 4}),
        (Rights | None, None, None),
    ],
    ids=str,
)
def test_flags_are_sent_as_their_number(hint: Any, value: Any, sent: Any) -> None:
    router = SimpleRouter()
    router.get("/", response_model=hint)(lambda request: value)
    with TestClient(Application(router)) as client:
        assert client.get("/").data == sent


@dataclasses.dataclass
class Sealed:
    shown: int
    counted: int = dataclasses.field(default=3, init=False)
    _kept: int = 5


@attrs.define
class Closed:
    shown: int
    counted: int = attrs.field(default=3, init=False)
    _kept: int = 5


@dataclasses.dataclass
class Secretive:
    _key: int
    shown: int = 1


@pytest.mark.parametrize("cls", [Sealed, Closed])
def test_what_a_client_cannot_set_and_does_not_get_is_said(cls: Any) -> None:
    for hint in (cls, list[cls | None]):
        properties = described(hint)[1][cls.__name__]["properties"]
        assert {name: schema.get("readOnly", False) for name, schema in properties.items()} == {
            "shown": False,
            "counted": True,
        }
    with TestClient(Application(echo(cls))) as client:
        assert client.post("/", data={"shown": 1, "counted": 7, "_kept": 7}).data == {"shown": 1, "counted": 3}


def test_a_private_field_that_has_to_be_set_is_not_sent() -> None:
    properties = described(Secretive)[1]["Secretive"]["properties"]
    assert properties == {"_key": {"type": "integer", "writeOnly": True}, "shown": {"type": "integer", "default": 1}}


class Sets(Struct):
    none: set[str] = msgspec.field(default_factory=set)
    some: frozenset[str] = frozenset({"c", "a", "b"})


def test_the_default_of_a_set_has_an_order() -> None:
    properties = described(Sets)[1]["Sets"]["properties"]
    assert [properties[name]["default"] for name in ("none", "some")] == [[], ["a", "b", "c"]]
