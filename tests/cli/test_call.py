"""`call`: a request to a real server, its reply on stdout, and its status in the exit code."""

from __future__ import annotations

import asyncio
import json
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from aiorest_ws import Application, HTTPError, SimpleRouter
from aiorest_ws.cli.asking import pairs
from aiorest_ws.cli.failures import Failure
from tests.kit.cli import Cli, Said
from tests.kit.systems import needs_posix
from tests.serving import Certificate, asynchronous, serving

router = SimpleRouter()


@router.get("/hello")
def hello(request: Any) -> str:
    return "Hello, wörld!"


@router.route("/echo", ["GET", "PUT"])
def echo(request: Any, **args: Any) -> dict[str, Any]:
    return {"method": request.method, "args": args, "data": request.data, "token": request.get_extra("token")}


@router.put("/typed")
def typed(request: Any, count: int, tags: list[str] | None = None) -> int:
    return count


@router.get("/headers/{name}")
def header(request: Any, name: str) -> str | None:
    value: str | None = request.connection.headers.get(name)
    return value


@router.get("/fails/{status:int}")
def fails(request: Any, status: int) -> None:
    raise HTTPError(status, [{"loc": ["é\x1b[31m"]}] if status == 422 else "as you \x1b[31m wished")


@router.get("/large")
def large(request: Any) -> str:
    return "x" * 3_000_000


@router.get("/slow")
async def slow(request: Any) -> None:
    await asyncio.Event().wait()


class Server:
    """A server, and commands that ask it from a thread."""

    def __init__(self, cli: Cli, app: Application, scheme: str = "ws") -> None:
        address = app.addresses[0]
        self.url = f"unix:{address}" if isinstance(address, str) else f"{scheme}://127.0.0.1:{address[1]}"
        self._cli = cli

    async def __call__(self, *argv: str) -> Said:
        return await asyncio.to_thread(self._cli, *argv, "--server", self.url)


@asynccontextmanager
async def server(cli: Cli, **options: Any) -> AsyncIterator[Server]:
    async with serving(router, **options) as app:
        yield Server(cli, app, "wss" if "certificate" in options else "ws")


@asynchronous
async def _asked(cli: Cli, outcomes: list[Said], *commands: tuple[str, ...]) -> None:
    async with server(cli) as ask:
        outcomes.extend([await ask(*argv) for argv in commands])


def asked(cli: Cli, *commands: tuple[str, ...]) -> list[Said]:
    """Give how each of `commands` ends, with one server."""
    outcomes: list[Said] = []
    _asked(cli, outcomes, *commands)
    return outcomes


def test_data_is_one_line_of_json_for_a_program(cli: Cli) -> None:
    plain, raw, none = asked(
        cli, ("call", "GET", "/hello"), ("call", "get", "/hello", "--raw"), ("call", "GET", "/headers/x")
    )
    assert plain == (0, '"Hello, wörld!"\n', "")
    assert raw == (0, "Hello, wörld!\n", "")
    assert none == (0, "null\n", "")


