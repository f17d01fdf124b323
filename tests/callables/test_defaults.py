"""Defaults: what could change is each request's own, and what does not fit its annotation is refused."""

# Without `from __future__ import annotations`: names of a test function could not be read from its text.

import functools
from abc import abstractmethod
from array import array
from collections import Counter, OrderedDict, UserDict, UserList, defaultdict, deque
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import Enum, StrEnum
from fractions import Fraction
from types import SimpleNamespace
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

import pytest
from msgspec import UNSET, Meta, Struct, UnsetType
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from aiorest_ws import Application, Depends, MethodBasedView, SimpleRouter
from aiorest_ws.callables.defaults import fresh
from aiorest_ws.exceptions import InvalidHandler
from aiorest_ws.testing import TestClient

T = TypeVar("T")


class Filled(Struct):
    tags: list[str] = []


@dataclass
class Record:
    tags: list[str] = field(default_factory=list)


class Model(BaseModel):
    tags: list[str] = []


class Color(StrEnum):
    red = "red"


@dataclass(frozen=True)
class Frozen:
    n: int = 1


class FrozenStruct(Struct, frozen=True):
    n: int = 1


class FrozenModel(BaseModel):
    model_config = ConfigDict(frozen=True)
    n: int = 1


def add(value: Any) -> int:
    """Change `value`, and tell how much is in it."""
    if isinstance(value, tuple):
        return add(value[0])
    if isinstance(value, dict):
        value[str(len(value))] = 1
        return len(value)
    if isinstance(value, set):
        value.add(len(value))
        return len(value)
    if isinstance(value, bytearray):
        value += b"x"
        return len(value)
    tags = value if isinstance(value, (list, deque)) else value.tags
    tags.append("x")
    return len(tags)


MUTABLE: dict[str, tuple[Any, Any]] = {
    "list": (list[str], []),
    "bare list": (list, []),
    "dict": (dict[str, int], {}),
    "set": (set[int], set()),
    "bytearray": (bytearray, bytearray()),
    "list of lists": (list[list[str]], [[]]),
    "tuple of lists": (tuple[list[str], int], ([], 1)),
    "Struct": (Filled, Filled()),
    "dataclass": (Record, Record()),
    "pydantic": (Model, Model()),
    "optional": (list[str] | None, []),
    "annotated": (Annotated[list[str], Meta(max_length=9)], []),
}


def handlers(hint: Any, default: Any) -> dict[str, Any]:
    """Give handlers of every kind that change their default."""

    def typed(request: Any, value: hint = default) -> Any:
        return add(value)

    async def typed_later(request: Any, value: hint = default) -> Any:
        return add(value)

    def untyped(request, value=default):  # type: ignore[no-untyped-def]
        return add(value)

    def keywords(request: Any, *args: Any, value: hint = default, **kwargs: Any) -> Any:
        return add(value)

    def body(request: Any, data: hint = default) -> Any:
        return add(data)

    def beside(request: Any, number: int, value: hint = default) -> Any:
        return add(value)

    @functools.wraps(typed)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        return typed(*args, **kwargs)

    @functools.wraps(untyped)
    def decorated_untyped(request: Any, **kwargs: Any) -> Any:
        return untyped(request, **kwargs)

    def needed(value: hint = default) -> Any:
        return add(value)

    def depending(request: Any, it: Annotated[int, Depends(needed)]) -> Any:
        return it

    return {
        name: handler
        for name, handler in locals().items()
        if callable(handler) and name not in ("hint", "default", "needed")
    }


@pytest.mark.parametrize("name", handlers(list, [[]]))
@pytest.mark.parametrize("kind", MUTABLE.values(), ids=MUTABLE)
def test_a_default_that_could_change_is_each_request_s_own(kind: tuple[Any, Any], name: str) -> None:
    hint, default = kind
    handler = handlers(hint, default)[name]
    router = SimpleRouter()
    nested = hint == list[list[str]]
    router.get("/x/{number}" if name == "beside" else "/x")(handler)
    with TestClient(Application(router=router)) as client:
        path = "/x/1" if name == "beside" else "/x"
        replies = [client.get(path).data, client.get(path, args={}).data, client.get(path).data]
    assert replies == [1 + nested] * 3


