"""The client as one script, alone and in the pages of docs/how-to and of the examples, run by Node against a server."""

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

CLIENT = EXAMPLES / "aiorest-ws.js"
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
const {ConnectionLost, RequestFailed, TimedOut, createClient} = aiorestWs;
const fails = (promise, Kind, expected) => assert.rejects(promise, (error) => {
  assert.ok(error instanceof Kind, String(error));
  for (const [name, value] of Object.entries(expected)) assert.deepEqual(error[name], value);
  return true;
});

// With nobody there: what may wait does, what may not fails at once, and close() ends the wait.
assert.throws(() => createClient({url: "no url"}), /^TypeError: the url begins with ws/);
const nobody = createClient({url: "ws://127.0.0.1:1/"});
const waits = nobody.get("/hello");
await fails(nobody.post("/go"), ConnectionLost, {mayHaveRun: false});
nobody.close();
await fails(waits, ConnectionLost, {mayHaveRun: false});
await fails(nobody.get("/hello"), ConnectionLost, {mayHaveRun: false});

// While it opens, and many at once.
const api = createClient({url, timeout: 20_000, backoff: [1, 10]});
const statuses = [];
api.onstatus((status) => statuses.push(status));
const numbers = Array.from({length: 200}, (_, number) => number);
assert.deepEqual(await Promise.all(numbers.map((number) => api.get("/echo", {args: {number}}))), numbers);

// Errors and events.
await fails(api.get("/refused"), RequestFailed, {status: 409, detail: "no", message: "409: no"});
await fails(api.get("/nowhere"), RequestFailed, {status: 404});
await assert.rejects(api.get("/echo", {args: {number: 1n}}), /BigInt/);
const heard = new Promise((resolve) => api.events(resolve));
await api.post("/told", {data: "rain"});
assert.deepEqual(await heard, {name: "news", data: "rain"});

// No reply in time, and one that comes too late.
await fails(api.get("/slow", {timeout: 20}), TimedOut, {mayHaveRun: true});
await api.post("/go");
assert.equal(await api.get("/hello"), "hello");

// The server closes: what waits is told, and the client comes back.
const flies = api.get("/slow");
const ended = api.post("/end");
const lost = {mayHaveRun: true, message: "the connection was lost with 4000"};
await Promise.all([fails(flies, ConnectionLost, lost), fails(ended, ConnectionLost, lost)]);
assert.equal(await api.get("/hello"), "hello");

// We close.
const dropped = api.get("/slow");
await api.get("/hello");
api.close();
await fails(dropped, ConnectionLost, {mayHaveRun: true, message: "the client was closed"});
await fails(api.get("/hello"), ConnectionLost, {mayHaveRun: false});
assert.deepEqual(statuses, ["open", "offline", "open", "closed"]);
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

    @router.put("/users/{number:int}")
    def rename(request: Any, number: int) -> None:
        request.connection.send_event("renamed", [number, request.data["name"]])

    @router.post("/end")
    def end(request: Any) -> None:
        request.connection.close(4000, "over")

    return router


# CI has it: .ci/run installs Debian's where there is none.
needs_node = pytest.mark.skipif(
    not has_websocket(), reason="Node is missing on PATH, or has no WebSocket, which it has from 20.10 on."
)


@needs_node
@asynchronous
async def test_every_promise_of_the_client_settles(tmp_path: Path) -> None:
    assert await told_by(STORY, make_router(asyncio.Event()), tmp_path) == "told\n"


@needs_node
@asynchronous
async def test_the_page_does_what_it_tells(tmp_path: Path) -> None:
    (page,) = blocks("html", (ROOT / "docs" / "how-to" / "browser.md").read_text("utf-8"))
    source, script = re.findall(r"<script (.*?)>(.*?)</script>", page, re.DOTALL)
    assert source == ('src="aiorest-ws.js"', "")
    assert script[1].count('"ws://127.0.0.1:8080/"') == 1
    story = script[1].replace('"ws://127.0.0.1:8080/"', "process.argv[2]") + "api.close();"
    told = await told_by(story, make_router(asyncio.Event()), tmp_path)
    assert told == "hello\nrenamed [ 7, 'Ada' ]\n404 no route /nowhere\n"


async def told_by(text: str, router: SimpleRouter, directory: Path) -> str:
    """Run the client and `text` behind it, with the url of a server of `router`; give what it says."""
    story = directory / "story.mjs"
    story.write_text(CLIENT.read_text("utf-8") + text, "utf-8")
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
    assert err.decode() == ""
    return out.decode()


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
    with pages.serving(EXAMPLES / name / "server.py", "-port", "0") as port:
        story = tmp_path / "story.mjs"
        script = script.replace(":8080/", f":{port}/")
        story.write_text(DOM + CLIENT.read_text("utf-8") + script + PAGE_STORIES[name], "utf-8")
        command = [str(NODE), "--no-warnings", SWITCH, str(story)]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=TIMEOUT, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
