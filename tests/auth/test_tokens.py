"""What a token says, how long it is good, and what the manager's options mean."""

from __future__ import annotations

import copy
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated, Any

import pytest
from freezegun import freeze_time

from aiorest_ws import Application, Depends, SimpleRouter, endpoint
from aiorest_ws.auth.permissions import HasScope
from aiorest_ws.auth.token.exceptions import (
    InvalidClaimException,
    ParsingTokenException,
    TokenExpiredException,
)
from aiorest_ws.auth.token.managers import JSONWebTokenManager
from aiorest_ws.auth.token.middlewares import JSONWebTokenMiddleware
from aiorest_ws.testing import TestClient
from tests.kit.tokens import (
    ES_KEYS,
    EXPIRED,
    NOW,
    RSA_PRIVATE,
    Clock,
    Manager,
    api,
    bearer,
    claims,
    clock,
    rsa_jwk,
    signed,
)
from tests.swapping import Impl

__all__ = ("clock",)

YEAR = 366 * 86400
DATE = datetime.fromtimestamp(NOW, UTC)
SECRET = "a secret of more than thirty-two bytes"


# Times


@pytest.mark.parametrize("name", ["exp", "nbf"])
@pytest.mark.parametrize(
    "given",
    [int(NOW) + 300, NOW + 300, int(NOW) * 1000, YEAR + 1, -1, -0.5, True, False, float("nan"), float("inf")],
)
def test_seconds_from_now_are_at_most_a_year_of_them(clock: Clock, name: str, given: Any) -> None:
    text = rf"{name} must be from 0 to {YEAR} seconds from now, got .*datetime.*timedelta"
    with pytest.raises(ValueError, match=text):
        Manager().generate({}, sub="ada", **{name: given})


@pytest.mark.parametrize("given", ["60", b"60", [60], 60j, datetime(2026, 1, 1), DATE.date()])
def test_what_is_no_time_is_refused(clock: Clock, given: Any) -> None:
    with pytest.raises(TypeError, match=r"exp must be a number of seconds from now, got .*datetime"):
        Manager().generate({}, exp=given)


@pytest.mark.parametrize(
    ("given", "exp"),
    [
        (0.5, NOW + 0.5),
        (YEAR, NOW + YEAR),
        (timedelta(minutes=5), NOW + 300),
        (timedelta(days=3650), NOW + 3650 * 86400),
        (timedelta(seconds=-10), NOW - 10),
        (DATE + timedelta(days=3650), NOW + 3650 * 86400),
        (DATE.astimezone(timezone(timedelta(hours=9))), NOW),
    ],
    ids=str,
)
def test_a_timedelta_or_a_datetime_says_what_is_meant(clock: Clock, given: Any, exp: float) -> None:
    token = Manager().generate({}, exp=given)
    clock.now = 0
    assert Manager().verify(token)["exp"] == exp


@pytest.mark.parametrize("given", [timedelta.max, timedelta(days=-30000)])
def test_a_timedelta_ends_in_this_calendar(clock: Clock, given: timedelta) -> None:
    with pytest.raises(ValueError, match="exp must end before the year 10000"):
        Manager().generate({}, exp=given)


@pytest.mark.parametrize("option", ["lifetime", "leeway"])
@pytest.mark.parametrize(
    ("given", "error"),
    [
        *[(value, ValueError) for value in (int(NOW), -1, True, float("nan"), timedelta(seconds=-1))],
        *[(value, TypeError) for value in ("60", [60], DATE)],
    ],
)
def test_lifetime_and_leeway_are_spans(option: str, given: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"{option} must"):
        Manager(**{option: given})


def test_lifetime_and_leeway_may_be_timedeltas(clock: Clock) -> None:
    manager = Manager(leeway=timedelta(seconds=5), lifetime=timedelta(days=1000))
    assert manager.verify(manager.generate({}))["exp"] == NOW + 1000 * 86400
    token = manager.generate({}, exp=10)
    clock.now += 14.5
    assert manager.verify(token)
    clock.now += 0.5
    with pytest.raises(TokenExpiredException):
        manager.verify(token)


# What a token must have


@pytest.mark.parametrize("required", [("sub",), ["sub", "exp"], {"sub"}, iter(("sub",))])
def test_exp_stays_required(clock: Clock, required: Any) -> None:
    manager = Manager(required=required)
    assert manager.verify(signed(claims()))
    for payload in ({"sub": "ada"}, {"exp": int(NOW) + 60}):
        with pytest.raises(InvalidClaimException):
            manager.verify(signed(payload))


