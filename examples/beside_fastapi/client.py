"""Orders tea over HTTP, watches the order over the WebSocket, and moves it on in both ways; prints what it is told.

It needs the extra of the client: pip install 'aiorest-ws[client]>=2'
"""

import asyncio
import json
from urllib.request import Request, urlopen

from aiorest_ws.client import AsyncClient
from aiorest_ws.command_line import CommandLine


def http(url, method, data=None):
    """Send one request to FastAPI; give what it answers."""
    body = None if data is None else json.dumps(data).encode("utf8")
    request = Request(url, body, {"Content-Type": "application/json"}, method=method)
    with urlopen(request) as response:
        return json.load(response)


async def main(ip, port):
    base = f"http://{ip}:{port}/orders"
    number = await asyncio.to_thread(http, base, "POST", {"item": "tea"})
    url = f"/orders/{number}"
    async with AsyncClient(f"ws://{ip}:{port}/ws") as api, api.subscribe(url) as changes:
        async for change in changes:
            order = change.data
            print(f"{order['item']} is {order['state']}")
            if order["state"] == "new":
                await asyncio.to_thread(http, f"{base}/{number}/state?state=paid", "PUT")
            elif order["state"] == "paid":
                await api.patch(url, data={"item": "tea", "state": "sent"})
            else:
                break


if __name__ == "__main__":
    cmd = CommandLine()
    cmd.define("-ip", default="127.0.0.1", help="address of the server", type=str)
    cmd.define("-port", default=8000, help="port of the server", type=int)
    options = cmd.parse_command_line()
    asyncio.run(main(options.ip, options.port))
