"""What a call of the user's functions raised → whether that is their failure, and which exception is meant."""

from __future__ import annotations

from asyncio import CancelledError

__all__ = ("ASTRAY", "PASSED_ON", "sole")

# What no call of the application's functions keeps from its way; everything else, SystemExit too, is their failure.
PASSED_ON = (CancelledError, GeneratorExit, KeyboardInterrupt)

ASTRAY = ": it is in `data`, and belongs in `args`"  # behind what is said of an argument that is missing


def sole(exc: BaseException) -> BaseException:
    """Give the only exception in a group of one, however deep, as task groups raise them; anything else as it is."""
    while isinstance(exc, BaseExceptionGroup) and len(exc.exceptions) == 1:
        exc = exc.exceptions[0]
    return exc
