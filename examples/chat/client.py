"""Ada and Bob talk at `server.py`. Bob's network fails, and he misses nothing; prints what he reads."""

import asyncio
import json
from itertools import count
from typing import Any

from autobahn.asyncio.websocket import WebSocketClientFactory, WebSocketClientProtocol

from aiorest_ws.command_line import CommandLine

MESSAGES = "/rooms/lobby/messages"


# Other examples have this client, too: each is read alone, and runs with what comes with aiorest-ws.
class ChatClient(WebSocketClientProtocol):
    def __init__(self):
        super().__init__()
        self.ids = count()
        self.waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.pushes: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def onMessage(self, payload, isBinary):
        message = json.loads(payload)
        if "id" in message:
            self.waiting.pop(message["id"]).set_result(message)
        else:
            self.pushes.put_nowait(message)

    def ask(self, method, url, **keys):
        number = next(self.ids)
        self.waiting[number] = asyncio.get_running_loop().create_future()
        self.sendMessage(json.dumps({"method": method, "url": url, "id": number, **keys}).encode("utf8"))
        return self.waiting[number]

    async def say(self, *texts):
        for text in texts:
            await self.ask("POST", MESSAGES, data=text)

    async def read(self, times):
        """Print so many messages; give the version of the last one."""
        for _ in range(times):
            push = await self.pushes.get()
            print(f"  {push['data']['name']}: {push['data']['text']}")
        return push["version"]


async def connect(host, port, name):
    factory = WebSocketClientFactory(f"ws://{host}:{port}/?name={name}")
    factory.protocol = ChatClient
    _, client = await asyncio.get_running_loop().create_connection(factory, host, port)
    await client.is_open
    return client


async def talk(host, port, ada):
    bob = await connect(host, port, "bob")
    begun = await bob.ask("SUBSCRIBE", MESSAGES)
    print("Bob comes:", begun["status"])
    await ada.ask("SUBSCRIBE", MESSAGES)
    present = await ada.ask("GET", f"{MESSAGES}/presence")
    print("here:", present["data"]["count"], sorted(member["id"] for member in present["data"]["members"]))
    await ada.say("hello", "are you there?")
    position = await bob.read(2)
    bob.transport.abort()  # his network fails
    await bob.is_closed
    await ada.say("hm", "I will wait")
    bob = await connect(host, port, "bob")
    resumed = await bob.ask("SUBSCRIBE", MESSAGES, since=position)
    print("Bob comes back, and missed some:", resumed["status"])
    await bob.say("yes")
    await bob.read(3)
    print("no such room:", (await bob.ask("SUBSCRIBE", "/rooms/attic/messages"))["detail"])
    await bob.ask("UNSUBSCRIBE", MESSAGES)
    await leave(bob)


async def leave(client):
    client.sendClose()
    await client.is_closed


async def main(host, port):
    ada = await connect(host, port, "ada")
    try:
        await talk(host, port, ada)
    finally:
        await leave(ada)


if __name__ == "__main__":
    cmd = CommandLine()
    cmd.define("-ip", default="127.0.0.1", help="address of the server", type=str)
    cmd.define("-port", default=8080, help="port of the server", type=int)
    options = cmd.parse_command_line()
    asyncio.run(main(options.ip, options.port))
