# mypy: ignore-errors
"""websockets' own `broadcast`, as its documentation has it: who is slow is left out in silence."""

import orjson
from handlers import PORT, run
from websockets.asyncio.server import broadcast, serve

listeners = set()


async def handler(websocket):
    try:
        async for message in websocket:
            request = orjson.loads(message)
            if request["method"] == "SUBSCRIBE":
                listeners.add(websocket)
                await websocket.send('{"status":200}')
            else:
                broadcast(listeners, orjson.dumps({"event_name": "/news", "data": request["data"]}).decode())
    finally:
        listeners.discard(websocket)


async def main():
    async with serve(handler, "127.0.0.1", PORT, compression=None) as server:
        await server.serve_forever()


run(main)
