"""What goes out and what comes in: the tables of docs/reference/values.md, row by row, and what they say of kinds."""

from __future__ import annotations

import base64
import io
import json
import logging
import math
import re
import typing
from collections import ChainMap, Counter, OrderedDict, UserDict, UserList, UserString, defaultdict, deque
from collections.abc import Awaitable, Callable, Generator, Iterator
from dataclasses import InitVar, dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntFlag
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Network
from pathlib import Path
from types import GenericAlias, MappingProxyType
from typing import Annotated, Any, ClassVar, NamedTuple, Never, TextIO, TypedDict
from uuid import UUID

import attrs
import msgspec
import pytest
import typing_extensions
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from pydantic import (
    AnyUrl,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    SecretBytes,
    SecretStr,
    Strict,
    computed_field,
)
from pydantic.alias_generators import to_camel
from pydantic.dataclasses import dataclass as pydantic_dataclass

from aiorest_ws import Application, Arg, HTTPError, MethodBasedView, Response, SimpleRouter, endpoint
from aiorest_ws._speedups.values import iso_duration
from aiorest_ws.exceptions import InvalidHandler
from aiorest_ws.renderers import BaseRenderer, JSONRenderer, XMLRenderer
from aiorest_ws.testing import TestClient
from tests.kit.pages import ROOT
from tests.kit.systems import MSGSPEC

PAGE = ROOT / "docs" / "reference" / "values.md"
FORMS = ("text", "base64", "msgpack")


class Colour(Enum):
    RED = "red"


class Pair(NamedTuple):
    x: int
    y: int


@dataclass
class Point:
    x: int
    raw: bytes


class Item(Struct):
    x: int
    raw: bytes


class Movie(TypedDict):
    name: str


class User(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)
    first_name: str
    password: str = Field(default="hush", exclude=True)


@pydantic_dataclass
class Login:
    name: str
    password: str = Field(default="hush", exclude=True)


class Stranger:
    pass


NAMES: dict[str, Any] = globals()


@attrs.define
class Shape:
    x: int


@attrs.define
class ClosedShape:
    x: int
    b: int = attrs.field(init=False, default=3)
    _secret: int = 5


