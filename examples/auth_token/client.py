"""Registers a user at `server.py`, logs in, refreshes the token, logs out, and prints what comes of each step."""

import asyncio
import secrets

from aiorest_ws.client import AsyncClient, RequestFailed
from aiorest_ws.command_line import CommandLine


async def say(step, call):
    """Print what becomes of a call, and give what it gives."""
    try:
        reply = await call
    except RequestFailed as exc:
        print(f"{step}: {exc.status} {exc.detail}")
        return None
    print(f"{step}: {reply.status}")
    return reply.data


async def main(url):
    user = {"username": f"ada-{secrets.token_hex(8)}", "password": "correct horse battery staple"}
    async with AsyncClient(url) as api:
        await say("me, without a token", api.exchange("GET", "/me"))
        await say("register", api.exchange("POST", "/auth/register", data=user))
        await say("register again", api.exchange("POST", "/auth/register", data=user))
        wrong = user | {"password": "12345678"}
        await say("log in, wrong password", api.exchange("POST", "/auth/login", data=wrong))
        first = await say("log in", api.exchange("POST", "/auth/login", data=user))
        await api.sign_in(first["token"])
        await say("me", api.exchange("GET", "/me"))
        again = {"refresh_token": first["refresh_token"]}
        second = await say("refresh", api.exchange("POST", "/auth/refresh", data=again))
        await say("refresh again", api.exchange("POST", "/auth/refresh", data=again))
        await api.sign_in(second["token"])
        me = await say("me, with the new token", api.exchange("GET", "/me"))
        assert me == {"username": user["username"]}
        await say("log out", api.exchange("POST", "/auth/logout"))
        await say("me, logged out", api.exchange("GET", "/me"))


if __name__ == "__main__":
    cmd = CommandLine()
    cmd.define("-ip", default="127.0.0.1", help="address of the server", type=str)
    cmd.define("-port", default=8080, help="port of the server", type=int)
    options = cmd.parse_command_line()
    asyncio.run(main(f"ws://{options.ip}:{options.port}"))
