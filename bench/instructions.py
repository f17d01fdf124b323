"""Instructions per message, in process, counted by callgrind: `python bench/instructions.py [tree] [case …]`.

A count does not depend on what else the machine does: compare the trees before and after a change, each built. What is
counted is a connection over a transport in memory that gets frames, 16 in a read or one, and the whole way of each to
its reply. Each case runs with two numbers of reads, and the difference counts: starting costs nothing.
"""

import asyncio
import gc
import os
import re
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

FEW, MANY = 200, 1200  # reads
REGISTERED = 1000  # routes
MASK = b"\x01\x02\x03\x04"
HELLO = b'{"method":"GET","url":"/hello"}'
ORDER = (
    b'{"method":"POST","url":"/users/17/orders/23","args":{"limit":20,"offset":5},"data":{"number":1,"city":"Oslo",'
    b'"weight":1.5,"express":true,"articles":["pen","ink"]}}'
)
SUBSCRIBE, UNSUBSCRIBE = (b'{"method":"%s","url":"/hello","id":1}' % verb for verb in (b"SUBSCRIBE", b"UNSUBSCRIBE"))
SECRET = "an example's secret, and of 32 bytes or more"


def frame(payload: bytes) -> bytes:
    """Give a masked text frame (RFC 6455 §5.2)."""
    size = len(payload)
    head = struct.pack("!BB", 0x81, 0x80 | size) if size < 126 else struct.pack("!BBH", 0x81, 0x80 | 126, size)
    return head + MASK + bytes(byte ^ MASK[at % 4] for at, byte in enumerate(payload))


def hello(request: Any) -> str:
    return "Hello, world!"


async def hello_async(request: Any) -> str:
    return "Hello, world!"


async def hello_looking(request: Any) -> str:
    asyncio.current_task()
    return "Hello, world!"


async def hello_waiting(request: Any) -> str:
    await asyncio.sleep(0)
    return "Hello, world!"


HELLOS = {"async": hello_async, "looking": hello_looking, "waiting": hello_waiting}


class Anybody:
    """A permission."""

    @staticmethod
    def check(request: Any, handler: Any) -> bool:
        return True


def application(case: str) -> tuple[Any, bytes]:
    """Give the application of `case`, and what a client sends again and again."""
    from msgspec import Struct

    from aiorest_ws import Application, SimpleRouter, endpoint

    router = SimpleRouter()
    options: dict[str, Any] = {}
    message = HELLO
    marks: dict[str, Any] = {"permission": {"permission_classes": [Anybody]}, "threaded": {"threaded": True}}
    if case in ("shared", "subscribe"):
        from aiorest_ws import Live

        marks[case] = {"live": Live(shared=True, interval=3600.0)}  # the value of the first run is that of all

    class Order(Struct):
        number: int
        city: str
        weight: float
        express: bool
        articles: list[str]

    def order(request: Any, user_id: int, order_id: int, data: Order, limit: int = 20, offset: int = 0) -> str:
        return data.city

    if case == "typed":
        router.register_endpoint(endpoint("/users/{user_id}/orders/{order_id}", "POST")(order))
        message = ORDER
    elif case == "dependency":
        from aiorest_ws.dependencies import Depends

        def database(request: Any) -> str:
            return "Hello, world!"

        def needing(request: Any, db: Annotated[str, Depends(database)]) -> str:
            return db

        router.register_endpoint(endpoint("/hello", "GET")(needing))
    else:
        router.register_endpoint(endpoint("/hello", "GET", **marks.get(case, {}))(HELLOS.get(case, hello)))
    if case == "middleware":

        class Middleware:
            def process_request(self, request: Any, handler: Any) -> None:
                request.user = "me"

        options["middlewares"] = [Middleware()]
    if case == "onion":

        async def around(request: Any, call_next: Any) -> Any:
            return await call_next(request)

        async def farther_around(request: Any, call_next: Any) -> Any:
            return await call_next(request)

        options["middlewares"] = [farther_around, around]
    if case == "jwt":
        from aiorest_ws.auth.token.managers import JSONWebTokenManager
        from aiorest_ws.auth.token.middlewares import JSONWebTokenMiddleware

        manager = JSONWebTokenManager(secret_key=SECRET)
        options["middlewares"] = [JSONWebTokenMiddleware(manager)]
        token = manager.generate({"sub": "1"})
        message = HELLO[:-1] + b',"token":"' + (token if isinstance(token, bytes) else token.encode()) + b'"}'
    data = frame(SUBSCRIBE) + frame(UNSUBSCRIBE) if case == "subscribe" else frame(message)
    return Application(router=router, allowed_origins=None, **options), data


