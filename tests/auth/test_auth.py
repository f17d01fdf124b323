"""Tokens, over a real socket where it matters. Time is a clock of the test's own; nothing waits for it to pass."""

from __future__ import annotations

import base64
import json
import logging
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from aiorest_ws import Application, MethodBasedView, SimpleRouter, endpoint
from aiorest_ws.abstract import AbstractPermission
from aiorest_ws.auth import exceptions as auth_exceptions
from aiorest_ws.auth.permissions import HasScope
from aiorest_ws.auth.token import exceptions as token_exceptions
from aiorest_ws.auth.token import keys
from aiorest_ws.auth.token.exceptions import (
    BaseTokenException,
    InvalidClaimException,
    InvalidSignatureException,
    ParsingTokenException,
    TokenExpiredException,
    TokenNotBeforeException,
)
from aiorest_ws.auth.token.managers import JSONWebTokenManager
from aiorest_ws.auth.token.middlewares import JSONWebTokenMiddleware
from aiorest_ws.auth.user.models import User
from aiorest_ws.exceptions import ImproperlyConfigured, NotAuthenticated, PermissionDeniedException
from tests.kit.pages import ROOT, blocks
from tests.kit.tokens import (
    EXPIRED,
    MISSING,
    NOT_OURS,
    NOW,
    RSA_PRIVATE,
    RSA_PUBLIC,
    SECRET,
    UNSIGNED,
    WAYS,
    Clock,
    Manager,
    api,
    brought,
    claims,
    clock,
    named,
    part,
    pem,
    rsa_jwk,
    signed,
)
from tests.serving import CLOSE, Client, HandshakeRefused, asynchronous, run_program, serving

__all__ = ("clock",)

MALFORMED = "Can't parse token: mismatch format."
NOT_YET = "Time after which the token not be accepted has passed."
REVOKED = "Token has been revoked."
DENIED = "Permission denied: user doesn't have enough rights."
EC_PRIVATE, EC_PUBLIC = pem(ec.generate_private_key(ec.SECP256R1()))
ED_PRIVATE, ED_PUBLIC = pem(ed25519.Ed25519PrivateKey.generate())


# Managers


def test_a_token_that_was_generated_is_a_real_one_and_verifies(clock: Clock) -> None:
    token = Manager().generate({"user_id": 7}, sub="ada", exp=60, nbf=0)
    payload = Manager().verify(token)
    assert payload == {
        "user_id": 7,
        "sub": "ada",
        "exp": int(NOW) + 60,
        "nbf": int(NOW),
        "iat": int(NOW),
        "jti": payload["jti"],
    }
    assert jwt.decode(token, SECRET, ["HS256"], {"verify_iat": False, "verify_nbf": False}) == payload
    assert jwt.get_unverified_header(token) == {"typ": "JWT", "alg": "HS256"}


def test_generate_leaves_its_data_as_it_is_and_gives_each_token_an_id(clock: Clock) -> None:
    data = {"user_id": 7}
    manager = Manager()
    ids = {manager.verify(manager.generate(data))["jti"] for _ in range(3)}
    assert (data, len(ids)) == ({"user_id": 7}, 3)


def test_exp_and_nbf_are_seconds_from_now_and_zero_counts(clock: Clock) -> None:
    manager = Manager()
    with pytest.raises(TokenExpiredException):
        manager.verify(manager.generate({}, exp=0))
    with pytest.raises(TokenNotBeforeException):
        manager.verify(manager.generate({}, nbf=1))
    assert manager.verify(manager.generate({}))["exp"] == int(NOW) + 3600
    assert "exp" not in Manager(lifetime=None, required=()).verify(Manager(lifetime=None).generate({}))


def test_iat_under_the_name_that_1_1_1_gave_it(clock: Clock) -> None:
    assert Manager().verify(Manager().generate({}, ait=5))["iat"] == 5


def test_a_claim_that_is_not_reserved_is_refused() -> None:
    with pytest.raises(TypeError, match=r"claims must be of iss, sub, .* got expires"):
        Manager().generate({}, expires=5)


@pytest.mark.parametrize(
    ("algorithm", "private", "public"),
    [
        ("HS384", SECRET * 2, None),
        ("HS512", SECRET * 2, None),
        ("RS256", RSA_PRIVATE, RSA_PUBLIC),
        ("PS512", RSA_PRIVATE, RSA_PUBLIC),
        ("ES256", EC_PRIVATE, EC_PUBLIC),
        ("EdDSA", ED_PRIVATE, ED_PUBLIC),
    ],
)
def test_every_kind_of_algorithm_signs_and_verifies(
    clock: Clock, algorithm: str, private: str, public: str | None
) -> None:
    token = JSONWebTokenManager(hash_algorithm=algorithm, secret_key=private).generate({"sub": "ada"})
    assert JSONWebTokenManager(hash_algorithm=algorithm, secret_key=private).verify(token)["sub"] == "ada"
    if public is not None:
        verifier = JSONWebTokenManager(hash_algorithm=algorithm, public_key=public)
        assert verifier.verify(token)["sub"] == "ada"
        with pytest.raises(ImproperlyConfigured, match="tokens cannot be made without SECRET_KEY"):
            verifier.generate({})


