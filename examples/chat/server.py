"""Rooms to talk in: who was away gets what was said. `client.py` is two who talk; so are two windows of `index.html`.

Everybody is who they say they are (`ws://127.0.0.1:8080/?name=ada`): see `examples/auth_token` for who has to prove it.
"""

from collections import deque
from itertools import count
from time import time

from aiorest_ws import Application, HTTPError, Live, Response, SimpleRouter
from aiorest_ws.command_line import CommandLine
from aiorest_ws.exceptions import ConnectionRefused

SHOWN = 50  # messages that one who comes is shown

rooms: dict[str, deque[dict[str, object]]] = {
    name: deque(maxlen=SHOWN) for name in ("lobby", "garden")
}  # what was said in each
numbers = count(1)
router = SimpleRouter()


def who(request):
    return {"id": request.connection.query["name"]}


@router.get("/rooms/{room}/messages", live=Live(mode="log", shared=True, key="number", presence=who))
def messages(request, room):
    """The last messages: with what a subscription begins. It is nobody's request, and cannot ask who it is."""
    return list(find(room))


@router.post("/rooms/{room}/messages")
def say(request, room):
    text = request.data
    if not isinstance(text, str) or not 0 < len(text) <= 500:
        raise HTTPError(422, "a message is a text of at most 500 characters")
    message = {"number": next(numbers), "name": request.connection.query["name"], "text": text, "time": int(time())}
    find(room).append(message)
    request.app.live.publish(f"/rooms/{room}/messages", message)
    return Response(message, status=201)


def find(room):
    if room not in rooms:
        raise HTTPError(404, f"no room {room}")
    return rooms[room]


def welcome(connection):
    if not 0 < len(connection.query.get("name", "")) <= 20:
        raise ConnectionRefused(403, "a name has 1 to 20 characters")


# Whose pages may connect: index.html, opened as a file, or served by `python -m http.server 8000 -d examples`.
# By default, only the server's own.
app = Application(
    router=router,
    on_connect=welcome,
    allowed_origins=["null", "file://", "http://127.0.0.1:8000", "http://localhost:8000"],
)

if __name__ == "__main__":
    cmd = CommandLine()
    cmd.define("-ip", default="127.0.0.1", help="address to listen on", type=str)
    cmd.define("-port", default=8080, help="port to listen on", type=int)
    options = cmd.parse_command_line()
    app.run(host=options.ip, port=options.port)
