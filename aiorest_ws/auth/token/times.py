"""What somebody calls a time → seconds, or what is wrong with it: a number that was meant as a date is no number."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

__all__ = ("LAST_DATE", "is_date", "moment", "span")

_YEAR = 366 * 86400
LAST_DATE = 253402300799  # the end of the year 9999; what is beyond is milliseconds, or an attempt


def span(name: str, value: Any, most: float = _YEAR) -> float:
    """Give seconds of a number from 0 to `most`, or of a timedelta that is not negative."""
    if isinstance(value, timedelta):
        seconds = _whole(value.total_seconds())
        if seconds < 0:
            raise ValueError(f"{name} must not be negative, got {value!r}")
        return seconds
    if not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number of seconds or a timedelta, got {value!r}")
    if isinstance(value, bool) or not 0 <= value <= most:  # NaN is neither
        raise ValueError(f"{name} must be from 0 to {most} seconds, got {value!r}: a timedelta says more")
    return value


def moment(name: str, value: Any, now: int) -> float:
    """Give seconds since 1970 of a datetime, or of seconds, at most a year of them, or a timedelta from `now`."""
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise TypeError(f"{name} must be a number of seconds from now, got {value!r}: a datetime needs a time zone")
        return _whole(value.timestamp())
    if isinstance(value, timedelta):
        date = now + _whole(value.total_seconds())
        if not 0 <= date <= LAST_DATE:
            raise ValueError(f"{name} must end before the year 10000, got {value!r} from now")
        return date
    if not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number of seconds from now, got {value!r}: or a timedelta or a datetime")
    if isinstance(value, bool) or not 0 <= value <= _YEAR:
        raise ValueError(
            f"{name} must be from 0 to {_YEAR} seconds from now, got {value!r}: "
            "for any other time give a datetime with a time zone, or a timedelta"
        )
    return now + value


def is_date(value: Any) -> bool:
    """Tell whether a claim is a NumericDate (RFC 7519 §2) up to the year 9999."""
    return type(value) in (int, float) and 0 <= value <= LAST_DATE  # NaN is neither


def _whole(seconds: float) -> float:
    return int(seconds) if seconds == int(seconds) else seconds