def test_exp_is_not_required_when_that_is_said(clock: Clock) -> None:
    for options in ({"required": ("sub",), "optional": ("exp",)}, {"optional": ["exp"]}, {"required": ()}):
        assert Manager(**options).verify(signed({"sub": "ada"})) == {"sub": "ada"}
    with pytest.raises(ValueError, match=r"optional must be \('exp',\) or \(\)"):
        Manager(optional=("sub",))


@pytest.mark.parametrize("option", ["required", "optional"])
@pytest.mark.parametrize("given", ["sub", b"sub", 5, None, [5]])
def test_names_of_claims_are_a_list(option: str, given: Any) -> None:
    with pytest.raises(TypeError, match=f"{option} must be a list of names of claims"):
        Manager(**{option: given})


@pytest.mark.parametrize(
    "options", [{"audience": []}, {"audience": [5]}, {"audience": ""}, {"issuer": ["us"]}, {"claims": ["purpose"]}]
)
def test_options_of_another_type_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="must be a"):
        Manager(**options)


def test_claims_must_be_as_the_manager_wants_them(clock: Clock) -> None:
    access = Manager(claims={"purpose": "access", "level": lambda level: level > 2})
    token = access.generate({"level": 3}, sub="ada")
    assert access.verify(token)["purpose"] == "access"
    refresh = Manager(claims={"purpose": "refresh"})
    wrong = [refresh.generate({"level": 3}), access.generate({"level": 2}), access.generate({}), signed(claims())]
    wrong.append(access.generate({"level": 3, "purpose": ["access"]}))
    for token in wrong:
        with pytest.raises(InvalidClaimException):
            access.verify(token)


def test_true_is_not_one(clock: Clock) -> None:
    with pytest.raises(InvalidClaimException):
        Manager(claims={"version": 1}).verify(signed(claims(version=True)))


@pytest.mark.parametrize("says", [lambda value: "yes", lambda value: 1, lambda value: value.__len__])
def test_a_function_for_a_claim_says_true_or_false(clock: Clock, says: Any) -> None:
    with pytest.raises(TypeError, match="the function for claim 'purpose' must say True or False, got "):
        Manager(claims={"purpose": says}).verify(signed(claims(purpose="access")))


@pytest.mark.parametrize("name", ["exp", "nbf", "iat", "iss", "aud"])
def test_claims_that_have_an_option_are_not_named_twice(name: str) -> None:
    with pytest.raises(TypeError, match=f"claims cannot name '{name}': that is what the option"):
        Manager(claims={name: "x"})


def test_the_type_of_a_token_is_looked_at(clock: Clock) -> None:
    manager = Manager(typ="at+jwt")
    assert manager.verify(manager.generate({}))
    assert manager.verify(signed(claims(), typ="application/AT+JWT"))
    for typ in ("JWT", None, 5, ""):
        with pytest.raises(InvalidClaimException):
            manager.verify(signed(claims(), typ=typ))


def test_an_integer_as_subject_is_taken_by_option(clock: Clock) -> None:
    manager = Manager(integer_sub=True)
    assert manager.verify(signed(claims(sub=7)))["sub"] == 7
    assert manager.verify(manager.generate({}, sub=7))["sub"] == 7
    for sub in (True, 1.5, [7], None):
        with pytest.raises(ParsingTokenException):
            manager.verify(signed(claims(sub=sub)))


def test_a_token_is_short_and_flat(clock: Clock) -> None:
    long = signed(claims(text="a" * 6000))
    assert len(long) <= 8192
    assert Manager().verify(long)
    for payload in (claims(text="a" * 6200), claims(deep=eval("[" * 80 + "]" * 80))):
        with pytest.raises(ParsingTokenException):
            Manager().verify(signed(payload))


# Keys of one name


def test_of_keys_with_one_name_the_one_that_fits_is_used(clock: Clock) -> None:
    other = pem_jwk()
    keys = [rsa_jwk(kid="a", alg="RS512") | other, rsa_jwk(kid="a", alg="RS256")]
    for order in (keys, keys[::-1]):
        manager = JSONWebTokenManager(hash_algorithm="RS256", algorithms=["RS256", "RS512"], jwks={"keys": order})
        for named in ({"kid": "a"}, {}):
            assert manager.verify(signed(claims(), RSA_PRIVATE, alg="RS256", **named))


