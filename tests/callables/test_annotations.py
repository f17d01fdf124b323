"""A dependency is found in whatever way its annotation is written, or refused: never left to the client."""

# Without `from __future__ import annotations`: the sources below say themselves which annotations are strings.

import asyncio
import functools
import sys
import types
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest

from aiorest_ws import Application, Depends, HTTPError, SimpleRouter, endpoint
from aiorest_ws.exceptions import InvalidHandler
from aiorest_ws.testing import TestClient
from aiorest_ws.testing.messages import FORMS
from tests.kit.servers import Server, data, detail
from tests.swapping import Impl

NEW_SYNTAX = sys.version_info >= (3, 12)
log: list[str] = []


@pytest.fixture(autouse=True)
def empty_log() -> None:
    log.clear()


PRELUDE = """
import dataclasses, functools, typing
from typing import *
from typing_extensions import TypeAliasType, Doc, TypedDict
from dataclasses import dataclass
from msgspec import Meta, Struct
from aiorest_ws import Depends, HTTPError, MethodBasedView
T = TypeVar("T")
K = TypeVar("K")

def get_user():
    log.append("user")
    return "ada"

def require_admin():
    log.append("admin")
    return "admin"
"""


def module_of(source: str, *, future: bool = False) -> types.ModuleType:
    """Give a module of `source`."""
    module = types.ModuleType("written")
    module.__dict__["log"] = log
    head = "from __future__ import annotations\n" if future else ""
    sys.modules["written"] = module
    exec(head + PRELUDE + source, module.__dict__)
    return module


def registered(source: str, *, future: bool = False) -> SimpleRouter:
    router = SimpleRouter()
    module = module_of(source, future=future)
    if hasattr(module, "View"):
        router.register("/", module.View, "GET")
    else:
        router.register_endpoint(endpoint("/", "GET")(module.handler))
    return router


# Before `def handler(request, user: User)`: each makes `User` of `get_user`.
ALIASES = {
    "plain": "User = Annotated[str, Depends(get_user)]",
    "string": 'User = "Annotated[str, Depends(get_user)]"',
    "string of an alias": 'Other = Annotated[str, Depends(get_user)]\nUser = "Other"',
    "TypeAliasType": 'User = TypeAliasType("User", Annotated[str, Depends(get_user)])',
    "alias of an alias": 'A = TypeAliasType("A", Annotated[str, Depends(get_user)])\nUser = TypeAliasType("User", A)',
    "alias of a string": "User = TypeAliasType('User', 'Annotated[str, Depends(get_user)]')",
    "generic alias": 'G = TypeAliasType("G", Annotated[T, Depends(get_user)], type_params=(T,))\nUser = G[str]',
    "generic alias of its argument": 'G = TypeAliasType("G", T, type_params=(T,))\n'
    "User = G[Annotated[str, Depends(get_user)]]",
    "generic alias of a generic alias": 'G = TypeAliasType("G", Annotated[T, Depends(get_user)], type_params=(T,))\n'
    'H = TypeAliasType("H", G[T], type_params=(K, T))\nUser = H[int, str]',
    "old generic alias": "G = Annotated[T, Depends(get_user)]\nUser = G[str]",
    "Annotated of an alias": 'A = TypeAliasType("A", Annotated[str, Depends(get_user)])\nUser = Annotated[A, "x"]',
    "NewType": 'User = NewType("User", Annotated[str, Depends(get_user)])',
    "beside other marks": 'User = Annotated[str, Doc("who"), Meta(max_length=9), Depends(get_user), "x", 5]',
}
if NEW_SYNTAX:
    ALIASES |= {
        "type": "type User = Annotated[str, Depends(get_user)]",
        "type before what it says": "type User = Annotated[str, Depends(later)]\ndef later(): return get_user()",
        "type of a type": "type A = Annotated[str, Depends(get_user)]\ntype User = A",
        "generic type": "type G[X] = Annotated[X, Depends(get_user)]\nUser = G[str]",
        "generic type of a generic type": "type G[X] = Annotated[X, Depends(get_user)]\n"
        "type H[Y, X] = G[X]\nUser = H[int, str]",
        "generic type of its argument": "type G[X] = X\ntype User = G[Annotated[str, Depends(get_user)]]",
        "type in a class": "class Types:\n    type User = Annotated[str, Depends(get_user)]\nUser = Types.User",
    }
