"""The client of docs/how-to and the pages of the examples, run by Node against a real server: every promise settles."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from aiorest_ws import HTTPError, SimpleRouter
from tests.kit import pages
from tests.kit.pages import EXAMPLES, ROOT, blocks
from tests.serving import asynchronous, serving

NODE = shutil.which("node")
TIMEOUT = 60.0

# What a WebSocket of a browser is, Node has from 20.10 on behind this switch and from 22 on without.
SWITCH = "--experimental-websocket"


def has_websocket() -> bool:
    if NODE is None:
        return False
    done = subprocess.run(
        [NODE, SWITCH, "-e", "process.exit(typeof WebSocket == 'function' ? 0 : 1)"], capture_output=True, check=False
    )
    return done.returncode == 0


STORY = """
import assert from "node:assert/strict";

const url = process.argv[2];
const api = new Api(url, [], 20_000);
const fails = (promise, expected) => assert.rejects(promise, (error) => {
  assert.match(error.message, expected);
  return true;
});

// Before connect(), and with nobody there.
await fails(api.request("GET", "/hello"), /^not connected/);
api.close();
const nobody = new Api("ws://127.0.0.1:1/");
const opening = nobody.connect();
const early = nobody.request("GET", "/hello");
await Promise.all([fails(opening, /^connection closed: 1006/), fails(early, /^connection closed: 1006/)]);
await fails(nobody.request("GET", "/hello"), /^not connected/);
await fails(new Api("no url").connect(), /./);

// While it opens, twice, and many at once.
assert.equal(await (api.connect(), api.connect(), api.request("GET", "/hello")), "hello");
const numbers = Array.from({length: 200}, (_, number) => number);
assert.deepEqual(await Promise.all(numbers.map((number) => api.request("GET", "/echo", {args: {number}}))), numbers);

// Errors and events.
await assert.rejects(api.request("GET", "/refused"), {status: 409, detail: "no", message: '"no"'});
await assert.rejects(api.request("GET", "/nowhere"), {status: 404});
await fails(api.request("GET", "/echo", {args: {number: 1n}}), /BigInt/);
const heard = new Promise((resolve) => (api.onevent = (name, data) => resolve([name, data])));
await api.request("POST", "/told", {data: "rain"});
assert.deepEqual(await heard, ["news", "rain"]);

// No reply in time, and one that comes too late.
api.timeout = 20;
const slow = api.request("GET", "/slow");
await fails(slow, /^no reply to GET \\/slow within 20 ms$/);
api.timeout = 20_000;
await api.request("POST", "/go");
assert.equal(await api.request("GET", "/hello"), "hello");

