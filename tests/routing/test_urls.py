"""`url_for`, `reverse` and `resolve`: names of routes → urls and back, each the inverse of the other."""

from __future__ import annotations

import asyncio
from datetime import date, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorest_ws import MethodBasedView, SimpleRouter
from aiorest_ws.exceptions import EndpointValueError, NotSpecifiedHandler, NotSupportedArgumentType
from aiorest_ws.urls import NoMatch, NoReverseMatch, RouteMatch, get_urlconf, resolve, reverse, set_urlconf
from aiorest_ws.urls.base import get_urlconf as original_get_urlconf
from aiorest_ws.urls.exceptions import NoReverseMatch as original_no_reverse_match
from aiorest_ws.urls.utils import reverse as original_reverse
from tests.serving import LOOPS, Client, asynchronous, serving


class Show(MethodBasedView):
    def get(self, request: Any, *args: Any) -> Any:
        return [request.route.name, [f"{type(value).__name__} {value}" for value in args]]

    put = get


class Ask(MethodBasedView):
    def post(self, request: Any) -> Any:
        name, params = request.data
        return request.url_for(name, **params)


class Reverse(MethodBasedView):
    def get(self, request: Any) -> Any:
        return reverse("user", args=(7,))


ROUTES = {
    "root": "/",
    "users": "/users",
    "user": "/users/{pk:int}",
    "file": "/files/{rest:path}",
    "pair": "/pairs/{a:int}-{b:int}",
    "day": "/days/{d:date}/{x:float}",
    "thing": "/things/{u:uuid}.json",
    "plain": "/plain/{name}/{self}",
}


@pytest.fixture
def router() -> SimpleRouter:
    router = SimpleRouter()
    for name, path in ROUTES.items():
        router.register(path, Show, ["GET", "PUT"], name=name)
    router.register("/ask", Ask, "POST")
    router.register("/reverse", Reverse, "GET")
    return router


@pytest.mark.parametrize(
    ("name", "params", "url", "values"),
    [
        ("root", {}, "/", ()),
        ("users", {}, "/users/", ()),
        ("user", {"pk": 7}, "/users/7/", (7,)),
        ("user", {"pk": "-7"}, "/users/-7/", (-7,)),
        ("file", {"rest": "a/b c.txt"}, "/files/a/b c.txt/", ("a/b c.txt",)),
        ("file", {"rest": "/a//"}, "/files//a///", ("/a//",)),
        ("pair", {"a": 1, "b": 2}, "/pairs/1-2/", (1, 2)),
        ("day", {"d": date(2024, 2, 29), "x": 1e-7}, "/days/2024-02-29/1e-07/", (date(2024, 2, 29), 1e-7)),
        ("day", {"d": "2024-02-29", "x": 2}, "/days/2024-02-29/2.0/", (date(2024, 2, 29), 2.0)),
        ("thing", {"u": UUID(int=1)}, f"/things/{UUID(int=1)}.json/", (UUID(int=1),)),
        ("plain", {"name": "a b%2F?é", "self": 5}, "/plain/a b%2F?é/5/", ("a b%2F?é", "5")),
        ("plain", {"name": " ", "self": " x "}, "/plain/ / x /", (" ", " x ")),
    ],
)
def test_url_for_gives_what_leads_back(
    router: SimpleRouter, name: str, params: dict[str, Any], url: str, values: tuple[Any, ...]
) -> None:
    assert router.url_for(name, **params) == url
    route, found = router.match("GET", url)
    assert (route.name, found) == (name, values)
    assert router.resolve(url) == (route, values)


