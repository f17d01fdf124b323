"""A guard is read, or refused: whoever wrote it, and wherever. What a client sends takes nobody's place."""

# Without `from __future__ import annotations`: names of a test function could not be read from its text.

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Annotated, Any, Generic, Literal, Protocol, TypedDict, TypeVar, Union

import attrs
import msgspec
import pydantic
import pytest
from typing_extensions import Unpack

from aiorest_ws import Application, Depends, HTTPError, MethodBasedView, Response, SimpleRouter, endpoint
from aiorest_ws.abstract import AbstractMiddleware, AbstractPermission
from aiorest_ws.auth.permissions import IsAuthenticated
from aiorest_ws.exceptions import InvalidHandler
from aiorest_ws.testing import TestClient
from tests.kit.servers import Server
from tests.swapping import Impl

T = TypeVar("T")


def get_user(request: Any) -> str:
    return "ada"


def refuse(request: Any) -> None:
    raise HTTPError(401, "who are you")


User = Annotated[str, Depends(get_user)]
GUARDED: Any = [Depends(refuse)]


class Plain(MethodBasedView):
    def get(self, request: Any) -> str:
        return "in"


def plain(request: Any) -> str:
    return "in"


# Decorators with dependencies of their own


def keyword(function: Any) -> Any:
    @functools.wraps(function)
    def call(request: Any, *args: Any, user: User = "nobody", **kwargs: Any) -> Any:
        return [user, function(request, *args, **kwargs)]

    return call


def required_later(function: Any) -> Any:
    @functools.wraps(function)
    async def call(request: Any, *args: Any, user: "User", **kwargs: Any) -> Any:
        return [user, function(request, *args, **kwargs)]

    return call


def positional(function: Any) -> Any:
    @functools.wraps(function)
    def call(request: Any, user: User, *args: Any, **kwargs: Any) -> Any:
        return [user, function(request, *args, **kwargs)]

    return call


def before_the_path(function: Any) -> Any:
    @functools.wraps(function, assigned=("__name__", "__qualname__"))
    def call(request: Any, user: User, n: Any, **kwargs: Any) -> Any:
        return [user, function(request, n, **kwargs)]

    return call


@pytest.mark.parametrize("decorate", [keyword, required_later, positional, before_the_path])
@pytest.mark.parametrize("twice", [False, True], ids=["", "twice"])
def test_a_decorator_has_dependencies_of_its_own(decorate: Callable[[Any], Any], twice: bool) -> None:
    """`functools.wraps` puts the annotations of the handler in the place of the decorator's."""
    router = SimpleRouter()

    @router.get("/{n}")
    @decorate
    def handler(request: Any, n: Any, q: str = "q") -> Any:
        return [n, q]

    if twice:

        @router.get("/again/{n}")
        @functools.wraps(handler)
        def again(*args: Any, **kwargs: Any) -> Any:
            return handler(*args, **kwargs)

    url = "/again/7" if twice else "/7"
    with TestClient(Application(router)) as client:
        assert client.get(url, args={"q": "x"}).data == ["ada", ["7", "x"]]
        assert "EVIL" not in str(client.get(url, args={"user": "EVIL"}))


def test_the_arguments_of_a_decorator_that_depend_on_nothing_stay_the_clients() -> None:
    def limited(function: Any) -> Any:
        @functools.wraps(function)
        def call(request: Any, *args: Any, limit: int = 5, **kwargs: Any) -> Any:
            return [limit, function(request, *args, **kwargs)]

        return call

    router = SimpleRouter()
    router.get("/")(limited(plain))
    with TestClient(Application(router)) as client:
        assert client.get("/", args={"limit": 7}).data == [7, "in"]


def test_an_annotation_that_is_lost_is_refused() -> None:
    space: dict[str, Any] = {"functools": functools, "plain": plain}
    exec("@functools.wraps(plain)\ndef handler(request, user='nobody', **kwargs): return user", space)  # no source
    with pytest.raises(InvalidHandler, match="parameter 'user' of a decorator of plain cannot be known: functools"):
        SimpleRouter().get("/")(space["handler"])


# Where nobody looks


class Base(MethodBasedView, Generic[T]):
    def get(self, request: Any, user: T = None) -> Any:  # type: ignore[assignment]
        return user


class Filled(Base[User]):
    pass


class FilledFar(Filled):
    pass


class Repository(Generic[T]):
    def __init__(self, user: T = None) -> None:  # type: ignore[assignment]
        self.user = user