def test_audience_and_issuer_are_set_and_checked(clock: Clock) -> None:
    manager = Manager(audience=["api", "web"], issuer="us")
    payload = manager.verify(manager.generate({}))
    assert (payload["aud"], payload["iss"]) == ("api", "us")
    assert manager.verify(manager.generate({}, aud=["other", "web"]))["aud"] == ["other", "web"]
    for wrong in ({"aud": "other"}, {"iss": "them"}):
        with pytest.raises(InvalidClaimException, match=NOT_OURS):
            manager.verify(manager.generate({}, **wrong))
    with pytest.raises(InvalidClaimException):
        manager.verify(Manager().generate({}))
    with pytest.raises(InvalidClaimException):
        Manager().verify(manager.generate({}))  # meant for somebody, and we have no name


def test_leeway_forgives_clocks_that_differ(clock: Clock) -> None:
    manager = Manager(leeway=5)
    token = manager.generate({}, exp=10, nbf=5)
    assert manager.verify(token)
    clock.now += 14
    assert manager.verify(token)
    clock.now += 1
    with pytest.raises(TokenExpiredException):
        manager.verify(token)


ES256_WITH_ANOTHER_KEY = jwt.encode(claims(), pem(ec.generate_private_key(ec.SECP256R1()))[0], "ES256")

TOKENS: dict[str, tuple[Any, type[BaseTokenException]]] = {
    "none": (f"{part({'typ': 'JWT', 'alg': 'none'})}.{part(claims())}.", ParsingTokenException),
    "none-signed": (f"{part({'alg': 'none'})}.{part(claims())}.AAAA", InvalidSignatureException),
    "None": (f"{part({'alg': 'nOnE'})}.{part(claims())}.AAAA", InvalidSignatureException),
    "no-alg": (f"{part({})}.{part(claims())}.AAAA", InvalidSignatureException),
    "other-hash": (signed(claims(), SECRET * 2, alg="HS512"), InvalidSignatureException),
    "other-secret": (signed(claims(), SECRET[::-1]), InvalidSignatureException),
    "other-kind": (ES256_WITH_ANOTHER_KEY, InvalidSignatureException),
    "crit": (signed(claims(), crit=["exp"], exp=1), ParsingTokenException),
    "crit-empty": (signed(claims(), crit=[]), ParsingTokenException),
    "b64-false": (signed(claims(), crit=["b64"], b64=False), ParsingTokenException),
    "kid-is-a-number": (signed(claims(), kid=5), ParsingTokenException),
    "extra-=": (signed(claims()) + "=", ParsingTokenException),
    "extra-==": (signed(claims()).replace(".", "==.", 1), ParsingTokenException),
    "trailing-dot": (signed(claims()) + ".", ParsingTokenException),
    "trailing-newline": (signed(claims()) + "\n", ParsingTokenException),
    "two-parts": (signed(claims()).rpartition(".")[0], ParsingTokenException),
    "five-parts": (signed(claims()) + ".a.b", ParsingTokenException),
    "standard-base64": ("e+J9.e+J9.e/J9", ParsingTokenException),
    "not-json": (f"{part('{')}.{part('{')}.AAAA", ParsingTokenException),
    "not-an-object": (signed([1]), ParsingTokenException),
    "deep": (f"{part('[' * 8000)}.{part(claims())}.AAAA", ParsingTokenException),
    "expired": (signed(claims(exp=int(NOW) - 1)), TokenExpiredException),
    "expires-now": (signed(claims(exp=int(NOW))), TokenExpiredException),
    "nbf-ahead": (signed(claims(nbf=int(NOW) + 1)), TokenNotBeforeException),
    "exp-string": (signed(claims(exp=str(int(NOW) + 60))), ParsingTokenException),
    "exp-true": (signed(claims(exp=True)), ParsingTokenException),
    "exp-null": (signed(claims(exp=None)), InvalidClaimException),
    "exp-missing": (signed({"sub": "ada"}), InvalidClaimException),
    "exp-milliseconds": (signed(claims(exp=int(NOW) * 1000)), ParsingTokenException),
    "exp-huge": (signed(claims(exp=10**400)), ParsingTokenException),
    "exp-infinite": (signed('{"exp":1e999}'), ParsingTokenException),
    "exp-nan": (signed('{"exp":NaN}'), ParsingTokenException),
    "exp-too-many-digits": (signed('{"exp":' + "9" * 5000 + "}"), ParsingTokenException),
    "nbf-string": (signed(claims(nbf="0")), ParsingTokenException),
    "aud-of-somebody": (signed(claims(aud="them")), InvalidClaimException),
    "sub-number": (signed(claims(sub=5)), ParsingTokenException),
    "long": ("a" * 16_000 + signed(claims()), ParsingTokenException),
    "1-mb": ("a" * 1_000_000, ParsingTokenException),
    "number": (5, ParsingTokenException),
    "list": ([signed(claims())], ParsingTokenException),
    "object": ({"token": signed(claims())}, ParsingTokenException),
    "true": (True, ParsingTokenException),
    "1.1.1": (
        "eyJ0eXAiOiAiSldUIiwgImFsZyI6ICJIUzI1NiJ9.eyJ1c2VyIjogMX0=.ZGVhZGJlZWY=",
        ParsingTokenException,
    ),
}


@pytest.mark.parametrize("name", TOKENS)
def test_a_bad_token_is_refused(clock: Clock, name: str) -> None:
    token, expected = TOKENS[name]
    with pytest.raises(BaseTokenException) as caught:
        Manager().verify(token)
    assert type(caught.value) is expected
    assert caught.value.status == 401


