"""An echo server for the Autobahn TestSuite, on the frame layer as it is in production.

    python conformance/echo_server.py --port 9001 --loop uvloop

Nothing here switches the fast path off: `onMessage` is called with what the frame reader found, and `sendMessage` is
the frame writer. `--via request` sends each message through `_decode_message`, `process_request` and `_encode_message`
instead. After SIGTERM the last line that is printed says, as JSON, what served the frames.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from typing import Any

from aiorest_ws import Application, SimpleRouter
from aiorest_ws._speedups import BINARY_JSON, TEXT_JSON, Request, wrap
from aiorest_ws.request import RequestHandlerProtocol

counted: Counter[str] = Counter()


class Counted(RequestHandlerProtocol):
    """A connection whose frames are counted when it ends."""

    def onOpen(self) -> None:
        counted["connections"] += 1
        counted["not_fast"] += not (self._fast and self._serves_pings)
        counted["not_fast_out"] += not self._writes_frames
        counted["compressed"] += self._perMessageCompress is not None

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        counted["fast_frames"] += self._fast_frames
        counted["unusual_frames"] += self._unusual_frames


class MessageEcho(Counted):
    """Echoes what the frame reader hands over."""

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if self.state == self.STATE_OPEN:
            counted["messages"] += 1
            self.sendMessage(payload, isBinary)


class RequestEcho(Counted):
    """Echoes a message as the reply to a request which holds it as it came."""

    def _decode_message(self, payload: bytes, isBinary: bool = False) -> Request:
        counted["messages"] += 1
        envelope = {"method": "POST", "url": "/", "args": {"payload": payload}}
        return wrap(envelope, BINARY_JSON if isBinary else TEXT_JSON, self)

    def _encode_message(self, response: bytes, isBinary: bool = False) -> bytes:
        return response


class EchoRouter(SimpleRouter):
    def process_request(self, request: Request) -> bytes:
        payload: bytes = request.args["payload"]
        return payload


def implementation() -> str:
    """Tell which form of the frame layer the connections have."""
    base = next(cls for cls in RequestHandlerProtocol.__mro__ if cls.__name__ == "Frames")
    compiled = [name for name in sys.modules if name.startswith("aiorest_ws.") and name.endswith("_c")]
    if base.__module__ == "aiorest_ws._speedups.frames" and not compiled:
        return "pure"
    if base.__module__ == "aiorest_ws._speedups.frames_c":
        return "compiled"
    return f"mixed: {base.__module__}, {compiled}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0 (as it is by default) takes a free one")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    parser.add_argument("--compress", action="store_true", help="accept permessage-deflate")
    parser.add_argument("--via", choices=("message", "request"), default="message", help="the way of a message")
    options = parser.parse_args()
    via: dict[str, Any] = {"message": (MessageEcho, SimpleRouter()), "request": (RequestEcho, EchoRouter())}
    protocol, router = via[options.via]
    # Set 9 of the suite sends 16 MiB in a message, and 4 MiB in fragments of 64 bytes: far beyond the default limits.
    limits: dict[str, Any] = {"max_message_size": 16 * 1024 * 1024, "max_fragments": None}
    compression: dict[str, Any] = {"compress": options.compress, "compress_threshold": 0}  # all is packed
    app = Application(router=router, protocol=protocol, loop=options.loop, **compression, **limits)
    app.run(port=options.port, log_level="error")
    names = ("connections", "messages", "fast_frames", "unusual_frames", "compressed")
    faults = ("not_fast", "not_fast_out")
    print(json.dumps({"implementation": implementation(), **{n: counted[n] for n in (*names, *faults)}}))


if __name__ == "__main__":
    main()
