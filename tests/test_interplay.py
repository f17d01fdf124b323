"""All that can stand around a handler, together: each reply, and all on the way to it, is as the parts promise.

A request goes by every combination of what its handler, its route and its application are; what is expected of each is
worked out here from the rules alone, one after another.
"""

# Without `from __future__ import annotations`: names of a test function could not be read from its text.

import asyncio
import functools
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import product
from typing import Annotated, Any, Generic, NamedTuple, TypeVar

import pytest
from msgspec import Struct
from prometheus_client import CollectorRegistry
from typing_extensions import TypeAliasType

from aiorest_ws import Application, Depends, HTTPError, MethodBasedView, SimpleRouter
from aiorest_ws._speedups import dumps
from aiorest_ws.metrics import Metrics
from aiorest_ws.renderers import BaseRenderer
from aiorest_ws.testing import AsyncTestClient
from aiorest_ws.testing.messages import FORMS, form_of, pack, unpack
from tests.serving import asynchronous

HANDLERS = ("def", "async def", "async def that waits", "threaded")
DEPENDENCIES = ("none", "generator", "async generator")
# How the dependency is written, by turns: behind an alias, a decorator, a partial, a generic class, an override.
WAYS = ("plain", "aliased", "decorated", "partial", "generic", "overridden")
LEVELS = ("application", "router", "include", "view")
GATES = ("none", "allows", "denies", "breaks")
OUTCOMES = ("reply", "misfit", "error", "refusal")
AROUND = ("none", "before", "onion", "mends")

log: list[str] = []


class Case(NamedTuple):
    """One route."""

    handler: str
    typed: int
    dependency: str
    gate: str
    model: int
    renderer: int

    @property
    def path(self) -> str:
        return "/" + "/".join(str(part).replace(" ", "-") for part in self)


CASES = [Case(*parts) for parts in product(HANDLERS, (0, 1), DEPENDENCIES, GATES, (0, 1), (0, 1))]


class Broken(Exception):
    pass


class Answer(Struct):
    n: Any
    name: str


class Marked(BaseRenderer):
    """JSON that shows who has made it."""

    def render(self, data: Any) -> bytes:
        return dumps({**data, "marked": True})


class Allows:
    def check(self, request: Any, view: Any) -> bool:
        log.append("gate")
        return True


class Denies:
    async def check(self, request: Any, view: Any) -> bool:
        log.append("gate")
        return False


class Breaks:
    def check(self, request: Any, view: Any) -> bool:
        log.append("gate")
        raise LookupError("who knows")


class Before:
    async def process_request(self, request: Any, view: Any) -> None:
        await asyncio.sleep(0)
        log.append("before")


class Onion:
    async def __call__(self, request: Any, call_next: Callable[[Any], Awaitable[Any]]) -> Any:
        log.append("in")
        try:
            return await call_next(request)
        finally:
            log.append("out")


class Mends:
    async def __call__(self, request: Any, call_next: Callable[[Any], Awaitable[Any]]) -> Any:
        try:
            return await call_next(request)
        except Broken:
            log.append("mended")
            return "mended"


def opened() -> Iterator[str]:
    log.append("open")
    try:
        yield "db"
    except BaseException as exc:
        log.append(f"heard {type(exc).__name__}")
        raise
    finally:
        log.append("close")


async def opened_later() -> AsyncIterator[str]:
    log.append("open")
    try:
        await asyncio.sleep(0)
        yield "db"
    except BaseException as exc:
        log.append(f"heard {type(exc).__name__}")
        raise
    finally:
        await asyncio.sleep(0)
        log.append("close")


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return call


T = TypeVar("T")


class Held(Generic[T]):
    """Gives what the others give, a str."""

    def __new__(cls, db: T) -> Any:
        return str(db)


def never() -> str:
    """Stand for what is overridden."""
    raise AssertionError


def never_later() -> str:
    """Stand for what is overridden."""
    raise AssertionError


def level(name: str) -> Depends:
    """Give what runs at a level for its effect."""

    def plain() -> None:
        log.append(name)

    async def later() -> None:
        await asyncio.sleep(0)
        log.append(name)

    return Depends(later if name == "include" else plain)


