"""The clients of a soak that do what no client should, in turns. What they are answered is not checked."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable

from soak.member import Exchange, Member
from tests.serving import BINARY, CLOSE, CONTINUATION, TEXT, Client, HandshakeRefused, dump, frame

__all__ = ("Hostile",)

_SLOW = dump({"method": "POST", "url": "/sleep", "args": {"seconds": 2}, "data": "never read", "id": 1})
_LARGE = dump({"method": "POST", "url": "/echo", "data": "x" * 10_000})


class Hostile(Member):
    """Behaves for a while, so that there is something to lose, then does the next of `ACTS`."""

    async def live(self) -> None:
        acts = list(ACTS.values())
        act = acts[(next(self.connections) + self.number) % len(acts)]
        try:
            async with asyncio.timeout(60):
                if act in BEFORE_THE_HANDSHAKE:
                    await act(self, await asyncio.open_connection(*self.address))
                else:
                    await self._misbehave(act)
        except (OSError, EOFError, AssertionError, HandshakeRefused):
            pass  # the server ended it first
        self.tally.hostile += 1
        await asyncio.sleep(self.chance.uniform(0, 10 * self.think))

    async def _misbehave(self, act: Callable[..., Awaitable[None]]) -> None:
        exchange = await self.connect()
        try:
            for _ in range(self.chance.randrange(4)):
                exchange.ask(3)
                await exchange.take()
            await act(self, exchange)
        finally:
            exchange.client.abort()


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def reset(hostile: Hostile, exchange: Exchange) -> None:
    exchange.ask(20)
    exchange.client.send(_SLOW)
    await exchange.drain()
    await asyncio.sleep(hostile.chance.choice((0, 0.01)))
    exchange.client.reset()


async def reset_with_replies_unread(hostile: Hostile, exchange: Exchange) -> None:
    await never_read(hostile, exchange, seconds=1)
    exchange.client.reset()


async def half_close(hostile: Hostile, exchange: Exchange) -> None:
    exchange.ask(20)
    exchange.client.writer.write_eof()
    while await asyncio.wait_for(exchange.client.reader.read(1 << 16), 10):
        pass


async def vanish(hostile: Hostile, exchange: Exchange) -> None:
    """Leave with requests in flight, without a close frame."""
    for _ in range(hostile.chance.choice((5, 200))):  # within the window and beyond it
        exchange.client.send(_SLOW)
    await asyncio.sleep(0.05)
    exchange.client.abort()


async def never_read(hostile: Hostile, exchange: Exchange, seconds: float = 20) -> None:
    """Send as much as the server takes, read nothing until it drops us or `seconds` are over."""
    exchange.client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    try:
        async with asyncio.timeout(seconds):
            while True:
                for _ in range(100):
                    exchange.client.send(_LARGE)
                await exchange.client.writer.drain()
    except TimeoutError:
        pass


async def garbage_frames(hostile: Hostile, exchange: Exchange) -> None:
    exchange.client.writer.write(hostile.chance.randbytes(hostile.chance.randrange(1, 5000)))
    await asyncio.wait_for(exchange.client.reader.read(), 5)


async def garbage_messages(hostile: Hostile, exchange: Exchange) -> None:
    for _ in range(50):
        exchange.client.send(hostile.chance.randbytes(hostile.chance.randrange(100)), BINARY)
    await exchange.drain()
    for _ in range(50):
        await exchange.client.receive(5)


async def unmasked(hostile: Hostile, exchange: Exchange) -> None:
    exchange.client.writer.write(b"\x81\x02{}")
    await asyncio.wait_for(exchange.client.reader.read(), 5)


async def invalid_utf8(hostile: Hostile, exchange: Exchange) -> None:
    exchange.client.send(b"\xff\xfe")
    await asyncio.wait_for(exchange.client.reader.read(), 5)


async def part_of_a_frame(hostile: Hostile, exchange: Exchange) -> None:
    whole = frame(_LARGE)
    exchange.client.writer.write(whole[: hostile.chance.randrange(1, len(whole))])
    await exchange.drain()
    exchange.client.reset()


async def declared_too_large(hostile: Hostile, exchange: Exchange) -> None:
    exchange.client.writer.write(struct.pack("!BBQI", 0x80 | TEXT, 0xFF, 1 << 30, 0) + b" " * 5000)
    await asyncio.wait_for(exchange.client.reader.read(), 5)


async def fragments(hostile: Hostile, exchange: Exchange) -> None:
    exchange.client.send(b"x", TEXT, fin=False)
    exchange.client.writer.write(frame(b"", CONTINUATION, fin=False) * 3000)
    await asyncio.wait_for(exchange.client.reader.read(), 5)


async def close_and_reset(hostile: Hostile, exchange: Exchange) -> None:
    exchange.client.send(_SLOW)
    exchange.client.send(struct.pack("!H", 1000), CLOSE)
    exchange.client.reset()


async def garbage_handshake(hostile: Hostile, streams: Streams) -> None:
    reader, writer = streams
    writer.write(hostile.chance.randbytes(hostile.chance.randrange(1, 3000)) + b"\r\n\r\n")
    await _read_and_go(reader, writer)


async def plain_http(hostile: Hostile, streams: Streams) -> None:
    reader, writer = streams
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await _read_and_go(reader, writer)


async def slow_handshake(hostile: Hostile, streams: Streams) -> None:
    _, writer = streams
    for byte in b"GET / HTTP/1.1\r\nHost: localhost\r\n":
        writer.write(bytes([byte]))
        await asyncio.sleep(0.3)
        if writer.is_closing():
            break
    writer.close()


async def reset_at_once(hostile: Hostile, streams: Streams) -> None:
    Client(*streams, {}).reset()


async def _read_and_go(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()


BEFORE_THE_HANDSHAKE: tuple[Callable[..., Awaitable[None]], ...] = (
    *(garbage_handshake, plain_http, slow_handshake, reset_at_once),
)
ACTS: dict[str, Callable[..., Awaitable[None]]] = {
    act.__name__: act
    for act in (
        *(reset, half_close, garbage_handshake, garbage_frames, vanish, never_read, slow_handshake),
        *(reset_with_replies_unread, garbage_messages, unmasked, invalid_utf8, part_of_a_frame),
        *(declared_too_large, fragments, close_and_reset, plain_http, reset_at_once),
    )
}
