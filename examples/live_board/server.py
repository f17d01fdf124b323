"""A board of cards that everybody sees change: `client.py` is two of them; so are two windows of `index.html`."""

from itertools import count

from aiorest_ws import Application, HTTPError, Live, Response, SimpleRouter
from aiorest_ws.command_line import CommandLine

COLUMNS = ("to do", "doing", "done")
MOST = 100  # cards

cards: dict[int, dict[str, object]] = {}
numbers = count(1)
router = SimpleRouter()


@router.get("/board", live=Live(shared=True))
def board(request):
    """All cards. The same for all who look: it runs once for a change, however many they are."""
    return {column: [card for card in cards.values() if card["column"] == column] for column in COLUMNS}


@router.post("/cards", changes=["/board"])
def add(request):
    if len(cards) == MOST:
        raise HTTPError(409, f"at most {MOST} cards")
    card = {"number": next(numbers), "title": checked(request.data, "title"), "column": COLUMNS[0]}
    cards[card["number"]] = card
    return Response(card, status=201)


@router.patch("/cards/{number:int}", changes=["/board"])
def change(request, number):
    card = find(number)
    cards[number] = card | {name: checked(request.data, name) for name in ("title", "column") if name in request.data}
    return cards[number]


@router.delete("/cards/{number:int}", changes=["/board"])
def remove(request, number):
    return cards.pop(find(number)["number"])


def find(number):
    if number not in cards:
        raise HTTPError(404, f"no card {number}")
    return cards[number]


def checked(data, name):
    value = data.get(name) if isinstance(data, dict) else None
    if not isinstance(value, str) or not 0 < len(value) <= 80 or (name == "column" and value not in COLUMNS):
        raise HTTPError(422, f"{name} is not right")
    return value


# Whose pages may connect: index.html, opened as a file, or served by `python -m http.server 8000 -d examples`.
# By default, only the server's own.
app = Application(router=router, allowed_origins=["null", "file://", "http://127.0.0.1:8000", "http://localhost:8000"])

if __name__ == "__main__":
    cmd = CommandLine()
    cmd.define("-ip", default="127.0.0.1", help="address to listen on", type=str)
    cmd.define("-port", default=8080, help="port to listen on", type=int)
    options = cmd.parse_command_line()
    app.run(host=options.ip, port=options.port)
