"""Loggers of ours that a configuration of logging disabled → enabled.

`logging.config` disables all loggers that it does not name and that are there (`disable_existing_loggers`): those
of a library that was imported before would be silent for good, its errors too.
"""

from __future__ import annotations

import logging

__all__ = ("enable_loggers",)

_ROOT = "aiorest_ws"


def enable_loggers() -> None:
    """Let all our loggers write again; their levels and handlers stay as they are."""
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and (name == _ROOT or name.startswith(f"{_ROOT}.")):
            logger.disabled = False
