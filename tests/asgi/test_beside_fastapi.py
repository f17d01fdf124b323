"""examples/beside_fastapi, as its first lines say: under uvicorn, through ASGI and past it, and under a test client."""

from __future__ import annotations

import os
import re
import runpy
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer

import pytest
from fastapi.testclient import TestClient

from tests.kit.pages import ENVIRONMENT, EXAMPLES, TIMEOUT, output_of

FOLDER = EXAMPLES / "beside_fastapi"
THROUGH: list[str] = []
PAST = ["--ws", "aiorest_ws.asgi:Protocol"]
LINE = "WebSockets at /ws are served by aiorest-ws itself: no middleware of the host sees them"


@contextmanager
def uvicorn(*options: str) -> Iterator[tuple[int, list[str]]]:
    """Serve the example; give its port, and what is said, all of it once the block has ended."""
    command = [sys.executable, "-m", "uvicorn", "main:app", "--port", "0", *options]
    with subprocess.Popen(command, cwd=FOLDER, env=ENVIRONMENT, stderr=subprocess.PIPE, encoding="utf-8") as server:
        watchdog = Timer(TIMEOUT, server.kill)
        watchdog.start()
        said: list[str] = []
        try:
            assert server.stderr is not None
            for line in server.stderr:
                said.append(line)
                if "running on" in line:
                    break
            found = re.search(r"http://127\.0\.0\.1:(\d+)", "".join(said))
            assert found, said
            yield int(found[1]), said
        finally:
            server.send_signal(signal.SIGTERM if os.name == "nt" else signal.SIGINT)
            said += server.communicate()[1].splitlines(keepends=True)
            watchdog.cancel()


@pytest.mark.parametrize("options", [THROUGH, PAST], ids=["through", "past"])
def test_client_is_told_of_what_changes_in_both_ways(options: list[str]) -> None:
    with uvicorn(*options) as (port, said):
        started = "".join(said)
        for _ in range(2):
            assert output_of(FOLDER / "client.py", "-port", str(port)).splitlines() == [
                "tea is new",
                "tea is paid",
                "tea is sent",
            ]
    assert (LINE in started) is (options == PAST)
    whole = "".join(said)
    assert ('"WebSocket /ws" [accepted]' in whole) is (options == THROUGH)
    assert "Traceback" not in whole
    assert "Application shutdown complete" in whole


def test_under_a_test_client() -> None:
    app = runpy.run_path(str(FOLDER / "main.py"))["app"]
    with TestClient(app) as client, client.websocket_connect("/ws") as socket:
        number = client.post("/orders", json={"item": "tea"}).json()
        socket.send_json({"method": "SUBSCRIBE", "url": f"/orders/{number}", "id": 1})
        assert socket.receive_json()["data"] == {"item": "tea", "state": "new"}
        assert client.put(f"/orders/{number}/state", params={"state": "paid"}).json()["state"] == "paid"
        assert socket.receive_json()["data"] == {"item": "tea", "state": "paid"}
        assert client.put("/orders/99/state", params={"state": "paid"}).status_code == 404
