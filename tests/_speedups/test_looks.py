"""What a handler sees of its task is its own: what one leaves there, none after it finds.

Most handlers make their only step in the name of a task that is kept ready for all of them; who looks at it gets it.
"""

import asyncio
import gc
import threading
import weakref
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from itertools import count
from typing import Annotated, Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import async_scoped_session, async_sessionmaker

from aiorest_ws import SimpleRouter, _speedups, endpoint
from aiorest_ws.dependencies import Depends
from tests.kit.examples import examples
from tests.serving import LOOPS, Client, asynchronous, dump, factory_of, frame, make_router, serving, turn_over
from tests.swapping import Impl

on_each_loop = pytest.mark.parametrize("loop", LOOPS)

var: ContextVar[Any] = ContextVar("var")


def this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


# Handlers without a second step, each of which leaves something at its task: they tell what they find there.

Leaver = Callable[[str], Any]
LEAVERS: dict[str, Callable[[], Leaver]] = {}


def leaver(make: Callable[[], Leaver]) -> Callable[[], Leaver]:
    LEAVERS[make.__name__] = make
    return make


@leaver
def a_scoped_session() -> Leaver:
    registry = async_scoped_session(async_sessionmaker(), scopefunc=asyncio.current_task)

    def leave(name: str) -> Any:
        before = registry.info.get("user")
        registry.info["user"] = name
        assert registry().info["user"] == name
        return before

    return leave


@leaver
def a_scoped_session_by_the_tasks_name() -> Leaver:
    registry = async_scoped_session(async_sessionmaker(), scopefunc=lambda: this_task().get_name())

    def leave(name: str) -> Any:
        before = registry.info.get("user")
        registry.info["user"] = name
        return before

    return leave


@leaver
def a_weak_key() -> Leaver:
    users: weakref.WeakKeyDictionary[asyncio.Task[Any], str] = weakref.WeakKeyDictionary()

    def leave(name: str) -> Any:
        before = users.get(this_task())
        users[this_task()] = name
        return before

    return leave


@leaver
def a_name() -> Leaver:
    def leave(name: str) -> Any:
        before = this_task().get_name()
        this_task().set_name(f"mine, {name}")
        return before if before.startswith("mine") else None

    return leave


@leaver
def a_cancellation() -> Leaver:
    def leave(name: str) -> Any:
        before = this_task().cancelling()
        this_task().cancel()
        this_task().uncancel()
        this_task().cancel()
        return before or None

    return leave


@leaver
def a_cancel_scope() -> Leaver:
    scopes: list[anyio.CancelScope] = []

    def leave(name: str) -> Any:
        try:
            before = anyio.current_effective_deadline()
            scopes.append(anyio.CancelScope(deadline=-1e9))
            scopes[-1].__enter__()
        finally:
            scopes[-1].__exit__(None, None, None)
        return None if before == float("inf") else before

    return leave


@leaver
def what_a_thread_keeps() -> Leaver:
    users: dict[Any, str] = {}

    def look(loop: asyncio.AbstractEventLoop, name: str, found: list[Any]) -> None:
        task = asyncio.current_task(loop)
        assert task is not None
        found.append(users.get(task.get_name()))
        users[task.get_name()] = name

    def leave(name: str) -> Any:
        found: list[Any] = []
        thread = threading.Thread(target=look, args=(asyncio.get_running_loop(), name, found))
        thread.start()
        thread.join()
        return found[0]

    return leave


