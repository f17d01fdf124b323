# mypy: ignore-errors
"""aiohttp's WebSocketResponse, orjson and a dict."""

import asyncio

import orjson
from aiohttp import WSMsgType, web
from handlers import HANDLERS, PORT, run


async def handler(http_request):
    websocket = web.WebSocketResponse(compress=False)
    await websocket.prepare(http_request)
    async for message in websocket:
        if message.type == WSMsgType.TEXT:
            request = orjson.loads(message.data)
            data = HANDLERS[request["method"], request["url"]](request)
            reply = orjson.dumps({"data": data, "event_name": request.get("event_name")})
            await websocket.send_str(reply.decode())
    return websocket


async def main():
    app = web.Application()
    app.router.add_get("/", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", PORT).start()
    await asyncio.Event().wait()


run(main)
