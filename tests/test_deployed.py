"""The files of examples/deploy/ with what they are for: two machines behind each proxy, and what systemd starts.

`make test-proxies` installs what this needs, and runs it. tests/test_deploy.py has what takes nothing but this package.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from aiorest_ws.limits import Limits
from tests.kit import proxies
from tests.kit.pages import ROOT
from tests.kit.proxies import DEPLOY, adapted, free_port, from_client, program
from tests.kit.units import values_of
from tests.kit.workers import address_in, ended
from tests.kit.workers import running as running_program
from tests.serving import (
    PING,
    PONG,
    TIMEOUT,
    Certificate,
    Client,
    HandshakeRefused,
    Program,
    client_context,
    make_certificate,
    within,
)

pytestmark = pytest.mark.proxies

patiently = within(90.0)  # seconds: up to eight processes start

Address = tuple[str, int]

# The program of the pages, and a request that lasts until there is a file.
WAITING = """
import asyncio
from pathlib import Path
from main import app, router

@router.get("/wait")
async def wait(request):
    print("waiting", flush=True)
    while not Path(__file__).with_name("gate").exists():
        await asyncio.sleep(0.01)
    return "done"
"""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    made = make_certificate(tmp_path_factory.mktemp("certificate") / "made")
    both = Path(made.path).read_bytes() + Path(made.key).read_bytes()
    Path(made.path).with_name("both.pem").write_bytes(both)
    return made


@dataclass(frozen=True)
class Front:
    """A file of the pages, and what clients meet behind it.

    sees        how the server sees who the client is
    flags       of the servers behind it; those with TLS have a certificate, too
    silence     what the file says of the seconds of silence, once for each place where it does
    is_smooth   clients never see the 503 of a server that drains
    """

    file: str
    sees: str = "127.0.0.77"
    flags: tuple[str, ...] = ("--trusted-proxies", "1")
    silence: tuple[str, ...] = ()
    is_smooth: bool = False
    here: dict[str, str] = field(default_factory=dict)

    @property
    def passes_tls(self) -> bool:
        return "--proxy-protocol" in self.flags

    def run(
        self, folder: Path, certificate: Certificate, machines: tuple[Address, Address], **more: str
    ) -> AbstractAsyncContextManager[Address]:
        """Run the proxy with this file, which is for two machines; `more` is replaced in it, too."""
        port = 8443 if self.passes_tls else 8080
        here = {f"10.0.0.{7 + n}:{port}": "{}:{}".format(*machine) for n, machine in enumerate(machines)}
        for theirs, ours in self.here.items():
            here[theirs] = ours.format(cert=certificate.path, key=certificate.key, folder=Path(certificate.path).parent)
        text = adapted(self.file, here | more)
        if self.file.startswith("nginx"):
            if "stream {" not in text:
                kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
                paths = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
                text = f"http {{ access_log off; {paths}\n{text}\n}}"
            return proxies.nginx(folder, text)
        return proxies.haproxy(folder, text) if self.file.startswith("haproxy") else proxies.caddy(folder, text)


PROXY_PROTOCOL = ("--trusted-proxies", "1", "--proxy-protocol")
FRONTS = [
    Front(
        "nginx.conf",
        silence=("proxy_read_timeout 60s",),
        is_smooth=True,
        here={
            "listen 443 ssl": "listen LISTEN ssl",
            "/etc/ssl/fullchain.pem": "{cert}",
            "/etc/ssl/privkey.pem": "{key}",
        },
    ),
    Front(
        "nginx-stream.conf",
        "tcp4:127.0.0.77:",
        (*PROXY_PROTOCOL, "--health-path", "none"),
        silence=("proxy_timeout 60s",),
        is_smooth=True,
        here={"listen 443": "listen LISTEN"},
    ),
    Front(
        "haproxy.cfg",
        silence=("timeout tunnel 60s",),
        is_smooth=True,
        here={
            "maxconn 20000": "maxconn 100",
            "bind :443": "bind LISTEN",
            "/etc/haproxy/api.example.com.pem": "{folder}/both.pem",
            "2s fall": "50ms fall",
        },
    ),
    Front(
        "haproxy-tcp.cfg",
        "tcp4:127.0.0.77:",
        PROXY_PROTOCOL,
        silence=("timeout client 60s", "timeout server 60s"),
        here={"maxconn 20000": "maxconn 100", "bind :443": "bind LISTEN", "2s fall": "50ms fall"},
    ),
    Front(
        "Caddyfile",
        here={
            "api.example.com {": "https://LISTEN {{\n\ttls {cert} {key}",
            "health_interval 2s": "health_interval 50ms",
        },
    ),
]
each_front = pytest.mark.parametrize("front", FRONTS, ids=lambda front: front.file)


def write_waiting(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "waiting.py").write_text(WAITING)


@asynccontextmanager
async def machine(
    front: Front, certificate: Certificate, folder: Path, *more: str
) -> AsyncIterator[tuple[Program, Address]]:
    """Run what stands for a machine behind `front`: `aiorest-ws run`, as the pages have it."""
    write_waiting(folder)
    flags = [*front.flags, *more]
    if front.passes_tls:
        flags += ["--certificate", certificate.path, "--key", certificate.key]
    command = ("-m", "aiorest_ws_cli", "run", "waiting:app", "--app-dir", str(folder), "--port", "0", *flags)
    async with running_program(*command, PYTHONPATH=f"{ROOT}:{DEPLOY}") as program:
        yield program, address_in(await program.started())


async def connect(address: Address, certificate: Certificate, *headers: tuple[str, str]) -> Client:
    sock = await from_client(address)
    return await Client.connect(address, sock=sock, tls=client_context(certificate), headers=headers)


async def program_of(client: Client, front: Front) -> int:
    """Give the process that supervises who answers `client`, which must be known for what it is."""
    found = (await client.ask(url="/who"))["data"]
    assert found["client"].startswith(front.sees), found
    return os.getpgid(found["process"])


@each_front
@patiently
async def test_clients_are_spread_and_none_is_lost(front: Front, certificate: Certificate, tmp_path: Path) -> None:
    workers = ("--workers", "2")
    async with (
        machine(front, certificate, tmp_path / "a", *workers) as (a, at_a),
        machine(front, certificate, tmp_path / "b", *workers) as (b, at_b),
        front.run(tmp_path, certificate, (at_a, at_b)) as address,
    ):

        async def comes() -> tuple[Client, int]:
            client = await connect(address, certificate, ("X-Forwarded-For", "198.51.100.1"))
            return client, await program_of(client, front)

        # Whoever has fewer connections is next.
        clients = [await comes() for _ in range(8)]
        for client, _ in clients:
            assert (await client.ask("SUBSCRIBE", "/news", id=1))["status"] == 200
        for program in (a, b):
            assert sum(of == program.process.pid for _, of in clients) in (3, 4, 5)

        # A new version: its clients are asked to come back, and whoever comes meanwhile is served.
        a.signal(signal.SIGHUP)
        others = [client for client, of in clients if of == b.process.pid]
        for client, of in clients:
            if of == a.process.pid:
                end = await client.reply()
                assert (end["status"], end["retry"] > 0) == (503, True)
                assert (await client.left()).close_code == 1012
                newcomer, _ = await comes()
                await newcomer.drop()

        # The end of a machine: what was begun is answered, and whoever comes meanwhile gets the other one, which has
        # more connections.
        while True:
            client, of = await comes()
            if of == a.process.pid:
                break
            await client.drop()
        client.request(url="/wait")
        assert await a.line() == "waiting"
        a.signal(signal.SIGTERM)
        assert "1 request in flight" in await a.line()
        for _ in range(4):
            newcomer, of = await comes() if front.is_smooth else await _until_served(comes)
            assert of == b.process.pid
            await newcomer.drop()
        for other in others:
            assert (await other.ask())["data"] == "Hello, world!"
            await other.drop()
        (tmp_path / "a" / "gate").touch()
        assert (await client.reply())["data"] == "done"
        assert (await client.left()).close_code == 1001
        assert (await a.end()).code == 0
        b.signal(signal.SIGTERM)
        assert (await b.end()).code == 0


async def _until_served(comes: object) -> tuple[Client, int]:
    """Connect as clients do: again, when a server that drains says 503."""
    assert callable(comes)
    while True:
        try:
            found: tuple[Client, int] = await comes()
            return found
        except HandshakeRefused as refused:
            if refused.status != 503:
                raise


@pytest.mark.parametrize("front", [front for front in FRONTS if front.silence], ids=lambda front: front.file)
@patiently
async def test_pings_keep_silent_connections(front: Front, certificate: Certificate, tmp_path: Path) -> None:
    """With a second instead of a minute: behind a server that sends pings clients stay, behind another they do not."""
    shorter = {text: text.replace("60s", "1s") for text in front.silence}
    for pings in ("0.2", "none"):
        async with (
            machine(front, certificate, tmp_path / "a", "--ping-interval", pings) as (server, at),
            front.run(tmp_path, certificate, (at, at), **shorter) as address,
        ):
            client = await connect(address, certificate)
            await program_of(client, front)
            if pings == "none":
                await client.eof()
            else:
                for _ in range(12):  # more than two seconds
                    frame = await client.receive()
                    assert frame.opcode == PING
                    client.send(frame.payload, PONG)
                assert (await client.ask())["data"] == "Hello, world!"
            await client.drop()
            server.signal(signal.SIGTERM)
            assert (await server.end()).code == 0


# systemd


def start_of_unit() -> list[str]:
    """Give what `ExecStart` of the unit runs, by the Python and with the package of these tests."""
    (start,) = values_of(DEPLOY / "shop.service", "ExecStart")
    path, *argv = shlex.split(start)
    assert path == "/srv/shop/.venv/bin/aiorest-ws"
    return ["-m", "aiorest_ws_cli", *argv]


@patiently
async def test_unit_tells_systemd_how_it_is(tmp_path: Path) -> None:
    where = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(where)
        notified.setblocking(False)

        async def told() -> str:
            async with asyncio.timeout(TIMEOUT):
                return (await asyncio.get_running_loop().sock_recv(notified, 4096)).decode()

        environment = {"NOTIFY_SOCKET": where, "PYTHONPATH": f"{ROOT}:{DEPLOY}", "AIOREST_WS_PORT": "0"}
        async with running_program(*start_of_unit(), **environment) as server:
            assert await told() == "READY=1"
            at = address_in(await server.started())
            client = await Client.connect(at)
            server.signal(signal.SIGHUP)  # ExecReload
            assert (await told()).startswith("RELOADING=1\nMONOTONIC_USEC=")
            assert (await client.left()).close_code == 1012
            assert await told() == "READY=1"
            server.signal(signal.SIGTERM)  # KillMode=mixed: to this process alone
            assert await told() == "STOPPING=1"
            assert (await server.end()).code == 0


@patiently
async def test_systemd_keeps_the_socket_while_the_server_is_away(tmp_path: Path) -> None:
    """systemd-socket-activate starts the unit's command when the first client comes."""
    port = free_port()
    where = ("127.0.0.1", port)
    command = (program("systemd-socket-activate"), "--listen", f"127.0.0.1:{port}", "-E", "PYTHONPATH")
    server = await asyncio.create_subprocess_exec(
        *(*command, sys.executable, *start_of_unit()),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{DEPLOY}", "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )
    try:
        started = Program(server)
        assert "Listening on" in await started.error("Listening on")
        client = await Client.connect(where)
        assert f"Server started at ws://127.0.0.1:{port}/" in await started.started()
        found = (await client.ask(url="/who"))["data"]
        assert os.getpgid(found["process"]) == server.pid != found["process"]
        started.signal(signal.SIGTERM)
        assert (await client.left()).close_code == 1001
        assert (await started.end()).code == 0
        await ended(found["process"])
    finally:
        try:
            os.killpg(server.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


@patiently
async def test_reload_takes_a_certificate_that_was_renewed(tmp_path: Path) -> None:
    live, renewed = make_certificate(tmp_path / "live", "old"), make_certificate(tmp_path / "new", "new")
    argv = [*start_of_unit(), "--port", "0", "--certificate", live.path, "--key", live.key]
    async with running_program(*argv, PYTHONPATH=f"{ROOT}:{DEPLOY}") as server:
        at = address_in(await server.started())
        os.replace(renewed.path, live.path)
        os.replace(renewed.key, live.key)
        server.signal(signal.SIGHUP)
        for _ in range(2):
            await server.error("in the place of")
        client = await with_the_new_certificate(at, client_context(live))
        await client.drop()
        server.signal(signal.SIGTERM)
        assert (await server.end()).code == 0


async def with_the_new_certificate(at: Any, tls: ssl.SSLContext) -> Client:
    """Connect as soon as no process with the old one takes a connection any more: the last to drain may take one."""
    async with asyncio.timeout(TIMEOUT):
        while True:
            try:
                return await Client.connect(at, tls=tls)
            except ssl.SSLCertVerificationError:
                pass


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    for name in ("shop.service", "shop.socket"):
        here = {"/srv/shop/.venv/bin/aiorest-ws": sys.executable} if name == "shop.service" else {"shop.sock": "s"}
        (tmp_path / name).write_text(adapted(name, here))
    units = [str(tmp_path / name) for name in ("shop.service", "shop.socket")]
    done = subprocess.run(
        [program("systemd-analyze"), "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    assert [line for line in done.stderr.splitlines() if "shop" in line] == []
    assert done.returncode == 0, done.stderr


def test_systemd_finds_little_to_fear(tmp_path: Path) -> None:
    """An exposure of 9.6 is that of a unit which says nothing."""
    command = [program("systemd-analyze"), "security", "--offline=true", "--threshold=20", str(DEPLOY / "shop.service")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-200:]


# Kubernetes


def manifests() -> dict[str, Any]:
    """Give each object by its kind."""
    import yaml

    return {each["kind"]: each for each in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text("utf-8"))}


def test_objects_of_kubernetes_are_of_one_application() -> None:
    found = manifests()
    assert set(found) == {"Deployment", "Service", "PodDisruptionBudget", "Ingress"}
    pod = found["Deployment"]["spec"]["template"]
    labels = pod["metadata"]["labels"]
    assert found["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert found["Service"]["spec"]["selector"] == labels
    assert found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    (container,) = pod["spec"]["containers"]
    (port,) = container["ports"]
    assert str(port["containerPort"]) in (DEPLOY / "Dockerfile").read_text("utf-8")
    (way,) = found["Service"]["spec"]["ports"]
    assert way["targetPort"] == port["name"]
    (rule,) = found["Ingress"]["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    assert path["backend"]["service"] == {"name": found["Service"]["metadata"]["name"], "port": {"name": way["name"]}}


def test_pod_has_time_to_end_and_is_asked_how_it_is() -> None:
    limits, spec = Limits(), manifests()["Deployment"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    (_, seconds) = container["lifecycle"]["preStop"]["exec"]["command"]
    assert spec["terminationGracePeriodSeconds"] > int(seconds) + limits.shutdown_timeout + limits.close_timeout
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["path"] == "/healthz"
    assert "httpGet" not in container["livenessProbe"]  # it says 503 while it drains
    assert spec["securityContext"]["runAsNonRoot"]
