"""Everything that a newcomer is told to run, run for real: the examples, the demo and what README.md shows."""

from __future__ import annotations

import asyncio
import io
import re
import socket
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from autobahn.asyncio.websocket import WebSocketClientFactory, WebSocketClientProtocol

import aiorest_ws
from aiorest_ws import exceptions
from aiorest_ws.app import Application
from aiorest_ws.client import Change
from aiorest_ws.idempotency import exceptions as idempotency_exceptions
from examples import demo
from tests.kit.pages import EXAMPLES, ROOT, TIMEOUT, blocks, output_of, serving, shortened

REPLIES = {
    "hello": ["Hello, world!"],
    "method_based_api": [
        '{"data":"Hello, username!","event_name":null}',
        *['{"data":"Hello, user with ID=24","event_name":null}'] * 10,
        '{"data":{"sum":14},"event_name":null}',
    ],
    "function_based_api": [
        '{"data":"Hello, world!","event_name":null}',
        *(f'{{"data":"{29 + n} + {70 - n} = 99","event_name":null}}' for n in range(10)),
    ],
    "auth_token": [
        "me, without a token: 401 Token has not provided in the request.",
        "register: 201",
        "register again: 422 {'username': ['is taken']}",
        "log in, wrong password: 401 Wrong username or password.",
        "log in: 200",
        "me: 200",
        "refresh: 200",
        "refresh again: 401 Refresh token is not valid.",
        "me, with the new token: 200",
        "log out: 200",
        "me, logged out: 401 Token has been revoked.",
    ],
    "django_orm": [
        "add: 201",
        "add again: 422 {'name': ['Car with this Name already exists.']}",
        "add a bad one: 422 {'name': ['This field cannot be blank.']}",
        "change: 200",
        "twenty at once: {(200, '8000.00')}",
        "find: 200",
        "remove: 200",
        "show: 404 Car matching query does not exist.",
    ],
    "todo_api": [
        "add: 201",
        "add one without a title: 422 [{'loc': ['data', 'title'], 'msg': 'Expected `str` of length >= 1'}]",
        "rename: 200",
        "misspell: 422 [{'loc': ['data'], 'msg': 'Object contains unknown field `titel`'}]",
        "take its day away: 200",
        "twenty at once: {201}",
        "second page: 200",
        "page of a thousand: 422 [{'loc': ['args', 'limit'], 'msg': 'Expected `int` <= 100'}]",
        "remove: 200",
        "show: 404 no todo 1",
        "the other one heard:",
        "  added milk",
        "  changed oat milk",
        "  changed oat milk",
        "  removed oat milk",
    ],
    "live_board": [
        "Ada sees: nothing",
        "Bob sees: nothing",
        "refused: 422 column is not right",
        "Ada sees: paint (to do), sand (doing)",
        "Bob sees: paint (to do), sand (doing)",
        "Bob sees: nothing",
    ],
    "chat": [
        "here: 2 ['ada', 'bob']",
        "  ada: hello",
        "  ada: are you there?",
        "Bob is back",
        "  ada: hm",
        "  ada: I will wait",
        "  bob: yes",
        "no such room: no room attic",
    ],
}


def test_every_example_has_its_test() -> None:
    assert {path.parent.name for path in EXAMPLES.glob("*/server.py")} == set(REPLIES)


@pytest.mark.parametrize("name", REPLIES)
def test_example_client_gets_its_replies(name: str) -> None:
    with serving(EXAMPLES / name / "server.py", "-port", "0") as port:
        for _ in range(2):  # a server that has served once goes on
            assert output_of(EXAMPLES / name / "client.py", "-port", str(port)).splitlines() == REPLIES[name]


# The demo