def routes_of(leave: Leaver) -> SimpleRouter:
    """Give a router with every place from which a request of one step may look at its task."""

    @endpoint("/handler/{name}", "GET")
    async def handler(request: Any, name: str) -> Any:
        return leave(name)

    @endpoint("/helper/{name}", "GET")
    async def helper(request: Any, name: str) -> Any:
        async def look() -> Any:
            return leave(name)

        return await look()

    @endpoint("/raises/{name}", "GET")
    async def raises(request: Any, name: str) -> Any:
        raise RuntimeError(leave(name))

    def plain(request: Any) -> Any:
        return leave(str(request.id))

    async def waiting(request: Any) -> Any:
        return leave(str(request.id))

    @endpoint("/depends/{name}", "GET")
    async def depends(request: Any, name: str, left: Annotated[Any, Depends(plain)]) -> Any:
        return left

    @endpoint("/awaits/{name}", "GET")
    async def awaits(request: Any, name: str, left: Annotated[Any, Depends(waiting)]) -> Any:
        return left

    class Around:
        async def __call__(self, request: Any, call_next: Any) -> Any:
            request.state.left = leave(str(request.id))
            return await call_next(request)

    @endpoint("/around/{name}", "GET", middlewares=[Around()])
    async def around(request: Any, name: str) -> Any:
        return request.state.left

    router = SimpleRouter()
    for each in (handler, helper, raises, depends, awaits, around):
        router.register_endpoint(each)
    return router


PLACES = ("handler", "helper", "raises", "depends", "awaits", "around")


async def parked(app: Any) -> Any:
    """Wait until a spare task is ready, and give it, if handlers have one."""
    factory_of(app).spare_tasks.prepare()
    await turn_over(2)
    return factory_of(app).spare_tasks.spare


@pytest.fixture(autouse=True)
def _silent(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL", "aiorest_ws")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", LEAVERS)
@on_each_loop
@asynchronous
async def test_nobody_finds_what_another_left_at_its_task(loop: str, name: str, place: str) -> None:
    found: list[Any] = []
    leave = LEAVERS[name]()

    def noting(user: str) -> Any:
        found.append(leave(user))
        return found[-1]

    async with (
        serving(routes_of(noting)) as app,
        await Client.connect(app) as client,
        await Client.connect(app) as other,
    ):
        numbers = count()
        for each in (client, other, client, other):
            await parked(app)
            await each.ask(url=f"/{place}/a", id=next(numbers))
        for each in (client, other):
            await parked(app)
            each.writer.write(
                b"".join(frame(dump({"method": "GET", "url": f"/{place}/b", "id": next(numbers)})) for _ in range(4))
            )
            for _ in range(4):
                await each.reply()
        assert found == 12 * [None]


@on_each_loop
@asynchronous
async def test_task_ends_with_its_handler(loop: str) -> None:
    """Whoever waits for that is told, once for each."""
    ended: list[str] = []
    tasks: list[weakref.ref[asyncio.Task[Any]]] = []

    def leave(name: str) -> None:
        tasks.append(weakref.ref(this_task()))
        this_task().add_done_callback(lambda task: ended.append(f"{name} {task.result()}"))

    async with serving(routes_of(leave)) as app, await Client.connect(app) as client:
        for number, place in enumerate(PLACES):
            await parked(app)
            await client.ask(url=f"/{place}/{number}", id=number)
            await turn_over()
            assert ended == [f"{n} None" for n in range(number + 1)]
        gc.collect()
        assert [ref() for ref in tasks] == len(PLACES) * [None]


@on_each_loop
@asynchronous
async def test_handler_that_cancels_its_task_ends_it_as_cancelled(loop: str) -> None:
    ended: list[bool] = []

    async def cancels(request: Any) -> str:
        this_task().add_done_callback(lambda task: ended.append(task.cancelled()))
        this_task().cancel()
        return "told"

    async with serving(make_router(cancels=cancels)) as app, await Client.connect(app) as client:
        for _ in range(3):
            await parked(app)
            assert (await client.ask(url="/cancels"))["data"] == "told"
        await turn_over()
        assert ended == 3 * [True]