def test_a_signature_can_be_written_in_one_way_only(clock: Clock) -> None:
    """The last character of 32 bytes in base64url has two bits that mean nothing: no second token for a block list."""
    token = signed(claims())
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = token[:-1] + alphabet[alphabet.index(token[-1]) + 1]
    assert base64.urlsafe_b64decode(token.rpartition(".")[2] + "=") == base64.urlsafe_b64decode(
        twin.rpartition(".")[2] + "="
    )
    assert Manager().verify(token)
    with pytest.raises(ParsingTokenException):
        Manager().verify(twin)


def test_a_public_key_is_no_secret(clock: Clock) -> None:
    """HS/RS confusion: a token signed with HMAC and the public key that everybody has."""
    import hmac

    head = f"{part({'alg': 'HS256'})}.{part(claims())}"
    signature = base64.urlsafe_b64encode(hmac.digest(RSA_PUBLIC.encode(), head.encode(), "sha256")).rstrip(b"=")
    manager = JSONWebTokenManager(hash_algorithm="RS256", public_key=RSA_PUBLIC)
    with pytest.raises(InvalidSignatureException):
        manager.verify(f"{head}.{signature.decode()}")
    with pytest.raises(InvalidSignatureException):
        JSONWebTokenManager(hash_algorithm="RS256", jwks={"keys": [rsa_jwk()]}).verify(f"{head}.{signature.decode()}")


WEAK_RSA = pem(rsa.generate_private_key(65537, 1024))[0]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "SECRET_KEY of the token manager must be set: everybody knows the default"),
        ({}, r"secrets\.token_urlsafe\(32\) makes one, to be kept"),
        ({"secret_key": "x" * 31}, r"SECRET_KEY must have at least 32 bytes \(RFC 7518 §3.2\), got 31"),
        ({"secret_key": "x" * 32, "hash_algorithm": "HS512"}, r"got 32; secrets\.token_urlsafe\(64\) makes one"),
        ({"secret_key": b"x" * 47, "hash_algorithm": "HS384"}, "at least 48 bytes"),
        ({"secret_key": SECRET, "algorithms": ["HS256", "HS512"]}, "at least 64 bytes"),
        ({"secret_key": None}, "at least 32 bytes"),
        ({"hash_algorithm": "none"}, "algorithm must be one of HS256, .* got 'none'"),
        ({"secret_key": SECRET, "algorithms": ["HS256", "none"]}, "got 'none'"),
        ({"secret_key": SECRET, "algorithms": ["HS256", "RS256"]}, "algorithms must be of one kind"),
        ({"secret_key": SECRET, "algorithms": ["RS256"]}, "algorithms must be of one kind"),
        (
            {"secret_key": SECRET * 2, "algorithms": ["HS512"]},
            "algorithms must name HASH_ALGORITHM, 'HS256'",
        ),
        ({"secret_key": RSA_PUBLIC}, "SECRET_KEY is no key for HS256"),
        ({"hash_algorithm": "ES384", "secret_key": EC_PRIVATE}, "SECRET_KEY is no key for ES384"),
        ({"hash_algorithm": "RS256"}, "SECRET_KEY is no key for RS256"),
        ({"hash_algorithm": "RS256", "secret_key": None}, "RS256 needs SECRET_KEY, PUBLIC_KEY, JWKS or JWKS_URL"),
        ({"hash_algorithm": "RS256", "secret_key": RSA_PUBLIC}, "SECRET_KEY of RS256 must be a private key"),
        ({"hash_algorithm": "RS256", "public_key": EC_PUBLIC}, "PUBLIC_KEY is no key for RS256"),
        ({"hash_algorithm": "RS256", "secret_key": WEAK_RSA}, "SECRET_KEY must have at least 2048 bits, got 1024"),
        ({"hash_algorithm": "RS256", "jwks": {"keys": []}}, "key set has no key of kind RSA"),
        ({"hash_algorithm": "ES256", "jwks": {"keys": [rsa_jwk()]}}, "key set has no key of kind EC for signatures"),
        ({"hash_algorithm": "RS256", "jwks": {"keys": [rsa_jwk(use="enc")]}}, "key set has no key of kind RSA"),
        ({"jwks": {"keys": [{"kty": "oct", "k": part("short")}]}}, "at least 256 bits"),
        ({"hash_algorithm": "RS256", "jwks_url": "http://example.com/keys"}, "keys must be fetched over https"),
    ],
)
def test_what_would_not_be_safe_is_refused_at_start_up(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=text):
        JSONWebTokenManager(**options)


def test_a_middleware_with_the_default_secret_keeps_the_application_from_being_made() -> None:
    with pytest.raises(ImproperlyConfigured, match="everybody knows the default"):
        Application(middlewares=[JSONWebTokenMiddleware])


@pytest.mark.parametrize(
    ("data", "claims", "text"),
    [
        ({}, {"sub": True}, r"sub must be a string \(RFC 7519 §4.1.2\), got True"),
        ({}, {"sub": 7}, r"sub must be a string \(RFC 7519 §4.1.2\), got 7"),
        ({"sub": 7}, {}, r"sub must be a string \(RFC 7519 §4.1.2\), got 7"),
        ({}, {"exp": "60"}, "exp must be a number of seconds from now, got '60'"),
        ({}, {"nbf": datetime(2026, 1, 1)}, "nbf must be a number of seconds from now, got datetime"),
    ],
    ids=str,
)
def test_a_token_that_nobody_would_take_is_not_made(data: dict[str, Any], claims: dict[str, Any], text: str) -> None:
    with pytest.raises(TypeError, match=text):
        JSONWebTokenManager(secret_key=SECRET).generate(data, **claims)