class Transport(asyncio.Transport):
    """Counts what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 5000), "sockname": ("127.0.0.1", 80)})
        self.written = bytearray()
        self.replied: asyncio.Queue[None] | None = None

    def write(self, data: Any) -> None:
        self.written += data
        if self.replied is not None:
            self.replied.put_nowait(None)

    def writelines(self, datas: Any) -> None:
        for data in datas:
            self.write(data)

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None: ...

    def close(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


async def opened(factory: Any) -> tuple[Any, Transport]:
    """Give a connection that has done its handshake."""
    protocol = factory()
    transport = Transport()
    protocol.connection_made(transport)
    protocol.data_received(
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    while b"\r\n\r\n" not in transport.written:  # noqa: ASYNC110 (an event would be counted, too)
        await asyncio.sleep(0)
    return protocol, transport


async def serve(case: str, at_once: int, reads: int) -> None:
    app, message = application(case)
    factory = app.prepare()
    protocol, transport = await opened(factory)
    expected, ending = at_once, b'{"data":'
    if case == "subscribe":
        expected, ending = 2 * at_once, b'"status":200'
        another, whose = await opened(factory)
        another.data_received(frame(SUBSCRIBE))
        while ending not in whose.written:  # noqa: ASYNC110
            await asyncio.sleep(0)
    transport.replied = asyncio.Queue() if case == "threaded" else None
    data = message * at_once
    receive: Callable[[bytes], None] = protocol.data_received
    for _ in range(reads):
        transport.written.clear()
        receive(data)
        if transport.replied is not None:
            await transport.replied.get()  # turns of the loop would be counted while it waits
        while transport.written.count(ending) < expected:  # noqa: ASYNC110
            await asyncio.sleep(0)
    if b'"detail"' in transport.written:
        raise SystemExit(f"{case}: {bytes(transport.written)!r}")
    os._exit(0)  # neither the end of the connection nor that of the interpreter is to be counted


async def shake(case: str, count: int) -> None:
    """Open connections one after the other, each of which leaves again; with the door for HTTP open, or without."""
    app, _ = application(case)
    await app.start(port=0, http=case == "handshake-http")
    factory = app._listening
    for _ in range(count):
        protocol, _ = await opened(factory)
        protocol.connection_lost(None)
    os._exit(0)


def register(routes: int) -> None:
    from msgspec import Struct

    from aiorest_ws import SimpleRouter, endpoint

    class Item(Struct):
        number: int

    router = SimpleRouter()
    for at in range(routes):

        def handler(request: Any, item_id: int, data: Item, limit: int = 20) -> int:
            return item_id

        router.register_endpoint(endpoint(f"/items{at}/{{item_id}}", "POST")(handler))
    os._exit(0)


def child(case: str, count: int) -> None:
    gc.disable()
    if case == "registration":
        register(count)
    name, at_once = case.split("/")
    if name.startswith("handshake"):
        asyncio.run(shake(name, count))
    asyncio.run(serve(name, int(at_once), count))


CASES = (
    *("hello/1", "hello/16", "typed/16", "dependency/16", "jwt/16", "middleware/16", "permission/16", "onion/16"),
    *("threaded/1", "shared/16", "subscribe/16"),
    *("async/1", "async/16", "looking/16", "waiting/16", "registration", "handshake/1", "handshake-http/1"),
)


def counted(tree: Path, case: str, count: int) -> int:
    """Give the instructions of a whole process."""
    with tempfile.NamedTemporaryFile() as out:
        command = [
            *("valgrind", "--tool=callgrind", f"--callgrind-out-file={out.name}"),
            *(sys.executable, "-P", str(Path(__file__).resolve()), "--child", case, str(count)),
        ]
        # An environment that is longer moves the stack; dicts by a random hash would be laid out anew each time.
        env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(tree),
            "PYTHONHASHSEED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        done = subprocess.run(command, capture_output=True, text=True, cwd=tree, env=env, check=False)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or found is None:
        raise SystemExit(f"{case} failed:\n{done.stdout}{done.stderr}")
    return int(found[1])


def main(tree: Path, cases: list[str]) -> None:
    for case in cases or CASES:
        few, many = (10, 10 + REGISTERED) if case == "registration" else (FEW, MANY)
        spent = counted(tree, case, many) - counted(tree, case, few)
        each = spent / (many - few) / (1 if case == "registration" else int(case.split("/")[1]))
        print(f"{case:16}{each:12,.0f} instructions per {'route' if case == 'registration' else 'message'}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], int(sys.argv[3]))
    else:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve(), sys.argv[2:])
