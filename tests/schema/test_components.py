"""Types → schemas: msgspec's and pydantic's, by names of their own, and `{}` with a warning for what has none."""

from __future__ import annotations

import dataclasses
import ipaddress
from pathlib import Path
from types import new_class
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypedDict, TypeVar

import attrs
import msgspec
import pydantic
import pytest
from msgspec import UNSET, Struct, UnsetType

from aiorest_ws import SimpleRouter
from aiorest_ws.schema.components import Components
from aiorest_ws.schema.wanted import Mode
from tests.schema.kit import document_of
from tests.serving import asynchronous, run_program

T = TypeVar("T")


def finished(*hints: Any, mode: Mode = "serialization") -> tuple[list[dict[str, Any]], Components]:
    components = Components()
    schemas = [components.schema(hint, mode, f"GET /{at}/") for at, hint in enumerate(hints)]
    components.finish()
    return schemas, components


def ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


class Inner(pydantic.BaseModel):
    n: int


class Model(pydantic.BaseModel):
    inner: Inner
    others: list[Inner] = []
    again: Model | None = None


class Tree(Struct):
    left: Tree | None = None


class Holder(Struct):
    model: Model
    where: Path
    address: ipaddress.IPv4Address
    note: str | UnsetType = UNSET


class Box(Struct, Generic[T]):
    value: T


class Odd:
    pass


class WithOdd(Struct):
    odd: Odd
    n: int


def test_every_library_has_its_components() -> None:
    @dataclasses.dataclass
    class Plain:
        n: int

    @attrs.define
    class Defined:
        n: int

    class Named(NamedTuple):
        n: int

    class Typed(TypedDict):
        n: int

    schemas, components = finished(list[Model], Tree, Plain, Defined, Named, Typed, Box[int], dict[str, Inner])
    assert schemas[0] == {"type": "array", "items": ref("Model")}
    assert schemas[1:6] == [ref(name) for name in ("Tree", "Plain", "Defined", "Named", "Typed")]
    assert schemas[7] == {"type": "object", "additionalProperties": ref("Inner")}
    assert components.warnings == []
    assert list(components.schemas) == sorted(components.schemas)
    assert "$defs" not in str(components.schemas)
    for name in ("Model", "Inner", "Tree"):
        assert name in components.schemas


def test_a_model_in_a_struct_is_described_by_pydantic() -> None:
    (schema,), components = finished(Holder)
    assert schema == ref("Holder")
    properties = components.schemas["Holder"]["properties"]
    assert properties["model"] == ref("Model")
    assert properties["where"] == properties["address"] == {"type": "string"}
    assert components.schemas["Model"]["properties"]["inner"] == ref("Inner")
    assert components.warnings == []


def named(name: str, *, base: type = Struct, module: str = __name__, **fields: Any) -> Any:
    space = {"__annotations__": fields, "__module__": module, "__qualname__": name}
    return new_class(name, (base,), exec_body=lambda body: body.update(space))


def test_two_classes_of_one_name_stay_two() -> None:
    one, other = named("Same", module="one", a=int), named("Same", module="other", b=int)
    (first, second), components = finished(one, list[other])  # type: ignore[valid-type]
    assert first == ref("one_Same")
    assert second["items"] == ref("other_Same")
    assert {name: schema["title"] for name, schema in components.schemas.items()} == {
        "one_Same": "one_Same",  # by titles, too, generators of clients tell classes apart
        "other_Same": "other_Same",
    }


def test_two_classes_that_are_called_the_same_in_one_module_stay_two() -> None:
    one, other = named("Same", a=int), named("Same", b=int)
    third = named("Same", base=pydantic.BaseModel, c=int)
    outer = named("Outer", base=pydantic.BaseModel, same=third)
    schemas, components = finished(one, other, one, outer)
    assert schemas == [ref("Same"), ref("Same_2"), ref("Same"), ref("Outer")]
    assert [list(components.schemas[name]["properties"]) for name in ("Same", "Same_2", "Same_3")] == [
        ["a"],
        ["b"],
        ["c"],
    ]
    assert components.schemas["Outer"]["properties"]["same"] == ref("Same_3")
    assert components.warnings == []


def test_references_of_a_discriminator_are_renamed_too() -> None:
    cat, dog = (named(name, base=pydantic.BaseModel, kind=Literal[name.lower()]) for name in ("Cat", "Dog"))
    pet_of: Any = Annotated[cat | dog, pydantic.Field(discriminator="kind")]
    _, components = finished(named("Cat", a=int), named("Owner", base=pydantic.BaseModel, pet=pet_of))
    pet = components.schemas["Owner"]["properties"]["pet"]
    assert pet["discriminator"]["mapping"]["cat"] == "#/components/schemas/Cat_2"
    assert ref("Cat_2") in pet["oneOf"]


class Street(Struct):
    name: str


class Named(pydantic.BaseModel):
    name: str = pydantic.Field(validation_alias="in", serialization_alias="out")

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def loud(self) -> str:
        return self.name.upper()