@pytest.mark.parametrize(
    ("name", "params", "text"),
    [
        ("nobody", {}, "no route is named 'nobody'"),
        ("user", {}, "template '/users/{pk:int}/' takes 'pk', got no parameters"),
        ("user", {"pk": 1, "k": 2}, "template '/users/{pk:int}/' takes 'pk', got 'pk', 'k'"),
        ("users", {"k": 2}, "template '/users/' takes no parameters, got 'k'"),
        ("user", {"pk": "x"}, "parameter 'pk': expected an integer, got 'x'"),
        ("user", {"pk": 1.5}, "parameter 'pk': expected an int, got 1.5"),
        ("user", {"pk": True}, "parameter 'pk': expected an int, got True"),
        ("day", {"d": datetime(2024, 1, 1), "x": 1}, "parameter 'd': expected a date, got datetime"),
        ("day", {"d": date(2024, 1, 1), "x": float("nan")}, "parameter 'x': expected a number, got 'nan'"),
        ("file", {"rest": ""}, "parameter 'rest': '' cannot stand in a url"),
        ("file", {"rest": 5}, "parameter 'rest': expected a string, got 5"),
        ("plain", {"name": "", "self": "x"}, "parameter 'name': '' cannot stand in a url"),
        ("plain", {"name": "a/b", "self": "x"}, "parameter 'name': 'a/b' cannot stand in a url"),
        ("plain", {"name": "{", "self": "x"}, "parameter 'name': '{' cannot stand in a url"),
        ("plain", {"name": "a\n", "self": "x"}, "parameter 'name': 'a\\n' cannot stand in a url"),
        (
            "plain",
            {"name": None, "self": "x"},
            "parameter 'name': expected a string or what has a plain text, got None",
        ),
        ("pair", {"a": 1, "b": -2}, "segment '1--2' would not give ['1', '-2'] again"),
    ],
)
def test_url_for_refuses_what_would_not_lead_back(
    router: SimpleRouter, name: str, params: dict[str, Any], text: str
) -> None:
    with pytest.raises(NoReverseMatch) as caught:
        router.url_for(name, **params)
    assert str(caught.value).startswith(text)


def test_url_for_refuses_a_url_that_another_route_takes(router: SimpleRouter) -> None:
    router.register("/plain/me/{x}", Show, "PUT", name="me")
    with pytest.raises(
        NoReverseMatch, match=r"PUT '/plain/me/1/' does not lead to 'plain', but to <Route PUT /plain/me/"
    ):
        router.url_for("plain", name="me", self="1")
    assert router.url_for("me", x="1") == "/plain/me/1/"


TEXTS = st.text(st.sampled_from("ab/-.% ?é\U0001d11e{\n1"), max_size=5)


@given(st.sampled_from(sorted(ROUTES)), st.data())
def test_url_for_and_match_are_inverse(name: str, data: st.DataObject) -> None:
    router = SimpleRouter()
    for other, path in ROUTES.items():
        router.register(path, Show, "GET", name=other)
    value = st.one_of(TEXTS, st.integers(), st.floats(), st.dates(), st.uuids())
    params = {parameter: data.draw(value) for parameter in router.parameters(name)}
    try:
        url = router.url_for(name, **params)
    except NoReverseMatch:
        return
    route, found = router.match("GET", url)
    assert route.name == name
    assert router.url_for(name, **dict(zip(params, found, strict=True))) in (url, url.lower()) or "int" in route.path
    for given_, got in zip(params.values(), found, strict=True):
        assert got == given_ or isinstance(given_, str) or str(given_) == got
    set_urlconf(None)
    conf = {"path": "ws://h:1", "router": router}
    absolute = reverse(name, conf, kwargs={**params, "q/?": "&="})
    assert resolve(absolute, conf) == RouteMatch(name, found, {"q/?": "&="})
    assert resolve(reverse(name, conf, tuple(params.values()), relative=True), conf)[:2] == (name, found)


# Converters of one's own


def test_own_converter(router: SimpleRouter) -> None:
    router.add_converter("hex", lambda text: int(text, 16), lambda value: f"{value:x}")
    router.register("/colours/{c:hex}", Show, "GET", name="colour")
    assert router.match("GET", "/colours/ff")[1] == (255,)
    assert router.url_for("colour", c=255) == "/colours/ff/"
    with pytest.raises(NotSpecifiedHandler):
        router.match("GET", "/colours/red")
    with pytest.raises(NoReverseMatch, match="parameter 'c'"):
        router.url_for("colour", c="red")


def test_own_converter_that_gives_no_text_is_refused(router: SimpleRouter) -> None:
    router.add_converter("odd", str, lambda value: value)
    router.register("/odd/{c:odd}", Show, "GET", name="odd")
    with pytest.raises(NoReverseMatch, match="expected a string of converter 'odd', got 5"):
        router.url_for("odd", c=5)


def test_converter_is_registered_once_under_a_plain_name(router: SimpleRouter) -> None:
    async def waits(text: str) -> str:
        return text

    for name in ("int", "str", "path"):
        with pytest.raises(EndpointValueError, match=f"converter '{name}' is already there"):
            router.add_converter(name, str)
    for arguments in [("a b", str), ("", str), (5, str), ("ok", None), ("ok", waits), ("ok", str, waits)]:
        with pytest.raises(NotSupportedArgumentType):
            router.add_converter(*arguments)  # type: ignore[arg-type]
    router.add_converter("ok", str)
    with pytest.raises(EndpointValueError, match="no converter 'hex', expected date, float, int, ok, path, str, uuid"):
        router.register("/{x:hex}", Show, "GET")


