"""Claims → a signed token (RFC 7519, RFC 7515 §7.1), and back, or what is wrong with it."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterable, Mapping
from datetime import timedelta
from types import MappingProxyType, NoneType, SimpleNamespace
from typing import Any

try:
    import jwt
except ImportError as exc:
    raise ImportError("tokens need PyJWT: pip install 'aiorest-ws[jwt]>=2'") from exc

from aiorest_ws.auth.token.exceptions import (
    InvalidClaimException,
    InvalidSignatureException,
    ParsingTokenException,
    TokenExpiredException,
    TokenNotBeforeException,
)
from aiorest_ws.auth.token.keys import KeySet, RemoteKeySet, least_bits
from aiorest_ws.auth.token.times import is_date, moment, span
from aiorest_ws.callables.spelling import check_names, meant
from aiorest_ws.exceptions import ImproperlyConfigured

__all__ = ("JSONWebTokenManager",)

_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_MAX_LENGTH = 8192  # of a token: what anybody can make us hash
_MAX_LEVELS = 64  # of lists and objects in its claims
_DAY = 86400
_DEFAULT_SECRET = "secret_key"
_ALGORITHMS = (
    *("HS256", "HS384", "HS512"),
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
)
# Dates are checked here: PyJWT takes strings for numbers, and fails on infinity. So is `sub`.
_OPTIONS = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_sub": False}


class JSONWebTokenManager:
    """Makes tokens and checks them. Set the attributes in a subclass, or give them in lower case as keywords.

    SECRET_KEY       of HS algorithms: at least as many bytes as the hash has (32 for HS256); of the others the private
                     key in PEM, which only `generate` needs
    PUBLIC_KEY       in PEM; None takes it from the private key
    HASH_ALGORITHM   with which tokens are signed
    ALGORITHMS       with which tokens may be signed, that one among them, all of one kind; () for that one alone
    AUDIENCE         `aud` must name it, or one of several
    ISSUER           `iss` must be it
    LEEWAY           seconds by which clocks may differ, or a timedelta
    REQUIRED         claims that a token must have, beside `exp`; () for none at all
    OPTIONAL         ("exp",) takes tokens that never expire
    CLAIMS           claims that must have these values ({"purpose": "access"}); a function is given the value, and says
                     True or False. `generate` sets them
    TYP              header `typ` of tokens, as "at+jwt" (RFC 9068); None to look at none
    INTEGER_SUB      take and make tokens whose `sub` is an integer, as some issuers do
    LIFETIME         seconds, or a timedelta, until a token expires for which `generate` has no `exp`; None: never
    JWKS             keys in the place of PUBLIC_KEY: a JWK set (RFC 7517), as a dict
    JWKS_URL         or where to fetch it; `verify_later` then

    Raises ImproperlyConfigured for what would not be safe.
    """

    RESERVED_NAMES = ("iss", "sub", "aud", "exp", "nbf", "iat", "jti")

    SECRET_KEY: str | bytes | None = _DEFAULT_SECRET
    PUBLIC_KEY: str | bytes | None = None
    HASH_ALGORITHM = "HS256"
    ALGORITHMS: Iterable[str] = ()
    AUDIENCE: str | Iterable[str] | None = None
    ISSUER: str | None = None
    LEEWAY: float | timedelta = 0
    REQUIRED: Iterable[str] = ("exp",)
    OPTIONAL: Iterable[str] = ()
    CLAIMS: Mapping[str, Any] = MappingProxyType({})
    TYP: str | None = None
    INTEGER_SUB: bool = False
    LIFETIME: float | timedelta | None = 3600
    JWKS: Mapping[str, Any] | None = None
    JWKS_URL: str | None = None

    @staticmethod
    def now() -> float:
        """Give seconds since 1970."""
        return time.time()

    @property
    def clock(self) -> Any:
        """What tells `now` by its method `time`."""
        return time if self.now is _OWN_NOW else SimpleNamespace(time=self.now)

    def __init__(self, **options: Any) -> None:
        known = {name.lower() for name in JSONWebTokenManager.__annotations__} | {"hash_algorithm"}
        for name, value in options.items():
            if name not in known:
                near = meant(name, known)
                cure = f"did you mean {near!r}?" if near else f"only {', '.join(sorted(known))}"
                raise TypeError(f"{type(self).__qualname__} has no option {name!r}, {cure}")
            setattr(self, name.upper(), value)
        check_names(type(self), JSONWebTokenManager, [name.upper() for name in known])
        self._algorithms = self._checked_algorithms()
        self._keys: KeySet | None = None
        self._secret, self._public = self._checked_keys()
        self._audience = None if self.AUDIENCE is None else _checked_audience(self.AUDIENCE)
        if not isinstance(self.ISSUER, (str, NoneType)):
            raise TypeError(f"issuer must be a string, got {self.ISSUER!r}")
        self._claims = _checked_claims(self.CLAIMS)
        self._typ = None if self.TYP is None else _type(self.TYP)
        self._options = _OPTIONS | {"require": self._required()}
        self.leeway = span("leeway", self.LEEWAY, _DAY)
        self._lifetime = None if self.LIFETIME is None else span("lifetime", self.LIFETIME)
        self._jwt = jwt.PyJWT()

    # Made

    def generate(self, data: Mapping[str, Any], *args: Any, **claims: Any) -> str:
        """Give a token with `data`, and the reserved claims that are given.

        `exp` and `nbf` are seconds from now, at most a year of them; or a timedelta from now, or a datetime.
        """
        if self._secret is None:
            raise ImproperlyConfigured("tokens cannot be made without SECRET_KEY")
        unknown = claims.keys() - {*self.RESERVED_NAMES, "ait"}
        if unknown:
            raise TypeError(f"claims must be of {', '.join(self.RESERVED_NAMES)}, got {', '.join(sorted(unknown))}")
        now = int(self.now())
        given = {name: value for name, value in claims.items() if value is not None}
        if "ait" in given:
            given.setdefault("iat", given.pop("ait"))  # as 1.1.1 wrote it
        for name in ("exp", "nbf"):
            if name in given:
                given[name] = moment(name, given[name], now)
        payload = self._defaults(now) | dict(data) | given
        if not self._is_subject(payload.get("sub", "")) and payload["sub"] is not None:
            raise TypeError(f"sub must be a string (RFC 7519 §4.1.2), got {payload['sub']!r}")
        return self._jwt.encode(
            {k: v for k, v in payload.items() if v is not None},
            self._secret,
            self.HASH_ALGORITHM,
            None if self.TYP is None else {"typ": self.TYP},
        )

    def _defaults(self, now: int) -> dict[str, Any]:
        return {
            "iat": now,
            "exp": None if self._lifetime is None else now + self._lifetime,
            "iss": self.ISSUER,
            "aud": self._audience[0] if self._audience else None,
            "jti": secrets.token_urlsafe(16),
            **{name: value for name, value in self._claims.items() if not callable(value)},
        }

    # Checked

    @property
    def waits(self) -> bool:
        """Tell whether keys come from a url, so that `verify_later` is to be used."""
        return isinstance(self._keys, RemoteKeySet)

    def verify(self, token: Any) -> dict[str, Any]:
        """Give the claims of `token`. Raises one of `auth.token.exceptions`."""
        self._check_form(token)
        keys = [self._public] if self._keys is None else self._keys.find(self._header(token))
        for key in keys[:-1]:  # several have the name that it gives: whichever fits
            try:
                return self._decoded(token, key)
            except InvalidSignatureException:
                continue
        if not keys or keys[-1] is None:
            raise InvalidSignatureException()
        return self._decoded(token, keys[-1])

    async def verify_later(self, token: Any) -> dict[str, Any]:
        """Give the claims of `token`, as `verify` does, and fetch the keys before if they are not there."""
        self._check_form(token)
        if self._keys is not None:
            header = self._header(token)
            if header.get("alg") not in self._algorithms:
                raise InvalidSignatureException()
            await self._keys.prepare(header)
        return self.verify(token)

    def _check_form(self, token: Any) -> None:
        """Refuse what is not three parts in base64url, and a second way to write the same signature (RFC 4648 §3.5)."""
        if type(token) is not str or len(token) > _MAX_LENGTH or not _COMPACT.fullmatch(token):
            raise ParsingTokenException()
        if token[-1] not in _ENDS[(len(token) - token.rindex(".") - 1) % 4]:
            raise ParsingTokenException()

    def _header(self, token: str) -> dict[str, Any]:
        try:
            return jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise ParsingTokenException() from None

    def _decoded(self, token: str, key: Any) -> dict[str, Any]:
        try:
            # Its type in PyJWT's annotations changes from release to release.
            options: Any = self._options
            whole = self._jwt.decode_complete(
                token, key, self._algorithms, options, audience=self._audience, issuer=self.ISSUER
            )
        except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError, jwt.InvalidKeyError):
            raise InvalidSignatureException() from None
        except (jwt.InvalidAudienceError, jwt.InvalidIssuerError, jwt.MissingRequiredClaimError):
            raise InvalidClaimException() from None
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError, OverflowError):
            raise ParsingTokenException() from None
        if "crit" in whole["header"]:
            raise ParsingTokenException()  # RFC 7515 §4.1.11: there is no extension that we understand
        payload: dict[str, Any] = whole["payload"]
        if not self._is_subject(payload.get("sub", "")) or _is_deeper(payload, _MAX_LEVELS):
            raise ParsingTokenException()
        self._check_purpose(whole["header"], payload)
        self._check_dates(payload)
        return payload

    def _is_subject(self, sub: Any) -> bool:
        return isinstance(sub, str) or (self.INTEGER_SUB and type(sub) is int)

    def _check_purpose(self, header: Mapping[str, Any], payload: Mapping[str, Any]) -> None:
        """Refuse a token that was made for something else."""
        if self._typ is not None and _type(header.get("typ")) != self._typ:
            raise InvalidClaimException()
        for name, wanted in self._claims.items():
            if name not in payload or not _is_as(payload[name], wanted, name):
                raise InvalidClaimException()

    def _check_dates(self, payload: dict[str, Any]) -> None:
        now = self.now()
        for name in ("exp", "nbf", "iat"):
            if name in payload and not is_date(payload[name]):
                raise ParsingTokenException()
        if "exp" in payload and payload["exp"] + self.leeway <= now:
            raise TokenExpiredException()
        if payload.get("nbf", 0) - self.leeway > now:
            raise TokenNotBeforeException()

    # What it is made of

    def _required(self) -> list[str]:
        """Give the claims that a token must have: `exp` is one unless it is said that it is not."""
        required, optional = _names("required", self.REQUIRED), _names("optional", self.OPTIONAL)
        if optional - {"exp"}:
            raise ValueError("optional must be ('exp',) or (): nothing else is required of itself")
        return sorted((required | {"exp"} if required else required) - optional)

    def _checked_algorithms(self) -> list[str]:
        algorithms = _listed(self.ALGORITHMS) or [self.HASH_ALGORITHM]
        for name in (*algorithms, self.HASH_ALGORITHM):
            if name not in _ALGORITHMS:
                raise ImproperlyConfigured(f"algorithm must be one of {', '.join(_ALGORITHMS)}, got {name!r}")
        if len({_kind(name) for name in (*algorithms, self.HASH_ALGORITHM)}) > 1:
            raise ImproperlyConfigured(
                f"algorithms must be of one kind, their keys differ: got {', '.join(algorithms)}"
            )
        if self.HASH_ALGORITHM not in algorithms:
            raise ImproperlyConfigured(
                f"algorithms must name HASH_ALGORITHM, {self.HASH_ALGORITHM!r}, got {', '.join(algorithms)}"
            )
        return algorithms

    def _checked_keys(self) -> tuple[Any, Any]:
        """Give the key that signs and the one that checks, either may be None."""
        algorithm = self.HASH_ALGORITHM
        remote = self.JWKS_URL is not None
        if remote:
            self._keys = RemoteKeySet(str(self.JWKS_URL), algorithm)
        elif self.JWKS is not None:
            self._keys = KeySet(self.JWKS, algorithm)
        secret = self.SECRET_KEY
        if secret == _DEFAULT_SECRET and (self._keys is not None or self.PUBLIC_KEY is not None):
            secret = None  # it was left as it is
        if _kind(algorithm) == "HS":
            if self._keys is None or secret is not None:
                self._check_secret(secret)
            return secret, secret
        private = None if secret is None else self._loaded(secret, "SECRET_KEY")
        public = private if self.PUBLIC_KEY is None else self._loaded(self.PUBLIC_KEY, "PUBLIC_KEY")
        if private is not None and not hasattr(private, "public_key"):
            raise ImproperlyConfigured(f"SECRET_KEY of {algorithm} must be a private key")
        if public is None and self._keys is None:
            raise ImproperlyConfigured(f"{algorithm} needs SECRET_KEY, PUBLIC_KEY, JWKS or JWKS_URL")
        return private, getattr(public, "public_key", lambda: public)()

    def _check_secret(self, secret: Any) -> None:
        needed = max(least_bits(name) for name in self._algorithms) // 8
        cure = f"secrets.token_urlsafe({needed}) makes one, to be kept"
        if secret == _DEFAULT_SECRET:
            raise ImproperlyConfigured(
                f"SECRET_KEY of the token manager must be set: everybody knows the default; {cure}"
            )
        size = len(secret.encode() if isinstance(secret, str) else secret or b"")
        if size < needed:
            raise ImproperlyConfigured(
                f"SECRET_KEY must have at least {needed} bytes (RFC 7518 §3.2), got {size}; {cure}"
            )
        self._loaded(secret, "SECRET_KEY")

    def _loaded(self, pem: Any, name: str) -> Any:
        try:
            key = jwt.get_algorithm_by_name(self.HASH_ALGORITHM).prepare_key(pem)
        except (jwt.PyJWTError, ValueError, TypeError, NotImplementedError) as exc:
            raise ImproperlyConfigured(f"{name} is no key for {self.HASH_ALGORITHM}") from exc
        needed = least_bits(self.HASH_ALGORITHM)
        if getattr(key, "key_size", needed) < needed:
            raise ImproperlyConfigured(f"{name} must have at least {needed} bits, got {key.key_size}")
        return key


_OWN_NOW = JSONWebTokenManager.now


def _listed(names: str | Iterable[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _checked_audience(audience: str | Iterable[str]) -> list[str]:
    names = _listed(audience)
    if not names or not all(isinstance(name, str) and name for name in names):
        raise TypeError(f"audience must be a string or a list of strings, got {audience!r}")
    return names


def _names(option: str, names: Iterable[str]) -> set[str]:
    if isinstance(names, (str, bytes)) or not isinstance(names, Iterable):
        raise TypeError(f"{option} must be a list of names of claims, as ({names!r},), got {names!r}")
    given = list(names)
    if not all(isinstance(name, str) for name in given):
        raise TypeError(f"{option} must be a list of names of claims, got {names!r}")
    return set(given)


def _checked_claims(claims: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(claims, Mapping) or not all(isinstance(name, str) for name in claims):
        raise TypeError(f"claims must be a dict of names and values, got {claims!r}")
    own = {"exp": "lifetime", "nbf": "leeway", "iat": "leeway", "iss": "issuer", "aud": "audience"}
    for name in own.keys() & claims.keys():
        raise TypeError(f"claims cannot name {name!r}: that is what the option {own[name]!r} is for")
    return dict(claims)


def _is_as(value: Any, wanted: Any, name: str) -> bool:
    """Tell whether a claim is as it must be: equal, and true is not 1; or as a function says."""
    if not callable(wanted):
        return bool(type(value) is type(wanted) and value == wanted)
    verdict = wanted(value)
    if not isinstance(verdict, (bool, NoneType)):
        raise TypeError(f"the function for claim {name!r} must say True or False, got {verdict!r}")
    return verdict is True


def _type(typ: Any) -> str:
    """Give a media type as it is compared (RFC 7515 §4.1.9): in lower case, without `application/`."""
    return typ.lower().removeprefix("application/") if isinstance(typ, str) else ""


def _is_deeper(value: Any, levels: int) -> bool:
    """Tell whether lists and objects are nested in each other more than `levels` deep."""
    if not isinstance(value, (dict, list)):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(each, levels - 1) for each in inner)


def _kind(algorithm: str) -> str:
    return "RSA" if algorithm[:2] in ("RS", "PS") else algorithm[:2]


# The characters that a part in base64url may end with, by its length: the bits that are left over are zero.
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_ENDS = (_ALPHABET, "", _ALPHABET[::16], _ALPHABET[::4])
