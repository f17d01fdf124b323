"""A line between a client of TCP and a server: it can be cut, swallow what goes over it, and hold it back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

__all__ = ("Line", "line_to")

Target = tuple[str, int] | Path

_AT_ONCE = 64 * 1024


class Line:
    """A server of TCP that passes on what comes to another one.

    target         where that is: host and port, or the path of a socket
    port           where it listens
    connections    so many were made
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.connections = 0
        self.port = 0
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._swallows = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def hold(self) -> None:
        """Hold back what comes, in both directions, until `flow()`."""
        self._flowing.clear()

    def swallow(self) -> None:
        """Lose what comes, in both directions, until the connection is cut: nobody is told."""
        self._swallows = True

    def flow(self) -> None:
        self._swallows = False
        self._flowing.set()

    def cut(self) -> None:
        """End all connections at once, without a word."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        writers = {writer}
        self._writers.add(writer)
        try:
            theirs, ours = await self._connected()
            writers.add(ours)
            self._writers.add(ours)
            await asyncio.gather(self._pass(reader, ours), self._pass(theirs, writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for each in writers:
                each.transport.abort()
            self._writers -= writers
            self._tasks.discard(task)

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self.target, Path):
            return await asyncio.open_unix_connection(self.target)
        return await asyncio.open_connection(*self.target)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(_AT_ONCE):
                if self._swallows:
                    continue
                await self._flowing.wait()
                writer.write(chunk)
                await writer.drain()
        except OSError:
            pass
        if not self._swallows:
            writer.close()

    async def end(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def line_to(target: Target) -> AsyncIterator[Line]:
    """Lay a line to a server."""
    line = Line(target)
    server = await asyncio.start_server(line.serve, "127.0.0.1", 0, backlog=1024)  # all may come back at once
    line.port = server.sockets[0].getsockname()[1]
    try:
        yield line
    finally:
        server.close()
        line.cut()
        await line.end()
        await server.wait_closed()