DEMO = r"""
A request has a method and a url, its reply a status. Ada says something:
→ POST /rooms/lobby/messages "hello"
← 201 {"number": 1, "name": "ada", "text": "hello", "time": N}

Bob has subscribed to that url, and is told:
  Bob begins with []
  Bob reads message 1: hello

An error has a status, too, and says what is wrong:
→ POST /rooms/lobby/messages {"text": "hello"}
← 422 a message is a text of at most 500 characters
→ GET /rooms/attic/messages
← 404 no room attic
→ PUT /rooms/lobby/messages "hello"
← 405 no method PUT at /rooms/lobby/messages, expected GET, POST

The line to Bob is cut. Ada does not know, and goes on:
  Bob is offline: the connection to ws://127.0.0.1:N/ was lost; tries again in N s
→ POST /rooms/lobby/messages "are you there?"
← 201 {"number": 2, "name": "ada", "text": "are you there?", "time": N}
→ POST /rooms/lobby/messages "I will wait"
← 201 {"number": 3, "name": "ada", "text": "I will wait", "time": N}
  Bob is back after N s

Bob's client has gone on where it was: nothing is lost, nothing comes twice.
  Bob reads message 2: are you there?
  Bob reads message 3: I will wait
→ POST /rooms/lobby/messages "welcome back"
← 201 {"number": 4, "name": "ada", "text": "welcome back", "time": N}
  Bob reads message 4: welcome back

The server has stopped. README.md tells the rest.
"""


def without_numbers(text: str) -> str:
    """Give what the demo prints without what is another one each time: times, ports, seconds."""
    return re.sub(r'(?<="time": )\d+|(?<=:)\d+(?=/ was)|[\d.]+(?= s$)', "N", text, flags=re.MULTILINE)


def test_demo_shows_a_request_errors_and_a_subscription_that_survives_a_drop() -> None:
    output = output_of("-m", "examples.demo")
    head, blank, story = output.partition("\n\n")
    assert f"hot path: {'compiled' if aiorest_ws.COMPILED else 'pure Python'} (" in head
    assert without_numbers(blank[1:] + story) == DEMO
    assert "\x1b" not in output  # it is no terminal


def test_demo_fails_if_a_message_is_missing() -> None:
    async def changes(change: Change[Any]) -> AsyncIterator[Change[Any]]:
        yield change

    anew: Change[Any] = Change([])
    for change in (anew, Change({"number": 3, "text": ""}, is_item=True, lost=True)):
        with pytest.raises(RuntimeError, match="expected the next message, got Change"):
            asyncio.run(demo.read(changes(change)))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stdout", "environment", "printed"),
    [
        (Terminal(), {"TERM": "xterm"}, "\x1b[32m← 200\x1b[0m\n"),
        (Terminal(), {"TERM": "xterm", "NO_COLOR": "1"}, "← 200\n"),
        (Terminal(), {"TERM": "dumb"}, "← 200\n"),
        (io.StringIO(), {"TERM": "xterm"}, "← 200\n"),
    ],
)
def test_demo_is_in_colour_on_a_terminal_if_nobody_minds(
    stdout: io.StringIO, environment: dict[str, str], printed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout", stdout)
    demo.tell("← 200", demo.GIVEN)
    assert stdout.getvalue() == printed


def test_demo_with_a_server_that_does_not_start_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "server.py").write_text("raise SystemExit(3)", "utf-8")
    monkeypatch.setattr(demo, "SERVER", tmp_path / "server.py")
    assert demo.main() == 1
    assert capsys.readouterr().err == "demo failed: the server did not start, its exit code is 3\n"


def test_demo_with_a_silent_server_does_not_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "server.py").write_text("import time; time.sleep(600)", "utf-8")
    monkeypatch.setattr(demo, "SERVER", tmp_path / "server.py")
    monkeypatch.setattr(demo, "TIMEOUT", 0.2)
    assert demo.main() == 1
    assert capsys.readouterr().err == "demo failed: not done after 0.2 seconds\n"


# The page


class Page(HTMLParser):
    """Collects what a page is made of; every element that needs an end must have it, in the right place."""

    VOID = frozenset(("meta", "input", "link", "br"))

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.script = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            self.script += data

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.attributes if key == name]


PAGES = [path.parent.name for path in sorted(EXAMPLES.glob("*/index.html"))]


