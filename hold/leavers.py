"""Clients that never quite come, clients that vanish, and a server that leaves."""

from __future__ import annotations

import json
import random
import select
import socket
import time
from collections.abc import Iterator
from threading import Thread
from typing import Any

from hold.probe import probing
from hold.row import Row, Start, megabytes, sending, warm
from hold.wire import Gone, Wire
from tests.serving import CLOSE, TEXT, dump, frame


def vanish(start: Start) -> Iterator[Row]:
    """Send 20,000 requests that take seconds, and reset the connection."""
    count, seconds = 20_000, 3.0
    with start() as server:
        before = warm(server)
        with Wire(server.address) as watcher:
            at_rest = _state(watcher)
            requests = b"".join(
                frame(dump({"method": "POST", "url": "/sleep", "args": {"seconds": seconds}, "id": number}))
                for number in range(count)
            )
            most = 0
            wire = Wire(server.address)
            with sending(wire, [requests]):
                until = time.monotonic() + 1.5
                while time.monotonic() < until:
                    most = max(most, _state(watcher)["tasks"] - at_rest["tasks"])
                    time.sleep(0.02)
            wire.reset()
            until = time.monotonic() + seconds + 5
            while (now := _state(watcher)) != at_rest and time.monotonic() < until:
                most = max(most, now["tasks"] - at_rest["tasks"])
                time.sleep(0.05)
        grown = megabytes(server, before)
        server.terminate()
        code = server.wait(15)
        complaints = server.complaints()
    left = "nothing left" if now == at_rest else f"left: {now}, expected {at_rest}"
    yield Row(
        f"{count} slow requests, then the client vanishes",
        f"{most} tasks; RSS {grown:+.1f} MB; {left}; {len(complaints)} complaints; exit code {code}",
        "≤ 64 tasks; RSS ≤ +1 MB; no traceback",
        most <= 64 and grown <= 1 and now == at_rest and not complaints and code == 0,
    )


def handshakes(start: Start) -> Iterator[Row]:
    """Open 200 connections that send their handshake one byte a second."""
    count = 200
    with start() as server:
        warm(server)
        with probing(server) as latency:
            began = time.monotonic()
            request = f"GET / HTTP/1.1\r\nHost: {server.address[0]}\r\n".encode()
            slow: list[socket.socket] = [socket.create_connection(server.address) for _ in range(count)]
            sent, last = 0, 0.0
            while slow and time.monotonic() < began + 9:
                if time.monotonic() >= began + sent:
                    slow = [sock for sock in slow if _takes(sock, request[sent : sent + 1])]
                    sent += 1
                over = [sock for sock in select.select(slow, [], [], 0.05)[0] if not _lives(sock)]
                slow = [sock for sock in slow if sock not in over]
                for sock in over:
                    sock.close()
                last = time.monotonic() - began
            for sock in slow:
                sock.close()
    yield Row(
        f"{count} slow handshakes, one byte a second",
        f"{count - len(slow)} dropped, the last after {last:.1f} s; {latency}",
        "all dropped ≤ 5 s (+ 0.5 s to see it); another client ≤ 50 ms",
        not slow and last <= 5.5 and latency.worst <= 50,
    )


def _takes(sock: socket.socket, data: bytes) -> bool:
    try:
        sock.send(data)
    except OSError:
        sock.close()
        return False
    return True


def _lives(sock: socket.socket) -> bool:
    try:
        return bool(sock.recv(4096))
    except OSError:
        return False


class Waiting:
    """A connection with requests in flight, and what becomes of them."""

    def __init__(self, number: int, address: tuple[str, int], each: int, chance: random.Random) -> None:
        self.expected = {f"{number}.{n}": f"{number}.{n}.{chance.random()}" for n in range(each)}
        self.seconds = [round(chance.uniform(0.5, 2.5), 2) for _ in self.expected]
        self.wrong: list[Any] = []
        self.close_code: int | None = None
        self.wire = Wire(address)
        for (name, data), seconds in zip(self.expected.items(), self.seconds, strict=True):
            request = {"method": "POST", "url": "/sleep", "args": {"seconds": seconds}, "data": data, "id": name}
            self.wire.frame(dump(request))
        self.thread = Thread(target=self._take_replies)
        self.thread.start()

    def _take_replies(self) -> None:
        try:
            while True:
                got = self.wire.receive(30)
                if got.opcode == CLOSE:
                    self.close_code = got.close_code
                    self.wire.frame(got.payload[:2], CLOSE)
                    return
                reply = json.loads(got.payload) if got.opcode == TEXT else None
                data = reply and self.expected.pop(reply.get("id"), None)
                if not reply or data is None or (reply["status"], reply["data"]) != (200, data):
                    self.wrong.append(got)
        except (Gone, TimeoutError):
            pass
        finally:
            self.wire.socket.close()


def stop(start: Start) -> Iterator[Row]:
    """Send SIGTERM while 1,000 requests are in flight."""
    clients, each = 20, 50
    chance = random.Random(1)
    with start() as server:
        watcher = Wire(server.address)
        began = time.monotonic()
        waiting = [Waiting(number, server.address, each, chance) for number in range(clients)]
        while (in_flight := _state(watcher)["handlers"]) < clients * each and time.monotonic() < began + 0.45:
            time.sleep(0.01)
        watcher.socket.close()  # it would not answer the server's close frame
        longest = began + max(max(client.seconds) for client in waiting)
        server.terminate()
        code = server.wait(30)
        late = time.monotonic() - longest
        for client in waiting:
            client.thread.join()
        complaints = server.complaints()
    lost = sum(len(client.expected) for client in waiting)
    wrong = sum(len(client.wrong) for client in waiting)
    codes = sorted({str(client.close_code) for client in waiting})
    yield Row(
        f"SIGTERM with {in_flight} in flight",
        f"{lost} lost, {wrong} mixed up; closed with {', '.join(codes)}; exit code {code}, "
        f"{late:+.1f} s after the longest handler's end; {len(complaints)} complaints",
        "0 lost, 0 mixed up; 1001; exit code 0, ≤ +1 s",
        in_flight == clients * each
        and not (lost or wrong or complaints)
        and codes == ["1001"]
        and code == 0
        and late <= 1,
    )


def _state(wire: Wire) -> dict[str, int]:
    wire.frame(dump({"method": "GET", "url": "/state"}))
    state: dict[str, int] = json.loads(wire.receive().payload)["data"]
    return state
