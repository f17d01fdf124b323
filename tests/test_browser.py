"""The client of docs/how-to/browser.md, run by Node against a real server: every promise settles."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from aiorest_ws import HTTPError, SimpleRouter
from tests.kit.pages import ROOT, blocks
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


@pytest.mark.skipif(not has_websocket(), reason="the client of the browser NOT RUN: no Node from 20.10 on on PATH")
@asynchronous
async def test_every_promise_of_the_client_settles(tmp_path: Path) -> None:
    client, _ = blocks("js", (ROOT / "docs" / "how-to" / "browser.md").read_text("utf-8"))
    story = tmp_path / "story.mjs"
    story.write_text(client + STORY, "utf-8")
    async with serving(make_router(asyncio.Event())) as app:
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
