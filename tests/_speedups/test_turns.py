"""Several middlewares that authenticate: who is asked, who counts, and what the answer is when none knows."""

from __future__ import annotations

import itertools
import logging
from typing import Any

import pytest

from aiorest_ws import Application, HTTPError, SimpleRouter
from aiorest_ws.abstract import AbstractMiddleware
from aiorest_ws.auth.token.exceptions import ParsingTokenException, TokenNotProvidedException
from aiorest_ws.auth.token.middlewares import BaseTokenMiddleware, JSONWebTokenMiddleware
from aiorest_ws.auth.user.models import User
from aiorest_ws.exceptions import ConnectionRefused, NotAuthenticated
from aiorest_ws.testing import HandshakeRefused, TestClient
from tests.kit.keys import KEYS, Around, Overwriting, Strict
from tests.kit.tokens import (
    EXPIRED,
    MISSING,
    NOT_OURS,
    NOW,
    RSA_PRIVATE,
    RSA_PUBLIC,
    SECRET,
    UNSIGNED,
    Clock,
    Manager,
    api,
    bearer,
    claims,
    clock,
    signed,
)

__all__ = ("clock",)

OTHER = SECRET[::-1]


class A(JSONWebTokenMiddleware):
    manager: Any = Manager


class B(JSONWebTokenMiddleware):
    def __init__(self) -> None:
        super().__init__(Manager(secret_key=OTHER))


class R(JSONWebTokenMiddleware):
    def __init__(self) -> None:
        super().__init__(Manager(secret_key=RSA_PRIVATE, public_key=RSA_PUBLIC, hash_algorithm="RS256"))


class Us(JSONWebTokenMiddleware):
    def __init__(self) -> None:
        super().__init__(Manager(issuer="us"))


class Them(JSONWebTokenMiddleware):
    def __init__(self) -> None:
        super().__init__(Manager(issuer="them"))


class Raising(Strict):
    async def process_request(self, request: Any, handler: Any) -> None:  # type: ignore[override]
        if request.get_extra("key") is None:
            raise NotAuthenticated()
        super().process_request(request, handler)


class Opaque(BaseTokenMiddleware):
    """Tokens of another kind under the same key."""

    def authenticate(self, request: Any, handler: Any) -> Any:
        token = request.get_extra("token")
        if token is None:
            raise TokenNotProvidedException()
        if token not in KEYS:
            raise ParsingTokenException()
        request.user = User(id=KEYS[token], is_user=True)


def client(*middlewares: Any, on_router: Any = (), **options: Any) -> TestClient:
    router = SimpleRouter()
    inner = SimpleRouter(middlewares=list(on_router))
    inner.include(api())
    inner.get("/public")(lambda request: "all are welcome")
    router.include(inner)
    return TestClient(Application(router=router, middlewares=list(middlewares)), **options)


ADA, BOB, RSA, OLD = (
    signed(claims()),
    signed(claims(sub="bob"), OTHER),
    signed(claims(sub="rsa"), RSA_PRIVATE, alg="RS256"),
    signed(claims(sub="old", exp=int(NOW) - 1), OTHER),
)
FORGED = signed(claims(sub="eve"), SECRET.upper())


@pytest.mark.parametrize("kind", [Overwriting, Strict, Raising, Around])
@pytest.mark.parametrize("key_first", [True, False])
@pytest.mark.parametrize("on_router", [True, False])
def test_a_key_and_a_token_are_each_enough(clock: Clock, kind: Any, key_first: bool, on_router: bool) -> None:
    both = [kind, A] if key_first else [A, kind]
    with client(both[0], on_router=both[1:]) if on_router else client(*both) as one:
        for _ in range(2):
            assert one.get("/me", key="k-1").data == "kay"
            assert one.get("/me", token=ADA).data == "ada"
            assert one.get("/me", key="k-1", token=ADA).data == ("kay" if key_first else "ada")
            assert one.get("/public").status == (401 if kind is Raising else 200)
            assert one.get("/me").status == 401
            assert one.get("/me", token=FORGED).detail == UNSIGNED
            assert one.get("/hello", token=FORGED).detail == UNSIGNED
            if not key_first:
                assert one.get("/me", key="k-1", token=FORGED).detail == UNSIGNED
            if kind is Strict and key_first:
                assert one.get("/me", key="k-2", token=ADA).detail == "wrong key"


@pytest.mark.parametrize("order", list(itertools.permutations((A, B, R))))
def test_a_token_is_that_of_the_one_who_believes_it(clock: Clock, order: Any) -> None:
    with client(*order) as one:
        for _ in range(20):
            assert [one.get("/me", token=token).data for token in (ADA, BOB, RSA)] == ["ada", "bob", "rsa"]
        assert one.get("/me", token=FORGED).detail == UNSIGNED
        assert one.get("/me", token=OLD).detail == EXPIRED
        assert one.get("/me").detail == MISSING
        assert one.get("/hello").data == [False, None]
    for token, name in ((ADA, "ada"), (BOB, "bob"), (RSA, "rsa")):
        with client(*order, headers=bearer(token)) as one:
            assert one.get("/me").data == name
            assert one.get("/me", token=BOB).data == "bob"
            assert one.get("/me").data == name
    for token, detail in ((FORGED, UNSIGNED), (OLD, EXPIRED)):
        with pytest.raises(HandshakeRefused, match=detail) as caught:
            client(*order, headers=bearer(token)).__enter__()
        assert caught.value.status == 401


