"""What is wrong with a token. All are status 401.

BaseTokenException
├── ParsingTokenException           not a token, or one that cannot be understood
├── InvalidSignatureException       not signed with our key and one of our algorithms
├── InvalidClaimException           `aud` or `iss` is not ours, or a claim that is required is missing
├── TokenNotBeforeException         not valid yet
├── TokenExpiredException
├── TokenRevokedException
└── TokenNotProvidedException
"""

from __future__ import annotations

from aiorest_ws.exceptions import BaseAuthException

__all__ = (
    "BaseTokenException",
    "InvalidClaimException",
    "InvalidSignatureException",
    "ParsingTokenException",
    "TokenExpiredException",
    "TokenNotBeforeException",
    "TokenNotProvidedException",
    "TokenRevokedException",
)


class BaseTokenException(BaseAuthException):
    """Base of everything that is wrong with a token."""

    default_detail = "Occurred error, when aiorest-ws processing token."
    was_known = False  # so that nobody had to look at the token


class ParsingTokenException(BaseTokenException):
    """It is not a token (RFC 7515 §7.1), or has what we do not understand: `crit`, a date that is no number."""

    default_detail = "Can't parse token: mismatch format."
    leaves = 2


class InvalidSignatureException(BaseTokenException):
    """It is not signed with a key of ours, or not with an algorithm of ours."""

    default_detail = "Token signature is invalid."
    leaves = 3


class InvalidClaimException(BaseTokenException):
    """It is not meant for us: `aud`, `iss`, or a claim that is missing."""

    leaves = 4


class TokenNotBeforeException(BaseTokenException):
    """It is not valid yet. The text is that of 1.1.1, which meant the opposite."""

    default_detail = "Time after which the token not be accepted has passed."


class TokenExpiredException(BaseTokenException):
    """It is not valid any more."""

    default_detail = "Token has expired."


class TokenRevokedException(BaseTokenException):
    """It was taken back before its time."""

    default_detail = "Token has been revoked."


class TokenNotProvidedException(BaseTokenException):
    """The view needs a token and the request has none."""

    default_detail = "Token has not provided in the request."
    leaves = 1
