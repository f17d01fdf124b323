# mypy: ignore-errors
"""websockets (its asyncio server), orjson and a dict."""

import orjson
from handlers import HANDLERS, PORT, run
from websockets.asyncio.server import serve


async def handler(websocket):
    async for message in websocket:
        request = orjson.loads(message)
        data = HANDLERS[request["method"], request["url"]](request)
        await websocket.send(orjson.dumps({"data": data, "event_name": request.get("event_name")}), text=True)


async def main():
    async with serve(handler, "127.0.0.1", PORT, compression=None) as server:
        await server.serve_forever()


run(main)
