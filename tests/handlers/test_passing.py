"""What takes whatever a client sends passes nothing of it on in the place of a dependency: it is refused."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from functools import partial, partialmethod
from typing import Annotated, Any

import pytest

from aiorest_ws import Application, Depends, HTTPError, MethodBasedView, SimpleRouter
from aiorest_ws.exceptions import InvalidHandler
from aiorest_ws.testing import TestClient

this = sys.modules[__name__]


def get_user() -> str:
    return "ada"


User = Annotated[str, Depends(get_user)]


def guarded(request: Any, user: User = "nobody") -> str:
    return user


class Service:
    def __init__(self, user: User) -> None:
        self.user = user


# Decorators without `functools.wraps`


def closure(function: Any) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return call


def closure_inside(function: Any) -> Any:
    def call(request: Any, **kwargs: Any) -> Any:
        def later() -> Any:
            return function(request, **kwargs)

        return later()

    return call


def by_partial(function: Any) -> Any:
    def call(request: Any, **kwargs: Any) -> Any:
        return partial(function, request, **kwargs)()

    return call


def given(function: Any, request: Any, **kwargs: Any) -> Any:
    return function(request, **kwargs)


class Holder:
    def __init__(self, function: Any) -> None:
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def method(self, request: Any, **kwargs: Any) -> Any:
        return self.function(request, **kwargs)


class Slotted:
    __slots__ = ("function",)

    def __init__(self, function: Any) -> None:
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def method(self, request: Any, **kwargs: Any) -> Any:
        return self.function(request, **kwargs)


def wrapped_beside(function: Any) -> Any:
    @functools.wraps(function)
    def call(request: Any, **kwargs: Any) -> Any:
        return function(guarded(request, **kwargs))

    return call


class Callable_:
    def __call__(self, request: Any, user: User) -> str:
        return user


class Inherits(Callable_):
    def __call__(self, request: Any, **kwargs: Any) -> str:  # type: ignore[override]
        return super().__call__(request, **kwargs)


def by_name(request: Any, **kwargs: Any) -> str:
    return guarded(request, **kwargs)


def by_module(request: Any, **kwargs: Any) -> Any:
    return this.guarded(request, **kwargs)


def by_class(request: Any, **kwargs: Any) -> str:
    return Service(**kwargs).user


def unguarded(request: Any) -> str:
    return "x"


HANDLERS: dict[str, Any] = {
    "closure": closure(guarded),
    "twice": closure(closure(guarded)),
    "an instance inside": closure(Holder(guarded)),
    "a method inside": Holder(Slotted(guarded)),
    "by another one": closure(by_name),
    "function inside": closure_inside(guarded),
    "partial inside": by_partial(guarded),
    "argument of a partial": partial(given, guarded),
    "instance": Holder(guarded),
    "method of an instance": Holder(guarded).method,
    "slots": Slotted(guarded),
    "method of one with slots": Slotted(guarded).method,
    "behind wraps": wrapped_beside(unguarded),
    "super of an instance": Inherits(),
    "function by its name": by_name,
    "function of a module": by_module,
    "class": by_class,
    "lambda": lambda request, **kwargs: [guarded(request, **kwargs)],
    "partial of one": partial(by_name),
}


@pytest.mark.parametrize("handler", HANDLERS.values(), ids=HANDLERS)
def test_a_handler_that_may_pass_on_a_dependency_is_refused(handler: Any) -> None:
    with pytest.raises(InvalidHandler, match="a client could give the value of its dependency 'user'"):
        SimpleRouter().get("/")(handler)


class Base(MethodBasedView):
    def get(self, request: Any, user: User) -> str:
        return user

    def helper(self, request: Any, user: User) -> str:
        return user

    @staticmethod
    def apart(request: Any, user: User) -> str:
        return user


class Helped(Base):
    def post(self, request: Any, **kwargs: Any) -> str:
        return self.helper(request, **kwargs)


class HelpedFar(Base):
    def post(self, request: Any, **kwargs: Any) -> str:
        return self.more(request, **kwargs)

    def more(self, request: Any, **kwargs: Any) -> str:
        return self.helper(request, **kwargs)


class HelpedApart(Base):
    def post(self, request: Any, **kwargs: Any) -> str:
        return Base.apart(request, **kwargs)


class OtherVerb(Base):
    def put(self, request: Any, **kwargs: Any) -> str:
        return self.get(request, **kwargs)


class OtherVerbOfBase(Base):
    def put(self, request: Any, **kwargs: Any) -> str:
        return super().get(request, **kwargs)


class Dispatches(Base):
    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> str:
        return self.helper(request, **kwargs)

    get = None  # type: ignore[assignment]

    def post(self, request: Any, **kwargs: Any) -> str:
        return ""


class Untyped(Base):
    def get(self, request: Any, user) -> str:  # type: ignore[no-untyped-def]
        return super().get(request, user)


class Retyped(Base):
    def get(self, request: Any, user: str) -> str:
        return super().get(request, user)


class WithDefault(Base):
    def get(self, request: Any, user: str = "nobody") -> str:
        return super().get(request, user)


class Open(Base):
    def get(self, request: Any, **kwargs: Any) -> str:  # type: ignore[override]
        return super().get(request, **kwargs)


class Static(MethodBasedView):
    @staticmethod
    def get(request: Any, user: User) -> str:
        return user


class StaticToo(Static):
    @staticmethod
    def get(request: Any, **kwargs: Any) -> str:  # type: ignore[override]
        return Static.get(request, **kwargs)


VIEWS = (
    *(Helped, HelpedFar, HelpedApart, OtherVerb, OtherVerbOfBase, Dispatches, Untyped, Retyped, WithDefault, Open),
    StaticToo,
)


@pytest.mark.parametrize("view", VIEWS)
def test_a_method_that_may_pass_on_a_dependency_is_refused(view: Any) -> None:
    with pytest.raises(InvalidHandler, match="a client could give"):
        SimpleRouter().register("/", view)


def with_own(request: Any, user: User, **kwargs: Any) -> str:
    return guarded(request, user=user, **kwargs)


def without_keywords(request: Any, **kwargs: Any) -> str:
    return guarded(request) if kwargs.get("user") is None else guarded(request, "asked for")


@closure
def open_and_free(request: Any, **kwargs: Any) -> str:
    return "ada"


@functools.wraps(guarded)
def wrapping(*args: Any, **kwargs: Any) -> str:
    return guarded(*args, **kwargs)


class Repeats(Base):
    def get(self, request: Any, user: User, **kwargs: Any) -> str:
        return super().get(request, user=user, **kwargs)


class DispatchesToAll(Base):
    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> str:
        return self.get(request, **kwargs) if request.method == "GET" else self.put(request, **kwargs)

    def put(self, request: Any, **kwargs: Any) -> str:
        return "ada"


class GetsFromDict(Base):
    def get(self, request: Any, user: User, **kwargs: Any) -> str:
        kwargs.get("helper")
        return self.free(user, **kwargs)

    def free(self, user: str) -> str:
        return user


class Partial(MethodBasedView):
    def answer(self, x: int, request: Any, user: User) -> str:
        return user

    get = partialmethod(answer, 1)


class Serves:
    """All that knows what it does."""

    functions = (with_own, without_keywords, open_and_free, wrapping)
    views = (Repeats, DispatchesToAll, GetsFromDict, Partial)


@pytest.mark.parametrize("handler", [*Serves.functions, *Serves.views])
def test_what_passes_on_no_dependency_is_served(handler: Any) -> None:
    router = SimpleRouter()
    router.register("/", handler)
    with TestClient(Application(router=router)) as client:
        assert client.get("/").data in ("ada", "nobody")
        assert client.get("/", args={"user": "EVIL"}).data != "EVIL"


# Permissions and middlewares that nobody asks are in test_unread_guards.py


def test_the_error_names_who_passes_on_and_what_to_do() -> None:
    def refuse() -> str:
        raise HTTPError(401)

    def handler(request: Any, user: Annotated[str, Depends(refuse)]) -> str:
        return user

    register: Callable[[Any], Any] = SimpleRouter().get("/")
    with pytest.raises(InvalidHandler, match=r"closure.<locals>.call passes on .* to .*handler.*functools.wraps"):
        register(closure(handler))
