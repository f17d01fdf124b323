"""The console and Swagger UI in Debian's Chromium, over the HTTP door of a real server. `make test-browser` runs it."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import pytest

from aiorest_ws import Application, HTTPError, Live, Request, Response, SimpleRouter
from tests.kit.asgi import uvicorn_of
from tests.kit.browsers import browser, drawn, expect, opened
from tests.kit.pages import ROOT
from tests.serving import factory_of, serving, until, within

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

pytestmark = pytest.mark.browser

WIDE, PHONE = {"width": 1400, "height": 900}, {"width": 390, "height": 844}
MESSAGES = 10_000
UNSEEN = """
Object.defineProperty(document, "hidden", { value: true });
const { setTimeout } = window;
window.setTimeout = (act, pause, ...rest) => (pause < 100 ? setTimeout(act, pause, ...rest) : 0);
window.requestAnimationFrame = () => 0;
"""


class Pet(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=40, description="as it is called")]
    kind: Literal["cat", "dog", "parrot"]
    age: Annotated[int, msgspec.Meta(ge=0, le=100)] | None = None
    tags: list[str] = []
    is_tame: bool = True


class Point(msgspec.Struct):
    x: float
    y: float = 0.0


class Tree(msgspec.Struct):
    left: Tree | None = None
    right: Tree | None = None


class Kinds(msgspec.Struct):
    day: date
    either: int | str
    table: dict[str, int]
    level: Literal[1, 2, 3]
    large: int
    point: Point
    tree: Tree | None = None
    unset: str | None = None


class Plan(msgspec.Struct):
    due: date | None
    count: int | None
    size: Literal["s", "l"] | None
    where: Point | None
    name: str


def make_router() -> SimpleRouter:
    """Give a router with pets: a state, a log, and what fails."""
    pets: list[Pet] = []
    events: list[dict[str, Any]] = []
    router = SimpleRouter()

    @router.get("/pets", live=Live(shared=True, interval=0.0))
    def list_pets(request: Request) -> list[Pet]:
        """All pets."""
        return pets

    @router.post("/pets", changes=["/pets"])
    async def add_pet(request: Request, pet: Pet) -> Response:
        """Take one more pet in."""
        pets.append(pet)
        events.append({"number": len(events), "name": pet.name})
        await request.app.live.publish("/events", events[-1])
        return Response(pet, status=201)

    @router.get("/pets/{number:int}")
    def get_pet(request: Request, number: int, shout: bool = False) -> str:
        """One pet."""
        if number >= len(pets):
            raise HTTPError(404, f"no pet {number}")
        name = pets[number].name
        return name.upper() if shout else name

    @router.get("/events", live=Live(mode="log", shared=True, key="number"))
    def list_events(request: Request) -> list[dict[str, Any]]:
        """What happened."""
        return events

    @router.post("/kinds")
    def show_kinds(request: Request, kinds: Kinds) -> Kinds:
        return kinds

    @router.get("/large", live=Live(shared=True))
    def large(request: Request) -> dict[str, Any]:
        return {"id": 2**53 + 1, "whole": 1.0, "text": '"9007199254740993": [1, {}]'}

    @router.get("/constructor")
    def construct(request: Request, constructor: str = "", valueOf: int = 1) -> list[Any]:
        return [constructor, valueOf]

    @router.get("/pets/{name}/toys")
    def toys(request: Request, name: str) -> str:
        return f"toys of {name}"

    @router.get("/pets/{name}/{toy}")
    def toy(request: Request, name: str, toy: str) -> str:
        return f"{toy} of {name}"

    @router.get("/rest/{rest:path}")
    def rest(request: Request, rest: str) -> str:
        return rest

    @router.post("/plans")
    def plan(request: Request, data: Plan) -> Plan:
        return data

    @router.post("/storm")
    def storm(request: Request) -> int:
        for number in range(MESSAGES):
            assert request.connection.send_event("storm", {"number": number, "text": "x" * 80})
        return MESSAGES

    return router


@asynccontextmanager
async def shown(chromium: Browser, path: str = "/console", **context: Any) -> AsyncIterator[tuple[Application, Page]]:
    async with serving(make_router(), http=True, console=True, max_push_buffer=8 * 1024 * 1024) as app:
        host, port = app.addresses[0][:2]
        async with opened(chromium, f"http://{host}:{port}{path}", **{"viewport": WIDE} | context) as page:
            if path.startswith("/console"):
                await expect(page.locator("#status")).to_have_text("open")
            yield app, page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
@within(120)
async def test_what_is_subscribed_is_dropped_and_resumes(size: dict[str, int], scheme: Any) -> None:
    name = f"console-{size['width']}-{scheme}"
    async with browser() as chromium, shown(chromium, viewport=size, color_scheme=scheme) as (_, page):
        await drawn(page, f"{name}-begin")
        for path in ("/pets", "/events"):
            await choose(page, "GET", path)
            await page.click("#subscribe")
        state, log = page.locator(".card:has-text('/pets')"), page.locator(".card:has-text('/events')")
        await expect(state.locator(".pill")).to_have_text("live")
        await expect(log.locator(".pill")).to_have_text("live")
        await choose(page, "POST", "/pets")
        await send(page, "Tom", "cat")
        await expect(state.locator(".changes li")).to_have_count(2)
        await expect(state.locator("pre")).to_contain_text("Tom")
        await expect(log.locator(".changes li")).to_have_count(2)
        await page.click("#drop")
        await expect(page.locator("#status")).to_have_text("dropped")
        await expect(state.locator(".pill")).to_have_text("stale")
        await drawn(page, f"{name}-dropped")
        await page.click("#drop")
        await expect(state.locator(".pill")).to_have_text("live")
        await expect(log.locator("p")).to_contain_text("resumed")
        await send(page, "Rex <img src=/x>", "dog")  # it is text: an image would be asked for
        await expect(state.locator("pre")).to_contain_text("Rex <img src=/x>")
        await expect(log.locator(".changes li")).to_have_count(3)
        await page.click("#log-list .row >> nth=2")
        await drawn(page, f"{name}-resumed")
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways"
        assert await violations(page) == []


async def violations(page: Page) -> list[str]:
    """Give what axe-core has to say of the page: names, contrast, roles, keys."""
    axe = ROOT / "clients" / "console" / "node_modules" / "axe-core" / "axe.min.js"
    assert axe.exists(), "axe-core is not here: `make test-browser` installs it"
    await page.evaluate(axe.read_text("utf-8"))
    found = await page.evaluate("axe.run()")
    assert {"color-contrast", "label", "button-name"} <= {each["id"] for each in found["passes"]}
    return [f"{each['id']}: {node['html']}" for each in found["violations"] for node in each["nodes"]]


async def choose(page: Page, method: str, path: str) -> None:
    if not await page.locator("#search").is_visible():
        await page.click("#routes-box summary")
    await page.get_by_role("button", name=f"{method} {path}").first.click()


async def send(page: Page, name: str, kind: str) -> None:
    await page.get_by_role("textbox", name="name").fill(name)
    await page.get_by_role("combobox", name="kind").select_option(kind)
    await page.click("#send")
    await expect(page.locator("#reply-body")).to_contain_text(name)
    await expect(page.locator("#reply-status")).to_have_text("201")
    await expect(page.locator("#reply-time")).to_contain_text("ms")
    await expect(page.locator("#reply-size")).to_contain_text("B")


@within(60)
async def test_what_is_missed_while_dropped_comes_when_it_resumes() -> None:
    async with browser() as chromium, shown(chromium) as (app, page):
        await choose(page, "GET", "/events")
        await page.click("#subscribe")
        log = page.locator(".card")
        await expect(log.locator(".pill")).to_have_text("live")
        await app.live.publish("/events", {"number": 0, "name": "seen"})
        await expect(log.locator(".changes li")).to_have_count(2)
        await page.click("#drop")
        await expect(page.locator("#status")).to_have_text("dropped")
        for number in range(1, 4):
            await app.live.publish("/events", {"number": number, "name": "missed"})
        await page.click("#drop")
        await expect(log.locator(".changes li")).to_have_count(5)
        await expect(log).to_contain_text("resumed")
        versions = await log.locator(".changes .version").all_text_contents()
        numbers = [int(version.split(".")[1]) for version in versions]
        assert numbers == list(range(numbers[0], numbers[0] - 5, -1))


@within(60)
async def test_a_request_is_made_with_keys_alone_and_a_link_restores_it() -> None:
    async with browser() as chromium, shown(chromium) as (_, page):
        await page.keyboard.press("/")
        await page.keyboard.type("get number")
        await page.keyboard.press("Enter")
        await page.keyboard.type("7")
        await page.keyboard.press("Control+Enter")
        await expect(page.locator("#reply-status")).to_have_text("404")
        await expect(page.locator("#reply-body")).to_have_text('"no pet 7"')
        link = page.url
        await page.goto("about:blank")
        await page.goto(link)
        await expect(page.locator("#request-title")).to_have_text("GET /pets/{number}")
        await expect(page.get_by_role("textbox", name="number")).to_have_value("7")
        await expect(page.locator("#reply-status")).to_be_empty()  # a link sends nothing
        await page.click("#tab-raw")
        await expect(page.locator("#raw")).to_have_value('{\n  "method": "GET",\n  "url": "/pets/7"\n}')
        await page.fill("#raw", '{"method": "get", "url": "/nowhere"}')
        await page.keyboard.press("Control+Enter")
        await expect(page.locator("#reply-status")).to_have_text("404")


@within(60)
async def test_what_a_form_cannot_send_is_said() -> None:
    async with browser() as chromium, shown(chromium) as (_, page):
        await choose(page, "POST", "/pets")
        await page.get_by_role("textbox", name="age").fill("old")
        await page.click("#send")
        await expect(page.locator("#problem")).to_have_text("age needs a number, not old")
        await page.get_by_role("textbox", name="age").fill("1000")
        await page.get_by_role("textbox", name="tags").fill('["big"]')
        await page.click("#send")
        await expect(page.locator("#reply-status")).to_have_text("422")
        await expect(page.locator("#reply-body")).to_contain_text("length >= 1")


@within(60)
async def test_a_field_that_may_be_null_may_be_empty_though_it_has_to_be_there() -> None:
    async with browser() as chromium, shown(chromium) as (_, page):
        await choose(page, "POST", "/plans")
        await page.click("#send")
        await expect(page.locator("#reply-status")).to_have_text("200")
        nothing = {"due": None, "count": None, "size": None, "where": None}
        assert json.loads(await page.locator("#reply-body").inner_text()) == nothing | {"name": ""}
        for name, text in {"due": "2026-11-29", "count": "3", "name": "Ada", "x": "1"}.items():
            await page.get_by_role("textbox", name=re.compile(f"^{name}")).fill(text)
        await page.get_by_role("combobox", name="size").select_option("l")
        await page.click("#send")
        await expect(page.locator("#reply-body")).to_contain_text("Ada")
        assert json.loads(await page.locator("#reply-body").inner_text()) == {
            "due": "2026-11-29",
            "count": 3,
            "size": "l",
            "where": {"x": 1, "y": 0},
            "name": "Ada",
        }


@within(60)
async def test_what_is_not_sent_of_a_message_is_said() -> None:
    async with browser() as chromium, shown(chromium) as (_, page):
        await page.click("#tab-raw")
        await page.fill("#raw", '{"method": "GET", "url": "/pets", "token": "mine"}')
        await page.click("#send")
        await expect(page.locator("#problem")).to_contain_text('"token" is not to be said here')


@within(60)
async def test_numbers_are_shown_and_sent_as_they_are_written() -> None:
    async with browser() as chromium, shown(chromium) as (_, page):
        await choose(page, "GET", "/large")
        expected = '{\n  "id": 9007199254740993,\n  "whole": 1.0,\n  "text": "\\"9007199254740993\\": [1, {}]"\n}'
        await page.click("#send")
        await expect(page.locator("#reply-body")).to_have_text(expected)
        await page.click("#subscribe")
        await expect(page.locator(".card pre")).to_have_text(expected)
        await page.click("#log-list .row:has-text('200 #')")
        await expect(page.locator("#log-detail")).to_contain_text('"id": 9007199254740993')
        await page.click("#tab-raw")
        for written, is_sent in (
            ("9007199254740993", False),
            ('[{"a": -9007199254740993}]', False),
            ('"9007199254740993"', True),
        ):
            await page.fill("#raw", f'{{"method": "GET", "url": "/nowhere", "data": {written}}}')
            await page.click("#send")
            if is_sent:
                await expect(page.locator("#reply-status")).to_have_text("404")
            else:
                await expect(page.locator("#problem")).to_contain_text("is larger than a browser can count")
                await expect(page.locator("#reply-status")).to_have_text("200")


@pytest.mark.parametrize(
    ("request_", "title", "values"),
    [
        ("url=/constructor", "GET /constructor", ["", ""]),
        ('url=/constructor&args={"constructor":"a"}', "GET /constructor", ["a", ""]),
        ("url=/pets/tom/toys", "GET /pets/{name}/toys", ["tom"]),
        ("url=/pets/tom/ball", "GET /pets/{name}/{toy}", ["tom", "ball"]),
        ("url=/pets/a%252Fb/toys", "GET /pets/{name}/toys", ["a%2Fb"]),
        ("url=/rest/a/b", "GET /rest/{rest}", ["a/b"]),
    ],
)
@within(60)
async def test_a_link_is_shown_as_the_route_that_answers(request_: str, title: str, values: list[str]) -> None:
    async with browser() as chromium, shown(chromium, f"/console#method=GET&{request_}") as (_, page):
        await expect(page.locator("#request-title")).to_have_text(title)
        inputs = page.locator("#fields input")
        assert [await each.input_value() for each in await inputs.all()] == values


@within(60)
async def test_a_part_of_the_url_has_no_slash_and_an_address_that_is_none_is_said() -> None:
    async with browser() as chromium, shown(chromium) as (_, page):
        await page.goto(f"{page.url}#method=GET&url=/pets/tom/toys")
        await page.get_by_role("textbox", name="name").fill("tom/ball")
        await page.click("#send")
        await expect(page.locator("#problem")).to_have_text("name is one part of the url: a slash would begin another")
        await page.fill("#address", "http://[")
        await page.click("text=Connect")
        await expect(page.locator("#problem")).to_contain_text("Invalid URL")
        await expect(page.locator("#status")).to_have_text("open")


@within(60)
async def test_keys_are_for_the_dialog_while_it_is_there() -> None:
    async with browser() as chromium, shown(chromium) as (_, page):
        assert await violations(page) == []  # an empty page has names for all, too
        await page.keyboard.press("?")
        await expect(page.locator("#keys")).to_be_visible()
        await page.keyboard.press("d")
        await page.keyboard.press("Escape")
        await expect(page.locator("#keys")).to_be_hidden()
        await expect(page.locator("#status")).to_have_text("open")
        await page.keyboard.press("d")
        await expect(page.locator("#status")).to_have_text("dropped")


@within(120)
async def test_ten_thousand_messages_are_few_elements() -> None:
    async with browser() as chromium, shown(chromium) as (_, page):
        await choose(page, "POST", "/storm")
        before = await page.evaluate("document.querySelectorAll('*').length")
        await page.click("#send")
        await expect(page.locator("#log-count")).to_have_text(str(MESSAGES + 3), timeout=60_000)
        await expect(page.locator("#log-list .row >> nth=-1")).to_be_visible()
        assert await page.evaluate("document.querySelectorAll('*').length") < before + 400
        await page.fill("#log-filter", '"number":4321')
        await expect(page.locator("#log-list .row:visible")).to_have_count(1)
        await drawn(page, "console-storm")


@within(60)
async def test_messages_come_to_a_worker_so_that_frames_are_drawn_meanwhile() -> None:
    async with browser() as chromium, shown(chromium) as (_, page):
        assert len(page.workers) == 1
        await page.click("#drop")
        await until(lambda: not page.workers)
        await page.click("#drop")
        await expect(page.locator("#status")).to_have_text("open")
        assert len(page.workers) == 1


@within(60)
async def test_a_page_that_is_not_seen_reads_on() -> None:
    """No frame is drawn of it, and its timers come late."""
    async with browser() as chromium, shown(chromium) as (_, page):
        await choose(page, "POST", "/storm")
        await page.evaluate(UNSEEN)
        await page.evaluate("document.querySelector('#send').click()")
        await expect(page.locator("#reply-status")).to_have_text("200")  # the reply is behind all messages


@within(60)
async def test_a_token_goes_with_each_request_and_is_not_in_a_link() -> None:
    async with browser() as chromium, shown(chromium) as (app, page):
        await page.fill("#token", "a-token-of-mine")
        await page.click("text=Connect")
        await expect(page.locator("#status")).to_have_text("open")
        await choose(page, "GET", "/pets")
        await page.click("#send")
        await expect(page.locator("#reply-status")).to_have_text("200")
        await expect(page.locator("#log-list .row:has-text('a-token-of-mine')")).to_have_count(1)
        assert "a-token-of-mine" not in page.url
        assert len(factory_of(app).connections) >= 1


@within(60)
async def test_a_slash_behind_its_path_leads_to_the_console() -> None:
    async with browser() as chromium, shown(chromium, "/console/") as (_, page):
        await page.wait_for_url("**/console")


@within(60)
async def test_fields_of_every_kind_say_what_is_meant() -> None:
    async with browser() as chromium, shown(chromium) as (_, page):
        await choose(page, "POST", "/kinds")
        assert await page.locator("#fields .field").count() < 60  # a type that has itself in it ends somewhere
        field = page.locator("#fields fieldset:has(> legend:text-is('kinds')) > .field")
        for name, text in {
            "day": "2026-11-29",
            "either": '"text"',
            "table": '{"a": 1}',
            "large": "9007199254740991",
        }.items():
            await field.filter(has_text=name).locator("input, textarea").first.fill(text)
        await field.filter(has_text="level").locator("select").select_option(label="2")
        await page.get_by_role("textbox", name=re.compile("^x")).fill("1.5")
        await page.click("#send")
        await expect(page.locator("#reply-status")).to_have_text("200")
        assert json.loads(await page.locator("#reply-body").inner_text()) == {
            "day": "2026-11-29",
            "either": "text",
            "table": {"a": 1},
            "level": 2,
            "large": 2**53 - 1,
            "point": {"x": 1.5, "y": 0.0},
            "tree": None,
            "unset": None,
        }
        await field.filter(has_text="large").locator("input").fill("9007199254740993")
        await page.click("#send")
        await expect(page.locator("#problem")).to_have_text("large is larger than a browser can count")


@within(90)
async def test_the_pages_work_below_a_path_of_another_application() -> None:
    from fastapi import FastAPI

    site = FastAPI()
    site.mount("/api", Application(make_router(), console=True).asgi())
    async with browser() as chromium, uvicorn_of(site) as (host, port):
        async with opened(chromium, f"http://{host}:{port}/api/console") as page:
            await expect(page.locator("#status")).to_have_text("open")
            await choose(page, "GET", "/pets")
            await page.click("#send")
            await expect(page.locator("#reply-status")).to_have_text("200")
        async with opened(chromium, f"http://{host}:{port}/api/docs") as page:
            await execute(page, "All pets")
            await expect(page.locator(".request-url")).to_contain_text("/api/pets")


@within(90)
async def test_swagger_ui_tries_a_route_over_http() -> None:
    async with browser() as chromium, shown(chromium, "/docs") as (_, page):
        await execute(page, "All pets")
        await drawn(page, "docs")


@asynccontextmanager
async def shown_to_ada(chromium: Browser, path: str) -> AsyncIterator[Page]:
    """Show a page of an application that lets nobody in but Ada, who says so in the query."""

    def on_connect(connection: Any) -> bool:
        return bool(connection.query.get("name") == "ada")

    async with serving(make_router(), http=True, console=True, on_connect=on_connect) as app:
        host, port = app.addresses[0][:2]
        allowed = ["clipboard-read", "clipboard-write"]
        async with opened(chromium, f"http://{host}:{port}{path}?name=ada", permissions=allowed) as page:
            yield page


@within(60)
async def test_what_on_connect_reads_stands_behind_the_path_of_the_page() -> None:
    async with browser() as chromium, shown_to_ada(chromium, "/console") as page:
        await expect(page.locator("#status")).to_have_text("open")
        await expect(page.locator("#address")).to_have_value("/?name=ada")
        await choose(page, "GET", "/pets")
        await page.click("#send")
        await expect(page.locator("#reply-status")).to_have_text("200")
        await page.click("#link")
        await expect(page.locator("#link")).to_have_text("Copied")
        copied = await page.evaluate("navigator.clipboard.readText()")
        assert copied == page.url.replace("?name=ada", "")
    async with browser() as chromium, shown_to_ada(chromium, "/docs") as page:
        await expect(page.locator("#swagger .opblock-get:has-text('All pets')")).to_be_visible()


@within(60)
async def test_a_schema_that_is_refused_is_said_on_both_pages() -> None:
    async with browser() as chromium, serving(make_router(), http=True, console=True) as app:
        host, port = app.addresses[0][:2]
        page = await chromium.new_page()
        await page.route("**/openapi.json", lambda route: route.fulfill(status=403, body="{}"))
        await page.goto(f"http://{host}:{port}/console")
        await expect(page.locator("#routes")).to_contain_text("openapi.json: 403")
        await page.goto(f"http://{host}:{port}/docs")
        await expect(page.locator("#swagger")).to_have_text("openapi.json cannot be read: 403")
        await page.close()


async def execute(page: Page, summary: str) -> None:
    """Try a GET in Swagger UI."""
    await page.click(f"#swagger .opblock-get:has-text('{summary}')")
    await page.click("text=Try it out")
    await page.click("text=Execute")
    await expect(page.locator(".live-responses-table .response-col_status").last).to_contain_text("200")
