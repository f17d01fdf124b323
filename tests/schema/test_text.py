"""Documents as JSON: what users put into defaults, limits and examples neither breaks it, nor makes it another one."""

from __future__ import annotations

import asyncio
import json
import math
from datetime import date
from typing import Annotated, Any

import pydantic
from msgspec import Meta, Struct

from aiorest_ws import Application, SimpleRouter
from aiorest_ws.schema.text import text_of
from tests.schema.kit import document_of
from tests.serving import run_program, within


class Strange(Struct):
    day: Annotated[date, Meta(examples=[date(2026, 1, 2), object])]
    most: float = math.inf


class Model(pydantic.BaseModel):
    value: float = pydantic.Field(default=math.nan, lt=math.inf)


def test_what_json_cannot_say_is_left_out_or_written_as_in_replies() -> None:
    router = SimpleRouter()

    @router.post("/", response_model=Model)
    def add(request: Any, data: Strange, limit: float = math.inf) -> Any: ...

    document = document_of(router)
    (limit,) = document["paths"]["/"]["post"]["parameters"]
    assert limit["schema"] == {"type": "number"}
    properties = document["components"]["schemas"]["Strange"]["properties"]
    assert properties["day"]["examples"] == ["2026-01-02", "<class 'object'>"]
    assert "default" not in properties["most"]
    assert "exclusiveMaximum" not in document["components"]["schemas"]["Model"]["properties"]["value"]
    json.dumps(document, allow_nan=False)


def test_half_a_character_is_escaped() -> None:
    router = SimpleRouter()

    def show(request: Any) -> Any: ...

    show.__doc__ = "half \ud800"
    router.get("/")(show)
    app = Application(router)
    app.openapi()
    assert "\\ud800" in app._documents.text("openapi", "API", "1")


def test_keys_and_sets_of_examples() -> None:
    assert text_of({"examples": [{(1, 2): 3, 4: {"b", "a", "c"}}]}) == '{"examples": [{"4": ["a", "b", "c"]}]}'


@within(60)
async def test_it_is_the_same_in_every_process() -> None:
    source = """
import enum, json
from typing import Annotated, Literal
from msgspec import Struct
from pydantic import BaseModel
from aiorest_ws import Application, MethodBasedView, SimpleRouter
class Color(enum.Enum):
    RED = "red"
    GREEN = "green"
    BLUE = "blue"
class One(Struct):
    names: frozenset[str] = frozenset({"a", "b", "c", "d", "e"})
    kind: Literal["x", "y", "z"] = "x"
    color: Color = Color.RED
class Two(BaseModel):
    names: set[str] = {"a", "b", "c", "d", "e"}
    kind: Literal["x", "y", "z"] = "x"
class View(MethodBasedView):
    response_model = One
    def get(self, request): ...
    def put(self, request, data: Two): ...
    def post(self, request, data: One): ...
router = SimpleRouter()
router.register("/", View)
app = Application(router)
print(json.dumps([app.openapi(), app.asyncapi()]))
"""
    texts = set()
    for outcome in await asyncio.gather(*(run_program(source, PYTHONHASHSEED=seed) for seed in ("0", "1", "2"))):
        assert (outcome.code, outcome.err) == (0, "")
        texts.add(outcome.out)
    assert len(texts) == 1
