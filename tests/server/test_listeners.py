"""What listens: a Unix socket, or a port with TLS; over real sockets."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import socket
import ssl
import struct
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from aiorest_ws import Application
from aiorest_ws.exceptions import ImproperlyConfigured
from aiorest_ws.server.listeners import tls_context
from tests.kit.pages import ROOT
from tests.kit.systems import needs_linux, needs_posix
from tests.serving import (
    LOOPS,
    Certificate,
    Client,
    asynchronous,
    client_context,
    connection_of,
    make_certificate,
    make_router,
    serving,
)

on_each_loop = pytest.mark.parametrize("loop", LOOPS)


@needs_posix
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


@needs_posix
@asynchronous
async def test_unix_socket_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "no" / "s"
    with pytest.raises(ImproperlyConfigured, match=f"cannot listen on {path}: no such file or directory"):
        await Application(router=make_router(), unix_path=path).start()


# Unix sockets: whose is the file


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


def names_in(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def put(path: str | Path, text: str) -> None:
    Path(path).write_text(text)


def text_of(path: str | Path) -> str:
    return Path(path).read_text()


@needs_posix
@on_each_loop
@asynchronous
async def test_second_server_on_a_live_socket_is_refused_and_harms_nobody(loop: str, tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with serving(make_router(), unix_path=path) as app:
        with pytest.raises(ImproperlyConfigured, match=f"cannot listen on {path}: another server listens there"):
            await Application(router=make_router(), unix_path=path).start()
        assert names_in(tmp_path) == ["s"]
        async with await Client.connect(app) as client:
            assert (await client.ask())["data"] == "Hello, world!"
            await client.leave()


@needs_posix
@on_each_loop
@asynchronous
async def test_socket_that_a_dead_server_left_is_replaced(loop: str, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with serving(make_router(), unix_path=path) as app, await Client.connect(app) as client:
        assert (await client.ask())["data"] == "Hello, world!"
        await client.leave()
    assert names_in(tmp_path) == []


@needs_posix
@asynchronous
async def test_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    put(path, "precious")
    with pytest.raises(ImproperlyConfigured, match="which is no socket"):
        await Application(router=make_router(), unix_path=path).start()
    assert text_of(path) == "precious"
    assert names_in(tmp_path) == ["s"]


@needs_posix
@on_each_loop
@asynchronous
async def test_stop_removes_only_the_file_that_start_made(
    loop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    app = Application(router=make_router(), unix_path="s")
    await app.start()
    assert app.addresses == [str(tmp_path / "s")]
    monkeypatch.chdir(tmp_path / "elsewhere")
    put("s", "a stranger's")
    await app.stop()
    assert text_of("s") == "a stranger's"
    assert not (tmp_path / "s").exists()


@needs_posix
@on_each_loop
@pytest.mark.parametrize("health_path", [None, "/healthz"])
@pytest.mark.parametrize("instead", ["nothing", "a file", "a locked folder"])
@asynchronous
async def test_stop_ends_whatever_became_of_the_folder(
    loop: str, instead: str, health_path: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    app = Application(router=make_router(), unix_path=folder / "s", health_path=health_path)
    await app.start()
    async with await Client.connect(app) as client:
        if instead == "a locked folder":
            # Root may write everywhere: the system's answer is put in its mouth.
            monkeypatch.setattr("aiorest_ws.server.sockets.os.unlink", refusing)
        else:
            (folder / "s").unlink()
            folder.rmdir()
            if instead == "a file":
                put(folder, "a stranger's")
        stopping = asyncio.ensure_future(app.stop())
        assert (await client.left()).close_code == 1001
        await stopping
    assert not app.is_running


def refusing(path: str) -> None:
    raise PermissionError(errno.EACCES, "Permission denied")


@needs_posix
@on_each_loop
@asynchronous
async def test_stop_leaves_the_socket_of_a_server_that_came_later(loop: str, tmp_path: Path) -> None:
    path = tmp_path / "s"
    first = Application(router=make_router(), unix_path=path)
    await first.start()
    path.unlink()  # as a deployment script may
    async with serving(make_router(), unix_path=path) as second:
        await first.stop()
        async with await Client.connect(second) as client:
            assert (await client.ask())["data"] == "Hello, world!"
            await client.leave()


@needs_posix
@on_each_loop
@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666, 0o777])
@asynchronous
async def test_socket_appears_with_its_mode(loop: str, tmp_path: Path, mode: int) -> None:
    path = tmp_path / "s"
    seen: list[bool] = []
    hooks = {"on_startup": [lambda app: seen.append(path.exists())]}
    async with serving(make_router(), unix_path=path, unix_mode=mode, **hooks):
        assert mode_of(path) == mode
    assert seen == [False]  # nobody finds it before the server is ready


@needs_linux
@on_each_loop
@asynchronous
async def test_abstract_name(loop: str) -> None:
    name = f"aiorest-ws-{os.getpid()}-{loop}"
    async with serving(make_router(), unix_path=f"\0{name}") as app:
        assert app.addresses == [f"@{name}"]
        async with await Client.connect(app) as client:
            assert (await client.ask())["data"] == "Hello, world!"
            await client.leave()
        with pytest.raises(ImproperlyConfigured, match=f"cannot listen on @{name}: address already in use"):
            await Application(router=make_router(), unix_path=f"\0{name}").start()
    assert app.addresses == []


# Hosts, ports, and sockets of others


@on_each_loop
@pytest.mark.parametrize("host", ["localhost", None])
@asynchronous
async def test_every_address_of_a_host_has_the_same_port(loop: str, host: str | None) -> None:
    async with serving(make_router(), host=host, port=0) as app:
        assert len({port for _, port in app.addresses}) == 1


@on_each_loop
@pytest.mark.parametrize("host", ["[::1]", "::1"])
@asynchronous
async def test_ipv6_address_in_brackets_or_not(loop: str, host: str) -> None:
    async with serving(make_router(), host=host, port=0) as app, await Client.connect(app) as client:
        assert app.addresses[0][0] == "::1"
        assert (await client.ask())["data"] == "Hello, world!"
        await client.leave()


@pytest.mark.parametrize("host", ["no-such-host.invalid", "256.0.0.1", "a" * 70])
@asynchronous
async def test_host_that_is_none_is_one_line(host: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="cannot listen on") as caught:
        await Application(router=make_router(), host=host, port=0).start()
    assert "\n" not in str(caught.value)


@on_each_loop
@pytest.mark.parametrize("given", ["sock", "fd"])
@asynchronous
async def test_socket_that_is_bound_already(loop: str, given: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        options: dict[str, Any] = {"sock": bound} if given == "sock" else {"fd": bound.fileno()}
        for _ in range(2):  # it stays the caller's
            async with serving(make_router(), **options) as app, await Client.connect(app) as client:
                assert app.addresses == [bound.getsockname()]
                assert (await client.ask())["data"] == "Hello, world!"
                await client.leave()
        assert bound.fileno() >= 0


@on_each_loop
@pytest.mark.parametrize("given", ["host", "sock", "fd"])
@asynchronous
async def test_what_is_sent_leaves_at_once(loop: str, given: str) -> None:
    """Else the second of two writes waits for what the client's system says of the first: 40 ms for a response."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        options: dict[str, Any] = {"host": "127.0.0.1", "sock": bound, "fd": bound.fileno()}
        async with serving(make_router(), **{given: options[given]}) as app, await Client.connect(app) as client:
            sock = connection_of(app).transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
            await client.leave()


