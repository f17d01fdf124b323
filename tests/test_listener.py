"""What listens: a Unix socket, or a port with TLS; over real sockets."""

from __future__ import annotations

import asyncio
import os
import ssl
import struct
import sys
from pathlib import Path

import pytest

from aiorest_ws import Application
from aiorest_ws.exceptions import ImproperlyConfigured
from aiorest_ws.listener import tls_context
from tests.serving import LOOPS, Certificate, Client, asynchronous, client_context, connection_of, make_router, serving

on_each_loop = pytest.mark.parametrize("loop", LOOPS)
on_posix = sys.platform != "win32"


@pytest.mark.skipif(not on_posix, reason="Windows has no Unix sockets in asyncio")
@on_each_loop
@asynchronous
async def test_unix_socket(loop: str, tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with serving(make_router(), unix_path=path) as app:
        assert app.addresses == [str(path)]
        async with await Client.connect(app) as client:
            assert (await client.ask())["data"] == "Hello, world!"
            await client.leave()
    assert not path.exists()


@pytest.mark.skipif(not on_posix, reason="Windows has no Unix sockets in asyncio")
@asynchronous
async def test_unix_socket_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "no" / "s"
    with pytest.raises(ImproperlyConfigured, match=f"cannot listen on {path}: no such file or directory"):
        await Application(router=make_router(), unix_path=path).start()


# TLS


@on_each_loop
@asynchronous
async def test_certificate_and_key_make_it_wss(loop: str, certificate: Certificate) -> None:
    router = make_router(long=lambda request: "x" * 300_000)
    options = {"certificate": certificate.path, "key": certificate.key}
    async with serving(router, **options) as app:
        assert app.isSecure
        async with await Client.connect(app, tls=client_context(certificate)) as client:
            version = client.writer.get_extra_info("ssl_object").version()
            assert version in ("TLSv1.2", "TLSv1.3")
            connection = connection_of(app)
            assert connection._socket == -1  # nothing goes past the encryption
            assert (await client.ask())["data"] == "Hello, world!"
            assert (await client.ask(url="/long", id=1))["data"] == "x" * 300_000
            assert (await client.leave()).close_code == 1000


@on_each_loop
@asynchronous
async def test_ssl_context_is_taken_as_it_is(loop: str, certificate: Certificate) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    async with serving(make_router(), ssl_context=context) as app:
        assert app.isSecure
        assert app.generate_url("h", 1) == "wss://h:1/"
        async with await Client.connect(app, tls=client_context(certificate)) as client:
            assert (await client.ask())["data"] == "Hello, world!"
            await client.leave()


def client_hello(version: int) -> bytes:
    """Give a ClientHello that offers nothing newer than `version` (RFC 5246 §7.4.1.2)."""
    ciphers = struct.pack("!4H", 0xC02B, 0xC009, 0xC00A, 0x002F)
    extensions = struct.pack("!5H", 10, 6, 4, 23, 24) + struct.pack("!HHBB", 11, 2, 1, 0)
    extensions += struct.pack("!6H", 13, 8, 6, 0x0403, 0x0804, 0x0203)
    body = struct.pack("!H", version) + os.urandom(32) + b"\0" + struct.pack("!H", len(ciphers)) + ciphers + b"\x01\0"
    body += struct.pack("!H", len(extensions)) + extensions
    handshake = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + struct.pack("!H", len(handshake)) + handshake


@on_each_loop
@pytest.mark.parametrize(
    ("version", "accepted"), [(0x0301, False), (0x0302, False), (0x0303, True)], ids=["TLS-1.0", "TLS-1.1", "TLS-1.2"]
)
@asynchronous
async def test_tls_is_at_least_1_2(loop: str, certificate: Certificate, version: int, accepted: bool) -> None:
    async with serving(make_router(), certificate=certificate.path, key=certificate.key) as app:
        reader, writer = await asyncio.open_connection(*app.addresses[0])
        try:
            writer.write(client_hello(version))
            head = await asyncio.wait_for(reader.read(6), 5)
            # A ServerHello, an alert, or just the end: asyncio drops the connection with the alert still in its buffer.
            assert (head[:1] == b"\x16") == accepted
        finally:
            writer.close()
            await writer.wait_closed()


def test_default_context_states_its_minimum(certificate: Certificate) -> None:
    context = tls_context(certificate.path, certificate.key)
    assert context is not None
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("certificate_path", "key_path", "text"),
    [
        ("missing.pem", "KEY", r"cannot load certificate: no file '.*missing\.pem'"),
        ("CERT", "missing.pem", r"cannot load certificate: no file '.*missing\.pem'"),
        ("CERT", None, "certificate and key must be given together"),
        (None, "KEY", "certificate and key must be given together"),
        ("KEY", "CERT", "cannot load certificate .* with key "),
        ("EMPTY", "KEY", "cannot load certificate .* with key "),
    ],
)
@asynchronous
async def test_bad_certificate_is_one_line(
    certificate: Certificate, tmp_path: Path, certificate_path: str | None, key_path: str | None, text: str
) -> None:
    (tmp_path / "empty.pem").touch()
    paths: dict[str | None, str | None] = {
        None: None,
        "CERT": certificate.path,
        "KEY": certificate.key,
        "EMPTY": str(tmp_path / "empty.pem"),
        "missing.pem": str(tmp_path / "missing.pem"),
    }
    app = Application(router=make_router(), port=0, certificate=paths[certificate_path], key=paths[key_path])
    with pytest.raises(ImproperlyConfigured, match=text) as caught:
        await app.start()
    assert "\n" not in str(caught.value)
