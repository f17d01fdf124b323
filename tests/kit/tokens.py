"""Tokens that PyJWT would not make, a clock that a test sets, and an application that asks who is there."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from aiorest_ws import SimpleRouter, endpoint
from aiorest_ws.auth.permissions import HasScope, IsAuthenticated
from aiorest_ws.auth.token.managers import JSONWebTokenManager

__all__ = (
    "ES_KEYS",
    "EXPIRED",
    "MISSING",
    "NOT_OURS",
    "NOW",
    "RSA_KEY",
    "RSA_PRIVATE",
    "RSA_PUBLIC",
    "SECRET",
    "UNSIGNED",
    "WAYS",
    "Clock",
    "Manager",
    "api",
    "bearer",
    "brought",
    "claims",
    "clock",
    "named",
    "part",
    "pem",
    "rsa_jwk",
    "signed",
)


SECRET = "0123456789abcdef0123456789abcdef"
NOW = 1_800_000_000.0

EXPIRED = "Token has expired."
UNSIGNED = "Token signature is invalid."
NOT_OURS = "Occurred error, when aiorest-ws processing token."
MISSING = "Token has not provided in the request."


class Clock:
    def __init__(self) -> None:
        self.now = NOW


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(JSONWebTokenManager, "now", staticmethod(lambda: clock.now))
    return clock


class Manager(JSONWebTokenManager):
    SECRET_KEY = SECRET


def part(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def signed(payload: Any, key: Any = SECRET, **header: Any) -> str:
    """Give a token that PyJWT would not make."""
    header = {"typ": "JWT", "alg": "HS256"} | header
    head = f"{part(header)}.{part(payload)}"
    algorithm = jwt.get_algorithm_by_name(header["alg"])
    signature = algorithm.sign(head.encode(), algorithm.prepare_key(key))
    return f"{head}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def claims(**more: Any) -> dict[str, Any]:
    return {"sub": "ada", "exp": int(NOW) + 60} | more


def pem(key: Any) -> tuple[str, str]:
    """Give the private and the public key."""
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


RSA_KEY = rsa.generate_private_key(65537, 2048)
RSA_PRIVATE, RSA_PUBLIC = pem(RSA_KEY)
ES_KEYS = [
    (json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key())), pem(key)[0])
    for key in (ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1()))
]


def rsa_jwk(**more: Any) -> dict[str, Any]:
    return json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(RSA_KEY.public_key())) | more  # type: ignore[no-any-return]


def named(kid: str) -> str:
    return signed(claims(), RSA_PRIVATE, alg="RS256", kid=kid)


# Messages


def api() -> SimpleRouter:
    router = SimpleRouter()

    @endpoint("/me", "GET", auth_required=True)
    def me(request: Any) -> Any:
        return request.user.id

    @endpoint("/claims", "GET", auth_required=True)
    def get_claims(request: Any) -> Any:
        request.token_payload["seen"] = True
        return sorted(request.token_payload)

    @endpoint("/hello", "GET")
    def hello(request: Any) -> Any:
        return [request.user.is_authenticated(), request.token_payload]

    @endpoint("/members", "GET", permission_classes=[IsAuthenticated])
    def members(request: Any) -> Any:
        return "in"

    @endpoint("/read", "GET", permission_classes=[HasScope("read")])
    def read(request: Any) -> Any:
        return "in"

    for function in (me, get_claims, hello, members, read):
        router.register_endpoint(function)
    return router


WAYS: dict[str, tuple[str, str]] = {
    "header": ("Authorization", "Bearer {}"),
    "scheme in lower case": ("Authorization", "bearer {}"),
    "cookie": ("Cookie", "theme=dark; session={}"),
    "subprotocol": ("Sec-WebSocket-Protocol", "bearer, {}"),
}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def brought(way: str, token: str) -> list[tuple[str, str]]:
    name, template = WAYS[way]
    return [(name, template.format(token))]
