"""Everything that a newcomer is told to run, run for real: the examples, the demo and what README.md shows."""

from __future__ import annotations

import asyncio
import re
import socket
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from autobahn.asyncio.websocket import WebSocketClientFactory, WebSocketClientProtocol

import aiorest_ws
from aiorest_ws import exceptions
from aiorest_ws.app import Application
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


def test_demo_prints_a_reply_in_kind_to_each_request() -> None:
    lines = output_of("-m", "examples.demo").splitlines()
    assert f"hot path: {'compiled' if aiorest_ws.COMPILED else 'pure Python'} (" in "\n".join(lines)
    exchanges = [(line[2:18].strip(), line[18:]) for line in lines if line[:1] in ("→", "←")]
    requests, replies = exchanges[::2], exchanges[1::2]
    assert len(requests) == len(replies) == len(demo.STORY)
    assert [form for form, _ in replies] == [form for form, _ in requests]
    assert {form for form, _ in replies} == {"text, JSON", "text, base64", "binary, JSON", "binary, base64"}
    hello = '{"data":"Hello, username!","event_name":null}'
    assert [reply for _, reply in replies] == [
        hello,
        '{"data":"Hello, user with ID=24","event_name":null}',
        '{"data":{"sum":14},"event_name":"my-sum"}',
        hello,
        hello,
        hello,
        '{"id":1,"status":200,"data":"Hello, username!"}',
        '{"id":2,"status":404,"detail":"no route /nowhere"}',
        '{"id":3,"status":405,"detail":"no method PUT at /hello, expected GET"}',
        '{"id":4,"status":422,"detail":"missing argument `numbers`"}',
        replies[-2][1],
        hello,
    ]
    assert replies[-2][1].startswith('{"detail":"request is not valid JSON: ')


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


def test_readme_code_runs_and_answers_as_shown() -> None:
    namespace: dict[str, Any] = {"__name__": "readme"}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec", dont_inherit=True), namespace)
    transcript = [line for block in blocks("text") for line in block.splitlines()]
    assert len(transcript) > 7
    told = asyncio.run(asyncio.wait_for(tell(namespace["app"], transcript), TIMEOUT))
    assert told == transcript


async def watched(namespace: dict[str, Any]) -> list[Any]:
    """Serve README's application, and give what its client is told."""
    app, told = namespace["app"], asyncio.Queue[Any]()
    namespace["print"] = told.put_nowait
    await app.start(port=0)
    try:
        host, port = app.addresses[0]
        watching = asyncio.create_task(namespace["watch"](f"ws://{host}:{port}/"))
        first = await told.get()
        namespace["board"]["open"] = 6
        app.live.changed("/board")
        second = await told.get()
        watching.cancel()
        await asyncio.wait([watching])
    finally:
        await app.stop()
    return [first, second]


def test_readme_client_is_told_of_changes() -> None:
    namespace: dict[str, Any] = {"__name__": "readme"}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec", dont_inherit=True), namespace)
    assert asyncio.run(asyncio.wait_for(watched(namespace), TIMEOUT)) == [{"open": 5}, {"open": 6}]


def test_every_status_is_in_the_guide() -> None:
    listed = {int(status) for status, _ in rows("status")}
    rooms = (exceptions, idempotency_exceptions)
    classes = [getattr(room, name) for room in rooms for name in room.__all__]
    assert listed == {200} | {
        c.status for c in classes if isinstance(c, type) and issubclass(c, exceptions.BaseAPIException)
    }