class Users(Repository[User]):
    pass


class Attribute(Plain):
    check: Any = Depends(refuse)


class Attributes(Plain):
    checks: Any = (Depends(refuse),)


class Annotation(Plain):
    user: User


class Inherited(Plain, type("Mixin", (), {"__annotations__": {"user": User}})):  # type: ignore[misc]
    pass


class Made(Plain):
    def __init__(self, user: User = "nobody") -> None:
        self.user = user


class Depending(MethodBasedView):
    def get(self, request: Any, user: User = "nobody") -> Any:
        return user


class Passing(Depending):
    def get(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        return super().get(request, *args, **kwargs)


class Fields(TypedDict):
    user: User


def keywords(request: Any, **kwargs: Unpack[Fields]) -> Any:
    return kwargs


def of_users(request: Any, users: Annotated[Any, Depends(Users)]) -> Any:
    return users.user


class Colon(Plain):
    auth_required: True  # type: ignore[valid-type]


class ColonToo(Plain):
    dependencies: "[Depends(refuse)]"  # type: ignore[valid-type]


class ByInit(Plain):
    def __init__(self) -> None:
        self.dependencies = GUARDED


class Middleware:
    async def __call__(self, request: Any, call_next: Any, user: User = "nobody") -> Any:
        return await call_next(request)


class Before:
    def process_request(self, request: Any, handler: Any, user: Any = Depends(get_user)) -> None:  # noqa: B008
        pass


class Allows(AbstractPermission):
    @staticmethod
    def check(request: Any, handler: Any, user: User = "nobody") -> bool:
        return True


def on_connect(connection: Any, user: User = "nobody") -> None:
    pass


def misplaced(request: Any, dependencies: Any = [Depends(refuse)]) -> str:  # noqa: B006, B008
    return "in"


def misplaced_below(request: Any, it: Annotated[Any, Depends(misplaced)]) -> Any:
    return it


class LikeElsewhere(IsAuthenticated):
    def has_permission(self, request: Any, handler: Any) -> bool:
        return False


class LikeElsewhereStatic(IsAuthenticated):
    @staticmethod
    def has_object_permission(request: Any, handler: Any, obj: Any) -> bool:
        return False


class Slip(IsAuthenticated):
    @staticmethod
    def chek(request: Any, handler: Any) -> bool:
        return False


class Called(IsAuthenticated):
    def __call__(self, request: Any, handler: Any) -> bool:
        return False


class Denies(AbstractPermission):
    @staticmethod
    def check(request: Any, handler: Any) -> bool:
        return False


class Looks(AbstractMiddleware):
    def process_request(self, request: Any, handler: Any) -> None:
        raise HTTPError(401)


@endpoint("/", "GET", permission_classes=[Denies])
def guarded_endpoint(request: Any) -> str:
    return "in"


def marked(name: str, value: Any) -> Any:
    def function(request: Any) -> str:
        return "in"

    setattr(function, name, value)
    return function


UNREAD: dict[str, Callable[[SimpleRouter], Any]] = {
    "has_permission": lambda router: router.get("/", permission_classes=[LikeElsewhere])(plain),
    "has_object_permission": lambda router: router.get("/", permission_classes=[LikeElsewhereStatic()])(plain),
    "slip in check": lambda router: router.get("/", permission_classes=[Slip])(plain),
    "permission that is called": lambda router: router.get("/", permission_classes=[Called()])(plain),
    "part of a permission": lambda router: router.get("/", permission_classes=[Denies & LikeElsewhere])(plain),
    "permissions by another name": lambda router: router.register("/", type("V", (Plain,), {"policies": [Denies]})),
    "permission by another name": lambda router: router.register("/", type("V", (Plain,), {"policy": Denies()})),
    "two of them": lambda router: router.register("/", type("V", (Plain,), {"policy": Denies & IsAuthenticated})),
    "keyword with permissions": lambda router: router.get("/", policies=(Denies,))(plain),  # type: ignore[call-arg]
    "middlewares by another name": lambda router: router.register("/", type("V", (Plain,), {"hooks": [Looks]})),
    "middleware by another name": lambda router: router.register("/", type("V", (Plain,), {"hook": Looks()})),
    "Meta": lambda router: router.register("/", type("V", (Plain,), {"Meta": type("Meta", (), {"dependencies": []})})),
    "permissions by verb": lambda router: router.register(
        "/", type("V", (Plain,), {"permission_classes_by_action": {"get": [Denies]}})
    ),
    "process_request of a view": lambda router: router.register(
        "/", type("V", (Plain,), {"process_request": lambda self, request, handler: None})
    ),
    "dispatch of the last mixin": lambda router: router.register(
        "/", type("V", (Plain, type("Mixin", (), {"dispatch": lambda self, request: None})), {})
    ),
    "endpoint in a decorator": lambda router: router.get("/")(functools.wraps(guarded_endpoint)(lambda request: "in")),
    "partial of an endpoint": lambda router: router.get("/")(functools.partial(guarded_endpoint)),
    "set by a decorator": lambda router: router.get("/")(marked("policies", [Denies])),
    "token_required": lambda router: router.register("/", type("V", (Plain,), {"token_required": True})),
    "test_func": lambda router: router.register("/", type("V", (Plain,), {"test_func": lambda self: False})),
    "type argument of a base": lambda router: router.register("/", Filled),
    "type argument of a base's base": lambda router: router.register("/", FilledFar),
    "type argument of a dependency's base": lambda router: router.get("/")(of_users),
    "default of a handler": lambda router: router.get("/")(misplaced),
    "default of a dependency": lambda router: router.get("/")(misplaced_below),
    "attribute": lambda router: router.register("/", Attribute),
    "list as an attribute": lambda router: router.register("/", Attributes),
    "keyword": lambda router: router.get("/", check=Depends(refuse))(plain),  # type: ignore[call-arg]
    "annotation": lambda router: router.register("/", Annotation),
    "annotation of a mixin": lambda router: router.register("/", Inherited),
    "argument of a view": lambda router: router.register("/", Made),
    "hidden by one that passes on": lambda router: router.register("/", Passing),
    "field of keywords": lambda router: router.get("/")(keywords),
    "colon": lambda router: router.register("/", Colon),
    "colon in text": lambda router: router.register("/", ColonToo),
    "given by __init__": lambda router: router.register("/", ByInit),
    "middleware of a route": lambda router: router.get("/", middlewares=[Middleware()])(plain),
    "middleware of a router": lambda router: SimpleRouter(middlewares=[Before]),
    "middleware of an application": lambda router: Application(router, middlewares=[Middleware]),
    "permission": lambda router: router.get("/", permission_classes=[Allows])(plain),
    "exception handler": lambda router: router.exception_handler(KeyError)(
        lambda request, exc, user=Depends(get_user): user  # noqa: B008
    ),
    "on_connect": lambda router: Application(router, on_connect=on_connect),
    "on_startup": lambda router: Application(router, on_startup=[on_connect]),
    "get_dependencies": lambda router: router.register(
        "/", type("View", (Plain,), {"get_dependencies": lambda self: GUARDED})
    ),
    "slip in a peer's word": lambda router: router.get("/", permisions=[])(plain),  # type: ignore[call-arg]
    "class of a router": lambda router: type("Router", (SimpleRouter,), {"dependencies": GUARDED}),
    "class behind a router": lambda router: type(
        "Router", (SimpleRouter, type("Mixin", (), {"middlewares": [Middleware]})), {}
    ),
    "guard of a router's class": lambda router: type("Router", (SimpleRouter,), {"auth_required": True}),
    "class of an application": lambda router: type("App", (Application,), {"middlewares": [Middleware]}),
}


@pytest.mark.parametrize("case", UNREAD.values(), ids=UNREAD)
def test_a_guard_that_nobody_would_read_is_refused(case: Callable[[SimpleRouter], Any]) -> None:
    says = (
        r"for nobody|nobody looks|did you mean|which nobody runs|hides|is hidden by|sets nothing|never called"
        r"|endpoint of / already|stand around"
    )
    with pytest.raises((InvalidHandler, TypeError), match=says):
        case(SimpleRouter())


@pytest.mark.parametrize(
    "bases",
    [
        (Plain, type("Behind", (), {"dependencies": GUARDED})),
        (Plain, type("Behind", (), {"middlewares": [plain]})),
        (type("First", (), {"dependencies": ()}), type("Behind", (), {"dependencies": GUARDED}), Plain),
    ],
)
def test_dependencies_and_middlewares_that_a_base_hides_are_refused(bases: Any) -> None:
    with pytest.raises(InvalidHandler, match="is hidden by that of"):
        SimpleRouter().register("/", type("View", bases, {}))


@pytest.mark.parametrize("name", ["dependencies", "middlewares"])
def test_what_is_set_on_an_endpoint_or_a_router_is_refused(name: str) -> None:
    made = endpoint("/", "GET")(plain)
    vars(made)[name] = GUARDED
    with pytest.raises(InvalidHandler, match=f"'{name}' is set on plain, where nobody looks at it"):
        SimpleRouter().register_endpoint(made)
    with pytest.raises(AttributeError):
        setattr(SimpleRouter(), name, GUARDED)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("auth_required", True),
        ("permission_classes", [Allows]),
        ("dependencies", GUARDED),
        ("middlewares", [plain]),
    ],
)
@pytest.mark.parametrize("included", [False, True], ids=["", "included"])
def test_an_application_does_not_start_with_a_view_that_was_changed_after_its_registration(
    name: str, value: Any, included: bool
) -> None:
    view = type("View", (Plain,), {})
    router = SimpleRouter()
    router.register("/", view)
    setattr(view, name, value)
    if included:
        outer = SimpleRouter()
        try:
            outer.include(router, "/in")
        except InvalidHandler:  # what it says now cannot be
            return
        router = outer
    with (
        pytest.raises(InvalidHandler, match=f"{name} of view View at .* was .* when it was registered"),
        TestClient(Application(router)),
    ):
        pass