def test_an_unknown_option_of_a_manager_is_named() -> None:
    with pytest.raises(TypeError, match="has no option 'secret', only algorithms, audience"):
        JSONWebTokenManager(secret=SECRET)


# Key sets


def test_a_token_is_verified_with_the_key_that_it_names(clock: Clock) -> None:
    other = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 2048).public_key()))
    manager = JSONWebTokenManager(hash_algorithm="RS256", jwks={"keys": [rsa_jwk(kid="a"), other | {"kid": "b"}]})
    assert manager.verify(signed(claims(), RSA_PRIVATE, alg="RS256", kid="a"))["sub"] == "ada"
    for kid in ({"kid": "b"}, {"kid": "c"}, {}):
        with pytest.raises(InvalidSignatureException):
            manager.verify(signed(claims(), RSA_PRIVATE, alg="RS256", **kid))


def test_a_key_is_used_with_the_algorithm_that_it_names(clock: Clock) -> None:
    manager = JSONWebTokenManager(
        hash_algorithm="RS256", algorithms=["RS256", "RS512"], jwks={"keys": [rsa_jwk(kid="a", alg="RS512")]}
    )
    assert manager.verify(signed(claims(), RSA_PRIVATE, alg="RS512", kid="a"))
    with pytest.raises(InvalidSignatureException):
        manager.verify(signed(claims(), RSA_PRIVATE, alg="RS256", kid="a"))


class Issuer:
    """Stands in for the server that publishes keys: what PyJWT's client fetches is what `published` says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.published: list[dict[str, Any]] = [rsa_jwk(kid="a")]
        self.fetched = 0
        self.now = 1000.0
        self.fault: Exception | None = None
        monkeypatch.setattr(keys, "fetch", self.fetch)
        monkeypatch.setattr(keys.RemoteKeySet, "now", staticmethod(lambda: self.now))

    async def fetch(self, url: str, read: Any, *, timeout: float, most: int) -> Any:
        self.fetched += 1
        if self.fault is not None:
            raise self.fault
        return read(json.dumps({"keys": self.published}).encode())


def remote() -> JSONWebTokenManager:
    return JSONWebTokenManager(hash_algorithm="RS256", jwks_url="https://issuer.example/keys")


@asynchronous
async def test_keys_are_fetched_once_and_again_when_they_are_old(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    issuer, manager = Issuer(monkeypatch), remote()
    for _ in range(3):
        assert (await manager.verify_later(named("a")))["sub"] == "ada"
    assert issuer.fetched == 1
    issuer.now += 300
    issuer.published = [rsa_jwk(kid="b")]
    with pytest.raises(InvalidSignatureException):
        await manager.verify_later(named("a"))
    assert issuer.fetched == 2
    assert await manager.verify_later(named("b"))


@asynchronous
async def test_a_key_id_that_is_new_makes_us_fetch_and_made_up_ones_only_now_and_then(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer, manager = Issuer(monkeypatch), remote()
    await manager.verify_later(named("a"))
    issuer.now += 10
    issuer.published.append(rsa_jwk(kid="new"))
    assert await manager.verify_later(named("new"))
    assert issuer.fetched == 2
    for number in range(20):
        with pytest.raises(InvalidSignatureException):
            await manager.verify_later(named(f"made-up-{number}"))
    assert issuer.fetched == 2


@asynchronous
async def test_a_token_of_another_algorithm_makes_us_fetch_nothing(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer, manager = Issuer(monkeypatch), remote()
    with pytest.raises(InvalidSignatureException):
        await manager.verify_later(signed(claims()))
    assert issuer.fetched == 0


@asynchronous
async def test_an_issuer_that_does_not_answer_is_not_the_fault_of_the_client(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer = Issuer(monkeypatch)
    issuer.fault = ConnectionRefusedError("unreachable")
    middleware = JSONWebTokenMiddleware(remote())
    async with serving(api(), middlewares=[middleware]) as app, await Client.connect(app) as client:
        for _ in range(2):
            reply = await client.ask(url="/me", id=1, token=named("a"))
            assert reply == {"id": 1, "status": 503, "detail": keys.KeysUnavailable.default_detail}
        assert issuer.fetched == 1
        issuer.fault = None
        issuer.now += 10
        assert (await client.ask(url="/me", id=2, token=named("a")))["data"] == "ada"


class Counting(Manager):
    """Says how many tokens it has verified."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.verified = 0

    def verify(self, token: Any) -> dict[str, Any]:
        self.verified += 1
        return super().verify(token)


class Middleware(JSONWebTokenMiddleware):
    manager: Any = Counting


def refused(detail: str, status: int = 401) -> dict[str, Any]:
    return {"id": 1, "status": status, "detail": detail}


@asynchronous
async def test_a_message_brings_its_token_and_is_answered_for_its_user(clock: Clock) -> None:
    token = signed(claims(scope="read write"))
    async with serving(api(), middlewares=[Middleware]) as app, await Client.connect(app) as client:
        assert await client.ask(url="/me", token=token) == {"data": "ada", "event_name": None}
        assert await client.ask(url="/hello", token=token, id=1) == {
            "id": 1,
            "status": 200,
            "data": [True, claims(scope="read write")],
        }
        for url in ("/members", "/read"):
            assert (await client.ask(url=url, token=token, id=1))["data"] == "in"


