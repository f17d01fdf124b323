"""JSON Web Keys (RFC 7517), given or fetched from a url → the key of a token."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from http.client import HTTPException
from math import inf
from typing import Any
from urllib.parse import urlsplit

import jwt

from aiorest_ws.auth.token.fetch import check_url, fetch
from aiorest_ws.exceptions import BaseAPIException, ImproperlyConfigured
from aiorest_ws.logs.throttled import printable

__all__ = ("KeySet", "KeysUnavailable", "RemoteKeySet", "least_bits")

logger = logging.getLogger("aiorest_ws")

_LIFESPAN = 300.0  # seconds that fetched keys are used
_LONGEST = 3600.0  # and those that are used on while they cannot be fetched again
_PATIENCE = 1.0  # that a token waits whose key is known, but old
_PAUSE = 10.0  # between two fetches: whoever makes up key ids must not make us ask all the time
_TIMEOUT = 5.0  # for all of a fetch
_MOST_BYTES = 524288
_MOST_ALIKE = 4  # keys of one name that a token is tried with
_KINDS = {"HS": "oct", "RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}


def least_bits(algorithm: str) -> int:
    """Give the size that a key must have (RFC 7518 §3.2 and §3.3), 0 where the algorithm fixes it."""
    kind = algorithm[:2]
    return int(algorithm[2:]) if kind == "HS" else 2048 if kind in ("RS", "PS") else 0


def _bits(key: Any) -> int:
    return len(key) * 8 if isinstance(key, bytes) else int(getattr(key, "key_size", 0))


def _fits(key: Any, algorithm: Any) -> bool:
    """Tell whether a key is for `algorithm`: it says so, or it can be; curves are for one each (RFC 7518 §3.4)."""
    named = key._jwk_data.get("alg")
    return named == algorithm or (named is None and (key.key_type != "EC" or key.algorithm_name == algorithm))


def _read(key: Any) -> Any:
    """Give a key of a set, None for one that cannot be read: the others are there all the same (RFC 7517 §5)."""
    try:
        return jwt.PyJWK(key)
    except Exception as exc:  # of two libraries, which do not expect all that others may send
        logger.debug("a key of a set is left out, it cannot be read: %s", printable(exc))
        return None


def _is_to_verify(key: Any) -> bool:
    """Tell whether a key is for signatures, as far as it says so (RFC 7517 §4.2 and §4.3)."""
    operations = key._jwk_data.get("key_ops")
    may = operations is None or (isinstance(operations, list) and ("verify" in operations or "sign" in operations))
    return may and key.public_key_use in ("sig", None)


class KeysUnavailable(BaseAPIException):
    """The keys to check a token with cannot be fetched. It may be good: the client tries again, after 10 seconds."""

    status_code = 1013
    status = 503
    default_detail = "The keys to check the token with cannot be had now. Try again in 10 seconds."
    retry_after = int(_PAUSE)


class KeySet:
    """Keys that are there from the start: a JWK set as a dict.

    Those for encryption, those of another kind than `algorithm` needs, and those too short for it, are never used.
    """

    def __init__(self, keys: Any, algorithm: str) -> None:
        self._kind = _KINDS[algorithm[:2]]
        self._bits = least_bits(algorithm)
        self._keys: list[Any] = []
        if keys is not None:
            try:
                self._keys = self._usable(keys)
            except ValueError as exc:
                raise ImproperlyConfigured(f"key set {exc}") from exc

    def _usable(self, keys: Any) -> list[Any]:
        """Give the keys of a JWK set that may be used. Raises ValueError if there is none."""
        listed = keys.get("keys") if isinstance(keys, Mapping) else None
        if not isinstance(listed, list):
            raise ValueError('is not valid: expected an object with a list "keys" (RFC 7517 §5)')
        read = [key for key in map(_read, listed) if key is not None]
        usable = [k for k in read if k.key_type == self._kind and _is_to_verify(k) and _bits(k.key) >= self._bits]
        if not usable:
            raise ValueError(f"has no key of kind {self._kind} for signatures with at least {self._bits} bits")
        return usable

    def find(self, header: Mapping[str, Any]) -> list[Any]:
        """Give the keys that a token's header may mean: none, one, or a few that have the same name."""
        kid, algorithm = header.get("kid"), header.get("alg")
        fitting = [k for k in self._keys if _fits(k, algorithm)]
        found = [k for k in fitting if k.key_id == kid]
        if kid is None and len(fitting) == 1:
            found = fitting  # a token need not name the only key there is
        return [getattr(k.key, "public_key", lambda k=k: k.key)() for k in found[:_MOST_ALIKE]]

    async def prepare(self, header: Mapping[str, Any]) -> None:
        """See to it that `find` can be believed. Raises KeysUnavailable."""


class RemoteKeySet(KeySet):
    """Keys that are fetched from a url when a token needs one that is not there, or is too old.

    Known keys are used on while they cannot be fetched, for an hour; whoever needs others gets KeysUnavailable.
    """

    def __init__(self, url: str, algorithm: str) -> None:
        super().__init__(None, algorithm)
        try:
            check_url(url)
        except ValueError as exc:
            raise ImproperlyConfigured(f"keys {exc}") from None
        self._url = url
        self._fetched_at = -inf
        self._tried_at = -inf
        self._fetching: asyncio.Task[None] | None = None

    @staticmethod
    def now() -> float:
        """Give seconds of a clock that is never set."""
        return time.monotonic()

    async def prepare(self, header: Mapping[str, Any]) -> None:
        is_known = bool(self.find(header))
        age = self.now() - self._fetched_at
        if is_known and age < _LIFESPAN:
            return
        fetching = self._refresh()
        if fetching is not None:
            await asyncio.wait({fetching}, timeout=_PATIENCE if is_known and age < _LONGEST else None)
        has_failed = self._fetched_at < self._tried_at
        if self.now() - self._fetched_at >= _LONGEST or (has_failed and not self.find(header)):
            raise KeysUnavailable()

    def _refresh(self) -> asyncio.Task[None] | None:
        """Give what fetches the keys, for all who wait for them; None if that was tried a moment ago."""
        loop = asyncio.get_running_loop()
        if self._fetching is not None and self._fetching.get_loop() is loop:
            return self._fetching
        if self._fetching is None and self.now() - self._tried_at < _PAUSE:
            return None
        self._tried_at = self.now()
        self._fetching = task = loop.create_task(self._fetch())
        return task

    async def _fetch(self) -> None:
        try:
            self._keys = await fetch(self._url, self._read, timeout=_TIMEOUT, most=_MOST_BYTES)
        except (OSError, HTTPException, ValueError) as exc:
            why = f"took more than {_TIMEOUT:g} seconds" if isinstance(exc, TimeoutError) else printable(exc)
            logger.warning("key set of %s cannot be had: %s", printable(urlsplit(self._url).hostname), why)
        else:
            self._fetched_at = self._tried_at = self.now()
        finally:
            self._fetching = None

    def _read(self, body: bytes) -> list[Any]:
        try:
            return self._usable(json.loads(body))
        except RecursionError:
            raise ValueError("is not valid: nested too deep") from None