def test_arguments_and_data_arrive_as_they_were_meant(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    (cli.folder / "order.json").write_text('\ufeff{"count": 12345678901234567890, "é": 1e3}', "utf-8")
    by_words, by_object, by_file, with_null = asked(
        cli,
        ("call", "GET", "/echo", "a=1", "b:=1", "--timeout", "9", "c=x=y", 'd:=["z"]'),
        ("call", "PUT", "/echo", "--args", '{"a": null}', "--data", '"text"'),
        ("call", "PUT", "/echo", "--data", "@order.json"),
        ("call", "PUT", "/echo", "--data", "null", "--args", "{}"),
    )
    assert json.loads(by_words.out)["args"] == {"a": "1", "b": 1, "c": "x=y", "d": ["z"]}
    assert json.loads(by_object.out) == {"method": "PUT", "args": {"a": None}, "data": "text", "token": None}
    assert json.loads(by_file.out)["data"] == {"count": 12345678901234567890, "é": 1000.0}
    assert json.loads(with_null.out)["data"] is None


def test_text_where_a_number_was_meant_says_how_it_is_typed(cli: Cli) -> None:
    number, flag, word, array, right = asked(
        cli,
        ("call", "PUT", "/typed", "count=3"),
        ("call", "PUT", "/typed", "count=true"),
        ("call", "PUT", "/typed", "count=three"),
        ("call", "PUT", "/typed", "count:=1", 'tags=["a"]'),
        ("call", "PUT", "/typed", "count:=3"),
    )
    fault = 'aiorest-ws: 422: [{"loc": ["args", "count"], "msg": "Expected `int`, got `str`"}]'
    assert number == (4, "", f"{fault}, did you mean count:=3?\n")
    assert flag == (4, "", f"{fault}, did you mean count:=true?\n")
    assert word == (4, "", f"{fault}\n")
    assert array.err.endswith(', did you mean tags:=["a"]?\n')
    assert right == (0, "3\n", "")


def test_data_comes_from_stdin(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    (cli.folder / "in").write_text("[1, 2]", "utf-8")
    with (cli.folder / "in").open(encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        (said,) = asked(cli, ("call", "PUT", "/echo", "--data", "-"))
    assert json.loads(said.out)["data"] == [1, 2]


def test_the_status_is_in_the_exit_code(cli: Cli) -> None:
    missing, failed, structured, whole = asked(
        cli,
        ("call", "GET", "/nowhere"),
        ("call", "GET", "/fails/503"),
        ("call", "GET", "/fails/422"),
        ("call", "GET", "/fails/409", "--whole"),
    )
    assert missing == (4, "", "aiorest-ws: 404: no route /nowhere\n")
    assert failed == (5, "", "aiorest-ws: 503: as you \\u001b[31m wished\n")
    assert structured == (4, "", 'aiorest-ws: 422: [{"loc": ["é\\u001b[31m"]}]\n')
    assert whole == (4, '{"status":409,"detail":"as you \\u001b[31m wished"}\n', "")


def test_a_large_reply_comes_whole(cli: Cli) -> None:
    (said,) = asked(cli, ("call", "GET", "/large", "--raw"))
    assert len(said.out) == 3_000_001


def test_a_token_goes_with_handshake_and_message(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOREST_WS_TOKEN", "of.the.environment")
    message, handshake, given, own = asked(
        cli,
        ("call", "GET", "/echo"),
        ("call", "GET", "/headers/authorization"),
        ("call", "GET", "/headers/authorization", "--token", "a.b.c"),
        ("call", "GET", "/headers/authorization", "--header", "Authorization: Basic x"),
    )
    assert json.loads(message.out)["token"] == "of.the.environment"
    assert json.loads(handshake.out) == "Bearer of.the.environment"
    assert json.loads(given.out) == "Bearer a.b.c"
    assert json.loads(own.out) == "Basic x"


@asynchronous
async def test_a_reply_that_does_not_come(cli: Cli) -> None:
    async with server(cli) as ask:
        said = await ask("call", "GET", "/slow", "--timeout", "0.2")
        assert said == (3, "", f"aiorest-ws: no reply from {ask.url} within 0.2 s\n")
        shown, ask.url = ask.url, f"{ask.url}?token=secret"
        said = await ask("call", "GET", "/slow", "--timeout", "0.2")
        assert said == (3, "", f"aiorest-ws: no reply from {shown} within 0.2 s\n")


@asynchronous
async def test_a_handshake_that_is_refused_has_its_status(cli: Cli) -> None:
    async with server(cli, path="api") as ask:
        said = await ask("call", "GET", "/hello")
        assert said.code == 4
        assert said.err.startswith(f"aiorest-ws: {ask.url} refuses the connection: 404 ")
        ask.url += "/api"
        assert (await ask("call", "GET", "/hello")).code == 0


@asynchronous
async def test_the_environment_names_the_server(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(router) as app:
        monkeypatch.setenv("AIOREST_WS_SERVER", f"ws://127.0.0.1:{app.addresses[0][1]}")
        assert (await asyncio.to_thread(cli, "call", "GET", "/hello")).code == 0
    monkeypatch.setenv("AIOREST_WS_SERVER", "http://127.0.0.1")
    said = cli("call", "GET", "/hello")
    assert said.code == 2
    assert said.err.startswith("aiorest-ws: environment variable AIOREST_WS_SERVER: expected ws://…, wss://… or unix:…")


@needs_posix
@asynchronous
async def test_a_unix_socket(cli: Cli) -> None:
    async with serving(router, unix_path=cli.folder / "s") as app:
        assert stat.S_ISSOCK((cli.folder / "s").stat().st_mode)
        assert (await Server(cli, app)("call", "GET", "/hello")).code == 0
    assert await asyncio.to_thread(cli, "call", "GET", "/hello", "--server", "unix:nowhere") == (
        *(3, ""),
        "aiorest-ws: no connection to unix:nowhere: No such file or directory\n",
    )


@asynchronous
async def test_tls(cli: Cli, certificate: Certificate) -> None:
    async with server(cli, **certificate.options) as ask:
        said = await ask("call", "GET", "/hello")
        assert said.code == 3
        assert "self-signed certificate (--ca FILE trusts another authority, --insecure any)" in said.err
        assert (await ask("call", "GET", "/hello", "--ca", certificate.path)).code == 0
        assert (await ask("call", "GET", "/hello", "--insecure")).code == 0
        said = await ask("call", "GET", "/hello", "--ca", "nowhere.pem")
        assert said == (2, "", "aiorest-ws: --ca: nowhere.pem: No such file or directory\n")


@asynchronous
async def test_this_machine_is_asked_without_a_proxy(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with server(cli) as ask:
        for proxy in (f"http{ask.url[2:]}", "socks5://127.0.0.1:1"):
            for name in ("http_proxy", "https_proxy", "all_proxy", "socks_proxy"):
                monkeypatch.setenv(name, proxy)
            assert (await ask("call", "GET", "/hello")).code == 0
            said = await asyncio.to_thread(cli, "call", "GET", "/hello", "--server", "ws://elsewhere.example")
            assert (said.code, said.err.count("\n")) == (3, 1)
            assert said.err.startswith("aiorest-ws: no connection to ws://elsewhere.example: ")


@asynchronous
async def test_what_is_no_server_of_ours(cli: Cli) -> None:
    async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"SSH-2.0-server\r\n")
        writer.close()

    async with await asyncio.start_server(http, "127.0.0.1", 0) as listener:
        url = f"ws://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        said = await asyncio.to_thread(cli, "call", "GET", "/hello", "--server", url)
        assert (said.code, said.out, said.err.count("\n")) == (3, "", 1)
        assert said.err.startswith(f"aiorest-ws: no connection to {url}: ")


def test_nobody_listens(cli: Cli, unused_port: int) -> None:
    said = cli("call", "GET", "/hello", "--server", f"ws://127.0.0.1:{unused_port}")
    line = (
        f"aiorest-ws: no connection to ws://127.0.0.1:{unused_port}: Connection refused (nothing listens there: "
        "aiorest-ws run main:app starts a server, --server names one elsewhere)\n"
    )
    assert said == (3, "", line)


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


def test_without_websockets_it_says_what_to_install(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "websockets.exceptions", None)
    line = "aiorest-ws: this needs websockets: pip install 'aiorest-ws[cli]>=2'\n"
    assert cli("call", "GET", "/hello") == (1, "", line)
    assert cli("subscribe", "/hello") == (1, "", line)


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["GET", "hello"], "expected a url with a slash in front, got 'hello', did you mean '/hello'?"),
        (
            ["GET", "http://127.0.0.1:80/hello/a"],
            "expected a path, got 'http://127.0.0.1:80/hello/a', did you mean /hello/a --server ws://127.0.0.1:80?",
        ),
        (
            ["GET", "/", '{"a": 1}'],
            "expected key=value or key:=JSON, got '{\"a\": 1}', did you mean --args '{\"a\": 1}'?",
        ),
        (["GET", "/hello?a=1"], "a url has no query string: /hello key=value …"),
        (["SUBSCRIBE", "/hello"], "SUBSCRIBE has more than one reply: aiorest-ws subscribe /hello"),
        (["GET", "/", "name"], "expected key=value or key:=JSON, got 'name'"),
        (["GET", "/", "=1"], "expected key=value or key:=JSON, got '=1'"),
        (["GET", "/", ":=1"], "expected key=value or key:=JSON, got ':=1'"),
        (["GET", "/", "a=1", "a=2"], "a is given twice: for a list say a:='[…]'"),
        (["GET", "/", "a:=text"], "a: not JSON, got 'text': a string is in quotes, too: '\"text\"'"),
        (["GET", "/", "a:=[x]"], "a: not JSON, got '[x]' (Expecting value: line 1 column 2 (char 1))"),
        (["GET", "/", "a:=NaN"], "a: not JSON, got 'NaN'"),
        (
            ["GET", "/", "a=1", "--args", "{}"],
            "--args has all arguments, and so it takes the place of 'a=1': give one of them",
        ),
        (["GET", "/", "--args", "[1]"], "--args: expected an object, got [1]"),
        (["GET", "/", "--data", "@nowhere"], "--data: nowhere: No such file or directory"),
        (["GET", "/", "--data", "@latin"], "--data: @latin is not in UTF-8"),
        (
            ["GET", "/", "--server", "http://h/"],
            "call: --server: expected ws://…, wss://… or unix:…, got 'http://h/', did you mean ws://h/?",
        ),
        (
            ["GET", "/", "--server", "localhost:80"],
            "call: --server: expected ws://…, wss://… or unix:…, got 'localhost:80', did you mean ws://localhost:80?",
        ),
        (["GET", "/", "--server", "ws:"], "call: --server: expected ws://…"),
        (["GET", "/", "--server", "ws://h:port/"], "call: --server: Port could not be cast"),
        (["GET", "/", "--header", "Cookie"], "call: --header: expected 'Name: value', got 'Cookie'"),
        (["GET", "/", "--timeout", "soon"], "call: --timeout: expected seconds, got 'soon'"),
        (["GET", "/", "--timeout", "nan"], "call: --timeout: expected seconds, got 'nan'"),
        (["GET", "/", "--token", "a\nb"], "the token has characters that no token has"),
        (["GET", "/", "--tokn", "x"], "call: unknown option --tokn, did you mean --token?"),
    ],
)
def test_wrong_usage_is_one_line(argv: list[str], line: str, cli: Cli) -> None:
    (cli.folder / "latin").write_bytes(b'"\xe9"')
    said = cli("call", *argv)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"aiorest-ws: {line}")
    assert said.err.count("\n") == 1


def test_words_are_strings_unless_they_say_json() -> None:
    assert pairs(["a=1", "b:=1", "c=", "d:=null", "e=:=", "url=http://h/?a=b", "f:=-1.5"]) == {
        "a": "1",
        "b": 1,
        "c": "",
        "d": None,
        "e": ":=",
        "url": "http://h/?a=b",
        "f": -1.5,
    }
    with pytest.raises(Failure):
        pairs(["a"])
