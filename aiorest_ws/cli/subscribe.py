"""print each change of a url, until Ctrl-C

Prints the value of now, then each change or item, as one line of JSON each. When the connection is lost it comes back
and goes on where it was: nothing in between is missed, or it is said that something may be. It ends when the server
says that there is no more to come: exit code 4. The first connection is tried once.
"""

from __future__ import annotations

import random
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from aiorest_ws.cli.asking import add_arguments, add_server, address_of, arguments_of
from aiorest_ws.cli.call import check_url, told
from aiorest_ws.cli.client import Lost, Refused, Wire
from aiorest_ws.cli.failures import Failure, code_of
from aiorest_ws.cli.output import complain, print_line
from aiorest_ws.cli.parser import Parser

__all__ = ("EXAMPLES", "Follower", "Turned", "fill", "main")

EXAMPLES = """\
  aiorest-ws subscribe /orders/7
  aiorest-ws subscribe /orders status=open --server wss://api.example.com
  aiorest-ws subscribe /rooms/5/messages | jq .text"""

_LEAST, _MOST = 0.5, 20.0  # seconds before it comes back: full jitter between them
_LIFE = 30.0  # seconds after which a connection is thought to be good
_FOR_GOOD = (400, 401, 403, 404, 405, 422)


class Turned(Failure):
    """The subscription is over. `is_final`: to come back would end likewise; `retry`: seconds to wait before that."""

    def __init__(self, message: dict[str, Any]) -> None:
        status = message["status"]
        super().__init__(told(message), code_of(status) or 1)
        self.is_final = status in _FOR_GOOD
        self.retry = message.get("retry", 0) / 1000


class Follower:
    """A subscription over one connection after the other.

    connect    gives a connection, or raises Lost or Refused
    show       is given each value
    """

    def __init__(
        self,
        connect: Callable[[], AbstractContextManager[Wire]],
        url: str,
        args: dict[str, Any] | None,
        show: Callable[[Any], None],
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._connect, self._show = connect, show
        self._url, self._args = url, args
        self._sleep, self._clock, self._jitter = sleep, clock, jitter
        self._since: str | None = None
        self._failures = 0  # in a row

    def run(self) -> None:
        """Follow until the server says that it is over, for good: raises Turned, or Refused; Lost at the first try."""
        is_first = True
        while True:
            begin = self._clock()
            try:
                with self._connect() as wire:
                    for value in self._values(wire):
                        is_first = False
                        self._show(value)
            except (Lost, Refused, Turned) as exc:
                if (is_first and self._since is None) or _is_final(exc):
                    raise
                self._wait(exc, self._clock() - begin)

    def _values(self, wire: Wire) -> Iterator[Any]:
        """Give what is to be shown."""
        number = wire.send("SUBSCRIBE", self._url, args=self._args, since=self._since)
        reply = wire.reply_to(number)
        if reply["status"] not in (200, 206, 304):
            raise Turned(reply)
        if reply["status"] == 200:
            if self._since is not None:
                complain("this is the value of now; what came in between may be missing")
            yield reply["data"]
        if reply["status"] != 206:  # then what was missed comes first, and each item says where it stands
            self._since = reply["version"]
        while True:
            message = wire.receive()
            if "id" in message or message.get("event_name") != reply["topic"]:
                continue
            if "status" in message:
                raise Turned(message)
            if "version" in message:
                self._since = message["version"]
                if "data" in message:
                    yield message["data"]

    def _wait(self, exc: Failure, life: float) -> None:
        self._failures = 1 if life >= _LIFE else self._failures + 1
        seconds = self._jitter(_LEAST, min(_MOST, _LEAST * 2 ** min(self._failures, 10)))
        seconds += getattr(exc, "retry", 0)
        complain(f"{exc}: back in {seconds:.1f} s")
        self._sleep(seconds)


def _is_final(exc: Failure) -> bool:
    if isinstance(exc, Refused):
        return exc.status in _FOR_GOOD
    return isinstance(exc, Turned) and exc.is_final


def fill(parser: Parser) -> None:
    parser.add_argument("url", metavar="URL", help="with a slash in front: /orders/7")
    add_arguments(parser)
    add_server(parser)


def main(given: Namespace) -> int:
    address, args = address_of(given), arguments_of(given)
    Follower(address.connect, check_url(given.url), args, print_line).run()
    return 0
