"""Clients that come, go, lag and are thrown out, against what was published: nobody misses, repeats or sees too much.

One application with a log, a shared state and a private one; what each client was sent is checked as it comes, and when
all is quiet everybody has what a GET gives, or was told the end. `--hypothesis-seed` and more examples by hand:
HYPOTHESIS_PROFILE=dev MODEL_EXAMPLES=5000.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Coroutine
from typing import Any

from hypothesis import HealthCheck, currently_in_test_context, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from aiorest_ws import Application, HTTPError, Live, Request, SimpleRouter
from aiorest_ws.testing import AsyncTestClient
from aiorest_ws.testing.link import Link
from aiorest_ws.testing.messages import form_of, pack, unpack

LOG, SHARED, OWN = "/log", "/shared", "/own"
URLS = (LOG, SHARED, OWN)
FORMS = ("text", "text-base64", "msgpack")
MANY = int(os.environ.get("MODEL_EXAMPLES", "12"))
MOST = 4  # clients
HISTORY = 2400  # bytes


class World:
    """What is true, and how the server behaves."""

    def __init__(self) -> None:
        self.items = 0  # that were published: 0, 1, 2, …
        self.value = 0  # of both states: it only grows
        self.banned: dict[str, tuple[int, int]] = {}  # name → what there was when it was banned
        self.octets = [0]  # of so many items, at most, in both encodings
        self.is_failing = False
        self.guards_fail = False
        self.is_cancelling = False  # handlers cancel themselves
        self.guards_cancel = False
        self.gate: asyncio.Event | None = None  # handlers wait for it, having read
        self.guard_gate: asyncio.Event | None = None

    async def process_request(self, request: Any, handler: Any) -> None:
        if self.guard_gate is not None:
            await self.guard_gate.wait()
        if self.guards_cancel:
            await cancel_this()
        if self.guards_fail:
            raise RuntimeError("the guard fails, as it was told")
        if request.get_extra("who") in self.banned:
            raise HTTPError(403, "banned")

    async def read(self, value: Any) -> Any:
        if self.is_failing:
            raise RuntimeError("the handler fails, as it was told")
        if self.is_cancelling:
            await cancel_this()
        if self.gate is not None:
            await self.gate.wait()
        return value


async def cancel_this() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


def application(world: World) -> Application:
    router = SimpleRouter()

    @router.get(
        LOG, live=Live(mode="log", shared=True, interval=0.0, history=4, history_bytes=HISTORY), middlewares=[world]
    )
    async def log(request: Request) -> Any:
        return await world.read(list(range(world.items)))

    @router.get(SHARED, live=Live(shared=True, interval=0.0), middlewares=[world])
    async def shared(request: Request) -> Any:
        return await world.read(world.value)

    @router.get(OWN, live=Live(interval=0.0), middlewares=[world])
    async def own(request: Request) -> Any:
        return await world.read([world.value, request.get_extra("who")])

    return Application(router)


class View:
    """One subscription, as its client knows it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.version = ""
        self.value: Any = None  # of a state
        self.items = 0  # of a log: all below it are there
        self.first = 0  # so many came with the first `data`
        self.again = ("", 0)

    @property
    def mark(self) -> tuple[str, int]:
        epoch, number, *_ = self.version.split(".")
        return epoch, int(number)