// The server closes, and we; what waits is told, and a new connection is a new one.
const codes = [];
api.onclose = (code) => codes.push(code);
const waits = api.request("GET", "/slow");
const ended = api.request("POST", "/end");
await Promise.all([fails(waits, /^connection closed: 4000 over$/), fails(ended, /^connection closed: 4000 over$/)]);
await fails(api.request("GET", "/hello"), /^not connected/);
await api.connect();
const lost = api.request("GET", "/slow");
await api.request("GET", "/hello");
api.close();
const again = api.connect();
await fails(lost, /^connection closed: 1000$/);
await again;
assert.equal(await api.request("GET", "/hello"), "hello");
const dropped = api.request("GET", "/hello");
api.close();
await fails(dropped, /^not connected/);
assert.deepEqual(codes, [4000, 1000, 1000]);
assert.equal(api.waiting.size, 0);
console.log("told");
"""


def make_router(gate: asyncio.Event) -> SimpleRouter:
    router = SimpleRouter()

    @router.get("/hello")
    def hello(request: Any) -> str:
        return "hello"

    @router.get("/echo")
    async def echo(request: Any, number: int) -> int:
        await asyncio.sleep(0)
        return number

    @router.get("/refused")
    def refused(request: Any) -> None:
        raise HTTPError(409, "no")

    @router.post("/told")
    def told(request: Any) -> None:
        request.connection.send_event("news", request.data)

    @router.get("/slow")
    async def slow(request: Any) -> None:
        await gate.wait()
        gate.clear()

    @router.post("/go")
    def go(request: Any) -> None:
        gate.set()

    @router.post("/end")
    def end(request: Any) -> None:
        request.connection.close(4000, "over")

    return router


needs_node = pytest.mark.skipif(
    not has_websocket(), reason="Node is missing on PATH, or has no WebSocket, which it has from 20.10 on."
)


@needs_node
@asynchronous
async def test_every_promise_of_the_client_settles(tmp_path: Path) -> None:
    client, _ = blocks("js", (ROOT / "docs" / "how-to" / "browser.md").read_text("utf-8"))
    await tell(client + STORY, make_router(asyncio.Event()), tmp_path)


async def tell(text: str, router: SimpleRouter, directory: Path) -> None:
    """Run `text`, whose last word is "told", with the url of a server of `router`."""
    story = directory / "story.mjs"
    story.write_text(text, "utf-8")
    async with serving(router) as app:
        host, port = app.addresses[0][:2]
        node = await asyncio.create_subprocess_exec(
            *(str(NODE), "--no-warnings", SWITCH, str(story), f"ws://{host}:{port}/"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(TIMEOUT):
                out, err = await node.communicate()
        finally:
            if node.returncode is None:
                node.kill()
                await node.wait()
    assert (out.decode(), err.decode()) == ("told\n", "")


@pytest.mark.parametrize("name", ["request", "connect", "close"])
def test_client_has_what_the_page_tells(name: str) -> None:
    client, usage = blocks("js", (ROOT / "docs" / "how-to" / "browser.md").read_text("utf-8"))
    assert f"\n  {name}(" in client or f"\n  async {name}(" in client
    assert name == "close" or f"api.{name}(" in usage


# The pages of the examples

DOM = """
class Element {
  constructor(name) { Object.assign(this, {name, children: [], value: "", own: ""}); }
  get textContent() { return this.own + this.children.map((child) => child.textContent ?? child).join(" "); }
  set textContent(text) { this.children = []; this.own = text; changed(); }
  get lastChild() { return this.children.at(-1); }
  append(...children) { this.children.push(...children); changed(); }
  replaceChildren(...children) { this.children = children; changed(); }
  scrollIntoView() {}
  reset() { for (const each of Object.values(elements)) if (each.isInput) each.value = ""; }
  find(name) { return this.name === name ? [this] : this.children.flatMap((child) => child.find?.(name) ?? []); }
  submit() { this.onsubmit({preventDefault() {}, target: this}); }
}
const elements = {};
let changed = () => {};
const document = {
  getElementById: (id) => (elements[id] ??= new Element(id)),
  createElement: (name) => new Element(name),
};
const location = {protocol: "http:", hostname: "127.0.0.1"};
const sockets = [];
const seen = (Kind) => class extends Kind {
  constructor(url) { super(url); sockets.push(this); }
};
globalThis.WebSocket = seen(WebSocket);
const shows = async (id, text) => {
  while ($(id).textContent !== text) await new Promise((resolve) => (changed = resolve));
};
"""
PAGE_STORIES = {
    "live_board": """
await shows("board", "to do doing done");
$("title").value = "paint";
$("add").submit();
await shows("board", "to do paint → × doing done");
$("board").find("button")[0].onclick();
await shows("board", "to do doing paint → × done");
$("title").value = "x".repeat(81);
$("add").submit();
await shows("fault", "422: title is not right");
$("board").find("button")[1].onclick();
await shows("board", "to do doing done");
await shows("fault", "");
live.close();
""",
    "chat": """
$("text").value = "to nobody";
$("say").submit();
await shows("fault", "come in first");
$("name").value = "ada";
$("room").value = "garden";
$("come").submit();
await shows("here", "1 here: ada");
$("text").value = "hello";
$("say").submit();
await shows("messages", "ada hello");
await shows("fault", "");
// Another window: what it says while this one is away is not lost.
const other = aiorestWs.createClient({url: sockets[0].url});
const away = new Promise((resolve) => live.onstatus((status) => status === "offline" && resolve()));
sockets[0].close();
await away;
await other.post(url, {data: "are you there?"});
await shows("messages", "ada hello ada are you there?");
other.close();
live.close();
""",
}


@needs_node
@pytest.mark.parametrize("name", PAGE_STORIES)
def test_page_of_the_example_shows_what_is_pushed(name: str, tmp_path: Path) -> None:
    page = (EXAMPLES / name / "index.html").read_text("utf-8")
    (script,) = re.findall(r"<script>\n\"use strict\";\n(.*?)</script>", page, re.DOTALL)
    assert script.count(":8080/") == 1
    client = (EXAMPLES / name / "aiorest-ws.js").read_text("utf-8")
    with pages.serving(EXAMPLES / name / "server.py", "-port", "0") as port:
        story = tmp_path / "story.mjs"
        story.write_text(DOM + client + script.replace(":8080/", f":{port}/") + PAGE_STORIES[name], "utf-8")
        command = [str(NODE), "--no-warnings", SWITCH, str(story)]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=TIMEOUT, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
