"""Calls of the compiled modules while one allocation fails, the first, the second, … the sixtieth: a process of its
own, as it may end in a crash. `python -m tests.starving frames` prints what it did; test_allocation.py starts it.

orjson and pybase64 crash by themselves when memory fails, so others stand in for them. Of the interpreter's own faults
those are left out that `FAULTS` shows on it alone: where it does not have them, nothing is.
"""

from __future__ import annotations

import asyncio
import binascii
import faulthandler
import gc
import json
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

__all__ = ("CAN_STARVE", "CASES", "main")

# Only CPython's own test module makes allocations fail, and not every distribution ships it.
CAN_STARVE = find_spec("_testcapi") is not None

FAILURES = range(1, 61)

Call = Callable[[], Any]
Case = tuple[str, Callable[[], Call]]  # a name, and what prepares a call


# What a bare interpreter does while one allocation fails; the text in its stderr that tells the fault.
STARVED = """
import _testcapi, faulthandler, json
from functools import partial

def raises(key):
    raise LookupError(key)

def starve(call, failure):
    _testcapi.set_nomemory(failure, failure + 1)
    try:
        call()
    except (MemoryError, LookupError):
        pass
    finally:
        _testcapi.remove_mem_hooks()

faulthandler.enable()
for failure in range(1, 61):
    starve(partial({call}), failure)
"""
LOST = ("without setting an exception", "error return without exception set")
FAULTS = {
    # No memory for the frame of its traceback: neither a result nor an exception. Cython from 3.12 on crashes on that.
    "loses what a function raises": ("raises, 1", LOST[0]),
    # No memory for the functions that the encoder makes in each call: one without a name, which cannot be freed.
    "crashes in json": ("json.dumps, {'a': (1, [2])}, ensure_ascii=False", "Segmentation fault"),
}


