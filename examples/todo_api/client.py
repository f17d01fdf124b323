"""Adds todos at `server.py`, changes and removes them, while a second client listens; prints what comes of it."""

import asyncio
from dataclasses import dataclass
from datetime import date

from aiorest_ws.client import AsyncClient, RequestFailed
from aiorest_ws.command_line import CommandLine


@dataclass
class Todo:
    id: int
    title: str
    due: date | None
    done: bool


async def say(step, call):
    """Print what becomes of a call, and give what it gives."""
    try:
        reply = await call
    except RequestFailed as exc:
        print(f"{step}: {exc.status} {exc.detail}")
        return None
    print(f"{step}: {reply.status}")
    return reply.data


async def main(url):
    async with AsyncClient(url) as api, AsyncClient(url) as listener:
        heard = listener.events()
        milk = await say("add", api.exchange("POST", "/todos", data={"title": "milk", "due": date(2024, 2, 29)}))
        url = f"/todos/{milk['id']}"
        await say("add one without a title", api.exchange("POST", "/todos", data={"title": ""}))
        await say("rename", api.exchange("PATCH", url, data={"title": "oat milk"}))
        await say("misspell", api.exchange("PATCH", url, data={"titel": "cow milk"}))
        await say("take its day away", api.exchange("PATCH", url, data={"due": None}))
        assert await api.get(url, type=Todo) == Todo(milk["id"], "oat milk", None, False)
        eggs = (api.exchange("POST", "/todos", data={"title": f"egg {n}"}) for n in range(20))
        added = await asyncio.gather(*eggs)
        print("twenty at once:", {reply.status for reply in added})
        page = await say("second page", api.exchange("GET", "/todos", args={"limit": 10, "offset": 10}))
        assert len(page) == 10
        await say("page of a thousand", api.exchange("GET", "/todos", args={"limit": 1000}))
        await asyncio.gather(*(api.delete(f"/todos/{reply.data['id']}") for reply in added))
        await say("remove", api.exchange("DELETE", url))
        await say("show", api.exchange("GET", url))
        print("the other one heard:")
        for _ in range(2 + 1 + 2 * len(added) + 1):
            event = await anext(heard)
            if "egg" not in event.data["title"]:
                print(" ", event.name, event.data["title"])


if __name__ == "__main__":
    cmd = CommandLine()
    cmd.define("-ip", default="127.0.0.1", help="address of the server", type=str)
    cmd.define("-port", default=8080, help="port of the server", type=int)
    options = cmd.parse_command_line()
    asyncio.run(main(f"ws://{options.ip}:{options.port}"))
