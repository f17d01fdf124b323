"""JSON Web Keys (RFC 7517), given or fetched from a url → the key of a token."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from time import monotonic
from typing import Any

import jwt

from aiorest_ws.exceptions import ImproperlyConfigured

__all__ = ("KeySet", "RemoteKeySet", "least_bits")

logger = logging.getLogger("aiorest_ws")

_LIFESPAN = 300.0  # seconds that fetched keys are used
_PAUSE = 10.0  # seconds between two fetches: whoever makes up key ids must not make us ask all the time
_TIMEOUT = 5.0
_KINDS = {"HS": "oct", "RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}


def least_bits(algorithm: str) -> int:
    """Give the size that a key must have (RFC 7518 §3.2 and §3.3), 0 where the algorithm fixes it."""
    kind = algorithm[:2]
    return int(algorithm[2:]) if kind == "HS" else 2048 if kind in ("RS", "PS") else 0


def _bits(key: Any) -> int:
    return len(key) * 8 if isinstance(key, bytes) else int(getattr(key, "key_size", 0))


class KeySet:
    """Keys that are there from the start: a JWK set as a dict.

    Those for encryption, those of another kind than `algorithm` needs, and those too short for it, are never used.
    """

    def __init__(self, keys: Any, algorithm: str) -> None:
        self._kind = _KINDS[algorithm[:2]]
        self._bits = least_bits(algorithm)
        self._keys: dict[str | None, Any] = {}
        if keys is not None:
            try:
                self._take(jwt.PyJWKSet.from_dict(dict(keys)).keys)
            except (jwt.PyJWTError, TypeError, ValueError) as exc:
                raise ImproperlyConfigured(f"key set is not valid: {exc}") from exc
            if not self._keys:
                raise ImproperlyConfigured(
                    f"key set has no key of kind {self._kind} for signatures with at least {self._bits} bits"
                )

    def _take(self, keys: list[Any]) -> None:
        usable = [
            k
            for k in keys
            if k.key_type == self._kind and k.public_key_use in ("sig", None) and _bits(k.key) >= self._bits
        ]
        self._keys = {k.key_id: k for k in usable}
        if len(usable) == 1:
            self._keys[None] = usable[0]  # a token need not name the only key there is

    def find(self, header: Mapping[str, Any]) -> Any:
        """Give the key that a token's header names, None if there is none."""
        kid = header.get("kid")
        found = self._keys.get(kid) if kid is None or isinstance(kid, str) else None
        if found is None or found._jwk_data.get("alg") not in (None, header.get("alg")):
            return None
        return getattr(found.key, "public_key", lambda: found.key)()

    def is_fresh(self, header: Mapping[str, Any]) -> bool:
        """Tell whether `find` can be believed."""
        return True

    async def refresh(self) -> None:
        """Get the keys anew, if they can change."""


class RemoteKeySet(KeySet):
    """Keys that are fetched from a url, in a thread, when a token needs one that is not there or is too old."""

    def __init__(self, url: str, algorithm: str) -> None:
        super().__init__(None, algorithm)
        if not url.startswith("https://") and not url.startswith(
            ("http://127.0.0.1", "http://localhost", "http://[::1]")
        ):
            raise ImproperlyConfigured(f"keys must be fetched over https, got {url!r}")
        self._client = jwt.PyJWKClient(url, cache_jwk_set=False, timeout=_TIMEOUT)
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._fetching: asyncio.Task[None] | None = None

    def is_fresh(self, header: Mapping[str, Any]) -> bool:
        now = monotonic()
        if self._fetched_at is None or now - self._fetched_at >= _LIFESPAN:
            return False
        return self.find(header) is not None or (self._tried_at is not None and now - self._tried_at < _PAUSE)

    async def refresh(self) -> None:
        """Fetch the keys, once for all who wait for them. Raises PyJWKClientError when there are none to be had."""
        if self._fetching is None:
            now = monotonic()
            if self._tried_at is not None and now - self._tried_at < _PAUSE:
                raise jwt.PyJWKClientError("the keys could not be fetched a moment ago")
            self._tried_at = now
            self._fetching = asyncio.get_running_loop().create_task(self._fetch())
            self._fetching.add_done_callback(self._fetched)
        await asyncio.shield(self._fetching)

    async def _fetch(self) -> None:
        self._take(await asyncio.to_thread(self._client.get_signing_keys))
        self._fetched_at = monotonic()

    def _fetched(self, task: asyncio.Task[None]) -> None:
        self._fetching = None
        if not task.cancelled():
            task.exception()  # those who waited have it; there may be none left
