"""What other frameworks have otherwise, in a handler: a note behind its traceback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from aiorest_ws import Application, HTTPError, Response, SimpleRouter
from aiorest_ws.callables.advice import advise
from aiorest_ws.testing import TestClient


def logged(handler: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> str:
    """Give what is logged of a request that fails."""
    router = SimpleRouter()
    router.get("/a")(handler)
    with TestClient(Application(router)) as client:
        assert client.get("/a").status == 500
    assert len([record for record in caplog.records if "failed" in record.message]) == 1
    return caplog.text


Status: Any = Response
Failed: Any = HTTPError


@pytest.mark.parametrize(
    ("wrong", "note"),
    [
        (lambda: Status({}, status_code=201), "call it `status`"),
        (lambda: Failed(status_code=404, detail="x"), "call it `status`"),
        (lambda: Status({}, headers={"a": "b"}), "a reply has no headers of its own"),
        (lambda: Status(content={}), "it comes first: Response(data)"),
        (lambda: Status({}, 201), "the status has a name: Response(data, status=201)"),
        (lambda: Failed("no such order", 404), "the status comes first: HTTPError(404, 'no such order')"),
    ],
)
def test_a_call_as_elsewhere_is_told_of_once(
    wrong: Callable[[], Any], note: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert note in logged(lambda request: wrong(), caplog)
    with pytest.raises((TypeError, ValueError)) as caught:
        wrong()
    advise(caught.value, None)
    advise(caught.value, None)
    (added,) = caught.value.__notes__
    assert added.startswith("aiorest-ws: ")


def test_what_nobody_has_set_in_the_state_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    said = logged(lambda request: request.app.state.db, caplog)
    assert "\naiorest-ws: nothing has set app.state.db: a lifespan does so before the first request" in said


@pytest.mark.parametrize(
    "exc",
    [
        ValueError("x"),
        TypeError("f() got an unexpected keyword argument 'status_code'"),
        TypeError("AsyncClient.__init__() got an unexpected keyword argument 'headers'"),
        TypeError("Order.__init__() takes from 1 to 2 positional arguments but 3 were given"),
        TypeError("Own.Response.__init__() got an unexpected keyword argument 'content'"),
        KeyError("a"),
    ],
)
def test_nothing_is_said_of_the_rest(exc: Exception) -> None:
    advise(exc, object())
    assert not hasattr(exc, "__notes__")


def test_an_attribute_of_something_else_is_not_of_the_state() -> None:
    with pytest.raises(AttributeError) as caught:
        object().db  # type: ignore[attr-defined]  # noqa: B018
    advise(caught.value, object())
    assert not hasattr(caught.value, "__notes__")
