"""What is wrong with a request that has an idempotency key.

BaseIdempotencyException 400
├── InvalidIdempotencyKey 400          of another size or type, or nobody knows who asks
├── IdempotencyKeyReused 422           another request had it: other `args`, or other `data`
├── OutcomeUnknown 409                 it was begun, and nobody can know what came of it
├── OutcomeNotKept 409                 it is done, and its reply is not there any more
├── TooManyIdempotencyKeys 429         of one who asks
└── IdempotencyUnavailable 503         keys cannot be looked up now, or there are too many of all
"""

from __future__ import annotations

from typing import Any

from aiorest_ws.exceptions import BaseAPIException

__all__ = (
    "BaseIdempotencyException",
    "IdempotencyKeyReused",
    "IdempotencyUnavailable",
    "InvalidIdempotencyKey",
    "OutcomeNotKept",
    "OutcomeUnknown",
    "Replayed",
    "TooManyIdempotencyKeys",
)


class BaseIdempotencyException(BaseAPIException):
    """Base of everything that is wrong with an idempotency key. The handler was not called."""


class InvalidIdempotencyKey(BaseIdempotencyException):
    """The key is no text of 16 to 128 bytes, or nobody knows whose it is."""

    default_detail = "`idempotency_key` must be a string of 16 to 128 bytes"


class IdempotencyKeyReused(BaseIdempotencyException):
    """Who asks has used this key for another request of this method and url."""

    status = 422
    default_detail = "`idempotency_key` was used with other `args` or `data`: a new request needs a new key"


class OutcomeUnknown(BaseIdempotencyException):
    """A request with this key was begun, and what served it ended before it did."""

    status = 409
    default_detail = "the request with this `idempotency_key` may have run: look what came of it before you ask anew"


class OutcomeNotKept(BaseIdempotencyException):
    """A request with this key is done; its reply was too large to be kept, or had to make room."""

    status = 409
    default_detail = "the request with this `idempotency_key` is done, its reply was not kept"


class TooManyIdempotencyKeys(BaseIdempotencyException):
    """Who asks has as many keys as one may have."""

    status = 429
    default_detail = "too many `idempotency_key`s at a time: those of the last minutes are still kept"


class IdempotencyUnavailable(BaseIdempotencyException):
    """Where keys are kept cannot be reached, or is full."""

    status = 503
    default_detail = "`idempotency_key`s cannot be looked up now"


class Replayed(BaseAPIException):
    """Stands in the place of an error that a handler has raised before, for the middlewares around it."""

    def __init__(self, status: int, detail: Any) -> None:
        super().__init__("")
        self.status = status
        self.detail = detail
