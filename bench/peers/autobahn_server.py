# mypy: ignore-errors
"""Plain Autobahn, orjson and a dict: what aiorest-ws stands on."""

import asyncio

import orjson
from autobahn.asyncio.websocket import WebSocketServerFactory, WebSocketServerProtocol
from handlers import HANDLERS, PORT, run


class Server(WebSocketServerProtocol):
    def onMessage(self, payload, isBinary):
        request = orjson.loads(payload)
        data = HANDLERS[request["method"], request["url"]](request)
        self.sendMessage(orjson.dumps({"data": data, "event_name": request.get("event_name")}), isBinary)


async def main():
    loop = asyncio.get_running_loop()
    factory = WebSocketServerFactory(loop=loop)
    factory.protocol = Server
    server = await loop.create_server(factory, "127.0.0.1", PORT)
    await server.serve_forever()


run(main)