@pytest.mark.parametrize("nothing", [{}, {"token": None}, {"token": ""}])
@asynchronous
async def test_a_message_without_a_token_is_anonymous(clock: Clock, nothing: dict[str, Any]) -> None:
    async with serving(api(), middlewares=[Middleware]) as app, await Client.connect(app) as client:
        assert (await client.ask(url="/me", id=1, token=signed(claims())))["data"] == "ada"
        assert await client.ask(url="/me", id=1, **nothing) == refused(MISSING)
        assert (await client.ask(url="/hello", id=1, **nothing))["data"] == [False, None]
        assert await client.ask(url="/members", id=1, **nothing) == refused("Authentication is required.")
        assert await client.ask(url="/read", id=1, **nothing) == refused(DENIED, 403)


@pytest.mark.parametrize("name", TOKENS)
@asynchronous
async def test_a_bad_token_is_answered_with_401_on_public_views_too(clock: Clock, name: str) -> None:
    token, fault = TOKENS[name]
    async with serving(api(), middlewares=[Middleware]) as app, await Client.connect(app) as client:
        assert await client.ask(url="/me", id=1, token=token) == refused(fault.default_detail)
        assert await client.ask(url="/read", id=1, token=token) == refused(fault.default_detail)
        if fault is TokenExpiredException:  # an old one locks nobody out
            assert (await client.ask(url="/hello", id=1, token=token))["data"] == [False, None]
        else:
            assert await client.ask(url="/hello", id=1, token=token) == refused(fault.default_detail)
        assert (await client.ask(url="/me", id=1, token=signed(claims())))["data"] == "ada"


@asynchronous
async def test_a_token_beyond_the_message_limit_closes_1009() -> None:
    async with serving(api(), middlewares=[Middleware]) as app, await Client.connect(app) as client:
        client.request(url="/me", id=1, token="a" * 1_048_576)
        assert (await client.left()).close_code == 1009


@asynchronous
async def test_a_token_is_verified_once_a_connection_and_expires_all_the_same(clock: Clock) -> None:
    middleware = Middleware()
    token = signed(claims())
    async with serving(api(), middlewares=[middleware]) as app, await Client.connect(app) as client:
        for _ in range(5):
            assert (await client.ask(url="/me", id=1, token=token))["data"] == "ada"
        assert middleware.manager.verified == 1
        clock.now = NOW + 60
        assert await client.ask(url="/me", id=1, token=token) == refused(EXPIRED)
        new = signed(claims(sub="bob", exp=int(NOW) + 120))
        assert (await client.ask(url="/me", id=1, token=new))["data"] == "bob"
        async with await Client.connect(app) as other:
            assert await other.ask(url="/me", id=1) == refused(MISSING)


@asynchronous
async def test_what_a_handler_does_to_its_claims_no_other_request_sees(clock: Clock) -> None:
    token = signed(claims())
    async with serving(api(), middlewares=[Middleware]) as app, await Client.connect(app) as client:
        for _ in range(3):
            assert (await client.ask(url="/claims", id=1, token=token))["data"] == ["exp", "seen", "sub"]
        assert (await client.ask(url="/hello", id=1, token=token))["data"] == [True, claims()]


@asynchronous
async def test_a_user_that_is_sent_is_nobody(clock: Clock) -> None:
    async with serving(api(), middlewares=[Middleware]) as app, await Client.connect(app) as client:
        sent = {"user": {"id": "eve", "is_user": True}, "token_payload": {"sub": "eve", "scope": "read"}}
        assert await client.ask(url="/me", id=1, **sent) == refused(MISSING)
        assert await client.ask(url="/read", id=1, **sent) == refused(DENIED, 403)


# Users and revocation


class Block(Middleware):
    """A block list, and users from a store."""

    blocked: set[str]

    def __init__(self) -> None:
        super().__init__()
        self.blocked = set()
        self.looked_up: list[str] = []

    async def get_user(self, payload: dict[str, Any]) -> Any:
        self.looked_up.append(payload["sub"])
        return User(id=payload["sub"].upper(), is_user=True) if payload["sub"] != "gone" else None

    def is_revoked(self, payload: dict[str, Any]) -> Any:
        return payload["sub"] in self.blocked


class SlowBlock(Block):
    async def is_revoked(self, payload: dict[str, Any]) -> Any:
        return payload["sub"] in self.blocked


@pytest.mark.parametrize("kind", [Block, SlowBlock])
@asynchronous
async def test_a_token_that_is_revoked_in_the_middle_of_a_connection_is_refused_from_then_on(
    clock: Clock, kind: type[Block]
) -> None:
    middleware = kind()
    async with serving(api(), middlewares=[middleware]) as app, await Client.connect(app) as client:
        for _ in range(3):
            assert (await client.ask(url="/me", id=1, token=signed(claims())))["data"] == "ADA"
        assert middleware.looked_up == ["ada"]
        middleware.blocked.add("ada")
        for _ in range(2):
            assert await client.ask(url="/me", id=1, token=signed(claims())) == refused(REVOKED)
        assert (await client.ask(url="/me", id=1, token=signed(claims(sub="bob"))))["data"] == "BOB"
        assert await client.ask(url="/me", id=1, token=signed(claims(sub="gone"))) == refused(REVOKED)


