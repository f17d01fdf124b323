# mypy: ignore-errors
"""socketify (uWebSockets, C++, with a loop of its own), orjson and a dict."""

import orjson
from handlers import HANDLERS, PORT
from socketify import App, CompressOptions


def on_message(websocket, message, opcode):
    request = orjson.loads(message)
    data = HANDLERS[request["method"], request["url"]](request)
    websocket.send(orjson.dumps({"data": data, "event_name": request.get("event_name")}), opcode)


app = App()
app.ws("/*", {"compression": CompressOptions.DISABLED, "max_payload_length": 1 << 24, "message": on_message})
app.listen(PORT)
app.run()
