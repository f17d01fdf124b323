"""Many tokens on one connection: who is asked how often, which of them counts, and what bad ones cost."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from autobahn.websocket.types import ConnectionDeny

from aiorest_ws import Application, SimpleRouter, endpoint
from aiorest_ws.auth.token import middlewares
from aiorest_ws.auth.token.budget import Budget, Budgets, address_of
from aiorest_ws.auth.token.managers import JSONWebTokenManager
from aiorest_ws.auth.token.middlewares import JSONWebTokenMiddleware
from aiorest_ws.auth.user.models import User
from aiorest_ws.exceptions import ConnectionRefused, HTTPError, ServerStopping, ValidationError
from aiorest_ws.testing import AsyncTestClient, ConnectionClosed, HandshakeRefused, TestClient
from tests.kit.tokens import EXPIRED, MISSING, NOW, SECRET, UNSIGNED, Clock, Manager, api, bearer, claims, clock, signed
from tests.serving import asynchronous

__all__ = ("clock",)

BAD = signed(claims(), SECRET[::-1])


class Asking(JSONWebTokenMiddleware):
    """Looks users up, slowly: until the gate of a subject is opened."""

    manager: Any = Manager

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.asked: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.faults: list[BaseException] = []

    async def get_user(self, payload: dict[str, Any]) -> Any:
        subject = payload["sub"]
        self.asked.append(subject)
        if subject in self.gates:
            await self.gates[subject].wait()
        if self.faults:
            raise self.faults.pop()
        return User(id=subject, is_user=True)


def application(middleware: Any, router: SimpleRouter | None = None, **options: Any) -> Application:
    return Application(router=router or api(), middlewares=[middleware], **options)


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# One who asks


@asynchronous
async def test_64_requests_with_one_token_ask_once(clock: Clock) -> None:
    middleware = Asking()
    middleware.gates["ada"] = asyncio.Event()
    token = signed(claims())
    async with AsyncTestClient(application(middleware)) as client:
        asking = [asyncio.ensure_future(client.get("/me", token=token)) for _ in range(64)]
        await turns()
        assert middleware.asked == ["ada"]
        middleware.gates["ada"].set()
        assert {(await reply).data for reply in asking} == {"ada"}
        assert (await client.get("/me", token=token)).data == "ada"
        assert middleware.asked == ["ada"]


@asynchronous
async def test_a_failure_is_shared_and_not_remembered(clock: Clock) -> None:
    middleware = Asking()
    middleware.gates["ada"] = asyncio.Event()
    middleware.faults = [HTTPError(503, "database down")]
    token = signed(claims())
    async with AsyncTestClient(application(middleware)) as client:
        asking = [asyncio.ensure_future(client.get("/me", token=token)) for _ in range(8)]
        await turns()
        middleware.gates["ada"].set()
        assert {((await reply).status, (await reply).detail) for reply in asking} == {(503, "database down")}
        assert (await client.get("/me", token=token)).data == "ada"
        assert middleware.asked == ["ada"] * 2


@asynchronous
async def test_a_cancellation_is_nobody_elses(clock: Clock) -> None:
    middleware = Asking()
    middleware.gates["ada"] = asyncio.Event()
    middleware.faults = [asyncio.CancelledError()]
    token = signed(claims())
    async with AsyncTestClient(application(middleware)) as client:
        asking = [asyncio.ensure_future(client.get("/me", token=token)) for _ in range(8)]
        await turns()
        middleware.gates["ada"].set()
        assert sorted([(await reply).status or 0 for reply in asking]) == [200] * 7 + [500]
        assert middleware.asked == ["ada"] * 2


@asynchronous
async def test_one_who_runs_out_of_time_takes_nothing_from_those_who_wait(clock: Clock) -> None:
    middleware = Asking()
    middleware.gates["ada"] = asyncio.Event()
    token = signed(claims())
    async with AsyncTestClient(application(middleware, request_timeout=0.2)) as client:
        first = asyncio.ensure_future(client.get("/me", token=token))
        await asyncio.sleep(0.15)
        second = asyncio.ensure_future(client.get("/me", token=token))
        assert (await first).status == 504
        middleware.gates["ada"].set()
        assert (await second).data == "ada"
        assert middleware.asked == ["ada"]


@asynchronous
async def test_nobody_is_looked_up_for_one_who_has_left(clock: Clock) -> None:
    middleware = Asking()
    middleware.gates["ada"] = asyncio.Event()
    ended: list[BaseException] = []

    async def get_user(payload: dict[str, Any]) -> Any:
        try:
            await middleware.gates["ada"].wait()
        except BaseException as exc:
            ended.append(exc)
            raise

    middleware.get_user = get_user  # type: ignore[method-assign]
    async with AsyncTestClient(application(middleware)) as client:
        asking = asyncio.ensure_future(client.get("/me", token=signed(claims())))
        await turns()
        client.abort()
        with pytest.raises(ConnectionClosed):
            await asking
        await turns()
        assert [type(exc) for exc in ended] == [asyncio.CancelledError]


@pytest.mark.parametrize("at_handshake", [False, True])
def test_tokens_that_take_turns_are_each_looked_at_once(clock: Clock, at_handshake: bool) -> None:
    middleware = Asking()
    tokens = [signed(claims(sub=name)) for name in ("ada", "bob", "cyd")]
    headers = bearer(signed(claims(sub="eve"))) if at_handshake else {}
    with TestClient(application(middleware), headers=headers) as client:
        for _ in range(4):
            assert [client.get("/me", token=token).data for token in tokens] == ["ada", "bob", "cyd"]
        assert sorted(middleware.asked) == ["ada", "bob", "cyd"] + ["eve"] * at_handshake
        many = [signed(claims(sub=f"{number}")) for number in range(30)]
        assert [client.get("/me", token=token).data for token in many] == [f"{number}" for number in range(30)]
        assert len(client.connection._wallet._known) == 8
        clock.now = NOW + 60
        assert [client.get("/me", token=token).detail for token in tokens] == [EXPIRED] * 3


# Which counts


def test_a_token_of_a_message_is_for_that_message(clock: Clock) -> None:
    with TestClient(application(Asking()), headers=bearer(signed(claims()))) as client:
        for _ in range(2):
            assert client.get("/me", token=signed(claims(sub="bob", exp=int(NOW) + 600))).data == "bob"
            assert client.get("/me").data == "ada"


def test_a_renewal_for_the_same_subject_counts_for_the_connection(clock: Clock) -> None:
    with TestClient(application(Asking()), headers=bearer(signed(claims()))) as client:
        assert client.get("/me", token=signed(claims(exp=int(NOW) + 600))).data == "ada"
        assert client.get("/me", token=signed(claims(exp=int(NOW) + 6))).data == "ada"
        clock.now = NOW + 500
        assert client.get("/me").data == "ada"
        clock.now = NOW + 600
        assert client.get("/me").detail == EXPIRED


@pytest.mark.parametrize("other", [{"sub": "bob"}, {"iss": "them"}, {"sub": None}])
def test_another_subject_counts_only_after_the_end(clock: Clock, other: dict[str, Any]) -> None:
    manager = Manager(required=())
    new = signed({name: value for name, value in claims(exp=int(NOW) + 600, **other).items() if value is not None})
    middleware = JSONWebTokenMiddleware(manager)
    with TestClient(application(middleware), headers=bearer(signed(claims()))) as client:
        assert client.get("/me", token=new).status == 200
        clock.now = NOW + 60
        assert client.get("/me").detail == EXPIRED
        assert client.get("/me", token=new).status == 200
        assert client.get("/me").status == 200


@asynchronous
async def test_the_newest_request_wins_however_long_an_older_one_takes(clock: Clock) -> None:
    middleware = Asking()
    middleware.gates["bob"] = asyncio.Event()
    async with AsyncTestClient(application(middleware), headers=bearer(signed(claims()))) as client:
        clock.now = NOW + 60
        older = asyncio.ensure_future(client.get("/me", token=signed(claims(sub="bob", exp=int(NOW) + 600))))
        await turns()
        assert (await client.get("/me", token=signed(claims(sub="cyd", exp=int(NOW) + 600)))).data == "cyd"
        middleware.gates["bob"].set()
        assert (await older).data == "bob"
        assert (await client.get("/me")).data == "cyd"


# What goes wrong means the same in both places


FAULTS: dict[str, tuple[Any, int, str | None]] = {
    "HTTPError": (HTTPError(403, "banned"), 403, "banned"),
    "HTTPError 418": (HTTPError(418), 418, None),
    "ConnectionRefused": (ConnectionRefused(409, "elsewhere"), 409, "elsewhere"),
    "ConnectionRefused 403": (ConnectionRefused(), 403, None),
    "ConnectionDeny": (ConnectionDeny(403, "denied"), 403, "denied"),
    "ServerStopping": (ServerStopping(), 503, "The server is shutting down."),
    "ValidationError": (ValidationError({"user": ["gone"]}), 422, None),
    "RuntimeError": (RuntimeError("oh"), 500, None),
    "KeyError": (KeyError("oh"), 500, None),
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("method", ["get_user", "is_revoked"])
@pytest.mark.parametrize("later", [False, True])
def test_what_is_raised_means_the_same_at_the_handshake_and_in_a_message(
    clock: Clock, name: str, method: str, later: bool
) -> None:
    fault, status, text = FAULTS[name]

    def now(self: Any, payload: Any) -> Any:
        raise fault

    async def soon(self: Any, payload: Any) -> Any:
        raise fault

    middleware = type("Failing", (JSONWebTokenMiddleware,), {method: soon if later else now, "manager": Manager})
    app = application(middleware)
    with TestClient(app) as client:
        reply = client.get("/hello", token=signed(claims()))
        assert reply.status == status
        if text is not None:
            assert reply.detail == text
        assert client.get("/hello").data == [False, None]
    with pytest.raises(HandshakeRefused, match=text) as caught:
        TestClient(app, headers=bearer(signed(claims()))).__enter__()
    assert caught.value.status == status


# What bad ones cost


def forged(number: int) -> str:
    return signed(claims(number=number), SECRET[::-1])


def test_a_flood_of_bad_tokens_is_a_429_and_then_the_end(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[str] = []

    class Counted(Manager):
        def verify(self, token: Any) -> dict[str, Any]:
            looked_at.append(token)
            return super().verify(token)

    good = signed(claims())
    monkeypatch.setattr("aiorest_ws.auth.token.budget.time.monotonic", lambda: 5.0)
    with TestClient(application(JSONWebTokenMiddleware(Counted))) as client:
        assert client.get("/me", token=good).data == "ada"
        statuses = [client.get("/me", token=forged(number)).status for number in range(60)]
        assert statuses == [401] * 10 + [429] * 50
        assert len(looked_at) == 11
        assert client.get("/me", token=good).data == "ada"  # it is known
        assert client.get("/hello").status == 200
        assert [client.get("/me", token=forged(number)).status for number in range(50)] == [429] * 50
        with pytest.raises(ConnectionClosed):
            client.get("/me", token=forged(0))
        assert (client.close_code, client.close_reason) == (1008, "too many tokens that are not valid")


def test_valid_tokens_cost_nothing(clock: Clock) -> None:
    with TestClient(application(JSONWebTokenMiddleware(Manager))) as client:
        tokens = [signed(claims(sub=f"{number}")) for number in range(300)]
        assert {client.get("/me", token=token).status for token in tokens} == {200}


def test_an_expired_token_is_looked_at_once_and_is_a_401_for_ever(clock: Clock) -> None:
    with TestClient(application(JSONWebTokenMiddleware(Manager))) as client:
        old = signed(claims(exp=int(NOW) - 1))
        assert {client.get("/me", token=old).detail for _ in range(50)} == {EXPIRED}
        assert client.get("/me", token=signed(claims())).data == "ada"


def test_the_budget_of_an_address_is_that_of_all_its_connections(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middlewares, "_FAILURES", 12)
    monkeypatch.setattr("aiorest_ws.auth.token.budget.time.monotonic", lambda: 5.0)
    app = application(JSONWebTokenMiddleware(Manager))
    with TestClient(app, peer=("2001:db8::1", 1)) as one, one.connect(peer=("2001:db8::2", 2)) as two:
        assert [one.get("/me", token=forged(number)).status for number in range(10)] == [401] * 10
        assert [two.get("/me", token=forged(number)).status for number in range(4)] == [401, 401, 429, 429]
        with pytest.raises(HandshakeRefused) as caught:
            one.connect(peer=("2001:db8::3", 3), headers=bearer(forged(1))).__enter__()
        assert caught.value.status == 429
        with one.connect(peer=("2001:db9::1", 1), headers=bearer(signed(claims()))) as far:
            assert far.get("/me").data == "ada"


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("tcp4:203.0.113.7:51234", "203.0.113.7"),
        ("203.0.113.7", "203.0.113.7"),
        ("tcp6:2001:db8::1:51234", "2001:db8::/64"),
        ("2001:db8::ffff", "2001:db8::/64"),
        ("tcp6:::ffff:203.0.113.7:51234", "203.0.113.7"),
        ("tcp6:fe80::1%eth0:5", "fe80::/64"),
        ("unix:/run/x.sock", None),
        ("?", None),
        ("", None),
    ],
)
def test_the_address_of_a_peer(peer: str, address: str | None) -> None:
    assert address_of(peer) == address


def test_a_budget_fills_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [5.0]
    monkeypatch.setattr("aiorest_ws.auth.token.budget.time.monotonic", lambda: now[0])
    budget = Budget(2, 0.5)
    states = []
    for seconds in (0, 0, 0, 1.9, 0.1, 100, 0, 0):
        now[0] += seconds
        states.append(budget.is_spent)
        budget.spend()
    assert states == [False, False, True, True, True, False, False, True]
    budgets = Budgets(1, 0, addresses=2)
    for address in ("a", "b", "c"):
        budgets.spend(address)
    assert [budgets.is_spent(address) for address in ("a", "b", "c")] == [False, True, True]


def test_a_refused_token_is_one_line(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aiorest_ws.auth")
    with TestClient(application(JSONWebTokenMiddleware(Manager)), peer=("203.0.113.7", 5)) as client:
        client.get("/me", token=BAD)
        client.get("/me", token=signed(claims()))
        client.get("/me", token=signed(claims(exp=int(NOW))))
        client.get("/me")
        with pytest.raises(HandshakeRefused):
            client.connect(peer=("203.0.113.8", 5), headers=bearer(BAD)).__enter__()
    lines = [record.getMessage() for record in caplog.records if record.name == "aiorest_ws.auth"]
    assert lines == [
        f"tcp4:203.0.113.7:5: token refused: InvalidSignatureException, {UNSIGNED}",
        f"tcp4:203.0.113.7:5: token refused: TokenExpiredException, {EXPIRED}",
        f"tcp4:203.0.113.8:5: token refused: InvalidSignatureException, {UNSIGNED}",
    ]
    assert BAD.rpartition(".")[2] not in caplog.text


def test_the_lines_about_refused_tokens_are_bounded(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aiorest_ws.auth")
    old = signed(claims(exp=int(NOW)))
    with TestClient(application(JSONWebTokenMiddleware(Manager))) as client:
        for _ in range(300):
            client.get("/me", token=old)
    assert 100 <= len([r for r in caplog.records if r.name == "aiorest_ws.auth"]) < 200


# Handshakes


@pytest.mark.parametrize(
    "offer", [{"headers": bearer(BAD)}, {"subprotocols": ["bearer", BAD]}, {"cookies": {"t": BAD}}]
)
def test_a_browser_is_told_why_by_a_close_frame(clock: Clock, offer: dict[str, Any]) -> None:
    seen: list[Any] = []
    router = SimpleRouter()

    @endpoint("/", "GET")
    def handler(request: Any) -> None:
        seen.append(request)

    router.register_endpoint(handler)
    app = application(JSONWebTokenMiddleware(Manager, cookie="t", refuse="close"), router, on_connect=seen.append)
    with TestClient(app, **offer) as client:
        assert client.wait_closed() == 4401
        assert client.close_reason == UNSIGNED
        assert client.subprotocol == ("bearer" if "subprotocols" in offer else None)
    assert seen == []


@pytest.mark.parametrize(
    ("fault", "code", "reason"),
    [(HTTPError(403, "banned"), 4403, "banned"), (ConnectionRefused(409, "elsewhere"), 4409, "elsewhere")],
)
def test_whatever_refuses_a_handshake_is_a_close_frame_then(
    clock: Clock, fault: Exception, code: int, reason: str
) -> None:
    middleware = Asking(refuse="close")
    middleware.faults = [fault]
    with TestClient(application(middleware), headers=bearer(signed(claims()))) as client:
        assert (client.wait_closed(), client.close_reason) == (code, reason)


def test_a_hook_may_refuse_with_a_close_frame() -> None:
    def welcome(connection: Any) -> None:
        raise ConnectionRefused(401, "who are you", close=4401)

    with TestClient(Application(router=api(), middlewares=[Asking], on_connect=welcome)) as client:
        assert (client.wait_closed(), client.close_reason) == (4401, "who are you")
    with pytest.raises(ValueError, match="close must be a code from 3000 to 4999, got 1000"):
        ConnectionRefused(close=1000)


@pytest.mark.parametrize("refuse", ["HTTP", "", True])
def test_how_to_refuse_is_one_of_two(refuse: Any) -> None:
    with pytest.raises(ValueError, match="refuse must be 'http' or 'close', got"):
        JSONWebTokenMiddleware(Manager, refuse=refuse)


@pytest.mark.parametrize("secret", ["a secret", b"a secret"])
def test_a_secret_is_none_of_its_arguments_and_not_repeated(secret: Any) -> None:
    with pytest.raises(TypeError, match=r"^manager must be a JSONWebTokenManager\(secret_key=…\), got a text$"):
        JSONWebTokenMiddleware(secret)


OLD = signed(claims(sub="old", exp=int(NOW) - 1))
GOOD = signed(claims())


@pytest.mark.parametrize(
    "offer",
    [
        {"headers": bearer(GOOD), "cookies": {"t": OLD}},
        {"subprotocols": ["bearer", GOOD], "cookies": {"t": OLD}},
        {"headers": {"Cookie": f"t={OLD}; t={GOOD}"}},
        {"headers": {"Cookie": f"t={GOOD}; t={OLD}"}},
        {"headers": {"Cookie": f"t={BAD}; x=1; t=; t={GOOD}"}},
    ],
)
def test_an_old_cookie_beside_a_good_token_locks_nobody_out(clock: Clock, offer: dict[str, Any]) -> None:
    with TestClient(application(JSONWebTokenMiddleware(Manager, cookie="t")), **offer) as client:
        assert client.get("/me").data == "ada"


def test_what_is_named_explicitly_wins(clock: Clock) -> None:
    app = application(JSONWebTokenMiddleware(Manager, cookie="t"))
    offers: list[dict[str, Any]] = [
        {"headers": bearer(OLD), "cookies": {"t": GOOD}},
        {"headers": {"Cookie": f"t={OLD}; t={BAD}"}},
    ]
    for offer in offers:
        with pytest.raises(HandshakeRefused, match=EXPIRED):
            TestClient(app, **offer).__enter__()


def test_an_old_token_is_as_good_as_none_where_nobody_asks(clock: Clock) -> None:
    with TestClient(application(JSONWebTokenMiddleware(Manager))) as client:
        for _ in range(2):
            assert client.get("/hello", token=OLD).data == [False, None]
            assert client.get("/me", token=OLD).detail == EXPIRED
            assert client.get("/members", token=OLD).detail == EXPIRED
            assert client.get("/hello", token=BAD).detail == UNSIGNED
        assert client.get("/me").detail == MISSING


def test_a_manager_of_ones_own_with_a_jwt_class() -> None:
    assert JSONWebTokenMiddleware(JSONWebTokenManager(secret_key=SECRET)).refuse == "http"