def rows(columns: int) -> list[Any]:
    """Give the rows of the page's tables with that many columns, without their headings; a cell is its first code."""
    found = []
    for line in PAGE.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")] if line.startswith("| `") else []
        if len(cells) == columns:
            found.append(pytest.param(*(re.findall("`([^`]*)`", cell)[0] if "`" in cell else cell for cell in cells)))
    return found


def registered(handler: Any, path: str = "/", **attrs: Any) -> Application:
    router = SimpleRouter()
    router.register_endpoint(endpoint(path, "POST", **attrs)(handler))
    return Application(router=router)


def exchange(handler: Any, members: str = "", form: str = "text", **attrs: Any) -> Any:
    """Give the reply to a request with these further members, JSON as it is written, in that form."""
    with TestClient(registered(handler, **attrs)) as client:
        message = f'{{"method":"POST","url":"/","id":1{members}}}'
        if form == "msgpack":
            client.send(msgspec.msgpack.encode(msgspec.json.decode(message)))
            return msgspec.msgpack.decode(typing.cast(bytes, client.receive()))
        client.send(message if form == "text" else base64.b64encode(message.encode()).decode())
        reply = client.receive()
        return json.loads(reply if form == "text" else base64.b64decode(reply))


def sent(value: Any, form: str = "text", **attrs: Any) -> Any:
    """Give what a client gets for `value`, or the status of an error."""
    reply = exchange(lambda request: value, form=form, **attrs)
    return reply["data"] if reply["status"] == 200 else reply["status"]


def came(hint: Any, text: str, form: str = "text", *, name: str = "data") -> Any:
    """Give what a handler gets for JSON `text` in its body, or in an argument of that name; or the faults."""
    seen: list[Any] = []
    space = {"hint": hint, "seen": seen}
    exec(f"def handler(request, {name}: hint):\n    seen.append({name})", space)
    members = f',"data":{text}' if name == "data" else f',"args":{{"{name}":{text}}}'
    reply = exchange(space["handler"], members, form)
    if reply["status"] != 200:
        assert reply["status"] == 422
        return [(fault["loc"], fault["msg"]) for fault in reply["detail"]]
    return seen[0]


def refusal(hint: Any, *, name: str = "data", path: str = "/") -> str:
    """Give why a handler that asks for a `hint` is refused, "" if it is not."""
    space = {"hint": hint}
    exec(f"def handler(request, {name}: hint): ...", space)
    try:
        registered(space["handler"], path)
    except InvalidHandler as exc:
        return str(exc)
    return ""


def same(one: Any, other: Any) -> bool:
    return bool(one == other) and type(one) is type(other)


# The tables of the page


@pytest.mark.parametrize(("hint", "value", "written", "packed", "comes"), rows(5))
def test_each_row_of_the_page_is_what_happens(hint: str, value: str, written: str, packed: str, comes: str) -> None:
    cls, result = eval(hint, NAMES), eval(value, NAMES)
    for options in ({}, {"response_model": cls}) if cls is not None else ({},):
        nan = options and packed == 'float("inf")'
        assert sent(result, **options) == json.loads(written)
        assert sent(result, "base64", **options) == json.loads(written)
        assert same(sent(result, "msgpack", **options), eval(packed, NAMES)) or nan
    if comes == "refused":
        assert all(refusal(cls, name=name) for name in ("data", "value"))
    else:
        for form in FORMS if comes == "yes" else FORMS[:2]:
            for name in ("data", "value"):
                arrived = came(cls, written, form, name=name)
                assert same(arrived, result) is (comes == "yes"), (form, arrived)
    if comes == "yes" and packed != value:
        space: dict[str, Any] = {"hint": cls, "seen": []}
        exec("def handler(request, data: hint):\n    seen.append(data)", space)
        with TestClient(registered(space["handler"])) as client:
            assert client.post("/", data=eval(packed, NAMES), form="msgpack").status == 200
        assert same(space["seen"][0], result)


@pytest.mark.parametrize(("hint", "comes", "goes"), rows(3))
def test_what_can_never_be_sent_or_taken_is_refused_at_registration(hint: str, comes: str, goes: str) -> None:
    cls: Any = eval(hint, NAMES)
    for asked in (cls, list[cls], dict[str, cls]):
        assert bool(refusal(asked)) is (comes == "refused")
        assert bool(refusal(asked, name="value")) is (comes == "refused")
        if goes == "refused":
            with pytest.raises(InvalidHandler, match=r"^response_model of view .* cannot work: "):
                registered(lambda request: None, response_model=asked)
        else:
            registered(lambda request: None, response_model=asked)


def test_the_page_has_rows() -> None:
    assert len(rows(5)) > 40
    assert len(rows(3)) > 10


# What is sent


class Everything(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)
    first_name: str = "a"
    password: str = Field(default="hush", exclude=True)
    token: SecretStr = SecretStr("hush")
    number: int = Field(default=1, serialization_alias="NUMBER")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def full_name(self) -> str:
        return "full"


class Sub(Everything):
    more: str = "hush"


class Own(BaseModel):
    a: int | None = None

    def model_dump(self, **options: Any) -> dict[str, Any]:
        return {"own": True}


@dataclass
class Holder:
    it: Any
    login: Login


class Anything(Struct, omit_defaults=True, rename="upper", tag=True):
    it: Any = None
    login: Login | None = None
    rest: list[int] = []


class HolderModel(Struct):
    login: Login
    user: Everything


EVERYTHING = {"firstName": "a", "token": "**********", "NUMBER": 1, "fullName": "full"}
LOGIN = {"name": "n"}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Everything(), EVERYTHING),
        ([Login("n"), {"k": (Everything(),)}], [LOGIN, {"k": [EVERYTHING]}]),
        (RootModel[list[Login]]([Login("n")]), [LOGIN]),
        (Holder(Login("n"), Login("n")), {"it": LOGIN, "login": LOGIN}),
        (Anything(Login("n"), Login("n")), {"type": "Anything", "IT": LOGIN, "LOGIN": LOGIN}),
        (HolderModel(Login("n"), Everything()), {"login": LOGIN, "user": EVERYTHING}),
        ({"a": SecretBytes(b"hush"), "b": [SecretStr("hush")]}, {"a": "**********", "b": ["**********"]}),
        (Own(), {"own": True}),
        ({1: Login("n")}, {"1": LOGIN}),
        ([2**70 // 2**70, Login("n")], [1, LOGIN]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_pydantics_is_written_by_pydantic(value: Any, expected: Any, form: str) -> None:
    assert sent(value, form) == expected


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("model", "value", "expected"),
    [
        (Everything, Sub(), EVERYTHING),
        (list[Everything], [Sub()], [EVERYTHING]),
        (Everything | None, Sub(), EVERYTHING),
        (Login, Login("n"), LOGIN),
        (Holder, Holder(Login("n"), Login("n")), {"it": LOGIN, "login": LOGIN}),
        (HolderModel, HolderModel(Login("n"), Sub()), {"login": LOGIN, "user": EVERYTHING}),
        (dict[str, Any], {"a": Login("n")}, {"a": LOGIN}),
        (Any, Login("n"), LOGIN),
        (object, Login("n"), LOGIN),
        (deque[Item], deque([Item(1, b"")]), [{"x": 1, "raw": ""}]),
        (dict[str, deque[Pair]], {"a": deque([Pair(1, 2)])}, {"a": [[1, 2]]}),
        (Counter[str], Counter("aab"), {"a": 2, "b": 1}),
        (defaultdict[str, int], defaultdict(int, a=1), {"a": 1}),
    ],
    ids=str,
)
def test_a_response_model_of_pydantics_things_sends_what_it_says(
    model: Any, value: Any, expected: Any, form: str
) -> None:
    found = sent(value, form, response_model=model)
    assert found == expected or found == [{"x": 1, "raw": b""}]


class Instant(datetime):
    pass


class Flag(IntFlag):
    A = 1
    B = 2


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Instant(2024, 2, 29), "2024-02-29T00:00:00"),
        (type("Id", (UUID,), {})(int=1), str(UUID(int=1))),
        (type("Ratio", (float,), {})(1.5), 1.5),
        (UserDict(a=1), {"a": 1}),
        (UserList([1]), [1]),
        (UserString("a"), "a"),
        (ChainMap({"a": 1}), {"a": 1}),
        ({"a": 1}.keys(), ["a"]),
        ({"a": 1}.values(), [1]),
        ({"a": 1}.items(), [["a", 1]]),
        (Flag.A | Flag.B, 3),
        ({None: {True: 1.0}, 1.5: 2}, {"null": {"true": 1.0}, "1.5": 2}),
        ({timedelta(1): Path("a")}, {"P1D": "a"}),
        ({datetime(2024, 2, 29): IPv4Address("10.0.0.1")}, {"2024-02-29T00:00:00": "10.0.0.1"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_subclasses_views_and_keys_are_sent_as_what_they_are(value: Any, expected: Any, form: str) -> None:
    assert sent(value, form) == expected


def test_attributes_that_are_no_field_are_not_sent() -> None:
    @dataclass
    class Row:
        a: int
        count: ClassVar[int] = 1
        start: InitVar[int] = 0
        unset: int = field(init=False)
        _private: int = 2

        def __post_init__(self, start: int) -> None:
            self.password = "hush"

    for form in FORMS:
        assert sent(Row(1), form) == {"a": 1}


@given(st.timedeltas())
def test_a_timedelta_is_written_as_msgspec_writes_it(value: timedelta) -> None:
    assert iso_duration(value) == msgspec.json.decode(msgspec.json.encode(value))


class Tagged(Struct, tag_field="kind", tag="t", rename="camel", omit_defaults=True):
    first_name: Any = None
    numbers: list[Any] = []
    unset: Any = msgspec.UNSET


class Array(Struct, array_like=True, tag=True):
    a: Any
    b: Any = 1


@given(st.builds(Tagged, st.integers(0, 9) | st.none(), st.lists(st.text())) | st.builds(Array, st.booleans()))
def test_a_struct_that_may_hold_anything_is_written_as_msgspec_writes_it(value: Any) -> None:
    from aiorest_ws._speedups import dumps

    assert dumps(value) == msgspec.json.encode(value)


# What comes in


@dataclass
class Closed:
    a: int
    role: str = field(init=False, default="user")
    _private: int = 5


@dataclass
class Deeper(Closed):
    more: list[int] = field(init=False, default_factory=list)
    c: int = field(kw_only=True, default=1)


@dataclass
class Nested:
    items: list[Closed]
    one: Closed | None = None


class Outer(Struct):
    by_name: dict[str, Closed]
    pair: tuple[Closed, int]


@pydantic_dataclass
class ClosedLogin:
    a: int
    role: str = field(init=False, default="user")


EVIL = '{"a":1,"role":"admin","_private":9,"more":[9],"c":2,"b":9,"x":1,"_secret":9}'


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["data", "value"])
@pytest.mark.parametrize(
    ("hint", "text", "expected"),
    [
        (Closed, EVIL, Closed(1)),
        (Closed | None, EVIL, Closed(1)),
        (Deeper, EVIL, Deeper(1, c=2)),
        (list[Closed], f"[{EVIL}]", [Closed(1)]),
        (Nested, f'{{"items":[{EVIL}],"one":{EVIL}}}', Nested([Closed(1)], Closed(1))),
        (Outer, f'{{"by_name":{{"k":{EVIL}}},"pair":[{EVIL},1]}}', Outer({"k": Closed(1)}, (Closed(1), 1))),
        (ClosedLogin, EVIL, ClosedLogin(1)),
        (ClosedShape, EVIL, ClosedShape(1)),
    ],
    ids=str,
)
def test_a_client_does_not_set_what_init_does_not_take(
    hint: Any, text: str, expected: Any, name: str, form: str
) -> None:
    assert came(hint, text, form, name=name) == expected


def test_what_nobody_could_set_is_refused() -> None:
    @dataclass
    class NoDefault:
        a: int
        b: int = field(init=False)

    assert "nobody sets `" in refusal(NoDefault)
    assert "InitVar" in refusal(dataclass(type("Vars", (), {"__annotations__": {"a": InitVar[int]}})))


class Price(Struct):
    amount: Decimal
    ratio: float = 0
    anything: Any = None
    more: list[Decimal] = []
    by_name: dict[str, Decimal] = {}
    maybe: Decimal | None = None
    either: Decimal | int = 0


class PriceModel(BaseModel):
    amount: Decimal
    ratio: float = 0
    more: list[Decimal] = []


class StrictPrice(BaseModel):
    model_config = ConfigDict(strict=True)
    amount: Decimal
    ratio: float = 0
    when: date | None = None


class HoldsModels(Struct):
    one: StrictPrice
    maybe: PriceModel | None = None
    many: list[StrictPrice] = []
    by_name: dict[str, PriceModel] = {}
    anything: Any = None


@dataclass
class HoldsModel:
    one: StrictPrice
    server: int = field(init=False, default=3)


class PairOfModel(NamedTuple):
    one: StrictPrice


N = "123456789.123456789123456789"
SHORT = Decimal(repr(float(N)))
PRICE = f'{{"amount":{N},"ratio":1.5,"anything":[1.5],"more":[{N},2],"by_name":{{"k":{N}}},"maybe":{N},"either":{N}}}'


def price(number: Decimal) -> Price:
    return Price(number, 1.5, [1.5], [number, Decimal(2)], {"k": number}, number, number)


MODEL = f'{{"amount":{N},"when":"2024-02-29"}}'
HOLDS = (
    f'{{"one":{MODEL},"maybe":{{"amount":{N}}},"many":[{MODEL}],"by_name":{{"k":{{"amount":{N}}}}},"anything":[1.5]}}'
)


def strict_price(number: Decimal) -> StrictPrice:
    return StrictPrice(amount=number, when=date(2024, 2, 29))


def holds(number: Decimal) -> HoldsModels:
    one, lax = strict_price(number), PriceModel(amount=number)
    return HoldsModels(one, lax, [one], {"k": lax}, [1.5])


@pytest.mark.parametrize("space", ["", " " * 600], ids=["small", "large"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["data", "value"])
@pytest.mark.parametrize(
    ("hint", "text", "expected"),
    [
        (Decimal, N, Decimal),
        (Decimal | None, f"-{N}", lambda n: -n),
        (Price, PRICE, price),
        (list[Price], f"[{PRICE}]", lambda n: [price(n)]),
        (PriceModel, f'{{"amount":{N},"ratio":1.5,"more":[{N}]}}', lambda n: PriceModel(amount=n, ratio=1.5, more=[n])),
        (StrictPrice, f'{{"amount":{N},"ratio":1.5}}', lambda n: StrictPrice(amount=n, ratio=1.5)),
        (
            StrictPrice,
            f'{{"amount":{N},"ratio":1.5,"when":"2024-02-29"}}',
            lambda n: StrictPrice(amount=n, ratio=1.5, when=date(2024, 2, 29)),
        ),
        (Annotated[Decimal, Field(ge=1)], N, Decimal),
        (HoldsModels, HOLDS, holds),
        (dict[str, HoldsModels], f'{{"k":{HOLDS}}}', lambda n: {"k": holds(n)}),
        (HoldsModel, f'{{"one":{MODEL},"server":4}}', lambda n: HoldsModel(strict_price(n))),
        (PairOfModel, f"[{MODEL}]", lambda n: PairOfModel(strict_price(n))),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_decimal_has_the_digits_that_were_sent(
    hint: Any, text: str, expected: Any, name: str, form: str, space: str
) -> None:
    assert came(hint, text + space, form, name=name) == expected(SHORT if form == "msgpack" else Decimal(N))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.10", "1.10"),
        ("1.5E+3", "1.5E+3"),
        ("1e-400", "1E-400"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ('"1.10"', "1.10"),
        ("0." + "1" * 998, "0." + "1" * 998),
    ],
)
def test_every_form_of_a_number_is_exact(text: str, expected: str) -> None:
    assert str(came(Decimal, text)) == str(came(PriceModel, f'{{"amount":{text}}}').amount) == expected


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30))
def test_any_decimal_survives(number: Decimal) -> None:
    text = f"{number:f}"
    assert str(came(Decimal, text)) == str(Decimal(text))


@pytest.mark.parametrize("hint", [Decimal, PriceModel, list[Decimal], dict[str, Decimal], Price])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("number", ["NaN", "sNaN", "Infinity", "-inf"])
def test_no_number_is_a_fault(hint: Any, number: str, form: str) -> None:
    texts = {list[Decimal]: f'["{number}"]', Decimal: f'"{number}"'}
    (fault,) = came(hint, texts.get(hint, f'{{"amount":"{number}"}}'), form)
    assert "finite number" in fault[1]


def test_nan_comes_where_it_is_asked_for() -> None:
    class Loose(BaseModel):
        number: Decimal = Field(allow_inf_nan=True)

    assert came(Loose, '{"number":"NaN"}').number.is_nan()


@pytest.mark.parametrize("text", ["0." + "1" * 1200, '"1E+9999999"', '"' + "1" * 1200 + '"', '"1E-9999999"'])
def test_digits_are_bounded(text: str) -> None:
    assert came(Decimal, text) == [(["data"], "Expected a number of at most 1000 digits")]


class StrictInner(BaseModel):
    model_config = ConfigDict(strict=True)
    at: datetime | None = None


class StrictModel(BaseModel):
    model_config = ConfigDict(strict=True)
    value: Any = None


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("hint", "text", "expected"),
    [
        (datetime, '"2024-02-29T12:00:00"', datetime(2024, 2, 29, 12)),
        (date, '"2024-02-29"', date(2024, 2, 29)),
        (time, '"12:30:00"', time(12, 30)),
        (timedelta, '"P1D"', timedelta(1)),
        (UUID, f'"{UUID(int=1)}"', UUID(int=1)),
        (Colour, '"red"', Colour.RED),
        (set[int], "[1]", {1}),
        (frozenset[int], "[1]", frozenset((1,))),
        (tuple[int, str], '[1,"a"]', (1, "a")),
        (Decimal, '"1.5"', Decimal("1.5")),
        (Decimal, "1.5", Decimal("1.5")),
        (bytes, '"hi"', b"hi"),
        (AnyUrl, '"http://a.b/"', AnyUrl("http://a.b/")),
        (StrictInner, '{"at":"2024-02-29T12:00:00"}', StrictInner(at=datetime(2024, 2, 29, 12))),
        (list[StrictInner], '[{"at":"2024-02-29T12:00:00"}]', [StrictInner(at=datetime(2024, 2, 29, 12))]),
        (float, "1", 1.0),
        (int, '"1"', None),
        (int, "1.0", None),
        (float, '"1"', None),
        (bool, "1", None),
        (str, "1", None),
        (Colour, '"blue"', None),
        (set[int], '["1"]', None),
    ],
    ids=str,
)
def test_strict_takes_what_json_can_say_and_nothing_else(hint: Any, text: str, expected: Any, form: str) -> None:
    model = type("Model", (StrictModel,), {"__annotations__": {"value": hint}})
    found = came(model, f'{{"value":{text}}}', form)
    assert isinstance(found, list) if expected is None else found.value == expected
    if not typing.get_args(hint):  # of which only the outside would be strict
        found = came(Annotated[hint, Strict()], text, form)
        assert found == expected if expected is not None else isinstance(found, list)


def test_strict_takes_messagepacks_own_values() -> None:
    class Natives(BaseModel):
        model_config = ConfigDict(strict=True)
        raw: bytes
        at: datetime
        id: UUID

    seen = []

    def handler(request: Any, data: Natives) -> None:
        seen.append(data)

    handler.__annotations__["data"] = Natives
    now = datetime(2024, 2, 29, tzinfo=UTC)
    with TestClient(registered(handler)) as client:
        data = {"raw": b"hi", "at": now, "id": str(UUID(int=1))}
        assert client.post("/", data=data, form="msgpack").status == 200
    assert (seen[0].raw, seen[0].at, seen[0].id) == (b"hi", now, UUID(int=1))


@pytest.mark.parametrize(
    "hint", [list[int], dict[str, int], Item, Point, set[int], tuple[int, int], User, msgspec.Raw, Callable[[], int]]
)
def test_what_no_text_of_a_url_can_be_is_refused(hint: Any) -> None:
    assert refusal(hint, name="value", path="/{value}") or hint is User


@pytest.mark.parametrize(
    "model",
    [
        type("M", (BaseModel,), {"__annotations__": {"call": Callable[[int], int]}}),
        type("M", (BaseModel,), {"__annotations__": {"by": dict[tuple[int, int], int]}}),
    ],
)
def test_a_model_that_no_json_fits_is_refused(model: Any) -> None:
    assert refusal(model)
    assert refusal(list[model])


def test_a_model_of_pydantics_inside_a_struct_is_taken() -> None:
    class Order(Struct):
        user: User
        home: Path

    found = came(Order, '{"user":{"firstName":"A"},"home":"/a"}')
    assert (found.user.first_name, found.home) == ("A", Path("/a"))
    assert came(Order, '{"user":{},"home":"/a"}') == [(["data", "user"], "firstName: Field required")]


@pydantic_dataclass
class Checked:
    name: str = Field(min_length=3)
    age: int = Field(default=1, alias="AGE", ge=1)


class CheckedStruct(Struct):
    who: Checked | None = None


@dataclass
class CheckedDataclass:
    who: list[Checked]
    at: AwareDatetime | None = None


class CheckedTuple(NamedTuple):
    who: Checked


class CheckedDict(typing_extensions.TypedDict):
    who: Checked


class AwareStruct(Struct):
    at: AwareDatetime


@pytest.mark.parametrize("name", ["data", "value"])
def test_what_only_pydantic_checks_is_checked_by_it_or_refused(name: str) -> None:
    """msgspec takes a dataclass of pydantic's for a plain one, and nothing at all for an AwareDatetime."""
    good, bad = '{"name":"ada","AGE":5}', '{"name":"a","AGE":0}'
    expected = Checked(name="ada", AGE=5)
    assert came(list[Checked], f"[{good}]", name=name) == [expected]
    assert came(CheckedDataclass, f'{{"who":[{good}]}}', name=name) == CheckedDataclass([expected])
    assert came(CheckedTuple, f"[{good}]", name=name) == (expected,)
    assert came(CheckedDict, f'{{"who":{good}}}', name=name) == {"who": expected}
    at = '{"who":[],"at":"2024-02-29T00:00:00Z"}'
    assert came(CheckedDataclass, at, name=name).at == datetime(2024, 2, 29, tzinfo=UTC)
    for hint, text in (
        (CheckedDataclass, f'{{"who":[{bad}]}}'),
        (CheckedTuple, f"[{bad}]"),
        (CheckedDict, f'{{"who":{bad}}}'),
        (dict[str, Checked], f'{{"k":{bad}}}'),
    ):
        found = came(hint, text, name=name)
        assert [loc[-1] for loc, _ in found] == ["name", "AGE"]
    for struct, inner in ((CheckedStruct, "Checked"), (AwareStruct, "AwareDatetime")):
        text = f"`{inner}` is checked by pydantic, which does not know `{struct.__name__}`"
        for within in (struct, GenericAlias(list, (struct,)), GenericAlias(dict, (str, struct))):
            assert text in refusal(within, name=name)


T = typing.TypeVar("T")


@dataclass
class GenericBody(typing.Generic[T]):
    value: T
    admin: bool = field(init=False, default=False)
    name: str = "ada"


@dataclass
class BoundedGeneric(typing.Generic[T]):
    value: T
    name: Annotated[str, Field(min_length=2)] = "ada"


class FrozenGeneric(Struct, typing.Generic[T], frozen=True):
    value: T


@dataclass
class OwnInit:
    value: int
    admin: bool = False

    def __init__(self, value: int) -> None:
        self.value = value


@dataclass(init=False)
class NoInit:
    value: int
    admin: bool = False


NoInit.__init__ = OwnInit.__init__  # type: ignore[assignment,method-assign]


@dataclass
class BoundedPrivate:
    name: Annotated[str, Field(min_length=2)]
    amount: Decimal = Decimal(0)
    server: int = field(init=False, default=3)
    _secret: int = 5


def test_what_is_closed_is_so_where_pydantic_checks_too() -> None:
    found = came(list[BoundedPrivate], f'[{{"name":"ada","amount":{N},"server":9,"_secret":9}}]')
    assert found == [BoundedPrivate("ada", Decimal(N))]
    assert came(BoundedPrivate, '{"name":"a"}')[0][0] == ["data", "name"]
    assert came(BoundedPrivate, '{"name":"ada","amount":"NaN"}')[0][0] == ["data", "amount"]


BOX: Any = GenericBody
AROUND: Any = [lambda hint: hint, lambda hint: GenericAlias(list, (hint,)), lambda hint: BOX[hint]]


@pytest.mark.parametrize("hint", [GenericBody, GenericBody[int], OwnInit, NoInit], ids=str)
@pytest.mark.parametrize("around", AROUND)
def test_what_init_does_not_take_is_closed_in_every_dataclass(hint: Any, around: Any) -> None:
    text, outer = '{"value":1,"admin":true}', around(hint)
    if typing.get_origin(outer) is list:
        text = f"[{text}]"
    elif outer is not hint:
        text = f'{{"value":{text},"admin":true}}'
    found = came(outer, text)
    while isinstance(found, list) or getattr(found, "value", 1) != 1:
        assert not getattr(found, "admin", False)
        found = found[0] if isinstance(found, list) else found.value
    assert (found.value, found.admin) == (1, False)


def test_generic_classes_are_looked_at_as_others_are() -> None:
    assert came(BoundedGeneric[int], '{"value":1,"name":"a"}')[0][0] == ["data", "name"]
    assert came(set[FrozenGeneric[int]], '[{"value":1}]') == {FrozenGeneric(1)}
    assert came(FrozenGeneric[Decimal], f'{{"value":{N}}}') == FrozenGeneric(Decimal(N))


def test_a_converter_of_attrs_that_msgspec_does_not_call_is_refused() -> None:
    converted = attrs.make_class("Converted", {"x": attrs.field(type=int, converter=int)})
    assert "`Converted.x` has a converter, which msgspec does not call" in refusal(converted)
    bare = attrs.make_class("Bare", {"x": attrs.field(default=1)})
    if MSGSPEC < (0, 23):
        assert "a field without annotation: 'x'" in refusal(bare)
    else:
        assert refusal(bare) == ""


def test_a_field_that_nobody_has_to_send_may_be_of_anything() -> None:
    class WithHook(Struct):
        name: str
        hook: Callable[[], int] | None = None
        stranger: Stranger | None = None

    @dataclass
    class WithLog:
        name: str
        log: typing.Optional[Stranger] = None  # noqa: UP045

    assert came(WithHook, '{"name":"a","hook":null}') == WithHook("a")
    assert came(WithLog, '{"name":"a"}') == WithLog("a")
    assert came(WithHook, '{"name":"a","stranger":"b"}') == [(["data", "stranger"], "Expected `Stranger`, got `str`")]


@dataclass
class Bounded:
    name: Annotated[str, Field(min_length=2)]


class BoundedDict(typing_extensions.TypedDict):
    many: list[Annotated[int, Field(ge=1)]]


class BoundedStruct(Struct):
    name: Annotated[str, Field(min_length=2)]


def test_constraints_of_pydantic_in_fields_are_looked_at_or_refused() -> None:
    assert came(Bounded, '{"name":"ab"}') == Bounded("ab")
    assert came(list[Bounded], '[{"name":"a"}]') == [
        (["data", 0, "name"], "String should have at least 2 characters"),
    ]
    assert came(BoundedDict, '{"many":[0]}') == [(["data", "many", 0], "Input should be greater than or equal to 1")]
    assert "`BoundedStruct` has constraints that msgspec does not read" in refusal(BoundedStruct)


# Arguments with names of their own


def asked(handler: Any, args: dict[str, Any], **attrs: Any) -> Any:
    with TestClient(registered(handler, **attrs)) as client:
        reply = client.post("/", args=args)
        return reply.data if reply.ok else [(fault["loc"], fault["msg"]) for fault in reply.detail]


def mails(request: Any, sender: Annotated[str, Arg(alias="from")], most: Annotated[int, Arg("x-y")] = 3) -> Any:
    return [sender, most]


def open_mails(request: Any, sender: Annotated[str, Arg(alias="from")], **others: Any) -> Any:
    return [sender, others]


async def constrained(request: Any, sender: Annotated[str, Field(min_length=2), Arg("from")]) -> Any:
    return sender


def crossed(request: Any, a: Annotated[int, Arg("b")], b: Annotated[int, Arg("a")]) -> Any:
    return [a, b]


def crossed_strictly(request: Any, a: Annotated[int, Strict(), Arg("b")], b: Annotated[int, Arg("a")]) -> Any:
    return [a, b]


def at_home(request: Any, paths: list[Path] = [Path(".")]) -> Any:  # noqa: B006 (a fresh one each time)
    return paths


def formatted(request: Any, kind: Annotated[str, Arg("format")]) -> Any:
    return kind


@pytest.mark.parametrize(
    ("handler", "args", "expected"),
    [
        (mails, {"from": "a"}, ["a", 3]),
        (mails, {"from": "a", "x-y": 5}, ["a", 5]),
        (mails, {}, [(["args", "from"], "missing argument `from`")]),
        (mails, {"from": 5}, [(["args", "from"], "Expected `str`, got `int`")]),
        (mails, {"from": "a", "sender": "b"}, [(["args", "sender"], "unexpected argument `sender`")]),
        (open_mails, {"from": "a", "z": 1}, ["a", {"z": 1}]),
        (open_mails, {"from": "a", "sender": 1}, [(["args", "sender"], "unexpected argument `sender`")]),
        (constrained, {"from": "ab"}, "ab"),
        (constrained, {"from": "a"}, [(["args", "from"], "String should have at least 2 characters")]),
        (crossed, {"a": 1, "b": 2}, [2, 1]),
        (crossed_strictly, {"a": 1, "b": 2}, [2, 1]),
        (at_home, {}, ["."]),
        (formatted, {"format": "json"}, "json"),
    ],
)
def test_an_argument_has_the_name_of_its_arg(handler: Any, args: dict[str, Any], expected: Any) -> None:
    assert asked(handler, args) == expected


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        ('Annotated[str, Field(alias="from")]', "expected Arg(alias='from')"),
        ('Annotated[str, Field(validation_alias="from")]', "expected Arg(alias='from')"),
        ('Annotated[str, msgspec.field(name="from")]', "expected Arg(alias='from')"),
        ('str = msgspec.field(name="from")', "Annotated[…, Arg(alias='from')]"),
        ('str = Field(alias="from")', "Annotated[…, Arg(alias='from')]"),
        ('str = Arg("from")', "Annotated[…, Arg(alias='from')]"),
        ('Annotated[str, Arg("other")]', "the name 'other' on the wire"),
        ('Annotated[str, Arg("id")]', "the name 'id' on the wire"),
        ('Annotated[str, Arg("a"), Arg("b")]', "several names on the wire: 'a', 'b'"),
        ('Annotated[str, Arg("a")] | None = None', "has an Arg inside its annotation"),
    ],
)
def test_a_name_that_nobody_would_read_is_refused(annotation: str, text: str) -> None:
    space = dict(globals())
    exec(f"def handler(request, id: int, value: {annotation}, other: int = 1): ...", space)
    with pytest.raises(InvalidHandler) as caught:
        registered(space["handler"], "/{id}")
    assert text in str(caught.value)


