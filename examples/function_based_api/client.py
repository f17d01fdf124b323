"""Asks `server.py` for /hello and then for ten sums, one after the other: each reply sends the next request.

Written as clients for 1.1.1 were, but for `asyncio.new_event_loop()`: see `../method_based_api/client.py`.
"""

import asyncio
import json

from autobahn.asyncio.websocket import WebSocketClientFactory, WebSocketClientProtocol

from aiorest_ws.command_line import CommandLine

URLS = ["/hello", *(f"/sum/{29 + n}/{70 - n}" for n in range(10))]


class SumClient(WebSocketClientProtocol):
    def onOpen(self):
        self.urls = iter(URLS)
        self.send_next()

    def onMessage(self, payload, isBinary):
        print(payload.decode("utf8"))
        self.send_next()

    def onClose(self, wasClean, code, reason):
        asyncio.get_running_loop().stop()

    def send_next(self):
        url = next(self.urls, None)
        if url is None:
            self.sendClose()
        else:
            self.sendMessage(json.dumps({"method": "GET", "url": url}).encode("utf8"))


if __name__ == "__main__":
    cmd = CommandLine()
    cmd.define("-ip", default="127.0.0.1", help="address of the server", type=str)
    cmd.define("-port", default=8080, help="port of the server", type=int)
    options = cmd.parse_command_line()

    loop = asyncio.new_event_loop()
    factory = WebSocketClientFactory(f"ws://{options.ip}:{options.port}", loop=loop)
    factory.protocol = SumClient
    loop.run_until_complete(loop.create_connection(factory, options.ip, options.port))
    loop.run_forever()
    loop.close()