@needs_posix
@asynchronous
async def test_what_is_no_bound_socket_is_one_line(tmp_path: Path) -> None:
    with (
        (tmp_path / "f").open("w") as file,
        socket.socket() as unbound,
        socket.socket(type=socket.SOCK_DGRAM) as datagram,
    ):
        datagram.bind(("127.0.0.1", 0))
        for options in ({"fd": file.fileno()}, {"sock": unbound}, {"sock": datagram}, {"fd": 9999}):
            with pytest.raises(ImproperlyConfigured, match=r"cannot listen on (descriptor|the given sock)") as caught:
                await Application(router=make_router(), **options).start()
            assert "\n" not in str(caught.value)


@needs_posix
@on_each_loop
@asynchronous
async def test_two_servers_share_a_port(loop: str) -> None:
    async with serving(make_router(), port=0, reuse_port=True) as app:
        _, port = app.addresses[0]
        async with serving(make_router(), port=port, reuse_port=True) as other:
            assert other.addresses == app.addresses


@needs_posix
@asynchronous
async def test_descriptors_of_systemd_are_served(tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import asyncio, os, socket
        bound = socket.create_server(("127.0.0.1", 0))
        other = socket.socket(socket.AF_UNIX)
        other.bind("s")
        for number, sock in ((3, bound), (4, other)):
            os.dup2(sock.fileno(), number)
        os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="2", LISTEN_FDNAMES="a:b")
        from aiorest_ws import Application
        from tests.serving import make_router

        async def main():
            app = Application(router=make_router())
            await app.start()
            assert app.addresses[0] == bound.getsockname(), app.addresses
            assert app.addresses[1].endswith("s"), app.addresses
            assert not any(name.startswith("LISTEN_") for name in os.environ)
            await app.stop()
            assert os.path.exists("s")  # it is systemd's

        asyncio.run(main())
    """)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program), cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=-1
    )
    _, stderr = await process.communicate()
    assert (process.returncode, stderr.decode()) == (0, "")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"unix_mode": "rw"}, "unix_mode must be an integer as of chmod, such as 0o660, got 'rw'"),
        ({"unix_mode": 0o10000}, "unix_mode must be from 0 to 0o777, got 0o10000"),
        ({"unix_mode": True}, "unix_mode must be an integer"),
        ({"unix_path": ""}, "unix_path must be a path, or a name behind a NUL, got ''"),
        ({"unix_path": "a\0b"}, "unix_path must be a path, or a name behind a NUL, got 'a.x00b'"),
        ({"host": "[::1"}, "host must be a name or an address, without scheme and port, got '\\[::1'"),
        ({"host": "[localhost]"}, "host must be a name or an address"),
        ({"host": "http://localhost"}, "host must be a name or an address"),
        ({"host": "localhost:8080"}, "host must be a name or an address"),
        ({"host": "local host"}, "host must be a name or an address"),
        ({"host": "[::1]:80"}, "host must be a name or an address"),
        ({"fd": -1}, "fd must be from 0"),
        ({"fd": "3"}, "fd must be an integer"),
        ({"sock": 3}, "sock must be a socket.socket or None, got 3"),
        ({"reuse_port": 2}, "reuse_port must be True or False"),
    ],
)
def test_place_that_cannot_be_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises((TypeError, ValueError), match=text):
        Application(**options)


@pytest.mark.parametrize("place", [{}, {"unix_path": "\0aiorest-ws-mode"}], ids=["port", "abstract"])
@asynchronous
async def test_permissions_that_no_file_would_have_are_refused(place: dict[str, Any]) -> None:
    with pytest.raises(ImproperlyConfigured, match="unix_mode are the permissions of the file of unix_path"):
        await Application(router=make_router(), port=0, unix_mode=0o600, **place).start()


# TLS


@on_each_loop
@asynchronous
async def test_certificate_and_key_make_it_wss(loop: str, certificate: Certificate) -> None:
    router = make_router(long=lambda request: "x" * 300_000)
    options = certificate.options
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
    async with serving(make_router(), **certificate.options) as app:
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


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (("key_password",), "key_password is that of a key: give certificate and key, too"),
        (("ssl_context", "certificate", "key"), "ssl_context has its own certificate: leave certificate, key and"),
        (("ssl_context", "key_password"), "ssl_context has its own certificate"),
    ],
)
@asynchronous
async def test_what_tls_would_not_use_is_refused(certificate: Certificate, names: tuple[str, ...], text: str) -> None:
    options: dict[str, Any] = {
        "ssl_context": ssl.create_default_context(ssl.Purpose.CLIENT_AUTH),
        "certificate": certificate.path,
        "key": certificate.key,
        "key_password": "secret",
    }
    with pytest.raises(ImproperlyConfigured, match=text):
        await Application(router=make_router(), port=0, **{name: options[name] for name in names}).start()


# Keys


def encrypted(key: str, path: Path) -> str:
    from cryptography.hazmat.primitives import serialization as form

    loaded = form.load_pem_private_key(Path(key).read_bytes(), None)
    locked = form.BestAvailableEncryption(b"sesame")
    path.write_bytes(loaded.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, locked))
    return str(path)


@asynchronous
async def test_encrypted_key(certificate: Certificate, tmp_path: Path) -> None:
    options: dict[str, Any] = {"certificate": certificate.path, "key": encrypted(certificate.key, tmp_path / "key.pem")}
    for password, text in (
        (None, "is encrypted: give its password as key_password"),
        ("wrong", "is key_password the"),
        ("x" * 1025, "key_password cannot be the password of a key: password cannot be longer than 1024 bytes"),
        ("\ud800", "key_password cannot be the password of a key: it is no text in UTF-8"),
    ):
        with pytest.raises(ImproperlyConfigured, match=text) as caught:
            await Application(router=make_router(), port=0, key_password=password, **options).start()
        assert "\n" not in str(caught.value)
    async with (
        serving(make_router(), key_password="sesame", **options) as app,
        await Client.connect(app, tls=client_context(certificate)) as client,
    ):
        assert (await client.ask())["data"] == "Hello, world!"
        await client.leave()


# Certificates that are read again


async def _is_shown(address: Any, certificate: Certificate) -> bool:
    """Tell whether the server shows this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection(*address, ssl=context)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return bool(shown == ssl.PEM_cert_to_DER_cert(text_of(certificate.path)))


