"""A browser's own `EventSource` on live routes: Debian's Chromium. `make test-browser` runs it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from aiorest_ws import Application, HTTPError, Live, SimpleRouter
from tests.kit.browsers import browser
from tests.serving import factory_of, serving, until, within

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = pytest.mark.browser

CONNECTING, CLOSED = 0, 2
LISTEN = """(url) => {
  window.seen = [];
  const source = window.source = new EventSource(url);
  source.onopen = () => seen.push(["open"]);
  source.onerror = () => seen.push(["error", source.readyState]);
  source.onmessage = (event) => seen.push(["message", JSON.parse(event.data), event.lastEventId]);
  source.addEventListener("end", (event) => seen.push(["end", JSON.parse(event.data)]));
}"""


async def site(scope: Any, receive: Any, send: Any) -> None:
    """Serve a page of the same origin, with nothing in it."""
    headers = [(b"content-type", b"text/html")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"<!doctype html><title>site</title><link rel=icon href=data:,>"})


class World:
    """A state, a log, and what each client that came said that it has."""

    def __init__(self) -> None:
        self.value: Any = 1
        self.had: list[str | None] = []
        self.router = router = SimpleRouter()
        router.get("/state", live=Live(interval=0))(self.state)
        router.get("/log", live=Live(mode="log", shared=True))(lambda request: ["first"])

    def state(self, request: Any) -> Any:
        if self.value is None:
            raise HTTPError(410, "gone")
        return self.value

    def note(self, connection: Any) -> None:
        self.had.append(connection.headers.get("last-event-id"))


@asynccontextmanager
async def listening(path: str) -> AsyncIterator[tuple[World, Application, Page]]:
    """Serve the world, and listen to `path` of it in a page."""
    world = World()
    options: dict[str, Any] = {"http": site, "http_prefix": "/api", "on_connect": world.note, "shutdown_timeout": 1.0}
    async with serving(world.router, **options) as app, browser() as chromium:
        page = await chromium.new_page()
        page.set_default_timeout(20_000)
        await page.goto(f"http://127.0.0.1:{app.addresses[0][1]}/")
        await page.evaluate(LISTEN, f"/api{path}")
        yield world, app, page
        await page.close()


async def seen(page: Page, count: int) -> list[Any]:
    """Give what was seen, once it is that much."""
    await page.wait_for_function(f"seen.length >= {count}")
    return list(await page.evaluate("seen"))


def drop(app: Application) -> None:
    """Lose the streams without a word, as a network does."""
    streams = [each for each in factory_of(app).connections if getattr(each, "is_streaming", False)]
    assert len(streams) == 1
    for stream in streams:
        stream.transport.abort()


@within(60)
async def test_a_state_is_told_of_and_resumed() -> None:
    async with listening("/state") as (world, app, page):
        assert [row[:2] for row in await seen(page, 2)] == [["open"], ["message", 1]]
        world.value = {"text": "a\nb", "n": [2]}
        await app.live.changed("/state")
        *_, (name, data, first) = await seen(page, 3)
        assert (name, data) == ("message", world.value)

        drop(app)
        assert (await seen(page, 4))[3] == ["error", CONNECTING]
        assert (await seen(page, 5))[4] == ["open"]  # it comes back by itself, and has the value
        assert world.had == [None, first]
        world.value = 3
        await app.live.changed("/state")
        *_, (name, data, second) = await seen(page, 6)
        assert (name, data, second != first) == ("message", 3, True)

        drop(app)
        world.value = 4
        assert [row[:2] for row in await seen(page, 9)][6:] == [["error", CONNECTING], ["open"], ["message", 4]]
        assert world.had == [None, first, second]
        await page.evaluate("source.close()")
        await until(lambda: not any(getattr(each, "is_streaming", False) for each in factory_of(app).connections))


@within(60)
async def test_a_log_gives_what_was_missed_and_nothing_twice() -> None:
    async with listening("/log") as (world, app, page):
        await seen(page, 2)
        await app.live.publish("/log", "a")
        *_, (_, _, version) = await seen(page, 3)
        drop(app)
        await app.live.publish("/log", "b")
        await app.live.publish("/log", "c")
        rows = await seen(page, 7)
        assert [row[:2] for row in rows] == [
            *(["open"], ["message", ["first"]], ["message", "a"], ["error", CONNECTING], ["open"]),
            *(["message", "b"], ["message", "c"]),
        ]
        assert world.had == [None, version]


@within(60)
async def test_an_end_is_told_and_who_comes_back_is_refused_for_good() -> None:
    async with listening("/state") as (world, app, page):
        await seen(page, 2)
        world.value = None
        await app.live.changed("/state")
        rows = await seen(page, 5)
        assert rows[2] == ["end", {"status": 410, "detail": "gone"}]
        assert rows[3:] == [["error", CONNECTING], ["error", CLOSED]]  # the response is over, and the next is no stream
        assert await page.evaluate("source.readyState") == CLOSED


@within(60)
async def test_the_servers_end_says_when_to_come_back() -> None:
    async with listening("/state") as (_, app, page):
        await seen(page, 2)
        await app.stop()
        (name, data), error = (await seen(page, 4))[2:4]
        assert (name, data["status"], data["retry"] > 0) == ("end", 503, True)
        assert error == ["error", CONNECTING]
