# mypy: ignore-errors
"""picows, orjson and a set of transports: encoded once, nothing kept, nobody who is slow is noticed."""

import orjson
from handlers import PORT, run
from picows import WSListener, WSMsgType, ws_create_server

CLOSE, TEXT = WSMsgType.CLOSE, WSMsgType.TEXT
listeners = set()


class Listener(WSListener):
    def on_ws_frame(self, transport, frame):
        if frame.msg_type == CLOSE:
            transport.disconnect()
            return
        request = orjson.loads(frame.get_payload_as_memoryview())
        if request["method"] == "SUBSCRIBE":
            listeners.add(transport)
            transport.send(TEXT, b'{"status":200}')
            return
        message = orjson.dumps({"event_name": "/news", "data": request["data"]})
        for listener in listeners:
            listener.send(TEXT, message)

    def on_ws_disconnected(self, transport):
        listeners.discard(transport)


async def main():
    server = await ws_create_server(lambda request: Listener(), "127.0.0.1", PORT)
    await server.serve_forever()


run(main)
