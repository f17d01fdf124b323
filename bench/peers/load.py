"""What load.c does, for machines without a C compiler, with the same arguments and the same output.

It is slower than several of the servers: their figures are then its own. The CPU time of the server stays true.
"""

from __future__ import annotations

import selectors
import socket
import sys
import time
from pathlib import Path

KEY, ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 §1.3
MASK = bytes((0xA1, 0x5C, 0x07, 0xE9))


def cpu_of(pid: int) -> float:
    """Give the CPU seconds of a process, or -1: what clock_getcpuclockid(3) does on Linux."""
    return time.clock_gettime((~pid << 3) | 2) if sys.platform == "linux" else -1.0


def masked_frame(payload: bytes) -> bytes:
    size = len(payload)
    extra = 0 if size < 126 else 2 if size < 65536 else 8
    first = size if not extra else 126 if extra == 2 else 127
    body = bytes(byte ^ MASK[i & 3] for i, byte in enumerate(payload))
    return bytes((0x81, 0x80 | first)) + (size.to_bytes(extra, "big") if extra else b"") + MASK + body


def connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), 5)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(
        f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(4096) or sys.exit("load: no handshake")
    if not head.startswith(b"HTTP/1.1 101") or ACCEPT not in head:
        sys.exit("load: handshake refused")
    connection.setblocking(False)
    return connection


class Client:
    """One connection; all replies have the size of the first, so bytes are enough to count them."""

    reply: bytes = b""
    reply_size = 0  # with its header

    def __init__(self, port: int, frame: bytes) -> None:
        self.socket = connect(port)
        self.frame = frame
        self.unsent = b""
        self.unread = 0
        self.start = b""
        self.sent: list[float] = []

    def request(self, count: int, now: float) -> None:
        self.sent += [now] * count
        self.unsent += self.frame * count
        self.send()

    def send(self) -> None:
        try:
            self.unsent = self.unsent[self.socket.send(self.unsent) :]
        except BlockingIOError:
            pass

    def read(self, now: float) -> list[float]:
        """Give the latencies of the replies that are complete now."""
        data = self.socket.recv(1 << 18) or sys.exit("load: the server hung up")
        self.unread += len(data)
        if not Client.reply:
            self.start += data
            code = self.start[1] if len(self.start) > 10 else 0
            header = 2 if code < 126 else 4 if code == 126 else 10
            size = code if code < 126 else int.from_bytes(self.start[2:header], "big")
            if self.start[0] not in (0x81, 0x82) or not code or len(self.start) < header + size:
                return []
            Client.reply, Client.reply_size = self.start[header : header + size], header + size
        count, self.unread = divmod(self.unread, Client.reply_size)
        done, self.sent = self.sent[:count], self.sent[count:]
        return [now - begun for begun in done]


def main() -> None:
    port, connections, window = map(int, sys.argv[1:4])
    warmup, seconds = map(float, sys.argv[4:6])
    pid, frame = int(sys.argv[6]), masked_frame(Path(sys.argv[7]).read_bytes())
    selector = selectors.DefaultSelector()
    clients = [Client(port, frame) for _ in range(connections)]
    both = selectors.EVENT_READ | selectors.EVENT_WRITE
    now = time.monotonic()
    for client in clients:
        client.request(window, now)
        selector.register(client.socket, both if client.unsent else selectors.EVENT_READ, client)
    start, began, cpu = now, 0.0, 0.0
    latencies: list[float] = []
    while not began or now - began < seconds:
        for key, _ in selector.select(5) or sys.exit("load: no reply for 5 seconds"):
            client = key.data
            now = time.monotonic()
            if client.unsent:
                client.send()
            try:
                took = client.read(now)
            except BlockingIOError:
                took = []
            latencies += took
            if took:
                client.request(len(took), now)
            events = both if client.unsent else selectors.EVENT_READ
            if events != key.events:
                selector.modify(client.socket, events, client)
        if not began and now - start >= warmup:
            latencies, began, cpu = [], now, cpu_of(pid)
    used = cpu_of(pid) - cpu if cpu >= 0 else -1.0
    p99 = sorted(latencies)[int(len(latencies) * 0.99)] if latencies else 0.0
    print(f"{len(latencies)} {now - began:.6f} {p99 * 1e6:.0f} {used:.6f}")
    sys.stdout.flush()
    sys.stdout.buffer.write(Client.reply)


if __name__ == "__main__":
    main()
