"""Asks `server.py` for /hello, prints the reply and leaves."""

import asyncio
import json

from autobahn.asyncio.websocket import WebSocketClientFactory, WebSocketClientProtocol

from aiorest_ws.command_line import CommandLine


class HelloClient(WebSocketClientProtocol):
    def onOpen(self):
        request = {"method": "GET", "url": "/hello"}
        self.sendMessage(json.dumps(request).encode("utf8"))

    def onMessage(self, payload, isBinary):
        print(payload.decode("utf8"))
        self.sendClose()


async def main(ip, port):
    factory = WebSocketClientFactory(f"ws://{ip}:{port}")
    factory.protocol = HelloClient
    _, connection = await asyncio.get_running_loop().create_connection(factory, ip, port)
    await connection.is_closed


if __name__ == "__main__":
    cmd = CommandLine()
    cmd.define("-ip", default="127.0.0.1", help="address of the server", type=str)
    cmd.define("-port", default=8080, help="port of the server", type=int)
    options = cmd.parse_command_line()
    asyncio.run(main(options.ip, options.port))