def test_the_most_telling_fault_is_the_answer(clock: Clock) -> None:
    theirs, nobodys = signed(claims(iss="them")), signed(claims(iss="x"))
    for order in itertools.permutations((Us, Them, B)):
        with client(*order) as one:
            assert one.get("/me", token=theirs).data == "ada"
            assert one.get("/me", token=nobodys).detail == NOT_OURS
            assert one.get("/me", token="nonsense").detail == ParsingTokenException.default_detail
            assert one.get("/me", token=BOB).data == "bob"


@pytest.mark.parametrize("order", [(A, Opaque), (Opaque, A)])
def test_tokens_of_two_kinds_have_one_name(clock: Clock, order: Any) -> None:
    with client(*order) as one:
        for _ in range(2):
            assert one.get("/me", token="k-1").data == "kay"
            assert one.get("/me", token=ADA).data == "ada"
            assert one.get("/me", token=FORGED).detail == UNSIGNED
            assert one.get("/me").detail == MISSING


def test_anothers_token_costs_nothing_and_is_looked_at_now_and_then(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "aiorest_ws.auth")
    verified: list[str] = []

    class Counting(Manager):
        def verify(self, token: Any) -> dict[str, Any]:
            verified.append(token)
            return super().verify(token)

    with client(JSONWebTokenMiddleware(Counting), B) as one:
        assert {one.get("/me", token=BOB).data for _ in range(200)} == {"bob"}
        assert verified == [BOB]
        assert "refused" not in caplog.text
        statuses = [one.get("/me", token=signed(claims(n=n), SECRET.upper())).status for n in range(12)]
        assert statuses[:5] == [401] * 5
        assert statuses[-1] == 429
        assert one.get("/me", token=BOB).data == "bob"


class ByHandshake(AbstractMiddleware):
    authenticates = True

    def at_handshake(self, connection: Any) -> None:
        if connection.headers.get("x-key") == "wrong":
            raise ConnectionRefused(403, "wrong key")
        connection.session["name"] = KEYS.get(connection.headers.get("x-key"))

    def process_request(self, request: Any, handler: Any) -> None:
        name = request.connection.session.get("name")
        if name is not None:
            request.user = User(id=name, is_user=True)


@pytest.mark.parametrize("order", [(A, ByHandshake), (ByHandshake, A)])
def test_handshakes_are_looked_at_in_turn(clock: Clock, order: Any) -> None:
    with client(*order, headers={"X-Key": "k-1"}) as one:
        assert one.get("/me").data == "kay"
    with client(*order, headers=bearer(ADA)) as one:
        assert one.get("/me").data == "ada"
    with client(*order) as one:
        assert one.get("/me").status == 401
    with pytest.raises(HandshakeRefused, match="wrong key"):
        client(*order, headers={"X-Key": "wrong"}).__enter__()
    with pytest.raises(HandshakeRefused, match=UNSIGNED):
        client(*order, headers={"X-Key": "k-1"} | bearer(FORGED)).__enter__()


def test_a_close_frame_waits_for_the_last(clock: Clock) -> None:
    closing = JSONWebTokenMiddleware(Manager, refuse="close")
    with client(closing, B, headers=bearer(BOB)) as one:
        assert one.get("/me").data == "bob"
    with client(closing, B, headers=bearer(FORGED)) as one:
        assert one.wait_closed() == 4401


class Richer(AbstractMiddleware):
    """Looks up more about whom a token names."""

    authenticates = True

    async def process_request(self, request: Any, handler: Any) -> None:
        if request.user is not None and request.user.id is not None:
            request.user = User(id=request.user.id, username="Ada Lovelace", is_user=True)


def test_a_later_one_may_know_more_of_the_same_user(clock: Clock) -> None:
    seen: list[Any] = []

    class Looking(AbstractMiddleware):
        def process_request(self, request: Any, handler: Any) -> None:
            seen.append((request.user.username, request.token_payload["sub"]))

    with client(A, Richer, Looking) as one:
        assert one.get("/me", token=ADA).data == "ada"
    assert seen == [("Ada Lovelace", "ada")]


def test_a_later_one_may_still_refuse(clock: Clock) -> None:
    class Banned(AbstractMiddleware):
        authenticates = True

        def process_request(self, request: Any, handler: Any) -> None:
            raise HTTPError(403, "banned")

    with client(A, Banned) as one:
        assert one.get("/me", token=ADA).detail == "banned"