def test_of_keys_with_one_name_and_no_algorithm_each_is_tried(clock: Clock) -> None:
    keys = [rsa_jwk(kid="a") | pem_jwk(), rsa_jwk(kid="a")]
    manager = JSONWebTokenManager(hash_algorithm="RS256", jwks={"keys": keys})
    assert manager.verify(signed(claims(), RSA_PRIVATE, alg="RS256", kid="a"))


def test_a_key_of_another_curve_is_not_meant(clock: Clock) -> None:
    (p256, private), (p384, _) = ES_KEYS
    manager = JSONWebTokenManager(
        hash_algorithm="ES256", algorithms=["ES256", "ES384"], jwks={"keys": [p384 | {"kid": "a"}, p256 | {"kid": "a"}]}
    )
    assert manager.verify(signed(claims(), private, alg="ES256", kid="a"))


def pem_jwk() -> dict[str, Any]:
    """Give the number of another RSA key."""
    import json

    from cryptography.hazmat.primitives.asymmetric import rsa
    from jwt.algorithms import RSAAlgorithm

    key: dict[str, Any] = json.loads(RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 2048).public_key()))
    return {"n": key["n"]}


# What is remembered


def nested() -> dict[str, Any]:
    return claims(scope=["read"], realm={"api": {"roles": ["member"]}}, lists=[[1], {"a": [2]}])


@pytest.mark.parametrize("payload", [claims(), nested()], ids=["flat", "nested"])
def test_claims_of_a_request_are_its_own(impl: Impl, payload: dict[str, Any]) -> None:
    proof = impl.proof.Proof(None, "t", payload, None, 5.0)
    expected = copy.deepcopy(payload)
    payload["sub"] = "eve"
    for _ in range(2):
        request = impl.wrappers.Request()
        proof.fill(request)
        for given in (request.token_payload, proof.claims()):
            assert given == expected
            spoil(given)
    assert proof.payload == expected


def spoil(value: Any) -> None:
    """Change whatever can be changed."""
    inner = list(value.values() if isinstance(value, dict) else value)
    for each in inner:
        if isinstance(each, (dict, list)):
            spoil(each)
    if isinstance(value, dict):
        value["spoiled"] = True
    else:
        value.append("admin")


class Careless(JSONWebTokenMiddleware):
    manager: Any = Manager

    def get_user(self, payload: dict[str, Any]) -> Any:
        user = super().get_user(payload)
        spoil(payload)
        return user

    def is_revoked(self, payload: dict[str, Any]) -> Any:
        spoil(payload)
        return False


async def spoiling(request: Any) -> Any:
    spoil(request.token_payload)
    return None


@pytest.mark.parametrize("middleware", [Careless, JSONWebTokenMiddleware])
@pytest.mark.parametrize("at_handshake", [True, False])
def test_who_reads_claims_changes_nobody_elses(clock: Clock, middleware: Any, at_handshake: bool) -> None:
    router = SimpleRouter()

    @endpoint("/admin", "GET", permission_classes=[HasScope("admin")])
    def admin(request: Any) -> Any:
        return "in"

    @endpoint("/spoil", "GET", auth_required=True)
    def spoil_them(request: Any, done: Annotated[Any, Depends(spoiling)]) -> Any:
        seen = copy.deepcopy(request.token_payload["scope"])
        spoil(request.token_payload)
        return seen

    @endpoint("/claims", "GET")
    def read(request: Any) -> Any:
        return request.token_payload

    for function in (admin, spoil_them, read):
        router.register_endpoint(function)
    token = signed(nested())
    headers = bearer(token) if at_handshake else {}
    sent = {} if at_handshake else {"token": token}
    app = Application(router=router, middlewares=[middleware(Manager)])
    with TestClient(app, headers=headers) as client:
        for _ in range(3):
            assert client.get("/spoil", **sent).data == ["read", "admin"]
            assert client.get("/admin", **sent).status == 403
            assert client.get("/claims", **sent).data == nested()


# The clock


def test_the_clock_is_looked_up_when_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """As freezegun needs it, which puts another function in the place of `time.time`."""
    now = [NOW]
    middleware = JSONWebTokenMiddleware(Manager())
    monkeypatch.setattr(time, "time", lambda: now[0])
    token = middleware.manager.generate({}, sub="ada", exp=300)
    with TestClient(Application(router=api(), middlewares=[middleware]), headers=bearer(token)) as client:
        assert [client.get("/me", **sent).status for sent in ({}, {"token": token})] == [200, 200]
        now[0] += 301
        assert [client.get("/me", **sent).detail for sent in ({}, {"token": token})] == [EXPIRED, EXPIRED]
        with pytest.raises(TokenExpiredException):
            middleware.manager.verify(token)


