"""Adds a car at `server.py`, changes it, reads it twenty times at once, removes it; prints what comes of each step."""

import asyncio
import secrets

from aiorest_ws.client import AsyncClient, RequestFailed
from aiorest_ws.command_line import CommandLine


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
    name = f"Ford {secrets.token_hex(8)}"
    async with AsyncClient(url) as api:
        car = {"name": name, "price": "9999.90", "built": "2024-02-29"}
        added = await say("add", api.exchange("POST", "/cars", data=car))
        url = f"/cars/{added['id']}"
        await say("add again", api.exchange("POST", "/cars", data=car | {"price": "1"}))
        await say("add a bad one", api.exchange("POST", "/cars", data=car | {"name": "", "price": "1"}))
        await say("change", api.exchange("PATCH", url, data={"price": "8000.00"}))
        replies = await asyncio.gather(*(api.exchange("GET", url) for _ in range(20)))
        print("twenty at once:", {(reply.status, reply.data["price"]) for reply in replies})
        found = await say("find", api.exchange("GET", "/cars", args={"starts": name}))
        assert found == [{"id": added["id"], "name": name, "price": "8000.00", "built": "2024-02-29"}]
        await say("remove", api.exchange("DELETE", url))
        await say("show", api.exchange("GET", url))


if __name__ == "__main__":
    cmd = CommandLine()
    cmd.define("-ip", default="127.0.0.1", help="address of the server", type=str)
    cmd.define("-port", default=8080, help="port of the server", type=int)
    options = cmd.parse_command_line()
    asyncio.run(main(f"ws://{options.ip}:{options.port}"))
