"""Adds a car at `server.py`, changes it, reads it twenty times at once, removes it; prints what comes of each step."""

import asyncio
import json
import secrets
from itertools import count

from autobahn.asyncio.websocket import WebSocketClientFactory, WebSocketClientProtocol

from aiorest_ws.command_line import CommandLine


# Other examples have this client, too: each is read alone, and runs with what comes with aiorest-ws.
class GarageClient(WebSocketClientProtocol):
    def onOpen(self):
        self.ids = count()
        self.waiting: dict[int, asyncio.Future[dict[str, object]]] = {}
        self.story = asyncio.ensure_future(self.tell())
        self.story.add_done_callback(lambda story: self.sendClose())

    def onMessage(self, payload, isBinary):
        reply = json.loads(payload)
        self.waiting.pop(reply["id"]).set_result(reply)

    def ask(self, method, url, **keys):
        number = next(self.ids)
        self.waiting[number] = asyncio.get_running_loop().create_future()
        self.sendMessage(json.dumps({"method": method, "url": url, "id": number, **keys}).encode("utf8"))
        return self.waiting[number]

    async def say(self, step, method, url, **keys):
        reply = await self.ask(method, url, **keys)
        print(f"{step}: {reply['status']} {reply.get('detail', '')}".rstrip())
        return reply.get("data")

    async def tell(self):
        name = f"Ford {secrets.token_hex(8)}"
        car = await self.say("add", "POST", "/cars", data={"name": name, "price": "9999.90", "built": "2024-02-29"})
        url = f"/cars/{car['id']}"
        await self.say("add again", "POST", "/cars", data={"name": name, "price": "1", "built": "2024-02-29"})
        await self.say("add a bad one", "POST", "/cars", data={"name": "", "price": "1", "built": "2024-02-29"})
        await self.say("change", "PATCH", url, data={"price": "8000.00"})
        replies = await asyncio.gather(*(self.ask("GET", url) for _ in range(20)))
        print("twenty at once:", {(reply["status"], reply["data"]["price"]) for reply in replies})
        found = await self.say("find", "GET", "/cars", args={"starts": name})
        assert found == [{"id": car["id"], "name": name, "price": "8000.00", "built": "2024-02-29"}]
        await self.say("remove", "DELETE", url)
        await self.say("show", "GET", url)


if __name__ == "__main__":
    cmd = CommandLine()
    cmd.define("-ip", default="127.0.0.1", help="address of the server", type=str)
    cmd.define("-port", default=8080, help="port of the server", type=int)
    options = cmd.parse_command_line()

    loop = asyncio.new_event_loop()
    factory = WebSocketClientFactory(f"ws://{options.ip}:{options.port}", loop=loop)
    factory.protocol = GarageClient
    _, client = loop.run_until_complete(loop.create_connection(factory, options.ip, options.port))
    loop.run_until_complete(client.is_closed)
    loop.close()
    client.story.result()  # raises what went wrong
