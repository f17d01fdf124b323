"""What clients may call the server: the option, its default, and the handshake."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from aiorest_ws import Application
from aiorest_ws.http.hosts import Hosts
from tests.kit.systems import needs_posix
from tests.serving import LOOPS, Client, HandshakeRefused, asynchronous, make_router, serving

on_each_loop = pytest.mark.parametrize("loop", LOOPS)

LOCAL = ("localhost", "a.localhost", "localhost.", "127.0.0.1", "127.1.2.3", "[::1]")
FOREIGN = (
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "notlocalhost",
    "0.0.0.0",
    "10.0.0.1",
    "",
)


@pytest.mark.parametrize("host", [*LOCAL, *FOREIGN])
def test_pages_call_a_local_server_by_local_names_only(host: str) -> None:
    hosts = Hosts(is_local=True)
    assert hosts.allow(host, of_page=True) == (host in LOCAL)
    assert hosts.allow(host, of_page=False)
    assert Hosts().allow(host, of_page=True)


@pytest.mark.parametrize(
    ("allowed", "host", "expected"),
    [
        (["example.com"], "example.com", True),
        (["Example.COM"], "example.com", True),
        (["example.com"], "www.example.com", False),
        (["example.com"], "badexample.com", False),
        (["example.com"], "localhost", False),
        (["*.example.com"], "www.example.com", True),
        (["*.example.com"], "a.b.example.com", True),
        (["*.example.com"], "example.com", False),
        (["*.example.com"], "badexample.com", False),
        (["*.example.com"], "example.com.evil.example", False),
        (["[::1]", "127.0.0.1"], "[::1]", True),
        # One host in other words (RFC 3986 §3.2.2, RFC 5952).
        (["example.com"], "example.com.", True),
        (["example.com."], "example.com", True),
        (["*.example.com"], "www.example.com.", True),
        (["*.example.com"], "example.com.", False),
        (["example.com"], "example.com..", False),
        (["[2001:DB8::1]"], "[2001:db8:0:0::0001]", True),
        (["[2001:db8:0::1]"], "[2001:db8::1]", True),
        (["[2001:db8::1]"], "[2001:db8::2]", False),
        (["[::1]"], "[::1.2.3]", False),
        (["*"], "evil.example", True),
        ([], "localhost", False),
    ],
)
@pytest.mark.parametrize("is_local", [True, False])
def test_list_of_hosts_is_for_pages_and_programs_alike(
    allowed: list[str], host: str, expected: bool, is_local: bool
) -> None:
    hosts = Hosts(allowed, is_local=is_local)
    assert [hosts.allow(host, of_page=of_page) for of_page in (True, False)] == [expected] * 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x", "allowed_hosts must be None or a list of hosts, got 'x'"),
        ([1], "allowed_hosts must be None or a list of hosts, got"),
        (["http://example.com"], "without scheme and port, got 'http://example.com'"),
        (["example.com:8080"], "without scheme and port, got 'example.com:8080'"),
        (["a.*.com"], "must be names of hosts"),
        ([""], "must be names of hosts"),
        (["exa mple.com"], "must be names of hosts"),
    ],
)
def test_hosts_that_cannot_be_are_refused(value: Any, text: str) -> None:
    with pytest.raises((TypeError, ValueError), match=text):
        Application(allowed_hosts=value)


async def status_of(app: Application, host: str, *, of_page: bool = True) -> int:
    """Give the status of a handshake that calls the server `host`, from a page of that very host."""
    address = app.addresses[0]
    port = f":{address[1]}" if isinstance(address, tuple) else ""
    headers = [("Origin", f"http://{host}{port}")] if of_page else []
    try:
        async with await Client.connect(app, headers=headers, host=f"{host}{port}") as client:
            await client.leave()
    except HandshakeRefused as exc:
        return exc.status
    return 101


@on_each_loop
@asynchronous
async def test_name_that_leads_to_this_machine_is_no_name_of_it(loop: str, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(make_router()) as app:
        assert await status_of(app, "localhost") == 101
        assert await status_of(app, "evil.example", of_page=False) == 101
        assert caplog.records == []
        assert await status_of(app, "evil.example") == 403
    (record,) = (record for record in caplog.records if record.levelno >= logging.WARNING)
    assert "'evil.example' may not connect, unless the option allowed_hosts names it" in record.getMessage()


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({}, 403),
        ({"debug": True}, 403),
        ({"host": "localhost"}, 403),
        ({"host": "0.0.0.0"}, 101),
        ({"trusted_proxies": 1}, 101),
        ({"allowed_hosts": ["evil.example"]}, 101),
        ({"allowed_hosts": ["example.com"]}, 403),
    ],
    ids=str,
)
@asynchronous
async def test_default_is_for_servers_of_this_machine_only(options: dict[str, Any], status: int) -> None:
    async with serving(make_router(), **options) as app:
        assert await status_of(app, "evil.example") == status


@needs_posix
@asynchronous
async def test_unix_socket_is_called_as_its_proxy_is(tmp_path: Path) -> None:
    async with serving(make_router(), unix_path=tmp_path / "s") as app:
        assert await status_of(app, "shop.example") == 101
