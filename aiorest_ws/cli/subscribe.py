"""print each change of a url, until Ctrl-C

Prints the value of now, then each change or item, as one line of JSON each. When the connection is lost it comes back
and goes on where it was: nothing in between is missed, or it is said that something may be. It ends when the server
says that there is no more to come: exit code 4. The first connection is tried once.
"""

from __future__ import annotations

import asyncio
from argparse import Namespace
from typing import Any

from aiorest_ws.cli.asking import add_arguments, add_server, arguments_of, server_of
from aiorest_ws.cli.call import check_url
from aiorest_ws.cli.output import complain, print_line
from aiorest_ws.cli.parser import Parser
from aiorest_ws.cli.server import Server, line_of
from aiorest_ws.client import AsyncClient, AsyncStatuses, AsyncSubscription, Change

__all__ = ("EXAMPLES", "fill", "follow", "main")

EXAMPLES = """\
  aiorest-ws subscribe /orders/7
  aiorest-ws subscribe /orders status=open --server wss://api.example.com
  aiorest-ws subscribe /rooms/5/messages | jq .text"""


async def follow(server: Server, url: str, args: dict[str, Any] | None) -> None:
    """Print each change until the server says that it is over, for good. Raises Failure."""
    with server.asked():
        async with server.client() as api, api.subscribe(url, args=args, extra=server.extra) as changes:
            await _follow(api, changes)


async def _follow(api: AsyncClient, changes: AsyncSubscription[Any]) -> None:
    first = await _first(changes)
    tasks = [asyncio.create_task(_complain(statuses)) for statuses in (api.statuses(), changes.statuses())]
    try:
        _show(first)
        async for change in changes:
            _show(change)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _first(changes: AsyncSubscription[Any]) -> Change[Any]:
    """Give the first change. Raises why it is not to be had: the client would try again, who looks on would not."""
    first = asyncio.ensure_future(anext(changes))
    async for state in changes.statuses():
        if state.status != "stale":
            break
        if state.reason is not None:
            first.cancel()
            raise state.reason
    return await first


async def _complain(statuses: AsyncStatuses) -> None:
    async for state in statuses:
        if state.retry_in is not None:
            complain(f"{line_of(state.reason)}: back in {state.retry_in:.1f} s")


def _show(change: Change[Any]) -> None:
    if change.lost:
        complain("this is the value of now; what came in between may be missing")
    print_line(change.data)


def fill(parser: Parser) -> None:
    parser.add_argument("url", metavar="URL", help="with a slash in front: /orders/7")
    add_arguments(parser)
    add_server(parser)


def main(given: Namespace) -> int:
    server, args = server_of(given), arguments_of(given)
    asyncio.run(follow(server, check_url(given.url), args))
    return 0
