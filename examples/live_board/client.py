"""Two clients look at the board of `server.py`, and one of them changes it; prints what both see at the end."""

import asyncio
import json
from itertools import count
from typing import Any

from autobahn.asyncio.websocket import WebSocketClientFactory, WebSocketClientProtocol

from aiorest_ws.command_line import CommandLine


# Other examples have this client, too: each is read alone, and runs with what comes with aiorest-ws.
class BoardClient(WebSocketClientProtocol):
    def __init__(self):
        super().__init__()
        self.ids = count()
        self.waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.pushes: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.board: dict[str, list[dict[str, str]]] = {}

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

    async def subscribe(self, url):
        reply = await self.ask("SUBSCRIBE", url)
        self.board = reply["data"]
        return reply["status"]

    async def see(self, version):
        """Wait until the board is as it was in `version`, or later."""
        seen = -1
        while seen < number_of(version):
            push = await self.pushes.get()
            seen = number_of(push["version"])
            self.board = push.get("data", self.board)  # without data it is what it was

    def titles(self):
        return ", ".join(f"{card['title']} ({column})" for column, cards in self.board.items() for card in cards)


def number_of(version):
    return int(version.split(".")[1])


async def work(ada, bob):
    print("both look:", await ada.subscribe("/board"), await bob.subscribe("/board"))
    added = [await ada.ask("POST", "/cards", data={"title": title}) for title in ("paint", "sand")]
    paint, sand = (f"/cards/{reply['data']['number']}" for reply in added)
    moved = await ada.ask("PATCH", sand, data={"column": "doing"})
    refused = await ada.ask("PATCH", paint, data={"column": "nowhere"})
    print("refused:", refused["status"], refused["detail"], "changed" in refused)
    for client in (ada, bob):
        await client.see(moved["changed"]["/board"])  # it came with the reply: Ada looks at the board, too
    print("Ada sees:", ada.titles())
    print("Bob sees:", bob.titles())
    for url in (paint, sand):
        removed = await ada.ask("DELETE", url)
    await bob.see(removed["changed"]["/board"])
    print("Bob sees:", bob.titles() or "nothing")
    print("Bob leaves:", (await bob.ask("UNSUBSCRIBE", "/board"))["status"])


async def main(host, port):
    factory = WebSocketClientFactory(f"ws://{host}:{port}")
    factory.protocol = BoardClient
    clients = []
    for _ in range(2):
        _, client = await asyncio.get_running_loop().create_connection(factory, host, port)
        await client.is_open
        clients.append(client)
    try:
        await work(*clients)
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
