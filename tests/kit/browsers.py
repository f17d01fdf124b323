"""Debian's Chromium, driven by playwright: pages that are watched for anything that goes wrong in them.

Playwright is imported by who runs such a test, not by who collects it: there is none for every platform of the wheels.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests.kit.pages import ROOT
from tests.kit.proxies import program

if TYPE_CHECKING:
    from playwright.async_api import Browser, ConsoleMessage, Locator, Page, Request, Response

__all__ = ("SHOTS", "browser", "drawn", "expect", "opened")

SHOTS = ROOT / "build" / "ci" / "browser"  # the screenshots, which CI keeps


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """Run Chromium. That it is not there is a failure: `make test-browser` installs it."""
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        # No sandbox: CI is root in a container, where there can be none.
        running = await playwright.chromium.launch(executable_path=program("chromium"), args=["--no-sandbox"])
        try:
            yield running
        finally:
            await running.close()


@asynccontextmanager
async def opened(running: Browser, url: str, **context: Any) -> AsyncIterator[Page]:
    """Open a page in a context of its own; fail for what its console says, and for what it asks of other servers."""
    trouble: list[str] = []
    origin = urlsplit(url)[:2]

    def said(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            trouble.append(f"{message.type}: {message.text}")

    def asked(request: Request) -> None:
        if urlsplit(request.url)[:2] != origin and not request.url.startswith("data:"):
            trouble.append(f"foreign request: {request.url}")

    def answered(response: Response) -> None:
        if response.status >= 400:
            trouble.append(f"{response.status}: {response.url}")

    seen = await running.new_context(**context)
    seen.set_default_timeout(20_000)
    page = await seen.new_page()
    page.on("console", said)
    page.on("pageerror", lambda error: trouble.append(f"uncaught: {error}"))
    page.on("request", asked)
    page.on("response", answered)
    await page.goto(url)
    yield page
    await seen.close()
    assert trouble == []


def expect(locator: Locator) -> Any:
    """Say what a part of the page comes to be; waits for it."""
    from playwright.async_api import expect

    return expect(locator)


async def drawn(page: Page, name: str) -> None:
    """Keep a screenshot of the whole page."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=SHOTS / f"{name}.png", full_page=True)
