"""Asks `server.py` for /hello and prints the reply."""

import asyncio

from aiorest_ws.client import AsyncClient
from aiorest_ws.command_line import CommandLine


async def main(url):
    async with AsyncClient(url) as api:
        print(await api.get("/hello"))


if __name__ == "__main__":
    cmd = CommandLine()
    cmd.define("-ip", default="127.0.0.1", help="address of the server", type=str)
    cmd.define("-port", default=8080, help="port of the server", type=int)
    options = cmd.parse_command_line()
    asyncio.run(main(f"ws://{options.ip}:{options.port}"))
