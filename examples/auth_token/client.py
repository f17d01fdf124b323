"""Registers a user at `server.py`, logs in, refreshes the token, logs out, and prints what comes of each step."""

import asyncio
import json
import secrets

from autobahn.asyncio.websocket import WebSocketClientFactory, WebSocketClientProtocol

from aiorest_ws.command_line import CommandLine


class AuthClient(WebSocketClientProtocol):
    def onOpen(self):
        self.replies: asyncio.Queue[dict[str, object]] = asyncio.Queue()
        self.story = asyncio.ensure_future(self.tell())
        self.story.add_done_callback(lambda story: self.sendClose())

    def onMessage(self, payload, isBinary):
        self.replies.put_nowait(json.loads(payload))

    def onClose(self, wasClean, code, reason):
        asyncio.get_running_loop().stop()

    async def ask(self, step, method, url, **keys):
        request = {"method": method, "url": url, "id": step, **keys}
        self.sendMessage(json.dumps(request).encode("utf8"))
        reply = await self.replies.get()
        print(f"{step}: {reply['status']} {reply.get('detail', '')}".rstrip())
        return reply.get("data")

    async def tell(self):
        user = {"username": f"ada-{secrets.token_hex(8)}", "password": "correct horse battery staple"}
        await self.ask("me, without a token", "GET", "/me")
        await self.ask("register", "POST", "/auth/register", data=user)
        await self.ask("register again", "POST", "/auth/register", data=user)
        await self.ask("log in, wrong password", "POST", "/auth/login", data=user | {"password": "12345678"})
        first = await self.ask("log in", "POST", "/auth/login", data=user)
        await self.ask("me", "GET", "/me", token=first["token"])
        second = await self.ask("refresh", "POST", "/auth/refresh", data={"refresh_token": first["refresh_token"]})
        await self.ask("refresh again", "POST", "/auth/refresh", data={"refresh_token": first["refresh_token"]})
        me = await self.ask("me, with the new token", "GET", "/me", token=second["token"])
        assert me == {"username": user["username"]}
        await self.ask("log out", "POST", "/auth/logout", token=second["token"])
        await self.ask("me, logged out", "GET", "/me", token=second["token"])


if __name__ == "__main__":
    cmd = CommandLine()
    cmd.define("-ip", default="127.0.0.1", help="address of the server", type=str)
    cmd.define("-port", default=8080, help="port of the server", type=int)
    options = cmd.parse_command_line()

    loop = asyncio.new_event_loop()
    factory = WebSocketClientFactory(f"ws://{options.ip}:{options.port}", loop=loop)
    factory.protocol = AuthClient
    _, client = loop.run_until_complete(loop.create_connection(factory, options.ip, options.port))
    loop.run_forever()
    loop.close()
    client.story.result()  # raises what went wrong
