"""The PROXY protocol: the server sees the client that a proxy names, and nobody whom the proxy did not."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiorest_ws import Application
from aiorest_ws.exceptions import ImproperlyConfigured
from aiorest_ws.http.proxy_protocol import UNKNOWN, Announced, read_announcement
from tests.serving import (
    LOOPS,
    Certificate,
    Client,
    asynchronous,
    client_context,
    connection_of,
    factory_of,
    make_router,
    serving,
    turn_over,
)

on_each_loop = pytest.mark.parametrize("loop", LOOPS)

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
TLV = b"\x04\x00\x03abc\x03\x00\x04\0\0\0\0"


def second(command: int, family: int, block: bytes, tlvs: bytes = b"") -> bytes:
    """Give a header of version 2."""
    return SIGNATURE + bytes([0x20 | command, family]) + struct.pack("!H", len(block + tlvs)) + block + tlvs


def addresses(source: str, port: int) -> bytes:
    packed = ip_address(source).packed
    return packed + packed + struct.pack("!HH", port, 443)


UNIX = b"/run/client".ljust(108, b"\0") * 2
V4 = ("203.0.113.7", "tcp4:203.0.113.7:51234")
V6 = ("2001:db8::7", "tcp6:2001:db8::7:51234")

HEADERS = [
    (b"PROXY TCP4 203.0.113.7 10.0.0.1 51234 443\r\n", *V4),
    (b"PROXY TCP6 2001:db8::7 2001:db8::1 51234 443\r\n", *V6),
    (b"PROXY TCP6 ::ffff:203.0.113.7 2001:db8::1 51234 443\r\n", *V4),
    (b"PROXY UNKNOWN\r\n", None, None),
    (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", None, None),
    (second(1, 0x11, addresses("203.0.113.7", 51234)), *V4),
    (second(1, 0x11, addresses("203.0.113.7", 51234), TLV), *V4),
    (second(1, 0x11, addresses("203.0.113.7", 51234), b"\xee\xea\x60" + bytes(60_000)), *V4),
    (second(1, 0x21, addresses("2001:db8::7", 51234)), *V6),
    (second(1, 0x21, addresses("2001:db8::7", 51234), TLV), *V6),
    (second(1, 0x21, addresses("::ffff:203.0.113.7", 51234)), *V4),
    (second(1, 0x31, UNIX, TLV), None, "unix:/run/client"),
    (second(1, 0x31, (b"\0abstract".ljust(108, b"\0")) * 2), None, "unix:@abstract"),
    (second(1, 0x31, (b"/\n\xff".ljust(108, b"\0")) * 2), None, "unix:/?\\xff"),
    (second(1, 0x12, addresses("203.0.113.7", 51234)), None, None),  # UDP
    (second(1, 0x00, b""), None, None),
    (second(1, 0x00, b"", TLV), None, None),
    (second(0, 0x00, b""), None, None),  # LOCAL: the proxy itself
    (second(0, 0x13, bytes(12)), None, None),  # whatever family and transport it names with that
    (second(0, 0xFF, b"any"), None, None),
    (second(0, 0x11, addresses("203.0.113.7", 51234)), None, None),
    (second(0, 0x11, b"abc"), None, None),
]

FAULTS = [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"PROXY  TCP4 203.0.113.7 10.0.0.1 51234 443\r\n",
    b"PROXY TCP4 203.0.113.7 10.0.0.1 51234 443\n",
    b"PROXY TCP4 203.0.113.7 10.0.0.1 51234\r\n",
    b"PROXY TCP4 203.0.113.7 10.0.0.1 51234 443 x\r\n",
    b"PROXY TCP4 203.0.113.999 10.0.0.1 51234 443\r\n",
    b"PROXY TCP4 2001:db8::7 2001:db8::1 51234 443\r\n",
    b"PROXY TCP6 203.0.113.7 10.0.0.1 51234 443\r\n",
    b"PROXY TCP4 203.0.113.7 10.0.0.1 65536 443\r\n",
    b"PROXY TCP4 203.0.113.7 10.0.0.1 -1 443\r\n",
    b"PROXY TCP5 203.0.113.7 10.0.0.1 1 443\r\n",
    b"PROXY UNKNOWNx\r\n",
    b"proxy TCP4 203.0.113.7 10.0.0.1 51234 443\r\n",
    b"PROXY " + b"x" * 101,
    b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
    b"\r\n\r\n\0\r\nQUIT\r",
    SIGNATURE + b"\x11\x11\x00\x0c" + addresses("203.0.113.7", 1),
    SIGNATURE + b"\x22\x11\x00\x0c" + addresses("203.0.113.7", 1),
    SIGNATURE + b"\x21\x41\x00\x0c" + addresses("203.0.113.7", 1),
    SIGNATURE + b"\x21\x13\x00\x0c" + addresses("203.0.113.7", 1),
    SIGNATURE + b"\x21\x11\x00\x0b" + addresses("203.0.113.7", 1)[1:],
    SIGNATURE + b"\x21\x21\x00\x0c" + addresses("203.0.113.7", 1),
    b"\x16\x03\x01\x02\x00\x01",  # TLS
]


def test_headers() -> None:
    for header, address, peer in HEADERS:
        assert read_announcement(header + b"PROXY") == (Announced(address, peer), len(header))
        for end in range(1, min(len(header), 300)):
            assert read_announcement(header[:end]) is None


@pytest.mark.parametrize("data", FAULTS)
def test_faults(data: bytes) -> None:
    with pytest.raises(ValueError, match="PROXY protocol"):
        read_announcement(data)


@given(st.binary(max_size=200) | st.builds(lambda rest: SIGNATURE + rest, st.binary(max_size=200)))
@example(b"")
def test_whatever_comes_is_a_header_or_none_or_not_yet(data: bytes) -> None:
    try:
        read = read_announcement(data)
    except ValueError:
        return
    if read is not None:
        announced, end = read
        assert 0 < end <= len(data)
        assert announced == UNKNOWN or announced.peer is not None


# Over real sockets


def slices(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


async def announced_socket(address: Any, header: bytes, size: int = 0) -> socket.socket:
    """Give a socket on which `header` was sent, in slices of `size`."""
    sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, address)
    if not isinstance(address, str):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for part in slices(header, size or len(header)):
        await loop.sock_sendall(sock, part)
        if size:
            await asyncio.sleep(0)  # each may be read on its own; that none is needed is the point
    return sock


async def hung_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Wait for the end of a connection on which nothing came."""
    try:
        assert await reader.read() == b""
    except ConnectionError:
        pass  # it was dropped with what was not read
    writer.close()


