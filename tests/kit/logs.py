"""A logger of the package that a test listens to, and that is afterwards as it was."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ("heard_by",)


@contextmanager
def heard_by(handler: logging.Handler, name: str = "aiorest_ws", *, alone: bool = False) -> Iterator[None]:
    """Let `handler` take the lines of the logger `name` from INFO on; `alone`: and nobody else."""
    logger = logging.getLogger(name)
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = propagate and not alone
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
