"""No slow cliff: what is odd about a message makes it cost at most three times as much a byte as an ordinary one.

The cost is counted, not timed: the calls, of Python's functions and from them of C's, while a message is read, checked
and answered (`cProfile`). What is slow here is a step of Python for each item, which makes such calls; what looks
at a level again for each item or level makes more of them a byte the longer the message is. Loops in C are not seen:
those over the bytes are orjson's, msgspec's and pybase64's, and count as `IN_C` for each byte. What is dearer than
three times an ordinary message is in `DEARER`, with the reason. Run on both paths, as the whole suite is.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from cProfile import Profile
from decimal import Decimal
from fnmatch import fnmatchcase
from functools import partial
from socket import socket, socketpair
from threading import Thread
from typing import Any, NamedTuple
from uuid import UUID
from weakref import ref

import msgspec
import pytest

from aiorest_ws import Application, MethodBasedView, SimpleRouter, _speedups
from aiorest_ws._speedups.collector import undisturbed, undisturbed_in_turn
from aiorest_ws.renderers import XMLRenderer
from tests.serving import LOOPS, loop_factory

ITEMS = 2_500  # more than an `event_name` may have, and twice as many
TIMES = 3.0
IN_C = 0.15  # calls that a byte is worth: orjson reads and writes seven of them in the time of one
FIXED = 5_000  # calls that do not depend on the size: a level is one, a fault is looked for in 10,000 places
LEVELS = 300  # more than orjson writes

UNITS = {"array": [], "object": {}, "pair": [[]], "member": {"a": 0}, "digit": 0, "text": "a", "float": 1.5, "é": "é\n"}
FORMS: dict[str, Iterable[str]] = {"json": UNITS, "base64": ("object", "pair", "float"), "msgpack": UNITS}
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

    handle = asyncio.run(prepare()).handle
    handle(b'{"method": "POST", "url": "/xml"}', False)  # the first of them has what writes XML imported
    return handle


def written(envelope: Any, form: str) -> tuple[bytes, bool]:
    if form == "msgpack":
        return msgspec.msgpack.encode(envelope), True
    text = json.dumps(envelope, separators=(",", ":")).encode()
    return (base64.b64encode(text) if form == "base64" else text), False


def messages(count: int, units: Iterable[str] = UNITS) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the name and the envelope of every kind of message, of so many items."""
    for unit_name in units:
        unit = UNITS[unit_name]
        for shape_name, shape in SHAPES.items():
            value = shape(unit, count)
            for view in ("echo", "xml", *(TYPED if shape_name in ("flat", "wide") else ())):
                yield f"{unit_name} {shape_name} to {view}", {"url": f"/{view}", "data": value}
            for key in ("event_name", "more", "args", "id", "url", "method", "token"):
                yield f"{unit_name} {shape_name} as {key}", {"url": "/none", key: value}
            if shape_name == "wide":
                yield f"{unit_name} wide as envelope", {"url": "/none", **value}


def calls_of(handle: Any, payload: bytes, is_binary: bool) -> int:
    before, tracer = sys.getprofile(), sys.gettrace()
    sys.setprofile(None)
    sys.settrace(None)  # coverage would follow some millions of lines that it has seen
    profile = Profile()  # which counts in C: a function of Python for each call takes most of a run
    profile.enable()
    try:
        handle(payload, is_binary)
    finally:
        profile.disable()
        sys.settrace(tracer)
        sys.setprofile(before)
    return sum(entry.callcount for entry in profile.getstats())


def record(at: int) -> dict[str, Any]:
    return {"id": at, "name": f"item {at}", "price": 12.5, "tags": ["new", "sale"], "note": "", "on": True}


# What each view is for; all others are for records.
ORDINARY: dict[str, Callable[[int], Any]] = {
    "uuids": lambda count: [str(UUID(int=at)) for at in range(count)],
    "decimals": lambda count: [f"{at}.50" for at in range(count)],
    "set": lambda count: [f"{at}.50" for at in range(count)],
    "keys": lambda count: {str(at): at for at in range(count)},
    "texts": lambda count: {str(UUID(int=at)): at for at in range(count)},
    "numbers": lambda count: list(range(count)),
    "lists": lambda count: [[at, at + 1] for at in range(count)],
}


class Dearer(NamedTuple):
    """Messages that may cost up to `times` an ordinary one, by byte, and why that is no cliff."""

    names: str
    forms: tuple[str, ...]
    times: float
    why: str
    pure: bool = False  # on the pure path only


TEXTS = ("json", "base64")
DEARER = (
    Dearer("* to xml", TEXTS, 6, "an element of two bytes takes as many calls as a long one; there are 50,000 at most"),
    Dearer("* to xml", ("msgpack",), 12, "the same, of one byte"),
    Dearer("float flat to set", TEXTS, 4, "its digits are read number by number; there are 40,000 at most"),
    Dearer("float flat to decimals", ("json",), 3.5, "the same"),
    Dearer("* flat *", ("msgpack",), 15, "`[]` is one byte, and three calls to check it, one to answer", pure=True),
    Dearer("* deep *", ("msgpack",), 15, "the same", pure=True),
    Dearer("* towers *", ("msgpack",), 15, "the same", pure=True),
    Dearer("* wide *", ("msgpack",), 6, "the same, beside a key", pure=True),
)