def test_a_view_s_method_and_one_with_other_arguments_have_their_own_too() -> None:
    class View(MethodBasedView):
        def get(self, request: Any, n: int = 1, tags: list[str] = []) -> Any:  # noqa: B006
            tags.append("x")
            return [n, len(tags)]

    router = SimpleRouter()
    router.register("/", View)
    with TestClient(Application(router=router)) as client:
        assert [client.get("/", args={"n": n}).data for n in (1, 2)] == [[1, 1], [2, 1]]
        assert client.get("/", args={"tags": ["a"]}).data == [1, 2]
        assert client.get("/").data == [1, 1]


def test_a_decorator_that_gives_the_argument_itself_goes_on_to() -> None:
    def handler(request: Any, tags: list[str] = []) -> Any:  # noqa: B006
        return tags

    @functools.wraps(handler)
    def decorated(request: Any, **kwargs: Any) -> Any:
        return handler(request, tags=["given"], **kwargs)

    router = SimpleRouter()
    router.get("/")(decorated)
    with TestClient(Application(router=router)) as client:
        assert client.get("/").data == ["given"]


class Pool:
    pass


SHARED = [
    *(None, True, 1, 1.5, 1j, "x", b"x", (), (1, "x"), frozenset((1,)), date(2020, 1, 1), Decimal(1), Color.red),
    *(Fraction(1), UUID(int=1), Frozen(), FrozenStruct(), FrozenModel(), Pool(), list, Record, len, range(3)),
]


@pytest.mark.parametrize("default", SHARED, ids=repr)
def test_what_cannot_change_and_what_is_shared_on_purpose_is_not_copied(default: Any) -> None:
    assert fresh(default) is None


@pytest.mark.parametrize(
    "default",
    [
        *(deque([1]), OrderedDict(a=1), Counter("a"), defaultdict(list, a=[1]), (1, [2]), {1: {2}}),
        *(UserList([1]), UserDict(a=1), SimpleNamespace(a=[1]), array("i", [1])),
    ],
    ids=repr,
)
def test_a_copy_is_as_it_was(default: Any) -> None:
    copy = fresh(default)
    assert copy is not None
    assert copy() == default
    assert type(copy()) is type(default)
    assert copy() is not copy()


def test_one_that_cannot_be_copied_is_refused() -> None:
    def handler(request: Any, files: Any = [open]) -> None: ...  # noqa: B006

    def uncopied(request: Any, files: Any = [[(n for n in [1])]]) -> None: ...  # noqa: B006

    SimpleRouter().get("/")(handler)
    with pytest.raises(InvalidHandler, match=r"each request gets a copy of it, but it cannot be copied"):
        SimpleRouter().get("/")(uncopied)


def field_defaults() -> list[Any]:
    import attrs
    import msgspec

    return [
        *(field(default_factory=list), field(default=[]), attrs.Factory(list), attrs.field(factory=list)),
        msgspec.field(default_factory=list),
    ]


@pytest.mark.parametrize("hint", [list[str], list, Any, None], ids=repr)
@pytest.mark.parametrize("default", field_defaults(), ids=lambda default: type(default).__module__)
def test_what_makes_the_default_of_a_field_is_none_of_a_parameter(default: Any, hint: Any) -> None:
    def handler(request: Any, tags: hint = default) -> None: ...

    def needed(tags: hint = default) -> None: ...

    def depending(request: Any, it: Annotated[None, Depends(needed)]) -> None: ...

    for refused in (handler, depending):
        with pytest.raises(InvalidHandler, match="which is for fields: expected the default itself"):
            SimpleRouter().get("/")(refused)


# Defaults and annotations