class Viewer(AsyncTestClient):
    """A client that checks what it is sent as it comes."""

    world: World
    name: str

    def begin(self, name: str, world: World) -> None:
        self.name, self.world = name, world
        self._link = Link(self.on_message)
        self.last_id = 0
        self.views: dict[str, View] = {}
        self.waits: dict[int, tuple[str, str, str | None]] = {}
        self.known: dict[str, View] = {}  # of subscriptions that are over
        self.is_choked = False
        self.seen: list[Any] = []

    def ask(self, verb: str, url: str, since: str | None = None, form: str = "text") -> None:
        self.last_id += 1
        message = {"method": verb, "url": url, "id": self.last_id, "who": self.name}
        if since is not None:
            message["since"] = since
        self.waits[self.last_id] = verb, url, since
        self._link.send(*pack(message, form_of(form)))

    def on_message(self, payload: bytes, is_binary: bool) -> None:
        message, _ = unpack(payload)
        self.seen.append(message)
        if "id" in message:
            self.on_reply(message)
        elif "status" in message:
            self.on_end(message)
        else:
            self.on_push(message)

    def on_reply(self, message: dict[str, Any]) -> None:
        verb, url, since = self.waits.pop(message["id"])  # each once
        status = message["status"]
        if verb == "UNSUBSCRIBE":
            assert status in (200, 404), message
            if status == 200 and url in self.views:
                self.known[url] = self.views.pop(url)
        elif verb == "GET":
            assert status in (200, 403, 500), message
        elif status == 200:
            view = self.views[url] = View(url)
            self.take(view, message)
            view.first = view.items
        elif status in (206, 304):
            assert since is not None
            if url not in self.views:
                view = self.views[url] = self.known[url]
                view.again = view.mark  # what came since it has asked comes once more
                view.version = since
            if status == 304 and url != LOG:
                self.views[url].version = message["version"]
        else:
            assert status in (403, 409, 500), message
            assert status != 403 or self.name in self.world.banned or self.was_banned, message

    def on_push(self, message: dict[str, Any]) -> None:
        view = self.views[message["event_name"]]  # nothing comes behind an end
        before, view.version = view.mark, message["version"]
        if view.url != LOG:
            assert view.mark[0] != before[0] or view.mark[1] >= before[1], message
            if "data" in message:
                self.take(view, message)
            return
        assert view.mark == (before[0], before[1] + 1), (before, message)
        item = message["data"]["n"]
        self.check(item, 0)
        comes_again = view.mark[0] == view.again[0] and view.mark[1] <= view.again[1]
        if (item >= view.first and not comes_again) or item >= view.items:
            assert item == view.items, (view.items, message)  # none left out, and none twice
            view.items += 1

    def take(self, view: View, message: dict[str, Any]) -> None:
        data, view.version = message["data"], message["version"]
        if view.url == LOG:
            assert data == list(range(len(data)))
            view.items = len(data)
            self.check(view.items - 1, 0)
            return
        if view.url == OWN:
            data, who = data
            assert who == self.name
        self.check(data, 1)
        before = self.known.get(view.url) if view.value is None else view
        assert before is None or before.value is None or data >= before.value, (before.value, message)
        view.value = data

    def on_end(self, message: dict[str, Any]) -> None:
        view = self.known[message["event_name"]] = self.views.pop(message["event_name"])  # once
        status = message["status"]
        assert status in (403, 409, 500), message
        if status == 409:
            assert message["event_name"] == LOG
            # The first `data` may have items that come behind its number, and are among those that were put out.
            has = 0 if view.items == view.first else view.items
            assert self.world.octets[-1] - self.world.octets[has] > HISTORY, message

    was_banned = False

    def check(self, value: int, at: int) -> None:
        """See that it was there before this client was banned."""
        limit = self.world.banned.get(self.name)
        assert limit is None or value < limit[at] + at, (self.name, value, limit)

    def choke(self) -> None:
        if not self.is_choked and self.is_open:
            self.is_choked = True
            self.connection.pause_writing()

    def read_on(self) -> None:
        if self.is_choked and self.is_open:
            self.is_choked = False
            self.connection.resume_writing()


