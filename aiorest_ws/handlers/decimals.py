"""A number as a client wrote it → a Decimal of exactly that, or what is wrong with it."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Any

from msgspec import ValidationError, convert

__all__ = ("MOST_DECIMALS", "Digits", "Refusal", "decimal_of", "digits_of", "refusal", "without_digits")

MOST_DECIMALS = 40_000  # of one message, numbers with a fraction and Decimals each: one takes 3 µs
_MOST_DIGITS = 1_000  # of a Decimal, and of its exponent's value: what comes of it is the handler's to calculate with
_HOLDERS = frozenset((list, tuple, dict))


class Digits(float):
    """A number of a JSON text that is no integer, and knows how it was written."""

    __slots__ = ("text",)

    text: str

    def __new__(cls, text: str) -> Digits:
        self = float.__new__(cls, text)
        self.text = text
        return self

    def __str__(self) -> str:
        return self.text


def digits_of(text: bytes) -> Any:
    """Give what `text`, which orjson has read, says, its numbers as they were written.

    Raises ValidationError if there are too many of them.
    """
    import json

    made = 0

    def number(digits: str) -> Digits:
        nonlocal made
        made += 1
        if made > MOST_DECIMALS:
            raise ValidationError(f"Expected at most {MOST_DECIMALS} numbers with a fraction in a message")
        return Digits(digits)

    return json.loads(text, parse_float=number)


class Refusal(Exception):
    """What is wrong with a value (its one argument), and the steps to it, the last one first."""

    steps: list[str]


def refusal(text: str) -> Refusal:
    """Give the Refusal that says `text`, with no steps yet."""
    made = Refusal(text)
    made.steps = []
    return made


def without_digits(value: Any) -> Any:
    """Give `value` with floats where there were `Digits`, all the way down."""
    kind = type(value)
    if kind is Digits:
        return float(value)
    if kind is dict:
        return {key: without_digits(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        kinds = set(map(type, value))
        if Digits not in kinds and kinds.isdisjoint(_HOLDERS):
            return value
        return [without_digits(item) for item in value]
    return value


def decimal_of(value: Any) -> Any:
    """Give a Decimal of exactly what was sent. What is none is refused here: nobody need look at what comes after."""
    if type(value) is int and -(2**63) <= value < 2**64:
        return value  # msgspec takes all of its digits
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return _none(value)
    if isinstance(value, float) and type(value) is not Digits and not isfinite(value):
        raise refusal("Expected a finite number")
    text = value if isinstance(value, str) else str(value)
    if len(text) > _MOST_DIGITS:
        raise refusal(f"Expected a number of at most {_MOST_DIGITS} digits")
    try:
        number = Decimal(text)
    except InvalidOperation:
        return _none(value)
    if not number.is_finite():
        raise refusal("Expected a finite number")
    if number and abs(number.adjusted()) > _MOST_DIGITS:
        raise refusal(f"Expected a number of at most {_MOST_DIGITS} digits")
    return value if isinstance(value, str) else number


def _none(value: Any) -> Any:
    """Refuse what is no Decimal, as msgspec does."""
    try:
        return convert(value, Decimal)
    except ValidationError as exc:
        raise refusal(str(exc)) from None