FITS: dict[str, tuple[Any, Any]] = {
    "int": (int, 1),
    "bool for int": (int, True),
    "int for float": (float, 1),
    "nan": (float, float("nan")),
    "None": (int, None),
    "None for a list": (list[int], None),
    "text": (str, "x"),
    "enum": (Color, Color.red),
    "Literal": (Literal["a", "b"], "a"),
    "date": (date, date(2020, 1, 1)),
    "UUID": (UUID, UUID(int=1)),
    "Decimal": (Decimal, Decimal("1.5")),
    "list": (list[int], [1]),
    "tuple": (tuple[int, ...], (1,)),
    "frozenset": (frozenset[int], frozenset({1})),
    "Struct": (Filled, Filled()),
    "dataclass": (Record, Record()),
    "pydantic": (Model, Model()),
    "unset": (int | UnsetType, UNSET),
    "optional": (int | None, 1),
    "constraint": (Annotated[int, Meta(ge=5)], 5),
    "pydantic's constraint": (Annotated[int, Field(ge=5)], 5),
    "Any": (Any, object()),
    "object": (object, 5),
}
MISFITS: dict[str, tuple[Any, Any]] = {
    "text for int": (int, "x"),
    "number in text": (int, "5"),
    "float for int": (int, 1.5),
    "int for text": (str, 5),
    "int for bool": (bool, 0),
    "text for bytes": (bytes, "x"),
    "text for an enum": (Color, "red"),
    "not of the Literal": (Literal["a", "b"], "c"),
    "text for a date": (date, "2020-01-01"),
    "text for a UUID": (UUID, "x"),
    "text for a list": (list[str], "x"),
    "tuple for a list": (list[int], ()),
    "wrong items": (list[int], ["x"]),
    "wrong values": (dict[str, int], {"a": "x"}),
    "dict for a Struct": (Filled, {}),
    "dict for a dataclass": (Record, {}),
    "text for an optional": (int | None, "x"),
    "below": (Annotated[int, Meta(ge=5)], 3),
    "below for pydantic": (Annotated[int, Field(ge=5)], 3),
    "text for pydantic": (PositiveInt, "5"),
    "pydantic's field": (int, Field(ge=5)),
    "ellipsis": (str, ...),
    "another class": (Filled, Record()),
    "another enum": (Color, Enum("Other", "red").red),  # type: ignore[attr-defined]
}


def register_each(hint: Any, default: Any) -> list[Any]:
    def argument(request: Any, value: hint = default) -> None: ...

    def keyword(request: Any, *, value: hint = default) -> None: ...

    def body(request: Any, data: hint = default) -> None: ...

    class View(MethodBasedView):
        def get(self, request: Any, value: hint = default) -> None: ...

    return [
        lambda: SimpleRouter().get("/")(argument),
        lambda: SimpleRouter().get("/")(keyword),
        lambda: SimpleRouter().get("/")(body),
        lambda: SimpleRouter().register("/", View),
    ]


@pytest.mark.parametrize("case", FITS.values(), ids=FITS)
def test_a_default_that_fits_is_taken(case: tuple[Any, Any]) -> None:
    for register in register_each(*case):
        register()


@pytest.mark.parametrize("case", MISFITS.values(), ids=MISFITS)
def test_a_default_that_does_not_fit_is_refused(case: tuple[Any, Any]) -> None:
    for register in register_each(*case):
        with pytest.raises(InvalidHandler, match=r"default"):
            register()


@pytest.mark.parametrize("case", ["text for int", "int for text", "pydantic's field", "ellipsis"])
def test_that_of_a_dependency_is_refused_too(case: str) -> None:
    hint, default = MISFITS[case]

    def needed(value: Any = default) -> None: ...

    needed.__annotations__["value"] = hint

    def handler(request: Any, it: Annotated[None, Depends(needed)]) -> None: ...

    with pytest.raises(InvalidHandler, match="default"):
        SimpleRouter().get("/")(handler)


# What is made for a request


class Needy(MethodBasedView):
    def __init__(self, db: Any) -> None:
        self.db = db

    def get(self, request: Any) -> None: ...


class NeedyNew(MethodBasedView):
    def __new__(cls, db: Any) -> Any:
        return super().__new__(cls)

    def get(self, request: Any) -> None: ...


