# mypy: ignore-errors
"""socketify: topics of uWebSockets, in C++."""

import orjson
from handlers import PORT
from socketify import App, CompressOptions, OpCode


def on_message(websocket, message, opcode):
    request = orjson.loads(message)
    if request["method"] == "SUBSCRIBE":
        websocket.subscribe("news")
        websocket.send('{"status":200}', OpCode.TEXT)
    else:
        app.publish("news", orjson.dumps({"event_name": "/news", "data": request["data"]}), OpCode.TEXT)


app = App()
app.ws("/*", {"compression": CompressOptions.DISABLED, "max_payload_length": 1 << 20, "message": on_message})
app.listen(PORT)
app.run()
