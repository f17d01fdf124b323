"""`routes`: what an application answers, as a table and as JSON."""

from __future__ import annotations

import json

import pytest

from tests.kit.cli import Cli

PROGRAM = """
from functools import partial
from aiorest_ws import Application, Depends, Live, MethodBasedView, SimpleRouter
from aiorest_ws.abstract import AbstractMiddleware, AbstractPermission
from aiorest_ws.auth.permissions import HasScope, IsAuthenticated
from aiorest_ws.middlewares import Timing

class Tokens(AbstractMiddleware):
    authenticates = True
    def process_request(self, request): pass

def audited(request): pass

class Orders(MethodBasedView):
    auth_required = True
    permission_classes = (IsAuthenticated() & HasScope("read"),)
    live = Live(shared=True, recheck=60)
    def get(self, request, id): return id
    def put(self, request, id): return id

inner = SimpleRouter(middlewares=[Timing], dependencies=[Depends(audited)])
inner.register("/orders/{id:int}", Orders, name="order")

router = SimpleRouter()

@router.get("/")
def index(request): return 1

@router.get("/log", live=Live(mode="log", shared=True))
def log(request): return []

@router.get("/seats", live=Live(presence=lambda request: {"id": 1}))
def seats(request): return []

router.include(inner, prefix="/v1", name="v1")
app = Application(router, middlewares=[Tokens])
"""


PATHS = ["/", "/log/", "/seats/", "/seats/presence/", "/v1/orders/{id:int}/"]


def test_the_table(cli: Cli) -> None:
    name = cli.write(PROGRAM)
    said = cli("routes", f"{name}:app")
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    assert lines[0].split() == ["METHODS", "TEMPLATE", "NAME", "VIEW", "GUARDS", "LIVE"]
    assert lines[1].split() == ["GET", "/", "-", "index", "Tokens", "-"]
    assert [line[9:].split()[0] for line in lines[1:]] == PATHS
    columns = [lines[0].index(title) for title in ("TEMPLATE", "NAME", "VIEW", "GUARDS", "LIVE")]
    assert all(line[at - 1] == " " and line[at] != " " for line in lines for at in columns)


def test_the_same_as_json(cli: Cli) -> None:
    name = cli.write(PROGRAM)
    rows = json.loads(cli("routes", f"{name}:app", "--json").out)
    assert rows[-1] == {
        "methods": ["GET", "PUT"],
        "template": "/v1/orders/{id:int}/",
        "name": "v1:order",
        "view": "Orders",
        "guards": ["Tokens", "Timing", "auth_required", "(IsAuthenticated & HasScope('read'))", "audited"],
        "live": "shared state",
    }
    assert [row["live"] for row in rows[:3]] == [None, "log", "state with presence"]
    assert rows[0]["guards"] == ["Tokens"]


OWN = """
from aiorest_ws.abstract import AbstractRouter
class Own(AbstractRouter):
    def process_request(self, request): pass
app = Application(Own())
"""


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("app = Application()", "Argument `router` must be defined for the Application."),
        (
            OWN,
            "router of {name}:app is a Own, which does not tell its routes",
        ),
    ],
)
def test_an_application_without_routes_to_tell(source: str, line: str, cli: Cli) -> None:
    name = cli.write(f"from aiorest_ws import Application\n{source}")
    assert cli("routes", f"{name}:app") == (1, "", f"aiorest-ws: {line.format(name=name)}\n")


def test_the_environment_is_checked(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOREST_WS_PORT", "many")
    name = cli.write(PROGRAM)
    line = "environment variable AIOREST_WS_PORT: expected a number, got 'many'"
    assert cli("routes", f"{name}:app") == (1, "", f"aiorest-ws: {line}\n")