class Abstract(MethodBasedView):
    @abstractmethod
    def load(self) -> Any: ...

    def get(self, request: Any) -> None: ...


class Inherits(Needy):
    pass


class Satisfied(Needy):
    def __init__(self, *args: Any, db: Any = 5, **kwargs: Any) -> None:
        super().__init__(db)

    def get(self, request: Any) -> Any:
        return self.db


@pytest.mark.parametrize("view", [Needy, NeedyNew, Inherits])
def test_a_view_that_cannot_be_made_is_refused(view: type[MethodBasedView]) -> None:
    with pytest.raises(InvalidHandler, match=r"cannot be made without its argument 'db'"):
        SimpleRouter().register("/", view)


def test_a_view_that_is_made_without_arguments_is_not() -> None:
    router = SimpleRouter()
    router.register("/", Satisfied)
    with TestClient(Application(router=router)) as client:
        assert client.get("/").data == 5


class User:
    name = "ada"


def get_user() -> User:
    return User()


class Repo(Generic[T]):
    def __init__(self, user: Annotated[User, Depends(get_user)], kind: str = "repo") -> None:
        self.user = user
        self.kind = kind


class Of(Generic[T]):
    def __init__(self, user: T) -> None:
        self.user = user
        self.kind = "of"


class Users(Repo[User]):
    pass


@dataclass
class Kept(Generic[T]):
    user: Annotated[User, Depends(get_user)]
    kind: str = "kept"


CLASSES: dict[str, Any] = {
    "class": Repo,
    "generic": Repo[User],
    "generic twice": Repo[list[User]],
    "argument": Of[Annotated[User, Depends(get_user)]],
    "inherited": Users,
    "partial": functools.partial(Repo, kind="repo"),
    "partial of a generic": functools.partial(Repo[User], kind="repo"),
    "dataclass": Kept,
    "generic dataclass": Kept[int],
}


@pytest.mark.parametrize("cls", CLASSES.values(), ids=CLASSES)
def test_a_class_of_any_kind_may_be_a_dependency(cls: Any) -> None:
    def handler(request: Any, it: Annotated[Any, Depends(cls)], again: Annotated[Any, Depends(cls)]) -> Any:
        return [it.user.name, it.kind in ("repo", "of", "kept"), it is again]

    router = SimpleRouter()
    router.get("/")(handler)
    with TestClient(Application(router=router)) as client:
        assert client.get("/").data == ["ada", True, True]


@pytest.mark.parametrize("call", [dict, len, print, Repo[User].__init__, "x", None, Annotated[User, Depends(get_user)]])
def test_what_cannot_be_called_without_more_is_refused(call: Any) -> None:
    def handler(request: Any, it: Annotated[Any, Depends(call)]) -> None: ...

    if call is print:
        SimpleRouter().get("/")(handler)  # all that it takes has defaults
        return
    with pytest.raises(InvalidHandler):
        SimpleRouter().get("/")(handler)


def test_an_inherited_init_is_read_in_its_own_module() -> None:
    import sys
    import types

    source = """
from __future__ import annotations
from typing import Annotated
from dataclasses import dataclass
from aiorest_ws import Depends
class Session: name = "session"
def get_session() -> Session: return Session()
class Base:
    def __init__(self, session: Annotated[Session, Depends(get_session)]): self.session = session
@dataclass
class Fields:
    session: Annotated[Session, Depends(get_session)]
"""
    module = types.ModuleType("elsewhere")
    sys.modules["elsewhere"] = module
    exec(source, module.__dict__)
    try:
        fields: Any = dataclass(type("Child", (module.Fields,), {"__annotations__": {}, "__module__": __name__}))
        plain: Any = type("Child", (module.Base,), {"__module__": __name__})
        router = SimpleRouter()

        @router.get("/")
        def handler(request: Any, a: Annotated[Any, Depends(fields)], b: Annotated[Any, Depends(plain)]) -> Any:
            return [a.session.name, a.session is b.session]

        with TestClient(Application(router=router)) as client:
            assert client.get("/").data == ["session", True]
    finally:
        del sys.modules["elsewhere"]
