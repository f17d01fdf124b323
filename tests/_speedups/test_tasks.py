"""Async handlers are in a task like any other: the first step of each is made in the name of a spare one.

Most of it is one comparison: a coroutine as a handler, in every situation, against the same in a task of asyncio's own.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from contextvars import Context, ContextVar, copy_context
from typing import Any

import pytest

from aiorest_ws import Application, RequestHandlerProtocol, SimpleRouter, endpoint
from tests.serving import LOOPS, Client, Gates, asynchronous, dump, frame, loop_factory, serving, turn_over
from tests.swapping import Impl

on_each_loop = pytest.mark.parametrize("loop", LOOPS)

SHORT = 0.002  # seconds; a timeout that is meant to fire

Notes = list[Any]
Probe = Callable[[Notes], Coroutine[Any, Any, Any]]

var: ContextVar[str] = ContextVar("var", default="unset")


def this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


def soon(value: Any = None) -> asyncio.Future[Any]:
    """Give a future that is done in the next turn of the loop."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.call_soon(settle, future, value)
    return future


def done(value: Any = None) -> asyncio.Future[Any]:
    future = asyncio.get_running_loop().create_future()
    future.set_result(value)
    return future


def never() -> asyncio.Future[Any]:
    return asyncio.get_running_loop().create_future()


def settle(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)


# What a handler may do: each notes what it sees, and gives, raises or waits as it likes.

PROBES: dict[str, Probe] = {}


def probe(function: Probe) -> Probe:
    PROBES[function.__name__] = function
    return function


@probe
async def waits_for_nothing(notes: Notes) -> str:
    notes.append(this_task() in asyncio.all_tasks())
    notes.append(this_task().cancelling())
    return "done"


@probe
async def looks_at_nothing(notes: Notes) -> str:
    notes.append("here")
    return "done"


@probe
async def keeps_its_task(notes: Notes) -> None:
    task = this_task()
    for make in (done, soon, done):
        await make()
        notes.append(this_task() is task)
    for _ in range(3):
        await asyncio.sleep(0)
        notes.append(this_task() is task)
    await asyncio.sleep(SHORT)
    notes.append([this_task() is task, task in asyncio.all_tasks(), task.done(), task.cancelling()])


@probe
async def yields_bare(notes: Notes) -> str:
    for number in range(5):
        await asyncio.sleep(0)
        notes.append(number)
    return "yielded"


@probe
async def awaits_what_is_done(notes: Notes) -> list[Any]:
    async def inner(depth: int) -> Any:
        return await inner(depth - 1) if depth else await done("bottom")

    async with asyncio.timeout(60), asyncio.Lock(), asyncio.TaskGroup():
        return [await done(1), await inner(5), await asyncio.shield(done(2))]


@probe
async def awaits_a_failure(notes: Notes) -> str:
    failed = never()
    failed.set_exception(ValueError("was there"))
    try:
        await failed
    except ValueError as exc:
        notes.append(str(exc))
    later = never()
    asyncio.get_running_loop().call_soon(later.set_exception, ValueError("came"))
    try:
        await later
    except ValueError as exc:
        notes.append(str(exc))
    return "survived"


@probe
async def yields_nonsense(notes: Notes) -> str:
    class Nonsense:
        def __await__(self) -> Any:
            yield 42

    class Raw:
        def __await__(self) -> Any:
            yield never()

    for wrong in (Nonsense(), Raw()):
        try:
            await wrong
        except RuntimeError as exc:
            notes.append(str(exc).partition(" ")[0])
    return "told"


@probe
async def awaits_itself(notes: Notes) -> str:
    try:
        await this_task()
    except RuntimeError as exc:
        notes.append("await on itself" in str(exc))
    return "told"


# Timeouts


@probe
async def times_out_in_the_first_wait(notes: Notes) -> str:
    try:
        async with asyncio.timeout(SHORT) as timeout:
            await never()
    except TimeoutError:
        notes.append([timeout.expired(), this_task().cancelling()])
    await soon()
    return "on"


@probe
async def times_out_in_a_later_wait(notes: Notes) -> str:
    await soon()
    try:
        async with asyncio.timeout(SHORT):
            await soon()
            await never()
    except TimeoutError:
        notes.append(this_task().cancelling())
    await soon()
    return "on"


@probe
async def timeout_starts_before_the_first_wait(notes: Notes) -> None:
    async with asyncio.timeout(SHORT):
        await soon()
        await never()


@probe
async def does_not_time_out(notes: Notes) -> str:
    async with asyncio.timeout(60) as timeout:
        notes.append(await soon("a"))
    async with asyncio.timeout(60):  # noqa: ASYNC100
        pass
    async with asyncio.timeout(None):
        notes.append(await soon("b"))
    notes.append([timeout.expired(), this_task().cancelling()])
    return "in time"


@probe
async def timeout_of_zero(notes: Notes) -> str:
    try:
        async with asyncio.timeout(0):
            await never()
    except TimeoutError:
        notes.append(this_task().cancelling())
    try:
        async with asyncio.timeout(0):
            await never()
    except TimeoutError:
        notes.append(this_task().cancelling())
    return "on"


@probe
async def timeout_of_zero_without_a_wait(notes: Notes) -> str:
    async with asyncio.timeout(0):  # noqa: ASYNC100
        pass
    await soon()
    await asyncio.sleep(0)
    return f"on, {this_task().cancelling()}"


@probe
async def timeout_of_zero_over_what_is_done(notes: Notes) -> str:
    async with asyncio.timeout(0):
        await done()
    return "on"


@probe
async def timeout_of_zero_cancels_a_child(notes: Notes) -> str:
    child = asyncio.create_task(sleeper(notes))
    try:
        async with asyncio.timeout(0):
            await child
    except TimeoutError:
        notes.append(child.cancelled())
    child.cancel()
    return "on"


@probe
async def nested_timeouts(notes: Notes) -> str:
    try:
        async with asyncio.timeout(SHORT):
            try:
                async with asyncio.timeout(60):
                    await never()
            except TimeoutError:
                notes.append("inner")
    except TimeoutError:
        notes.append("outer")
    return f"{this_task().cancelling()}"


@probe
async def waits_with_wait_for(notes: Notes) -> str:
    async def child() -> str:
        notes.append("child")
        return str(await soon("value"))

    notes.append(await asyncio.wait_for(child(), 60))
    for seconds in (0, SHORT):
        try:
            await asyncio.wait_for(never(), seconds)
        except TimeoutError:
            notes.append("late")
    return f"{this_task().cancelling()}"


@probe
async def wait_for_times_out_first(notes: Notes) -> str:
    future = never()
    try:
        await asyncio.wait_for(future, SHORT)
    except TimeoutError:
        notes.append(future.cancelled())
    return "late"


# Children


async def sleeper(notes: Notes) -> None:
    try:
        await never()
    except asyncio.CancelledError:
        notes.append("child cancelled")
        raise


@probe
async def groups_its_children(notes: Notes) -> list[Any]:
    async def child(number: int) -> int:
        await soon()
        return number

    async with asyncio.TaskGroup():
        pass
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(child(number)) for number in range(3)]
    return [task.result() for task in tasks]


