"""Types made up, and values of them: what goes in and comes out is what both documents say of it."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import count
from random import Random
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

import attrs
import msgspec
import pydantic
import pytest
from jsonschema import Draft7Validator, Draft202012Validator
from msgspec import Meta
from openapi_spec_validator import validate
from typing_extensions import TypedDict

from aiorest_ws import Application, SimpleRouter
from aiorest_ws.exceptions import InvalidHandler
from aiorest_ws.testing import TestClient
from tests.schema.kit import asyncapi_faults

Made = tuple[Any, Callable[[], Any]]  # a type, and what makes a value as a client sends it
MOMENT = "2024-01-02T03:04:05Z"


class Colour(enum.Enum):
    RED = "red"


LEAVES: list[tuple[Any, Any]] = [
    *((int, 5), (str, "é"), (float, 0.5), (bool, True), (Any, {"a": [None]}), (bytes, "aGk="), (Colour, "red")),
    *((datetime, MOMENT), (Annotated[datetime, Meta(description="when")], MOMENT), (date, "2024-02-29")),
    *((time, "12:30:00Z"), (timedelta, "P1D"), (UUID, str(UUID(int=1))), (Decimal, "1.50"), (Literal["a", "b"], "b")),
    *((Annotated[int, Meta(ge=0, lt=9)], 8), (Annotated[str, Meta(min_length=1, pattern="^x")], "x")),
]


def subscribed(kind: Any, parts: Any) -> Any:
    return kind[parts]


class Maker:
    """Makes types and values by chance; the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.numbers = count()

    def make(self, depth: int, ours: bool = True) -> Made:
        """`ours`: msgspec makes it; a model of pydantic's has in it what pydantic knows."""
        if depth == 0 or self.random.random() < 0.25:
            hint, value = self.random.choice(LEAVES)
            return hint, lambda: value
        kinds = [self.array, self.table, self.pair, self.optional, self.record]
        return self.random.choice([*kinds, self.record, *([self.tagged, self.choice] if ours else [])])(depth - 1, ours)

    def array(self, depth: int, ours: bool) -> Made:
        hint, value = self.make(depth, ours)
        return self.random.choice(
            [subscribed(list, hint), subscribed(tuple, (hint, ...))]
        ), lambda: [value()] * self.random.randint(0, 2)

    def table(self, depth: int, ours: bool) -> Made:
        hint, value = self.make(depth, ours)
        return subscribed(dict, (str, hint)), lambda: {"k": value()}

    def pair(self, depth: int, ours: bool) -> Made:
        (one, first), (other, second) = self.make(depth, ours), self.make(depth, ours)
        return subscribed(tuple, (one, other)), lambda: [first(), second()]

    def optional(self, depth: int, ours: bool) -> Made:
        hint, value = self.make(depth, ours)
        return hint | None, lambda: value() if self.random.random() < 0.7 else None

    def choice(self, depth: int, ours: bool) -> Made:
        hint, value = self.make(depth, ours)
        return subscribed(list, hint) | int | None, lambda: self.random.choice([1, [value()], None])

    def tagged(self, depth: int, ours: bool) -> Made:
        (one, first), (other, second) = self.make(depth), self.make(depth)
        names = [f"Tagged{next(self.numbers)}" for _ in range(2)]
        parts: list[Any] = [
            msgspec.defstruct(name, [("v", hint)], tag=True) for name, hint in zip(names, (one, other), strict=True)
        ]
        beside: Any = self.random.choice([parts[0], int, None])
        made = [lambda: {"type": names[0], "v": first()}, lambda: {"type": names[1], "v": second()}]
        return parts[0] | parts[1] | beside, lambda: self.random.choice(made)()  # noqa: PLW0108 (each time another)

    def record(self, depth: int, ours: bool) -> Made:
        """A class; some have the same name."""
        name = self.random.choice(["Same", f"Class{next(self.numbers)}"])
        kind = self.random.choice(["struct", "array", "data", "attrs", "dict", "tuple", "model"] if ours else ["model"])
        made = [(f"f{n}", *self.make(depth, ours and kind != "model")) for n in range(self.random.randint(1, 3))]
        fields = [(field, hint) for field, hint, _ in made]
        values: Callable[[], Any] = lambda: {field: value() for field, _, value in made}  # noqa: E731
        if kind in ("array", "tuple"):
            values = lambda: [value() for _, _, value in made]  # noqa: E731
        return self.class_of(kind, name, fields), values

    def class_of(self, kind: str, name: str, fields: list[tuple[str, Any]]) -> Any:
        if kind == "struct":
            return msgspec.defstruct(name, fields, forbid_unknown_fields=self.random.random() < 0.5)
        if kind == "array":
            return msgspec.defstruct(name, fields, array_like=True)
        if kind == "data":
            hidden = [
                ("_kept", int, dataclasses.field(default=3)),
                ("set", int, dataclasses.field(default=1, init=False)),
            ]
            return dataclasses.make_dataclass(name, [*fields, *hidden])
        if kind == "attrs":
            return attrs.make_class(name, {field: attrs.field(type=hint) for field, hint in fields})
        if kind == "dict":
            return TypedDict(name, dict(fields))  # type: ignore[operator]
        if kind == "tuple":
            return NamedTuple(name, fields)
        asked: dict[str, Any] = {field: (hint, ...) for field, hint in fields}
        return pydantic.create_model(name, **asked)


def faults(kind: Any, schema: dict[str, Any], document: dict[str, Any], value: Any) -> list[str]:
    whole = schema | {"components": document["components"]}
    return [fault.message for fault in kind(whole, format_checker=kind.FORMAT_CHECKER).iter_errors(value)]


@pytest.mark.parametrize("seed", range(4))
def test_what_goes_in_and_comes_out_is_what_documents_say(seed: int) -> None:
    maker = Maker(seed)
    router = SimpleRouter()
    makers = {}
    for number in range(40):

        def echo(request: Any, data: Any) -> Any:
            return data

        hint, make = maker.make(3)
        echo.__annotations__["data"] = hint
        try:
            router.post(f"/{number}", response_model=hint)(echo)
        except InvalidHandler:
            continue  # a union of Structs and models, which neither library knows
        makers[number] = make
    assert len(makers) > 35
    app = Application(router)
    openapi, asyncapi = app.openapi(), app.asyncapi()
    validate(openapi)
    assert asyncapi_faults(asyncapi) == []
    with TestClient(app) as client:
        for number, make in makers.items():
            value = make()
            reply = client.post(f"/{number}", data=value)
            assert reply.status == 200, reply
            operation = openapi["paths"][f"/{number}"]["post"]
            body, answer = operation["requestBody"], operation["responses"]["200"]
            for said, got in ((body, value), (answer, reply.data)):
                schema = said["content"]["application/json"]["schema"]
                assert faults(Draft202012Validator, schema, openapi, got) == []
            messages = asyncapi["components"]["messages"]
            request = {"id": 1, "method": "POST", "url": f"/{number}", "data": value}
            for key, got in (("request", request), ("reply", {"id": 1, "status": 200, "data": reply.data})):
                payload = messages[f"post_{number}.{key}"]["payload"]
                assert faults(Draft7Validator, payload, asyncapi, got) == []
