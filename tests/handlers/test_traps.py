"""Types and values with which one short message could keep a server busy: refused, at registration or with 422."""

from __future__ import annotations

from decimal import Decimal
from ipaddress import IPv6Address
from typing import Annotated, Any, Literal, Optional, Union
from uuid import UUID

import pytest
from msgspec import Meta, Struct
from pydantic import BaseModel, Field

from aiorest_ws import Application, SimpleRouter
from aiorest_ws.exceptions import InvalidHandler
from aiorest_ws.testing import TestClient
from aiorest_ws.wrappers import Request

PRIME = 2**61 - 1  # numbers that are the same modulo it have the same hash


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
