"""Ada and Bob talk at `server.py`. Bob's network fails, and he misses nothing; prints what he reads."""

import asyncio

from aiorest_ws.client import AsyncClient, NotFound
from aiorest_ws.command_line import CommandLine

MESSAGES = "/rooms/lobby/messages"


async def say(api, *texts):
    for text in texts:
        await api.post(MESSAGES, data=text)


async def read(changes, times):
    for _ in range(times):
        change = await anext(changes)
        assert change.is_item
        print(f"  {change.data['name']}: {change.data['text']}")


async def main(url):
    async with (
        AsyncClient(f"{url}/?name=ada") as ada,
        AsyncClient(f"{url}/?name=bob") as bob,
        ada.subscribe(MESSAGES) as adas,
        bob.subscribe(MESSAGES) as bobs,
    ):
        for changes in (adas, bobs):
            begin = await anext(changes)
            assert not begin.is_item
        present = await ada.get(f"{MESSAGES}/presence")
        print("here:", present["count"], sorted(member["id"] for member in present["members"]))
        await say(ada, "hello", "are you there?")
        await read(bobs, 2)
        away = asyncio.create_task(bob.reconnect())  # as when his network fails
        await say(ada, "hm", "I will wait")
        await away
        print("Bob is back")
        await say(bob, "yes")
        await read(bobs, 3)
        try:
            await anext(bob.subscribe("/rooms/attic/messages"))
        except NotFound as exc:
            print("no such room:", exc.detail)


if __name__ == "__main__":
    cmd = CommandLine()
    cmd.define("-ip", default="127.0.0.1", help="address of the server", type=str)
    cmd.define("-port", default=8080, help="port of the server", type=int)
    options = cmd.parse_command_line()
    asyncio.run(main(f"ws://{options.ip}:{options.port}"))