def test_a_token_expires_under_freezegun() -> None:
    middleware = JSONWebTokenMiddleware(Manager())
    with freeze_time("2026-01-01") as frozen:
        token = middleware.manager.generate({}, sub="ada", exp=300)
        app = Application(router=api(), middlewares=[middleware])
        with TestClient(app, token=token) as client:
            assert [client.get("/me", **sent).status for sent in ({}, {"token": token})] == [200, 200]
            frozen.tick(301)
            assert [client.get("/me", **sent).detail for sent in ({}, {"token": token})] == [EXPIRED, EXPIRED]


def test_a_clock_of_ones_own_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class Late(Manager):
        @staticmethod
        def now() -> float:
            return NOW

    token = signed(claims())
    monkeypatch.setattr(time, "time", lambda: NOW + 1000)
    with TestClient(Application(router=api(), middlewares=[JSONWebTokenMiddleware(Late)])) as client:
        assert [client.get("/me", token=token).status for _ in range(2)] == [200, 200]


# What is written by another name


@pytest.mark.parametrize("name", ["is_revoke", "isRevoked", "revoked", "getUser", "authenticat"])
def test_a_hook_by_another_name_is_refused(name: str) -> None:
    """It would never be asked, and nothing be revoked."""
    manager = JSONWebTokenManager(secret_key=SECRET)
    with pytest.raises(TypeError, match=f"has an attribute '{name}', did you mean"):
        type("Middleware", (JSONWebTokenMiddleware,), {name: lambda self, payload: True})(manager)
    type("Middleware", (JSONWebTokenMiddleware,), {"revoked": set(), "users": lambda self: []})(manager)


@pytest.mark.parametrize("name", ["AUDIANCE", "ISUER", "ALGORITHM", "REQUIRE", "audience", "LEEWAYS"])
def test_an_option_by_another_name_is_refused(name: str) -> None:
    manager = type("Manager", (JSONWebTokenManager,), {name: "x", "SECRET_KEY": SECRET})
    with pytest.raises(TypeError, match=f"has an attribute '{name}', did you mean"):
        manager()
    with pytest.raises(TypeError, match="no option 'audiance', did you mean 'audience'"):
        JSONWebTokenManager(secret_key=SECRET, audiance="x")


def test_is_revoked_of_one_instance_is_asked() -> None:
    middleware = JSONWebTokenMiddleware(JSONWebTokenManager(secret_key=SECRET))
    router = SimpleRouter()
    router.get("/", auth_required=True)(lambda request: "in")
    token = middleware.manager.generate({}, sub="ada")
    with TestClient(Application(router=router, middlewares=[middleware])) as client:
        assert client.get("/", token=token).status == 200
        middleware.is_revoked = lambda payload: True  # type: ignore[method-assign]
        assert client.get("/", token=token).status == 401


@pytest.mark.parametrize("hook", ["get_user", "is_revoked"])
def test_a_hook_that_leaves_the_process_leaves_the_server_alone(hook: str) -> None:
    async def leave(self: Any, payload: Any) -> None:
        raise SystemExit(3)

    middleware = type("Middleware", (JSONWebTokenMiddleware,), {hook: leave})(JSONWebTokenManager(secret_key=SECRET))
    router = SimpleRouter()
    router.get("/")(lambda request: "in")
    token = middleware.manager.generate({}, sub="ada")
    with TestClient(Application(router=router, middlewares=[middleware])) as client:
        assert client.get("/", token=token).status == 500
        assert client.get("/").data == "in"


@pytest.mark.parametrize("shared", [False, True], ids=["router", "application"])
def test_who_is_not_asked_at_the_handshake_is_named_at_the_start(
    shared: bool, caplog: pytest.LogCaptureFixture
) -> None:
    middleware = JSONWebTokenMiddleware(JSONWebTokenManager(secret_key=SECRET))
    router = SimpleRouter(middlewares=[middleware])
    router.get("/")(lambda request: "in")
    with TestClient(Application(router=router, middlewares=[middleware] if shared else [])):
        pass
    assert ("at_handshake of" in caplog.text) is not shared
