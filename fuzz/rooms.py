"""Random inputs to each room of the hot path, pure against compiled: equal down to the type and text of an exception.
Every batch has a seed of its own, which is printed with the first difference.

    python -m fuzz.rooms --seconds 60 [--inputs 1000000] [--seed 0] [--rooms trie,render]
    python -m fuzz.rooms --rooms trie --only 4711      one batch again
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Any

import orjson

from aiorest_ws import SimpleRouter, _speedups
from aiorest_ws.decorators import endpoint
from fuzz import payloads, sessions
from tests.kit.frames import BINARY, OPEN, TEXT, is_text, make, wire
from tests.swapping import Impl, using

__all__ = ("ROOMS", "Room", "main")

BATCH = 200
MESSAGES = 20
MSGPACK = 6  # codec.BINARY_MSGPACK

Outcome = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Room:
    """inputs    source of chance → a batch of inputs
    outcome   an implementation → what gives everything that can be seen of one input
    each      for how many an input counts
    """

    inputs: Callable[[Random], list[Any]]
    outcome: Callable[[Impl], Outcome]
    each: int = 1


def attempt(function: Callable[..., Any], *args: Any) -> Any:
    """Give the result, or type and text of the error."""
    try:
        return function(*args)
    except Exception as exc:
        return type(exc), str(exc)


def exact(value: Any) -> Any:
    """Give what tells 1 from 1.0 and True, quickly."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return repr(value)


# Payload → request, and what becomes of its fault


def _payloads(source: Random) -> list[tuple[bytes, bool]]:
    chance = source.random
    return [(payloads.payload(source), chance() < 0.5) for _ in range(BATCH)]


def _seen(request: Any, pipeline: Any) -> Any:
    return exact(
        (
            *(request.form, request.method, request.url, request.args, request.data),
            *(request.event_name, request.id, request.extra, repr(pipeline.respond(request))),
        )
    )


def _envelope(impl: Impl) -> Outcome:
    read = impl.envelope.read
    pipeline = impl.pipeline.Pipeline(process=lambda request: b"")  # which is asked unless the request has a fault

    def outcome(given: tuple[bytes, bool]) -> Any:
        return _seen(read(*given, None), pipeline)

    return outcome


# base64 both ways


def _base64(impl: Impl) -> Outcome:
    codec = impl.codec

    def outcome(given: tuple[bytes, bool]) -> Any:
        payload, is_binary = given
        form = codec.recognise(payload, is_binary)
        decoded = attempt(codec.decode, payload, form)
        return (
            form,
            attempt(codec.decode_base64, payload),
            codec.encode(payload, 1),
            decoded if form != MSGPACK else repr(decoded),  # NaN is not equal to itself
        )

    return outcome


# Frames → requests, and replies in their form → frames


