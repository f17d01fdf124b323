# mypy: ignore-errors
"""picows, orjson and a dict, no framework: the practical limit of a Python handler."""

import orjson
from handlers import HANDLERS, PORT, run
from picows import WSListener, WSMsgType, ws_create_server

CLOSE = WSMsgType.CLOSE


class Listener(WSListener):
    def on_ws_frame(self, transport, frame):
        kind = frame.msg_type
        if kind == CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
            return
        request = orjson.loads(frame.get_payload_as_memoryview())
        data = HANDLERS[request["method"], request["url"]](request)
        transport.send(kind, orjson.dumps({"data": data, "event_name": request.get("event_name")}))


async def main():
    server = await ws_create_server(lambda request: Listener(), "127.0.0.1", PORT)
    await server.serve_forever()


run(main)