async def connected(app: Application, header: bytes, size: int = 0, **options: Any) -> Client:
    return await Client.connect(app, sock=await announced_socket(app.addresses[0], header, size), **options)


def who(request: Any) -> Any:
    return request.connection.peer


@pytest.mark.parametrize(("header", "address", "peer"), HEADERS[:6] + HEADERS[8:12] + HEADERS[-3:])
@pytest.mark.parametrize("size", [0, 1, 7])
@on_each_loop
@asynchronous
async def test_client_is_the_one_that_the_proxy_names(
    loop: str, size: int, header: bytes, address: str | None, peer: str | None
) -> None:
    async with (
        serving(make_router(who=who), proxy_protocol=True, trusted_proxies=1) as app,
        await connected(app, header, size, headers=[("X-Forwarded-For", "198.51.100.1")]) as client,
    ):
        shown = (await client.ask("GET", "/who"))["data"]
        assert shown == peer if peer else shown.startswith("tcp4:127.0.0.1:")
        await client.leave()


@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize("header", [HEADERS[0][0], HEADERS[6][0]])
@on_each_loop
@asynchronous
async def test_header_comes_before_tls(loop: str, header: bytes, size: int, certificate: Certificate) -> None:
    files = certificate.options
    async with (
        serving(make_router(who=who), proxy_protocol=True, trusted_proxies=1, **files) as app,
        await connected(app, header, size, tls=client_context(certificate)) as client,
    ):
        assert (await client.ask("GET", "/who"))["data"] == V4[1]
        await client.leave()


@pytest.mark.parametrize("secure", [False, True])
@on_each_loop
@asynchronous
async def test_header_and_what_is_behind_it_may_come_in_one_piece(
    loop: str, secure: bool, certificate: Certificate
) -> None:
    import ssl

    files = certificate.options if secure else {}
    options = {"proxy_protocol": True, "trusted_proxies": 1, "health_path": "/healthz"}
    async with serving(make_router(), **options, **files) as app:
        reader, writer = await asyncio.open_connection(*app.addresses[0])
        request = b"GET /healthz HTTP/1.0\r\n\r\n"
        if not secure:
            writer.write(HEADERS[0][0] + request)
            assert (await reader.read()).startswith(b"HTTP/1.1 200 OK")
        else:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = client_context(certificate).wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
            front = HEADERS[0][0]
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    writer.write(front + outgoing.read())
                    front = b""
                    incoming.write(await reader.read(65536))
            tls.write(request)
            writer.write(outgoing.read())
            received = b""
            while not received.startswith(b"HTTP/1.1 200 OK"):
                incoming.write(await reader.read(65536))
                try:
                    received += tls.read()
                except ssl.SSLWantReadError:
                    pass
        writer.close()