@pytest.mark.parametrize("kind", [Block, SlowBlock])
@asynchronous
async def test_a_handshake_whose_token_is_revoked_ends_after_the_grace_period(clock: Clock, kind: type[Block]) -> None:
    middleware = kind()
    middleware.grace = 10
    async with serving(api(), middlewares=[middleware]) as app:
        client = await Client.connect(app, headers=[("Authorization", f"Bearer {signed(claims())}")])
        assert (await client.ask(url="/me", id=1))["data"] == "ADA"
        middleware.blocked.add("ada")
        assert await client.ask(url="/me", id=1) == refused(REVOKED)
        assert await client.ask(url="/me", id=1) == refused(REVOKED)
        (connection,) = app._listening.connections  # type: ignore[union-attr]
        clock.now += 10
        connection._credentials.timer._run()  # what is hours away in the loop's time
        closed = await client.left()
        assert (closed.close_code, closed.close_reason) == (4401, REVOKED)
        with pytest.raises(HandshakeRefused) as caught:
            await Client.connect(app, headers=[("Authorization", f"Bearer {signed(claims())}")])
        assert caught.value.status == 401


# Handshakes


def cookie_middleware() -> Middleware:
    return Middleware(cookie="session")


@pytest.mark.parametrize("way", WAYS)
@asynchronous
async def test_a_token_of_the_handshake_is_good_for_every_message(clock: Clock, way: str) -> None:
    middleware = cookie_middleware()
    token = signed(claims())
    async with serving(api(), middlewares=[middleware]) as app:
        client = await Client.connect(app, headers=brought(way, token))
        for _ in range(3):
            assert (await client.ask(url="/me", id=1))["data"] == "ada"
            assert (await client.ask(url="/me", id=1, token=token))["data"] == "ada"
        assert middleware.manager.verified == 1
        assert client.headers.get("sec-websocket-protocol") == ("bearer" if way == "subprotocol" else None)
        assert token not in str(client.headers)
        await client.leave()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["expired", "other-secret", "crit"])
@asynchronous
async def test_a_bad_token_of_the_handshake_is_a_401(clock: Clock, way: str, name: str) -> None:
    async with serving(api(), middlewares=[cookie_middleware()]) as app:
        with pytest.raises(HandshakeRefused, match=str(TOKENS[name][1].default_detail)) as caught:
            await Client.connect(app, headers=brought(way, TOKENS[name][0]))
        assert caught.value.status == 401


@pytest.mark.parametrize(
    "header",
    [
        ("Authorization", "Basic YWRhOnNlY3JldA=="),
        ("Cookie", "session=x"),  # nobody looks at it
        ("Cookie", "token="),
        ("Sec-WebSocket-Protocol", "bearer"),
        ("Sec-WebSocket-Protocol", "chat, bearer"),
    ],
)
@asynchronous
async def test_a_handshake_without_a_token_is_anonymous(clock: Clock, header: tuple[str, str]) -> None:
    middleware = Middleware(cookie="token")
    async with serving(api(), middlewares=[middleware]) as app, await Client.connect(app, headers=[header]) as client:
        assert await client.ask(url="/me", id=1) == refused(MISSING)
        assert "sec-websocket-protocol" not in client.headers


@asynchronous
async def test_a_subprotocol_of_the_server_is_agreed_on_before_bearer(clock: Clock) -> None:
    async with serving(api(), middlewares=[Middleware], subprotocols=("v2",)) as app:
        for offer, agreed in (("v2, bearer, {}", "v2"), ("bearer, {}, v2", "v2"), ("bearer, {}, v1", "bearer")):
            headers = [("Sec-WebSocket-Protocol", offer.format(signed(claims())))]
            async with await Client.connect(app, headers=headers) as client:
                assert client.headers["sec-websocket-protocol"] == agreed
                assert (await client.ask(url="/me", id=1))["data"] == "ada"


@asynchronous
async def test_an_expired_handshake_gets_401_and_a_new_token_takes_its_place(clock: Clock) -> None:
    middleware = Middleware()
    async with serving(api(), middlewares=[middleware]) as app:
        client = await Client.connect(app, headers=brought("header", signed(claims())))
        clock.now = NOW + 60
        assert await client.ask(url="/me", id=1) == refused(EXPIRED)
        assert await client.ask(url="/members", id=1) == refused(EXPIRED)
        assert (await client.ask(url="/hello", id=1))["data"] == [False, None]
        bad = await client.ask(url="/me", id=1, token=signed(claims()))
        assert bad == refused(EXPIRED)
        new = signed(claims(exp=int(NOW) + 120))
        assert (await client.ask(url="/me", id=1, token=new))["data"] == "ada"
        assert (await client.ask(url="/me", id=1))["data"] == "ada"
        (connection,) = app._listening.connections  # type: ignore[union-attr]
        assert connection._credentials.ends == NOW + 120
        await client.leave()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@asynchronous
async def test_a_handshake_that_expires_is_closed_4401_after_the_grace_period(clock: Clock, loop: str) -> None:
    async with serving(api(), middlewares=[Middleware(grace=1)]) as app:
        clock.now = NOW + 60.99
        token = signed(claims())
        with pytest.raises(HandshakeRefused):
            await Client.connect(app, headers=brought("header", token))
        clock.now = NOW
        client = await Client.connect(app, headers=brought("header", token))
        (connection,) = app._listening.connections  # type: ignore[union-attr]
        clock.now = NOW + 60.995  # 5 ms before, and then it stands still: the timer looks, and looks again
        credentials = connection._credentials
        credentials.drop()
        credentials.watch(lambda: clock.now, 1, lambda: connection.close(4401, "Token has expired."))
        assert await client.ask(url="/me", id=1) == refused(EXPIRED)
        clock.now = NOW + 61
        closed = await client.left()
        assert (closed.opcode, closed.close_code, closed.close_reason) == (CLOSE, 4401, "Token has expired.")


