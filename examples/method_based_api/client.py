"""Sends twelve requests to `server.py` at once; the replies come in the same order.

Written as clients for 1.1.1 were, but for `asyncio.new_event_loop()`, which used to be `asyncio.get_event_loop()`: from
Python 3.14 on that no longer makes a loop.
"""

import asyncio
import json

from autobahn.asyncio.websocket import WebSocketClientFactory, WebSocketClientProtocol

from aiorest_ws.command_line import CommandLine


class GreetingClient(WebSocketClientProtocol):
    expected = 0

    def send_request(self, request):
        self.expected += 1
        self.sendMessage(json.dumps(request).encode("utf8"))

    def onOpen(self):
        self.send_request({"method": "GET", "url": "/hello"})
        for _ in range(10):
            self.send_request({"method": "GET", "url": "/hello/user/24"})
        self.send_request({"method": "GET", "url": "/sum", "args": {"numbers": [2, 3, 4, 5]}})

    def onMessage(self, payload, isBinary):
        print(payload.decode("utf8"))
        self.expected -= 1
        if not self.expected:
            self.sendClose()

    def onClose(self, wasClean, code, reason):
        asyncio.get_running_loop().stop()


if __name__ == "__main__":
    cmd = CommandLine()
    cmd.define("-ip", default="127.0.0.1", help="address of the server", type=str)
    cmd.define("-port", default=8080, help="port of the server", type=int)
    options = cmd.parse_command_line()

    loop = asyncio.new_event_loop()
    factory = WebSocketClientFactory(f"ws://{options.ip}:{options.port}", loop=loop)
    factory.protocol = GreetingClient
    loop.run_until_complete(loop.create_connection(factory, options.ip, options.port))
    loop.run_forever()
    loop.close()
