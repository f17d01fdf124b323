"""One program → several processes that serve: a supervisor, its workers, and the channels between them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aiorest_ws.exceptions import ImproperlyConfigured
from aiorest_ws.server.process import TOLD
from aiorest_ws.server.program import Program

if TYPE_CHECKING:
    from aiorest_ws.app import Application

__all__ = ("program_of",)


def program_of(app: Application, options: Mapping[str, Any], turn: int) -> Program:
    """Give what this process is: a worker, the supervisor of workers, or one that serves by itself.

    turn    how often `run` was called before in this process, of whatever application

    Raises SystemExit, one line, where there are no workers.
    """
    if TOLD is not None:
        from aiorest_ws.workers.worker import Worker

        return Worker(app, options, TOLD, turn)
    count = _count(options["workers"])
    if count == 1:
        return Program(app, options)
    from aiorest_ws.workers.supervisor import Supervisor

    try:
        return Supervisor(app, options, count, turn)
    except ImproperlyConfigured as exc:
        raise SystemExit(f"aiorest-ws: {exc}") from None


def _count(workers: Any) -> int:
    """Give how many are meant."""
    if sys.platform == "win32":
        if workers != "auto":
            raise SystemExit("aiorest-ws: workers must be 1 on Windows: run a process per port there, behind a proxy")
        return 1
    if workers == "auto":
        from aiorest_ws.workers.processors import usable

        return usable()
    return int(workers)
