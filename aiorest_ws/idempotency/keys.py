"""Requests with a key → those of them that are done, once each."""

from __future__ import annotations

from collections import Counter
from typing import Any

from aiorest_ws.exceptions import BaseAPIException
from aiorest_ws.idempotency import Idempotency
from aiorest_ws.idempotency.digests import digest, said_in
from aiorest_ws.idempotency.exceptions import InvalidIdempotencyKey
from aiorest_ws.idempotency.ledgers import Asked, Ledger, Sent
from aiorest_ws.idempotency.once import Once
from aiorest_ws.idempotency.places import ledger_for

__all__ = ("Keys",)

_SHORTEST, _LONGEST = 16, 128  # bytes of a key
_NOBODY = (
    "`idempotency_key` needs somebody whose it is: authenticate, "
    "or have the server tell who asks: `Application(idempotency=lambda request: ...)`"
)


class Keys:
    """Does once what comes with a key, for all connections of one listener.

    feeds     what they reach, the ledger has to; they have it, for all listeners of an application
    """

    def __init__(self, given: Any, feeds: Any) -> None:
        self.settings = Idempotency.of(given)
        self._survivors: Counter[bytes] = Counter()  # who asks → handlers that go on, their clients gone
        self._feeds = feeds

    @property
    def ledger(self) -> Ledger:
        """What knows all keys, wherever publications go. Raises IdempotencyUnavailable."""
        if self._feeds.ledger is None:
            self._feeds.ledger = ledger_for(self._feeds.broker, self.settings)
        ledger: Ledger = self._feeds.ledger
        return ledger

    def begin(self, pipeline: Any, request: Any, plan: Any, key: Any) -> Once:
        """Give what does `request` once, which came with `key`; beside that it stays what it was."""
        try:
            sent: Sent | BaseAPIException = Sent(_checked(key), said_in(request))  # before anybody changes it
        except BaseAPIException as exc:
            sent = exc  # who may not pass the guards gets what they say
        return Once(self, pipeline, request, plan, sent)

    def asked(self, request: Any, sent: Sent, method: str) -> Asked:
        """Give what `request` asks for. Raises InvalidIdempotencyKey, and what `who` raises."""
        who = self.settings.who(request)
        if who is None or who == "":
            raise InvalidIdempotencyKey(_NOBODY)
        if not isinstance(who, str):
            raise TypeError(f"idempotency must give a text for who asks, or None, got {type(who).__qualname__}")
        whose = who.encode("utf-8", "surrogatepass")
        # Over HTTP, a slash within a segment and the text `%2F` are the same in `url`: what came of them is not.
        where = (request.url, *map(str, request.path_params.values()))
        parts = (whose, method.encode(), sent.key, *(text.encode("utf-8", "surrogatepass") for text in where))
        return Asked(digest(parts), digest((whose,), 16), sent.said)

    def takes_in(self, who: bytes) -> bool:
        """Tell whether one more handler may go on, of who asks, although its client has left."""
        if self._survivors[who] >= self.settings.max_running_each:
            return False
        self._survivors[who] += 1
        return True

    def let_out(self, who: bytes) -> None:
        """Take note that one of them has ended."""
        self._survivors[who] -= 1
        if not self._survivors[who]:
            del self._survivors[who]

    def stop(self) -> None:
        """Let go of timers."""
        if self._feeds.ledger is not None:
            self._feeds.ledger.stop()


def _checked(key: Any) -> bytes:
    if type(key) is not str or len(key) > _LONGEST:
        raise InvalidIdempotencyKey()
    encoded = key.encode("utf-8", "surrogatepass")
    if not _SHORTEST <= len(encoded) <= _LONGEST:
        raise InvalidIdempotencyKey()
    return encoded