def test_an_application_does_not_start_with_a_list_that_grew_or_a_function_that_was_marked_later() -> None:
    permissions: list[Any] = []
    router = SimpleRouter()
    router.register("/", type("View", (Plain,), {"permission_classes": permissions}))
    permissions.append(Allows)
    with pytest.raises(InvalidHandler, match="was"), TestClient(Application(router)):
        pass

    def handler(request: Any) -> None: ...

    for name in ("auth_required", "dependencies"):
        router = SimpleRouter()
        setattr(router.get("/")(handler), name, True)
        with pytest.raises(InvalidHandler, match="is set on"), TestClient(Application(router)):
            pass
        vars(handler).clear()


def test_an_application_does_not_start_with_a_list_that_grew_since_it_was_given() -> None:
    given: list[list[Any]] = [[] for _ in range(5)]
    inner = SimpleRouter(dependencies=given[0], middlewares=given[1])
    inner.get("/")(plain)
    router = SimpleRouter()
    router.include(inner, prefix="/in", dependencies=given[2])
    app = Application(router, dependencies=given[3], middlewares=given[4])
    for each in given:
        each.append(Depends(refuse))
        with pytest.raises(InvalidHandler, match="when they were given"), TestClient(app):
            pass
        each.clear()
    with TestClient(app) as client:
        assert client.get("/in").data == "in"


