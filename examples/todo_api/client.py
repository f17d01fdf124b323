"""Adds todos at `server.py`, changes and removes them, while a second connection listens; prints what comes of it."""

import asyncio
import json
from itertools import count

from autobahn.asyncio.websocket import WebSocketClientFactory, WebSocketClientProtocol

from aiorest_ws.command_line import CommandLine


# Other examples have this client, too: each is read alone, and runs with what comes with aiorest-ws.
class TodoClient(WebSocketClientProtocol):
    def __init__(self):
        super().__init__()
        self.ids = count()
        self.waiting: dict[int, asyncio.Future[dict[str, object]]] = {}
        self.events: asyncio.Queue[dict[str, object]] = asyncio.Queue()

    def onMessage(self, payload, isBinary):
        message = json.loads(payload)
        if "id" in message:
            self.waiting.pop(message["id"]).set_result(message)
        else:
            self.events.put_nowait(message)

    def ask(self, method, url, **keys):
        number = next(self.ids)
        self.waiting[number] = asyncio.get_running_loop().create_future()
        self.sendMessage(json.dumps({"method": method, "url": url, "id": number, **keys}).encode("utf8"))
        return self.waiting[number]

    async def say(self, step, method, url, **keys):
        reply = await self.ask(method, url, **keys)
        print(f"{step}: {reply['status']} {reply.get('detail', '')}".rstrip())
        return reply.get("data")


async def tell(client, listener):
    milk = await client.say("add", "POST", "/todos", data={"title": "milk", "due": "2024-02-29"})
    url = f"/todos/{milk['id']}"
    await client.say("add one without a title", "POST", "/todos", data={"title": ""})
    await client.say("rename", "PATCH", url, data={"title": "oat milk"})
    await client.say("misspell", "PATCH", url, data={"titel": "cow milk"})
    changed = await client.say("take its day away", "PATCH", url, data={"due": None})
    assert changed == {"id": milk["id"], "title": "oat milk", "due": None, "done": False}
    added = await asyncio.gather(*(client.ask("POST", "/todos", data={"title": f"egg {n}"}) for n in range(20)))
    print("twenty at once:", {reply["status"] for reply in added})
    page = await client.say("second page", "GET", "/todos", args={"limit": 10, "offset": 10})
    assert len(page) == 10
    await client.say("page of a thousand", "GET", "/todos", args={"limit": 1000})
    await asyncio.gather(*(client.ask("DELETE", f"/todos/{reply['data']['id']}") for reply in added))
    await client.say("remove", "DELETE", url)
    await client.say("show", "GET", url)
    print("the other one heard:")
    for _ in range(2 + 1 + 2 * len(added) + 1):
        event = await listener.events.get()
        if "egg" not in event["data"]["title"]:
            print(" ", event["event_name"], event["data"]["title"])


async def main(host, port):
    factory = WebSocketClientFactory(f"ws://{host}:{port}")
    factory.protocol = TodoClient
    clients = []
    for _ in range(2):
        _, client = await asyncio.get_running_loop().create_connection(factory, host, port)
        await client.is_open
        clients.append(client)
    try:
        await tell(*clients)
    finally:
        for client in clients:
            client.sendClose()
            await client.is_closed


if __name__ == "__main__":
    cmd = CommandLine()
    cmd.define("-ip", default="127.0.0.1", help="address of the server", type=str)
    cmd.define("-port", default=8080, help="port of the server", type=int)
    options = cmd.parse_command_line()
    asyncio.run(main(options.ip, options.port))
