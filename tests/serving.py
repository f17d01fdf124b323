"""What the tests over a real socket share: a server in the test's own loop, a client that sees frames as they are.

Nothing here sleeps to synchronise, and everything that waits has an end: a hang is a failure.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import hashlib
import json
import os
import socket
import ssl
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec

from aiorest_ws import Application, SimpleRouter, endpoint

TIMEOUT = 10.0  # seconds; the end of a test that hangs
LOOPS = ("asyncio", "uvloop") if find_spec("uvloop") else ("asyncio",)
ALL_ZLIBS = ("isal.isal_zlib", "zlib_ng.zlib_ng", "zlib")  # what may deflate, the quickest first
ZLIBS = tuple(name for name in ALL_ZLIBS if find_spec(name.partition(".")[0]))

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

P = ParamSpec("P")


def asynchronous(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a coroutine test on a loop of its own: the one that its argument `loop` names, asyncio's without one.

    Fails when the loop's exception handler was called, and when something was never awaited.
    """
    return within(TIMEOUT)(test)


def within(seconds: float) -> Callable[[Callable[P, Coroutine[Any, Any, None]]], Callable[P, None]]:
    """Give `asynchronous` for tests that may take so long."""

    def decorate(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
        @wraps(test)
        def run(*args: P.args, **kwargs: P.kwargs) -> None:
            trouble: list[dict[str, Any]] = []
            gc.freeze()  # what was there before need not be searched for what this test leaves behind

            async def guarded() -> None:
                asyncio.get_running_loop().set_exception_handler(lambda _, context: trouble.append(context))
                async with asyncio.timeout(seconds):
                    await test(*args, **kwargs)
                gc.collect()
                await turn_over()

            try:
                with asyncio.Runner(loop_factory=loop_factory(str(kwargs.get("loop", "asyncio")))) as runner:
                    runner.run(guarded())
                gc.collect()
            finally:
                gc.unfreeze()
            assert trouble == []

        return run

    return decorate


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    if name == "uvloop":
        import uvloop

        return uvloop.new_event_loop
    return asyncio.new_event_loop


async def turn_over(turns: int = 5) -> None:
    """Let the loop run what is ready."""
    for _ in range(turns):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until `condition` is true: at once for some turns, and then without taking a processor whole."""
    async with asyncio.timeout(TIMEOUT):
        for _ in range(100):
            if condition():
                return
            await asyncio.sleep(0)
        while not condition():  # noqa: ASYNC110 (what is waited for tells nobody)
            await asyncio.sleep(0.001)


@asynccontextmanager
async def serving(router: Any = None, **options: Any) -> AsyncIterator[Application]:
    """Serve `router` on a free port of 127.0.0.1 for as long as the block lasts."""
    app = Application(
        router=router if router is not None else SimpleRouter(), **{"port": 0, "shutdown_timeout": 0.1} | options
    )
    await app.start()
    try:
        yield app
    finally:
        await app.stop()


def make_router(**handlers: Callable[..., Any]) -> SimpleRouter:
    """Give a router with /hello, /n/{n}, /later/{n}, and a GET route for each of `handlers`, of that name."""

    async def later(request: Any, n: str) -> int:
        await asyncio.sleep(0)
        return int(n)

    router = SimpleRouter()
    router.register_endpoint(endpoint("/n/{n}", "GET")(lambda request, n: int(n)))
    router.register_endpoint(endpoint("/later/{n}", "GET")(later))
    for name, handler in ({"hello": lambda request: "Hello, world!"} | handlers).items():
        router.register_endpoint(endpoint(f"/{name}", "GET")(handler))
    return router


def gated_router(gates: Gates, **handlers: Callable[..., Any]) -> SimpleRouter:
    """Give `make_router(**handlers)` with /wait/{name}, which waits at `gates`, and gives the name."""
    router = make_router(**handlers)

    @endpoint("/wait/{name}", "GET")
    async def wait(request: Any, name: str) -> str:
        return await gates.wait(name)

    router.register_endpoint(wait)
    return router


def factory_of(app: Application) -> Any:
    """Give the factory of `app`, which serves."""
    assert app._listening is not None
    return app._listening


def connection_of(app: Application) -> Any:
    """Give the only connection of `app`."""
    (connection,) = factory_of(app).connections
    return connection


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame from the server, as it came."""

    opcode: int
    payload: bytes
    compressed: bool = False

    @property
    def close_code(self) -> int | None:
        assert self.opcode == CLOSE
        return struct.unpack("!H", self.payload[:2])[0] if self.payload else None

    @property
    def close_reason(self) -> str:
        assert self.opcode == CLOSE
        return self.payload[2:].decode()


class HandshakeRefused(Exception):
    """The server answered the handshake with an HTTP error."""

    def __init__(self, status: int, reason: str, headers: dict[str, str]) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.headers = headers


async def _open_unix(name: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(f"\0{name[1:]}" if name.startswith("@") else name)  # uvloop itself connects to no abstract name
    return await asyncio.open_unix_connection(sock=sock)


class Client:
    """A WebSocket client for tests: masks what it sends (RFC 6455 §5.3), and interprets nothing."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, headers: dict[str, str]) -> None:
        self.reader = reader
        self.writer = writer
        self.headers = headers

    @classmethod
    async def connect(
        cls,
        where: Application | tuple[str, int] | str,
        target: str = "/",
        *,
        headers: Iterable[tuple[str, str]] = (),
        tls: ssl.SSLContext | None = None,
        behind: bytes = b"",
        host: str | None = None,
        sock: socket.socket | None = None,
    ) -> Client:
        """Do the opening handshake, with `behind` in the same write, or raise HandshakeRefused.

        host    what the server is called; None: its address
        sock    one that is connected already
        """
        address = where.addresses[0] if isinstance(where, Application) else where
        connecting: Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
        if isinstance(address, str):
            connecting = _open_unix(address) if sock is None else asyncio.open_unix_connection(sock=sock)
            name = "localhost"
        else:
            to: dict[str, Any] = {"host": address[0], "port": address[1]}
            if sock is not None:
                to = {"sock": sock} | ({"server_hostname": address[0]} if tls else {})
            connecting = asyncio.open_connection(**to, ssl=tls)
            name = "[{}]:{}".format(*address) if ":" in address[0] else "{}:{}".format(*address)
        reader, writer = await asyncio.wait_for(connecting, TIMEOUT)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            f"GET {target} HTTP/1.1",
            f"Host: {host or name}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
            *(f"{name}: {value}" for name, value in headers),
        ]
        writer.write("\r\n".join([*lines, "", ""]).encode() + behind)
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), TIMEOUT)
        except BaseException:  # raised again: no socket stays open behind a test that fails here
            writer.transport.abort()
            raise
        first, *rest = head.decode().split("\r\n")
        _, status, reason = first.split(" ", 2)
        received = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest if line)}
        if status != "101":
            await _close(writer)
            raise HandshakeRefused(int(status), reason, received)
        accept = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
        assert received["sec-websocket-accept"] == base64.b64encode(accept).decode()
        return cls(reader, writer, received)

    # Frames

    def send(self, payload: bytes, opcode: int = TEXT, *, fin: bool = True, compressed: bool = False) -> None:
        """Put one frame into the socket, or into the buffer behind it."""
        self.writer.write(frame(payload, opcode, fin=fin, compressed=compressed))

    async def receive(self, timeout: float = TIMEOUT) -> Frame:
        """Give the next frame, of whatever kind. Raises IncompleteReadError at the end of the connection."""
        async with asyncio.timeout(timeout):
            first, second = await self.reader.readexactly(2)
            assert first & 0x80, "the server never fragments"
            assert not second & 0x80, "the server never masks"
            length = second & 0x7F
            if length == 126:
                (length,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", await self.reader.readexactly(8))
            return Frame(first & 0x0F, await self.reader.readexactly(length), bool(first & 0x40))

    async def eof(self) -> None:
        """Wait for the end of the connection. Nothing may come before it."""
        async with asyncio.timeout(TIMEOUT):
            try:
                assert await self.reader.read(1) == b""
            except ConnectionError:
                pass  # the server dropped it with what it had not read

    # Requests

    def request(self, method: Any = "GET", url: Any = "/hello", **rest: Any) -> None:
        """Send a request as JSON in a text frame."""
        self.send(dump({"method": method, "url": url, **rest}))

    async def reply(self) -> Any:
        """Give the next reply, which must be JSON in a text frame, parsed."""
        frame = await self.receive()
        assert frame.opcode == TEXT, frame
        return json.loads(frame.payload)

    async def ask(self, method: Any = "GET", url: Any = "/hello", **rest: Any) -> Any:
        """Send a request and give the next reply."""
        self.request(method, url, **rest)
        return await self.reply()

    # Ends

    async def leave(self, code: int | None = 1000, reason: str = "") -> Frame:
        """Do the closing handshake and give the server's close frame. No other frame may come before it."""
        self.send(b"" if code is None else struct.pack("!H", code) + reason.encode(), CLOSE)
        frame = await self.receive()
        assert frame.opcode == CLOSE, f"more than one reply: {frame}"
        await self.eof()
        await self.drop()
        return frame

    async def left(self) -> Frame:
        """Take the server's close frame, answer it, and give it."""
        frame = await self.receive()
        assert frame.opcode == CLOSE, frame
        self.send(frame.payload[:2], CLOSE)
        await self.eof()
        await self.drop()
        return frame

    async def drop(self) -> None:
        """Close the socket without a word."""
        await _close(self.writer)

    def abort(self) -> None:
        """Drop the connection at once; what is in the send buffer is lost."""
        self.writer.transport.abort()

    def reset(self) -> None:
        """Reset the connection: the server cannot even write to it any more."""
        linger = struct.pack("ii", 1, 0) if os.name == "posix" else struct.pack("HH", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.abort()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.drop()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        await asyncio.wait_for(writer.wait_closed(), TIMEOUT)
    except (ConnectionError, ssl.SSLError):
        pass  # the other side was quicker


def frame(payload: bytes, opcode: int = TEXT, *, fin: bool = True, compressed: bool = False) -> bytes:
    """Give a masked frame (RFC 6455 §5.2)."""
    head = bytes([fin << 7 | compressed << 6 | opcode])
    size = len(payload)
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 65536:
        head += struct.pack("!BH", 0x80 | 126, size)
    else:
        head += struct.pack("!BQ", 0x80 | 127, size)
    mask = os.urandom(4)
    stream = (mask * (size // 4 + 1))[:size]
    return head + mask + (int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")).to_bytes(size, "big")


def dump(value: Any) -> bytes:
    """Give `value` as compact JSON, as clients write it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


class Certificate(NamedTuple):
    path: str
    key: str

    @property
    def options(self) -> dict[str, Any]:
        """Give what an application is told of it."""
        return {"certificate": self.path, "key": self.key}


def make_certificate(folder: Path, called: str = "127.0.0.1") -> Certificate:
    """Make a certificate for 127.0.0.1 that signs itself, in a folder of that name."""
    from datetime import UTC, datetime, timedelta
    from ipaddress import IPv4Address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, called)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(exist_ok=True)
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return Certificate(str(folder / "cert.pem"), str(folder / "key.pem"))


def client_context(certificate: Certificate) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificate.path)


@dataclass
class Gates:
    """Handlers that wait until the test lets them go, and what became of each."""

    started: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    _open: dict[str, asyncio.Event] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self, name: str) -> str:
        """Wait in a handler until `open(name)`."""
        self._note(self.started, name)
        try:
            await self._gate(name).wait()
        except asyncio.CancelledError:
            self._note(self.cancelled, name)
            raise
        finally:
            self._note(self.finished, name)
        return name

    async def wait_on(self, name: str) -> str:
        """Wait, and when that is cancelled give "late" nevertheless."""
        try:
            return await self.wait(name)
        except asyncio.CancelledError:
            return "late"

    def open(self, *names: str) -> None:
        for name in names:
            self._gate(name).set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait, in the test, until a handler has made `condition` true."""
        async with asyncio.timeout(TIMEOUT):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def until_started(self, *names: str) -> None:
        await self.until(lambda: set(names) <= set(self.started))

    def _gate(self, name: str) -> asyncio.Event:
        return self._open.setdefault(name, asyncio.Event())

    def _note(self, where: list[str], name: str) -> None:
        where.append(name)
        self._changed.set()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program ended."""

    code: int | None
    out: str
    err: str


class Program:
    """A Python program in a process of its own, under the test's own switches and `-W error`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self._lines: list[str] = []
        self._errors: list[str] = []

    @classmethod
    async def start(cls, source: str, **environment: str) -> Program:
        return await cls.launch("-c", source, **environment)

    @classmethod
    async def launch(cls, *command: str, **environment: str) -> Program:
        """Run Python with `command` behind it, in a session of its own."""
        root = str(Path(__file__).parent.parent)
        path = os.pathsep.join([root, os.environ["PYTHONPATH"]]) if os.environ.get("PYTHONPATH") else root
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-W", "error", *command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"} | environment,
            start_new_session=True,
        )
        return cls(process)

    async def line(self) -> str:
        """Give the next line that it prints, or "" when it prints no more."""
        assert self.process.stdout is not None
        line = (await asyncio.wait_for(self.process.stdout.readline(), TIMEOUT)).decode()
        self._lines.append(line)
        return line.rstrip("\n")

    async def started(self) -> list[str]:
        """Wait for the last of the start-up lines, and give all of them."""
        lines = []
        while line := await self.line():
            lines.append(line)
            if line.startswith("Quit the server"):
                return lines
        raise AssertionError(f"it did not start: {await self.end()}")

    async def error(self, part: str) -> str:
        """Give the next line on stderr with `part` in it."""
        assert self.process.stderr is not None
        while line := (await asyncio.wait_for(self.process.stderr.readline(), TIMEOUT)).decode():
            self._errors.append(line)
            if part in line:
                return line.rstrip("\n")
        raise AssertionError(f"it never said {part!r}, but {''.join(self._errors)}")

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    async def end(self) -> Outcome:
        """Wait for its end."""
        try:
            out, err = await asyncio.wait_for(self.process.communicate(), TIMEOUT)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
            raise
        said = "".join(self._errors) + err.decode()
        return Outcome(self.process.returncode, "".join(self._lines) + out.decode(), said)

    async def __aenter__(self) -> Program:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self.process.returncode is None:
            self.process.kill()
            await self.process.communicate()


async def printed(source: str, **environment: str) -> str:
    """Give what a program prints that complains of nothing, and ends well."""
    outcome = await run_program(source, **environment)
    assert (outcome.code, outcome.err) == (0, "")
    return outcome.out


async def run_program(source: str, **environment: str) -> Outcome:
    """Run a program to its end."""
    async with await Program.start(source, **environment) as program:
        return await program.end()
