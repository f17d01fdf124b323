"""The site of `make docs` in Debian's Chromium, opened as files: what fits, and the search. `make test-browser`."""

from __future__ import annotations

import re

import pytest

from tests.kit.browsers import browser, drawn, expect, opened
from tests.kit.pages import ROOT
from tests.serving import within

pytestmark = pytest.mark.browser

SITE = ROOT / "site"
PHONE = {"width": 390, "height": 844}
LAPTOP = {"width": 1400, "height": 900}

# Each article takes the place of that of the home page, which is much quicker than to open them one by one. What is
# wider than its place then: the page, a part of it that is cut off, as nothing around it scrolls, or a line of code.
TOO_WIDE = """(text) => {
    const article = document.querySelector("article");
    article.innerHTML = text;
    const scrolls = (part) => part !== article
        && (["auto", "scroll"].includes(getComputedStyle(part).overflowX) || scrolls(part.parentElement));
    const parts = [...article.querySelectorAll("*")].filter((part) => part.getBoundingClientRect().right > innerWidth);
    const lines = [...article.querySelectorAll("pre code")].filter((code) => code.scrollWidth > code.clientWidth + 1);
    return [
        ...(document.documentElement.scrollWidth > innerWidth ? ["the page"] : []),
        ...[...parts.filter((part) => !scrolls(part)), ...lines].map((part) => part.textContent.slice(0, 80)),
    ];
}"""


def articles() -> dict[str, str]:
    found = {}
    for path in sorted(SITE.rglob("*.html")):
        match = re.search(r"<article\b[^>]*>(.*)</article>", path.read_text("utf-8"), re.DOTALL)
        assert match, path
        # Pictures are looked for beside the page, which another article has elsewhere.
        found[path.relative_to(SITE).as_posix()] = re.sub(r"<img\b[^>]*>", "", match[1])
    assert len(found) > 60, "there is no site: make docs"
    return found


@pytest.mark.parametrize("window", [PHONE, LAPTOP], ids=["phone", "laptop"])
@within(60)
async def test_pages_and_their_code_fit(window: dict[str, int]) -> None:
    async with browser() as chromium, opened(chromium, (SITE / "index.html").as_uri(), viewport=window) as page:
        await drawn(page, f"site-{window['width']}")
        wide = {name: await page.evaluate(TOO_WIDE, article) for name, article in articles().items()}
        assert {name: found for name, found in wide.items() if found} == {}
        # The measure is one: what is too wide is found.
        code = "wide " * 99
        assert await page.evaluate(TOO_WIDE, "<p style='width: 2000px'>wide</p>") == ["the page", "wide"]
        assert await page.evaluate(TOO_WIDE, f"<pre><code style='white-space: pre'>{code}</code></pre>") == [code[:80]]


@within(60)
async def test_the_search_finds_what_is_asked_in_a_page_that_is_a_file() -> None:
    async with browser() as chromium, opened(chromium, (SITE / "index.html").as_uri(), viewport=LAPTOP) as page:
        await page.fill(".md-search__input", "max_subscriptions")
        first = page.locator(".md-search-result__link").first
        await expect(first).to_be_visible()
        found = await page.locator(".md-search-result__link").evaluate_all("links => links.map(link => link.href)")
        assert any("reference/options.html" in href for href in found), found


@within(60)
async def test_tabs_of_the_home_page_show_a_client_each() -> None:
    async with browser() as chromium, opened(chromium, (SITE / "index.html").as_uri(), viewport=PHONE) as page:
        for name, words in (("Python client", "AsyncClient"), ("TypeScript client", "createClient")):
            await page.click(f".tabbed-labels label:has-text('{name}')")
            await expect(page.locator(".tabbed-block:visible")).to_contain_text(words)