@pytest.mark.parametrize("owner", [SimpleRouter(), Application(SimpleRouter())], ids=["router", "application"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("permission_classes", [Denies]),
        ("permissions", [Denies]),
        ("auth_required", True),
        ("auth_requierd", True),
        ("login_required", True),
        ("middleware", [Looks]),
        ("dependencies", GUARDED),
    ],
)
def test_a_guard_cannot_be_set_where_nobody_looks_at_it(owner: Any, name: str, value: Any) -> None:
    with pytest.raises(AttributeError, match=name):
        setattr(owner, name, value)


def test_what_applications_and_routers_carry_for_the_program_stays() -> None:
    for owner in (SimpleRouter(), Application(SimpleRouter())):
        owner.auth = SimpleNamespace()  # type: ignore[union-attr]
        owner.database = True  # type: ignore[union-attr]
        owner._permissions = [Denies]  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", [Looks, Looks()], ids=["class", "instance"])
def test_a_middleware_that_is_appended_to_those_of_an_application_runs(kind: Any) -> None:
    router = SimpleRouter()
    router.get("/")(plain)
    app = Application(router)
    app.middlewares.append(kind)
    with TestClient(app) as client:
        assert client.get("/").status == 401


# What a dependency is made of


class Abstract(ABC):
    @abstractmethod
    def get(self) -> str: ...


class Shape(Protocol):
    def get(self) -> str: ...


@contextmanager
def managed(request: Any) -> Iterator[None]:
    refuse(request)
    yield


@asynccontextmanager
async def managed_later(request: Any) -> Any:
    refuse(request)
    yield


NEVER = [
    *(Abstract, Shape, functools.partial(Abstract), Union[int, str], Literal["a"], Any),  # type: ignore[abstract]  # noqa: UP007
    *(functools.partial(managed), functools.partial(functools.partial(managed_later))),
]


