"""Behind the real thing: HAProxy, nginx and OpenSSL of the distribution. `make test-proxies` installs and runs them."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aiorest_ws import Application
from tests.kit import proxies
from tests.kit.proxies import from_client, nginx, program
from tests.serving import (
    LOOPS,
    Certificate,
    Client,
    Gates,
    asynchronous,
    client_context,
    factory_of,
    make_certificate,
    make_router,
    serving,
)
from tests.serving import until as eventually

pytestmark = pytest.mark.proxies

on_each_loop = pytest.mark.parametrize("loop", LOOPS)


@asynccontextmanager
async def haproxy(folder: Path, backend: str, mode: str = "tcp") -> AsyncIterator[tuple[str, int]]:
    config = f"""
defaults
    mode {mode}
    timeout connect 2s
    timeout client 10s
    timeout server 10s
    timeout check 1s
frontend in
    bind LISTEN
    default_backend out
backend out
{backend}
"""
    async with proxies.haproxy(folder, config) as address:
        yield address


def who(request: Any) -> Any:
    return request.connection.peer


async def peer_through(address: tuple[str, int], **options: Any) -> str:
    client = await Client.connect(address, sock=await from_client(address), **options)
    async with client:
        peer = (await client.ask("GET", "/who"))["data"]
        await client.leave()
    return str(peer)


def where_of(app: Application) -> str:
    address = app.addresses[0]
    return address if isinstance(address, str) else "{}:{}".format(*address)


@pytest.mark.parametrize("way", ["send-proxy", "send-proxy-v2"])
@pytest.mark.parametrize("place", ["port", "file"])
@on_each_loop
@asynchronous
async def test_haproxy_tells_who_the_client_is(loop: str, way: str, place: str, tmp_path: Path) -> None:
    where: dict[str, Any] = {"unix_path": tmp_path / "s"} if place == "file" else {"trusted_proxies": 1}
    async with (
        serving(make_router(who=who), proxy_protocol=True, **where) as app,
        haproxy(tmp_path, f"    server a {where_of(app)} {way}") as front,
    ):
        assert (await peer_through(front)).startswith("tcp4:127.0.0.77:")


@pytest.mark.parametrize("way", ["send-proxy", "send-proxy-v2", "send-proxy-v2-ssl-cn"])
@on_each_loop
@asynchronous
async def test_haproxy_tells_it_before_tls(loop: str, way: str, certificate: Certificate, tmp_path: Path) -> None:
    options: dict[str, Any] = {"proxy_protocol": True, "trusted_proxies": 1}
    async with (
        serving(make_router(who=who), **certificate.options, **options) as app,
        haproxy(tmp_path, f"    server a {where_of(app)} {way}") as front,
    ):
        assert (await peer_through(front, tls=client_context(certificate))).startswith("tcp4:127.0.0.77:")


@pytest.mark.parametrize(
    ("check", "options"),
    [
        ("option httpchk GET /healthz", {}),
        ("option httpchk HEAD /healthz", {}),
        ("option httpchk\n    http-check send meth GET uri /healthz ver HTTP/1.1 hdr Host shop", {}),
        ("option httpchk GET /healthz", {"proxy_protocol": True, "trusted_proxies": 1}),
    ],
)
@on_each_loop
@asynchronous
async def test_haproxy_sees_that_it_is_alive_and_that_it_stops(
    loop: str, check: str, options: dict[str, Any], tmp_path: Path
) -> None:
    gates = Gates()

    async def slow(request: Any) -> str:
        return await gates.wait("slow")

    log = tmp_path / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as lines:
        lines.bind(str(log))
        lines.setblocking(False)
        send = "send-proxy-v2 check-send-proxy" if options else ""
        backend = f"    {check}\n    log {log} local0\n    option log-health-checks\n"

        async def until(text: str) -> None:
            while text not in (await asyncio.get_running_loop().sock_recv(lines, 65536)).decode():
                pass

        options = {"health_path": "/healthz", "shutdown_timeout": 5, **options}
        async with serving(make_router(slow=slow, who=who), **options) as app:
            server = f"    server a {where_of(app)} {send} check inter 50ms fall 1 rise 1"
            async with haproxy(tmp_path, backend + server) as front:
                client = await Client.connect(front)
                client.request("GET", "/slow")
                await gates.until_started("slow")
                await eventually(lambda: factory_of(app).admissions.half_open == [])  # but while a probe is answered
                stopping = asyncio.ensure_future(app.stop())
                await until("code: 503")
                gates.open("slow")
                assert (await client.reply())["data"] == "slow"
                await client.left()
                await stopping


@pytest.mark.parametrize("secure", [False, True])
@on_each_loop
@asynchronous
async def test_nginx_tells_who_the_client_is(loop: str, secure: bool, certificate: Certificate, tmp_path: Path) -> None:
    files = certificate.options if secure else {}
    async with serving(make_router(who=who), proxy_protocol=True, trusted_proxies=1, **files) as app:
        block = f"stream {{ server {{ listen LISTEN; proxy_pass {where_of(app)}; proxy_protocol on; }} }}"
        async with nginx(tmp_path, block) as front:
            peer = await peer_through(front, tls=client_context(certificate) if secure else None)
            assert peer.startswith("tcp4:127.0.0.77:")


HTTP = """
http {
    access_log off;
    client_body_temp_path TMP/a; proxy_temp_path TMP/b; fastcgi_temp_path TMP/c;
    uwsgi_temp_path TMP/d; scgi_temp_path TMP/e;
    server {
        listen LISTEN;
        location / {
            proxy_pass http://unix:TMP/s;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
        }
    }
}
"""


@on_each_loop
@asynchronous
async def test_nginx_as_the_docs_have_it(loop: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"unix_path": tmp_path / "s", "trusted_proxies": 1}
    async with serving(make_router(who=who), **options), nginx(tmp_path, HTTP.replace("TMP", str(tmp_path))) as front:
        assert await peer_through(front) == "127.0.0.77"
        assert await peer_through(front, headers=[("X-Forwarded-For", "198.51.100.1")]) == "127.0.0.77"


@on_each_loop
@asynchronous
async def test_haproxy_in_front_of_nginx(loop: str, tmp_path: Path) -> None:
    """The farthest speaks the PROXY protocol to the nearest, which adds what it heard to X-Forwarded-For."""
    block = HTTP.replace("LISTEN;", "LISTEN proxy_protocol;").replace(
        "$proxy_add_x_forwarded_for", "$proxy_protocol_addr"
    )
    options: dict[str, Any] = {"unix_path": tmp_path / "s", "trusted_proxies": 1}
    async with (
        serving(make_router(who=who), **options),
        nginx(tmp_path, block.replace("TMP", str(tmp_path))) as middle,
        haproxy(tmp_path, "    server a {}:{} send-proxy-v2".format(*middle)) as front,
    ):
        assert await peer_through(front) == "127.0.0.77"


@pytest.mark.parametrize("way", ["send-proxy", "send-proxy-v2"])
@on_each_loop
@asynchronous
async def test_header_of_the_nearest_and_forwarded_for_of_the_next(loop: str, way: str, tmp_path: Path) -> None:
    """HAProxy that speaks HTTP and sends both: with two proxies the header X-Forwarded-For has the client."""
    backend = "    option forwardfor\n    server a {} " + way
    for trusted, start in ((1, "tcp4:127.0.0.77:"), (2, "127.0.0.77")):
        options: dict[str, Any] = {"proxy_protocol": True, "trusted_proxies": trusted}
        async with (
            serving(make_router(who=who), **options) as app,
            haproxy(tmp_path, backend.format(where_of(app)), mode="http") as front,
        ):
            headers = [("X-Forwarded-For", "198.51.100.1")]
            assert (await peer_through(front, headers=headers)).startswith(start)


async def subject_shown(address: tuple[str, int]) -> str:
    """Give whom the server says it is, as `openssl s_client` sees it."""
    process = await asyncio.create_subprocess_exec(
        *(program("openssl"), "s_client", "-connect", "{}:{}".format(*address)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    out, _ = await process.communicate()
    return next(line for line in out.decode().splitlines() if line.startswith("subject"))


@on_each_loop
@asynchronous
async def test_openssl_sees_the_certificate_that_was_renewed(loop: str, tmp_path: Path) -> None:
    live, renewed = make_certificate(tmp_path / "live", "old"), make_certificate(tmp_path / "new", "new")
    async with serving(make_router(), certificate=live.path, key=live.key) as app:
        assert (await subject_shown(app.addresses[0])).endswith("old")
        os.replace(renewed.path, live.path)
        os.replace(renewed.key, live.key)
        assert (await subject_shown(app.addresses[0])).endswith("old")
        app.reload_certificates()
        assert (await subject_shown(app.addresses[0])).endswith("new")
