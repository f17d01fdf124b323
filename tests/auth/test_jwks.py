"""Key sets of a server that is slow, wrong or down, over a real socket. The clock of the keys is the test's own."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from aiorest_ws.auth.token import keys
from aiorest_ws.auth.token.exceptions import InvalidSignatureException
from aiorest_ws.auth.token.keys import KeysUnavailable, RemoteKeySet
from aiorest_ws.auth.token.managers import JSONWebTokenManager
from aiorest_ws.auth.token.middlewares import JSONWebTokenMiddleware
from aiorest_ws.exceptions import ImproperlyConfigured
from tests.kit.tokens import Clock, api, brought, clock, named, rsa_jwk
from tests.serving import Client, HandshakeRefused, asynchronous, serving

__all__ = ("clock",)

A, B = named("a"), named("b")
MADE_UP = [named(f"made-up-{number}") for number in range(20)]

Write = Callable[[bytes], Coroutine[Any, Any, None]]


def answer(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def key_set(*kids: str) -> bytes:
    return answer(json.dumps({"keys": [rsa_jwk(kid=kid) for kid in kids]}).encode())


class Issuer:
    """A server that answers each request with `says`: bytes, or a coroutine function that is given what writes them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.says: bytes | Callable[[Write], Coroutine[Any, Any, None]] = key_set("a")
        self.asked = 0
        self.now = 1000.0
        self.gone = asyncio.Event()  # the one who asked has hung up
        monkeypatch.setattr(RemoteKeySet, "now", staticmethod(lambda: self.now))
        self.hurry: Callable[[float], None] = lambda seconds: monkeypatch.setattr(keys, "_TIMEOUT", seconds)
        monkeypatch.setattr(keys, "_PATIENCE", 0.1)
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def write(data: bytes) -> None:
            writer.write(data)
            await writer.drain()

        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        saying = asyncio.ensure_future(write(self.says) if isinstance(self.says, bytes) else self.says(write))
        try:
            await reader.read()  # until the other end has enough
        except ConnectionError:
            pass  # it has not read all
        finally:
            saying.cancel()
            await asyncio.gather(saying, return_exceptions=True)
            self.gone.set()
            writer.close()

    async def drip(self, write: Write) -> None:
        """Give a header that never ends, a byte now and then."""
        await self._for_ever(write, b"X: ", b"x")

    async def drip_body(self, write: Write) -> None:
        await self._for_ever(write, b"Content-Length: 4000\r\n\r\n", b" ")

    async def drip_chunks(self, write: Write) -> None:
        await self._for_ever(write, b"Transfer-Encoding: chunked\r\n\r\n", b"0")

    async def _for_ever(self, write: Write, header: bytes, byte: bytes) -> None:
        await write(b"HTTP/1.1 200 OK\r\n" + header)
        while True:
            await write(byte)
            await asyncio.sleep(0.02)

    async def short(self, write: Write) -> None:
        await write(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\nConnection: close\r\n\r\n{}")

    async def silent(self, write: Write) -> None:
        """Say nothing."""


@asynccontextmanager
async def issuing(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Issuer, JSONWebTokenManager]]:
    issuer = Issuer(monkeypatch)
    server = await asyncio.start_server(issuer.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/keys"
    try:
        yield issuer, JSONWebTokenManager(hash_algorithm="RS256", jwks_url=url)
    finally:
        server.close()


WRONG: dict[str, Any] = {
    "404": answer(b"", "404 Not Found"),
    "500": answer(key_set("a"), "500 Oh"),
    "html": answer(b"<html>sign in</html>", "200 OK", "Content-Type: text/html"),
    "empty set": answer(b'{"keys": []}'),
    "empty object": answer(b"{}"),
    "empty body": answer(b""),
    "a list": answer(b"[]"),
    "null": answer(b"null"),
    "not keys": answer(b'{"keys": [5, null, {}, {"kty": "RSA"}]}'),
    "keys is a string": answer(b'{"keys": "abc"}'),
    "other keys": answer(b'{"keys": [{"kty": "oct", "k": "AAAA", "kid": "a"}]}'),
    "for encryption": answer(json.dumps({"keys": [rsa_jwk(kid="a", use="enc")]}).encode()),
    "deep": answer(b"[" * 100_000),
    "not utf-8": answer(b'{"keys": "\xff"}'),
    "compressed": answer(gzip.compress(b"{}"), "200 OK", "Content-Encoding: gzip"),
    "too large": answer(b'{"keys": [' + b" " * 600_000 + b"]}"),
    "too short": "short",
    "no http": b"SSH-2.0-x\r\n\r\n",
    "redirect to http": answer(b"", "302 Found", "Location: http://issuer.example/keys"),
    "redirect to a file": answer(b"", "302 Found", "Location: file:///etc/passwd"),
    "redirect for ever": answer(b"", "302 Found", "Location: /keys"),
    "slow headers": "drip",
    "slow body": "drip_body",
    "slow chunks": "drip_chunks",
    "silence": "silent",
}


# Beside the good one: no reason to do without that.
BESIDE: dict[str, Any] = {
    "algorithm none": {"kty": "RSA", "kid": "x", "n": "AQAB", "e": "AQAB", "alg": "none"},
    "algorithms": rsa_jwk(kid="x", alg=["RS256"]),
    "algorithm of encryption": rsa_jwk(kid="x", alg="RSA-OAEP"),
    "null": None,
    "number": 5,
    "text": "key",
    "list": [],
    "empty": {},
    "kind of another time": {"kty": "AKP", "kid": "x"},
    "kinds": {"kty": ["RSA"], "kid": "x"},
    "not base64": rsa_jwk(kid="x", n="!!"),
    "null for a number": rsa_jwk(kid="x", n=None),
    "no modulus": rsa_jwk(kid="x", n="AA"),
    "even exponent": rsa_jwk(kid="x", e="Ag"),
    "curve of another time": {"kty": "EC", "crv": "P-999", "x": "AA", "y": "AA", "kid": "x"},
    "point that is not on its curve": {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "x"},
    "deep": {"kty": "RSA", "kid": "x", "n": [[[[[[]]]]]], "e": {}},
    "half of a private key": rsa_jwk(kid="x", d="AQAB"),
}


@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
@pytest.mark.parametrize("other", BESIDE.values(), ids=BESIDE)
@asynchronous
async def test_a_key_that_cannot_be_read_takes_no_other_away(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, other: Any, first: bool
) -> None:
    keys = [other, rsa_jwk(kid="a")] if first else [rsa_jwk(kid="a"), other]
    async with issuing(monkeypatch) as (issuer, manager):
        issuer.says = answer(json.dumps({"keys": keys}).encode())
        assert (await manager.verify_later(A))["sub"] == "ada"
    assert JSONWebTokenManager(hash_algorithm="RS256", jwks={"keys": keys}).verify(A)["sub"] == "ada"


@pytest.mark.parametrize("operations", [["encrypt"], ["wrapKey", "encrypt"], [], "verify", {"verify": 1}, 5])
def test_a_key_that_is_not_to_verify_with_is_not_used(clock: Clock, operations: Any) -> None:
    good = rsa_jwk(kid="b")
    manager = JSONWebTokenManager(
        hash_algorithm="RS256", jwks={"keys": [rsa_jwk(kid="a", key_ops=operations), good | {"key_ops": ["verify"]}]}
    )
    with pytest.raises(InvalidSignatureException):
        manager.verify(A)
    assert manager.verify(B)["sub"] == "ada"


def say(issuer: Issuer, what: Any) -> None:
    issuer.says = getattr(issuer, what) if isinstance(what, str) else what
    issuer.hurry(0.2 if isinstance(what, str) else 3.0)


@pytest.mark.parametrize("wrong", WRONG)
@asynchronous
async def test_known_keys_serve_on_while_the_issuer_fails_and_others_are_a_503(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, wrong: str
) -> None:
    async with issuing(monkeypatch) as (issuer, manager):
        say(issuer, WRONG[wrong])
        loop = asyncio.get_running_loop()
        for _ in range(3):
            with pytest.raises(KeysUnavailable):
                await manager.verify_later(A)
        (line,) = caplog.messages
        assert line.startswith("key set of 127.0.0.1 cannot be had: ")
        say(issuer, key_set("a"))
        issuer.now += 10
        assert await manager.verify_later(A)
        say(issuer, WRONG[wrong])
        for _ in range(2):
            issuer.now += 300
            started = loop.time()
            assert (await manager.verify_later(A))["sub"] == "ada"
            with pytest.raises(KeysUnavailable):
                await manager.verify_later(B)
            assert loop.time() - started < 5
        issuer.now += 3600
        with pytest.raises(KeysUnavailable):
            await manager.verify_later(A)
        say(issuer, key_set("a"))
        issuer.now += 10
        assert await manager.verify_later(A)


@asynchronous
async def test_a_fetch_that_takes_too_long_is_hung_up(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    for way in ("drip", "drip_body", "drip_chunks", "silent"):
        async with issuing(monkeypatch) as (issuer, manager):
            say(issuer, way)
            with pytest.raises(KeysUnavailable):
                await manager.verify_later(A)
            async with asyncio.timeout(5):
                await issuer.gone.wait()


@asynchronous
async def test_all_who_wait_share_one_fetch_and_made_up_names_cause_none(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with issuing(monkeypatch) as (issuer, manager):
        await asyncio.gather(*(manager.verify_later(A) for _ in range(64)))
        assert issuer.asked == 1
        issuer.now += 5
        for token in MADE_UP:
            with pytest.raises(InvalidSignatureException):
                await manager.verify_later(token)
        assert issuer.asked == 1
        say(issuer, WRONG["404"])
        issuer.now += 10
        outcomes = await asyncio.gather(*map(manager.verify_later, MADE_UP), return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {KeysUnavailable}
        assert issuer.asked == 2


@asynchronous
async def test_one_who_leaves_takes_the_keys_from_nobody(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    async with issuing(monkeypatch) as (issuer, manager):
        first = asyncio.ensure_future(manager.verify_later(A))
        second = asyncio.ensure_future(manager.verify_later(A))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second)["sub"] == "ada"
        assert (first.cancelled(), issuer.asked) == (True, 1)


def test_keys_are_fetched_in_the_loop_of_now(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A manager outlives loops, in tests: what one left behind while it was fetching is nothing to wait for."""
    manager = JSONWebTokenManager(hash_algorithm="RS256", jwks_url="http://127.0.0.1:9/keys")
    fetched: list[int] = []

    async def never(url: str, read: Any, **options: Any) -> Any:
        fetched.append(1)
        await asyncio.Event().wait()

    async def at_once(url: str, read: Any, **options: Any) -> Any:
        fetched.append(2)
        return read(json.dumps({"keys": [rsa_jwk(kid="a")]}).encode())

    async def leave() -> None:
        waiting = asyncio.ensure_future(manager.verify_later(A))
        await asyncio.sleep(0)
        waiting.cancel()

    monkeypatch.setattr(keys, "fetch", never)
    first = asyncio.new_event_loop()
    first.run_until_complete(leave())
    monkeypatch.setattr(keys, "fetch", at_once)
    assert asyncio.run(manager.verify_later(A))["sub"] == "ada"
    assert fetched == [1, 2]
    for task in asyncio.all_tasks(first):
        task.cancel()
    first.run_until_complete(asyncio.sleep(0))
    first.close()


@asynchronous
async def test_a_redirect_on_the_same_footing_is_followed(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    async with issuing(monkeypatch) as (issuer, manager):

        async def redirect(write: Write) -> None:
            issuer.says = key_set("a")
            await write(answer(b"", "302 Found", "Location: /elsewhere"))

        issuer.says = redirect
        assert await manager.verify_later(A)
        assert issuer.asked == 2


@asynchronous
async def test_a_client_is_told_when_to_try_again(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with issuing(monkeypatch) as (issuer, manager):
        say(issuer, WRONG["404"])
        async with serving(api(), middlewares=[JSONWebTokenMiddleware(manager)]) as app:
            async with await Client.connect(app) as client:
                reply = await client.ask(url="/me", id=1, token=A)
                assert (reply["status"], reply["detail"]) == (503, KeysUnavailable.default_detail)
                assert (await client.ask(url="/hello", id=1))["status"] == 200
            with pytest.raises(HandshakeRefused) as caught:
                await Client.connect(app, headers=brought("header", A))
            assert caught.value.status == 503
            assert caught.value.headers["retry-after"] == "10"
        assert "Traceback" not in caplog.text
    assert logging.getLogger("aiorest_ws").level == logging.NOTSET


@pytest.mark.parametrize(
    "url",
    [
        "http://issuer.example/keys",
        "http://127.0.0.1.evil.example/",
        "http://localhost@evil.example/",
        "http://user:password@localhost/",
        "https://user:password@issuer.example/",
        "https:///keys",
        "ftp://127.0.0.1/keys",
        "file:///etc/passwd",
        "127.0.0.1/keys",
        "",
    ],
)
def test_keys_are_fetched_over_https_or_from_this_machine(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="keys must be fetched") as caught:
        JSONWebTokenManager(hash_algorithm="RS256", jwks_url=url)
    assert "user:password" not in str(caught.value)