@asynchronous
async def test_a_token_that_expires_while_the_application_decides_opens_nothing(clock: Clock) -> None:
    async def welcome(connection: Any) -> None:
        clock.now = NOW + 60
        connection._credentials.drop()
        connection._credentials.owner._watch(connection, connection._credentials)

    async with serving(api(), middlewares=[Middleware(grace=0)], on_connect=welcome) as app:
        with pytest.raises(HandshakeRefused, match=EXPIRED):
            await Client.connect(app, headers=brought("header", signed(claims())))


@asynchronous
async def test_the_end_of_a_connection_stops_its_timer(clock: Clock) -> None:
    async with serving(api(), middlewares=[Middleware]) as app:
        client = await Client.connect(app, headers=brought("header", signed(claims())))
        (connection,) = app._listening.connections  # type: ignore[union-attr]
        timer = connection._credentials.timer
        await client.leave()
        assert timer.cancelled()
        assert connection._credentials is None


@asynchronous
async def test_a_token_for_one_message_does_not_end_its_connection(clock: Clock) -> None:
    async with serving(api(), middlewares=[Middleware]) as app, await Client.connect(app) as client:
        await client.ask(url="/me", id=1, token=signed(claims()))
        (connection,) = app._listening.connections  # type: ignore[union-attr]
        assert connection._credentials.timer is None