class Trouble(logging.Handler):
    """What the server complains of, but for what it was told to fail at."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if "as it was told" not in text:
            self.lines.append(text)


class Model(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.trouble = Trouble()
        logging.getLogger("aiorest_ws").addHandler(self.trouble)
        self.loop.set_exception_handler(lambda _, context: self.trouble.lines.append(str(context)))
        self.world = World()
        self.app = application(self.world)
        self.root = Viewer(self.app)
        self.root.begin("root", self.world)
        self.clients: list[Viewer] = []
        self.names = 0

    def do(self, what: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(what, 20))

    async def turns(self, many: int) -> None:
        for _ in range(many):
            await asyncio.sleep(0)

    # Clients

    @initialize()
    def begin(self) -> None:
        self.do(self.root.__aenter__())
        for form in ("text", "msgpack"):
            self.connect()
            for url in URLS:
                self.clients[-1].ask("SUBSCRIBE", url, None, form)

    @precondition(lambda self: len(self.clients) < MOST)
    @rule()
    def connect(self) -> None:
        client = self.root.connect()
        self.names += 1
        client.begin(f"c{self.names}", self.world)
        self.do(client.__aenter__())
        self.clients.append(client)

    def one(self, at: int) -> Viewer:
        return self.clients[at % len(self.clients)]

    @precondition(lambda self: self.clients)
    @rule(at=st.integers(0, MOST), url=st.sampled_from(URLS), form=st.sampled_from(FORMS), resumes=st.booleans())
    def subscribe(self, at: int, url: str, form: str, resumes: bool) -> None:
        client = self.one(at)
        view = client.views.get(url) or client.known.get(url)
        since = view.version if resumes and view is not None else None
        client.ask("SUBSCRIBE", url, since, form)

    @precondition(lambda self: self.clients)
    @rule(at=st.integers(0, MOST), form=st.sampled_from(FORMS))
    def subscribe_to_all(self, at: int, form: str) -> None:
        for url in URLS:
            self.subscribe(at, url, form, resumes=True)

    @precondition(lambda self: self.clients)
    @rule(at=st.integers(0, MOST), url=st.sampled_from(URLS))
    def unsubscribe(self, at: int, url: str) -> None:
        self.one(at).ask("UNSUBSCRIBE", url)

    @precondition(lambda self: self.clients)
    @rule(at=st.integers(0, MOST), url=st.sampled_from(URLS))
    def get(self, at: int, url: str) -> None:
        self.one(at).ask("GET", url)

    @precondition(lambda self: self.clients)
    @rule(at=st.integers(0, MOST), comes_back=st.sampled_from(("never", "at once", "later")))
    def drop(self, at: int, comes_back: str) -> None:
        """Lose a connection; another takes up what its client has."""
        client = self.one(at)
        self.clients.remove(client)
        client.read_on()
        client.abort()
        self.do(client.wait_closed())
        if comes_back == "never":
            return
        self.connect()
        other = self.clients[-1]
        other.name = client.name
        other.known = client.known | client.views
        if comes_back == "later":
            self.publish(2)
        for url, view in client.views.items():
            other.ask("SUBSCRIBE", url, view.version)

    @precondition(lambda self: self.clients)
    @rule(at=st.integers(0, MOST))
    def choke(self, at: int) -> None:
        self.one(at).choke()

    @precondition(lambda self: self.clients)
    @rule(at=st.integers(0, MOST))
    def read_on(self, at: int) -> None:
        self.one(at).read_on()

    # What happens

    @rule(many=st.sampled_from((1, 1, 2, 12)))
    def publish(self, many: int) -> None:
        async def publish() -> None:
            for _ in range(many):
                item, self.world.items = self.world.items, self.world.items + 1
                self.world.octets.append(self.world.octets[-1] + 250 + item % 5 * 80)
                self.app.live.publish(LOG, {"n": item, "filling": "x" * (item % 5 * 40)})

        self.do(publish())

    @rule(many=st.integers(1, 3))
    def publish_and_turn(self, many: int) -> None:
        self.publish(many)
        self.turn(many)

    @rule(says=st.sampled_from(("changed", "publish")))
    def write(self, says: str) -> None:
        async def write() -> None:
            self.world.value += 1
            if says == "publish":
                self.app.live.publish(SHARED, self.world.value)
            else:
                self.app.live.changed(SHARED)
            self.app.live.changed(OWN)

        self.do(write())

    @rule()
    def say_that_it_changed(self) -> None:
        async def say() -> None:
            self.app.live.changed(SHARED)
            self.app.live.changed(OWN)

        self.do(say())

    @precondition(lambda self: self.clients)
    @rule(at=st.integers(0, MOST), of_all=st.booleans())
    def ban(self, at: int, of_all: bool) -> None:
        async def ban() -> None:
            client = self.one(at)
            self.world.banned.setdefault(client.name, (self.world.items, self.world.value))
            for url in (None,) if of_all else URLS:
                self.app.live.recheck(url)

        self.do(ban())

    @precondition(lambda self: self.world.banned)
    @rule()
    def forgive(self) -> None:
        for client in self.clients:
            client.was_banned = client.was_banned or client.name in self.world.banned
        self.world.banned.clear()

    @rule(what=st.sampled_from(("gate", "guard_gate", "is_failing", "guards_fail", "is_cancelling", "guards_cancel")))
    def go_wrong(self, what: str) -> None:
        if what.endswith("gate"):
            if getattr(self.world, what) is None:
                setattr(self.world, what, asyncio.Event())
        else:
            setattr(self.world, what, True)

    @rule()
    def go_right(self) -> None:
        self.world.is_failing = self.world.guards_fail = False
        self.world.is_cancelling = self.world.guards_cancel = False
        for name in ("gate", "guard_gate"):
            gate = getattr(self.world, name)
            if gate is not None:
                setattr(self.world, name, None)
                self.loop.call_soon(gate.set)

    @rule(many=st.integers(1, 8))
    def turn(self, many: int) -> None:
        self.do(self.turns(many))

    @rule(seconds=st.sampled_from((0.01, 1.5)))
    def time_passes(self, seconds: float) -> None:
        async def advance() -> None:
            node = self.app.live._node
            if node is not None:
                node.timers.advance(seconds)
            await self.turns(2)

        self.do(advance())

    @rule()
    def be_quiet(self) -> None:
        """With everything in order, everybody has what there is."""
        self.go_right()
        for client in self.clients:
            client.read_on()

        async def quiet() -> None:
            for _ in range(3):
                await self.root.advance(2.0)

        self.do(quiet())
        self.nothing_goes_wrong()
        for client in self.clients:
            assert client.waits == {}, (client.name, client.waits)
            for url, view in client.views.items():
                if url == LOG:
                    assert view.items == self.world.items, (client.name, view.items, self.world.items)
                else:
                    assert view.value == self.world.value, (client.name, url, view.value, self.world.value)
            assert client.connection.subscriptions == tuple(sorted(client.views)), client.name
            assert client.name not in self.world.banned or not client.views

    @invariant()
    def nothing_goes_wrong(self) -> None:
        assert self.trouble.lines == []
        for client in (self.root, *self.clients):
            if client._link._fault is not None:
                if currently_in_test_context():
                    note(f"{client.name} was sent: {client.seen}")
                raise client._link._fault

    def teardown(self) -> None:
        try:
            if self.root._link.is_begun:
                self.be_quiet()
                for client in self.clients:
                    self.do(client.__aexit__(None, None, None))
                self.do(self.root.__aexit__(None, None, None))
                assert self.app.live.topics() == []
                assert self.app.live.meter.subscriptions == 0
            self.nothing_goes_wrong()
        finally:
            logging.getLogger("aiorest_ws").removeHandler(self.trouble)
            self.end_tasks()
            self.loop.close()

    def end_tasks(self) -> None:
        """Leave none behind, after a failure: what they await would be said to be never awaited, in its place."""
        while tasks := asyncio.all_tasks(self.loop):
            for task in tasks:
                self.loop.call_soon(task.cancel)  # not before its first step: it would drop what it is to await
            self.loop.run_until_complete(asyncio.wait(tasks))


def test_every_view_against_what_was_published() -> None:
    many = settings(
        max_examples=MANY, stateful_step_count=40, report_multiple_bugs=False, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(Model, settings=many)