@on_each_loop
@pytest.mark.parametrize("in_thread", [False, True])
@asynchronous
async def test_certificates_may_be_read_again_while_it_serves(loop: str, in_thread: bool, tmp_path: Path) -> None:
    one, two = (make_certificate(tmp_path / name) for name in ("one", "two"))
    live = Certificate(str(tmp_path / "live.pem"), str(tmp_path / "live.key"))

    def put_there(certificate: str, key: str) -> None:
        shutil.copy(certificate, live.path)
        shutil.copy(key, live.key)

    put_there(*one)
    async with serving(make_router(), certificate=live.path, key=live.key) as app:
        address = app.addresses[0]
        async with await Client.connect(app, tls=client_context(one)) as client:
            assert await _is_shown(address, one)
            for broken in ((one.path, two.key), (one.key, one.key), ("/dev/null", one.key)):
                put_there(*broken)
                with pytest.raises(ImproperlyConfigured, match="cannot load certificate"):
                    app.reload_certificates()
                assert await _is_shown(address, one)
            os.unlink(live.key)
            with pytest.raises(ImproperlyConfigured, match="cannot load certificate: no file"):
                app.reload_certificates()
            put_there(*two)
            assert await _is_shown(address, one)
            await asyncio.to_thread(app.reload_certificates) if in_thread else app.reload_certificates()
            assert await _is_shown(address, two)
            assert (await client.ask())["data"] == "Hello, world!"  # who is there already stays
            await client.leave()


@asynchronous
async def test_what_cannot_be_read_again_says_why(certificate: Certificate) -> None:
    app = Application(router=make_router(), **certificate.options)
    with pytest.raises(RuntimeError, match="the application is not running"):
        app.reload_certificates()
    async with serving(make_router()) as app:
        with pytest.raises(ImproperlyConfigured, match="there is no certificate to reload"):
            app.reload_certificates()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    async with serving(make_router(), ssl_context=context) as app:
        with pytest.raises(ImproperlyConfigured, match="ssl_context is yours: call its load_cert_chain"):
            app.reload_certificates()
