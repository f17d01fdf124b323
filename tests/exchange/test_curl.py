"""Debian's own curl on the HTTP door: what people type first. `make test-proxies` installs and runs it."""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aiorest_ws import Application, HTTPError, Live, SimpleRouter
from tests.kit.proxies import program
from tests.serving import TIMEOUT, Certificate, asynchronous, factory_of, serving

pytestmark = pytest.mark.proxies

STREAM = ("-N", "-H", "Accept: text/event-stream")


class World:
    """A state and a log, and what is in them."""

    def __init__(self) -> None:
        self.value: Any = 1
        self.items = ["first"]
        self.router = router = SimpleRouter()
        router.get("/state", live=Live(shared=True, interval=0))(self.state)
        router.get("/log", live=Live(mode="log", shared=True))(lambda request: self.items)
        router.post("/data")(lambda request: request.data)
        router.get("/named/{name}")(lambda request, name: name)

    def state(self, request: Any) -> Any:
        if self.value is None:
            raise HTTPError(410, "gone")
        return self.value


@asynccontextmanager
async def served(**options: Any) -> AsyncIterator[tuple[World, Application]]:
    world = World()
    async with serving(world.router, **{"http": True, "shutdown_timeout": 1.0} | options) as app:
        yield world, app


def url_of(app: Application, path: str, scheme: str = "http") -> str:
    return f"{scheme}://127.0.0.1:{app.addresses[0][1]}{path}"


async def curl(*arguments: str, code: int = 0) -> str:
    """Give what curl prints, which has to end with `code`."""
    process = await asyncio.create_subprocess_exec(program("curl"), "-sS", *arguments, stdout=PIPE, stderr=PIPE)
    async with asyncio.timeout(TIMEOUT):
        said, complaints = await process.communicate()
    assert process.returncode == code, complaints.decode()
    return said.decode()