HANDLERS = {
    "def": "def handler(request, user: User): return user",
    "async def": "async def handler(request, user: User): return user",
    "keyword": "def handler(request, *args, user: User = 'nobody', **kwargs): return user",
    "quoted": "def handler(request, user: 'User'): return user",
    "of a dependency": "def inner(user: User): return user\n"
    "def handler(request, it: Annotated[str, Depends(inner)], **kwargs): return it",
    "of a dependency's default": "def inner(user: User = 'EVIL'): return user\n"
    "def handler(request, it: Annotated[str, Depends(inner)], **kwargs): return it",
    "decorated": "def around(f):\n    @functools.wraps(f)\n    def call(*args, **kwargs): return f(*args, **kwargs)\n"
    "    return call\n@around\ndef handler(request, user: User): return user",
    "of the decorator": "def around(f):\n    @functools.wraps(f, assigned=())\n"
    "    def call(request, *args, user: User, **kwargs): "
    "return f(request, *args) + user\n    return call\n@around\ndef handler(request): return ''",
    "partial": "def whole(x, request, user: User): return user\nhandler = functools.partial(whole, 1)",
    "view": "class View(MethodBasedView):\n    def get(self, request, user: User): return user",
    "static": "class View(MethodBasedView):\n    @staticmethod\n    def get(request, user: User): return user",
    "class of a dependency": "class Given:\n    def __init__(self, user: User): self.user = user\n"
    "def handler(request, it: Annotated[Given, Depends(Given)], **kwargs): return it.user",
    "dataclass": "@dataclass\nclass Given:\n    user: User\n"
    "def handler(request, it: Annotated[Given, Depends(Given)], **kwargs): return it.user",
    "field before the call": "@dataclass\nclass Given:\n    user: dataclasses.InitVar[User]\n    it: str = ''\n"
    "    def __post_init__(self, user): self.it = user\n"
    "def handler(request, it: Annotated[Given, Depends(Given)], **kwargs): return it.it",
}


@pytest.mark.parametrize("future", [False, True], ids=["", "future"])
@pytest.mark.parametrize("handler", HANDLERS.values(), ids=HANDLERS)
@pytest.mark.parametrize("alias", ALIASES.values(), ids=ALIASES)
def test_a_dependency_is_found_behind_every_alias(alias: str, handler: str, future: bool) -> None:
    router = registered(f"{alias}\n{handler}", future=future)
    with TestClient(Application(router=router)) as client:
        assert client.get("/").data == "ada"
        evil = client.get("/", args={"user": "EVIL"})
        assert evil.status in (200, 422)
        assert evil.data in ("ada", None)
        assert "EVIL" not in str(evil)
    assert log == ["user"] * (1 + (evil.status == 200))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["user", "format", "request", "it"])
def test_what_a_client_sends_never_takes_the_place_of_a_dependency(impl: Impl, name: str, form: str) -> None:
    source = f"def handler(request, *args, {name}: Annotated[str, Depends(get_user)], **kwargs): return {name}"
    if name == "request":
        source = "def handler(req, *args, request: Annotated[str, Depends(get_user)], **kwargs): return request"
    with TestClient(Application(router=registered(source)), form=form) as client:
        reply = client.get("/", args={name: "EVIL", "other": 1})
        assert reply.data in ("ada", None)


# Several Depends in one annotation

