"""What a registration is given: paths in other frameworks' spelling, functions and views without methods."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from aiorest_ws.app import Application
from aiorest_ws.exceptions import EndpointValueError, InvalidHandler, NotSupportedArgumentType
from aiorest_ws.routers import SimpleRouter
from aiorest_ws.testing import TestClient
from aiorest_ws.views import MethodBasedView


class Both(MethodBasedView):
    def get(self, request: Any) -> str:
        return "got"

    async def put(self, request: Any) -> str:
        return "put"


@pytest.mark.parametrize(
    ("segment", "ours"),
    [
        ("<int:id>", "{id:int}"),  # Flask, Django, Bottle
        ("<id>", "{id}, or with a converter {id:int}"),
        ("<string:id>", "{id}, or with a converter {id:int}"),
        ("<uuid:key>", "{key:uuid}"),
        ("<path:rest>", "{rest:path}"),
        ("<id:int>", "{id:int}"),  # Sanic
        ('<regex("[a-z]"):id>', "{id}, or with a converter {id:int}"),
        ("a<int:id>b", "{id:int}"),
        (":id", "{id}, or with a converter {id:int}"),  # Express, Rails
        (r":id(\d+)", "{id:int}"),
        (":id?", "{id}, or with a converter {id:int}"),
        ("*", "{rest:path}"),
        ("*file", "{file:path}"),
        ("[id]", "{id}, or with a converter {id:int}"),  # Next.js
        ("[...slug]", "{slug}, or with a converter {slug:int}"),
        (r"(?P<id>\d+)", "{id:int}"),
        (r"(\d+)", "{id:int}"),
        ("([0-9]+)", "{id:int}"),
        ("{id: int}", "{id:int}"),
        ("{id :int}", "{id:int}"),
        ("{ id:int }", "{id:int}"),
        (r"{id:\d+}", "{id:int}"),  # aiohttp
        ("{id:[0-9]+}", "{id:int}"),
        ("{int:id}", "{id:int}"),
        ("{id:int:min(1)}", "{id:int}"),  # ASP.NET
        ("{id:string}", "{id}, or with a converter {id:int}"),
        ("{id:integer}", "{id:int}"),
        ("{id:Int}", "{id:int}"),
        ("{key:uuid4}", "{key:uuid}"),
        ("{id?}", "{id}, or with a converter {id:int}"),
        ("{*rest}", "{rest:path}"),
        ("{rest...}", "{rest:path}"),  # Go
        ("%(id)s", "{id}, or with a converter {id:int}"),
        ("%s", "{id}, or with a converter {id:int}"),
    ],
)
@pytest.mark.parametrize("around", ["/x/{}", "/{}/y/", "/{{ok}}/{}"])
def test_a_parameter_in_somebody_elses_spelling_is_refused_and_ours_named(segment: str, ours: str, around: str) -> None:
    path = around.format(segment)
    router, other = SimpleRouter(), SimpleRouter()

    def by_decorator() -> None:
        router.get(path)(lambda request: None)

    for register in (
        lambda: router.register(path, Both, "GET"),
        by_decorator,
        lambda: router.include(other, prefix=path),
    ):
        with pytest.raises(EndpointValueError) as caught:
            register()
        assert str(caught.value).startswith(f"Invalid {segment} part of ")
        assert str(caught.value).endswith(f" path: a parameter is written {ours}")
    assert router.routes == ()


@pytest.mark.parametrize(
    "path", ["/a:b", "/{id}:activate", "/a*b", "/f(x)y", "/a[0]", "/a<b", "/$metadata", "/@me", "/~x"]
)
def test_such_signs_within_a_literal_are_literals(path: str) -> None:
    router = SimpleRouter()
    router.register(path, type("View", (Both,), {"get": lambda self, request, *args: None}), "GET")
    assert router.routes[0].path == f"{path}/"


def test_a_converter_of_ones_own_may_have_the_name_of_anything() -> None:
    router = SimpleRouter()
    router.add_converter("id", str)
    router.get("/{int:id}")(lambda request, number: number)
    assert router.routes[0].parameters == ["int"]


# Functions


def plain(request: Any, number: int = 1) -> Any:
    return ["plain", number]


async def waiting(request: Any, number: int = 1) -> Any:
    return ["waiting", number]


class Callable:
    def __call__(self, request: Any, number: int = 1) -> Any:
        return ["called", number]

    async def method(self, request: Any, number: int = 1) -> Any:
        return ["method", number]


def bound_to(kind: str, request: Any, number: int = 1) -> Any:
    return [kind, number]


FUNCTIONS: dict[str, Any] = {
    "plain": plain,
    "waiting": waiting,
    "called": Callable(),
    "method": Callable().method,
    "partial": functools.partial(bound_to, "partial"),
}


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_a_function_is_registered_as_an_endpoint(kind: str) -> None:
    router = SimpleRouter()
    router.register("/a", FUNCTIONS[kind])
    router.register("/b", FUNCTIONS[kind], ["PUT", "POST"], name="b")
    assert [(route.methods, route.name) for route in router.routes] == [(("GET",), None), (("PUT", "POST"), "b")]
    with TestClient(Application(router)) as client:
        assert client.get("/a").data == [kind, 1]
        assert client.put("/b", args={"number": 2}).data == [kind, 2]
        assert client.post("/b", args={"number": "x"}).status == 422
        assert client.post("/a").status == 405


@pytest.mark.parametrize("methods", [5, ("GET",), [], [5], ""], ids=str)
def test_methods_of_a_function_are_checked(methods: Any) -> None:
    with pytest.raises(NotSupportedArgumentType):
        SimpleRouter().register("/a", plain, methods)


def test_a_view_without_methods_takes_the_verbs_that_it_declares() -> None:
    router = SimpleRouter()
    router.register("/a", Both)
    router.register("/b", type("Child", (Both,), {"delete": Both.get}), name="b")
    assert [route.methods for route in router.routes] == [("GET", "PUT"), ("DELETE", "GET", "PUT")]
    with TestClient(Application(router)) as client:
        assert [client.get("/a").data, client.put("/a").data, client.delete("/a").status] == ["got", "put", 405]


def test_a_view_that_declares_none_is_refused() -> None:
    with pytest.raises(InvalidHandler, match="view Empty has no method for any verb, such as `get`"):
        SimpleRouter().register("/a", type("Empty", (MethodBasedView,), {}))


def test_a_decorator_without_a_path_is_refused() -> None:
    """The function would be taken for the path, and its name be bound to something else."""
    router: Any = SimpleRouter()
    with pytest.raises(NotSupportedArgumentType, match=r"plain is no path: `@router.get` needs one"):
        router.get(plain)


# What comes first


def passing_on(function: Any) -> Any:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return call


def giving(function: Any) -> Any:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function("given", *args, **kwargs)

    return call


def id_first(id: int, request: Any) -> None: ...  # noqa: A002 (as people name it)


async def later_id_first(id: Any, request: Any) -> None: ...  # noqa: A002


def keyword(id: Any, *, request: Any) -> None: ...  # noqa: A002


class IdFirst:
    def __call__(self, id: int, request: Any) -> None: ...  # noqa: A002

    def method(self, id: int, request: Any) -> None: ...  # noqa: A002


@pytest.mark.parametrize(
    "function",
    [
        id_first,
        later_id_first,
        keyword,
        IdFirst(),
        IdFirst().method,
        functools.partial(lambda kind, id, request: None, "x"),  # noqa: A006
        passing_on(id_first),
        lambda id, other, request=None: None,  # noqa: A006
    ],
)
def test_a_function_that_does_not_take_request_first_is_refused(function: Any) -> None:
    """Its arguments would be swapped, and nobody would be told."""
    router = SimpleRouter()
    for register in (
        lambda: router.get("/x/{id}")(function),
        lambda: router.register("/x/{id}", function),
    ):
        with pytest.raises(InvalidHandler, match=r"must take `request` first, its parameters are .*request"):
            register()
    assert router.routes == ()


@pytest.mark.parametrize("method", [lambda self, id, request: None, lambda request, id, x=1: None])  # noqa: A006
def test_nor_is_a_method_of_a_view(method: Any) -> None:
    with pytest.raises(InvalidHandler, match="must take `self` and `request` first, its parameters are "):
        SimpleRouter().register("/x/{id}", type("View", (MethodBasedView,), {"get": method}))


def test_a_function_that_takes_data_in_place_of_request_is_refused() -> None:
    router = SimpleRouter()
    with pytest.raises(InvalidHandler, match="must take `request` first, its parameters are data"):
        router.post("/x")(lambda data: data)


def test_a_decorator_may_give_what_comes_before_request() -> None:
    router = SimpleRouter()
    router.get("/x/{id}")(giving(lambda first, request, id: [first, id]))  # noqa: A006
    with TestClient(Application(router)) as client:
        assert client.get("/x/1").data == ["given", "1"]


def test_request_may_have_another_name() -> None:
    router = SimpleRouter()
    router.get("/x/{id}")(lambda req, id: [req.url, id])  # noqa: A006
    with TestClient(Application(router)) as client:
        assert client.get("/x/1").data == ["/x/1", "1"]


@pytest.mark.parametrize("function", [min, functools.lru_cache(plain), staticmethod(plain)], ids=str)
def test_a_function_that_does_not_say_what_it_takes_is_refused(function: Any) -> None:
    for register in (lambda: SimpleRouter().get("/a")(function), lambda: SimpleRouter().register("/a", function)):
        with pytest.raises(InvalidHandler, match="does not say what it takes, put it into a `def`"):
            register()


@pytest.mark.parametrize("methods", [None, 5, ("GET",)], ids=str)
def test_methods_of_route_are_checked(methods: Any) -> None:
    with pytest.raises(NotSupportedArgumentType, match="`list` or `str`"):
        SimpleRouter().route("/a", methods)(plain)


@pytest.mark.parametrize("path", ["/x?a={a}", "/x?a=1", "/x/#id", "/{id}#top"])
def test_a_path_has_neither_query_nor_fragment(path: str) -> None:
    with pytest.raises(EndpointValueError, match="a url has no query and no fragment, clients send `args`"):
        SimpleRouter().get(path)(lambda request, **others: None)


@pytest.mark.parametrize("path", ["/100%", "/%41", "/$metadata", "/a$b", "/x(1)y"])
def test_what_is_no_parameter_anywhere_is_a_literal(path: str) -> None:
    router = SimpleRouter()
    router.get(path)(lambda request: None)
    assert router.match("GET", path)[0].path == f"{path}/"