@pytest.mark.parametrize(
    "alias", ['a"b', "a\\b", "\n", "é", "🎉", "a b", "$ref", "0", "None", "request", "self", "x" * 99]
)
def test_an_alias_may_be_any_text(alias: str) -> None:
    def handler(request: Any, a: Any, b: int = 1) -> Any:
        return [a, b]

    handler.__annotations__["a"] = Annotated[int, Arg(alias)]
    assert asked(handler, {alias: 5}) == [5, 1]
    missing = (["args", alias], f"missing argument `{alias}`")
    assert asked(handler, {"a": 5}) == [(["args", "a"], "unexpected argument `a`"), missing]


@pytest.mark.parametrize(
    "field", [Field(default=5), Field(default_factory=list), Field(5, ge=1)], ids=["default", "factory", "bounds"]
)
def test_a_default_in_a_field_that_nobody_would_read_is_refused(field: Any) -> None:
    assert "has its default in pydantic.fields.FieldInfo, which is for fields: expected value: … = " in refusal(
        Annotated[Any, field], name="value"
    )


@pytest.mark.parametrize("name", ["id", "data"])
def test_an_arg_is_for_arguments_only(name: str) -> None:
    assert "is not one of `args`" in refusal(Annotated[int, Arg("a")], name=name, path="/{id}" if name == "id" else "/")


