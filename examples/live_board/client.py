"""Two clients look at the board of `server.py`, and one of them changes it; prints what both see at the end."""

import asyncio

from aiorest_ws.client import AsyncClient, Unprocessable
from aiorest_ws.command_line import CommandLine


async def see(changes, version):
    """Give the titles on the board, once it is as it was in `version`, or later."""
    while True:
        change = await anext(changes)
        if number_of(change.version) >= number_of(version):
            return titles(change.data)


def number_of(version):
    return int(version.split(".")[1])


def titles(board):
    shown = (f"{card['title']} ({column})" for column, cards in board.items() for card in cards)
    return ", ".join(shown) or "nothing"


async def main(url):
    async with (
        AsyncClient(url) as ada,
        AsyncClient(url) as bob,
        ada.subscribe("/board") as adas,
        bob.subscribe("/board") as bobs,
    ):
        for name, changes in (("Ada", adas), ("Bob", bobs)):
            print(f"{name} sees:", titles((await anext(changes)).data))
        paint = await ada.post("/cards", data={"title": "paint"})
        sand = await ada.post("/cards", data={"title": "sand"})
        moved = await ada.exchange("PATCH", f"/cards/{sand['number']}", data={"column": "doing"})
        try:
            await ada.patch(f"/cards/{paint['number']}", data={"column": "nowhere"})
        except Unprocessable as exc:
            print("refused:", exc.status, exc.detail)
        version = moved.changed["/board"]  # it comes with the reply: Ada looks at the board, too
        print("Ada sees:", await see(adas, version))
        print("Bob sees:", await see(bobs, version))
        await ada.delete(f"/cards/{paint['number']}")
        removed = await ada.exchange("DELETE", f"/cards/{sand['number']}")
        print("Bob sees:", await see(bobs, removed.changed["/board"]))


if __name__ == "__main__":
    cmd = CommandLine()
    cmd.define("-ip", default="127.0.0.1", help="address of the server", type=str)
    cmd.define("-port", default=8080, help="port of the server", type=int)
    options = cmd.parse_command_line()
    asyncio.run(main(f"ws://{options.ip}:{options.port}"))
