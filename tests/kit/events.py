"""A stream of server-sent events, as an `EventSource` of a browser would read it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from tests.serving import TIMEOUT

__all__ = ("Event", "EventSource", "source")


@dataclass
class Event:
    id: str | None = None
    data: Any = None
    name: str = "message"
    retry: int | None = None
    is_comment: bool = False


class EventSource:
    """Reads the lines of a stream."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def next(self) -> Event:
        event = Event()
        async with asyncio.timeout(TIMEOUT):
            async for line in self._lines:
                if not line:
                    return event
                name, _, value = line.partition(":")
                value = value.removeprefix(" ")
                if name == "":
                    event.is_comment = True
                elif name == "data":
                    event.data = json.loads(value)
                elif name == "id":
                    event.id = value
                elif name == "retry":
                    event.retry = int(value)
                else:
                    assert name == "event"
                    event.name = value
        raise EOFError


@asynccontextmanager
async def source(client: httpx.AsyncClient, url: str, **headers: str) -> AsyncIterator[EventSource]:
    sent = {"Accept": "text/event-stream", **{name.replace("_", "-"): value for name, value in headers.items()}}
    async with client.stream("GET", url, headers=sent) as response:
        yield EventSource(response)
