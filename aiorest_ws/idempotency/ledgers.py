"""What keeps keys, and what came of their requests: one interface, several ways, as with brokers."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

__all__ = ("Asked", "Ledger", "Outcome", "Sent")


class Sent(NamedTuple):
    """What a client sent: its key, and the digest of `args` and `data`."""

    key: bytes
    said: bytes


class Asked(NamedTuple):
    """A request with a key, as digests: nothing in it says what a client sent.

    key     of the key, the method, the url and who asks: 32 bytes
    who     of who asks: 16 bytes
    said    of its `args` and `data`: 32 bytes
    """

    key: bytes
    who: bytes
    said: bytes


class Outcome(NamedTuple):
    """What came of a request: what is in its reply, beside that which is the request's own.

    status    of the reply
    name      "data" or "detail"
    form      how `value` is encoded: 0 is JSON, 4 MessagePack
    value     as it is encoded
    """

    status: int
    name: str
    form: int
    value: bytes


class Ledger(Protocol):
    """Knows of each key whether its request runs, or what came of it.

    All is called in the loop that serves. A key that is known is forgotten by time alone: `Idempotency.seconds` after
    the end of its request. Keys of one who asks never make room for those of another.
    """

    async def reserve(self, asked: Asked) -> Outcome | Any:
        """Give the Outcome of the request with this key, or else a ticket: then that request is to be done now.

        Waits for one that runs; who waits may be cancelled. A ticket is to be given back, by `keep`, `release` or
        `lose`. Raises IdempotencyKeyReused, OutcomeUnknown, OutcomeNotKept, TooManyIdempotencyKeys,
        IdempotencyUnavailable.
        """

    def keep(self, ticket: Any, outcome: Outcome | None) -> Any:
        """Keep what came of it; None: that it is done. Gives None, or an awaitable that ends when it is kept."""

    def release(self, ticket: Any) -> None:
        """Forget it: its handler was not called. Who waits for it is next."""

    def lose(self, ticket: Any) -> None:
        """Take note that nobody will know what came of it."""

    def stop(self) -> None:
        """Wait for nothing more: the loop ends. What is known may be asked for in another."""