CHAINS = {
    "Annotated of an alias": "Current = Annotated[str, Depends(get_user)]\n"
    "Admin = Annotated[Current, Depends(require_admin)]",
    "side by side": "Admin = Annotated[str, Depends(get_user), Depends(require_admin)]",
    "TypeAliasType": 'Current = TypeAliasType("Current", Annotated[str, Depends(get_user)])\n'
    'Admin = TypeAliasType("Admin", Annotated[Current, Depends(require_admin)])',
    "generic": "Current = Annotated[T, Depends(get_user)]\nAdmin = Annotated[Current[str], Depends(require_admin)]",
}
if NEW_SYNTAX:
    CHAINS["type"] = (
        "type Current = Annotated[str, Depends(get_user)]\ntype Admin = Annotated[Current, Depends(require_admin)]"
    )


@pytest.mark.parametrize("future", [False, True], ids=["", "future"])
@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_of_several_the_last_gives_the_value_and_all_run(chain: str, future: bool) -> None:
    router = registered(f"{chain}\ndef handler(request, user: Admin): return user", future=future)
    with TestClient(Application(router=router)) as client:
        assert client.get("/").data == "admin"
    assert log == ["user", "admin"]


def test_of_several_one_that_refuses_refuses() -> None:
    source = """
def refuse():
    raise HTTPError(401, "no")
Current = Annotated[str, Depends(refuse)]
Admin = Annotated[Current, Depends(require_admin)]
def inner(user: Admin): return user
def handler(request, user: Annotated[str, Depends(inner)]): return user
"""
    with TestClient(Application(router=registered(source))) as client:
        assert client.get("/").status == 401
    assert log == []


# What is refused

NOWHERE = {
    "Optional": "user: Optional[Annotated[str, Depends(get_user)]] = None",
    "union": "user: Annotated[str, Depends(get_user)] | None = None",
    "Union": "user: Union[int, Annotated[str, Depends(get_user)]]",
    "list": "users: list[Annotated[str, Depends(get_user)]]",
    "List": "users: List[Annotated[str, Depends(get_user)]]",
    "dict": "users: dict[str, Annotated[str, Depends(get_user)]]",
    "tuple": "users: tuple[int, Annotated[str, Depends(get_user)]]",
    "deep": "users: dict[str, list[Optional[Annotated[str, Depends(get_user)]]]]",
    "quoted": "user: Optional['Annotated[str, Depends(get_user)]'] = None",
    "quoted in a list": "user: list['Annotated[str, Depends(get_user)]']",
    "alias": "user: Optional[User] = None",
    "alias of a union": "user: MaybeUser = None",
    "annotated union": "user: Annotated[Optional[User], 'x'] = None",
    "of the path": "user: Optional[User] = None, /",
    "keywords": "**user: User",
    "positions": "*user: User",
    "bound": "user: Bound = None",
    "Literal beside": "user: Union[Literal['User'], User]",
    "TypedDict": "data: Body",
    "list of TypedDict": "data: list[Body]",
    "dataclass": "data: Record",
    "Struct": "data: Packed",
    "field of a field": "data: Outer",
    "default of a type variable": "user: WithDefault = None",
    "type argument of a base": "data: FilledStruct",
    "type argument of a base, a dataclass": "data: FilledRecord",
    "default of a field": "data: Defaulted",
    "default of a Struct": "data: list[DefaultedStruct]",
    "default of an attrs class": "data: DefaultedAttrs",
    "default of a model": "data: DefaultedModel",
    "default of a NamedTuple": "data: DefaultedTuple",
    "another's default of a field": "data: Foreign",
    "list of a field": "data: Listed",
    "list in Annotated": "user: Annotated[str, [Depends(get_user)]]",
    "tuple in Annotated": "user: Annotated[str, (Depends(get_user),)]",
    "dict in Annotated": "user: Annotated[str, {'user': Depends(get_user)}]",
    "text in Annotated": "user: Annotated[str, 'Depends(get_user)']",
    "dict as a default": "user=dict(user=Depends(get_user))",
    "set as a default": "user={Depends(get_user)}",
}
MORE = """
User = TypeAliasType("User", Annotated[str, Depends(get_user)])
MaybeUser = TypeAliasType("MaybeUser", Optional[User])
Bound = TypeVar("Bound", bound=Annotated[str, Depends(get_user)])
class Body(TypedDict):
    user: Annotated[str, Depends(get_user)]
@dataclass
class Record:
    user: Annotated[str, Depends(get_user)]
class Packed(Struct):
    user: Optional[Annotated[str, Depends(get_user)]]
class Outer(Struct):
    inner: list[Packed]
WithDefault = __import__("typing_extensions").TypeVar("WithDefault", default=User)
class GenericStruct(Struct, Generic[T]):
    user: T
class FilledStruct(GenericStruct[User]): pass
@dataclass
class GenericRecord(Generic[T]):
    user: T
@dataclass
class FilledRecord(GenericRecord[User]): pass
@dataclass
class Defaulted:
    user: str = Depends(get_user)
class DefaultedStruct(Struct):
    user: str = Depends(get_user)
@__import__("attrs").define
class DefaultedAttrs:
    user: str = Depends(get_user)
class DefaultedModel(__import__("pydantic").BaseModel):
    user: str = Depends(get_user)
class DefaultedTuple(NamedTuple):
    user: str = Depends(get_user)
class Security:
    def __init__(self, call): pass
@dataclass
class Foreign:
    user: str = Security(get_user)
@dataclass
class Listed:
    user: Annotated[str, [Depends(get_user)]]
"""