class Cost(NamedTuple):
    """Of two messages, one of which has twice as many items: the calls that each takes, and its bytes."""

    calls: tuple[int, int]
    sizes: tuple[int, int]

    @classmethod
    def of(cls, handle: Any, form: str, make: Callable[[int], dict[str, Any]]) -> Cost:
        """Measure those which `make` gives for a number of items."""
        pair = [written({"method": "POST"} | make(count), form) for count in (ITEMS, 2 * ITEMS)]
        once, twice = (calls_of(handle, *message) for message in pair)
        return cls((once, twice), (len(pair[0][0]), len(pair[1][0])))

    @property
    def a_byte(self) -> float:
        """Calls for one more byte."""
        return (self.calls[1] - self.calls[0]) / (self.sizes[1] - self.sizes[0]) + IN_C


def ordinary(view: str, count: int) -> dict[str, Any]:
    """Give the envelope of what a view is for."""
    make = ORDINARY.get(view, lambda count: [record(at) for at in range(count)])
    return {"url": f"/{view}", "data": make(count)}


@pytest.fixture(scope="module", params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def costs(handle: Any, form: str) -> dict[str, tuple[str, Cost]]:
    """Give the view and the cost of every kind of message, by name."""
    shorter, longer = dict(messages(ITEMS, FORMS[form])), dict(messages(2 * ITEMS, FORMS[form]))
    found = {}
    for name, envelope in longer.items():
        view = envelope["url"][1:] if " to " in name else "none"
        found[name] = view, Cost.of(handle, form, {ITEMS: shorter[name], 2 * ITEMS: envelope}.__getitem__)
    return found


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    """Keep complaints about what is refused out of what is counted, and the collector from what was there before."""
    logger = logging.getLogger("aiorest_ws")
    level = logger.level
    logger.setLevel("CRITICAL")
    gc.freeze()
    yield
    gc.unfreeze()
    logger.setLevel(level)


def test_no_message_costs_three_times_as_much_for_a_byte(
    handle: Any, form: str, costs: dict[str, tuple[str, Cost]]
) -> None:
    usual = {view: Cost.of(handle, form, partial(ordinary, view)).a_byte for view in ("echo", "xml", "none", *TYPED)}
    assert len(costs) > 100
    times = {name: cost.a_byte / usual[view] for name, (view, cost) in costs.items()}
    rows = [row for row in DEARER if form in row.forms and (not row.pure or not _speedups.COMPILED)]
    beyond = {name: cost for name, cost in times.items() if cost > TIMES}
    unlisted = {name: cost for name, cost in beyond.items() if cost > _allowed(name, rows)}
    assert unlisted == {}
    idle = [row for row in rows if not any(fnmatchcase(name, row.names) for name in beyond)]
    assert idle == []


def _allowed(name: str, rows: list[Dearer]) -> float:
    return next((row.times for row in rows if fnmatchcase(name, row.names)), TIMES)


def test_twice_as_long_costs_twice_as_much(costs: dict[str, tuple[str, Cost]]) -> None:
    pairs = {name: cost.calls for name, (_, cost) in costs.items()}
    worse = {name: (once, twice) for name, (once, twice) in pairs.items() if twice > 2.3 * once + FIXED}
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


class Made:
    """What a message is made of, for whoever asks whether it is there yet."""


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> Iterator[asyncio.AbstractEventLoop]:
    was = gc.isenabled()
    gc.enable()
    loop = loop_factory(request.param)()
    yield loop
    loop.close()
    (gc.enable if was else gc.disable)()


def test_what_a_message_made_is_freed_after_others_were_served(loop: asyncio.AbstractEventLoop) -> None:
    seen: list[tuple[bool, bool]] = []

    async def receive(ours: socket, theirs: socket) -> None:
        ours.setblocking(False)
        served = asyncio.Event()
        message = ref(undisturbed_in_turn(Made))
        answer = ref(undisturbed_in_turn(Made))
        beyond = ref(undisturbed_in_turn(Made))
        assert beyond() is None

        def serve() -> None:
            seen.append((None not in (message(), answer()), gc.isenabled()))
            loop.remove_reader(ours)
            served.set()

        loop.add_reader(ours, serve)
        theirs.send(b"x")
        await served.wait()
        await asyncio.sleep(0)
        assert (message(), answer(), gc.isenabled()) == (None, None, True)

    ours, theirs = socketpair()
    with ours, theirs:
        loop.run_until_complete(receive(ours, theirs))
        loop.run_until_complete(receive(ours, theirs))
    assert seen == [(True, False)] * 2


def test_a_loop_that_ends_lets_go_and_lets_the_collector_in(loop: asyncio.AbstractEventLoop) -> None:
    messages: list[ref[Made]] = []

    def receive() -> None:
        loop.stop()
        messages.append(ref(undisturbed_in_turn(Made)))

    loop.call_soon(receive)
    loop.run_forever()
    (message,) = messages
    assert message() is not None
    assert not gc.isenabled()
    loop.close()
    assert message() is None
    assert gc.isenabled()


def test_a_collector_that_is_off_stays_off(loop: asyncio.AbstractEventLoop) -> None:
    async def receive() -> None:
        message = ref(undisturbed_in_turn(Made))
        while message() is not None:  # noqa: ASYNC110 (turns are what is counted)
            await asyncio.sleep(0)

    gc.disable()
    loop.run_until_complete(receive())
    assert not gc.isenabled()


def test_without_a_loop_nothing_is_kept() -> None:
    message = ref(undisturbed_in_turn(Made))
    assert message() is None
