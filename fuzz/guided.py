"""Coverage-guided fuzzing of the compiled modules: bytes that libFuzzer makes up in, crashes and sanitizer reports out.

`make fuzz` builds the modules with clang's coverage and starts it. What is found is written to `build/fuzz/found`; as
an argument such a file is run once. Further arguments are libFuzzer's (`-help=1` lists them).

    fuzz/guided.py frames [libFuzzer's options] [directories or files]
"""

from __future__ import annotations

import sys
from base64 import b64encode
from collections.abc import Callable
from typing import Any

from aiorest_ws.exceptions import BaseAPIException

__all__ = ("TARGETS", "main")

Target = Callable[[bytes], None]

# The first byte of what the frame reader gets: options, in its bits. The second: how much arrives at a time.
MOST_READS = 8  # more of them take time, and show nothing new
READS, BLIND, LIMITED, NO_PINGS, ACTS, INSIDE, HOLDS, CLOSING = (1 << bit for bit in range(8))


class Nowhere:
    """A transport that keeps nothing."""

    closing = False

    def write(self, data: bytes) -> None:
        pass

    def is_closing(self) -> bool:
        return self.closing


def frames(impl: Any) -> Target:
    """Streams in slices, to a reader with the hooks of a subclass or without."""
    Frames: Any = impl.frames.Frames

    class Acting(Frames):  # type: ignore[misc]
        """Answers, holds, reads in the midst of reading, aborts, and moves the state, as handlers and Autobahn do."""

        def _receive(self, request: Any) -> None:
            self._write_base64(b"reply" * (request.form + 1), 1)
            self._hold(request.form)

        def _on_message(self, payload: bytes, is_binary: bool) -> None:
            self._write(payload, 2)
            self._hold(len(payload))
            if payload[:1] == b"+":
                self._feed(payload)
            elif payload[:1] == b"-":
                self.transport.closing = True

        def _on_unusual(self, data: bytes) -> None:
            self.inside_message = data[:1] == b"\x01"

        def _on_invalid_utf8(self, index: int) -> None:
            self.state = 2

        def _hold(self, number: int) -> None:
            if self.holds and number & 1:
                self._held = 1

    def run(data: bytes) -> None:
        if len(data) < 3:
            return
        options, stream = data[0], data[2:]
        size = max(1 + 7 * data[1], len(stream) // MOST_READS)
        reader = Acting() if options & ACTS else Frames()
        if options & ACTS:
            reader.holds = options & HOLDS
            reader.autoPingTimeoutCall = reader if options & BLIND else None
        reader.transport = Nowhere()
        reader.state = 3
        reader._reads_requests = options & READS
        reader._checks_utf8 = not options & BLIND
        reader._limit = 300 if options & LIMITED else 0
        reader._serves_pings = not options & NO_PINGS
        reader.inside_message = options & INSIDE
        for at in range(0, len(stream), size):
            reader._feed(stream[at : at + size])
            if reader._held:
                reader._held = 0
                reader._resume()
            if options & CLOSING:
                reader.state = 2

    return run


def envelope(impl: Any) -> Target:
    """Payloads in each of the forms, read, and the reply to what was read."""
    read, render = impl.envelope.read, impl.envelope.render

    def run(data: bytes) -> None:
        request = read(data, False, None)
        render(request, request.data if type(request.data) is str else request.url)
        read(data, True, None)
        read(b64encode(data), False, None)

    return run


def base64(impl: Any) -> Target:
    """base64, good and bad, alone and as the payload of a frame, where it is decoded otherwise."""
    codec, reader = impl.codec, impl.frames.Frames()
    reader.transport = Nowhere()
    reader.state = 3

    def run(data: bytes) -> None:
        try:
            decoded = codec.decode_base64(data)
        except BaseAPIException:
            decoded = data
        codec.recognise(decoded, True)
        codec.encode(decoded, 1)
        reader._write_base64(decoded, 1)
        for payload in (data, b64encode(data)):
            size = len(payload)
            if size < 65536:
                head = bytes((0x82, 0x80 | size)) if size < 126 else b"\x82\xfe" + size.to_bytes(2, "big")
                reader._feed(head + b"\x00\x00\x00\x00" + payload)

    return run


TEMPLATES = (
    *("/", "//", "/hello/", "/hello/world/", "/users/{id}/", "/users/{id}/posts/{post}/", "/users/me/", "/a{x}b/"),
    *("/{a}-{b}/", "/{a}aa{b}a/", "/{a}.{b}.{c}/", "/v{n}/", "/{x}.json/", "/{a}/b/{c}/", "/é/{x}/", "/é{x}ü/", "/😀/"),
    *("/deep/1/2/3/4/5/6/7/8/{x}/", "/xxxxxxxx/", "/xxxxxxxxx/", "/xxxxxxxxxxxxxxxx/", "/a b/{x}/"),
)


def trie(impl: Any) -> Target:
    """A method, `GET` or not by the first byte, and the url in the others: UTF-8, or else Latin-1."""
    tree = impl.trie.Trie()
    for template in TEMPLATES:
        for method in ("GET", "POST"):
            tree.insert(template, method, template)
    methods = ("GET", "POST", "PUT", " get", None, "gé")

    def run(data: bytes) -> None:
        try:
            url = data[1:].decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            url = data[1:].decode("latin-1")
        try:
            tree.match(methods[data[0] % 6] if data else "GET", url)
        except BaseAPIException:
            pass

    return run


TARGETS: dict[str, Callable[[Any], Target]] = {"frames": frames, "envelope": envelope, "base64": base64, "trie": trie}


class Compiled:
    """The compiled modules, by the names of `_speedups`."""

    def __getattr__(self, name: str) -> Any:
        from importlib import import_module

        return import_module(f"aiorest_ws._speedups.{name}_c")


def main(arguments: list[str]) -> None:
    import atheris

    name, *rest = arguments[1:] or [""]
    if name not in TARGETS:
        sys.exit(f"expected one of {', '.join(TARGETS)}, got {name!r}")
    # Only what is compiled counts: Python's own coverage would cost more than the call.
    atheris.Setup([arguments[0], *rest], TARGETS[name](Compiled()), enable_python_coverage=False)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
