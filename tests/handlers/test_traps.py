"""Types and values with which one short message could keep a server busy: refused, at registration or with 422."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from ipaddress import IPv6Address
from threading import Event
from typing import Annotated, Any, Literal, Optional, Union
from uuid import UUID

import pytest
from msgspec import Meta, Struct
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass
from typing_extensions import TypedDict

from aiorest_ws import Application, SimpleRouter
from aiorest_ws.exceptions import InvalidHandler
from aiorest_ws.handlers.bounded import Bounded
from aiorest_ws.testing import TestClient
from aiorest_ws.wrappers import Request

PRIME = 2**61 - 1  # numbers that are the same modulo it have the same hash
COLLIDING = [Decimal(2 + times * PRIME) for times in range(17)]


class Key(Struct, frozen=True):
    id: UUID


class Box(Struct):
    ids: set[UUID]


class A(BaseModel):
    child: Optional[Union[A, B]] = None  # noqa: UP007, UP045


class B(BaseModel):
    child: Optional[Union[A, B]] = None  # noqa: UP007, UP045
    more: int


class List(BaseModel):
    items: list[Union[List, Many]]  # noqa: UP007


class Many(BaseModel):
    items: dict[str, List]


class Node(BaseModel):
    child: Node | None = None
    value: int | str = 0


class Leaf(BaseModel):
    kind: Literal["leaf"]


class Tree(BaseModel):
    kind: Literal["tree"]
    children: list[Annotated[Tree | Leaf, Field(discriminator="kind")]]


class Ends(BaseModel):
    child: Node | Ends | None = None


class Amount(Struct):
    amount: Decimal


class Ids(BaseModel):
    ids: set[UUID] = set()


class Outer(BaseModel):
    inner: Ids


class Late(BaseModel):
    model_config = ConfigDict(defer_build=True)
    inner: list[Ids]


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)
    ids: frozenset[UUID]


class Frozen(BaseModel, frozen=True):
    id: UUID


class Keyed(BaseModel):
    counts: dict[int, int] = {}
    others: dict[UUID, int] = {}


@dataclass
class Data:
    ids: set[UUID]


class Typed(TypedDict):
    one: Ids


class Again(BaseModel):
    ids: set[UUID] = set()
    more: list[Again] = []


class Wide(BaseModel):
    a: int
    b: int
    c: int


def ids(count: int, step: int = PRIME) -> list[str]:
    return [str(UUID(int=number * step)) for number in range(1, count + 1)]


def ask(hint: Any, data: Any) -> Any:
    router = SimpleRouter()

    def take(request: Request, data: Any) -> int:
        return len(data) if hasattr(data, "__len__") else 1

    take.__annotations__["data"] = hint
    router.post("/x")(take)
    with TestClient(Application(router=router)) as client:
        return client.post("/x", data=data)


@pytest.mark.parametrize(
    ("hint", "make"),
    [
        (set[UUID], ids),
        (frozenset[UUID], ids),
        (list[set[UUID]], lambda count, step: [ids(count, step)]),
        (dict[UUID, int], lambda count, step: dict.fromkeys(ids(count, step), 1)),
        (dict[str, set[UUID]], lambda count, step: {"a": ids(count, step)}),
        (Box, lambda count, step: {"ids": ids(count, step)}),
        (set[Key], lambda count, step: [{"id": text} for text in ids(count, step)]),
        (set[tuple[UUID, int]], lambda count, step: [[text, 1] for text in ids(count, step)]),
        (set[UUID | int], ids),
        (Annotated[set[UUID], Meta(max_length=1000)], ids),
        (set[Decimal], lambda count, step: [str(number * step) for number in range(1, count + 1)]),
        (dict[Decimal, int], lambda count, step: {str(number * step): 1 for number in range(1, count + 1)}),
        (set[IPv6Address], lambda count, step: [str(IPv6Address(number * step)) for number in range(1, count + 1)]),
    ],
    ids=str,
)
def test_keys_and_items_that_hash_alike_are_refused(hint: Any, make: Any) -> None:
    reply = ask(hint, make(100, PRIME))
    assert reply.status == 422
    assert "Too many different values with one hash" in str(reply.detail)
    assert ask(hint, make(16, PRIME)).status == 200
    assert ask(hint, make(100, 1)).status == 200


def test_the_same_value_many_times_is_no_trap() -> None:
    assert ask(set[UUID], ids(1) * 1000).status == 200


def test_bad_item_at_the_end_does_not_hide_the_others() -> None:
    assert "one hash" in str(ask(set[UUID], [*ids(100), "no uuid"]).detail)


@pytest.mark.parametrize(
    "key", ["9" * 21, "-" + "9" * 21, "1" * 4000, "18446744073709551616", "-9223372036854775809", "9" * 20]
)
def test_integer_keys_have_64_bits(key: str) -> None:
    reply = ask(dict[int, int], {key: 1})
    assert reply.status == 422
    assert "Expected an integer of 64 bits as key" in str(reply.detail)
    assert ask(dict[int, int], {"7": 1, "-9223372036854775808": 2, "18446744073709551615": 3}).data == 3


@pytest.mark.parametrize(("hint", "names"), [(A, "A"), (A | B, "B"), (list[A], "A"), (List, "Many")])
def test_union_that_leads_back_to_itself_needs_a_discriminator(hint: Any, names: str) -> None:
    with pytest.raises(InvalidHandler, match=rf"a union of .*`{names}`.*expected Field\(discriminator=…\)"):
        ask(hint, {})


@pytest.mark.parametrize(
    ("hint", "data"),
    [
        (Node, {"child": {"child": {}}}),
        (Tree, {"kind": "tree", "children": [{"kind": "leaf"}]}),
        (Ends, {"child": {"child": {"value": 1}}}),
    ],
)
def test_union_that_ends_needs_none(hint: Any, data: Any) -> None:
    assert ask(hint, data).status == 200


# The same inside of what pydantic checks


@pytest.mark.parametrize(
    ("hint", "make"),
    [
        (Ids, lambda found: {"ids": found}),
        (Outer, lambda found: {"inner": {"ids": found}}),
        (list[Outer], lambda found: [{"inner": {"ids": found}}]),
        (Late, lambda found: {"inner": [{"ids": found}]}),
        (Strict, lambda found: {"ids": found}),
        (Data, lambda found: {"ids": found}),
        (Typed, lambda found: {"one": {"ids": found}}),
        (Again, lambda found: {"more": [{"more": [{"ids": found}]}]}),
        (Ids | Wide, lambda found: {"ids": found}),
        (Annotated[set[UUID], Field(min_length=1)], lambda found: found),
        (Annotated[set[UUID | int], Field(min_length=1)], lambda found: found),
        (Annotated[set[Frozen], Field(min_length=1)], lambda found: [{"id": text} for text in found]),
        (Annotated[set[tuple[UUID, int]], Field(min_length=1)], lambda found: [[text, 1] for text in found]),
        (Keyed, lambda found: {"others": dict.fromkeys(found, 1)}),
        (
            Annotated[set[int], Field(min_length=1)],
            lambda found: [str(UUID(text).int) for text in found],
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("count", [100, 2_000])
def test_pydantic_refuses_what_hashes_alike(hint: Any, make: Any, count: int) -> None:
    reply = ask(hint, make(ids(count)))
    assert reply.status == 422
    assert "Too many different values with one hash" in str(reply.detail)
    assert ask(hint, make(ids(16))).status == 200
    assert ask(hint, make(ids(count, 1))).status == 200


def test_pydantic_counts_anew_with_every_message_and_the_same_value_once() -> None:
    router = SimpleRouter()

    @router.post("/x")
    def take(request: Request, data: list[Ids]) -> int:
        return len(data)

    with TestClient(Application(router=router)) as client:
        for start in range(0, 64, 16):
            found = ids(80)[start : start + 16]
            assert client.post("/x", data=[{"ids": found}] * 50).status == 200
        assert client.post("/x", data=[{"ids": ids(16)}, {"ids": [*ids(17), "none"]}]).status == 422


@pytest.mark.parametrize("key", ["9" * 21, "-" + "9" * 21, "1" * 4000, "1_000" * 8, "18446744073709551616"])
def test_integer_keys_have_64_bits_with_pydantic_too(key: str) -> None:
    reply = ask(Keyed, {"counts": {key: 1}})
    assert reply.status == 422
    assert "Expected an integer of 64 bits as key" in str(reply.detail)
    assert ask(Keyed, {"counts": {"7": 1, "-9223372036854775808": 2, "18446744073709551615": 3}}).status == 200


class Inner(BaseModel):
    items: list[Wide]


@pytest.mark.parametrize(
    ("hint", "make"),
    [
        (list[Wide], lambda bad: bad),
        (Inner, lambda bad: {"items": bad}),
        (dict[str, Inner], lambda bad: {"a": {"items": bad}}),
        (Annotated[dict[str, Wide], Field(min_length=1)], lambda bad: {str(at): item for at, item in enumerate(bad)}),
        (list[Wide | Ids | Keyed] | list[Wide], lambda bad: [{"ids": 1, "counts": 1} for _ in bad]),
    ],
)
def test_pydantic_tells_all_faults_of_a_small_value_and_the_first_of_a_large_one(hint: Any, make: Any) -> None:
    assert len(ask(hint, make([{}] * 10)).detail) >= 10
    reply = ask(hint, make([{}] * 5_000))
    assert reply.status == 422
    assert 1 <= len(reply.detail) <= 8


def test_defaults_are_copies() -> None:
    class Defaults(BaseModel):
        flat: list[int] = [1]
        deep: dict[str, list[int]] = {"a": [1]}
        dicts: dict[str, Any] = {"type": "list"}
        sets: set[int] = {1}

    router = SimpleRouter()

    @router.post("/x")
    def take(request: Request, data: list[Defaults]) -> list[bool]:
        first, second = data
        first.flat.append(2)
        first.deep["a"].append(2)
        first.dicts["type"] = "set"
        first.sets.add(2)
        return [second == Defaults(), first.flat == [1, 2]]

    with TestClient(Application(router=router)) as client:
        for _ in range(2):
            assert client.post("/x", data=[{}, {}]).data == [True, True]


@pytest.mark.parametrize(
    ("hint", "data"),
    [
        (list[Decimal], [1.5] * 40_001),
        (list[Decimal], [0] * 40_001),
        (list[Decimal], ["0.10"] * 40_001),
        (list[list[Decimal]], [["1", 1.5]] * 20_000 + [["1"]]),
        (dict[Decimal, int], {str(number): 0 for number in range(40_001)}),
        (list[dict[str, Decimal]], [{"a": 1}] * 40_001),
        (list[Amount], [{"amount": 0}] * 40_001),
    ],
    ids=["fractions", "integers", "texts", "lists", "keys", "members", "fields"],
)
def test_a_message_has_so_many_decimals_at_most(hint: Any, data: Any) -> None:
    reply = ask(hint, data)
    assert reply.status == 422
    assert "Expected at most 40000" in str(reply.detail)
    cut = data[1:] if isinstance(data, list) else {key: data[key] for key in list(data)[1:]}
    for _ in range(2):
        assert ask(hint, cut).status == 200


def test_what_collides_is_counted_for_each_message_whatever_other_threads_check() -> None:
    """Handlers that are `threaded` have their arguments checked side by side."""
    half, other = Event(), Event()

    def waiting(value: Decimal) -> Decimal:
        if value == COLLIDING[10] and not half.is_set():
            half.set()
            assert other.wait(10)
        return value

    adapter = TypeAdapter(set[Annotated[Decimal, AfterValidator(waiting)]])
    bounded = Bounded(adapter.core_schema)

    def beside() -> None:
        assert half.wait(10)
        bounded.validate_python([Decimal(1)])
        other.set()

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(beside)
        with pytest.raises(ValueError, match="Too many different values with one hash"):
            bounded.validate_python(COLLIDING)
        done.result()
