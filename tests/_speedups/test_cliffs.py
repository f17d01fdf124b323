"""No slow cliff: what a message costs for each of its bytes does not depend on what is odd about it.

The cost is counted, not timed: the calls, of Python's functions and from them of C's, while a message is read, checked
and answered (`sys.setprofile`). What is slow here is a step of Python for each item, which makes such calls; what looks
at a level again for each item or level makes more of them a byte the longer the message is. Loops in C are not seen:
those over the bytes are orjson's, msgspec's and pybase64's. Run on both paths, as the whole suite is.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from threading import Thread
from typing import Any
from uuid import UUID

import msgspec
import pytest

from aiorest_ws import Application, MethodBasedView, SimpleRouter
from aiorest_ws._speedups.collector import undisturbed
from aiorest_ws.renderers import XMLRenderer

MOST = 5.0  # calls for a byte; an array of MessagePack, one byte, makes four on the pure path
MOST_OF_XML = 8.0  # `[[]]` is two bytes of MessagePack, and two elements that are counted and opened
ITEMS = {"json": 5_000, "base64": 500, "msgpack": 5_000}
FIXED = 5_000  # calls that do not depend on the size: a level is one, a fault is looked for in 10,000 places
BLAME = 45_000  # calls to find what cannot be sent, at most
LEVELS = 300  # more than orjson writes

UNITS = {"array": [], "object": {}, "pair": [[]], "member": {"a": 0}, "digit": 0, "text": "a", "float": 1.5, "é": "é\n"}
TYPED: dict[str, Any] = {
    "uuids": set[UUID],
    "decimals": list[Decimal],
    "set": set[Decimal],
    "keys": dict[int, int],
    "texts": dict[UUID, Any],
    "numbers": list[int],
    "lists": list[list[int]],
}


def nested(value: Any, levels: int) -> Any:
    for _ in range(levels):
        value = [value]
    return value


SHAPES: dict[str, Callable[[Any, int], Any]] = {
    "flat": lambda unit, count: [unit] * count,
    "wide": lambda unit, count: {f"{at:x}": unit for at in range(count)},
    "deep": lambda unit, count: nested([unit] * count, LEVELS),
    "towers": lambda unit, count: [nested(unit, LEVELS)] * (count // LEVELS),
}


class Xml(MethodBasedView):
    renderers = (XMLRenderer,)

    def post(self, request: Any) -> Any:
        return request.data


@pytest.fixture(scope="module")
def handle() -> Any:
    router = SimpleRouter()
    router.post("/echo")(lambda request: request.data)
    router.post("/none")(lambda request: None)
    router.register("/xml", Xml, "POST")
    for name, hint in TYPED.items():

        def take(request: Any, data: Any) -> int:
            return 1

        take.__annotations__["data"] = hint
        router.post(f"/{name}")(take)

    async def prepare() -> Any:
        return Application(router=router).prepare().pipeline

    return asyncio.run(prepare()).handle


def written(envelope: Any, form: str) -> tuple[bytes, bool]:
    if form == "msgpack":
        return msgspec.msgpack.encode(envelope), True
    text = json.dumps(envelope, separators=(",", ":")).encode()
    return (base64.b64encode(text) if form == "base64" else text), False


def messages(count: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the name and the envelope of every kind of message, of so many items."""
    for unit_name, unit in UNITS.items():
        for shape_name, shape in SHAPES.items():
            value = shape(unit, count)
            for view in ("echo", "xml", *(TYPED if shape_name in ("flat", "wide") else ())):
                yield f"{unit_name} {shape_name} to {view}", {"url": f"/{view}", "data": value}
            for key in ("event_name", "more", "args", "id", "url", "method", "token"):
                yield f"{unit_name} {shape_name} as {key}", {"url": "/none", key: value}
            if shape_name == "wide":
                yield f"{unit_name} wide as envelope", {"url": "/none", **value}


def calls_of(handle: Any, payload: bytes, is_binary: bool) -> int:
    calls = 0

    def count(frame: Any, event: str, arg: Any) -> None:
        nonlocal calls
        if event in ("call", "c_call"):
            calls += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        handle(payload, is_binary)
    finally:
        sys.setprofile(before)
    return calls


@pytest.mark.parametrize("form", ITEMS)
def test_no_message_costs_more_calls_for_a_byte(handle: Any, form: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL", "aiorest_ws")
    found = {}
    for name, envelope in messages(ITEMS[form]):
        payload, is_binary = written({"method": "POST"} | envelope, form)
        fixed = FIXED + (BLAME if "xml" in name else 0)
        found[name] = (calls_of(handle, payload, is_binary) - fixed) / len(payload)
    assert len(found) > 300
    assert {name: cost for name, cost in found.items() if cost > (MOST_OF_XML if "xml" in name else MOST)} == {}


@pytest.mark.parametrize("form", ["json", "msgpack"])
def test_twice_as_long_costs_twice_as_much(handle: Any, form: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL", "aiorest_ws")
    cost: list[dict[str, int]] = []
    for count in (1_000, 2_000):
        found = {}
        for name, envelope in messages(count):
            payload, is_binary = written({"method": "POST"} | envelope, form)
            found[name] = calls_of(handle, payload, is_binary)
        cost.append(found)
    worse = {name: (once, cost[1][name]) for name, once in cost[0].items() if cost[1][name] > 2.3 * once + FIXED}
    assert worse == {}


# The collector


@pytest.fixture
def switched_back() -> Iterator[None]:
    was = gc.isenabled()
    yield
    (gc.enable if was else gc.disable)()


@pytest.mark.usefixtures("switched_back")
@pytest.mark.parametrize("is_on", [True, False])
def test_collector_is_out_for_one_call_and_then_as_it_was(is_on: bool) -> None:
    (gc.enable if is_on else gc.disable)()
    assert undisturbed(lambda: undisturbed(gc.isenabled)) is False
    assert gc.isenabled() is is_on
    with pytest.raises(ZeroDivisionError):
        undisturbed(lambda: 1 / 0)
    assert gc.isenabled() is is_on


@pytest.mark.usefixtures("switched_back")
def test_who_overlaps_with_another_does_not_keep_the_collector_out_longer() -> None:
    gc.enable()

    def outer() -> None:
        thread = Thread(target=undisturbed, args=(lambda: None,))
        thread.start()
        thread.join()
        assert not gc.isenabled()

    undisturbed(outer)
    assert gc.isenabled()
    undisturbed(lambda: undisturbed(lambda: None))
    assert gc.isenabled()


@pytest.mark.parametrize("size", [1_000, 100_000])
def test_collector_is_out_while_a_large_message_is_checked_and_in_while_it_is_handled(size: int) -> None:
    seen: dict[str, bool] = {}

    class Watched:
        @classmethod
        def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
            from pydantic_core import core_schema

            def look(value: Any) -> Any:
                seen["checked"] = gc.isenabled()
                return value

            return core_schema.no_info_plain_validator_function(look)

    def take(request: Any, data: Any) -> None:
        seen["handled"] = gc.isenabled()

    take.__annotations__["data"] = Watched
    router = SimpleRouter()
    router.post("/x")(take)

    async def prepare() -> Any:
        return Application(router=router).prepare().pipeline

    pipeline = asyncio.run(prepare())
    was = gc.isenabled()
    gc.enable()
    try:
        pipeline.handle(*written({"method": "POST", "url": "/x", "data": "x" * size}, "json"))
    finally:
        (gc.enable if was else gc.disable)()
    assert seen == {"checked": size < 64 * 1024, "handled": True}