@pytest.mark.parametrize("alias", ["", None, 5])
def test_an_alias_is_a_string(alias: Any) -> None:
    with pytest.raises(TypeError, match="alias of Arg must be a string that is not empty"):
        Arg(alias)


def test_an_alias_is_text_that_json_can_say() -> None:
    with pytest.raises(TypeError, match="alias of Arg must be text that JSON can say"):
        Arg("a\ud800")


# What cannot be sent


async def forgotten() -> None: ...


def loop() -> Any:
    value: list[Any] = []
    value.append({"again": value})
    return value


class Keeper(BaseModel):
    model_config = ConfigDict(extra="allow")
    session: Any = Field(default=None, exclude=True)
    item: Any = None


class Odd(Enum):
    STRANGE = Stranger()


class Broken(BaseModel):
    def model_dump(self, **options: Any) -> Any:
        raise ZeroDivisionError("no dump today")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: [1, 2, 3, {"owner": Stranger()}], "`[3].owner`: `Stranger` is not JSON serializable"),
        (lambda: {"a": [forgotten()]}, "SerializerError: is an `await` missing? `.a[0]`: `coroutine`"),
        (lambda: (n for n in "ab"), "the result: `generator` is not JSON serializable: send `list(...)` of it"),
        (lambda: {"a": map(int, "1")}, "`.a`: `map` is not JSON serializable: send `list(...)` of it"),
        (lambda: [Point(1, Stranger())], "`[0].raw`: `Stranger` is not JSON serializable"),  # type: ignore[arg-type]
        (
            lambda: {"x-y": len},
            "`['x-y']`: `builtin_function_or_method` is not JSON serializable: is a call `()` missing?",
        ),
        (lambda: {"a": {(1, 2): 3}}, "`.a`: tuple cannot be the key of an object"),
        (lambda: ["\ud800"], "`[0]`: `str` 'utf-8' codec can't encode"),
        (loop, "contains itself"),
        (lambda: [Broken()], "`[0]`: `Broken` raised ZeroDivisionError: no dump today"),
        (lambda: 1j, "the result: `complex` is not JSON serializable"),
        (lambda: Keeper(session=Stranger(), item=[Stranger()]), "`.item[0]`: `Stranger` is not JSON serializable"),
        (
            lambda: [Keeper(item=Keeper.model_validate({"more": Stranger()}))],
            "`[0].item.more`: `Stranger` is not JSON serializable",
        ),
        (lambda: Odd.STRANGE, "the result: `Stranger` is not JSON serializable"),
        (lambda: HTTPError(404), "the result: `HTTPError` is not JSON serializable: is a `raise` missing?"),
        (lambda: HTTPError, "the result: `type` is not JSON serializable: is a `raise` missing?"),
    ],
)
@pytest.mark.parametrize("form", ["text", "msgpack"])
def test_log_tells_what_cannot_be_sent(make: Any, told: str, form: str, caplog: pytest.LogCaptureFixture) -> None:
    if form == "msgpack" and "utf-8" in told:
        told = "`[0]`: `str` "

    def list_users(request: Any) -> Any:
        return make()

    reply = exchange(list_users, form=form)
    assert (reply["status"], reply["detail"]) == (500, "the handler's result cannot be encoded")
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert told in record.getMessage()
    assert "list_users, POST /" in record.getMessage()
    assert len(caplog.text.splitlines()) <= 28
    assert caplog.text.count("Traceback") <= 2