def test_included_router_keeps_its_converters() -> None:
    inner, outer, top = SimpleRouter(), SimpleRouter(), SimpleRouter()
    inner.add_converter("low", str.lower)
    outer.add_converter("up", str.upper)
    inner.register("/{a:low}", Show, "GET", name="early")
    outer.include(inner, prefix="/{tenant:up}")
    top.include(outer, prefix="/v2")
    inner.register("/{a:low}/late", Show, "GET", name="late")
    assert top.match("GET", "/v2/Acme/ABC")[1] == ("ACME", "abc")
    assert top.match("GET", "/v2/Acme/ABC/late")[1] == ("ACME", "abc")
    assert top.url_for("late", tenant="x", a="y") == "/v2/x/y/late/"
    assert inner.url_for("late", a="y") == "/y/late/"


def test_prefix_with_a_converter_that_means_something_else_inside_is_refused() -> None:
    inner, outer = SimpleRouter(), SimpleRouter()
    inner.add_converter("own", str.lower)
    outer.add_converter("own", str.upper)
    inner.register("/{a:own}", Show, "GET")
    with pytest.raises(EndpointValueError, match=r"converter 'own' of prefix /{b:own} is another one in /{a:own}/"):
        outer.include(inner, prefix="/{b:own}")
    with pytest.raises(EndpointValueError, match="no converter 'none'"):
        outer.include(inner, prefix="/{b:none}")
    assert outer.routes == ()
    outer.include(inner)
    assert outer.match("GET", "/A")[1] == ("a",)


def test_conflict_names_both_templates(router: SimpleRouter) -> None:
    with pytest.raises(EndpointValueError, match=r"GET /users/{id:int}/ is already registered as GET /users/{pk:int}/"):
        router.register("/users/{id:int}", Show, "GET")
    router.register("/users/{id}", Show, "GET", name="named")
    assert router.match("GET", "/users/x")[0].name == "named"
    assert router.match("GET", "/users/1")[0].name == "user"


def test_route_matches_with_its_converters(router: SimpleRouter) -> None:
    route = router.match("GET", "/users/1")[0]
    assert route.match("/users/5") == (5,)
    assert route.match("/users/x") is None
    assert route.parameters == ["pk"]


# Over a connection


@asynchronous
async def test_values_reach_the_handler_and_what_does_not_convert_is_a_404(router: SimpleRouter) -> None:
    async with serving(router) as app, await Client.connect(app) as client:
        for url, expected in [
            ("/users/7", ["user", ["int 7"]]),
            ("/files/a/b/", ["file", ["str a/b"]]),
            ("/things/00000000-0000-0000-0000-000000000001.json", ["thing", [f"UUID {UUID(int=1)}"]]),
        ]:
            assert await ask(client, "GET", url) == (200, expected)
        for url in ("/users/x", "/users/" + "9" * 5000, "/days/2024-02-30/1", "/days/2024-01-01/1e999"):
            assert (await ask(client, "GET", url))[0] == 404
        assert await ask(client, "DELETE", "/users/7") == (405, "no method DELETE at /users/7, expected GET, PUT")


@asynchronous
async def test_request_gives_urls_of_its_router(router: SimpleRouter) -> None:
    top = SimpleRouter()
    top.include(router, prefix="/v2")
    async with serving(top) as app, await Client.connect(app) as client:
        assert await ask(client, "POST", "/v2/ask", ["user", {"pk": 5}]) == (200, "/v2/users/5/")
        assert await ask(client, "POST", "/v2/ask", ["plain", {"name": "a", "self": "b"}]) == (200, "/v2/plain/a/b/")
        assert (await ask(client, "POST", "/v2/ask", ["nobody", {}]))[0] == 500


@pytest.mark.parametrize("loop", LOOPS)
@asynchronous
async def test_handlers_reverse_with_the_urlconf_of_their_own_application(router: SimpleRouter, loop: str) -> None:
    other = SimpleRouter()
    other.register("/other/{x}", Show, "GET", name="user")
    other.register("/reverse", Reverse, "GET")
    async with serving(router, path="api") as first, serving(other) as second:
        for app, rest in ((first, "api/users/7/"), (second, "other/7/")):
            async with await Client.connect(app, "/api" if app is first else "/") as client:
                port = app.addresses[0][1]
                assert await ask(client, "GET", "/reverse") == (200, f"ws://127.0.0.1:{port}/{rest}")
        assert get_urlconf()["router"] is other


