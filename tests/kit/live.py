"""What tests of subscriptions say: what a message carries, what comes next, and that nothing does."""

from __future__ import annotations

from typing import Any

import pytest

from aiorest_ws.testing import AsyncTestClient
from aiorest_ws.testing.messages import unpack

__all__ = ("message", "nothing_more", "number_of", "pushed", "rest", "subscribed")


def message(payload: str | bytes | Any) -> dict[str, Any]:
    """Give what is in a message, or in a reply, of whatever form."""
    raw = getattr(payload, "raw", payload)
    whole, _ = unpack(raw.encode() if isinstance(raw, str) else raw)
    assert isinstance(whole, dict)
    return whole


async def subscribed(client: AsyncTestClient, url: str, **parts: Any) -> dict[str, Any]:
    """Subscribe to `url`, which must be possible, and give the reply."""
    reply = message(await client.request("SUBSCRIBE", url, **parts))
    assert "detail" not in reply, reply
    return reply


def number_of(version: str) -> int:
    return int(version.split(".")[1])


async def pushed(client: AsyncTestClient) -> tuple[int, Any]:
    """Give number and data of the next push; `...` in the place of the data if it is the same."""
    push = message(await client.receive())
    assert "status" not in push, push
    return number_of(push["version"]), push.get("data", ...)


async def rest(client: AsyncTestClient, turns: int = 5) -> None:
    """Let what is due be done, as far as it does not wait for anything else."""
    for _ in range(turns):
        await client.request("PING", "/")


async def nothing_more(client: AsyncTestClient) -> None:
    """Fail if a push has come, or is on its way."""
    await rest(client)
    with pytest.raises(TimeoutError):
        print(await client.receive(timeout=0))