def test_a_reply_without_id_says_what_1_1_1_said() -> None:
    with TestClient(registered(lambda request: object())) as client:
        client.send('{"method":"POST","url":"/"}')
        detail = "Error has occurred inside serializer class."
        assert json.loads(client.receive()) == {"detail": detail, "event_name": None}


class Failing(BaseRenderer):
    def render(self, data: Any) -> str:
        raise KeyError("colour")


class Refusing(BaseRenderer):
    def render(self, data: Any) -> str:
        raise HTTPError(406, "not in this form")


@pytest.mark.parametrize(
    ("renderer", "value", "status", "told"),
    [
        (Failing, 1, 500, "KeyError: 'colour'"),
        (XMLRenderer, {"a": [Stranger()]}, 500, "`.a[0]`: `Stranger` is not JSON serializable"),
        (JSONRenderer, {"a": [Stranger()]}, 500, "`.a[0]`: `Stranger` is not JSON serializable"),
        (XMLRenderer, {"a": forgotten}, 500, "is a call `()` missing?"),
        (Refusing, 1, 406, ""),
    ],
)
def test_renderers_tell_it_too(
    renderer: Any, value: Any, status: int, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Users(MethodBasedView):
        renderers = (renderer,)

        def get(self, request: Any) -> Any:
            return value

    router = SimpleRouter()
    router.register("/", Users, "GET")
    with TestClient(Application(router=router)) as client:
        assert client.get("/").status == status
    assert told in caplog.text
    assert ("Users.get, GET /" in caplog.text) is bool(told)


def test_a_result_that_is_not_of_its_model_is_told_with_its_place(caplog: pytest.LogCaptureFixture) -> None:
    for model, value in ((list[User], [{"firstName": 5}]), (list[Item], [{"x": "a", "raw": ""}])):
        caplog.clear()
        assert sent(value, response_model=model) == 500
        assert re.search(r"SerializerError: `0\.(firstName|x)` does not fit response_model: ", caplog.text)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: (n for n in [1]), "the result: `generator` is not JSON serializable: send `list(...)` of it"),
        (lambda: map(int, "1"), "the result: `map` is not JSON serializable: send `list(...)` of it"),
        (lambda: [forgotten()], "is an `await` missing? `[0]`: `coroutine`"),
        (lambda: {"a": 1}, "the result does not fit response_model: Expected `array`, got `object`"),
        (Stranger, "the result does not fit response_model: Expected `array`, got `Stranger`"),
    ],
    ids=["generator", "map", "coroutine", "dict", "object"],
)
def test_what_does_not_fit_is_told_with_its_cure(make: Any, told: str, caplog: pytest.LogCaptureFixture) -> None:
    assert sent(make(), response_model=list[int]) == 500
    assert told in caplog.text


