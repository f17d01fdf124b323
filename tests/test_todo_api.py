"""What `examples/todo_api` promises and its client cannot see: rollbacks, and who is told of a change when."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session

from aiorest_ws import HTTPError
from aiorest_ws.testing import AsyncTestClient, Event, TestClient
from examples.todo_api.server import get_session, make_app
from tests.kit.pages import EXAMPLES, ROOT
from tests.serving import asynchronous


@contextmanager
def failing(moment: str) -> Iterator[None]:
    def fail(session: Session, *args: Any) -> None:
        raise OSError("no space left on device")

    event.listen(Session, moment, fail)
    try:
        yield
    finally:
        event.remove(Session, moment, fail)


@pytest.mark.parametrize("moment", ["after_flush", "before_commit"])
def test_what_fails_leaves_nothing_and_tells_nobody(moment: str, tmp_path: Path) -> None:
    """`after_flush` is inside of the handler, `before_commit` behind it."""
    with TestClient(make_app(tmp_path / "todos.sqlite3")) as client, client.connect() as other:
        with failing(moment):
            reply = client.post("/todos", data={"title": "milk"})
        assert (reply.status, reply.detail) == (500, "A server error occurred.")
        assert client.get("/todos").data == other.events() == []


def test_refused_requests_tell_nobody(tmp_path: Path) -> None:
    with TestClient(make_app(tmp_path / "todos.sqlite3")) as client, client.connect() as other:
        client.post("/todos", data={"title": "milk"})
        assert other.receive_event() == Event("added", {"id": 1, "title": "milk"})
        assert client.patch("/todos/1", data={"title": "x" * 81}).status == 422
        assert client.delete("/todos/2").status == 404
        assert [todo["title"] for todo in client.get("/todos").data] == ["milk"]
        assert other.events() == []


def test_session_can_be_overridden(tmp_path: Path) -> None:
    async def busy() -> Any:
        raise HTTPError(503, "the database is busy")

    with TestClient(make_app(tmp_path / "todos.sqlite3"), overrides={get_session: busy}) as client:
        reply = client.get("/todos")
        assert (reply.status, reply.detail) == (503, "the database is busy")
        assert client.get("/todos", args={"limit": 0}).status == 422  # nobody asked for a session


def test_number_that_the_database_does_not_take_is_a_422(tmp_path: Path) -> None:
    with TestClient(make_app(tmp_path / "todos.sqlite3")) as client:
        reply = client.get(f"/todos/{2**63}")
        assert (reply.status, reply.detail[0]["loc"]) == (422, ["path", "number"])
        assert client.get(f"/todos/{2**63 - 1}").status == 404


def test_todos_outlive_the_application(tmp_path: Path) -> None:
    for expected in (1, 2):
        with TestClient(make_app(tmp_path / "todos.sqlite3")) as client:
            assert client.post("/todos", data={"title": "milk"}).data["id"] == expected


@asynchronous
async def test_clients_that_leave_use_up_no_connections(tmp_path: Path) -> None:
    """More of them leave, with a request on its way, than the pool has connections."""
    async with AsyncTestClient(make_app(tmp_path / "todos.sqlite3")) as client:
        for _ in range(20):
            async with client.connect() as leaving:
                await leaving.send('{"method":"POST","url":"/todos","data":{"title":"milk"},"id":1}')
                leaving.abort()
        assert (await client.post("/todos", data={"title": "bread"})).status == 201


def test_page_shows_the_code_of_the_example() -> None:
    page = (ROOT / "docs" / "how-to" / "database.md").read_text("utf-8")
    server = (EXAMPLES / "todo_api" / "server.py").read_text("utf-8")
    fragments = re.findall(r"^```py\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(fragments) > 3
    assert [fragment for fragment in fragments if fragment not in server] == []