@pytest.mark.parametrize("name", PAGES)
def test_page_is_well_formed_and_needs_nothing_from_elsewhere(name: str) -> None:
    page = Page((EXAMPLES / name / "index.html").read_text("utf-8"))
    assert page.open == []
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'\$\("([\w-]+)"\)', page.script)) == set(ids)
    assert set(page.values("for")) <= set(ids)
    assert page.values("src") == (["../aiorest-ws.js"] if "aiorestWs" in page.script else [])
    assert page.values("href") == []
    assert "innerHTML" not in page.script


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("origin", ["null", "http://127.0.0.1:8000"])
def test_page_from_a_file_and_from_a_web_server_may_connect(origin: str, name: str) -> None:
    """A browser says `Origin: null` for a page that was opened as a file."""
    with serving(EXAMPLES / name / "server.py", "-port", "0") as port:
        handshake = (
            f"GET /?name=ada HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: {origin}\r\nUpgrade: websocket\r\n"
            "Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", port), TIMEOUT) as browser, browser.makefile("rb") as answer:
            browser.sendall(handshake.encode())
            assert answer.readline().startswith(b"HTTP/1.1 101 ")


def rows(header: str) -> list[list[str]]:
    """Give the cells of the guide's tables that begin with `header`."""
    messages = (ROOT / "docs" / "guide" / "messages.md").read_text("utf-8")
    tables = re.findall(rf"^\| {re.escape(header)} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", messages, re.MULTILINE)
    assert tables, header
    return [[cell.strip() for cell in row.strip("|").split("|")] for table in tables for row in table.splitlines()]


class Teller(WebSocketClientProtocol):
    """Keeps what it receives for whoever waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.received: asyncio.Queue[str] = asyncio.Queue()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        assert not isBinary
        self.received.put_nowait(payload.decode())


async def tell(app: Application, transcript: list[str]) -> list[str]:
    """Send the requests of `transcript` to `app`; give it with what really comes back."""
    told = []
    await app.start(port=0)
    try:
        host, port = app.addresses[0]
        factory = WebSocketClientFactory(f"ws://{host}:{port}/")
        factory.protocol = Teller
        _, client = await asyncio.get_running_loop().create_connection(factory, host, port)
        await client.is_open
        for line in transcript:
            if line.startswith("→ "):
                client.sendMessage(line[2:].encode())
                told.append(line)
            else:
                told.append(shortened(f"← {await client.received.get()}", line, {}))
        client.sendClose()
        await client.is_closed
        assert client.received.empty()
    finally:
        await app.stop()
    return told


def readme() -> dict[str, Any]:
    """Give what README's server is made of."""
    namespace: dict[str, Any] = {"__name__": "readme"}
    exec(compile(blocks("python")[0], "README.md", "exec", dont_inherit=True), namespace)
    return namespace


def test_readme_code_runs_and_answers_as_shown() -> None:
    namespace = readme()
    transcript = [line for block in blocks("text") for line in block.splitlines()]
    assert len(transcript) > 7
    told = asyncio.run(asyncio.wait_for(tell(namespace["app"], transcript), TIMEOUT))
    assert told == transcript


class Enough(Exception):
    """The client of README would go on for ever."""


async def watched(client: str, namespace: dict[str, Any]) -> list[Any]:
    """Serve README's application, and give what its client is told."""
    app, told = namespace["app"], []

    def take(value: Any) -> None:
        told.append(value)
        if len(told) > 1:
            raise Enough
        namespace["board"]["open"] = 6
        app.live.changed("/board")

    await app.start(port=0)
    try:
        host, port = app.addresses[0]
        assert "ws://127.0.0.1:8080/" in client
        code = compile(client.replace("127.0.0.1:8080", f"{host}:{port}"), "README.md", "exec", dont_inherit=True)
        with pytest.raises(Enough):
            await asyncio.to_thread(exec, code, {"print": take})
    finally:
        await app.stop()
    return told


def test_readme_client_is_told_of_changes() -> None:
    _, client = blocks("python")
    assert asyncio.run(asyncio.wait_for(watched(client, readme()), TIMEOUT)) == [{"open": 5}, {"open": 6}]


def test_every_status_is_in_the_guide() -> None:
    listed = {int(status) for status, _ in rows("status")}
    rooms = (exceptions, idempotency_exceptions)
    classes = [getattr(room, name) for room in rooms for name in room.__all__]
    assert listed == {200} | {
        c.status for c in classes if isinstance(c, type) and issubclass(c, exceptions.BaseAPIException)
    }
