"""What handlers return as objects of msgspec and pydantic, and `response_model`: what of it is sent."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from msgspec import Struct, msgpack
from pydantic import BaseModel

from aiorest_ws import Application, MethodBasedView, Response, SimpleRouter, endpoint
from aiorest_ws.exceptions import InvalidHandler
from aiorest_ws.renderers import BaseRenderer, JSONRenderer, XMLRenderer
from aiorest_ws.testing import TestClient
from tests.swapping import Impl


class Tag(Struct):
    name: str


class User(Struct):
    id: int
    tags: list[Tag] = []


class SecretTag(Tag):
    secret: str = "hidden"


class SecretUser(User):
    password: str = "hidden"


@dataclass
class Point:
    x: int
    y: Decimal = Decimal("1.5")


@dataclass
class SecretPoint(Point):
    secret: str = "hidden"


class Model(BaseModel):
    id: int
    when: datetime = datetime(2024, 2, 29)


class SecretModel(Model):
    password: str = "hidden"


class Row:
    """As an ORM has it: attributes, and no other way to them."""

    def __init__(self, **columns: Any) -> None:
        self.__dict__.update(columns, password="hidden")


class Loop(Struct):
    it: Any = None


# Encoded as they are


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (User(1, [Tag("a")]), {"id": 1, "tags": [{"name": "a"}]}),
        ([User(1), {"u": Tag("é")}], [{"id": 1, "tags": []}, {"u": {"name": "é"}}]),
        (Point(1), {"x": 1, "y": "1.5"}),
        (Model(id=1), {"id": 1, "when": "2024-02-29T00:00:00"}),
        ([{"m": Model(id=1)}], [{"m": {"id": 1, "when": "2024-02-29T00:00:00"}}]),
        (Loop(Model(id=1)), {"it": {"id": 1, "when": "2024-02-29T00:00:00"}}),
        (Loop(Point(1)), {"it": {"x": 1, "y": "1.5"}}),
        (Loop([UUID(int=1), b"hi", float("nan"), {1}]), {"it": [str(UUID(int=1)), "aGk=", None, [1]]}),
        ({1: Tag("a")}, {"1": {"name": "a"}}),
        ([2**70, Tag("a")], [2**70, {"name": "a"}]),
    ],
    ids=str,
)
def test_objects_are_encoded(impl: Impl, value: Any, expected: Any) -> None:
    assert json.loads(impl.codec.dumps(value)) == expected
    assert impl.codec.plain(value) is not value


class Packed(Struct, rename="upper", tag=True):
    when: datetime
    raw: Any
    number: int
    ratio: float = float("inf")


def test_what_messagepack_has_itself_stays_so_in_objects(impl: Impl) -> None:
    now = datetime(2024, 2, 29, tzinfo=UTC)
    model = Model(id=1), {"id": 1, "when": "2024-02-29T00:00:00"}
    for raw, expected in ((b"hi", b"hi"), ({1: now}, {"1": now}), model):
        packed = impl.codec.write([Packed(now, raw, 2**70)], impl.codec.BINARY_MSGPACK)
        fields = {"type": "Packed", "WHEN": now, "RAW": expected, "NUMBER": str(2**70), "RATIO": float("inf")}
        assert msgpack.decode(packed) == [fields]


def test_integers_beyond_64_bits_are_exact_in_objects(impl: Impl) -> None:
    class Wide(BaseModel):
        number: int

    for wide in (Wide(number=2**70), Loop(Wide(number=2**70)), Loop(2**70)):
        assert f":{2**70}}}" in impl.codec.dumps({"it": wide}).decode()
        assert f":{2**70}}}" in impl.codec.dumps([2**70, wide]).decode()
        assert str(2**70).encode() in impl.codec.write(wide, impl.codec.BINARY_MSGPACK)


def test_objects_that_cannot_be_encoded_are_an_error(impl: Impl) -> None:
    loop = Loop()
    loop.it = [loop]
    for value in (Loop(object()), loop, Loop("\ud800")):
        with pytest.raises((TypeError, ValueError, RecursionError)):
            impl.codec.dumps(value)


@contextmanager
def client_of(*handlers: Any, view: Any = None) -> Iterator[TestClient]:
    router = SimpleRouter()
    for handler in handlers:
        router.register_endpoint(handler)
    if view is not None:
        router.register("/", view, "GET")
    with TestClient(Application(router=router)) as client:
        yield client


def answer(result: Any, **attrs: Any) -> Any:
    """Give the reply to a request whose handler returns `result`."""
    with client_of(endpoint("/", "GET", **attrs)(lambda request: result)) as client:
        return client.get("/")


@pytest.mark.parametrize("form", ["text", "text-base64", "binary", "binary-base64"])
def test_objects_come_in_every_form_and_with_ids(form: str) -> None:
    with client_of(endpoint("/", "GET")(lambda request: Response([User(1)], status=201))) as client:
        reply = client.get("/", form=form)
        assert (reply.status, reply.data) == (201, [{"id": 1, "tags": []}])


# response_model

USER = {"id": 1, "tags": [{"name": "a"}]}
MODEL = {"id": 1, "when": "2024-02-29T00:00:00"}


@pytest.mark.parametrize(
    ("model", "result", "expected"),
    [
        (User, Row(id=1, tags=[Row(name="a")]), USER),
        (User, {"id": 1, "tags": [{"name": "a", "x": 1}], "password": "hidden"}, USER),
        (User, SecretUser(1, [SecretTag("a")]), USER),
        (User, User(1, [SecretTag("a")]), USER),
        (list[User], [Row(id=1, tags=[Tag("a")]), User(1, [SecretTag("a")])], [USER, USER]),
        (tuple[User, ...], (Row(id=1, tags=[Tag("a")]),), [USER]),
        (dict[str, User], {"u": SecretUser(1, [Tag("a")])}, {"u": USER}),
        (User | None, None, None),
        (User | None, Row(id=1, tags=[Tag("a")]), USER),
        (Point, SecretPoint(1), {"x": 1, "y": "1.5"}),
        (Point, Row(x=1, y=Decimal(2)), {"x": 1, "y": "2"}),
        (list[Point], [SecretPoint(1)], [{"x": 1, "y": "1.5"}]),
        (Model, Row(id=1, when=datetime(2024, 2, 29)), MODEL),
        (Model, SecretModel(id=1), MODEL),
        (Model, {"id": 1, "password": "hidden"}, MODEL),
        (list[Model], [Row(id=1, when=datetime(2024, 2, 29)), SecretModel(id=1)], [MODEL, MODEL]),
        (Model | None, None, None),
        (int, 5, 5),
    ],
    ids=str,
)
def test_only_what_belongs_to_the_model_is_sent(model: Any, result: Any, expected: Any) -> None:
    assert answer(result, response_model=model).data == expected
    reply = answer(Response(result, status=201), response_model=model)
    assert (reply.status, reply.data) == (201, expected)


@pytest.mark.parametrize(
    ("model", "result"),
    [
        (User, Row(id="x")),
        (User, Row(no=1)),
        (User, None),
        (User, User("x")),  # type: ignore[arg-type]
        (list[User], User(1)),
        (Model, Row(id="x")),
        (Model, None),
        (User, object()),
    ],
    ids=str,
)
def test_a_result_that_does_not_fit_is_a_failed_handler(
    model: Any, result: Any, caplog: pytest.LogCaptureFixture
) -> None:
    reply = answer(result, response_model=model)
    assert (reply.status, reply.detail) == (500, "the handler's result cannot be encoded")
    records = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(records) == 1
    assert records[0].exc_info is not None
    assert "SerializerError" in records[0].getMessage()


class Later:
    """What a forgotten `await` leaves; a coroutine would complain that nobody awaits it."""

    def __await__(self) -> Iterator[None]:
        yield


@pytest.mark.parametrize("form", ["text", "msgpack"])
@pytest.mark.parametrize("model", [None, User, list[User]], ids=str)
@pytest.mark.parametrize("nested", [False, True])
def test_log_asks_for_the_await_that_is_missing(
    form: str, model: Any, nested: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(request: Any) -> Any:
        return [Later()] if nested else Later()

    with client_of(endpoint("/", "GET", response_model=model)(handler)) as client:
        assert client.get("/", form=form).status == 500
    if not (nested and model):  # else it is the model that does not fit
        assert "Later" in caplog.text
        assert ": is an `await` missing?" in caplog.text


def test_a_view_has_its_model_for_all_its_methods() -> None:
    class View(MethodBasedView):
        response_model = User

        async def get(self, request: Any) -> Any:
            return SecretUser(1)

        def put(self, request: Any) -> Any:
            return self._later()

        async def _later(self) -> Any:
            return SecretUser(2)

    class Threaded(View):
        threaded = True

        def post(self, request: Any) -> Any:
            return SecretUser(3)

    router = SimpleRouter()
    router.register("/v", View, ["GET", "PUT"])
    router.register("/t", Threaded, ["GET", "PUT", "POST"])
    with TestClient(Application(router=router)) as client:
        assert client.get("/v").data == client.get("/t").data == {"id": 1, "tags": []}
        assert client.put("/v").data == client.put("/t").data == {"id": 2, "tags": []}
        assert client.post("/t").data == {"id": 3, "tags": []}


def test_errors_and_replies_of_middlewares_are_not_of_the_model() -> None:
    class Short:
        async def __call__(self, request: Any, call_next: Any) -> Any:
            if request.args:
                return Response("short")
            response = await call_next(request)
            response.content["seen"] = type(response.content["data"]).__name__
            return response

    @endpoint("/", "GET", response_model=User, middlewares=[Short])
    def handler(request: Any) -> Any:
        return SecretUser(1)

    router = SimpleRouter()
    router.register_endpoint(handler)
    with TestClient(Application(router=router)) as client:
        assert client.get("/", args={"a": 1}).data == "short"
        client.send('{"method":"GET","url":"/"}')
        assert '"seen":"User"' in str(client.receive())


def test_a_reply_without_data_stays_as_it_is() -> None:
    assert answer(Response(status=204), response_model=User).data is None


class Repr(BaseRenderer):
    format = "repr"

    def render(self, data: Any) -> str:
        return repr(data["data"])


class Spaced(JSONRenderer):
    compact = False
    ensure_ascii = True


@pytest.mark.parametrize(
    ("renderer", "expected"),
    [
        (XMLRenderer, "<data><id>1</id><tags><list-item><name>é</name></list-item></tags></data>"),
        (Spaced, '{"id": 1, "tags": [{"name": "\\u00e9"}]}'),
        (Repr, "User(id=1, tags=[Tag(name='é')])"),
    ],
)
def test_models_reach_other_renderers(renderer: type[BaseRenderer], expected: str) -> None:
    class View(MethodBasedView):
        renderers = (renderer,)
        response_model = User

        def get(self, request: Any) -> Any:
            return Row(id=1, tags=[SecretTag("é")])

    with client_of(view=View) as client:
        client.send('{"method":"GET","url":"/"}')
        assert expected in str(client.receive())


class Stranger:
    pass


@pytest.mark.parametrize("model", [Stranger, list[Stranger], "User", list[int] | set[int]], ids=str)
def test_a_model_that_cannot_be_one_is_refused(model: Any) -> None:
    view = type("Broken", (MethodBasedView,), {"get": lambda self, request: None, "response_model": model})
    router = SimpleRouter()
    with pytest.raises(InvalidHandler, match=r"^response_model of view Broken cannot work: "):
        router.register("/", view, "GET")
    assert router.routes == ()