async def ask(client: Client, method: str, url: str, data: Any = None) -> tuple[int, Any]:
    """Give status and data, or detail, of the reply."""
    reply = await client.ask(method, url, data=data, id=1)
    return reply["status"], reply.get("data", reply.get("detail"))


def test_request_without_a_route_has_no_urls(impl: Any) -> None:
    request = impl.wrappers.wrap({"url": "/"}, 0, None)
    with pytest.raises(NoReverseMatch, match="no url for 'user': the request has no route yet"):
        request.url_for("user")


# As in 1.1.1


@pytest.fixture
def urlconf(router: SimpleRouter) -> dict[str, Any]:
    return {"path": "ws://127.0.0.1:8080/", "router": router}


def test_reverse(urlconf: dict[str, Any]) -> None:
    assert reverse("user", urlconf, args=("1",)) == "ws://127.0.0.1:8080/users/1/"
    assert reverse("user", urlconf, [1], relative=True) == "/users/1/"
    assert reverse("user", urlconf, kwargs={"pk": 1}) == "ws://127.0.0.1:8080/users/1/"
    assert reverse("plain", urlconf, ["a b?%", "é"]) == "ws://127.0.0.1:8080/plain/a%20b%3F%25/%C3%A9/"
    assert reverse("plain", urlconf, ["a b?%", "é"], relative=True) == "/plain/a b?%/é/"
    assert reverse("user", urlconf, [1], {"k": "a b&c/"}) == "ws://127.0.0.1:8080/users/1/?k=a%20b%26c%2F"
    assert reverse("user", urlconf["router"], [1]) == "/users/1/"
    assert original_reverse is reverse
    assert original_get_urlconf is get_urlconf
    assert original_no_reverse_match is NoReverseMatch
    assert issubclass(NoReverseMatch, ValueError)  # what 1.1.1 raised for a wrong number of arguments


@pytest.mark.parametrize(
    ("name", "args", "kwargs"),
    [
        ("nobody", (), {}),
        ("user", (), {}),
        ("user", (1, 2), {}),
        ("user", (1,), {"pk": 1}),
        ("user", "1", {}),
        ("user", ("x",), {}),
    ],
)
def test_reverse_raises_one_exception(urlconf: dict[str, Any], name: str, args: Any, kwargs: Any) -> None:
    with pytest.raises(NoReverseMatch):
        reverse(name, urlconf, args, kwargs)


def test_resolve(urlconf: dict[str, Any]) -> None:
    assert resolve("/users/1", urlconf) == RouteMatch("user", (1,), {})
    assert resolve("ws://127.0.0.1:8080/users/1/", urlconf) == ("user", (1,), {})
    assert resolve("ws://127.0.0.1:8080/plain/a%20b/%3F/?k=v%20w", urlconf) == ("plain", ("a b", "?"), {"k": "v w"})
    assert resolve("/users/1/?k=v", urlconf).kwargs == {"k": "v"}
    assert resolve("/files/ws://127.0.0.1:8080/x", urlconf).args == ("ws://127.0.0.1:8080/x",)
    assert resolve("/ask", urlconf).view_name is None


@pytest.mark.parametrize(
    "path", ["/nowhere", "/users/x", "ws://127.0.0.1:80801/users/1/", "ws://other/users/1/", "/users/\n", "/users/{1}"]
)
def test_resolve_of_what_no_route_has_is_no_match(urlconf: dict[str, Any], path: str) -> None:
    with pytest.raises(NoMatch):
        resolve(path, urlconf)


def test_resolve_sees_routes_that_are_registered_later(urlconf: dict[str, Any]) -> None:
    with pytest.raises(NoMatch):
        resolve("/later", urlconf)
    urlconf["router"].register("/later", Show, "GET", name="later")
    assert resolve("/later", urlconf).view_name == "later"


@asynchronous
async def test_urlconf_is_of_the_context_that_set_it(urlconf: dict[str, Any]) -> None:
    async def within() -> Any:
        set_urlconf(urlconf)
        return get_urlconf()

    assert await asyncio.create_task(within()) is urlconf
    assert get_urlconf("default") == "default"
    with pytest.raises(NoReverseMatch, match="start an application"):
        reverse("user")