@pytest.mark.parametrize(
    "value",
    [deque([1]), {"a": 1}.values(), {1: 2}.keys(), UserList([1]), {1}, (1,)],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("model", [list[int], set[int], tuple[int, ...], list[Any]], ids=str)
def test_what_is_sent_as_a_list_fits_a_model_that_is_one(value: Any, model: Any) -> None:
    assert sent(value, response_model=model) == [1]


def test_text_fits_what_is_read_from_text() -> None:
    class Host(Struct):
        ip: IPv4Address
        home: Path | None = None

    assert sent({"ip": "10.0.0.1", "home": "/a"}, response_model=Host) == {"ip": "10.0.0.1", "home": "/a"}
    assert sent({"ip": "x"}, response_model=Host) == 500


def test_the_rest_of_a_response_is_looked_at_too(caplog: pytest.LogCaptureFixture) -> None:
    def handler(request: Any) -> Any:
        response = Response([1])
        response.content["meta"] = {"by": Stranger()}
        return response

    assert exchange(handler)["status"] == 500
    assert "`.meta.by`: `Stranger` is not JSON serializable" in caplog.text


@pytest.mark.parametrize("form", ["text", "msgpack"])
def test_a_detail_that_cannot_be_encoded_is_logged(form: str, caplog: pytest.LogCaptureFixture) -> None:
    def handler(request: Any) -> Any:
        raise HTTPError(409, {"who": [Stranger()]})

    reply = exchange(handler, form=form)
    assert (reply["status"], reply["detail"]) == (409, "A server error occurred.")
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "`.detail.who[0]`: `Stranger` is not JSON serializable" in record.getMessage()


def test_an_event_that_cannot_be_encoded_says_what(caplog: pytest.LogCaptureFixture) -> None:
    def handler(request: Any) -> Any:
        request.connection.send_event("news", {"by": Stranger()})

    assert exchange(handler)["status"] == 500
    assert "TypeError: Stranger is not JSON serializable" in caplog.text
    assert "`.data.by`: `Stranger` is not JSON serializable" in caplog.text


def test_debug_tells_the_client_too() -> None:
    router = SimpleRouter()
    router.register_endpoint(endpoint("/", "GET")(lambda request: [Stranger()]))
    with TestClient(Application(router=router, debug=True)) as client:
        assert "`[0]`: `Stranger` is not" in client.get("/").detail


_USED_BY_THE_PAGE = (
    *(Awaitable, Generator, Iterator, TextIO, Never, Fraction, IPv6Network, MappingProxyType, OrderedDict, io, math),
)
