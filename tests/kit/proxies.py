"""Real proxies of the distribution, each in the foreground and on a port of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from tests.kit.pages import EXAMPLES
from tests.serving import TIMEOUT

__all__ = ("DEPLOY", "adapted", "caddy", "free_port", "from_client", "haproxy", "nginx", "program", "running")

Address = tuple[str, int]

DEPLOY = EXAMPLES / "deploy"
_CLIENT = ("127.0.0.77", 0)  # where clients come from
_STREAM = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
_LOAD = f"load_module {_STREAM};" if _STREAM.exists() else ""  # else it is compiled in
_PACKAGES = "haproxy nginx-light libnginx-mod-stream caddy openssl systemd curl"


def program(name: str) -> str:
    """Give the path of a program; that it is not there is a failure."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    assert found is not None, f"{name} is not here: apt-get install {_PACKAGES}"
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def adapted(name: str, here: Mapping[str, str]) -> str:
    """Give a file of examples/deploy/ with what belongs to this machine in the place of what belongs to theirs."""
    text = (DEPLOY / name).read_text("utf-8")
    for theirs, ours in here.items():
        assert theirs in text, f"{name} has no {theirs!r}"
        text = text.replace(theirs, ours)
    return text


async def from_client(address: Address) -> socket.socket:
    """Give a socket that is connected from the address of a client."""
    sock = socket.socket()
    sock.setblocking(False)
    sock.bind(_CLIENT)
    await asyncio.get_running_loop().sock_connect(sock, address)
    return sock


@asynccontextmanager
async def running(*command: str, port: int, **environment: str) -> AsyncIterator[Address]:
    """Run a proxy in the foreground, and give where it listens once it does."""
    process = await asyncio.create_subprocess_exec(
        *command, stderr=asyncio.subprocess.PIPE, env=os.environ | environment
    )
    try:
        async with asyncio.timeout(TIMEOUT):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except ConnectionError:
                    assert process.returncode is None, (await process.communicate())[1].decode()
                    await asyncio.sleep(0.02)  # a proxy tells nobody that it listens
                else:
                    writer.close()
                    break
        yield ("127.0.0.1", port)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


@asynccontextmanager
async def haproxy(folder: Path, config: str) -> AsyncIterator[Address]:
    """Run HAProxy; `config` has LISTEN where address and port belong."""
    port = free_port()
    file = folder / "haproxy.cfg"
    file.write_text(config.replace("LISTEN", f"127.0.0.1:{port}"))
    async with running(program("haproxy"), "-db", "-f", str(file), port=port) as address:
        yield address


@asynccontextmanager
async def nginx(folder: Path, block: str) -> AsyncIterator[Address]:
    """Run nginx; `block` has LISTEN where address and port belong, and stands beside `events`."""
    port = free_port()
    file = folder / "nginx.conf"
    file.write_text(
        f"""
{_LOAD}
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{}}
{block.replace("LISTEN", f"127.0.0.1:{port}")}
"""
    )
    async with running(program("nginx"), "-p", str(folder), "-c", str(file), port=port) as address:
        yield address


@asynccontextmanager
async def caddy(folder: Path, config: str) -> AsyncIterator[Address]:
    """Run Caddy; `config` has LISTEN where address and port belong."""
    port = free_port()
    file = folder / "Caddyfile"
    options = "{\n\tadmin off\n\tauto_https disable_redirects\n\tlog {\n\t\tlevel WARN\n\t}\n}\n"
    file.write_text(options + config.replace("LISTEN", f"127.0.0.1:{port}"))
    home = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    command = (program("caddy"), "run", "--config", str(file), "--adapter", "caddyfile")
    async with running(*command, port=port, **home) as address:
        yield address