def has(fault: str) -> bool:
    """Say whether the interpreter has a fault of `FAULTS`, with nothing of ours in it."""
    call, text = FAULTS[fault]
    command = [sys.executable, "-I", "-c", STARVED.format(call=call)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or text in done.stderr, done.stderr
    return done.returncode != 0


def stand_in() -> None:
    """Put others behind the names `orjson` and `pybase64`, and `json.dumps` where that crashes.

    What they raise they raise in C: see "loses what a function raises".
    """
    known = {payload: json.loads(payload) for name, payload in ENVELOPES.items() if name != "no json"}
    known |= {b'{"a":[1]}': {"a": [1]}, b'{"x":1}': {"x": 1}}
    orjson: Any = ModuleType("orjson")
    orjson.JSONDecodeError = KeyError
    orjson.loads = known.__getitem__
    orjson.dumps = lambda value, default=None, option=None: b"%a" % (value,)
    orjson.OPT_PASSTHROUGH_DATACLASS = 0
    pybase64: Any = ModuleType("pybase64")
    pybase64.b64decode = lambda data, altchars, validate: binascii.a2b_base64(data, strict_mode=validate)
    pybase64.b64encode = lambda data: binascii.b2a_base64(data, newline=False)
    sys.modules.update(orjson=orjson, pybase64=pybase64)
    if has("crashes in json"):
        json.dumps = lambda value, **_: '{"1":null}'


def compiled(module: str) -> Any:
    return import_module(f"aiorest_ws._speedups.{module}_c")


def call_of(make: Callable[[], Any], name: str, *args: Any) -> Call:
    """Prepare a call of a new object's method."""
    return partial(getattr(make(), name), *args)


def same(call: Call) -> Callable[[], Call]:
    """Prepare nothing."""
    return lambda: call


ENVELOPES = {
    "plain": b'{"id":17,"method":"GET","url":"/hello","event_name":"e","args":{"a":[1]},"data":"d"}',
    "spaced": b' {"method": "GET", "url": "/hello", "token": "x"} ',
    "long": b'{"method":"GET","url":"/hello","data":"%s"}' % (b"x" * 600),
    "id refused": b'{"id":[],"method":"GET","url":"/hello"}',
    "no json": b'{"method":',
    "no object": b"[]",
}


def forms() -> Iterator[tuple[str, bytes, bool]]:
    """Give each envelope in each of the four forms."""
    for name, text in ENVELOPES.items():
        for is_binary in (False, True):
            yield f"{name}, {is_binary}", text, is_binary
            yield f"{name}, base64, {is_binary}", binascii.b2a_base64(text, newline=False), is_binary


PACKED = {
    "plain": b"\x83\xa6method\xa3GET\xa3url\xa6/hello\xa4data\x92\xd6\xff\0\0\0\1\xc4\1x",
    "nested": b"\x81\xa4data" + b"\x91" * 40 + b"\xc0",
    "cut": b"\x82\xa6method\xa3GET",
    "bad text": b"\x81\xa1a\xa1\xff",
}


def msgpack() -> Iterator[Case]:
    msgpack = compiled("msgpack")

    for name, payload in PACKED.items():
        yield f"unpack {name}", same(partial(msgpack.unpack, payload))
    yield "pack", same(partial(msgpack.pack, {"a": [1, b"x", None]}))


def codec() -> Iterator[Case]:
    codec = compiled("codec")

    for name, payload, is_binary in forms():
        yield f"recognise {name}", same(partial(codec.recognise, payload, is_binary))
        yield f"decode {name}", same(partial(codec.decode, payload, codec.recognise(payload, is_binary)))
    yield "decode base64", same(partial(codec.decode_base64, b"e30="))
    yield "decode bad base64", same(partial(codec.decode_base64, b"e31="))
    yield "encode", same(partial(codec.encode, b"{}", codec.TEXT_BASE64))
    for value in ({"a": [1, "b", None]}, {1: 2.5}, {"a": (1, {2})}, 2**70, codec.decode):
        yield f"dumps {value!r:.20}", same(partial(codec.dumps, value))
        yield f"plain {value!r:.20}", same(partial(codec.plain, value))
        yield f"write {value!r:.20}", same(partial(codec.write, value, codec.BINARY_MSGPACK))


def wrappers() -> Iterator[Case]:
    wrappers = compiled("wrappers")

    def look(request: Any) -> Any:
        return request.args, request.extra, request.token, request.get_argument("a"), repr(request), request.route

    envelope = {"id": "x" * 257, "method": "GET", "url": "/", "token": "t"}
    yield "request", same(partial(wrappers.Request, **envelope))
    yield "wrap", same(partial(wrappers.wrap, envelope, 0, None))
    yield "blank", same(partial(wrappers.blank, 0, None))
    yield "failed", same(partial(wrappers.failed, ValueError(), 0, None))
    yield "attributes", lambda: partial(look, wrappers.wrap(dict(envelope), 0, None))
    yield "missing attribute", lambda: partial(getattr, wrappers.wrap(envelope, 0, None), "missing", None)
    yield "check id", lambda: partial(wrappers.check_id, wrappers.wrap(envelope, 0, None))
    yield "response", same(partial(wrappers.Response, "x", status=201))
    yield "append", lambda: partial(wrappers.Response(1).append_request, wrappers.wrap(envelope, 0, None))


def keeping() -> Iterator[Case]:
    module = compiled("keeping")
    sent = {"method": "GET", "url": "/", "args": {"a": [1]}, "event_name": ["e"], "id": 1, "since": 3, "token": "t"}

    class Other(compiled("wrappers").Request):  # type: ignore[misc]
        pass

    def request() -> Any:
        return compiled("wrappers").wrap(dict(sent), 0, None)

    yield "again", lambda: partial(module.again, request())
    yield "again, as another", lambda: partial(module.again, request(), Other)
    yield "kept", lambda: partial(module.kept, request(), True)
    yield "weight", lambda: partial(module.weight_of, request())
    yield "method", lambda: partial(module.set_method, request(), "POST")
    yield "status", lambda: partial(module.set_status, request(), 201)
    yield "renderers", lambda: partial(module.renders_otherwise, request())


def envelope() -> Iterator[Case]:
    envelope = compiled("envelope")

    for name, payload, is_binary in forms():
        yield f"read {name}", same(partial(envelope.read, payload, is_binary, None))
    for name, payload in PACKED.items():
        yield f"read packed {name}", same(partial(envelope.read, payload, True, None))
    for name in ("plain", "spaced"):
        request = envelope.read(ENVELOPES[name], False, None)
        for value in ("ab", None, "x" * 2000, "é", {"a": 1}):
            yield f"render {name}, {value!r:.10}", same(partial(envelope.render, request, value))


TEMPLATES = ("/", "/hello/", "/users/{id}/", "/a{x}b/{y}.{z}/", "/wide/é/{n}/", "/{a}/{b}/{c}/{d}/")
URLS = ("/", "/hello", "/users/7", "/axb/1.2.3/", "/wide/é/é", "/1/2/3/4", "/none/", "/\x01", "/😀/b/c/d", " /hello ")


def trie() -> Iterator[Case]:
    module = compiled("trie")

    def grown() -> Any:
        trie = module.Trie()
        for template in TEMPLATES:
            trie.insert(template, "GET", template)
        return trie

    yield "new", same(module.Trie)
    for template in TEMPLATES:
        yield f"insert {template}", partial(call_of, module.Trie, "insert", template, "GET", 1)
        yield f"insert again {template}", partial(call_of, grown, "insert", template, "GET", 1)
        yield f"find {template}", partial(call_of, grown, "find", template, "GET")
    for url in URLS:
        for method in ("GET", " get", "PUT", None):
            yield f"match {method} {url}", partial(call_of, grown, "match", method, url)


def plan() -> Iterator[Case]:
    cls = compiled("plan").Plan
    yield "new", same(lambda: cls(None, None, print, bare=True, fit=dict, takes_nothing=True, permissions=(print,)))


def proof() -> Iterator[Case]:
    request = compiled("wrappers").wrap({"token": "t"}, 0, None)
    known = compiled("proof").Proof(None, "t", {"sub": "ada"}, None, 5.0)
    yield "new", same(partial(compiled("proof").Proof, None, "t", {}, None, 5.0))
    yield "recall", same(partial(known.recall, request, None, 4.0))


def meter() -> Iterator[Case]:
    module = compiled("meter")

    def counting() -> Any:
        meters = module.Meters()
        meters.add(None, 404, 0.5)
        return meters

    yield "new", same(module.Meters)
    for status in (200, 404):
        yield f"add {status}", partial(call_of, module.Meters, "add", None, status, 0.5)
        yield f"add again {status}", partial(call_of, counting, "add", None, status, 0.5)
    yield "items", partial(call_of, counting, "items")
    yield (
        "read",
        lambda: partial(lambda meter: (meter.statuses, meter.buckets, meter.seconds), counting().items()[0][1]),
    )


def replies() -> Iterator[Case]:
    module = compiled("replies")
    wrap = compiled("wrappers").wrap
    yield "new", same(partial(module.Replies, debug=True))

    def refusing(exc: BaseException) -> Call:
        return partial(module.Replies().refuse, wrap({"id": 1, "event_name": "é"}, 0, None), exc)

    for exc in (LookupError("failed"), compiled("codec").EMPTY):
        yield f"refuse {exc!r}", partial(refusing, exc)


def guards() -> Iterator[Case]:
    from aiorest_ws.auth.permissions import IsAuthenticated

    module = compiled("guards")

    def asking(check: Any, user: Any) -> Call:
        request = compiled("wrappers").wrap({}, 0, None)
        request.user = user
        return partial(check.ask, request, None, None)

    yield "new", same(partial(module.Check, IsAuthenticated))
    for name, user in _users():
        yield f"is authenticated {name}", same(partial(module.is_authenticated, user))
        yield f"ask {name} whether there is a user", partial(asking, module.Check(), user)
        yield f"ask {name} for a permission", partial(asking, module.Check(IsAuthenticated), user)


def passage() -> Iterator[Case]:
    yield "new", same(compiled("passage").Passage)


def _users() -> Iterator[tuple[str, Any]]:
    from aiorest_ws.auth.user.models import User

    yield from (("nobody", None), ("somebody", User(is_user=True)), ("no answer", print))


def pipeline() -> Iterator[Case]:
    yield from ((f"handle {name}", same(call)) for name, call in _handled())


def _handled() -> Iterator[tuple[str, Call]]:
    server = _server()
    for name, payload, is_binary in forms():
        yield name, partial(server.handle, payload, is_binary)
    for url in ("/hello", "/later", "/users/7", "/fails", "/created", "/none"):
        for rest in (b"", b',"id":1', b',"args":{"x":1}'):
            payload = b'{"method":"GET","url":"%s"%s}' % (url.encode(), rest)
            yield payload.decode(), partial(_finish, server, payload)
    yield "405", partial(server.handle, b'{"method":"PUT","url":"/hello"}', False)


def _finish(server: Any, payload: bytes) -> Any:
    """Run a coroutine that waits for nothing to its end."""
    reply = server.handle(payload, False)
    if not isinstance(reply, bytes):
        try:
            reply.send(None)
        except StopIteration as stop:
            return stop.value
        finally:
            reply.close()
    return reply


def _server() -> Any:
    from aiorest_ws import Response, SimpleRouter, endpoint

    router = SimpleRouter()

    @endpoint("/hello", "GET")
    def hello(request: Any) -> str:
        return "hello"

    @endpoint("/later", "GET")
    async def later(request: Any) -> str:
        return "later"

    @endpoint("/users/{name}", "GET")
    def user(request: Any, name: str) -> dict[str, str]:
        return {"name": name}

    def failing(request: Any) -> None:
        raise LookupError("failed")

    fails = endpoint("/fails", "GET")(len if has("loses what a function raises") else failing)  # a request has none

    @endpoint("/created", "GET")
    def created(request: Any) -> Response:
        return Response("x", status=201)

    for function in (hello, later, user, fails, created):
        router.register_endpoint(function)
    return compiled("pipeline").Pipeline(router._trie)


def deflate() -> Iterator[Case]:
    from tests.kit.frames import packed

    module = compiled("deflate")

    def unpacking(takes_over: bool, data: bytes, is_last: bool) -> Call:
        return partial(module.Unpacker(12, takes_over=takes_over).unpack, data, is_last)

    def packing(takes_over: bool, message: bytes) -> Call:
        return partial(module.Packer(12, 5, takes_over=takes_over).pack, message)

    payloads = {
        "short": packed(ENVELOPES["plain"]),
        "long": packed(b"x" * 200_000),
        "final": packed(b"x" * 200, mode=zlib.Z_FINISH),
        "garbage": b"\xff" * 20,
        "empty": b"",
    }
    for takes_over in (False, True):
        for name, data in payloads.items():
            for is_last in (False, True):
                yield f"unpack {name}, {takes_over}, {is_last}", partial(unpacking, takes_over, data, is_last)
        for size in (0, 100, 100_000):
            yield f"pack {size}, {takes_over}", partial(packing, takes_over, b"x" * size)


def frames() -> Iterator[Case]:
    from tests.kit.frames import PING, PONG, Packs, packed, wire
    from tests.swapping import Impl

    impl = Impl.load("c")

    def writing(name: str, size: int) -> Call:
        return partial(_write, _reader(impl), name, size)

    whole = {
        "text": wire(b"hello"),
        "long": wire(b"x" * 600),
        "request": wire(ENVELOPES["plain"]),
        "ping": wire(b"p", PING),
        "pong": wire(b"p", PONG),
        "invalid text": wire(b"\xff"),
        "unusual": wire(b"f", fin=False),
        "pipelined": wire(ENVELOPES["plain"]) * 20,
    }
    for name, data in whole.items():
        yield f"feed {name}", partial(call_of, partial(_reader, impl), "_feed", data)
    for sizes in ((10, 5000, 20_000), (4000, 4000, 1), (1, 1, 1), (30_000, 70_000)):
        for at in range(len(sizes) + 1):
            yield f"pieces of {sizes}, {at}", partial(Part, impl, sizes, at)
    for size in (5, 600, 5000, 70_000):
        yield f"header {size}", partial(call_of, lambda: impl.frames, "header", 0x81, size)
        for name in ("_write", "_write_base64"):
            yield f"{name} {size}", partial(writing, name, size)
    compressed = {
        "whole": wire(packed(b"x" * 600), rsv=4),
        "fragments": wire(packed(b"x" * 600)[:5], rsv=4, fin=False) + wire(packed(b"x" * 600)[5:], 0),
        "garbage": wire(b"\xff" * 20, rsv=4),
        "too large": wire(packed(b"x" * 70_000), rsv=4),
    }
    for name, data in compressed.items():
        agreed = partial(_reader, impl, packs=Packs(), _limit=60_000)
        yield f"feed compressed {name}", partial(call_of, agreed, "_feed", data)


def _reader(impl: Any, **options: Any) -> Any:
    """Give an open connection that echoes."""
    from tests.kit.frames import BINARY, TEXT, make

    def echo(frames: Any, event: Any) -> None:
        if event[0] == "message":
            frames._write(event[1], BINARY if event[2] else TEXT)
            frames._write_base64(event[1], TEXT)

    return make(impl, echo, **options)


def _write(frames: Any, name: str, size: int) -> None:
    frames._gathers = True
    getattr(frames, name)(b"x" * 10, 1)
    getattr(frames, name)(b"x" * size, 1)
    frames._flush()


class Part:
    """The read of number `at` of a message that comes in pieces of `sizes`."""

    def __init__(self, impl: Any, sizes: tuple[int, ...], at: int) -> None:
        from tests.kit.frames import messages, wire

        self.frames = _reader(impl)
        self.messages = messages
        self.payload = b"".join(bytes([65 + number]) * size for number, size in enumerate(sizes))
        data = wire(self.payload)
        starts = [0, *(len(data) - len(self.payload) + sum(sizes[:number]) for number in range(len(sizes)))]
        pieces = [data[start:end] for start, end in zip(starts, [*starts[1:], len(data)], strict=True)]
        for piece in pieces[:at]:
            self.frames._feed(piece)
        self.piece, self.rest = pieces[at], [*pieces[at + 1 :], *pieces]

    def __call__(self) -> None:
        self.frames._feed(self.piece)

    def check(self) -> None:
        """Go on as if nothing had happened: messages may be lost, but what comes is what was sent."""
        for piece in self.rest:
            self.frames._feed(piece)
        assert set(self.messages(self.frames)) <= {self.payload}


def eager() -> Iterator[Case]:
    eager = compiled("eager")

    loop = asyncio.new_event_loop()

    async def handler() -> str:
        return "done"

    async def waiting() -> None:
        await asyncio.sleep(0)

    async def nothing() -> None:
        await asyncio.sleep(0)

    task = loop.create_task(nothing())
    lookout = eager.Lookout(loop, task)
    yield "to the end", lambda: partial(_stepped, eager.first_step, handler(), lookout)
    yield "to a wait", lambda: partial(_stepped, eager.first_step, waiting(), lookout)
    loop.run_until_complete(task)
    loop.close()


def _stepped(first_step: Any, coroutine: Any, lookout: Any) -> Any:
    try:
        return first_step(coroutine, copy_context(), lookout)
    finally:
        coroutine.close()


def tasks() -> Iterator[Case]:
    module = compiled("tasks")
    loop = asyncio.new_event_loop()
    yield "new", same(partial(module.SpareTasks, loop))
    yield "take", lambda: module.SpareTasks(loop).take
    yield "close", lambda: module.SpareTasks(loop).close
    loop.close()


def flow() -> Iterator[Case]:
    from tests.kit.frames import Transport

    module = compiled("flow")

    def opened() -> Any:
        flow = module.Flow()
        flow.state, flow._transport, flow._loop = 3, Transport([]), Turns()
        return flow

    def paused() -> Any:
        flow = opened()
        flow.pause_writing()
        flow._push([b"x" * 300], 0)
        return flow

    def sliced(flow: Any) -> None:
        flow._on_slice()
        flow._loop.turn()

    yield "new", same(module.Flow)
    for form in (0, 1, 6):
        yield f"push, {form}", partial(call_of, opened, "_push", [b"x" * 300, b"{}"], form)
    yield "slice", lambda: partial(sliced, opened())
    yield "pause", partial(call_of, opened, "pause_writing")
    yield "resume", partial(call_of, paused, "resume_writing")


def connection() -> Iterator[Case]:
    from tests.kit.frames import Transport, wire

    server = _server()
    loop = asyncio.new_event_loop()

    def opened() -> Any:
        connection = compiled("connection").Connection()
        connection.state, connection._transport = 3, Transport([])
        connection._loop, connection._pipeline = loop, server
        return connection

    def served(connection: Any, data: bytes) -> None:
        try:
            connection.data_received(data)
        finally:
            connection._drop()

    def serving(data: bytes) -> Call:
        return partial(served, opened(), data)

    for name, payload, is_binary in forms():
        data = wire(payload, 2 if is_binary else 1)
        yield name, partial(serving, data * 2)
    yield "new", same(opened)
    loop.close()


class Turns:
    """A loop that keeps what is to be called, and calls it when it is told to."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def call_soon(self, call: Callable[..., Any], *args: Any, context: Any = None) -> None:
        self.calls.append(partial(call, *args))

    def time(self) -> float:
        return 1.0

    def turn(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


def fanout() -> Iterator[Case]:
    from tests.kit.frames import Transport

    module = compiled("fanout")
    pushes = [b'{"event_name":"/a","data":1}', b"x" * 300]

    def told(form: int, tell: Callable[[list[Any], Any, Any], Any]) -> Call:
        loop = Turns()
        outbox = module.Outbox(loop, copy_context)
        subscribers = []
        for packs in (False, True):
            connection = compiled("connection").Connection()
            connection.state, connection._transport = 3, Transport([])
            if packs:
                connection._packer = compiled("deflate").Packer(12, 5, takes_over=False)
                connection._packs_from = 100
            subscribers.append(module.Subscriber(connection, form, 1))

        def call() -> None:
            tell(subscribers, outbox, module.Fan(outbox, lambda _: pushes))
            loop.turn()

        return call

    for form in (0, 1, 6):
        yield f"log, {form}", partial(told, form, lambda those, _, fan: module.fan_out(those, fan, 1, 3, 0))
        yield f"state, {form}", partial(told, form, lambda those, _, fan: module.fan_out_state(those, fan, None, 3, 1))
    yield "forms", partial(told, 6, lambda those, *_: module.forms_of(those))
    yield "push", partial(told, 1, lambda those, outbox, _: outbox.push(those[0].connection, pushes, 1))
    yield "soon", partial(told, 0, lambda _, outbox, __: outbox.soon(outbox._turn))


def carried() -> Iterator[Case]:
    module = compiled("carried")
    server = _server()
    loop = asyncio.new_event_loop()

    def done(value: Any) -> Any:
        future = loop.create_future()
        future.set_result(value)
        return future

    def driven(coroutine: Any) -> None:
        try:
            coroutine.send(None)
        except StopIteration:
            pass
        finally:
            coroutine.close()

    def guest() -> Any:
        guest = module.Carried()
        guest.state, guest._loop, guest._pipeline, guest._outgoing = 3, loop, server, module.Outgoing()
        guest.is_held, guest.is_due, guest._writes_replies, guest._is_plain = False, True, False, True
        return guest

    def told(over: bool) -> Call:
        outgoing = module.Outgoing()
        for what in ("text", b"bytes"):
            outgoing.say(what, len(what))
        outgoing.end() if over else outgoing.say(None, 0)
        sent = iter([done(None), done(None)])
        return lambda: driven(outgoing.tell(partial(next, sent), list))

    def heard(**message: Any) -> Call:
        events = iter([done({"type": "websocket.receive", **message}), done({"type": "websocket.disconnect"})])
        return lambda: driven(guest()._hear(events.__next__))

    def served(message: Any) -> Call:
        one = guest()
        one.ahead.put(message)
        return one._catch_up  # type: ignore[no-any-return]

    yield "new", same(module.Carried)
    yield "say", partial(call_of, module.Outgoing, "say", "x", 70_000)
    for over in (False, True):
        yield f"tell, {over}", partial(told, over)
    yield "hear text", partial(heard, text="text")
    yield "hear bytes", partial(heard, bytes=b"bytes")
    for name, payload, is_binary in forms():
        yield name, partial(served, payload if is_binary else payload.decode())
    loop.close()


CASES: dict[str, Callable[[], Iterator[Case]]] = {
    function.__name__: function
    for function in (
        *(msgpack, codec, wrappers, keeping, envelope, trie, proof, plan, meter, replies, guards, passage, pipeline),
        *(deflate, frames, eager, tasks),
        *(flow, connection, carried, fanout),
    )
}


def starve(prepare: Callable[[], Call]) -> int:
    """Make the call with each allocation failing in turn; give how often that was seen."""
    from aiorest_ws.exceptions import BaseAPIException

    expected = (BaseAPIException, TypeError, ValueError, KeyError)
    hooks: Any = import_module("_testcapi")
    seen = 0
    with suppress(*expected):
        prepare()()  # what is imported and kept the first time
    for failure in FAILURES:
        call = prepare()
        hooks.set_nomemory(failure, failure + 1)
        try:
            call()
        except MemoryError:
            seen += 1
        except expected:
            pass  # as the call would end with memory
        except SystemError as exc:
            if not str(exc).endswith(LOST):  # else the interpreter's own: see `FAULTS`
                raise
        finally:
            hooks.remove_mem_hooks()
        if isinstance(call, Part):
            call.check()
    return seen


def main(module: str) -> None:
    faulthandler.enable()
    stand_in()
    from aiorest_ws import _speedups

    assert _speedups.COMPILED, _speedups.REASON
    cases = seen = 0
    for name, prepare in CASES[module]():
        print(name, flush=True)  # the last one is the one that crashed
        seen += starve(prepare)
        cases += 1
    gc.collect()
    print(f"{module}: {cases} calls, {seen} failed allocations seen, no crash")


if __name__ == "__main__":
    main(sys.argv[1])