@asynchronous
async def test_keys_are_fetched_at_the_handshake_too(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    issuer = Issuer(monkeypatch)
    async with serving(api(), middlewares=[JSONWebTokenMiddleware(remote())]) as app:
        client = await Client.connect(app, headers=brought("subprotocol", named("a")))
        assert (await client.ask(url="/me", id=1))["data"] == "ada"
        await client.leave()
        with pytest.raises(HandshakeRefused, match=UNSIGNED):
            await Client.connect(app, headers=brought("subprotocol", named("b")))
        assert issuer.fetched == 1


@asynchronous
async def test_the_application_is_asked_after_the_token(clock: Clock) -> None:
    asked: list[Any] = []
    async with serving(api(), middlewares=[Middleware], on_connect=asked.append) as app:
        with pytest.raises(HandshakeRefused):
            await Client.connect(app, headers=brought("header", "nonsense"))
        assert asked == []
        async with await Client.connect(app, headers=brought("subprotocol", signed(claims()))) as client:
            assert len(asked) == 1
            assert client.headers["sec-websocket-protocol"] == "bearer"


@asynchronous
async def test_nothing_of_a_token_is_logged(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    good, bad = signed(claims()), signed(claims(), SECRET[::-1])

    class Failing(MethodBasedView):
        auth_required = True

        def get(self, request: Any) -> Any:
            raise RuntimeError("oh")

    router = api()
    router.register("/failing", Failing, "GET")
    options: dict[str, Any] = {"middlewares": [cookie_middleware()], "access_log": True, "debug": True}
    async with serving(router, **options) as app:
        for way in WAYS:
            for token in (good, bad):
                try:
                    client = await Client.connect(app, headers=brought(way, token))
                except HandshakeRefused:
                    continue
                for sent in (good, bad):
                    await client.ask(url="/me", token=sent)
                reply = await client.ask(url="/failing", id=1)
                assert reply["status"] == 500
                await client.leave()
    logged = "\n".join([caplog.text, *(str(record.__dict__) for record in caplog.records)])
    assert "failing" in logged
    for token in (good, bad):
        for piece in token.split(".")[1:]:
            assert piece not in logged


# Permissions


NO_REQUEST: Any = None
NO_VIEW: Any = None


class Says(AbstractPermission):
    """A permission with a fixed answer; one that is async, or raises, if it is told so."""

    def __init__(self, answer: Any, *, later: bool = False) -> None:
        self.answer = answer
        self.later = later

    def check(self, request: Any, handler: Any) -> Any:  # type: ignore[override]
        if self.later:
            return self.check_later()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def check_later(self) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Yes(AbstractPermission):
    @staticmethod
    def check(request: Any, handler: Any) -> Any:
        return True


class No(AbstractPermission):
    @staticmethod
    async def check(request: Any, handler: Any) -> Any:
        return False


class Plain:
    @staticmethod
    def check(request: Any, handler: Any) -> Any:
        return True


COMBINED: list[tuple[Any, bool]] = [
    (Yes & Yes, True),
    (Yes & No, False),
    (No & Yes, False),
    (Yes | No, True),
    (No | Yes, True),
    (No | No, False),
    (~No, True),
    (~Yes, False),
    (~(Yes & No) & Yes, True),
    (~~Yes, True),
    (Yes & (No | Says(True)), True),
    (Yes & (No | Says(1)), False),
    (Plain & Yes, True),
    (Yes & Plain, True),
    (No | Plain, True),
    (Plain | No, True),
    (Says(PermissionDeniedException()) | Yes, True),
    (Says(NotAuthenticated(), later=True) | Yes, True),
    (~Says(PermissionDeniedException(), later=True), True),
    (Says(PermissionDeniedException()) & Yes, False),
    (Says(None) | Says(False), False),
    (Says(True, later=True) & Says(True, later=True) & Says(True), True),
]


@pytest.mark.parametrize(("permission", "passes"), COMBINED, ids=range(len(COMBINED)))
@asynchronous
async def test_permissions_are_made_of_others(permission: Any, passes: bool) -> None:
    router = SimpleRouter()
    router.register_endpoint(endpoint("/x", "GET", permission_classes=[permission])(lambda request: "in"))
    async with serving(router) as app, await Client.connect(app) as client:
        reply = await client.ask(url="/x", id=1)
        assert reply == ({"id": 1, "status": 200, "data": "in"} if passes else refused(DENIED, 403))


@pytest.mark.parametrize("later", [False, True])
@asynchronous
async def test_a_part_that_fails_lets_nobody_in_whatever_the_others_say(later: bool) -> None:
    broken = Says(RuntimeError("oh"), later=later)
    router = SimpleRouter()
    for number, permission in enumerate((broken | Yes, ~broken, broken & Yes, ~(broken | Yes))):
        router.register_endpoint(endpoint(f"/{number}", "GET", permission_classes=[permission])(lambda request: "in"))
    async with serving(router) as app, await Client.connect(app) as client:
        for number in range(4):
            assert await client.ask(url=f"/{number}", id=1) == refused(DENIED, 403)


def test_the_second_part_is_asked_only_if_it_matters() -> None:
    assert (Says(False) & Says(RuntimeError())).check(NO_REQUEST, NO_VIEW) is False
    assert (Says(True) | Says(RuntimeError())).check(NO_REQUEST, NO_VIEW) is True


def test_what_is_no_permission_cannot_be_combined() -> None:
    with pytest.raises(TypeError, match="a permission must have a method 'check', got 5"):
        Yes & 5  # type: ignore[operator]


@pytest.mark.parametrize(
    ("granted", "passes"),
    [
        *[("read", True), ("write read", True), (["read"], True), ("reader", False), ("", False), (None, False)],
        *[(5, False), ({"read": 1}, False), (["reader"], False), ("READ", False)],
    ],
)
def test_has_scope_reads_the_claim(granted: Any, passes: bool) -> None:
    request: Any = SimpleNamespace(token_payload={"scope": granted})
    assert HasScope("read").check(request, NO_VIEW) is passes
    assert HasScope("read", "other").check(request, NO_VIEW) is False


@pytest.mark.parametrize("scopes", [(), ("",), ("a b",), (5,)])
def test_has_scope_takes_scopes(scopes: Any) -> None:
    with pytest.raises(TypeError, match="scopes must be strings without spaces"):
        HasScope(*scopes)


# Import paths, texts, users


def test_import_paths_and_texts_are_those_of_1_1_1() -> None:
    assert auth_exceptions.PermissionDeniedException.default_detail == DENIED
    texts = {name: getattr(token_exceptions, name).default_detail for name in token_exceptions.__all__}
    assert texts == {
        "BaseTokenException": NOT_OURS,
        "InvalidClaimException": NOT_OURS,
        "InvalidSignatureException": UNSIGNED,
        "ParsingTokenException": MALFORMED,
        "TokenExpiredException": EXPIRED,
        "TokenNotBeforeException": NOT_YET,
        "TokenNotProvidedException": MISSING,
        "TokenRevokedException": REVOKED,
    }
    for name in token_exceptions.__all__:
        error = getattr(token_exceptions, name)
        assert (error.status, error.status_code) == (401, 1002)
        assert issubclass(error, auth_exceptions.BaseAuthException)


def test_a_user_is_anonymous_unless_something_says_otherwise() -> None:
    assert User().is_anonymous
    assert not User().is_authenticated()
    for flag in ("is_user", "is_staff", "is_superuser"):
        assert User(**{flag: True}).is_authenticated()
    user = User(id=1, username="ada", first_name="Ada", last_name="Lovelace", is_user=True, permissions=["x"])
    assert (user.get_fullname(), user.has_permission("x"), user.has_permission("y")) == ("Ada Lovelace", True, False)
    assert not User(is_active=False, permissions=["x"]).has_permission("x")


@pytest.mark.parametrize("name", ["colour", "is_authenticated", "is_anonymous", "__class__"])
def test_a_user_has_no_other_attributes(name: str) -> None:
    with pytest.raises((TypeError, AttributeError)):
        User(**{name: True})


@asynchronous
async def test_pyjwt_is_imported_when_it_is_used_and_named_when_it_is_missing() -> None:
    outcome = await run_program(
        "import sys, aiorest_ws, aiorest_ws.auth.permissions, aiorest_ws.auth.exceptions\n"
        "import aiorest_ws.auth.token.exceptions, aiorest_ws.auth.user.models\n"
        "print('jwt' in sys.modules)\n"
        "sys.modules['jwt'] = None\n"
        "try:\n"
        "    import aiorest_ws.auth.token.middlewares\n"
        "except ImportError as exc:\n"
        "    print(exc)\n"
    )
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == "False\ntokens need PyJWT: pip install 'aiorest-ws[jwt]>=2'\n"


@asynchronous
async def test_the_code_of_the_documentation_runs() -> None:
    page = ROOT / "docs" / "authentication.md"
    names: dict[str, Any] = {"__name__": "documentation"}
    for block in blocks("python", page.read_text("utf-8")):
        exec(compile(block, page.name, "exec"), names)
    assert names["Tokens"]().waits
    app = Application(router=names["router"], middlewares=[names["TokenMiddleware"]])
    await app.start(port=0)
    async with await Client.connect(app) as client:
        token = (await client.ask("POST", "/login"))["data"]
        assert (await client.ask(url="/me", token=token))["data"]["user"] == "ada"
        assert (await client.ask(url="/report", token=token))["data"] == "all is well"
        assert (await client.ask("PUT", "/users/ada", id=1, token=token))["data"] == "ada"
        assert (await client.ask("PUT", "/users/bob", id=1, token=token))["status"] == 403
        names["revoked"].add(names["manager"].verify(token)["jti"])
        assert await client.ask(url="/me", id=1, token=token) == refused(REVOKED)
    await app.stop()