@probe
async def group_with_a_failure(notes: Notes) -> str:
    async def fail() -> None:
        raise ValueError("child")

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
            await never()
    except* ValueError as failures:
        notes.append([str(exc) for exc in failures.exceptions])
    notes.append(this_task().cancelling())
    await soon()
    return "on"


@probe
async def group_that_times_out(notes: Notes) -> str:
    try:
        async with asyncio.timeout(0), asyncio.TaskGroup() as group:
            group.create_task(sleeper(notes))
            await asyncio.sleep(60)
    except TimeoutError:
        notes.append(this_task().cancelling())
    return "on"


@probe
async def shields(notes: Notes) -> str:
    inner = never()
    try:
        async with asyncio.timeout(SHORT):
            await asyncio.shield(inner)
    except TimeoutError:
        notes.append(inner.cancelled())
    inner.set_result("kept")
    return str(await asyncio.shield(inner))


@probe
async def shields_first_and_cancels_itself(notes: Notes) -> str:
    inner = never()
    this_task().cancel()
    try:
        await asyncio.shield(inner)
    except asyncio.CancelledError:
        notes.append(inner.cancelled())
    this_task().uncancel()
    inner.set_result(None)
    return "on"


@probe
async def children_inherit_the_context(notes: Notes) -> str:
    async def child() -> None:
        notes.append(var.get())
        var.set("child")

    var.set("before")
    early = asyncio.create_task(child())
    await early
    notes.append(var.get())
    var.set("after")
    await asyncio.create_task(child())
    asyncio.get_running_loop().call_soon(lambda: notes.append(f"call_soon {var.get()}"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await asyncio.create_task(child(), context=Context())
    return var.get()


@probe
async def gathers(notes: Notes) -> list[Any]:
    async def fail() -> None:
        raise ValueError("one")

    results = await asyncio.gather(soon(1), done(2), fail(), return_exceptions=True)
    return [str(result) for result in results]


@probe
async def runs_in_a_thread(notes: Notes) -> str:
    var.set("threaded")
    return str(await asyncio.to_thread(var.get))


@probe
async def locks_and_queues(notes: Notes) -> str:
    lock, queue, event = asyncio.Lock(), asyncio.Queue[str](), asyncio.Event()

    async def other() -> None:
        async with lock:
            notes.append("other")
            queue.put_nowait("item")
        event.set()

    async with lock:
        task = asyncio.create_task(other())
        await asyncio.sleep(0)
        notes.append("held")
    notes.append(await queue.get())
    await event.wait()
    await task
    return "unlocked"


# Cancellation


@probe
async def cancels_itself_before_the_first_wait(notes: Notes) -> None:
    notes.append(this_task().cancel())
    try:
        await never()
    finally:
        notes.append(this_task().cancelling())


@probe
async def cancels_itself_and_waits_for_nothing(notes: Notes) -> str:
    this_task().cancel()
    return "gone on"


@probe
async def cancels_itself_and_raises(notes: Notes) -> None:
    this_task().cancel()
    raise asyncio.CancelledError


@probe
async def cancels_itself_and_fails(notes: Notes) -> None:
    this_task().cancel()
    raise ValueError("no")


@probe
async def cancels_itself_and_yields(notes: Notes) -> None:
    this_task().cancel()
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        notes.append("cancelled")
        raise


@probe
async def cancels_itself_after_a_wait(notes: Notes) -> None:
    await soon()
    this_task().cancel()
    try:
        await never()
    finally:
        notes.append(this_task().cancelling())


@probe
async def catches_its_own_cancellation(notes: Notes) -> str:
    for number in range(3):
        this_task().cancel(f"message {number}")
        try:
            await never()
        except asyncio.CancelledError as exc:
            notes.append([exc.args, this_task().cancelling()])
    notes.append([this_task().uncancel() for _ in range(3)])
    notes.append(await soon("value"))
    return "on"


@probe
async def catches_and_waits_without_uncancel(notes: Notes) -> str:
    this_task().cancel()
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        notes.append("first")
    await soon()
    await asyncio.sleep(SHORT)
    return f"on, {this_task().cancelling()}"


@probe
async def cancels_and_uncancels_before_the_first_wait(notes: Notes) -> str:
    this_task().cancel()
    notes.append(this_task().uncancel())
    try:
        notes.append(await soon("value"))
    except asyncio.CancelledError:
        notes.append("cancelled all the same")
    return "on"


@probe
async def cancels_and_uncancels_and_waits_for_nothing(notes: Notes) -> str:
    this_task().cancel()
    return f"{this_task().uncancel()}"


@probe
async def cancels_itself_in_front_of_a_child(notes: Notes) -> None:
    child = asyncio.create_task(sleeper(notes))
    await asyncio.sleep(0)
    this_task().cancel()
    try:
        await child
    finally:
        notes.append(child.cancelled())
        child.cancel()


@probe
async def cancels_itself_in_front_of_its_first_child(notes: Notes) -> None:
    future = never()
    this_task().cancel("why")
    try:
        await asyncio.gather(future, soon())
    except asyncio.CancelledError as exc:
        notes.append(exc.args)
        raise
    finally:
        notes.append(future.cancelled())


@probe
async def cancels_itself_in_front_of_what_is_done(notes: Notes) -> None:
    this_task().cancel()
    notes.append(await done("no wait"))
    await asyncio.sleep(0)


@probe
async def child_cancels_its_parent(notes: Notes) -> str:
    parent = this_task()

    async def child() -> None:
        parent.cancel("child")

    for _ in range(2):
        task = asyncio.create_task(child())
        try:
            await never()
        except asyncio.CancelledError as exc:
            notes.append([exc.args, parent.uncancel()])
        await task
    return "on"


@probe
async def callback_cancels_it_at_once(notes: Notes) -> str:
    future = never()
    asyncio.get_running_loop().call_soon(this_task().cancel, "at once")
    try:
        await future
    except asyncio.CancelledError as exc:
        notes.append([exc.args, future.cancelled(), this_task().uncancel()])
    await soon()
    return "on"


@probe
async def raises_cancelled_error(notes: Notes) -> None:
    raise asyncio.CancelledError


@probe
async def raises_cancelled_error_later(notes: Notes) -> None:
    await soon()
    raise asyncio.CancelledError


@probe
async def awaits_what_is_cancelled(notes: Notes) -> None:
    future = never()
    future.cancel()
    await future


@probe
async def awaits_what_will_be_cancelled(notes: Notes) -> str:
    future = never()
    asyncio.get_running_loop().call_soon(future.cancel)
    try:
        await future
    except asyncio.CancelledError:
        notes.append(this_task().cancelling())
    return "on"


# Context


@probe
async def resets_a_variable_after_a_wait(notes: Notes) -> str:
    notes.append(var.get())
    token = var.set("mine")
    await soon()
    notes.append(var.get())
    var.reset(token)
    second = var.set("again")
    await asyncio.sleep(0)
    await asyncio.sleep(SHORT)
    notes.append(var.get())
    var.reset(second)
    return var.get()


@probe
async def leaves_a_variable_behind(notes: Notes) -> str:
    notes.append(var.get())
    var.set("left behind")
    return var.get()


@probe
async def leaves_a_variable_behind_later(notes: Notes) -> str:
    notes.append(var.get())
    var.set("left behind early")
    await soon()
    notes.append(var.get())
    var.set("left behind late")
    return var.get()


# Generators, ends


@probe
async def iterates(notes: Notes) -> list[Any]:
    async def numbers() -> AsyncIterator[int]:
        try:
            for number in range(4):
                if number % 2:
                    await soon()
                yield number
        finally:
            await soon()
            notes.append("closed")

    seen = [number async for number in numbers()]
    generator = numbers()
    async for number in generator:
        if number == 2:
            break
    await generator.aclose()  # type: ignore[attr-defined]
    return seen


@probe
async def enters_and_leaves(notes: Notes) -> str:
    @asynccontextmanager
    async def manager() -> AsyncIterator[str]:
        notes.append("in")
        await asyncio.sleep(0)
        try:
            yield "inside"
        finally:
            await soon()
            notes.append("out")

    async with manager() as value:
        await soon()
    try:
        async with manager():
            raise ValueError("inside")
    except ValueError:
        notes.append("through")
    return value


@probe
async def raises_at_once(notes: Notes) -> None:
    raise ValueError("at once")


@probe
async def raises_later(notes: Notes) -> None:
    await soon()
    raise ValueError("later")


@probe
async def raises_stop_iteration(notes: Notes) -> None:
    raise StopIteration("at once")


@probe
async def raises_stop_iteration_later(notes: Notes) -> None:
    await asyncio.sleep(0)
    raise StopIteration("later")


@probe
async def raises_timeout_error(notes: Notes) -> None:
    raise TimeoutError


@probe
async def gives_nonsense(notes: Notes) -> object:
    return object()


@probe
async def gives_nonsense_later(notes: Notes) -> object:
    await soon()
    return [object()]


@probe
async def gives_nothing(notes: Notes) -> None:
    await asyncio.sleep(0)


# In each situation


class Bench:
    """A server with the probes as handlers, and with what each noted."""

    def __init__(self, app: Application, notes: dict[str, list[Notes]]) -> None:
        self.app = app
        self.notes = notes

    @property
    def connections(self) -> set[RequestHandlerProtocol]:
        assert self.app._listening is not None
        return self.app._listening.connections

    @property
    def spare_tasks(self) -> Any:
        assert self.app._listening is not None
        return self.app._listening.spare_tasks

    @property
    def life(self) -> asyncio.Task[Any]:
        """The task in which the server lives."""
        assert self.app._server is not None
        return self.app._server._task

    async def parked(self) -> Any:
        """Wait until a spare task is ready, and give it: not its task, who keeps that has it for himself."""
        self.spare_tasks.prepare()
        await turn_over(2)
        return self.spare_tasks.spare


@asynccontextmanager
async def bench(*handlers: Any, **options: Any) -> AsyncIterator[Bench]:
    notes: dict[str, list[Notes]] = {}
    router = SimpleRouter()

    @endpoint("/probe/{name}", "GET")
    async def run(request: Any, name: str) -> Any:
        mine: Notes = []
        notes.setdefault(name, []).append(mine)
        return await PROBES[name](mine)

    for handler in (run, *handlers):
        router.register_endpoint(handler)
    async with serving(router, **options) as app:
        yield Bench(app, notes)


async def in_a_task(name: str) -> tuple[Notes, Any]:
    """Give what a probe notes in a task of asyncio's own, and the body of the reply that it must lead to."""
    notes: Notes = []

    async def run() -> None:
        try:
            data = await PROBES[name](notes)
            json.dumps(data)
        except (asyncio.CancelledError, Exception):
            bodies.append({"detail": "A server error occurred."})
        else:
            bodies.append({"data": data})

    bodies: list[Any] = []
    await asyncio.wait([asyncio.create_task(run(), context=Context())])  # it may end as cancelled
    return notes, bodies[0]


def reply_to(body: Any, number: int | None) -> Any:
    if number is None:
        return {**body, "event_name": None}
    return {"id": number, "status": 500 if "detail" in body else 200, **body}


FAILURES = {
    "A server error occurred.",
    "Error has occurred inside serializer class.",
    "the handler's result cannot be encoded",
}


def failure(reply: Any) -> Any:
    """Give `reply` with one text for all that went wrong in the server."""
    if "detail" in reply:
        assert reply["detail"] in FAILURES, reply
        reply = {**reply, "detail": "A server error occurred."}
    return reply


@pytest.fixture(autouse=True)
def _silent(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL", "aiorest_ws")


@pytest.mark.parametrize("name", PROBES)
@on_each_loop
@asynchronous
async def test_handler_is_in_a_task_like_any_other(loop: str, name: str) -> None:
    expected, body = await in_a_task(name)
    async with bench() as server, await Client.connect(server.app) as client:
        # No spare yet: twice in one read; then with a spare, without an id and with one.
        client.writer.write(2 * frame(dump({"method": "GET", "url": f"/probe/{name}"})))
        for _ in range(2):
            assert failure(await client.reply()) == reply_to(body, None)
        for number in (None, 7, None, 8):
            await server.parked()
            client.request(url=f"/probe/{name}", **({} if number is None else {"id": number}))
            assert failure(await client.reply()) == reply_to(body, number)
        # With a spare for the first, at most.
        requests = [{"method": "GET", "url": f"/probe/{name}", **({"id": n} if n % 2 else {})} for n in range(16)]
        await server.parked()
        client.writer.write(b"".join(frame(dump(request)) for request in requests))
        replies = [failure(await client.reply()) for _ in requests]
        assert [reply for reply in replies if "id" not in reply] == 8 * [reply_to(body, None)]
        with_id = sorted((reply for reply in replies if "id" in reply), key=lambda reply: int(reply["id"]))
        assert with_id == [reply_to(body, number) for number in range(1, 16, 2)]
        assert server.notes[name] == 22 * [expected]
        assert (await client.leave()).close_code == 1000


@asynchronous
async def test_bench_tells_handlers_apart() -> None:
    """The comparison above would see a handler that is in no task, and one that is cancelled."""
    assert (await in_a_task("keeps_its_task"))[0] == [*6 * [True], [True, True, False, 0]]
    assert (await in_a_task("cancels_itself_before_the_first_wait")) == (
        [True, 1],
        {"detail": "A server error occurred."},
    )


# Which task


@on_each_loop
@asynchronous
async def test_handlers_that_wait_together_have_tasks_of_their_own(loop: str) -> None:
    gates = Gates()
    tasks: list[list[asyncio.Task[Any]]] = []

    @endpoint("/wait/{name}", "GET")
    async def wait(request: Any, name: str) -> str:
        seen = [this_task()]
        tasks.append(seen)
        await gates.wait(name)
        seen.append(this_task())
        await asyncio.sleep(0)
        seen.append(this_task())
        return name

    async with bench(wait) as server, await Client.connect(server.app) as client:
        for _ in range(3):
            tasks.clear()
            await server.parked()
            names = [f"{len(gates.started)}-{n}" for n in range(16)]
            client.writer.write(
                b"".join(frame(dump({"method": "GET", "url": f"/wait/{n}", "id": n})) for n in names),
            )
            await gates.until_started(*names)
            assert len({seen[0] for seen in tasks}) == 16
            (connection,) = server.connections
            assert connection.tasks == {seen[0] for seen in tasks}
            gates.open(*names)
            assert {(await client.reply())["id"] for _ in names} == set(names)
            assert all(len(seen) == 3 and len(set(seen)) == 1 for seen in tasks)
            assert not connection.tasks


@on_each_loop
@asynchronous
async def test_handlers_that_wait_for_nothing_leave_the_spare_task_parked(loop: str) -> None:
    async with bench() as server, await Client.connect(server.app) as client:
        spare = await server.parked()
        for number in range(16):
            client.request(url="/probe/looks_at_nothing", **({"id": number} if number % 2 else {}))
        for _ in range(16):
            await client.reply()
        assert server.spare_tasks.spare is spare
        assert not spare.task.done()
        assert spare.task.cancelling() == 0


@on_each_loop
@asynchronous
async def test_tasks_do_not_pile_up(loop: str) -> None:
    async with bench() as server, await Client.connect(server.app) as client:
        await client.ask(url="/probe/keeps_its_task")
        await server.parked()
        before = asyncio.all_tasks()
        names = ("waits_for_nothing", "yields_bare", "raises_at_once", "cancels_itself_and_waits_for_nothing")
        for start in range(0, 2000, 50):
            client.writer.write(
                b"".join(
                    frame(dump({"method": "GET", "url": f"/probe/{names[n % 4]}", **({"id": n} if n % 3 else {})}))
                    for n in range(start, start + 50)
                )
            )
            for _ in range(50):
                await client.reply()
        await server.parked()
        await turn_over()
        assert len(asyncio.all_tasks()) == len(before)
        (connection,) = server.connections
        assert not connection.tasks
        assert connection._in_flight == 0  # type: ignore[attr-defined, unused-ignore]


@on_each_loop
@asynchronous
async def test_what_waits_in_the_lane_runs_inside_the_step_of_another(loop: str) -> None:
    gates = Gates()
    seen: list[Any] = []

    @endpoint("/wait/{name}", "GET")
    async def wait(request: Any, name: str) -> str:
        task = this_task()
        await gates.wait(name)
        seen.append((name, this_task() is task))
        return name

    @endpoint("/sync", "GET")
    def sync(request: Any) -> bool:
        return asyncio.current_task() is not None

    async with (
        bench(wait, sync) as server,
        await Client.connect(server.app) as client,
        await Client.connect(server.app) as other,
    ):
        for name in ("a", "b", "c"):
            client.request(url=f"/wait/{name}")
            for probe in ("keeps_its_task", "waits_for_nothing", "timeout_of_zero", "cancels_itself_and_yields"):
                client.request(url=f"/probe/{probe}")
            client.request(url="/sync")
        await gates.until_started("a")
        await server.parked()
        assert (await other.ask(url="/probe/keeps_its_task"))["data"] is None
        gates.open("a", "b", "c")
        for name in ("a", "b", "c"):
            assert (await client.reply())["data"] == name
            assert [("detail" in await client.reply()) for _ in range(4)] == [False, False, False, True]
            assert (await client.reply())["data"] is False
        assert seen == [("a", True), ("b", True), ("c", True)]
        assert (await other.ask(url="/sync"))["data"] is False


@on_each_loop
@asynchronous
async def test_first_step_gives_the_caller_its_task_back(loop: str) -> None:
    """What arrives may be handed over by a task, too: by another handler, or by a test."""
    async with bench() as server, await Client.connect(server.app) as client:
        me = this_task()
        (connection,) = server.connections
        for name in ("waits_for_nothing", "yields_bare", "raises_at_once", "cancels_itself_and_raises", "yields_bare"):
            spare = await server.parked()
            connection.data_received(frame(dump({"method": "GET", "url": f"/probe/{name}"})))
            assert asyncio.current_task() is me
            assert me.cancelling() == 0
            assert spare.task is not me
            await client.reply()


@on_each_loop
@pytest.mark.parametrize("outer_waits", [False, True], ids=("at once", "waits"))
@pytest.mark.parametrize("inner", ["waits_for_nothing", "keeps_its_task", "cancels_itself_and_waits_for_nothing"])
@asynchronous
async def test_handler_runs_the_code_of_another_connection(loop: str, inner: str, outer_waits: bool) -> None:
    tasks: list[Any] = []
    expected, body = await in_a_task(inner)

    @endpoint("/nest", "GET")
    async def nest(request: Any) -> str:
        task = this_task()
        for connection in list(server.connections):
            if connection is not request.connection:
                connection.data_received(frame(dump({"method": "GET", "url": f"/probe/{inner}", "id": 1})))
                assert this_task() is task
        if outer_waits:
            await soon()
            assert this_task() is task
            await asyncio.sleep(0)
        tasks.append(this_task() is task)
        tasks.append(task.cancelling())
        return "outer"

    async with (
        bench(nest) as server,
        await Client.connect(server.app) as client,
        await Client.connect(server.app) as other,
        await Client.connect(server.app) as third,
    ):
        for _ in range(3):
            await server.parked()
            assert (await client.ask(url="/nest"))["data"] == "outer"
            assert await other.reply() == reply_to(body, 1)
            assert await third.reply() == reply_to(body, 1)
        assert tasks == 3 * [True, 0]
        assert server.notes[inner] == 6 * [expected]
        await server.parked()
        await turn_over()
        (spare,) = asyncio.all_tasks() - {this_task(), server.life}
        assert spare is server.spare_tasks.spare.task


# Futures that others await, too


@on_each_loop
@asynchronous
async def test_another_task_begins_to_wait_for_the_same_future(loop: str) -> None:
    shared = asyncio.get_running_loop().create_future()

    async def wait() -> Any:
        return await shared

    @endpoint("/shared", "GET")
    async def handler(request: Any) -> Any:
        return await shared

    async with bench(handler) as server, await Client.connect(server.app) as client:
        await server.parked()
        (connection,) = server.connections
        before = asyncio.create_task(wait())  # begins when the handler has made its first step, but not its second
        connection.data_received(frame(dump({"method": "GET", "url": "/shared", "id": 1})))
        after = asyncio.create_task(wait())
        await turn_over()
        connection.data_received(b"".join(frame(dump({"method": "GET", "url": "/shared", "id": n})) for n in (2, 3)))
        await turn_over()
        shared.set_result("value")
        assert [(await client.reply())["data"] for _ in range(3)] == 3 * ["value"]
        assert [await before, await after] == ["value", "value"]


@on_each_loop
@asynchronous
async def test_many_handlers_wait_for_the_same_task(loop: str) -> None:
    gates = Gates()
    work: list[asyncio.Task[str]] = []

    @endpoint("/cached", "GET")
    async def handler(request: Any) -> str:
        if not work:
            work.append(asyncio.create_task(gates.wait("work")))
        return await asyncio.shield(work[0]) if request.id % 2 else await work[0]

    async with bench(handler) as server:
        clients = [await Client.connect(server.app) for _ in range(8)]
        await server.parked()
        for number, client in enumerate(clients):
            client.request(url="/cached", id=number)
            client.request(url="/cached", id=number + 100)
        await gates.until_started("work")
        gates.open("work")
        for client in clients:
            assert [(await client.reply())["data"] for _ in range(2)] == ["work", "work"]
            await client.drop()


# Cancellation from outside


@on_each_loop
@asynchronous
async def test_one_handler_cancels_another(loop: str) -> None:
    gates = Gates()
    tasks: dict[str, asyncio.Task[Any]] = {}

    @endpoint("/wait/{name}", "GET")
    async def wait(request: Any, name: str) -> str:
        tasks[name] = this_task()
        return await gates.wait(name)

    @endpoint("/brave/{name}", "GET")
    async def brave(request: Any, name: str) -> Any:
        tasks[name] = this_task()
        try:
            await gates.wait(name)
        except asyncio.CancelledError as exc:
            return [*exc.args, this_task().uncancel(), await soon("went on")]

    @endpoint("/cancel/{name}", "GET")
    async def cancel(request: Any, name: str) -> bool:
        return tasks[name].cancel("by another")

    async with bench(wait, brave, cancel) as server, await Client.connect(server.app) as client:
        for number in range(3):
            await server.parked()
            for kind in ("wait", "brave"):
                name = f"{kind}-{number}"
                client.request(url=f"/{kind}/{name}", id=name)
                await gates.until_started(name)
                client.request(url=f"/cancel/{name}", id="cancel")
                replies = {reply["id"]: reply for reply in (await client.reply(), await client.reply())}
                assert replies["cancel"]["data"] is True
                if kind == "wait":
                    assert replies[name]["status"] == 500
                else:
                    assert replies[name]["data"] == ["by another", 0, "went on"]
        assert gates.cancelled == gates.finished


@on_each_loop
@asynchronous
async def test_one_handler_cancels_another_in_the_same_read(loop: str) -> None:
    """The other has made its first step, and its task has not gone on yet."""
    tasks: list[asyncio.Task[Any]] = []
    futures: list[asyncio.Future[Any]] = []
    caught: list[Any] = []

    @endpoint("/wait", "GET")
    async def wait(request: Any) -> str:
        tasks.append(this_task())
        futures.append(never())
        try:
            await futures[-1]
        except asyncio.CancelledError as exc:
            caught.append(exc.args)
            this_task().uncancel()
            await soon()
        return "on"

    @endpoint("/cancel", "GET")
    def cancel(request: Any) -> bool:
        return tasks[-1].cancel("now")

    async with bench(wait, cancel) as server, await Client.connect(server.app) as client:
        for number in range(3):
            await server.parked()
            client.writer.write(
                frame(dump({"method": "GET", "url": "/wait", "id": 1}))
                + frame(dump({"method": "GET", "url": "/cancel", "id": 2}))
            )
            assert (await client.reply())["data"] is True
            assert (await client.reply())["data"] == "on"
            assert futures[number].cancelled()
        assert caught == 3 * [("now",)]


@on_each_loop
@pytest.mark.parametrize("turns", [0, 1, 5])
@asynchronous
async def test_spare_task_that_is_cancelled_is_not_used(loop: str, turns: int) -> None:
    """By somebody who cancels all tasks, or kept the task of a handler that is long done."""
    async with bench() as server, await Client.connect(server.app) as client:
        (connection,) = server.connections
        for name in ("keeps_its_task", "waits_for_nothing", "timeout_of_zero"):
            expected, body = await in_a_task(name)
            for _ in range(2):
                spare = (await server.parked()).task
                spare.cancel()
                await turn_over(turns)
                connection.data_received(frame(dump({"method": "GET", "url": f"/probe/{name}"})))
                assert await client.reply() == reply_to(body, None)
                assert server.notes[name][-1] == expected
                assert spare.done()
        await server.parked()
        await turn_over()
        assert len(asyncio.all_tasks() - {server.life}) == 2


@on_each_loop
@asynchronous
async def test_handler_cancels_every_other_task(loop: str) -> None:
    gates = Gates()
    me = this_task()

    @endpoint("/wait/{name}", "GET")
    async def wait(request: Any, name: str) -> str:
        return await gates.wait(name)

    @endpoint("/cancel-all", "GET")
    async def cancel_all(request: Any) -> int:
        return sum(task.cancel() for task in asyncio.all_tasks() - {this_task(), me, server.life})

    async with bench(cancel_all, wait) as server, await Client.connect(server.app) as client:
        for number in range(3):
            names = [f"{number} {n}" for n in range(3)]
            for name in names:
                client.request(url=f"/wait/{name}", id=name)
            await gates.until_started(*names)
            await server.parked()
            client.request(url="/cancel-all", id="all")
            client.request(url="/probe/yields_bare", id="next")
            replies = {reply["id"]: reply["status"] for reply in [await client.reply() for _ in range(5)]}
            assert replies == {"all": 200, "next": 200} | dict.fromkeys(names, 500)
            assert (await client.ask(url="/probe/yields_bare"))["data"] == "yielded"


# Departure


@on_each_loop
@pytest.mark.parametrize("spare", [False, True], ids=("plain", "spare"))
@asynchronous
async def test_client_leaves_while_handlers_wait(loop: str, spare: bool) -> None:
    gates = Gates()
    cleaned: list[str] = []

    @endpoint("/wait/{name}", "GET")
    async def wait(request: Any, name: str) -> None:
        try:
            async with asyncio.TaskGroup() as group, asyncio.timeout(60):
                group.create_task(gates.wait(f"child of {name}"))
                await gates.wait(name)
        finally:
            await soon()
            cleaned.append(name)

    async with bench(wait) as server, await Client.connect(server.app) as other:
        client = await Client.connect(server.app)
        if spare:
            await server.parked()
        names = ["lane", "1", "2", "3"]
        for name in names:
            client.request(url=f"/wait/{name}", **({} if name == "lane" else {"id": name}))
        client.request(url="/wait/queued")
        await gates.until_started(*names, *(f"child of {name}" for name in names))
        client.reset()
        await gates.until(lambda: {*names, *(f"child of {n}" for n in names)} <= set(gates.cancelled))
        await other.ask(url="/probe/keeps_its_task")
        await turn_over()
        assert sorted(cleaned) == sorted(names)
        assert "queued" not in gates.started


@on_each_loop
@pytest.mark.parametrize("spare", [False, True], ids=("plain", "spare"))
@pytest.mark.parametrize("turns", range(4))
@asynchronous
async def test_connection_is_lost_when_a_handler_has_only_begun(loop: str, spare: bool, turns: int) -> None:
    events: list[Any] = []

    @endpoint("/wait", "GET")
    async def wait(request: Any) -> None:
        events.append("begun")
        future = never()
        try:
            await future
        except asyncio.CancelledError:
            events.append(["cancelled", future.cancelled()])
            raise
        finally:
            await asyncio.sleep(0)
            events.append("cleaned")

    async with bench(wait) as server:
        client = await Client.connect(server.app)
        if spare:
            await server.parked()
        (connection,) = server.connections
        assert connection.transport is not None
        connection.data_received(frame(dump({"method": "GET", "url": "/wait"})))
        tasks = connection.tasks
        assert len(tasks) == 1
        await turn_over(turns)
        connection.transport.abort()
        await client.eof()
        await asyncio.wait(tasks)
        assert [task.cancelled() for task in tasks] == [True]
        assert events == ["begun", ["cancelled", True], "cleaned"]
        await client.drop()


@on_each_loop
@asynchronous
async def test_handler_that_will_not_be_cancelled_runs_to_its_end(loop: str) -> None:
    events: list[str] = []
    ended = asyncio.Event()

    @endpoint("/stubborn", "GET")
    async def stubborn(request: Any) -> str:
        events.append("begun")
        try:
            await never()
        except asyncio.CancelledError:
            await soon()
            events.append("went on")
        ended.set()
        return "to nobody"

    async with bench(stubborn) as server:
        client = await Client.connect(server.app)
        await server.parked()
        (connection,) = server.connections
        connection.data_received(frame(dump({"method": "GET", "url": "/stubborn"})))
        client.reset()
        await ended.wait()
        assert events == ["begun", "went on"]


@on_each_loop
@asynchronous
async def test_handler_that_ends_its_connection_before_it_waits(loop: str) -> None:
    ended: list[str] = []
    finished = asyncio.Event()

    @endpoint("/abort", "GET")
    async def abort(request: Any) -> None:
        request.connection.transport.abort()
        try:
            await never()
        finally:
            ended.append("abort")
            finished.set()

    @endpoint("/close", "GET")
    async def close(request: Any) -> None:
        request.connection.close(4000)
        await soon()
        ended.append("close")

    async with bench(abort, close) as server:
        for _ in range(2):
            client = await Client.connect(server.app)
            await server.parked()
            client.request(url="/close")
            client.request(url="/probe/waits_for_nothing")
            assert (await client.left()).close_code == 4000
            client = await Client.connect(server.app)
            finished.clear()
            client.writer.write(
                frame(dump({"method": "GET", "url": "/abort", "id": 1}))
                + frame(dump({"method": "GET", "url": "/probe/waits_for_nothing", "id": 2}))
            )
            await client.eof()
            await finished.wait()
            await client.drop()
        assert ended == ["close", "abort", "close", "abort"]
        assert server.notes == {}


@on_each_loop
@pytest.mark.parametrize("how", ["never used", "spare", "coming", "used up", "waiting"])
@asynchronous
async def test_stop_leaves_no_task(loop: str, how: str) -> None:
    gates = Gates()

    @endpoint("/wait", "GET")
    async def wait(request: Any) -> None:
        await gates.wait("a")

    async with bench(wait) as server, await Client.connect(server.app) as client:
        if how in ("spare", "used up"):
            await client.ask(url="/probe/yields_bare")
            await server.parked()
        if how == "coming":
            server.spare_tasks.prepare()
        if how == "used up":
            client.request(url="/wait")
            await gates.until_started("a")
        if how == "waiting":
            client.request(url="/wait")
            client.request(url="/wait", id=1)
            await gates.until(lambda: gates.started == ["a", "a"])
        leaving = asyncio.create_task(client.left())
        await server.app.stop()
        assert asyncio.all_tasks() - {leaving} == {this_task()}
        assert (await leaving).close_code == 1001
        assert gates.started == gates.cancelled


@pytest.mark.parametrize("loop", LOOPS)
def test_loop_that_is_closed_right_after_stop_has_nothing_to_complain_about(
    loop: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async def serve(app: Application) -> None:
        await app.start()
        async with await Client.connect(app) as client:
            await client.ask(url="/probe")
            await client.ask(url="/probe")

    @endpoint("/probe", "GET")
    async def handler(request: Any) -> None:
        await asyncio.sleep(0)

    router = SimpleRouter()
    router.register_endpoint(handler)
    app = Application(router=router, port=0, shutdown_timeout=0.1)
    running = loop_factory(loop)()
    try:
        trouble: list[Any] = []
        running.set_exception_handler(lambda _, context: trouble.append(context))
        running.run_until_complete(serve(app))
        running.run_until_complete(app.stop())
        assert asyncio.all_tasks(running) == set()
    finally:
        running.close()
    assert trouble == []


# Contexts


@on_each_loop
@asynchronous
async def test_each_request_has_a_context_of_its_own(loop: str) -> None:
    gates = Gates()

    @endpoint("/set/{name}", "GET")
    async def set_it(request: Any, name: str) -> list[str]:
        before = var.get()
        var.set(name)
        if name.startswith("wait"):
            await gates.wait(name)
        return [before, var.get()]

    async with bench(set_it) as server, await Client.connect(server.app) as client:
        for spare in (False, True, True):
            if spare:
                await server.parked()
            names = [f"{kind}{n}" for n in range(4) for kind in ("wait", "now", "now-again")]
            gates.open(*names)
            client.writer.write(b"".join(frame(dump({"method": "GET", "url": f"/set/{n}"})) for n in names))
            assert [(await client.reply())["data"] for _ in names] == [["unset", name] for name in names]
            client.writer.write(b"".join(frame(dump({"method": "GET", "url": f"/set/{n}", "id": n})) for n in names))
            for _ in names:
                reply = await client.reply()
                assert reply["data"] == ["unset", reply["id"]]
        assert var.get() == "unset"


@on_each_loop
@asynchronous
async def test_handlers_see_the_context_of_their_own_connection(loop: str) -> None:
    """Not that of the one that made the spare task, nor that of the handler before them."""

    @endpoint("/name/{name}", "GET")
    def rename(request: Any, name: str) -> None:
        var.set(name)

    @endpoint("/sync", "GET")
    def sync(request: Any) -> str:
        return var.get()

    @endpoint("/wait", "GET")
    async def wait(request: Any) -> str:
        before = var.get()
        var.set("a handler's")
        await soon()
        return before

    async with (
        bench(rename, sync, wait, max_concurrency=3) as server,
        await Client.connect(server.app) as client,
        await Client.connect(server.app) as other,
    ):
        clients = {"client": client, "other": other}
        for name, each in clients.items():
            await each.ask(url=f"/name/{name}")
        # Which context a transport calls in is for the loop to say: uvloop's have one together.
        expected = {name: (await each.ask(url="/sync"))["data"] for name, each in clients.items()}
        if loop == "asyncio":
            assert expected == {"client": "client", "other": "other"}
        urls = ("/wait", "/wait", "/sync", "/wait", "/wait", "/sync", "/wait")
        for _ in range(3):
            await server.parked()
            for each in clients.values():
                each.writer.write(b"".join(frame(dump({"method": "GET", "url": url})) for url in urls))
                each.writer.write(
                    b"".join(frame(dump({"method": "GET", "url": url, "id": n})) for n, url in enumerate(urls))
                )
            for name, each in clients.items():
                assert {(await each.reply())["data"] for _ in range(2 * len(urls))} == {expected[name]}


# Replies


class Recorder:
    """A transport that tells what it was given to write."""

    def __init__(self, transport: Any) -> None:
        self.transport = transport
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(bytes(data))
        self.transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)


@on_each_loop
@pytest.mark.parametrize("with_id", [False, True], ids=("lane", "id"))
@pytest.mark.parametrize("name", ["waits_for_nothing", "awaits_what_is_done", "raises_at_once"])
@asynchronous
async def test_sixteen_that_do_not_wait_are_answered_in_one_write(loop: str, name: str, with_id: bool) -> None:
    async with bench() as server, await Client.connect(server.app) as client:
        await server.parked()
        (connection,) = server.connections
        recorder: Any = Recorder(connection.transport)
        connection.transport = recorder
        connection.data_received(
            b"".join(
                frame(dump({"method": "GET", "url": f"/probe/{name}", **({"id": n} if with_id else {})}))
                for n in range(16)
            )
        )
        assert len(recorder.writes) == 1
        replies = [await client.reply() for _ in range(16)]
        if with_id:
            assert [reply["id"] for reply in replies] == list(range(16))


@on_each_loop
@pytest.mark.parametrize("spare", [False, True], ids=("plain", "spare"))
@asynchronous
async def test_replies_of_one_turn_leave_in_one_write_and_in_order(loop: str, spare: bool) -> None:
    gate = asyncio.Event()
    ended: list[int] = []

    @endpoint("/wait", "GET")
    async def wait(request: Any) -> int:
        await gate.wait()
        ended.append(request.id)
        if request.id == 9:
            request.connection.send_event("pushed")
        return int(request.id)

    async with bench(wait) as server, await Client.connect(server.app) as client:
        if spare:
            await server.parked()
        (connection,) = server.connections
        recorder: Any = Recorder(connection.transport)
        connection.transport = recorder
        requests = b"".join(frame(dump({"method": "GET", "url": "/wait", "id": n})) for n in range(9))
        for bytes_, writes in ((requests, 1), (requests + frame(dump({"method": "GET", "url": "/wait", "id": 9})), 2)):
            ended.clear()
            recorder.writes.clear()
            gate.clear()
            connection.data_received(bytes_)
            await turn_over()
            gate.set()
            await turn_over(2)
            assert 1 <= len(recorder.writes) <= writes
            replies = [await client.reply() for _ in range(len(ended) + writes - 1)]
            order = [reply.get("id", "event") for reply in replies]
            assert [each for each in order if each != "event"] == ended
            if writes == 2:
                assert order.index("event") == order.index(9) - 1
            await server.parked()


@on_each_loop
@asynchronous
async def test_late_replies_and_those_of_a_read_keep_their_order(loop: str) -> None:
    gate = asyncio.Event()

    @endpoint("/wait", "GET")
    async def wait(request: Any) -> int:
        await gate.wait()
        connection.data_received(frame(dump({"method": "GET", "url": "/now", "id": f"now {request.id}"})))
        return int(request.id)

    @endpoint("/now", "GET")
    def now(request: Any) -> None:
        order.append(request.id)

    order: list[Any] = []
    async with bench(wait, now) as server, await Client.connect(server.app) as client:
        await server.parked()
        (connection,) = server.connections
        connection.data_received(
            b"".join(frame(dump({"method": "GET", "url": "/wait", "id": n})) for n in range(4)),
        )
        await turn_over()
        gate.set()
        received = [(await client.reply())["id"] for _ in range(8)]
        assert sorted(map(str, received)) == sorted([*"0123", *(f"now {n}" for n in range(4))])
        assert [each for each in received if isinstance(each, str)] == order
        for number in range(4):
            assert received.index(f"now {number}") < received.index(number)


# Task factories


@on_each_loop
@asynchronous
async def test_task_factory_of_the_loop_is_used(loop: str) -> None:
    made: list[str] = []

    def factory(on: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        made.append(coroutine.__qualname__)
        return asyncio.Task(coroutine, loop=on, **options)

    asyncio.get_running_loop().set_task_factory(factory)
    expected, body = await in_a_task("keeps_its_task")
    async with bench() as server, await Client.connect(server.app) as client:
        for _ in range(3):
            assert await client.ask(url="/probe/keeps_its_task") == reply_to(body, None)
        assert server.notes["keeps_its_task"] == 3 * [expected]
        assert any("work" in name or "_run" in name for name in made)


if sys.version_info >= (3, 12):

    @on_each_loop
    @pytest.mark.parametrize("name", PROBES)
    @asynchronous
    async def test_eager_task_factory(loop: str, name: str) -> None:
        def factory(on: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
            # `asyncio.eager_task_factory`; uvloop passes options that the one of 3.13.0 does not take.
            return asyncio.Task(coroutine, loop=on, **options | {"eager_start": True})

        asyncio.get_running_loop().set_task_factory(factory)
        expected, body = await in_a_task(name)
        async with bench() as server, await Client.connect(server.app) as client:
            for number in (None, None, 1, None, 2):
                client.request(url=f"/probe/{name}", **({} if number is None else {"id": number}))
                assert failure(await client.reply()) == reply_to(body, number)
            client.writer.write(16 * frame(dump({"method": "GET", "url": f"/probe/{name}"})))
            assert [failure(await client.reply()) for _ in range(16)] == 16 * [reply_to(body, None)]
            assert server.notes[name] == 21 * [expected]
            (connection,) = server.connections
            assert connection._in_flight == 0


# `first_step`, without a connection


async def stand_in() -> AsyncIterator[asyncio.Task[Any]]:
    """Give a task that waits, for a first step in its name."""
    wake = never()
    task = asyncio.ensure_future(wake_up(wake))
    await asyncio.sleep(0)
    try:
        yield task
    finally:
        wake.cancel()
        await asyncio.wait([task])


async def wake_up(wake: Awaitable[Any]) -> None:
    await wake


standing_in = asynccontextmanager(stand_in)


def first_step(impl: Impl, coroutine: Any, context: Context, task: asyncio.Task[Any]) -> Any:
    return impl.eager.first_step(coroutine, context, impl.eager.Lookout(task.get_loop(), task))


def test_first_step_to_the_end(impl: Impl) -> None:
    @asynchronous
    async def run() -> None:
        seen: list[Any] = []

        async def at_once(value: Any) -> Any:
            seen.append(asyncio.current_task())
            await done()
            seen.append(asyncio.current_task())
            return value

        async with standing_in() as task:
            me = asyncio.current_task()
            marker = object()
            count = sys.getrefcount(marker)
            for value in (marker, None, (1, 2), StopIteration("value")):
                ended, result = first_step(impl, at_once(value), copy_context(), task)
                assert ended is True
                assert result is value
                del result
                assert asyncio.current_task() is me
            value = None
            assert sys.getrefcount(marker) == count
            assert seen == 8 * [task]

    run()


def test_first_step_to_a_wait(impl: Impl) -> None:
    @asynchronous
    async def run() -> None:
        future = never()

        async def waiting(value: Any) -> Any:
            return await value

        async with standing_in() as task:
            me = asyncio.current_task()
            for value, expected in ((future, future), (asyncio.sleep(0), None)):
                coroutine = waiting(value)
                ended, result = first_step(impl, coroutine, copy_context(), task)
                assert ended is False
                assert result is expected
                assert asyncio.current_task() is me
                coroutine.close()

    run()


@pytest.mark.parametrize(
    "kind",
    [ValueError, asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit, BaseException],
)
def test_first_step_that_raises(impl: Impl, kind: type[BaseException]) -> None:
    @asynchronous
    async def run() -> None:

        async def fail() -> None:
            assert asyncio.current_task() is task
            raise kind("no")

        async with standing_in() as task:
            me = asyncio.current_task()
            for _ in range(3):
                with pytest.raises(kind, match=r"^no$") as raised:
                    first_step(impl, fail(), copy_context(), task)
                assert raised.value.__context__ is None
                del raised
                assert asyncio.current_task() is me
            assert not task.done()

    run()


def test_first_step_in_no_task(impl: Impl) -> None:
    """As from the transport."""

    @asynchronous
    async def run() -> None:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[Any] = loop.create_future()

        async def handler(fails: bool) -> Any:
            seen.append(asyncio.current_task())
            if fails:
                raise ValueError
            return "value"

        def step() -> None:
            seen.append(asyncio.current_task())
            outcome = first_step(impl, handler(False), copy_context(), task)
            seen.append(asyncio.current_task())
            with pytest.raises(ValueError):  # noqa: PT011
                first_step(impl, handler(True), copy_context(), task)
            seen.append(asyncio.current_task())
            ended.set_result(outcome)

        seen: list[Any] = []
        async with standing_in() as task:
            loop.call_soon(step)
            assert await ended == (True, "value")
            assert seen == [None, task, None, task, None]

    run()


def test_first_step_inside_another(impl: Impl) -> None:
    @asynchronous
    async def run() -> None:
        seen: list[Any] = []

        async def inner() -> str:
            seen.append([asyncio.current_task(), var.get()])
            var.set("inner")
            return "inner"

        async def outer() -> Any:
            var.set("outer")
            outcomes = [first_step(impl, inner(), copy_context(), each) for each in (second, first)]
            seen.append([asyncio.current_task(), var.get()])
            return outcomes

        async with standing_in() as first, standing_in() as second:
            outcome = first_step(impl, outer(), copy_context(), first)
            assert outcome == (True, 2 * [(True, "inner")])
            assert seen == [[second, "outer"], [first, "outer"], [first, "outer"]]
            assert var.get() == "unset"

    run()


def test_first_step_has_the_context_that_it_is_given(impl: Impl) -> None:
    @asynchronous
    async def run() -> None:

        async def handler() -> str:
            before = var.get()
            var.set("handler")
            return before

        async with standing_in() as task:
            context = Context()
            context.run(var.set, "given")
            assert first_step(impl, handler(), context, task) == (True, "given")
            assert context[var] == "handler"
            assert var.get() == "unset"
            # One that is entered already cannot be entered again; nothing is left in disorder.
            coroutine = handler()

            def again() -> None:
                with pytest.raises(RuntimeError, match="already entered"):
                    first_step(impl, coroutine, context, task)

            me = asyncio.current_task()
            context.run(again)
            assert asyncio.current_task() is me
            assert first_step(impl, coroutine, Context(), task) == (True, "unset")
            with pytest.raises(RuntimeError, match="cannot reuse"):
                first_step(impl, coroutine, Context(), task)
            assert asyncio.current_task() is me

    run()


def test_first_step_that_cancels_its_task(impl: Impl) -> None:
    @asynchronous
    async def run() -> None:

        async def handler() -> int:
            assert this_task().cancel()
            return this_task().cancelling()

        async with standing_in() as task:
            assert first_step(impl, handler(), copy_context(), task) == (True, 1)
            assert this_task().cancelling() == 0
            assert not task.done()
            await asyncio.wait([task])
            assert task.cancelled()

    run()


# `SpareTasks`, without a connection


def test_workers_close(impl: Impl) -> None:
    @asynchronous
    async def run() -> None:
        loop = asyncio.get_running_loop()
        for turns in (0, 1, 2):
            spare_tasks = impl.tasks.SpareTasks(loop)
            spare_tasks.prepare()
            spare_tasks.prepare()
            assert len(asyncio.all_tasks()) == 2
            await turn_over(turns)
            spare_tasks.close()
            spare_tasks.prepare()
            await turn_over()
            assert asyncio.all_tasks() == {this_task()}
            assert spare_tasks.spare is None

    run()


def test_worker_that_is_taken_is_nobody_elses(impl: Impl) -> None:
    @asynchronous
    async def run() -> None:
        spare_tasks = impl.tasks.SpareTasks(asyncio.get_running_loop())
        assert spare_tasks.take() is None
        for _ in range(2):
            spare_tasks.prepare()
            await turn_over()
            taken = spare_tasks.take()
            assert taken is not None
            assert spare_tasks.take() is None
            spare_tasks.put_back(taken)
            assert spare_tasks.spare is taken
            # Another was made meanwhile: one of them goes.
            assert spare_tasks.take() is taken
            spare_tasks.prepare()
            spare_tasks.put_back(taken)
            await turn_over()
            assert spare_tasks.spare not in (None, taken)
            assert taken.task.done()
            # It was cancelled while it was away.
            taken = spare_tasks.take()
            taken.task.cancel()
            spare_tasks.put_back(taken)
            assert spare_tasks.take() is None
            await turn_over()
        assert asyncio.all_tasks() == {this_task()}

    run()


class Transport:
    """Takes what is written."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


def test_keyboard_interrupt_goes_through(impl: Impl) -> None:
    """To the loop, from the first step; what comes after it is served."""

    @asynchronous
    async def run() -> None:
        loop = asyncio.get_running_loop()
        spare_tasks = impl.tasks.SpareTasks(loop)
        connection = impl.connection.Connection()
        transport = Transport()
        connection.transport = transport
        connection.state = 3
        connection._loop = loop
        connection._spare_tasks = spare_tasks
        interrupts = True

        async def process(request: Any) -> bytes:
            if interrupts:
                raise KeyboardInterrupt
            await asyncio.sleep(0)
            return b"served"

        connection._pipeline = impl.pipeline.Pipeline(None, process=process)
        spare_tasks.prepare()
        await turn_over()
        spare = spare_tasks.spare
        request = frame(dump({"method": "GET", "url": "/"}))
        with pytest.raises(KeyboardInterrupt):
            connection.data_received(request)
        assert spare_tasks.spare is spare
        assert transport.written == b""
        interrupts = False
        connection.data_received(request)
        await turn_over()
        assert transport.written == b"\x81\x06served"
        spare_tasks.close()
        await turn_over()

    run()