def annotation(way: str, call: Any) -> Any:
    """Give the annotation of the parameter that `call` gives, written in some way."""
    if way == "aliased":
        return TypeAliasType("Db", Annotated[TypeAliasType("Inner", Annotated[str, "db"]), Depends(call)])
    if way == "decorated":
        return Annotated[str, Depends(decorated(call))]
    if way == "partial":
        return Annotated[str, Depends(functools.partial(functools.partial(call)))]
    if way == "generic":
        return Annotated[str, Depends(Held[Annotated[str, Depends(call)]])]
    if way == "overridden":
        return Annotated[str, Depends(never if call is opened else never_later)]
    return Annotated[str, Depends(call)]


def made(n: Any, name: str, outcome: str) -> dict[str, Any]:
    """Do what every handler does."""
    log.append("handler")
    if outcome == "error":
        raise Broken
    if outcome == "refusal":
        raise HTTPError(409, "no")
    return {"n": n, "name": name, "secret": "x"}


def way_of(case: Case) -> str:
    return WAYS[CASES.index(case) % len(WAYS)]


def signature(case: Case) -> str:
    number = "n: int" if case.typed else "n"
    depends = {"none": "", "generator": "opened", "async generator": "opened_later"}[case.dependency]
    given = ", db: Db" if depends else ""
    return f"self, request, {number}{given}, outcome{': str' if case.typed else ''}='reply'"


def view_of(case: Case, effects: list[Depends]) -> type[MethodBasedView]:
    """Give the view of `case`, before which `effects` run."""
    waits = "await asyncio.sleep(0)" if case.handler == "async def that waits" else "pass"
    source = f"""
{"async " if case.handler.startswith("async") else ""}def get({signature(case)}):
    {waits}
    return made(n, {"'none'" if case.dependency == "none" else "db"}, outcome)
"""
    call = opened_later if case.dependency == "async generator" else opened
    namespace = {**globals(), "Db": annotation(way_of(case), call)}
    exec(source, namespace)
    members: dict[str, Any] = {
        "get": namespace["get"],
        "dependencies": effects,
        "threaded": case.handler == "threaded",
        "permission_classes": {"none": (), "allows": (Allows(),), "denies": (Denies(),), "breaks": (Breaks(),)}[
            case.gate
        ],
    }
    if case.model:
        members["response_model"] = Answer
    if case.renderer:
        members["renderers"] = (Marked,)
    return type("Every", (MethodBasedView,), members)


def application(cases: list[Case], around: str, recovers: bool, levels: bool) -> tuple[Application, CollectorRegistry]:
    """Give the application; with `levels` something runs at each for its effect."""
    effects = {name: [level(name)] if levels else [] for name in LEVELS}
    router, inner = SimpleRouter(dependencies=effects["router"]), SimpleRouter()
    for case in cases:
        inner.register(f"{case.path}/{{n}}", view_of(case, effects["view"]), "GET")
    router.include(inner, dependencies=effects["include"])
    middlewares: dict[str, list[Any]] = {"none": [], "before": [Before], "onion": [Onion], "mends": [Mends]}
    registry = CollectorRegistry()
    app = Application(
        router=router,
        middlewares=middlewares[around],
        dependencies=effects["application"],
        metrics=Metrics(registry),
        access_log=True,
    )
    app.dependency_overrides = {never: opened, never_later: opened_later}
    if recovers:

        @app.exception_handler(Broken)
        async def recover(request: Any, exc: Broken) -> Any:
            log.append("recovered")
            return "recovered"

    return app, registry


def expected(case: Case, outcome: str, around: str, recovers: bool, levels: bool) -> tuple[dict[str, Any], list[str]]:
    """Give the reply, and what is in the log."""
    if case.gate in ("denies", "breaks"):
        reply: dict[str, Any] = {"status": 403}
        inside = ["gate"]
    else:
        reply, inside = _behind_the_gate(case, outcome, levels)
        inside = ["gate"] * (case.gate == "allows") + inside
    failed = reply.get("status") == 500
    if around == "mends" and failed:
        reply = {"status": 200, "data": "mended"}
        return reply | ({"marked": True} if case.renderer else {}), [*inside, "mended"]
    events = {"before": ["before"], "onion": ["in"]}.get(around, []) + inside
    if around == "onion":
        # The reply is rendered behind the middlewares; what a thread opened, it has closed itself.
        late = "close" in inside and reply["status"] == 200 and not _is_all_in_a_thread(case, levels)
        events = [*events[:-1], "out", "close"] if late else [*events, "out"]
    if recovers and failed:
        return {"status": 200, "data": "recovered"}, [*events, "recovered"]
    return reply, events