class Home(Struct):
    owner: Named
    street: Street


class House(Struct):
    model: Inner
    street: Street


@pytest.mark.parametrize("modes", [("validation", "serialization"), ("serialization", "validation")])
def test_a_model_in_a_struct_is_what_comes_where_that_comes_and_what_is_sent_where_that_is_sent(modes: Any) -> None:
    components = Components()
    schemas = {mode: components.schema(list[Home], mode, "GET /") for mode in modes}
    for mode in modes:
        components.schema(House, mode, "GET /")
    components.finish()

    def followed(schema: dict[str, Any]) -> dict[str, Any]:
        return components.schemas[schema["$ref"].rpartition("/")[2]]["properties"]  # type: ignore[no-any-return]

    for mode, expected in (("validation", {"in"}), ("serialization", {"out", "loud"})):
        home = followed(schemas[mode]["items"])
        assert set(followed(home["owner"])) == expected
        assert home["street"] == ref("Street")
    # What is the same is there once, though it was described twice.
    assert set(components.schemas) == {"Home", "Home_2", "House", "Inner", "Named-Input", "Named-Output", "Street"}


def test_what_comes_and_what_is_sent_of_a_model_may_differ() -> None:
    class Priced(pydantic.BaseModel):
        price: int = 1

        @pydantic.computed_field  # type: ignore[prop-decorator]
        @property
        def double(self) -> int:
            return self.price * 2

    components = Components()
    comes, sent = components.schema(Priced, "validation", ""), components.schema(Priced, "serialization", "")
    components.finish()
    assert comes != sent
    assert "double" not in components.schemas[comes["$ref"].rpartition("/")[2]]["properties"]
    assert "double" in components.schemas[sent["$ref"].rpartition("/")[2]]["properties"]


@pytest.mark.parametrize(
    ("hint", "schema", "warning"),
    [
        (Odd, {}, "GET /0/: a Odd cannot be described: it is {}"),
        (list[Odd], {"type": "array", "items": {}}, "GET /0/: a Odd cannot be described: it is {}"),
        (msgspec.Raw, {}, "GET /0/: a Raw may be anything: it is {}"),
        (msgspec.msgpack.Ext, {}, "GET /0/: Ext cannot be described: "),
        (pydantic.Json[Odd], None, None),
    ],
)
def test_what_has_no_schema_is_empty_with_a_warning(hint: Any, schema: Any, warning: str | None) -> None:
    (found, beside), components = finished(hint, Tree)
    if warning is None:  # whatever it is, the others have theirs
        assert len(components.warnings) <= 1
    else:
        assert found == schema
        assert len(components.warnings) == 1
        assert components.warnings[0].startswith(warning)
    assert beside == ref("Tree")


def test_a_field_that_has_no_schema_leaves_the_others() -> None:
    (schema, same), components = finished(WithOdd, WithOdd)
    assert schema == same == ref("WithOdd")
    assert components.schemas["WithOdd"]["properties"] == {"odd": {}, "n": {"type": "integer"}}
    assert components.warnings == ["GET /0/: a Odd cannot be described: it is {}"]


def test_a_model_that_has_no_schema_leaves_the_others() -> None:
    class Callback(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
        odd: Odd

    (found, beside), components = finished(Callback, list[Inner])
    assert found == {}
    assert beside["items"] == ref("Inner")
    assert len(components.warnings) == 1
    assert components.warnings[0].startswith("GET /0/: ")


def test_a_type_that_cannot_be_hashed() -> None:
    (schema,), _ = finished(Annotated[int, msgspec.Meta(extra_json_schema={"x": []})])
    assert schema == {"type": "integer", "x": []}


def test_constraints_of_pydantic_are_seen_where_they_are_checked() -> None:
    router = SimpleRouter()

    @router.get("/")
    def show(request: Any, size: Annotated[int, pydantic.Field(ge=1)] = 1) -> Any: ...

    (size,) = document_of(router)["paths"]["/"]["get"]["parameters"]
    assert size["schema"] == {"type": "integer", "minimum": 1, "default": 1}


@asynchronous
async def test_without_msgspec_one_line_says_which_extra() -> None:
    source = """
import sys
from aiorest_ws import Application, SimpleRouter
router = SimpleRouter()
router.get("/{n:int}")(lambda request, n: 1)
Application(router).openapi()
assert "msgspec" not in sys.modules
router.get("/all", response_model=list[int])(lambda request: 1)
for name in [name for name in sys.modules if name.startswith(("msgspec", "aiorest_ws.schema"))]:
    del sys.modules[name]
sys.modules["msgspec"] = None
try:
    Application(router).openapi()
except Exception as exc:
    print(type(exc).__name__, exc)
"""
    outcome = await run_program(source)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == (
        "ImproperlyConfigured the schema of what GET /all/ takes or answers needs msgspec: "
        "pip install 'aiorest-ws[typed]>=2'\n"
    )
