"""Any one message of 1 MiB, odd in every way that a client may choose, and another client that waits beside it."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from hold.probe import probing
from hold.process import Server
from hold.row import Row, Start, warm
from hold.wire import Gone, Wire
from tests.serving import BINARY, CLOSE, TEXT, dump, frame

__all__ = ("echoed_names", "one_message", "xml")

_SIZE = (1 << 20) - 2_000
_MOST = {("compiled", "json"): 150, ("compiled", "msgpack"): 250, ("pure", "json"): 1000, ("pure", "msgpack"): 1500}
_PRIME = 2**61 - 1  # numbers that are the same modulo it have the same hash
_QUESTION = frame(dump({"method": "GET", "url": "/hello"}))

Named = tuple[str, bytes]


def one_message(start: Start) -> Iterator[Row]:
    """Send them to the views that anybody may call, and to those that ask for sets, dicts, Decimals and models."""
    for form in ("json", "msgpack"):
        yield from _row(start, "one message of 1 MiB", form, [*_to_plain_views(form)])
        yield from _row(start, "one message of 1 MiB to views with types", form, [*_to_typed_views(form)])


def xml(start: Start) -> Iterator[Row]:
    """Send them to a view that answers in XML."""
    for form in ("json", "msgpack"):
        yield from _row(start, "one message of 1 MiB, answered in XML", form, [*_to_xml(form)])


def echoed_names(start: Start) -> Iterator[Row]:
    """Send them as `event_name`, which every reply repeats, to a url that is none."""
    for form in ("json", "msgpack"):
        yield from _row(start, "an event_name of 1 MiB", form, [*_as_event_name(form)])


def _row(start: Start, title: str, form: str, messages: list[Named]) -> Iterator[Row]:
    """Tell the longest wait; what others wait too long for is sent again, and the best of three turns counts."""
    with start() as server:
        most = _MOST[server.path, form]
        warm(server)
        waits = _waits(server, messages)
        for _ in range(2):
            late = [named for named in messages if waits[named[0]] > most]
            again = _waits(server, late) if late else {}
            waits |= {name: min(waits[name], wait) for name, wait in again.items()}
    which = max(waits, key=waits.__getitem__)
    yield Row(
        f"{title}, {form}",
        f"another client waits {waits[which]:.0f} ms at most ({which}), of {len(waits)} messages",
        f"≤ {most} ms",
        waits[which] <= most,
    )


def _waits(server: Server, messages: Iterable[Named]) -> dict[str, float]:
    """Send them one after another, and give how many milliseconds another client waited at most beside each."""
    spans: dict[str, tuple[float, float]] = {}
    with probing(server) as latency:
        for name, message in messages:
            began = time.monotonic()
            with Wire(server.address) as wire:
                wire.send(message)
                if wire.receive(60).opcode == CLOSE:
                    raise Gone(f"{name}: refused as a whole")
                for _ in range(3):  # turns of the loop, in which the server lets go of it
                    wire.send(_QUESTION)
                    wire.receive(60)
            spans[name] = began, time.monotonic()
    return {name: latency.worst_between(*span) for name, span in spans.items()}


_UNITS = {"[]": [], "[[]]": [[]], "{}": {}, "0": 0, "1.5": 1.5, '""': ""}


def _flat(unit: Any, form: str) -> Any:
    return [unit] * (_SIZE // (len(_written(unit, form)) + (form == "json")))


def _wide(unit: Any, form: str) -> Any:
    return {f"{at:x}": unit for at in range(_SIZE // (len(_written(unit, form)) + 9))}


def _deep(unit: Any, form: str) -> Any:
    value = _flat(unit, form)
    for _ in range(380):
        value = [value]
    return value


def _to_plain_views(form: str) -> Iterator[Named]:
    for name, unit in _UNITS.items():
        for shape in (_flat, _wide, _deep):
            yield _message(f"{shape.__name__[1:]} {name} to", "/echo", {"data": shape(unit, form)}, form)
    for key in ("args", "more", "id", "token"):
        yield _message(f"flat [[]] as {key} to", "/hello", {"method": "GET", key: _flat([[]], form)}, form)
        yield _message(f"wide 0 as {key} to", "/hello", {"method": "GET", key: _wide(0, form)}, form)
    if form == "msgpack":
        yield _message("flat timestamps to", "/echo", {"data": _flat(datetime.fromtimestamp(0, UTC), form)}, form)
    else:
        text = dump({"method": "POST", "url": "/echo", "data": [[]] * (_SIZE // 6)})
        yield "flat [[]] in base64 to /echo", frame(base64.b64encode(text), TEXT)


def _to_xml(form: str) -> Iterator[Named]:
    for name, unit in _UNITS.items():
        for shape in (_flat, _wide, _deep):
            yield _message(f"{shape.__name__[1:]} {name} to", "/xml", {"data": shape(unit, form)}, form)
    most = {f"_{at}": "<" for at in range(49_990)}
    yield _message("as many elements as there may be to", "/xml", {"data": most}, form)


def _as_event_name(form: str) -> Iterator[Named]:
    for name in ("[]", "[[]]", "{}"):
        for shape in (_flat, _deep):
            value = shape(_UNITS[name], form)
            yield _message(f"{shape.__name__[1:]} {name} to", "/nowhere", {"event_name": value}, form)


def _to_typed_views(form: str) -> Iterator[Named]:
    numbers = [str(at) for at in range(_SIZE // 11)]
    ids = [str(UUID(int=at)) for at in range(_SIZE // 40)]
    alike = [str(UUID(int=at * _PRIME)) for at in range(_SIZE // 40)]
    bodies: dict[str, dict[str, Any]] = {
        "uuids": {"different": ids, "alike": alike},
        "decimals": {"fractions": _flat(1.5, form), "integers": _flat(0, form), "texts": numbers},
        "prices": {"fractions": _flat(1.5, form), "integers": _flat(0, form), "texts": numbers},
        "counts": {"ordinary": dict.fromkeys(numbers, 0), "beyond": {"1" * 4000 + name: 0 for name in numbers[:250]}},
        # Not `{}`, for models whose fields all have defaults: that is pydantic's time, as docs/security.md says.
        "models": {"alike": [{"ids": alike}], "wrong": _flat(0, form)},
        "required": {"empty": _flat({}, form)},
    }
    for view, values in bodies.items():
        for name, value in {**values, "[[]]": _flat([[]], form)}.items():
            yield _message(f"{name} to", f"/typed/{view}", {"data": value}, form)


def _message(name: str, url: str, rest: dict[str, Any], form: str) -> Named:
    payload = _written({"method": "POST", "url": url, **rest}, form)
    return f"{name} {url}", frame(payload, BINARY if form == "msgpack" else TEXT)


def _written(value: Any, form: str) -> bytes:
    return msgspec.msgpack.encode(value) if form == "msgpack" else dump(value)