def _is_all_in_a_thread(case: Case, levels: bool) -> bool:
    waits = levels or way_of(case) == "decorated"
    return case.handler == "threaded" and case.dependency == "generator" and not waits


def _behind_the_gate(case: Case, outcome: str, levels: bool) -> tuple[dict[str, Any], list[str]]:
    if outcome == "misfit" and case.typed:
        return {"status": 422}, []
    events = ["handler"]
    if case.dependency != "none":
        heard = {"error": ["heard Broken"], "refusal": ["heard HTTPError"]}.get(outcome, [])
        events = ["open", *events, *heard, "close"]
    events = [*(LEVELS if levels else ()), *events]
    if outcome == "error":
        return {"status": 500}, events
    if outcome == "refusal":
        return {"status": 409, "detail": "no"}, events
    n: Any = "x" if outcome == "misfit" else 7 if case.typed else "7"
    data: dict[str, Any] = {"n": n, "name": "none" if case.dependency == "none" else "db"}
    reply: dict[str, Any] = {"status": 200, "data": data if case.model else {**data, "secret": "x"}}
    return reply | ({"marked": True} if case.renderer else {}), events


@pytest.mark.parametrize("levels", [False, True], ids=["", "levels"])
@pytest.mark.parametrize("recovers", [False, True], ids=["refuses", "recovers"])
@pytest.mark.parametrize("around", AROUND)
def test_every_combination_replies_as_its_parts_promise(
    around: str, recovers: bool, levels: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "aiorest_ws.access")
    statuses: Counter[str] = Counter()
    forms = list(FORMS)
    cases = CASES[(AROUND.index(around) + 2 * recovers + levels) % 5 :: 5]  # all would take twenty seconds

    @asynchronous
    async def test() -> None:
        app, registry = application(cases, around, recovers, levels)
        async with AsyncTestClient(app) as client:
            for number, (case, outcome) in enumerate(product(cases, OUTCOMES)):
                log.clear()
                form = forms[number % len(forms)]
                reply = await answer(client, case, outcome, form, number)
                wanted, events = expected(case, outcome, around, recovers, levels)
                got = {key: reply[key] for key in ("status", "data", "detail", "marked") if key in reply}
                if wanted["status"] in (403, 422, 500):
                    assert set(got) == {"status", "detail"}, (case, outcome, form)
                    del got["detail"]
                assert (reply["id"], got, log) == (number, wanted, events), (case, outcome, form)
                statuses[str(wanted["status"])] += 1
            assert client.events() == []  # nothing was answered twice
        counted: Counter[str] = Counter()
        for metric in registry.collect():
            for sample in metric.samples:
                if sample.name == "aiorest_ws_requests_total":
                    counted[sample.labels["status"]] += int(sample.value)
        assert counted == statuses

    test()
    assert (
        Counter(record.getMessage().split()[3] for record in caplog.records if record.name == "aiorest_ws.access")
        == statuses
    )


async def answer(client: AsyncTestClient, case: Case, outcome: str, form: str, number: int) -> Any:
    """Ask for `case`, and give the reply in whichever form it came."""
    message: dict[str, Any] = {
        "method": "GET",
        "url": f"{case.path}/{'x' if outcome == 'misfit' else 7}",
        "id": number,
        "args": {} if outcome == "misfit" else {"outcome": outcome},
    }
    payload, is_binary = pack(message, form_of(form))
    await client.send(payload if is_binary else payload.decode())
    reply = await client.receive()
    assert isinstance(reply, bytes) is is_binary
    found, raw = unpack(reply if isinstance(reply, bytes) else reply.encode())
    assert (raw == (reply if isinstance(reply, bytes) else reply.encode())) is ("base64" not in form)
    return found
