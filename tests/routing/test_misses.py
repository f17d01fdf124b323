"""What a client is told of a url or a method that no route has: in words with an id, as in 1.1.1 without."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest

from aiorest_ws.routers import SimpleRouter
from tests.kit.servers import NO_HANDLER
from tests.swapping import Impl, using

LONG = "/" + "x" * 100_000
SLASH = "a url begins with `/`"
FRAGMENT = "a url has no fragment here"
QUERY = "a url has no query here, send it as `args`"
SCHEME = "`url` is a path such as /hello, scheme and host are those of the connection"


class Server:
    """Some routes behind the pipeline of `impl`."""

    def __init__(self, impl: Impl, debug: bool = False) -> None:
        with using(impl):
            router = SimpleRouter()
            router.get("/users", name="users")(lambda request: "users")
            router.route("/users/{number:int}", ["GET", "PUT"])(lambda request, number: number)
            router.delete("/users/{number:int}/{rest:path}")(lambda request, number, rest: rest)
            router.post("/users/{name}")(lambda request, name: name)
            router.get("/")(lambda request: "root")
            router.get("/{tenant}/invoices")(lambda request, tenant: tenant)
        self.pipeline = impl.pipeline.Pipeline(router._trie, debug=debug)

    def ask(self, **envelope: Any) -> dict[str, Any]:
        reply = self.pipeline.handle(json.dumps(envelope).encode(), False)
        return dict(json.loads(reply))

    def detail(self, method: Any, url: str) -> tuple[int, str]:
        reply = self.ask(method=method, url=url, id=1)
        without = self.ask(method=method, url=url)
        assert without == {"detail": NO_HANDLER, "event_name": None}
        assert self.ask(method=method, url=url, id=None) == without
        return reply["status"], reply["detail"]


MISSES = [
    ("/userz", "no route /userz"),
    ("nowhere", f"no route nowhere: {SLASH}"),
    (" nowhere", f"no route  nowhere: {SLASH}"),
    ("/users#top", f"no route /users#top: {FRAGMENT}"),
    ("/users//", "no route /users//"),
    ("/users/é/x", "no route /users/é/x"),
    (" /nowhere ", "no route  /nowhere "),
    ("/{x}", "no route /{x}"),
    ("/users?a=1", f"no route /users?a=1: {QUERY}"),
    ("/nowhere?", f"no route /nowhere?: {QUERY}"),
    ("/nowhere/7/?a=1&b=2", f"no route /nowhere/7/?a=1&b=2: {QUERY}"),
    ("?a=1", f"no route ?a=1: {QUERY}"),
    ("http://127.0.0.1/users", f"no route http://127.0.0.1/users: {SCHEME}"),
    ("WSS://host:80/users?a=1", f"no route WSS://host:80/users?a=1: {SCHEME}"),
    (LONG, f"no route {LONG[:100]}…"),
    (f"ws://{LONG}", f"no route ws://{LONG[:95]}…: {SCHEME}"),
]


@pytest.mark.parametrize("debug", [False, True], ids=["", "debug"])
@pytest.mark.parametrize(("url", "text"), MISSES, ids=lambda value: repr(value)[:40])
def test_a_url_without_a_route_is_told(impl: Impl, url: str, text: str, debug: bool) -> None:
    status, detail = Server(impl, debug).detail("GET", url)
    assert status == 404
    assert detail.partition(", did you mean ")[0] == text
    assert debug or ", did you mean" not in detail


@pytest.mark.parametrize(
    ("url", "near"),
    [
        ("/userz", "/users"),
        ("/USERS", "/users"),
        ("users", "/users"),
        ("/users//", "/users"),
        ("/user/7/", "/users/{number:int}"),
        ("/acme/invoice", "/{tenant}/invoices"),
        ("/quite/another/thing/altogether", None),
        ("/" + "users" * 1000, None),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_in_debug_the_path_that_may_be_meant_is_named(impl: Impl, url: str, near: str | None) -> None:
    _, detail = Server(impl, debug=True).detail("GET", url)
    assert detail.partition(", did you mean ")[2] == (f"{near}?" if near else "")


@pytest.mark.parametrize(
    ("method", "url", "text"),
    [
        ("PUT", "/users", "no method PUT at /users, expected GET"),
        ("PATCH", "/users/7/", "no method PATCH at /users/7/, expected GET, POST, PUT"),
        ("PATCH", "/users/ada", "no method PATCH at /users/ada, expected POST"),
        ("GET", "/users/7/a/b", "no method GET at /users/7/a/b, expected DELETE"),
        ("delete", "/", "no method delete at /, expected GET"),
        ("GET", "/users/ada?a=1", f"no method GET at /users/ada?a=1, expected POST: {QUERY}"),
        ("G" * 100_000, "/users", f"no method {'G' * 20} at /users, expected GET"),
        ("BREW", "/users/" + "x" * 1000, f"no method BREW at /users/{'x' * 93}…, expected POST"),
        ("ＧＥＴ", "/users", "no method ＧＥＴ at /users, expected GET"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_method_that_the_url_does_not_have_is_told_with_those_that_it_has(
    impl: Impl, method: str, url: str, text: str
) -> None:
    assert Server(impl).detail(method, url) == (405, text)


def test_it_is_told_in_the_form_of_the_request(impl: Impl) -> None:
    server = Server(impl)
    packed = msgspec.msgpack.encode({"id": 1, "method": "GET", "url": "/userz"})
    reply = msgspec.msgpack.decode(server.pipeline.handle(packed, True))
    assert reply == {"id": 1, "status": 404, "detail": "no route /userz"}
    coded = base64.b64encode(b'{"id":1,"method":"PUT","url":"/users"}')
    reply = json.loads(base64.b64decode(server.pipeline.handle(coded, False)))
    assert reply == {"id": 1, "status": 405, "detail": "no method PUT at /users, expected GET"}


def test_what_is_no_method_is_told_as_before(impl: Impl) -> None:
    server = Server(impl)
    for method, text in (
        (None, "In query not specified `method` argument."),
        ("", "In query not specified `method` argument."),
        (5, "Method name should be a string type."),
    ):
        assert server.ask(method=method, url="/users", id=1)["detail"] == text
        assert server.ask(method=method, url="/users")["detail"] == text


def test_a_trie_knows_its_templates_and_verbs(impl: Impl) -> None:
    trie = impl.trie.Trie()
    trie.insert("/a/", "GET", 1)
    trie.insert("/a/", "PUT", 2)
    trie.insert("/b/{x}/", "GET", 3)
    assert (list(trie.templates), list(trie.verbs)) == (["/a/", "/b/{x}/"], ["GET", "PUT"])