@pytest.mark.parametrize("when", ["at once", "soon", "later"])
@on_each_loop
@asynchronous
async def test_task_that_is_kept_and_cancelled_later_hurts_nobody(loop: str, when: str) -> None:
    kept: list[asyncio.Task[Any]] = []
    gate = asyncio.Event()

    async def keeps(request: Any) -> str:
        kept.append(this_task())
        if when == "soon":
            asyncio.get_running_loop().call_soon(kept[-1].cancel)
        return "kept"

    async def waits(request: Any) -> str:
        await gate.wait()
        return "waited"

    async def cancels(request: Any) -> str:
        for task in kept:
            task.cancel()
        return "cancelled"

    router = make_router(keeps=keeps, waits=waits, cancels=cancels)
    async with serving(router) as app, await Client.connect(app) as client, await Client.connect(app) as other:
        for _ in range(4):
            gate.clear()
            await parked(app)
            if when == "at once":
                urls = ("/keeps", "/cancels", "/waits")
                client.writer.write(b"".join(frame(dump({"method": "GET", "url": url, "id": url})) for url in urls))
            else:
                await client.ask(url="/keeps")
                other.request(url="/waits", id=1)
                await client.ask(url="/hello")
            await parked(app)
            assert (await other.ask(url="/cancels", id=2))["id"] == 2
            gate.set()
            replies = [await client.reply() for _ in range(3)] if when == "at once" else [await other.reply()]
            assert [reply["status"] for reply in replies] == len(replies) * [200]
        await turn_over()
        assert len(set(kept)) == 4
        assert [task.done() and not task.cancelled() for task in kept] == 4 * [True]


@on_each_loop
@asynchronous
async def test_task_that_somebody_has_of_all_tasks_is_used_no_more(loop: str) -> None:
    kept: list[set[asyncio.Task[Any]]] = []
    gate = asyncio.Event()
    mine: list[asyncio.Task[Any]] = []

    async def keeps(request: Any) -> str:
        kept.append(asyncio.all_tasks())
        return "kept"

    async def waits(request: Any) -> str:
        await gate.wait()
        mine.append(this_task())
        return "waited"

    router = make_router(keeps=keeps, waits=waits)
    async with serving(router) as app, await Client.connect(app) as client:
        await parked(app)
        await client.ask(url="/keeps")
        client.request(url="/waits")
        await turn_over()
        gate.set()
        assert (await client.reply())["data"] == "waited"
        assert mine[0] not in kept[0]
        await turn_over()
        (spare,) = [task for task in asyncio.all_tasks() if task.get_coro().__qualname__ == "SpareTask._work"]  # type: ignore[union-attr]
        assert spare not in kept[0]


@on_each_loop
@asynchronous
async def test_context_of_the_task_is_nobodys(loop: str) -> None:
    """It is made while a client is served, and stays when that has gone: with nothing of it."""

    class Thing:
        pass

    things: list[weakref.ref[Thing]] = []

    async def waits(request: Any) -> None:
        await asyncio.sleep(0)

    def sets(request: Any) -> None:
        thing = Thing()
        var.set(thing)
        things.append(weakref.ref(thing))

    async with serving(make_router(waits=waits, sets=sets)) as app:
        async with await Client.connect(app) as client:
            await client.ask(url="/sets")
            await client.ask(url="/waits")
        spare = await parked(app)
        gc.collect()
        assert spare is not None or not SEES_LOOKS
        assert [thing() for thing in things] == [None]


@on_each_loop
@asynchronous
async def test_what_follows_a_handler_is_not_in_its_task(loop: str) -> None:
    """A `def` is in no task, though it was read, or waited in the lane, while a handler ran."""
    gate = asyncio.Event()

    async def waits(request: Any) -> bool:
        await gate.wait()
        return True

    def sync(request: Any) -> bool:
        return asyncio.current_task() is not None

    async with (
        serving(make_router(waits=waits, sync=sync), max_concurrency=2) as app,
        await Client.connect(app) as client,
    ):
        for ids in ([None, None, None, None], [1, 2, 3, 4], [None, 2, None, 4]):
            gate.clear()
            for number, url in zip(ids, ("/waits", "/waits", "/sync", "/sync"), strict=True):
                client.request(url=url, **({} if number is None else {"id": number}))
            await turn_over()
            gate.set()
            assert sorted([(await client.reply())["data"] for _ in ids]) == [False, False, True, True]


# Where looks cannot be seen

SEES_LOOKS = (_speedups.eager_c if _speedups.COMPILED else _speedups.eager).SEES_LOOKS  # type: ignore[attr-defined]


@pytest.fixture
def _blind(monkeypatch: pytest.MonkeyPatch) -> None:
    module = _speedups.tasks_c if _speedups.COMPILED else _speedups.tasks  # type: ignore[attr-defined]
    monkeypatch.setattr(module, "SEES_LOOKS", False)


