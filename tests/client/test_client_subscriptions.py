"""Subscriptions of `AsyncClient`: a state is never older, a log loses and repeats nothing, or says so."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

import pytest

from aiorest_ws import Live, SimpleRouter
from aiorest_ws.client import (
    AsyncClient,
    Change,
    Forbidden,
    HandshakeRefused,
    MethodNotAllowed,
    NotFound,
    RequestFailed,
    UnexpectedReply,
)
from tests.kit.cuts import line_to
from tests.kit.peers import Peer, peer
from tests.serving import asynchronous, factory_of, serving, until

QUICK: dict[str, Any] = {"backoff": (0.0, 0.01)}


@dataclass
class Item:
    n: int


class World:
    """A server with a state that depends on `args`, and a log with a key; and a line to it."""

    def __init__(self) -> None:
        self.value = 1
        self.items: deque[dict[str, int]] = deque(maxlen=3)
        self.numbers = count(1)
        self.router = SimpleRouter()
        self.app: Any = None
        self.line: Any = None
        self._clients: list[AsyncClient] = []

        @self.router.get("/state/{number:int}", live=Live(shared=True, interval=0))
        def state(request: Any, number: int, step: int = 1) -> dict[str, int]:
            return {"n": self.value * step}

        @self.router.get("/log", live=Live(mode="log", shared=True, key="n", history=5, interval=0))
        def log(request: Any) -> list[dict[str, int]]:
            return list(self.items)

        @self.router.get("/plain")
        def plain(request: Any) -> int:
            return 1

    async def set(self, value: int) -> None:
        self.value = value
        await self.app.live.changed("/state/7")

    async def add(self, times: int = 1) -> None:
        for _ in range(times):
            item = {"n": next(self.numbers)}
            self.items.append(item)
            await self.app.live.publish("/log", item)

    async def client(self, **options: Any) -> AsyncClient:
        api = AsyncClient(f"ws://127.0.0.1:{self.line.port}", **(QUICK | options))
        await api.connect()
        self._clients.append(api)
        return api

    def subscriptions(self) -> int:
        return sum(len(connection.subscriptions) for connection in factory_of(self.app).connections)

    async def close(self) -> None:
        for api in self._clients:
            await api.close()


@asynccontextmanager
async def a_world() -> AsyncIterator[World]:
    world = World()
    async with serving(world.router) as app, line_to(app.addresses[0]) as line:
        world.app, world.line = app, line
        yield world
        await world.close()


async def lose(world: World, api: AsyncClient) -> None:
    """Cut the line, and keep the client from coming back until it flows again."""
    world.line.hold()
    world.line.cut()
    await until(lambda: api.status == "offline")


def n_of(change: Change[Any]) -> Any:
    return change.data["n"] if change.is_item else [item["n"] for item in change.data]


# States


@pytest.mark.parametrize("form", ["json", "msgpack"])
@asynchronous
async def test_a_state_gives_its_value_and_each_change(form: Any) -> None:
    async with a_world() as world:
        api = await world.client(form=form)
        async with api.subscribe("/state/007", args={"step": 2}, type=Item) as changes:
            assert (await anext(changes)).data == Item(2)
            assert changes.status == "live"
            await world.set(3)
            change = await anext(changes)
            assert (change.data, change.is_item, change.lost) == (Item(6), False, False)
        assert changes.status == "ended"
        await until(lambda: world.subscriptions() == 0)
        assert [change async for change in changes] == []


@asynchronous
async def test_of_a_state_the_last_value_waits_for_a_slow_reader() -> None:
    async with a_world() as world:
        api = await world.client()
        changes, other = api.subscribe("/state/7"), api.subscribe("/state/7")
        for value in range(1, 20):
            await world.set(value)
            while (await anext(other)).data["n"] != value:
                pass
        assert (await anext(changes)).data == {"n": 19}
        assert world.subscriptions() == 1


@asynchronous
async def test_a_second_listener_has_the_value_at_once_and_the_first_that_leaves_ends_nothing() -> None:
    async with a_world() as world:
        api = await world.client()
        one = api.subscribe("/state/7")
        await anext(one)
        two = api.subscribe("/state/7")
        assert (await anext(two)).data == {"n": 1}
        one.close()
        await world.set(2)
        assert (await anext(two)).data == {"n": 2}
        assert world.subscriptions() == 1


@asynchronous
async def test_two_spellings_of_a_url_do_not_end_each_other() -> None:
    async with a_world() as world:
        api = await world.client()
        one, two = api.subscribe("/state/7"), api.subscribe("/state/007")
        assert (await anext(one)).data == (await anext(two)).data
        one.close()
        await world.set(2)
        assert (await anext(two)).data == {"n": 2}


@asynchronous
async def test_a_state_that_changed_meanwhile_is_told_and_one_that_did_not_is_not() -> None:
    async with a_world() as world:
        api = await world.client()
        changes = api.subscribe("/state/7")
        await anext(changes)
        for value in (2, 3):
            await lose(world, api)
            assert changes.status == "stale"
            await world.set(value)
            world.line.flow()
            assert (await anext(changes)).data == {"n": value}
        await lose(world, api)
        world.line.flow()
        await until(lambda: changes.status == "live")
        await world.set(4)
        assert (await anext(changes)).data == {"n": 4}


@asynchronous
async def test_an_older_value_and_one_that_is_what_it_was_are_not_told() -> None:
    async def talk(connection: Peer) -> None:
        await connection.answer(5, topic="/x", version="e.5.d")
        await connection.say(
            {"event_name": "/x", "version": "e.4.c", "data": 4},
            {"event_name": "/x", "version": "e.6.d"},
            {"event_name": "/x", "version": "e.5.e", "data": 55},
            {"event_name": "/x", "version": "f.1.g", "data": None},
        )

    async with peer(talk) as script, AsyncClient(script.url) as api:
        changes = api.subscribe("/x")
        seen = [await anext(changes)]
        while seen[-1].version != "f.1.g":
            seen.append(await anext(changes))
        assert [change.data for change in seen] in ([5, None], [None])


# Logs


@pytest.mark.parametrize("form", ["json", "msgpack"])
@asynchronous
async def test_a_log_gives_its_beginning_and_each_item(form: Any) -> None:
    async with a_world() as world:
        await world.add(2)
        api = await world.client(form=form)
        changes = api.subscribe("/log", type=list[Item], item=Item)
        first = await anext(changes)
        assert (first.data, first.is_item) == ([Item(1), Item(2)], False)
        await world.add(2)
        for n in (3, 4):
            change = await anext(changes)
            assert (change.data, change.is_item) == (Item(n), True)


@asynchronous
async def test_what_a_log_has_missed_comes_in_order_and_once() -> None:
    async with a_world() as world:
        api = await world.client()
        changes = api.subscribe("/log")
        await anext(changes)
        await world.add()
        seen = [n_of(await anext(changes))]
        for _ in range(3):
            await lose(world, api)
            await world.add(4)
            world.line.flow()
            seen += [n_of(await anext(changes)) for _ in range(4)]
        await world.add()
        assert [*seen, n_of(await anext(changes))] == list(range(1, 15))


@asynchronous
async def test_a_log_of_which_too_much_was_missed_says_so() -> None:
    async with a_world() as world:
        api = await world.client()
        changes = api.subscribe("/log")
        await anext(changes)
        await lose(world, api)
        await world.add(6)  # its history is 5
        world.line.flow()
        change = await anext(changes)
        assert (n_of(change), change.is_item, change.lost) == ([4, 5, 6], False, True)
        await world.add()
        assert n_of(await anext(changes)) == 7


@asynchronous
async def test_a_second_listener_of_a_log_begins_and_the_first_goes_on() -> None:
    async with a_world() as world:
        api = await world.client()
        one = api.subscribe("/log")
        assert n_of(await anext(one)) == []
        await world.add(2)
        two = api.subscribe("/log")
        assert n_of(await anext(two)) == [1, 2]
        await world.add()
        assert [n_of(await anext(one)) for _ in range(3)] == [1, 2, 3]
        assert n_of(await anext(two)) == 3
        assert world.subscriptions() == 1


@asynchronous
async def test_items_that_the_beginning_has_are_not_told_again() -> None:
    async def talk(connection: Peer) -> None:
        await connection.answer([{"n": 1}, {"n": 2}], topic="/x", version="e.1", key="n")
        await connection.say(*({"event_name": "/x", "version": f"e.{n}", "data": {"n": n}} for n in (2, 3)))

    async with peer(talk) as script, AsyncClient(script.url) as api:
        changes = api.subscribe("/x")
        assert [n_of(await anext(changes)) for _ in range(2)] == [[1, 2], 3]


@asynchronous
async def test_a_gap_is_filled_and_what_comes_twice_is_told_once() -> None:
    asked = []

    async def talk(connection: Peer) -> None:
        await connection.answer([], topic="/x", version="e.1")
        await connection.say(*({"event_name": "/x", "version": f"e.{n}", "data": n} for n in (2, 4, 5)))
        asked.append((await connection.answer(status=206, topic="/x", version="e.5"))["since"])
        await connection.say(*({"event_name": "/x", "version": f"e.{n}", "data": n} for n in (2, 3, 4, 4, 5, 6)))

    async with peer(talk) as script, AsyncClient(script.url) as api:
        changes = api.subscribe("/x")
        assert [(await anext(changes)).data for _ in range(6)] == [[], 2, 3, 4, 5, 6]
    assert asked == ["e.2"]


@asynchronous
async def test_a_log_that_begins_anew_says_that_something_is_lost() -> None:
    async def first(connection: Peer) -> None:
        await connection.answer(["a"], topic="/x", version="e.1")
        await connection.say({"event_name": "/x", "version": "f.1", "data": "of another epoch"})
        message = await connection.answer(["b"], topic="/x", version="f.1")
        assert message["since"] == "e.1"

    async with peer(first) as script, AsyncClient(script.url) as api:
        changes = api.subscribe("/x")
        change = await anext(changes)
        if change.version == "e.1":
            change = await anext(changes)
        assert (change.data, change.lost) == (["b"], True)


@asynchronous
async def test_a_slow_reader_of_a_log_gets_the_rest_when_it_reads() -> None:
    """What waits here is bounded, and what is not kept here is asked for again."""

    async def talk(connection: Peer) -> None:
        await connection.answer([], topic="/x", version="e.0")
        await connection.say(*({"event_name": "/x", "version": f"e.{n}", "data": n} for n in range(1, 1101)))
        await connection.answer("all told")
        message = await connection.answer(status=206, topic="/x", version="e.1100")
        begin = int(message["since"].partition(".")[2]) + 1
        assert begin < 1100
        await connection.say(*({"event_name": "/x", "version": f"e.{n}", "data": n} for n in range(begin, 1101)))

    async with peer(talk) as script, AsyncClient(script.url) as api:
        changes = api.subscribe("/x")
        await until(lambda: changes.status == "live")
        assert await api.get("/y") == "all told"
        assert [(await anext(changes)).data for _ in range(1101)] == [[], *range(1, 1101)]


# Ends


@asynchronous
async def test_what_cannot_be_subscribed_to_is_raised() -> None:
    async with a_world() as world:
        api = await world.client()
        with pytest.raises(
            MethodNotAllowed, match=r"405: GET /plain/ does not say how it changes: .* its route has live=True"
        ):
            await anext(api.subscribe("/plain"))
        with pytest.raises(NotFound):
            async for _ in api.subscribe("/nowhere"):
                pass
        with pytest.raises(TypeError, match="cannot be said in JSON"):
            api.subscribe("/plain", args={"a": object()})


@asynchronous
async def test_an_end_for_good_is_raised_behind_what_came_before_it() -> None:
    async def talk(connection: Peer) -> None:
        await connection.answer(1, topic="/x", version="e.1.d")
        await connection.say({"event_name": "/x", "status": 403, "detail": "members only"})

    async with peer(talk) as script, AsyncClient(script.url) as api:
        changes = api.subscribe("/x")
        await until(lambda: changes.status == "ended")
        assert (await anext(changes)).data == 1
        with pytest.raises(Forbidden, match="403: members only"):
            await anext(changes)
        assert [change async for change in changes] == []


@pytest.mark.parametrize("status", [409, 429, 500, 503])
@pytest.mark.parametrize("is_end", [True, False])
@asynchronous
async def test_an_end_that_passes_is_not_the_end(status: int, is_end: bool) -> None:
    failure = {"status": status, "detail": "busy", "retry": 1}

    async def talk(connection: Peer) -> None:
        if is_end:
            await connection.answer(1, topic="/x", version="e.1.d")
            await connection.say({"event_name": "/x"} | failure)
        else:
            await connection.answer(**failure)
        message = await connection.answer(2, topic="/x", version="e.2.d")
        assert message.get("since") == ("e.1.d" if is_end else None)

    async with peer(talk) as script, AsyncClient(script.url, **QUICK) as api:
        changes = api.subscribe("/x")
        states = changes.statuses()
        change = await anext(changes)
        while change.data != 2:
            change = await anext(changes)
        seen: list[Any] = []
        while not seen or seen[-1].status != "live" or (is_end and len(seen) < 4):
            seen.append(await anext(states))
        assert [state.status for state in seen] == ["stale", "live", "stale", "live"][0 if is_end else -2 :] or (
            [state.status for state in seen] == ["stale", "stale", "live"]
        )
        waits = [state for state in seen if state.retry_in is not None]
        assert isinstance(waits[0].reason, RequestFailed)
        assert waits[0].retry_in is not None
        assert waits[0].retry_in >= 0.001


@asynchronous
async def test_a_subscribe_that_is_not_answered_as_one_ends_it() -> None:
    async def talk(connection: Peer) -> None:
        await connection.answer(1)

    async with peer(talk) as script, AsyncClient(script.url) as api:
        with pytest.raises(UnexpectedReply, match="/x: a SUBSCRIBE was answered"):
            await anext(api.subscribe("/x"))


@asynchronous
async def test_a_value_that_does_not_fit_is_raised_and_the_next_one_comes() -> None:
    async with a_world() as world:
        api = await world.client()
        changes = api.subscribe("/state/7", type=list[int])
        with pytest.raises(UnexpectedReply, match="Expected `array`, got `object` - at `\\$`"):
            await anext(changes)
        await world.set(2)
        with pytest.raises(UnexpectedReply):
            await anext(changes)
        assert changes.status == "live"


@asynchronous
async def test_subscriptions_end_with_their_client() -> None:
    async with a_world() as world:
        api = await world.client()
        changes = api.subscribe("/state/7")

        async def read() -> list[Any]:
            return [change.data async for change in changes]

        reading = asyncio.create_task(read())
        await until(lambda: world.subscriptions() == 1)
        await api.close()
        assert await reading in ([{"n": 1}], [])


@asynchronous
async def test_a_client_that_is_refused_for_good_ends_them_with_that() -> None:
    async def talk(connection: Peer) -> None:
        await connection.answer(1, topic="/x", version="e.1.d")
        await connection.close(1012)

    async with peer(talk, 403) as script, AsyncClient(script.url, **QUICK) as api:
        changes = api.subscribe("/x")
        await anext(changes)
        with pytest.raises(HandshakeRefused, match="403"):
            await anext(changes)


@asynchronous
async def test_one_that_is_forgotten_is_left() -> None:
    async with a_world() as world:
        api = await world.client()
        async for _ in api.subscribe("/state/7"):
            break
        gc.collect()
        await until(lambda: world.subscriptions() == 0)


@asynchronous
async def test_one_that_is_left_before_its_reply_leaves_nothing() -> None:
    async with a_world() as world:
        api = await world.client()
        for _ in range(3):
            changes = api.subscribe("/state/7")
            changes.close()
            changes = api.subscribe("/state/7")
            await asyncio.sleep(0)
            changes.close()
        with pytest.raises(NotFound):
            await api.get("/nowhere")
        assert world.subscriptions() == 0
        async with api.subscribe("/state/7") as changes:
            assert (await anext(changes)).data == {"n": 1}


@pytest.mark.parametrize("is_known", [True, False])
@asynchronous
async def test_what_was_asked_for_while_its_url_was_left_is_asked_for_again(is_known: bool) -> None:
    """The server may have read both, in their order: what it has said to the first is over then."""
    told = asyncio.Event()

    async def talk(connection: Peer) -> None:
        def subscribed(message: dict[str, Any], topic: str, status: int = 200) -> dict[str, Any]:
            assert message["method"] == "SUBSCRIBE"
            reply = {"id": message["id"], "status": status, "topic": topic, "version": "e.1.d"}
            return reply | {"data": 1} if status == 200 else reply

        first = await connection.take()
        if is_known:
            await connection.say(subscribed(first, "/state/7"))
            await told.wait()
        second, elsewhere = await connection.take(), await connection.take()
        assert (await connection.take())["method"] == "UNSUBSCRIBE"
        await connection.say(subscribed(second, "/state/7"), subscribed(elsewhere, "/state/8"))
        again = [await connection.take() for _ in range(1 if is_known else 2)]  # where nobody knows what was left, both
        assert [each["url"] for each in again] == (["/state/007"] if is_known else ["/state/007", "/state/8"])
        assert {each["since"] for each in again} == {"e.1.d"}
        await connection.say(*(subscribed(each, each["url"].replace("00", ""), 304) for each in again))
        await connection.say({"event_name": "/state/7", "version": "e.2.d", "data": 2})
        await connection.gone()

    async with peer(talk) as script, AsyncClient(script.url) as api:
        left = api.subscribe("/state/7")
        if is_known:
            assert (await anext(left)).data == 1
            told.set()
        changes, _ = api.subscribe("/state/007"), api.subscribe("/state/8")
        await asyncio.sleep(0)
        left.close()
        assert [(await anext(changes)).data for _ in range(2)] == [1, 2]


@asynchronous
async def test_nothing_is_kept_of_subscriptions_that_are_over() -> None:
    """A hundred thousand of them left 0 KB more behind than five thousand; what is kept of one is a block at least."""

    async def talk(connection: Peer) -> None:
        while True:
            await connection.answer([], topic="/x", version="e.1.d")

    numbers = count()
    async with peer(talk) as script, AsyncClient(script.url) as api:

        async def kept(rounds: int) -> int:
            before = sys.getallocatedblocks()
            for number in islice(numbers, rounds):
                api.subscribe(f"/at-once/{number}").close()
                changes = api.subscribe(f"/live/{number}")
                await anext(changes)
                changes.close()
            gc.collect()
            return sys.getallocatedblocks() - before

        await kept(100)
        assert min([await kept(400) for _ in range(3)]) < 200


@asynchronous
async def test_what_is_subscribed_to_while_it_is_away_begins_when_it_is_back() -> None:
    async with a_world() as world:
        api = await world.client()
        await lose(world, api)
        changes, other = api.subscribe("/state/7"), api.subscribe("/log")
        other.close()
        world.line.flow()
        assert (await anext(changes)).data == {"n": 1}
        assert world.subscriptions() == 1


@asynchronous
async def test_the_server_is_given_the_time_that_it_asks_for() -> None:
    """Who stops says when to come back; the client waits so long besides before it connects."""

    async def talk(connection: Peer) -> None:
        await connection.answer(1, topic="/x", version="e.1.d")
        await connection.say({"event_name": "/x", "status": 503, "detail": "stopping", "retry": 40})
        await connection.close(1001)

    async def again(connection: Peer) -> None:
        await connection.answer(status=304, topic="/x", version="e.1.d")

    async with peer(talk, again) as script, AsyncClient(script.url, **QUICK) as api:
        states = api.statuses()
        changes = api.subscribe("/x")
        await anext(changes)
        waits = [(await anext(states)).retry_in for _ in range(2)]
        assert waits[1] is not None
        assert waits[1] >= 0.04
        await until(lambda: changes.status == "live")


@asynchronous
async def test_more_subscriptions_than_the_server_takes_begin_when_others_are_left() -> None:
    async with a_world() as world:
        api = await world.client()
        kept = [api.subscribe("/state/7", args={"step": n}) for n in range(128)]
        for changes in kept:
            await anext(changes)
        late = api.subscribe("/state/7", args={"step": 1000})
        states = late.statuses()
        state = await anext(states)
        while state.reason is None:
            state = await anext(states)
        assert "429" in str(state.reason)
        kept.pop().close()
        assert (await anext(late)).data == {"n": 1000}


@asynchronous
async def test_extra_and_presence_go_with_the_message() -> None:
    messages = []

    async def talk(connection: Peer) -> None:
        while True:
            messages.append(await connection.answer(1, topic="/x", version="e.1.d"))

    async with peer(talk) as script, AsyncClient(script.url) as api:
        changes = api.subscribe("/x", args={"a": 1}, presence={"typing": True}, extra={"tenant": 5, "url": "/other"})
        assert (await anext(changes)).data == 1
        changes.close()
        await until(lambda: len(messages) == 2)
    subscribe, unsubscribe = messages
    assert (subscribe["tenant"], subscribe["presence"], subscribe["url"]) == (5, {"typing": True}, "/x")
    assert {key: value for key, value in unsubscribe.items() if key != "id"} == {
        "method": "UNSUBSCRIBE",
        "url": "/x",
        "topic": "/x",
    }


@asynchronous
async def test_a_subscription_that_was_never_live_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "aiorest_ws.client")

    async def talk(connection: Peer) -> None:
        for _ in range(3):
            await connection.answer(status=500, detail="it failed")
        await connection.answer(1, topic="/x", version="e.1.1")

    async with peer(talk) as script, AsyncClient(script.url, **QUICK) as api:
        assert (await anext(api.subscribe("/x"))).data == 1
    told = [record for record in caplog.records if "subscribed to again" in record.message]
    assert [record.levelname for record in told] == ["WARNING", "INFO", "INFO"]
    assert told[0].message.startswith("/x: 500: it failed")


@asynchronous
async def test_a_subscription_that_was_live_is_refused_without_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "aiorest_ws.client")

    async def talk(connection: Peer) -> None:
        await connection.answer(1, topic="/x", version="e.1.1")
        await connection.say({"event_name": "/x", "status": 503, "detail": "later"})
        await connection.answer(2, topic="/x", version="e.2.1")

    async with peer(talk) as script, AsyncClient(script.url, **QUICK) as api:
        changes = api.subscribe("/x")
        assert [(await anext(changes)).data, (await anext(changes)).data] == [1, 2]
    assert [record.levelname for record in caplog.records if "subscribed to again" in record.message] == ["INFO"]
