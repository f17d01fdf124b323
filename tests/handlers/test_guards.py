"""Who gets past `auth_required` and permissions, when they are asked, and which guards would guard nothing."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import Future
from itertools import product
from types import SimpleNamespace
from typing import Annotated, Any

import pytest

from aiorest_ws import Application, HTTPError, MethodBasedView, SimpleRouter, endpoint
from aiorest_ws.abstract import AbstractPermission
from aiorest_ws.auth.permissions import HasScope, IsAuthenticated
from aiorest_ws.auth.user.models import User
from aiorest_ws.dependencies import Depends
from aiorest_ws.exceptions import InvalidHandler, NotAuthenticated
from aiorest_ws.testing import TestClient
from tests.kit.servers import Server, data, detail, get
from tests.swapping import Impl

UNKNOWN = detail(401, "Authentication is required.")
DENIED = detail(403, "Permission denied: user doesn't have enough rights.")

ADA = {"as": "ada"}


class Login:
    """Makes `request.user` of the key `as` of a message."""

    authenticates = True

    def __init__(self, users: dict[str, Any] | None = None) -> None:
        self.users = {"ada": User(id=1, is_user=True)} if users is None else users

    def process_request(self, request: Any, handler: Any) -> None:
        request.user = self.users.get(request.get_extra("as"))


class LoginLater(Login):
    async def process_request(self, request: Any, handler: Any) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        super().process_request(request, handler)


class LoginAround:
    authenticates = True

    async def __call__(self, request: Any, call_next: Any) -> Any:
        Login().process_request(request, None)
        return await call_next(request)


# What a check gives


def nothing(*args: Any) -> Any: ...


def generates(*args: Any) -> Any:
    yield True


async def generates_later() -> Any:
    yield True


async def gives(value: Any) -> Any:
    return value


class Resolved:
    """What can be awaited, and is no coroutine."""

    def __await__(self) -> Any:
        yield from asyncio.sleep(0).__await__()
        return True


class Truthy:
    def __bool__(self) -> bool:
        return True


NO_ANSWERS: dict[str, Callable[[], Any]] = {
    "bound method": lambda: User().is_authenticated,
    "function": lambda: nothing,
    "class": lambda: User,
    "tuple": lambda: (True, "why"),
    "list": lambda: [True],
    "one": lambda: 1,
    "zero": lambda: 0,
    "text": lambda: "yes",
    "empty text": lambda: "",
    "truthy": Truthy,
    "future of a pool": Future,
    "generator": generates,
    "asynchronous generator": generates_later,
    "coroutine that gives a coroutine": lambda: gives(gives(True)),
    "coroutine that gives a method": lambda: gives(User().is_authenticated),
    "coroutine that gives a tuple": lambda: gives((True,)),
    "NotImplemented": lambda: NotImplemented,
    "user": lambda: User(is_user=True),
}


class Gives(AbstractPermission):
    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make

    def check(self, request: Any, handler: Any) -> Any:  # type: ignore[override]
        return self.make()


YES, NO = Gives(lambda: True), Gives(lambda: False)
LATER = Gives(lambda: gives(True))
COMPOSED: dict[str, Callable[[Any], Any]] = {
    "alone": lambda p: p,
    "and": lambda p: YES & p,
    "and before": lambda p: p & YES,
    "or": lambda p: NO | p,
    "or before": lambda p: p | YES,
    "not": lambda p: ~p,
    "not not": lambda p: ~~p,
    "later": lambda p: LATER & p,
    "nested": lambda p: ~(LATER & ~p),
}


@pytest.mark.parametrize("around", COMPOSED)
@pytest.mark.parametrize("name", NO_ANSWERS)
def test_what_is_no_answer_lets_nobody_in_and_is_reported_once(impl: Impl, name: str, around: str) -> None:
    """H1."""
    permission = COMPOSED[around](Gives(NO_ANSWERS[name]))
    called: list[Any] = []
    server = Server(impl, get(called.append, permission_classes=[permission]))
    assert server.ask() == DENIED
    assert server.reported() == [TypeError]
    assert called == []


@pytest.mark.parametrize("answer", [lambda: True, lambda: gives(True), Resolved], ids=["now", "later", "awaitable"])
def test_true_lets_in_at_once_or_awaited(impl: Impl, answer: Callable[[], Any]) -> None:
    """H1."""
    for around in set(COMPOSED) - {"not"}:
        server = Server(impl, get(lambda request: "in", permission_classes=[COMPOSED[around](Gives(answer))]))
        assert server.ask() == data("in"), around
        assert server.reports == []


# Who is somebody


class Person:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class Fails(Person):
    is_authenticated = True

    @property
    def is_active(self) -> bool:
        return bool(self.profile.is_active)  # type: ignore[attr-defined]


class FailsToo(Person):
    @property
    def is_authenticated(self) -> bool:
        raise LookupError("no database")


USERS: dict[str, tuple[Callable[[], Any], bool, int]] = {
    "nobody": (lambda: None, False, 0),
    "flag": (lambda: Person(is_authenticated=True), True, 0),
    "method": (lambda: Person(is_authenticated=lambda: True), True, 0),
    "no": (lambda: Person(is_authenticated=False), False, 0),
    "method that says no": (lambda: Person(is_authenticated=lambda: False), False, 0),
    "no flag": (Person, False, 0),
    "coroutine function": (lambda: Person(is_authenticated=lambda: gives(True)), False, 1),
    "coroutine function that says no": (lambda: Person(is_authenticated=lambda: gives(False)), False, 1),
    "method that gives a method": (lambda: Person(is_authenticated=lambda: lambda: True), False, 1),
    "text": (lambda: Person(is_authenticated="yes"), False, 1),
    "property that fails": (FailsToo, False, 1),
    "active": (lambda: Person(is_authenticated=True, is_active=True), True, 0),
    "active method": (lambda: Person(is_authenticated=True, is_active=lambda: True), True, 0),
    "active in a database": (lambda: Person(is_authenticated=True, is_active=1), True, 0),
    "inactive": (lambda: Person(is_authenticated=True, is_active=False), False, 0),
    "inactive method": (lambda: Person(is_authenticated=True, is_active=lambda: False), False, 0),
    "some other state": (lambda: Person(is_authenticated=True, is_active=2), False, 1),
    "inactive in a database": (lambda: Person(is_authenticated=True, is_active=0), False, 0),
    "neither": (lambda: Person(is_authenticated=True, is_active=None), False, 0),
    "active later": (lambda: Person(is_authenticated=True, is_active=lambda: gives(True)), False, 1),
    "active text": (lambda: Person(is_authenticated=True, is_active="no"), False, 1),
    "active property that fails": (Fails, False, 1),
    "ours": (lambda: User(is_user=True), True, 0),
    "ours, inactive": (lambda: User(is_user=True, is_active=False), False, 0),
    "ours, anonymous": (User, False, 0),
}


@pytest.mark.parametrize("keywords", [{"auth_required": True}, {"permission_classes": [IsAuthenticated]}], ids=str)
@pytest.mark.parametrize("name", USERS)
def test_a_user_is_somebody_who_is_authenticated_and_active(impl: Impl, name: str, keywords: dict[str, Any]) -> None:
    """H1, H11, H16."""
    make, passes, reports = USERS[name]
    server = Server(impl, get(lambda request: "in", **keywords), middlewares=[Login({"x": make()})])
    assert server.ask(**{"as": "x"}) == (data("in") if passes else UNKNOWN)
    assert len(server.reports) == reports


ANONYMOUS: list[tuple[Any, dict[str, Any]]] = [
    (IsAuthenticated, UNKNOWN),
    (IsAuthenticated(), UNKNOWN),
    (IsAuthenticated & HasScope("a"), UNKNOWN),
    (YES & IsAuthenticated, UNKNOWN),
    (NO & IsAuthenticated, DENIED),
    (IsAuthenticated | HasScope("a"), UNKNOWN),
    (HasScope("a") | IsAuthenticated, UNKNOWN),
    (LATER & (NO | IsAuthenticated), UNKNOWN),
    (IsAuthenticated | YES, data("in")),
    (~IsAuthenticated, data("in")),
    (~(IsAuthenticated & YES), data("in")),
    (~~IsAuthenticated, DENIED),
    (~IsAuthenticated & NO, DENIED),
    (HasScope("a"), DENIED),
    (NO | NO, DENIED),
    (~YES, DENIED),
]


@pytest.mark.parametrize(("permission", "reply"), ANONYMOUS, ids=[repr(p) for p, _ in ANONYMOUS])
def test_who_is_nobody_is_told_to_log_in_where_that_would_help(impl: Impl, permission: Any, reply: Any) -> None:
    """H16."""
    server = Server(impl, get(lambda request: "in", permission_classes=[permission]))
    assert server.ask() == reply
    assert server.reports == []


def test_a_permission_has_its_own_refusal(impl: Impl) -> None:
    class Member(Gives):
        refusal = NotAuthenticated

    for permission in (Member(lambda: False), YES & Member(lambda: None), Member(lambda: gives(False)) | NO):
        assert Server(impl, get(lambda request: "in", permission_classes=[permission])).ask() == UNKNOWN


# Permissions have no truth value


@pytest.mark.parametrize(
    "combine",
    [
        lambda: HasScope("admin") and IsAuthenticated,
        lambda: IsAuthenticated and HasScope("admin"),  # type: ignore[truthy-function]
        lambda: IsAuthenticated or HasScope("admin"),  # type: ignore[truthy-function]
        lambda: not IsAuthenticated,  # type: ignore[truthy-function]
        lambda: not HasScope("admin"),
        lambda: (HasScope("a") & IsAuthenticated) and YES,
        lambda: 1 if IsAuthenticated else 2,  # type: ignore[truthy-function]
        lambda: any([IsAuthenticated, HasScope("a")]),
        lambda: all([HasScope("a"), IsAuthenticated]),
        lambda: list(filter(None, [HasScope("a")])),
        lambda: bool(YES),
    ],
)
def test_permissions_have_no_truth_value(combine: Callable[[], Any]) -> None:
    """H2."""
    with pytest.raises(TypeError, match="has no truth value: combine permissions with `&`"):
        combine()


# What is no permission


class Plain(MethodBasedView):
    def get(self, request: Any) -> str:
        return "in"


def refused(**members: Any) -> str:
    """Give why a view with `members` is refused."""
    with pytest.raises(InvalidHandler) as info:
        SimpleRouter().register("/", type("View", (Plain,), members), "GET")
    return str(info.value)


class Named(AbstractPermission):
    def __init__(self, role: str) -> None:
        self.role = role

    @staticmethod
    def check(request: Any, handler: Any) -> bool:
        return True


class HappensToBind(AbstractPermission):
    def check(self, request: Any, handler: Any = None) -> bool:  # type: ignore[override]
        return True


class Unbound:
    def check(request: Any, handler: Any) -> bool:
        return True


class TakesAnything:
    def check(*args: Any, **kwargs: Any) -> bool:
        return True


class StaticSelf:
    @staticmethod
    def check(self: Any, request: Any, handler: Any = None) -> bool:  # noqa: PLW0211
        return True


class TooMany:
    @staticmethod
    def check(request: Any, handler: Any, more: Any) -> bool:
        return True


class TooFew:
    @staticmethod
    def check(request: Any) -> bool:
        return True


class KeywordOnly:
    @staticmethod
    def check(request: Any, *, handler: Any) -> bool:
        return True


class Yields:
    @staticmethod
    def check(request: Any, handler: Any) -> Any:
        yield True


class YieldsLater:
    @staticmethod
    async def check(request: Any, handler: Any) -> Any:
        yield True


class Abstract(AbstractPermission):
    pass


NO_PERMISSIONS: dict[str, tuple[Any, str]] = {
    "class that needs an argument": (HasScope, "give an instance of it"),
    "class with a static check that needs an argument": (Named, "give an instance of it"),
    "check that happens to bind": (HappensToBind, "would take the request as `self`"),
    "check without self": (Unbound, "is no static method"),
    "check that takes anything": (TakesAnything, "is no static method"),
    "static check with self": (StaticSelf, "would take the request as `self`"),
    "instance of that": (StaticSelf(), "would take the request as `self`"),
    "instance of a check without self": (Unbound(), "cannot be asked with check(request, handler)"),
    "too many": (TooMany, "cannot be asked with check(request, handler)"),
    "too few": (TooFew(), "cannot be asked with check(request, handler)"),
    "keyword-only": (KeywordOnly, "cannot be asked with check(request, handler)"),
    "generator": (Yields, "must return its answer"),
    "asynchronous generator": (YieldsLater(), "must return its answer"),
    "abstract": (Abstract, "no method 'check' of its own"),
    "base": (AbstractPermission, "no method 'check' of its own"),
    "function": (nothing, "derive a class from AbstractPermission"),
    "lambda": (lambda request, handler: True, "derive a class from AbstractPermission"),
    "partial": (functools.partial(nothing, 1), "derive a class from AbstractPermission"),
    "callable instance": (type("Callable", (), {"__call__": nothing})(), "derive a class from AbstractPermission"),
    "text": ("IsAuthenticated", "derive a class from AbstractPermission"),
    "check that is none": (SimpleNamespace(check=True), "must have a method 'check'"),
}


@pytest.mark.parametrize("name", NO_PERMISSIONS)
def test_what_is_no_permission_is_refused(name: str) -> None:
    """H3: alone, and as part of another."""
    permission, text = NO_PERMISSIONS[name]
    assert text in refused(permission_classes=[permission])
    assert text in refused(permission_classes=(YES, permission))
    with pytest.raises(InvalidHandler) as info:
        SimpleRouter().register_endpoint(endpoint("/", "GET", permission_classes=[permission])(nothing))
    assert text in str(info.value)
    for combine in (lambda: IsAuthenticated & permission, lambda: permission | YES, lambda: ~(YES & permission)):
        with pytest.raises(TypeError) as raised:
            combine()
        assert text in str(raised.value)


@pytest.mark.parametrize(
    "permissions",
    [None, "admin", IsAuthenticated, YES, (p for p in [YES]), iter([YES]), {"a": YES}, property(lambda self: [YES])],
    ids=str,
)
def test_permissions_are_a_list_or_a_tuple(permissions: Any) -> None:
    """What can be gone through once only would guard the first verb, and no other."""
    assert "must be a list or a tuple" in refused(permission_classes=permissions)


@pytest.mark.parametrize("value", [None, 1, 0, "yes", "", [], property(lambda self: True), lambda self: True], ids=str)
def test_auth_required_is_true_or_false(value: Any) -> None:
    assert "must be True or False" in refused(auth_required=value)


# Guards that would guard nothing


class Closed:
    auth_required = True


class Scoped:
    permission_classes = (HasScope("a"),)


class ScopedToo:
    permission_classes = (HasScope("b"),)


class Opened:
    auth_required = False


class ByProperty:
    @property
    def permission_classes(self) -> Any:
        return [YES]


class ClosedBase(MethodBasedView):
    auth_required = True
    permission_classes = (YES,)


HIDDEN: dict[str, tuple[Any, ...]] = {
    "user behind the view": (Plain, Closed),
    "permissions behind the view": (Plain, Scoped),
    "property behind the view": (Plain, ByProperty),
    "behind another": (Opened, Closed, Plain),
    "one of two": (Scoped, ScopedToo, Plain),
    "far behind": (Plain, type("Between", (Closed,), {})),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_a_guard_that_a_base_hides_is_refused(name: str) -> None:
    """H5."""
    with pytest.raises(InvalidHandler, match="is hidden by that of"):
        SimpleRouter().register("/", type("View", HIDDEN[name], {}), "GET")


@pytest.mark.parametrize(
    ("bases", "members"),
    [
        ((Closed, Plain), {}),
        ((Scoped, Closed, Plain), {}),
        ((Plain, Closed), {"auth_required": True}),
        ((Plain, Opened), {}),
        ((Closed, Opened, Plain), {}),
        ((Plain, Scoped), {"permission_classes": [*Scoped.permission_classes, YES]}),
        ((ClosedBase,), {"get": nothing}),
        ((ClosedBase,), {"get": nothing, "auth_required": False, "permission_classes": ()}),
    ],
    ids=str,
)
def test_a_guard_that_counts_is_none_that_is_hidden(bases: Any, members: dict[str, Any]) -> None:
    """A subclass that says otherwise than its base says what it means."""
    SimpleRouter().register("/", type("View", bases, members), "GET")


def marked(**marks: Any) -> Any:
    def get(self: Any, request: Any) -> str:
        return "in"

    vars(get).update(marks)
    return get


def wrapping(function: Any) -> Any:
    @functools.wraps(function, updated=())
    def get(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return get


@pytest.mark.parametrize("marks", [{"auth_required": True}, {"permission_classes": [YES]}], ids=str)
def test_a_guard_on_a_method_is_refused(marks: dict[str, Any]) -> None:
    """H5: set by a decorator, say."""
    for function in (marked(**marks), wrapping(marked(**marks)), functools.partialmethod(marked(**marks))):
        assert f"{next(iter(marks))} is set on" in refused(get=function)
    assert "is set on" in refused(dispatch=marked(**marks))
    for function in (marked(**marks), wrapping(marked(**marks))):
        router = SimpleRouter()
        with pytest.raises(InvalidHandler, match="is set on"):
            router.register_endpoint(endpoint("/", "GET")(function))
        with pytest.raises(InvalidHandler, match="is set on"):
            router.get("/")(function)
    made = endpoint("/", "GET")(plain)
    vars(made).update(marks)  # by a decorator above that one
    with pytest.raises(InvalidHandler, match="is set on"):
        SimpleRouter().register_endpoint(made)
    SimpleRouter().register("/", type("View", (Plain,), {"get": marked(**marks), **marks}), "GET")


class ByInit(Plain):
    def __init__(self) -> None:
        self.permission_classes = [YES]


class BySetattr(Plain):
    def __init__(self) -> None:
        setattr(self, "auth_required", True)  # noqa: B010


class ByDict(Plain):
    def __init__(self) -> None:
        self.__dict__.update(auth_required=True)


class BySetUp(Plain):
    def __init__(self) -> None:
        self.set_up()

    def set_up(self) -> None:
        self.auth_required = True


class ByGetattr(Plain):
    def __getattr__(self, name: str) -> Any:
        return [YES] if name == "permission_classes" else None


class ByGetattribute(Plain):
    def __getattribute__(self, name: str) -> Any:
        return name == "auth_required" or super().__getattribute__(name)


class ByNew(Plain):
    def __new__(cls) -> Any:
        instance = super().__new__(cls)
        instance.auth_required = True
        return instance


class ByHook(Plain):
    def get_permissions(self) -> list[Any]:
        return [YES]


class ByMixin(Plain, type("Mixin", (), {"check_permissions": lambda self, request: None})):  # type: ignore[misc]
    pass


BY_INSTANCE = (ByInit, BySetattr, ByDict, BySetUp, ByGetattr, ByGetattribute, ByNew, ByHook, ByMixin)


@pytest.mark.parametrize("view", BY_INSTANCE)
def test_a_guard_that_an_instance_gives_itself_is_refused(view: Any) -> None:
    """H5."""
    for cls in (view, type("Below", (view,), {})):
        with pytest.raises(InvalidHandler, match=r"where nobody looks at it|did you mean 'permission_classes'"):
            SimpleRouter().register("/", cls, "GET")


class Late(Plain):
    auth_required = False

    def get(self, request: Any) -> str:
        setattr(self, request.args["name"], True)
        return "in"


@pytest.mark.parametrize("name", ["auth_required", "permission_classes"])
def test_a_guard_of_an_instance_is_an_error(impl: Impl, name: str) -> None:
    server = Server(
        impl, ("/", type("View", (Late,), {"get": lambda self, request, name: setattr(self, name, 1)}), "GET")
    )
    assert server.ask(args={"name": name})["status"] == 500
    assert server.reported() == [AttributeError]
    assert server.ask(args={"name": "other"})["status"] == 200


def test_a_view_may_have_methods_and_instances_of_its_own() -> None:
    class View(Plain):
        def __init__(self) -> None:
            self.seen = {"get": 1}.get("get")

        def get(self, request: Any) -> Any:
            return {"auth_required": self.auth_required, "seen": self.seen}

    router = SimpleRouter()
    router.register("/", View, "GET")
    with TestClient(Application(router=router)) as client:
        assert client.get("/").data == {"auth_required": False, "seen": 1}


# When they are asked


class Cached:
    """Answers by itself."""

    def __init__(self, log: list[str] | None = None) -> None:
        self.log = [] if log is None else log

    async def __call__(self, request: Any, call_next: Any) -> Any:
        self.log.append("cache")
        return "cached"


class Passing:
    def __init__(self, log: list[str], name: str) -> None:
        self.log, self.name = log, name

    def process_request(self, request: Any, handler: Any) -> None:
        self.log.append(self.name)


class PassingAround:
    def __init__(self, log: list[str], name: str) -> None:
        self.log, self.name = log, name

    async def __call__(self, request: Any, call_next: Any) -> Any:
        self.log.append(self.name)
        return await call_next(request)


def db() -> str:
    return "db"


def plain(request: Any) -> str:
    return "in"


async def later(request: Any) -> str:
    await asyncio.sleep(0)
    return "in"


def depending(request: Any, db: Annotated[str, Depends(db)]) -> str:
    return "in"


HANDLERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "plain": (plain, {}),
    "async": (later, {}),
    "dependency": (depending, {}),
    "threaded": (plain, {"threaded": True}),
    "threaded dependency": (depending, {"threaded": True}),
}
LEVELS = ("application", "router", "view")
LOGINS = {"before": Login, "later": LoginLater, "around": LoginAround}
GUARDS: dict[str, dict[str, Any]] = {
    "user": {"auth_required": True},
    "permission": {"permission_classes": [IsAuthenticated]},
    "both": {"auth_required": True, "permission_classes": [LATER, IsAuthenticated]},
}


def levels(at: dict[str, list[Any]], guards: dict[str, dict[str, Any]]) -> tuple[Application, list[str]]:
    """Give an application with the middlewares of `at` on each level, and the url of each kind of handler and guard."""
    inner, outer = SimpleRouter(middlewares=at.get("router", ())), SimpleRouter()
    urls = []
    for number, ((function, keywords), asked) in enumerate(product(HANDLERS.values(), guards.values())):
        urls.append(f"/{number}")
        make = endpoint(urls[-1], "GET", middlewares=at.get("view", ()), **keywords, **asked)
        inner.register_endpoint(make(function))
    outer.include(inner)
    return Application(router=outer, middlewares=at.get("application", ())), urls


@pytest.mark.parametrize("login", LOGINS)
@pytest.mark.parametrize(("who", "what"), [(who, what) for who in LEVELS for what in LEVELS])
def test_nobody_gets_what_a_middleware_answers_by_itself(who: str, what: str, login: str) -> None:
    """H4: wherever the two stand, also where the one that answers does not know who asks."""
    log: list[str] = []
    at: dict[str, list[Any]] = {}
    at.setdefault(who, []).append(LOGINS[login]())
    at.setdefault(what, []).append(Cached(log))
    app, urls = levels(at, GUARDS)
    with TestClient(app) as client:
        for url in urls:
            log.clear()
            assert client.get(url).status == 401
            assert log == ["cache"] * (LEVELS.index(what) < LEVELS.index(who))
            assert client.get(url, **ADA).data == "cached"


def test_who_answers_before_the_user_is_known_is_held_back(impl: Impl) -> None:
    for middlewares in ([Cached(), Login()], [Cached(), LoginAround()], [Login(), Cached()]):
        server = Server(
            impl,
            get(plain, "/closed", auth_required=True),
            get(plain, "/open"),
            get(plain, "/no", permission_classes=[NO]),
            middlewares=middlewares,
        )
        assert server.ask("/closed") == UNKNOWN
        assert server.ask("/closed", **ADA) == data("cached")
        assert server.ask("/open") == data("cached")
        assert server.ask("/no", **ADA) == DENIED


def test_who_answers_where_nobody_authenticates_is_held_back(impl: Impl) -> None:
    server = Server(impl, get(plain, permission_classes=[NO]), middlewares=[Cached()])
    assert server.ask() == DENIED


class Asks(AbstractPermission):
    def __init__(self, log: list[str]) -> None:
        self.log = log

    def check(self, request: Any, handler: Any) -> Any:  # type: ignore[override]
        self.log.append("asked")
        return gives(True)


@pytest.mark.parametrize("login", LOGINS)
@pytest.mark.parametrize("passing", [Passing, PassingAround])
def test_they_are_asked_as_soon_as_the_user_is_known(passing: Any, login: str) -> None:
    """H4: behind the last middleware that authenticates, before all others."""
    log: list[str] = []
    guards = {"both": {"permission_classes": [Asks(log)], "auth_required": True}}

    def order(**at: list[Any]) -> list[str]:
        app, urls = levels(at, guards)
        orders = []
        with TestClient(app) as client:
            for url in urls:
                log.clear()
                assert client.get(url, **ADA).data == "in"
                orders.append(list(log))
        assert orders == orders[:1] * len(HANDLERS)
        return orders[0]

    first, second = passing(log, "first"), passing(log, "second")
    known = LOGINS[login]
    assert order(application=[first, known(), second]) == ["first", "asked", "second"]
    assert order(application=[known(), first, known(), second]) == ["first", "asked", "second"]
    assert order(application=[known()], router=[first], view=[second]) == ["asked", "first", "second"]
    assert order(application=[first], router=[known(), second]) == ["first", "asked", "second"]
    assert order(application=[known(), first], view=[known(), second]) == ["first", "asked", "second"]
    assert order(application=[first, second], view=[known()]) == ["first", "second", "asked"]


class SetsUser:
    def process_request(self, request: Any, handler: Any) -> None:
        request.user = User(is_user=True)


async def sets_user(request: Any, call_next: Any) -> Any:
    request.user = User(is_user=True)
    return await call_next(request)


@pytest.mark.parametrize("sets", [SetsUser, sets_user])
def test_where_nobody_authenticates_they_are_asked_behind_all_middlewares(sets: Any) -> None:
    log: list[str] = []
    at = {"application": [Passing(log, "first"), sets], "router": [Passing(log, "second")]}
    app, urls = levels(at, {"both": {"permission_classes": [IsAuthenticated, Asks(log)]}})
    with TestClient(app) as client:
        for url in urls:
            log.clear()
            assert client.get(url).data == "in"
            assert log == ["first", "second", "asked"]


@pytest.mark.parametrize("passing", [Passing, PassingAround])
def test_who_may_not_pass_meets_no_middleware_behind(passing: Any) -> None:
    log: list[str] = []
    at = {"application": [Login(), passing(log, "behind")]}
    app, urls = levels(at, {"no": {"permission_classes": [NO]}})
    with TestClient(app) as client:
        for url in urls:
            assert client.get(url, **ADA).status == 403
    assert log == []


def test_a_middleware_may_answer_a_refusal_that_it_has_seen(impl: Impl) -> None:
    async def mends(request: Any, call_next: Any) -> Any:
        try:
            return await call_next(request)
        except NotAuthenticated:
            raise HTTPError(404, "nothing here") from None

    server = Server(impl, get(plain, auth_required=True), middlewares=[mends, Login()])
    assert server.ask() == detail(404, "nothing here")


# Path parameters


class IsOwner(AbstractPermission):
    @staticmethod
    def check(request: Any, handler: Any) -> bool:
        return bool(request.path_params["owner"] == request.get_extra("as"))


def test_permissions_see_path_parameters(impl: Impl) -> None:
    """H16."""
    server = Server(impl, get(lambda request, owner: owner, "/of/{owner}", permission_classes=[IsOwner]))
    assert server.ask("/of/ada", **ADA) == data("ada")
    assert server.ask("/of/ada", **{"as": "bob"}) == DENIED


def path_params(request: Any) -> Any:
    return request.path_params


def test_path_parameters_are_seen_everywhere_as_the_template_names_them(impl: Impl) -> None:
    seen: list[Any] = []

    class Looks:
        def process_request(self, request: Any, handler: Any) -> None:
            seen.append(request.path_params)

    def handler(request: Any, number: Any, rest: Any, given: Annotated[Any, Depends(path_params)]) -> Any:
        return [dict(request.path_params), dict(given), request.path_params is request.path_params]

    server = Server(
        impl, get(handler, "/{number:int}/{rest:path}"), get(lambda r: dict(r.path_params), "/"), middlewares=[Looks()]
    )
    expected = {"number": 7, "rest": "a/b"}
    assert server.ask("/7/a/b", path_params={"number": 8}) == data([expected, expected, True])
    assert server.ask("/", path_params={"number": 8}) == data({})
    assert [dict(params) for params in seen] == [expected, {}]
    with pytest.raises(TypeError):
        seen[0]["number"] = 8


def test_path_parameters_are_read_only_and_empty_before_routing(impl: Impl) -> None:
    request = impl.wrappers.wrap({"path_params": {"a": 1}}, 0, None)
    assert dict(request.path_params) == {}
    assert request.extra == {"path_params": {"a": 1}}
    with pytest.raises(AttributeError):
        request.path_params = {}


# Scopes


@pytest.mark.parametrize(
    ("payload", "keywords", "passes"),
    [
        ({"scope": "read write"}, {}, True),
        ({"scope": ["read", "write"]}, {}, True),
        ({"scp": "write read"}, {}, True),
        ({"scp": ["read", "write"]}, {}, True),
        ({"permissions": ["write", "read"]}, {}, True),
        ({"permissions": "read write"}, {}, True),
        ({"permissions": ("read", "write")}, {}, True),
        ({"scope": "openid read", "permissions": ["write"]}, {}, True),
        ({"scope": "read"}, {}, False),
        ({"scope": "readwrite"}, {}, False),
        ({"scp": {"read": 1, "write": 1}}, {}, False),
        ({"scp": 5, "permissions": None}, {}, False),
        ({"permissions": [["read", "write"]]}, {}, False),
        ({"roles": ["read", "write"]}, {}, False),
        ({"roles": ["read", "write"]}, {"claims": ["roles"]}, True),
        ({"scope": "read write"}, {"claims": ("roles",)}, False),
        ({}, {}, False),
        (None, {}, False),
    ],
)
def test_scopes_are_looked_for_in_claims(payload: Any, keywords: dict[str, Any], passes: bool) -> None:
    """H16."""
    request: Any = SimpleNamespace(token_payload=payload)
    view: Any = None
    assert HasScope("read", "write", **keywords).check(request, view) is passes


def test_a_subclass_may_look_at_other_claims() -> None:
    class HasRole(HasScope):
        claims = ("roles",)

    admin: Any = SimpleNamespace(token_payload={"roles": ["admin"]})
    other: Any = SimpleNamespace(token_payload={"scope": "admin"})
    view: Any = None
    assert (HasRole("admin").check(admin, view), HasRole("admin").check(other, view)) == (True, False)


@pytest.mark.parametrize("claims", ["scope", (), [""], [5], {"scope"}], ids=str)
def test_claims_are_a_list_of_names(claims: Any) -> None:
    with pytest.raises(TypeError, match="claims must be a list of names"):
        HasScope("read", claims=claims)
