"""Who asks over HTTP → what the application says of it, with the statuses that a GET and a stream of events share."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from aiorest_ws.callables.failures import PASSED_ON, sole
from aiorest_ws.exceptions import BaseAPIException, ConnectionRefused

__all__ = ("ask",)


async def ask(connection: Any) -> None:
    """Let the application have its say, within `handshake_timeout`. Raises ConnectionRefused, BaseAPIException."""
    factory = connection.factory
    patience = asyncio.timeout(factory.limits.handshake_timeout)
    try:
        async with patience:
            await connection._ask_application()
    except (ConnectionRefused, BaseAPIException):
        raise
    except BaseException as exc:  # of the application, and perhaps a group: who asks gets the status of what is in it
        if isinstance(exc, PASSED_ON) and not _is_own(exc):
            raise
        why = sole(exc)
        if isinstance(why, (ConnectionRefused, BaseAPIException)):
            raise why from exc
        if patience.expired() and isinstance(exc, TimeoutError):
            factory.complaints.write(
                logging.WARNING, f"{connection.peer}: it took too long to decide whether it may ask"
            )
            raise ConnectionRefused(503) from exc
        factory.failures.write(logging.ERROR, f"{connection.peer}: cannot decide whether it may ask", exc)
        raise ConnectionRefused(500) from exc
    if connection._early_close is not None:
        raise ConnectionRefused(403, connection._early_close[1])


def _is_own(exc: BaseException) -> bool:
    """Tell whether the application has cancelled itself: nobody else does that, and the client waits."""
    task = asyncio.current_task()
    return isinstance(exc, asyncio.CancelledError) and task is not None and not task.cancelling()