@pytest.mark.parametrize("call", NEVER, ids=str)
def test_what_can_never_be_made_is_refused(call: Any) -> None:
    with pytest.raises(InvalidHandler, match=r"cannot be made|is made a context manager"):
        SimpleRouter().get("/", dependencies=[Depends(call)])(plain)


@dataclass
class OfData:
    names: list[str] = field(default_factory=list)


@attrs.define
class OfAttrs:
    names: list[str] = attrs.Factory(list)


class OfMsgspec(msgspec.Struct):
    names: list[str] = []


class OfPydantic(pydantic.BaseModel):
    names: list[str] = pydantic.Field(default_factory=list)


@pytest.mark.parametrize("cls", [OfData, OfAttrs, OfMsgspec, OfPydantic])
def test_a_class_makes_its_own_defaults(cls: Any) -> None:
    router = SimpleRouter()

    @router.get("/")
    def handler(request: Any, it: Annotated[Any, Depends(cls)]) -> Any:
        it.names.append("ada")
        return it.names

    with TestClient(Application(router)) as client:
        assert [client.get("/").data for _ in range(2)] == [["ada"]] * 2


async def refuse_later(request: Any) -> None:
    refuse(request)


def yields(request: Any) -> Any:
    yield refuse_later(request)


async def yields_later(request: Any) -> Any:
    yield refuse_later(request)


@pytest.mark.parametrize("threaded", [False, True], ids=["", "threaded"])
@pytest.mark.parametrize("call", [yields, yields_later])
def test_a_coroutine_that_is_yielded_is_awaited(impl: Impl, call: Any, threaded: bool) -> None:
    server = Server(impl, endpoint("/", "GET", dependencies=[Depends(call)], threaded=threaded)(plain))
    assert server.ask()["detail"] == "who are you"


# The check itself


class Answers:
    """Authenticates, and answers by itself."""

    authenticates = True

    def __init__(self, user: Any) -> None:
        self.user = user

    async def __call__(self, request: Any, call_next: Any) -> Any:
        request.user = self.user
        return Response("cached")


@pytest.mark.parametrize(("user", "status"), [(None, 401), (SimpleNamespace(is_authenticated=True), 200)])
def test_one_that_authenticates_answers_nobody_who_may_not_pass(user: Any, status: int) -> None:
    router = SimpleRouter()
    router.get("/", auth_required=True)(plain)
    with TestClient(Application(router, middlewares=[Answers(user)])) as client:
        assert client.get("/").status == status


class Raises(AbstractPermission):
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def check(self, request: Any, handler: Any) -> bool:  # type: ignore[override]
        raise self.error


class RaisesLater(Raises):
    async def check(self, request: Any, handler: Any) -> bool:  # type: ignore[override]
        raise self.error


@pytest.mark.parametrize("kind", [Raises, RaisesLater])
@pytest.mark.parametrize(
    ("errors", "status"), [([HTTPError(404)], 404), ([HTTPError(404), ValueError()], 403), ([ValueError()], 403)]
)
def test_an_error_that_is_alone_in_a_group_is_the_answer(kind: Any, errors: list[Exception], status: int) -> None:
    router = SimpleRouter()
    router.get("/", permission_classes=[kind(ExceptionGroup("of tasks", errors))])(plain)
    with TestClient(Application(router)) as client:
        assert client.get("/").status == status


# What is a permission's own, or a view's


class ByMethod(AbstractPermission):
    def check(self, request: Any, handler: Any) -> bool:  # type: ignore[override]
        return self.has_permission(request)

    def has_permission(self, request: Any) -> bool:
        return False


class Fills(ByMethod):
    def has_permission(self, request: Any) -> bool:
        return True


class ForBoth(AbstractPermission):
    @staticmethod
    def check(request: Any, handler: Any) -> bool:
        return True

    def has_permission(self, request: Any, view: Any) -> bool:
        return True


class OfItsOwn(Plain):
    class Named(AbstractPermission):
        @staticmethod
        def check(request: Any, handler: Any) -> bool:
            return True

    permission_classes = (Fills(), ForBoth, Named)
    _all_of_them = (Denies,)
    required_scopes = ("read",)
    Config = type("Config", (), {"title": "x"})


def test_what_permissions_and_views_have_for_themselves_stays() -> None:
    router = SimpleRouter()
    router.register("/", OfItsOwn)
    with TestClient(Application(router)) as client:
        assert client.get("/").data == "in"
