"""An epoch, a number and a digest → the version of a value, and back."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

__all__ = ("Mark", "Version", "digest_of", "new_epoch", "parsed", "version_of")

_LONGEST = 128  # characters of what a client says that it has


class Mark(NamedTuple):
    """How far a url has come: numbers grow, as long as the epoch is the same."""

    epoch: str
    number: int


class Version(NamedTuple):
    epoch: str
    number: int
    digest: str | None  # None: of a log


def new_epoch() -> str:
    from secrets import token_urlsafe  # dear to import

    return token_urlsafe(6)


def digest_of(data: bytes) -> str:
    """Give what says which value it is: 128 bits of BLAKE2b of it as it is encoded."""
    return urlsafe_b64encode(blake2b(data, digest_size=16).digest())[:22].decode()


def version_of(epoch: str, number: int, digest: str | None = None) -> str:
    return f"{epoch}.{number}" if digest is None else f"{epoch}.{number}.{digest}"


def parsed(since: Any) -> Version | None:
    """Give what `since` says; None for what no version looks like: it is as good as none."""
    return _read(since) if type(since) is str and len(since) <= _LONGEST else None


@lru_cache(maxsize=256)  # of thousands that come back at once most have the same
def _read(since: str) -> Version | None:
    epoch, _, rest = since.partition(".")
    number, dot, digest = rest.partition(".")
    if not epoch or not number.isascii() or not number.isdecimal() or len(number) > 18:
        return None
    return Version(epoch, int(number), digest if dot else None)