@pytest.mark.usefixtures("_blind")
@on_each_loop
@asynchronous
async def test_each_handler_has_a_task_from_its_start_where_looks_cannot_be_seen(loop: str) -> None:
    names: list[str] = []
    async with serving(routes_of(lambda _: names.append(this_task().get_name()))) as app:
        async with await Client.connect(app) as client:
            for number in range(8):
                await client.ask(url="/handler/a", id=number)
                assert await parked(app) is None
        assert len(set(names)) == 8


# Sequences

STEPS = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.sampled_from(
            ["blind", "looks", "keeps", "waits", "keeps and waits", "raises", "keeps and raises", "cancels"]
        ),
        st.booleans(),
    ),
    max_size=24,
)


@on_each_loop
@examples(25)
@given(steps=STEPS)
def test_tasks_of_a_sequence_of_handlers(loop: str, steps: list[tuple[int, str, bool]]) -> None:
    kept: list[asyncio.Task[Any]] = []
    names: list[str] = []
    ended: Counter[str] = Counter()

    async def run(request: Any) -> str:
        how = request.data
        if how != "blind":
            names.append(this_task().get_name())
            this_task().add_done_callback(lambda task: ended.update([task.get_name()]))
        if "keeps" in how:
            kept.append(this_task())
        if "waits" in how:
            await asyncio.sleep(0)
            assert this_task().get_name() in names
        if "raises" in how:
            raise ValueError(how)
        if how == "cancels":
            for task in kept:
                if task is not this_task():
                    task.cancel()
        return "done"

    @asynchronous
    async def play(loop: str) -> None:
        async with serving(make_router(run=run)) as app:
            clients = [await Client.connect(app) for _ in range(2)]
            for who, how, pause in steps:
                if pause:
                    await parked(app)
                reply = await clients[who].ask(url="/run", data=how)
                assert ("detail" in reply) == ("raises" in how), reply
            await turn_over()
            assert len(set(names)) == len(names) == sum(how != "blind" for _, how, _ in steps)
            assert ended == Counter(names)
            assert all(task.done() and not task.cancelled() for task in kept)
            for client in clients:
                await client.drop()

    play(loop=loop)


# `Lookout` and `SpareTasks`, without a connection


async def idle() -> None:
    await asyncio.get_running_loop().create_future()


def test_lookout_sees_looks_at_its_own_loop_only(impl: Impl) -> None:
    @asynchronous
    async def run() -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(idle())

        async def looking(*at: Any) -> Any:
            return [asyncio.current_task(*each) for each in at]

        for at, expected in (([], []), ([()], [task]), ([(loop,)], [task]), ([(object(),)], [None])):
            lookout = impl.eager.Lookout(loop, task)
            assert impl.eager.first_step(looking(*at), copy_context(), lookout) == (True, expected)
            assert lookout.looked is (task in expected)

        async def timing() -> None:
            async with asyncio.timeout(60):  # noqa: ASYNC100
                pass

        lookout = impl.eager.Lookout(loop, task)
        assert impl.eager.first_step(timing(), copy_context(), lookout) == (True, None)
        assert lookout.looked
        task.cancel()

    run()


def test_worker_that_somebody_knows_is_not_given(impl: Impl) -> None:
    @asynchronous
    async def run() -> None:
        spare_tasks = impl.tasks.SpareTasks(asyncio.get_running_loop())

        async def ready() -> Any:
            spare_tasks.prepare()
            await turn_over()
            return spare_tasks.spare

        for _ in range(3):
            taken = await ready()
            assert spare_tasks.take() is taken
            spare_tasks.put_back(taken)
            kept = taken.task
            assert spare_tasks.take() is None
            await turn_over()
            assert kept.done()
            assert not kept.cancelled()
            del kept
        taken = await ready()
        assert spare_tasks.take() is taken
        assert taken.lookout != object()  # looks
        spare_tasks.put_back(taken)
        assert spare_tasks.take() is None
        await turn_over()
        assert asyncio.all_tasks() == {this_task()}

    run()