@pytest.mark.parametrize("where", ["handler", "view", "dependency", "decorated"])
@pytest.mark.parametrize("parameter", NOWHERE.values(), ids=NOWHERE)
def test_a_depends_that_is_for_nobody_is_refused(parameter: str, where: str) -> None:
    sources = {
        "handler": f"def handler(request, {parameter}): return 1",
        "view": f"class View(MethodBasedView):\n    def get(self, request, {parameter}): return 1",
        "dependency": f"def inner({parameter}): return 1\n"
        "def handler(request, it: Annotated[int, Depends(inner)]): return 1",
        "decorated": f"def inner(request, {parameter}): return 1\n"
        "@functools.wraps(inner)\ndef handler(*args, **kwargs): return inner(*args, **kwargs)",
    }
    for future in (False, True):
        with pytest.raises(InvalidHandler):
            registered(MORE + sources[where], future=future)


UNREADABLE = {
    "handler": "def handler(request, user: 'Nowhere'): return 1",
    "default": "def handler(request, user: 'Nowhere' = 1): return 1",
    "nested": "def handler(request, user: Optional['Nowhere'] = None): return 1",
    "dependency": "def inner(user: 'Nowhere' = 1): return 1\n"
    "def handler(request, it: Annotated[int, Depends(inner)]): return 1",
    "decorated": "def inner(request, user: 'Nowhere' = 1): return 1\n"
    "@functools.wraps(inner)\ndef handler(request, user=2): return 1",
    "keywords": "def handler(request, **kwargs: 'Annotated[Nowhere, Depends(get_user)]'): return 1",
    "request": "def handler(request: 'Annotated[Nowhere, Depends(get_user)]'): return 1",
}


@pytest.mark.parametrize("source", UNREADABLE.values(), ids=UNREADABLE)
def test_an_annotation_that_may_have_a_depends_and_cannot_be_read_is_refused(source: str) -> None:
    with pytest.raises(InvalidHandler, match=r"cannot be resolved: name 'Nowhere' is not defined"):
        registered(source)


def test_what_only_type_checkers_know_may_be_the_type_of_what_is_given_anyway() -> None:
    source = """
if TYPE_CHECKING:
    from aiorest_ws import Request
    from typing import Any as Whatever
def inner(request: Request): return request.url
def handler(req: Request, it: Annotated[str, Depends(inner)], *args: Whatever, **kwargs: Whatever) -> Whatever:
    return it
"""
    with TestClient(Application(router=registered(source, future=True))) as client:
        assert client.get("/").data == "/"


# Markers of others, and a Depends that was forgotten