def _streams(source: Random) -> list[tuple[bytes, int]]:
    chance = source.random
    batch = []
    for _ in range(BATCH // MESSAGES):
        frames = []
        for _ in range(MESSAGES):
            payload = payloads.payload(source)
            frames.append(wire(payload, BINARY if chance() < 0.5 or not is_text(payload) else TEXT))
        stream = b"".join(frames)
        batch.append((stream, len(stream) if chance() < 0.7 else 1 + int(chance() * 400)))
    return batch


class _Writes(list[bytes]):
    """A transport that keeps what it is given."""

    def write(self, data: bytes) -> None:
        self.append(data)

    def is_closing(self) -> bool:
        return False


def _messages(impl: Impl) -> Outcome:
    pipeline = impl.pipeline.Pipeline(process=lambda request: b"")

    class Reader(impl.frames.Frames):  # type: ignore[name-defined,misc]
        def _receive(self, request: Any) -> None:
            seen = _seen(request, pipeline)
            self.requests.append(seen)
            reply = seen if type(seen) is bytes else b"x"
            if request.form & 1:
                self._write_base64(reply, TEXT)
            else:
                self._write(reply, BINARY)

    def outcome(given: tuple[bytes, int]) -> Any:
        stream, size = given
        reader: Any = Reader()
        reader.transport, reader.state, reader.requests = _Writes(), OPEN, []
        for at in range(0, len(stream), size):
            reader._feed(stream[at : at + size])
        return reader.requests, b"".join(reader.transport), reader._octets, reader._octets_out

    return outcome


# Small frames of every sort, in slices


def _frame_streams(source: Random) -> list[Any]:
    return [payloads.frame_stream(source) for _ in range(BATCH // 4)]


def _frames(impl: Impl) -> Outcome:
    def outcome(given: tuple[bytes, tuple[int, int]]) -> Any:
        stream, (one, other) = given
        frames = make(impl, None)
        at, size = 0, one
        while at < len(stream):
            frames._feed(stream[at : at + size])
            at, size = at + size, one + other - size
        return frames.events, frames.state, frames._fast_frames, frames._unusual_frames

    return outcome


# Values → replies


def _values(source: Random) -> list[tuple[int, Any]]:
    chance = source.random
    return [(int(chance() * len(_REQUESTS)), payloads.value(source)) for _ in range(BATCH)]


_REQUESTS = (
    *(b"{}", b'{"id":7}', b'{"id":"abc","event_name":"e"}', b'{"event_name":{"a":1}}', b'{"id":18446744073709551615}'),
    *(b'{"id":-1}', '{"id":"é","event_name":"\x7f"}'.encode(), b'{"id":0,"event_name":""}', b'{"id":"a\\"b"}'),
    *(b'{"id":9223372036854775807,"event_name":"%s"}' % (b"x" * 900), b'{"id":"%s","event_name":null}' % (b"x" * 256)),
)


def _render(impl: Impl) -> Outcome:
    requests = [impl.envelope.read(payload, False, None) for payload in _REQUESTS]
    render, dumps, write = impl.envelope.render, impl.codec.dumps, impl.codec.write

    def outcome(given: tuple[int, Any]) -> Any:
        number, value = given
        return attempt(render, requests[number], value), attempt(dumps, value), attempt(write, value, MSGPACK)

    return outcome


# Templates and urls


def _urls(source: Random) -> list[tuple[Any, ...]]:
    chance = source.random
    templates = [payloads.template(source) for _ in range(1 + int(chance() * 12))]
    steps: list[tuple[Any, ...]] = [("new",)]
    steps += [("insert", template, ("GET", "POST")[int(chance() * 1.3)], template) for template in templates]
    methods = payloads.METHODS
    for _ in range(BATCH):
        steps.append(("match", methods[int(chance() * len(methods))], payloads.url(source, templates)))
    steps += [("find", template, "GET") for template in templates]
    return steps


def _trie(impl: Impl) -> Outcome:
    trie: Any = None

    def outcome(step: tuple[Any, ...]) -> Any:
        nonlocal trie
        if step[0] == "new":
            trie = impl.trie.Trie()
            return None
        return attempt(getattr(trie, step[0]), *step[1:])

    return outcome


# The whole way


def _router(impl: Impl) -> SimpleRouter:
    @endpoint("/hello", ["GET", "POST"])
    def hello(request: Any) -> Any:
        return request.data or "Hello, world!"

    @endpoint("/later", "GET")
    async def later(request: Any) -> Any:
        return request.extra

    @endpoint("/users/{name}", "GET")
    def user(request: Any, name: str, n: int = 0) -> Any:
        return {"name": name, "n": n, "args": request.args}

    @endpoint("/wide/é/{name}", "GET")
    def wide(request: Any, name: str) -> Any:
        return [name, request.route is not None, request.event_name]

    @endpoint("/created", "GET")
    def created(request: Any) -> Any:
        return impl.wrappers.Response(request.args, status=201)

    @endpoint("/fails", "GET")
    async def fails(request: Any) -> Any:
        raise LookupError(request.data)

    with using(impl):
        router = SimpleRouter()
        for function in (hello, later, user, wide, created, fails):
            router.register_endpoint(function)
    return router


def _pipeline(impl: Impl) -> Outcome:
    reports: list[Any] = []
    pipeline = impl.pipeline.Pipeline(
        _router(impl)._trie, report=lambda request, exc: reports.append((type(exc), str(exc)))
    )

    def outcome(given: tuple[bytes, bool]) -> Any:
        reports.clear()
        reply = pipeline.handle(*given)
        if type(reply) is not bytes:
            try:
                reply.send(None)
            except StopIteration as stop:
                reply = stop.value
        return reply, tuple(reports)

    return outcome


# Clients who subscribe


def _sessions(source: Random) -> list[Any]:
    return [sessions.steps(source) for _ in range(4)]


def _live(impl: Impl) -> Outcome:
    return sessions.outcome if impl.name == "c" else sessions.Elsewhere().outcome


ROOMS = {
    "envelope": Room(_payloads, _envelope),
    "base64": Room(_payloads, _base64),
    "messages": Room(_streams, _messages, each=MESSAGES),
    "frames": Room(_frame_streams, _frames),
    "render": Room(_values, _render),
    "trie": Room(_urls, _trie),
    "pipeline": Room(_payloads, _pipeline),
    "live": Room(_sessions, _live, each=sessions.STEPS),
}


class Difference(Exception):
    """Says for which input the two differ, and how."""


class Pair:
    """A room of both implementations."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.pure, self.compiled = room.outcome(Impl.load("py")), room.outcome(Impl.load("c"))

    def check(self, seed: int) -> int:
        """Run the batch of `seed`; give how many inputs it had."""
        inputs = self.room.inputs(Random(seed))
        pure, compiled = self.pure, self.compiled
        for given in inputs:
            one, other = pure(given), compiled(given)
            if one != other:
                raise Difference(f"{given!r:.2000}\n  pure     {one!r:.1000}\n  compiled {other!r:.1000}")
        return len(inputs) * self.room.each


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fuzz.rooms", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="for how long (%(default)s)")
    parser.add_argument("--inputs", type=int, default=sys.maxsize, help="end after so many, if that is earlier")
    parser.add_argument("--seed", type=int, default=0, help="of the first batch (%(default)s)")
    parser.add_argument("--only", type=int, metavar="SEED", help="this batch and no other")
    parser.add_argument("--rooms", default=",".join(ROOMS), help="which (%(default)s)")
    return parser.parse_args(arguments)


def _seeds(options: argparse.Namespace) -> Iterator[int]:
    return count(options.seed) if options.only is None else iter([options.only])


def main(arguments: list[str] | None = None) -> int:
    """Run, and give 1 if there was a difference."""
    options = _parse(arguments)
    if not _speedups.COMPILED:
        print(f"not run: not compiled ({_speedups.REASON})")
        return 1
    logging.disable(logging.CRITICAL)  # of what clients do wrong
    pairs = {name: Pair(ROOMS[name]) for name in options.rooms.split(",")}
    counted = dict.fromkeys(pairs, 0)
    spent = dict.fromkeys(pairs, 0.0)
    began = time.monotonic()
    for seed in _seeds(options):
        for name, pair in pairs.items():
            start = time.perf_counter()
            try:
                counted[name] += pair.check(seed)
            except Exception as exc:
                print(f"{name}, seed {seed}: {type(exc).__name__}: {exc}")
                print(f"again: python -m fuzz.rooms --rooms {name} --only {seed}")
                return 1
            spent[name] += time.perf_counter() - start
        if time.monotonic() - began >= options.seconds or sum(counted.values()) >= options.inputs:
            break
    for name, number in counted.items():
        print(f"{name:9} {number:>10,} inputs, {number / spent[name]:>7,.0f} a second")
    total, seconds = sum(counted.values()), time.monotonic() - began
    print(f"{total:,} inputs in {seconds:.0f} s, {total / seconds:,.0f} a second: no difference")
    return 0


if __name__ == "__main__":
    sys.exit(main())
