"""The pages of the examples in Debian's Chromium: two windows, one of which is dropped. `make test-browser` runs it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aiorest_ws import Application
from examples.chat import server as chat
from examples.hello import server as hello
from examples.live_board import server as live_board
from tests.kit.browsers import browser, drawn, expect, opened
from tests.kit.pages import EXAMPLES
from tests.serving import factory_of, serving, within

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = pytest.mark.browser


def page_of(name: str, app: Application, folder: Path) -> str:
    """Give the url of an example's page, which asks `app`, as a file: so people open it."""
    text = (EXAMPLES / name / "index.html").read_text("utf-8")
    assert text.count(":8080/") == 1
    shutil.copy(EXAMPLES / "aiorest-ws.js", folder)
    page = folder / name / "index.html"
    page.parent.mkdir()
    page.write_text(text.replace(":8080/", f":{app.addresses[0][1]}/"), "utf-8")
    return page.as_uri()


def connections(app: Application) -> set[Any]:
    return set(factory_of(app).connections)


def drop(connections: set[Any]) -> None:
    """Lose them without a word, as a network does."""
    assert connections
    for connection in connections:
        connection.transport.abort()


@within(90)
async def test_hello_is_sent_and_answered(tmp_path: Path) -> None:
    async with (
        serving(hello.router, allowed_origins=["null", "file://"]) as app,
        browser() as chromium,
        opened(chromium, page_of("hello", app, tmp_path)) as page,
    ):
        await page.click("#connect")
        await expect(page.locator("#send")).to_be_enabled()
        await page.click("#send")
        await expect(page.locator("#log")).to_contain_text("Hello, world!")
        await page.check("#with-id")
        await page.fill("#url", "/nowhere")
        await page.click("#send")
        await expect(page.locator("#log")).to_contain_text("404")
        await drawn(page, "hello")


@within(90)
async def test_a_window_of_the_board_has_after_a_drop_what_it_missed(tmp_path: Path) -> None:
    live_board.cards.clear()
    async with serving(live_board.router, allowed_origins=["null", "file://"]) as app, browser() as chromium:
        url = page_of("live_board", app, tmp_path)
        async with opened(chromium, url) as one:
            await expect(one.locator("#board section")).to_have_count(3)
            ones = connections(app)
            async with opened(chromium, url, color_scheme="dark") as other:
                await add(one, "Paint the fence")
                await expect(other.locator("#board article span")).to_have_text(["Paint the fence"])
                await other.click("text=×")
                await expect(one.locator("#board article")).to_have_count(0)
                drop(connections(app) - ones)
                await add(one, "Write a page")
                await add(one, "Read it")
                await expect(other.locator("#board article span")).to_have_text(["Write a page", "Read it"])
                await drawn(other, "live_board")


async def add(page: Page, title: str) -> None:
    await page.fill("#title", title)
    await page.click("#add button")


@within(90)
async def test_a_window_of_the_chat_gets_what_was_said_while_it_was_away(tmp_path: Path) -> None:
    chat.rooms["lobby"].clear()
    options = {"on_connect": chat.welcome, "allowed_origins": ["null", "file://"]}
    async with serving(chat.router, **options) as app, browser() as chromium:
        url = page_of("chat", app, tmp_path)
        async with opened(chromium, url) as ada, opened(chromium, url) as bob:
            await come(ada, "ada")
            await come(bob, "bob")
            await expect(ada.locator("#here")).to_have_text("2 here: ada, bob")
            await say(ada, "hello")
            await expect(bob.locator("#messages li")).to_have_text(["adahello"])
            drop({connection for connection in connections(app) if connection.query["name"] == "bob"})
            await say(ada, "are you there?")
            await say(ada, "well?")
            await expect(bob.locator("#messages li")).to_have_text(["adahello", "adaare you there?", "adawell?"])
            await say(bob, "yes")
            await expect(ada.locator("#messages li")).to_have_count(4)
            await drawn(bob, "chat")


async def come(page: Page, name: str) -> None:
    await page.fill("#name", name)
    await page.click("#come button")


async def say(page: Page, text: str) -> None:
    await page.fill("#text", text)
    await page.click("#say button")
    await expect(page.locator("#messages li").last).to_contain_text(text)