OTHERS = {
    name: f"class {name}:\n    def __init__(self, *args, **kwargs): pass\nmark = {name}(get_user)"
    for name in (
        "Depends",
        "Security",
        "Header",
        "Query",
        "Cookie",
        "Body",
        "Form",
        "File",
        "Path",
        "Provide",
        "Inject",
    )
} | {
    "function": "mark = get_user",
    "lambda": "mark = lambda: 1",
    "class": "class mark: pass",
    "builtin": "mark = len",
    "partial": "mark = functools.partial(get_user)",
    "instance": "class Callable_:\n    def __call__(self): pass\nmark = Callable_()",
    "class of the marker": "class Provide: pass\nmark = Provide",
    "method": "mark = [].append",
}
PLACES = {
    "Annotated": "def handler(request, user: Annotated[str, mark]): return user",
    "Annotated path": "def handler(request, user: Annotated[str, mark], /): return user",
    "default": "def handler(request, user: str = mark): return user",
    "untyped default": "def handler(request, user=mark): return user",
    "keyword default": "def handler(request, *, user: Any = mark): return user",
    "below": "def handler(request, user: Optional[Annotated[str, mark]] = None): return user",
    "alias": 'A = TypeAliasType("A", Annotated[str, mark])\ndef handler(request, user: A): return user',
    "view": "class View(MethodBasedView):\n    def get(self, request, user: Annotated[str, mark]): return user",
    "view default": "class View(MethodBasedView):\n    def get(self, request, user=mark): return user",
    "dependency": "def inner(user: Annotated[str, mark] = 'x'): return user\n"
    "def handler(request, it: Annotated[str, __import__('aiorest_ws').Depends(inner)]): return it",
    "dependency default": "def inner(user: str = mark): return user\n"
    "def handler(request, it: Annotated[str, __import__('aiorest_ws').Depends(inner)]): return it",
    "decorated": "def inner(request, user: Annotated[str, mark]): return user\n"
    "@functools.wraps(inner)\ndef handler(*args, **kwargs): return inner(*args, **kwargs)",
    "decorated default": "def inner(request, user=mark): return user\n"
    "@functools.wraps(inner)\ndef handler(*args, **kwargs): return inner(*args, **kwargs)",
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_what_somebody_else_would_have_to_read_is_refused(other: str, place: str) -> None:
    with pytest.raises(InvalidHandler, match=r"nobody (reads|calls)"):
        registered(f"{other}\n{place}")


DATA = {
    "text": "user: Annotated[str, 'who it is']",
    "Doc": "user: Annotated[str, Doc('who it is')]",
    "number": "user: Annotated[str, 5, 1.5, None, (1, 2), {'a': 1}]",
    "Meta": "user: Annotated[str, Meta(max_length=3)]",
    "annotated_types": "user: Annotated[str, __import__('annotated_types').MaxLen(3)]",
    "predicate": "user: Annotated[str, __import__('annotated_types').Predicate(str.islower)]",
    "pydantic": "user: Annotated[str, __import__('pydantic').Field(max_length=3)]",
    "validator": "user: Annotated[str, __import__('pydantic').AfterValidator(str.lower)]",
    "skipped": "user: Annotated[Any, __import__('pydantic').SkipValidation]",
    "default of a class that is called so": "user: Query = Query('ada')",
    "type variable without a default": "user: __import__('typing_extensions').TypeVar('X')",
    "list of data": "user: Annotated[str, ['a', ('b',)]]",
}


@pytest.mark.parametrize("parameter", DATA.values(), ids=DATA)
def test_plain_data_and_constraints_stay(parameter: str) -> None:
    source = (
        f"class Query(str, __import__('enum').Enum):\n    ada = 'ada'\ndef handler(request, {parameter}): return user"
    )
    with TestClient(Application(router=registered(source))) as client:
        assert client.get("/", args={"user": "ada"}).data == "ada"


def test_a_dependency_may_have_something_to_call_as_its_default_if_it_says_so() -> None:
    source = """
import time
from collections.abc import Callable as Called
class Clock:
    def __call__(self): return 1
def inner(a: Callable[[], float] = time.time, b: Called = len, c: Optional[Callable] = len, d: type = str,
          e: type[str] = str, f: Clock = Clock()): return f()
def handler(request, it: Annotated[int, Depends(inner)]): return it
"""
    with TestClient(Application(router=registered(source))) as client:
        assert client.get("/").data == 1


# Whatever is called


async def refuse_later(*args: Any) -> str:
    await asyncio.sleep(0)
    raise HTTPError(401, "who are you")


def refuse(*args: Any) -> str:
    raise HTTPError(401, "who are you")


@functools.wraps(refuse)
async def async_around_def() -> str:
    return refuse()


@functools.wraps(refuse_later)
def def_around_async() -> Any:
    return refuse_later()


@functools.wraps(refuse_later)
async def async_without_await() -> Any:
    return refuse_later()


def opened() -> Any:
    yield refuse()


async def opened_later() -> Any:
    yield await refuse_later()


@functools.wraps(opened)
async def async_around_generator() -> Any:
    return opened()


@functools.wraps(refuse)
async def async_around_async_generator() -> Any:
    return opened_later()


class Instance:
    def __call__(self) -> Any:
        return refuse_later()


CALLS: dict[str, Any] = {
    "def": refuse,
    "async def": refuse_later,
    "async around def": async_around_def,
    "def around async": def_around_async,
    "async without await": async_without_await,
    "lambda of async": lambda *args: refuse_later(),
    "lambda of generator": lambda *args: opened(),
    "lambda of async generator": lambda *args: opened_later(),
    "async around generator": async_around_generator,
    "async around async generator": async_around_async_generator,
    "instance": Instance(),
    "method": Instance().__call__,
    "partial": functools.partial(async_around_def),
    "partial of a lambda": functools.partial(lambda x: opened_later(), 1),
    "mock": Mock(side_effect=HTTPError(401, "who are you")),
    "async mock": AsyncMock(side_effect=HTTPError(401, "who are you")),
}


@pytest.mark.parametrize("overridden", [False, True], ids=["", "overridden"])
@pytest.mark.parametrize("threaded", [False, True], ids=["", "threaded"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_what_comes_back_is_awaited_whatever_was_called(
    impl: Impl, call: Any, threaded: bool, overridden: bool
) -> None:
    namespace: dict[str, Any] = {"Depends": Depends, "call": Instance if overridden else call}
    exec(
        "from typing import Annotated\n"
        "def plain(request, user: Annotated[str, Depends(call)]): return user\n"
        "async def later(request, user: Annotated[str, Depends(call)]): return user\n",
        namespace,
    )
    overrides = {Instance: call} if overridden else {}
    routes = [
        endpoint("/plain", "GET", threaded=threaded)(namespace["plain"]),
        endpoint("/later", "GET")(namespace["later"]),
    ]
    server = Server(impl, *routes, threads=in_thread, overrides=overrides)
    assert server.ask("/plain") == detail(401, "who are you")
    assert server.ask("/later") == detail(401, "who are you")
    assert server.reported() == []


async def in_thread(function: Any, *args: Any) -> Any:
    result = await asyncio.to_thread(function, *args)
    return await result if hasattr(result, "__await__") else result


class Pool:
    """Gives itself when it is awaited, as those of asyncpg and redis do."""

    def __await__(self) -> Any:
        yield from asyncio.sleep(0).__await__()
        return self


def test_a_value_that_can_be_awaited_stays_the_value(impl: Impl) -> None:
    pool = Pool()

    async def get_pool() -> Pool:
        return pool

    namespace: dict[str, Any] = {"Depends": Depends, "get_pool": get_pool, "pool": pool}
    exec(
        "from typing import Annotated\n"
        "def handler(request, got: Annotated[object, Depends(get_pool)]): return got is pool\n",
        namespace,
    )
    server = Server(impl, endpoint("/", "GET")(namespace["handler"]))
    assert server.ask("/") == data(True)