@on_each_loop
@asynchronous
async def test_unix_socket_needs_no_trusted_proxies(loop: str, tmp_path: Path) -> None:
    async with (
        serving(make_router(who=who), proxy_protocol=True, unix_path=tmp_path / "s") as app,
        await connected(app, HEADERS[0][0]) as client,
    ):
        assert (await client.ask("GET", "/who"))["data"] == V4[1]
        await client.leave()


@pytest.mark.parametrize(
    ("proxies", "forwarded", "peer"),
    [
        (1, "198.51.100.1", V4[1]),
        (1, "198.51.100.1, 198.51.100.2", V4[1]),
        (2, "198.51.100.1, 198.51.100.2", "198.51.100.2"),
        (2, "198.51.100.1", "198.51.100.1"),
        (2, "", V4[1]),
        (3, "198.51.100.1, 198.51.100.2, 198.51.100.3", "198.51.100.2"),
    ],
)
@asynchronous
async def test_it_counts_as_the_nearest_proxy(proxies: int, forwarded: str, peer: str) -> None:
    async with (
        serving(make_router(who=who), proxy_protocol=True, trusted_proxies=proxies) as app,
        await connected(app, HEADERS[0][0], headers=[("X-Forwarded-For", forwarded)]) as client,
    ):
        assert (await client.ask("GET", "/who"))["data"] == peer


@on_each_loop
@asynchronous
async def test_limits_count_the_clients_and_not_the_proxy(loop: str) -> None:
    options = {"proxy_protocol": True, "trusted_proxies": 1, "max_connections_per_address": 1}
    async with serving(make_router(), **options) as app:
        first = await connected(app, HEADERS[0][0])
        second = await connected(app, HEADERS[1][0])
        with pytest.raises(Exception, match="503"):
            await connected(app, HEADERS[5][0])  # the first client again
        # Half-open ones, too: a second of one client costs that one its first.
        waiting = [await announced_socket(app.addresses[0], HEADERS[1][0]) for _ in range(2)]
        assert await asyncio.get_running_loop().sock_recv(waiting[0], 1) == b""
        for client in (first, second):
            assert (await client.ask())["data"] == "Hello, world!"
            await client.leave()
        for sock in waiting:
            sock.close()


@on_each_loop
@asynchronous
async def test_no_header_is_no_connection_and_few_lines(loop: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with serving(make_router(), proxy_protocol=True, trusted_proxies=1) as app:
        for data in [*FAULTS[:3], *FAULTS[-2:], b"PROXY TCP4"] * 25:
            reader, writer = await asyncio.open_connection(*app.addresses[0])
            writer.write(data)
            writer.write_eof()
            await hung_up(reader, writer)
        assert factory_of(app).admissions.half_open == []
        async with await connected(app, HEADERS[0][0]) as client:
            assert connection_of(app).peer == V4[1]
            await client.leave()
    assert 1 <= len(caplog.messages) <= 120
    assert all("PROXY protocol" in line and "tcp4:127.0.0.1:" in line for line in caplog.messages)


@on_each_loop
@asynchronous
async def test_header_that_does_not_come_is_a_handshake_that_takes_too_long(loop: str) -> None:
    options = {"proxy_protocol": True, "trusted_proxies": 1, "handshake_timeout": 0.1}
    async with serving(make_router(), **options) as app:
        for data in (b"", b"PROXY ", HEADERS[0][0]):
            reader, writer = await asyncio.open_connection(*app.addresses[0])
            writer.write(data)
            await hung_up(reader, writer)


@on_each_loop
@asynchronous
async def test_tcp_check_is_no_line(loop: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with serving(make_router(), proxy_protocol=True, trusted_proxies=1) as app:
        reader, writer = await asyncio.open_connection(*app.addresses[0])
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
    assert caplog.messages == []


@on_each_loop
@asynchronous
async def test_stop_does_not_wait_for_a_header(loop: str) -> None:
    async with serving(make_router(), proxy_protocol=True, trusted_proxies=1, handshake_timeout=None) as app:
        reader, writer = await asyncio.open_connection(*app.addresses[0])
        writer.write(b"PROXY ")
        await turn_over(50)
        assert len(factory_of(app).admissions.half_open) == 1
        await app.stop()
        await hung_up(reader, writer)


@pytest.mark.parametrize("way", ["host", "sock"])
@asynchronous
async def test_nobody_trusted_is_one_line(way: str) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        where = {"sock": sock} if way == "sock" else {"port": 0}
        with pytest.raises(ImproperlyConfigured, match="proxy_protocol needs trusted_proxies of at least 1"):
            await Application(router=make_router(), proxy_protocol=True, **where).start()


@pytest.mark.parametrize("value", ["v1", 1.5, None, 2])
def test_wrong_option_is_one_line(value: Any) -> None:
    with pytest.raises(TypeError, match="proxy_protocol must be True or False"):
        Application(router=make_router(), proxy_protocol=value)
