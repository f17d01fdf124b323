"""Register, log in, refresh, log out: JSON Web Tokens for requests, argon2 for passwords, everything in memory.

The key is made anew at every start, unless AUTH_SECRET has one of at least 32 bytes.
"""

import asyncio
import os
import secrets

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from aiorest_ws.app import Application
from aiorest_ws.auth.exceptions import BaseAuthException
from aiorest_ws.auth.token.managers import JSONWebTokenManager
from aiorest_ws.auth.token.middlewares import JSONWebTokenMiddleware
from aiorest_ws.command_line import CommandLine
from aiorest_ws.exceptions import ValidationError
from aiorest_ws.routers import SimpleRouter
from aiorest_ws.wrappers import Response

LIFETIME = 300  # seconds of an access token; a refresh token is good for one refresh, whenever

router = SimpleRouter()
hasher = PasswordHasher()
manager = JSONWebTokenManager(secret_key=os.environ.get("AUTH_SECRET") or secrets.token_bytes(32))
hashes: dict[str, str] = {}  # of passwords, by username
refreshers: dict[str, str] = {}  # usernames, by refresh token
revoked: set[str] = set()  # ids of access tokens; those that have expired could be forgotten
NOBODY = hasher.hash(secrets.token_hex())  # so that an unknown name takes as long as a wrong password


class TokenMiddleware(JSONWebTokenMiddleware):
    def is_revoked(self, payload):
        return payload["jti"] in revoked


def credentials_of(request):
    data = request.data if isinstance(request.data, dict) else {}
    username, password = data.get("username"), data.get("password")
    if not isinstance(username, str) or not 1 <= len(username) <= 64:
        raise ValidationError({"username": ["must be a string of 1 to 64 characters"]})
    if not isinstance(password, str) or not 8 <= len(password) <= 128:
        raise ValidationError({"password": ["must be a string of 8 to 128 characters"]})
    return username, password


def tokens_for(username):
    refresher = secrets.token_urlsafe(32)
    refreshers[refresher] = username
    token = manager.generate({}, sub=username, exp=LIFETIME)
    return {"token": token, "expires_in": LIFETIME, "refresh_token": refresher}


@router.post("/auth/register")
async def register(request):
    username, password = credentials_of(request)
    hashed = await asyncio.to_thread(hasher.hash, password)  # it takes long, that is its purpose
    if hashes.setdefault(username, hashed) != hashed:
        raise ValidationError({"username": ["is taken"]})
    return Response({"username": username}, status=201)


@router.post("/auth/login")
async def login(request):
    username, password = credentials_of(request)
    try:
        await asyncio.to_thread(hasher.verify, hashes.get(username, NOBODY), password)
    except VerifyMismatchError:
        raise BaseAuthException("Wrong username or password.") from None
    return tokens_for(username)


@router.post("/auth/refresh")
def refresh(request):
    data = request.data if isinstance(request.data, dict) else {}
    username = refreshers.pop(str(data.get("refresh_token")), None)
    if username is None:
        raise BaseAuthException("Refresh token is not valid.")
    return tokens_for(username)


@router.post("/auth/logout", auth_required=True)
def logout(request):
    revoked.add(request.token_payload["jti"])
    for refresher in [key for key, username in refreshers.items() if username == request.user.id]:
        del refreshers[refresher]
    return "Goodbye!"


@router.get("/me", auth_required=True)
def me(request):
    return {"username": request.user.id}


if __name__ == "__main__":
    cmd = CommandLine()
    cmd.define("-ip", default="127.0.0.1", help="address to listen on", type=str)
    cmd.define("-port", default=8080, help="port to listen on", type=int)
    options = cmd.parse_command_line()

    app = Application(middlewares=[TokenMiddleware(manager)])
    app.run(host=options.ip, port=options.port, router=router)
