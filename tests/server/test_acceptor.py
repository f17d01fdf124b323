"""A listening socket that several processes have: who takes what, and when."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from aiorest_ws.server import acceptor
from aiorest_ws.server.acceptor import Acceptor
from tests.kit.systems import needs_posix
from tests.serving import LOOPS, asynchronous, turn_over, until

pytestmark = needs_posix
on_each_loop = pytest.mark.parametrize("loop", LOOPS)


class Others:
    def __init__(self) -> None:
        self.ahead = False
        self.asked = 0
        self.has_left = False

    def is_ahead(self) -> bool:
        self.asked += 1
        return self.ahead

    def leave(self) -> None:
        self.has_left = True


class Listening:
    """An acceptor, and the protocols that it has made."""

    def __init__(self, sock: socket.socket) -> None:
        self.address = sock.getsockname()
        self.others = Others()
        self.made: list[Any] = []
        self.acceptor = Acceptor(sock, self.protocol, self.others, 16)

    def protocol(self) -> asyncio.Protocol:
        made = self.made

        class Made(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                made.append(transport)

        return Made()

    def connect(self) -> socket.socket:
        client = socket.socket()
        client.connect(self.address)
        return client


class Exhausted(socket.socket):
    """Has no descriptors left for the first that comes."""

    failed = False

    def accept(self) -> tuple[socket.socket, object]:
        if not self.failed:
            self.failed = True
            raise OSError(errno.EMFILE, "too many open files")
        return super().accept()


@asynccontextmanager
async def listening(sock: socket.socket) -> AsyncIterator[Listening]:
    sock.bind(("127.0.0.1", 0))
    there = Listening(sock)
    try:
        yield there
    finally:
        there.acceptor.close()
        await there.acceptor.wait_closed()
        for transport in there.made:
            transport.abort()
        await turn_over()


@on_each_loop
@asynchronous
async def test_connections_get_their_protocols(loop: str) -> None:
    async with listening(socket.socket()) as there:
        clients = [there.connect() for _ in range(3)]
        await until(lambda: len(there.made) == 3)
        for client in clients:
            client.close()


@on_each_loop
@asynchronous
async def test_who_is_ahead_waits_a_moment_and_then_takes_one_all_the_same(loop: str) -> None:
    """Another may be stuck: nobody waits for it for ever."""
    async with listening(socket.socket()) as there:
        there.others.ahead = True
        clients = [there.connect() for _ in range(2)]
        await until(lambda: there.others.asked == 1)
        assert there.made == []
        await until(lambda: len(there.made) == 2)
        assert there.others.asked == 2
        for client in clients:
            client.close()


@on_each_loop
@asynchronous
async def test_nothing_is_accepted_once_it_is_paused_and_the_others_know_when_it_is_closed(loop: str) -> None:
    async with listening(socket.socket()) as there:
        there.acceptor.pause()
        with there.connect():
            await turn_over()
            assert there.made == []
            assert not there.others.has_left
            there.acceptor.close()
            assert there.others.has_left
            assert not there.acceptor.is_serving()


@on_each_loop
@asynchronous
async def test_without_descriptors_it_says_so_and_tries_again_later(loop: str) -> None:
    with pytest.MonkeyPatch.context() as patch, Logged() as said:
        patch.setattr(acceptor, "_RETRY", 0.01)
        async with listening(Exhausted()) as there:
            with there.connect():
                await until(lambda: len(there.made) == 1)
    assert said.lines == ["cannot accept a connection, the next try is in 0.01 s: [Errno 24] too many open files"]


class Logged(logging.Handler):
    """What is logged in its block."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def __enter__(self) -> Logged:
        logging.getLogger("aiorest_ws").addHandler(self)
        return self

    def __exit__(self, *exc_info: object) -> None:
        logging.getLogger("aiorest_ws").removeHandler(self)
