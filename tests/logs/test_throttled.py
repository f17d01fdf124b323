"""What clients can make the server write to its log: little, escaped, and nothing secret."""

from __future__ import annotations

import logging
import struct
from types import SimpleNamespace
from typing import Any

import pytest

from aiorest_ws import SimpleRouter, endpoint
from aiorest_ws.logs.throttled import Complaints, printable
from tests.serving import (
    CLOSE,
    CONTINUATION,
    LOOPS,
    TEXT,
    Client,
    HandshakeRefused,
    asynchronous,
    factory_of,
    make_router,
    serving,
)

on_each_loop = pytest.mark.parametrize("loop", LOOPS)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name != "asyncio"]


def stop_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiorest_ws.logs.throttled.time", SimpleNamespace(monotonic=lambda: 0.0))


def test_a_flood_is_cut_and_counted(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_time(monkeypatch)
    complaints = Complaints(logging.getLogger("aiorest_ws"))
    for n in range(1000):
        complaints.write(logging.WARNING, f"line {n}")
    assert lines(caplog) == [f"line {n}" for n in range(100)]
    assert complaints.left_out == 900


def test_what_was_left_out_is_said_with_the_next_line(caplog: pytest.LogCaptureFixture) -> None:
    complaints = Complaints(logging.getLogger("aiorest_ws"))
    complaints.left_out = 7
    complaints.write(logging.WARNING, "next")
    complaints.write(logging.WARNING, "after")
    assert lines(caplog) == ["next (and 7 more like it that are not shown)", "after"]


def test_a_line_that_is_not_shown_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("ERROR", "aiorest_ws")
    complaints = Complaints(logging.getLogger("aiorest_ws"))
    for _ in range(1000):
        complaints.write(logging.INFO, "line")
    assert (lines(caplog), complaints.left_out) == ([], 0)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb", r"a\nb"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\u202eright to left", r"\u202eright to left"),
        ("ä%s{}", r"\xe4%s{}"),
        ("x" * 5000, "x" * 280),
    ],
)
def test_text_of_a_client_is_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


@on_each_loop
@pytest.mark.parametrize(
    "sent",
    [
        [(b"x", CONTINUATION)],
        [(b"\xff", TEXT), (b"\xff", TEXT)],
        [(b"x", 0xB)],
        [(struct.pack("!H", 999) + b"\nfake line", CLOSE)],
    ],
    ids=("stray fragment", "no UTF-8", "reserved opcode", "close code"),
)
@asynchronous
async def test_hostile_connection_is_worth_one_line(
    loop: str, sent: list[tuple[bytes, int]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with serving(make_router(), close_timeout=0.1) as app, await Client.connect(app) as client:
        for payload, opcode in sent:
            client.send(payload, opcode)
        assert (await client.receive()).opcode == CLOSE
        await client.eof()  # it does not answer the close frame: another reason to complain
    (line,) = lines(caplog)
    assert line.startswith("tcp4:127.0.0.1:")
    assert "\n" not in line


@asynchronous
async def test_a_handler_that_always_fails_does_not_flood_the_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_time(monkeypatch)

    @endpoint("/fails", "GET")
    def fails(request: Any) -> None:
        raise ValueError("as ever")

    router = SimpleRouter()
    router.register_endpoint(fails)
    async with serving(router) as app, await Client.connect(app) as client:
        for n in range(500):
            client.request(url="/fails", id=n)
        for _ in range(500):
            assert (await client.reply())["status"] == 500
        assert len(lines(caplog)) == 100
        assert factory_of(app).failures.left_out == 400


@asynchronous
async def test_no_secret_gets_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    @endpoint("/fails", "GET")
    def fails(request: Any, **args: Any) -> None:
        raise ValueError("as ever")

    router = SimpleRouter()
    router.register_endpoint(fails)
    headers = [("Authorization", "Bearer s3cret"), ("Cookie", "session=s3cret")]
    async with (
        serving(router, access_log=True) as app,
        await Client.connect(app, "/?token=s3cret", headers=headers) as client,
    ):
        await client.ask(url="/fails", args={"password": "s3cret"}, data={"password": "s3cret"}, token="s3cret")
        await client.ask(url="/nowhere", token="s3cret")
        client.send(b'{"token":"s3cret"')
        await client.reply()
        client.send(b"s3cret", CONTINUATION)
        await client.left()
    assert len(lines(caplog)) >= 3
    assert "s3cret" not in caplog.text


@asynchronous
async def test_refused_handshakes_use_up_no_line_of_a_handler_that_fails(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_time(monkeypatch)

    def fails(request: Any) -> None:
        raise ValueError("as ever")

    async with serving(make_router(fails=fails)) as app, await Client.connect(app) as client:
        for _ in range(120):
            with pytest.raises(HandshakeRefused):
                await Client.connect(app, headers=[("Origin", "https://elsewhere.example")])
        for n in range(36):
            assert (await client.ask(url="/fails", id=n))["status"] == 500
    assert len([line for line in lines(caplog) if "'/fails' failed" in line]) == 36
    assert len(lines(caplog)) == 136
