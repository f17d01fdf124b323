"""The frame layer of one implementation over a transport that notes what happens, and frames as a client sends them."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

from tests.serving import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT
from tests.swapping import Impl

__all__ = (
    "BINARY",
    "CLOSE",
    "CLOSED",
    "CLOSING",
    "CONNECTING",
    "CONTINUATION",
    "MASK",
    "OPEN",
    "PING",
    "PONG",
    "TEXT",
    "Event",
    "Nowhere",
    "Packs",
    "Transport",
    "close_frame",
    "counters",
    "echo",
    "feed",
    "in_pieces",
    "is_text",
    "make",
    "messages",
    "packed",
    "reply",
    "sliced",
    "text",
    "unusual",
    "wire",
    "writes",
)

CLOSED, CONNECTING, CLOSING, OPEN = range(4)
MASK = b"\x12\x34\x56\x78"

Event = tuple[Any, ...]
Hook = Callable[[Any, Event], None]


def wire(
    payload: bytes = b"",
    opcode: int = TEXT,
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = MASK,
    form: int | None = None,
    declared: int | None = None,
) -> bytes:
    """Give a frame (RFC 6455 §5.2). `form` is the length in its second byte, if not the shortest."""
    size = len(payload) if declared is None else declared
    if form is None:
        form = size if size < 126 else 126 if size < 65536 else 127
    head = bytes((fin << 7 | rsv << 4 | opcode, (mask is not None) << 7 | form))
    if form >= 126:
        head += size.to_bytes(2 if form == 126 else 8, "big")
    if mask is None:
        return head + payload
    key = (mask * (len(payload) // 4 + 1))[: len(payload)]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
    return head + mask + masked.to_bytes(len(payload), "big")


def reply(payload: bytes, opcode: int = TEXT) -> bytes:
    """Give a frame as a server sends it."""
    return wire(payload, opcode, mask=None)


def close_frame(code: int = 1000) -> bytes:
    return wire(code.to_bytes(2, "big"), CLOSE)


def sliced(data: bytes, *at: int) -> list[bytes]:
    """Cut `data` at each of `at`."""
    bounds = (0, *at, len(data))
    return [data[start:end] for start, end in pairwise(bounds)]


def in_pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


class Transport:
    """Notes what it is asked for."""

    def __init__(self, events: list[Event]) -> None:
        self.events = events
        self.closing = False

    def write(self, data: bytes) -> None:
        assert type(data) is bytes
        self.events.append(("write", data))

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self.events.append(("pause",))

    def resume_reading(self) -> None:
        self.events.append(("resume",))

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("192.0.2.1", 4711)}.get(name, default)

    def close(self) -> None:
        self.closing = True
        self.events.append(("close",))

    def abort(self) -> None:
        self.closing = True
        self.events.append(("abort",))


class Nowhere:
    """A transport that keeps nothing."""

    closing = False

    def write(self, data: bytes) -> None:
        pass

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


@dataclass(frozen=True)
class Packs:
    """What was agreed on."""

    bits: int = 15
    level: int = 8
    takes_over: bool = True
    threshold: int = 0


@cache
def _recorder(impl: Impl) -> type[Any]:
    class Recorder(impl.frames.Frames):  # type: ignore[name-defined,misc]
        """Notes what its hooks are called with in `events`, and then calls `hook(self, event)`."""

        def __init__(self, hook: Hook | None, **options: Any) -> None:
            self.events: list[Event] = []
            self.hook = hook
            self.transport = Transport(self.events)
            self.state = OPEN
            self._reads_requests = False
            for name, value in options.items():
                setattr(self, name, value)

        def _note(self, *event: Any) -> None:
            self.events.append(event)
            if self.hook is not None:
                self.hook(self, event)

        def _on_message(self, payload: bytes, is_binary: bool) -> None:
            assert type(payload) is bytes
            self._note("message", payload, bool(is_binary))

        def _on_pong(self, payload: bytes) -> None:
            assert type(payload) is bytes
            self._note("pong", payload)

        def _on_traffic(self) -> None:
            self._note("traffic")

        def _on_unusual_frame(self) -> None:
            self._note("unusual frame")

        def _on_unusual(self, data: bytes) -> None:
            assert type(data) is bytes
            self._note("unusual", data)

        def _on_invalid_utf8(self, index: int) -> None:
            self.state = CLOSING
            self._note("invalid", index)

        def _on_bad_message(self, wrong: Exception) -> None:
            self.state = CLOSING
            self._note("bad message", type(wrong), str(wrong))

        def _on_fragments(self) -> None:
            self.state = CLOSING
            self._note("fragments")

    return Recorder


def make(impl: Impl, hook: Hook | None = None, **options: Any) -> Any:
    """Give an open connection of `impl`; `packs`: on permessage-deflate was agreed, with these parameters."""
    packs: Packs | None = options.pop("packs", None)
    if packs is not None:
        options["_unpacker"] = impl.deflate.Unpacker(packs.bits, takes_over=packs.takes_over)
        options["_unpacker"].limit = options.get("_limit", 0)
        options["_packer"] = impl.deflate.Packer(max(9, packs.bits), packs.level, takes_over=packs.takes_over)
        options["_packs_from"] = packs.threshold
    return _recorder(impl)(hook, **options)


def feed(frames: Any, pieces: Iterable[bytes]) -> list[Event]:
    """Let `pieces` arrive, and give all events."""
    for piece in pieces:
        frames._feed(piece)
    events: list[Event] = frames.events
    return events


def echo(frames: Any, event: Event) -> None:
    """Send each message back."""
    if event[0] == "message":
        frames._write(event[1], BINARY if event[2] else TEXT)


def messages(frames: Any) -> list[bytes]:
    return [event[1] for event in frames.events if event[0] == "message"]


def writes(frames: Any) -> list[bytes]:
    return [event[1] for event in frames.events if event[0] == "write"]


def unusual(frames: Any) -> bytes:
    """Give all bytes that were handed over."""
    return b"".join(event[1] for event in frames.events if event[0] == "unusual")


def packed(message: bytes, packer: Any = None, mode: int = zlib.Z_SYNC_FLUSH) -> bytes:
    """Give the payload of a compressed message (RFC 7692 §7.2.1)."""
    packer = zlib.compressobj(wbits=-15) if packer is None else packer
    data: bytes = packer.compress(message) + packer.flush(mode)
    return data + b"\x00" if mode == zlib.Z_FINISH else data[:-4]


def text(size: int) -> bytes:
    """Give valid UTF-8 of `size` bytes, with characters of each length."""
    whole = ("aé€😀" * (size // 10 + 1)).encode()[:size]
    return whole.decode("utf-8", "ignore").encode().ljust(size, b".")


def is_text(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


def counters(frames: Any) -> dict[str, int]:
    names = ["fast_frames", "unusual_frames", "messages", "octets", "octets_on_wire"]
    names += ["octets_on_wire_out", "octets_out", "frames_out", "fragments_in", "saved", "saved_out"]
    return {name: getattr(frames, f"_{name}") for name in names}