class Listening:
    """A curl that reads a stream of events."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def event(self) -> dict[str, str]:
        """Give the fields of the next event."""
        assert self.process.stdout is not None
        async with asyncio.timeout(TIMEOUT):
            block = (await self.process.stdout.readuntil(b"\n\n")).decode()
        return dict(line.split(": ", 1) for line in block.splitlines() if line and not line.startswith(":"))

    async def code(self) -> int:
        """Give its exit code, once it has ended by itself."""
        async with asyncio.timeout(TIMEOUT):
            return await self.process.wait()


@asynccontextmanager
async def listening(app: Application, path: str, *arguments: str) -> AsyncIterator[Listening]:
    command = (program("curl"), "-sS", *STREAM, *arguments, url_of(app, path))
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    try:
        yield Listening(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@asynchronous
async def test_what_is_asked_is_answered_over_one_connection() -> None:
    async with served() as (_, app):
        said = await curl(
            *(url_of(app, "/state"), "-w", " %{http_code} %{num_connects} %{content_type}\n"),
            *("--next", "-sS", "-w", " %{http_code} %{num_connects}\n", "--json", '{"a": [1]}', url_of(app, "/data")),
            *("--next", "-sS", "--path-as-is", "-w", " %{http_code}\n", url_of(app, "/named/../state")),
            *("--next", "-sS", "-w", " %{http_code} %{num_connects}\n", url_of(app, "/named/a%2Fb%20c")),
        )
    assert said.splitlines() == [
        "1 200 1 application/json",
        '{"a":[1]} 200 0',
        '{"detail":"a path has no segments `.` and `..` here"} 400',
        '"a/b c" 200 0',
    ]


@asynchronous
async def test_head_and_what_is_allowed() -> None:
    async with served() as (_, app):
        head = await curl("-I", url_of(app, "/state"))
        assert head.startswith("HTTP/1.1 200 OK\r\n")
        assert "content-length: 1\r\n" in head
        wrong = await curl("-i", "-X", "DELETE", url_of(app, "/state"))
        assert wrong.startswith("HTTP/1.1 405 ")
        assert "allow: GET, HEAD, OPTIONS\r\n" in wrong
        assert "allow: OPTIONS, POST\r\n" in await curl("-i", "-X", "OPTIONS", url_of(app, "/data"))


@asynchronous
async def test_what_it_has_is_not_sent_again(tmp_path: Path) -> None:
    tag, out = str(tmp_path / "tag"), ("-w", "%{http_code} %{size_download}")
    async with served() as (world, app):
        url = url_of(app, "/state")
        assert await curl("--etag-save", tag, *out, url) == "1200 1"
        assert await curl("--etag-compare", tag, *out, url) == "304 0"
        world.value = 2
        assert await curl("--etag-compare", tag, *out, url) == "2200 1"


@asynchronous
async def test_a_large_body_is_asked_for_first_and_one_that_is_too_large_never() -> None:
    """It sends `Expect: 100-continue` by itself for more than a mebibyte, and waits for a second without an answer."""
    async with served(max_message_size=4_000_000) as (_, app):
        text = json.dumps("x" * 2_000_000)
        url, process = url_of(app, "/data"), program("curl")
        for body, expected in ((text, b" 200"), (text + " " * 4_000_000, b" 413")):
            command = (process, "-sS", "-w", " %{http_code}", "--json", "@-", url)
            asking = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
            async with asyncio.timeout(TIMEOUT):
                said, _ = await asking.communicate(body.encode())
            assert said.endswith(expected)


@asynchronous
async def test_http_2_is_not_spoken_and_said_so() -> None:
    async with served() as (_, app):
        version = ("-w", " %{http_version}")
        assert await curl("--http2", *version, url_of(app, "/state")) == "1 1.1"  # it offers h2c
        assert await curl("--http1.0", *version, url_of(app, "/state")) == "1 1.1"
        process = await asyncio.create_subprocess_exec(
            program("curl"), "-sS", "--http2-prior-knowledge", url_of(app, "/state"), stdout=PIPE, stderr=PIPE
        )
        async with asyncio.timeout(TIMEOUT):
            assert (await process.communicate())[0] == b""
        assert process.returncode != 0


@asynchronous
async def test_over_tls(certificate: Certificate) -> None:
    async with served(**certificate.options) as (_, app):
        assert await curl("--cacert", str(certificate.path), url_of(app, "/state", "https")) == "1"


@asynchronous
async def test_a_state_is_told_of_to_its_end() -> None:
    async with served() as (world, app), listening(app, "/state") as stream:
        assert (await stream.event())["data"] == "1"
        world.value = 2
        await app.live.changed("/state")
        assert (await stream.event())["data"] == "2"
        world.value = None
        await app.live.changed("/state")
        end = await stream.event()
        assert (end["event"], json.loads(end["data"])["status"]) == ("end", 410)
        assert await stream.code() == 0  # the response is complete


@asynchronous
async def test_a_stream_that_is_dropped_goes_on_behind_its_last_event() -> None:
    async with served() as (_, app):
        async with listening(app, "/log") as stream:
            assert json.loads((await stream.event())["data"]) == ["first"]
            await app.live.publish("/log", "a")
            seen = await stream.event()
            assert seen["data"] == '"a"'
            for connection in set(factory_of(app).connections):
                if getattr(connection, "is_streaming", False):
                    connection.transport.abort()
            assert await stream.code() not in (0, None)  # it was not all
        await app.live.publish("/log", "b")
        await app.live.publish("/log", "c")
        async with listening(app, "/log", "-H", f"Last-Event-ID: {seen['id']}") as stream:
            assert [(await stream.event())["data"] for _ in range(2)] == ['"b"', '"c"']
            stopping = asyncio.ensure_future(app.stop())
            end = await stream.event()
            assert (end["event"], json.loads(end["data"])["status"], int(end["retry"]) > 0) == ("end", 503, True)
            assert await stream.code() == 0
            await stopping
