"""An application → a program of its own: its loop, its signals, what it prints, its exit code."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Mapping
from functools import partial
from time import gmtime, strftime
from typing import TYPE_CHECKING, Any

from aiorest_ws._speedups import COMPILED, REASON
from aiorest_ws.exceptions import ImproperlyConfigured
from aiorest_ws.server.hangups import Hangups
from aiorest_ws.server.process import Signals, loop_factory, set_up_logging
from aiorest_ws.server.server import EndedEarly

if TYPE_CHECKING:
    from aiorest_ws.app import Application

__all__ = ("Program",)

logger = logging.getLogger("aiorest_ws")

_FAREWELL = 1.0  # seconds that tasks have for their end when all else is over


class Program:
    """What `Application.run` is, with `options` that are checked."""

    def __init__(self, app: Application, options: Mapping[str, Any]) -> None:
        self._app = app
        self._options = options

    def run(self) -> None:
        """Serve to the end. Raises SystemExit: one line for what keeps it from starting, or exit code 1."""
        set_up_logging(self._options["log_level"], as_json=self._options["access_log"] == "json")
        signals = self._signals()
        try:
            with signals, asyncio.Runner(loop_factory=loop_factory(self._options["loop"])) as runner:
                is_lost = runner.run(self._to_the_end(signals))
        except KeyboardInterrupt:
            return  # of a handler, or where signals are not ours (Windows)
        except ImproperlyConfigured as exc:
            logger.debug("cannot start", exc_info=exc)
            raise SystemExit(f"aiorest-ws: {exc}") from None
        if is_lost:
            raise SystemExit(1)

    def _signals(self) -> Signals:
        return Signals()

    async def _to_the_end(self, signals: Signals) -> bool:
        """Do it all, and leave nothing in the loop that would keep it from ending."""
        try:
            return await self._run(signals)
        finally:
            await _leave_behind()

    async def _run(self, signals: Signals) -> bool:
        """Start and serve. Tells whether it ended because the lifespan did."""
        with Hangups(_nothing_to_replace, self._app.shut_down, is_polite=True):
            return await self._serve(signals)

    async def _serve(self, signals: Signals) -> bool:
        asked = asyncio.Event()
        starting, stopping = asyncio.ensure_future(self._app.start()), asyncio.ensure_future(asked.wait())
        signals.lead_to(partial(self._on_signal, asked), self._on_impatience)
        await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not starting.done():  # a lifespan that takes long to start is not waited for
            starting.cancel()
            await asyncio.wait([starting])
            return False
        try:
            await starting
        except EndedEarly:
            return False
        self._on_started()
        server = self._app._server
        try:
            await self._app._serve_on()
        except RuntimeError as exc:
            if server is None or exc is not server.lost:
                raise
            return True
        return False

    def _on_started(self) -> None:
        for line in self.banner():
            print(line, flush=True)

    def _on_signal(self, asked: asyncio.Event, number: signal.Signals) -> None:
        asked.set()
        factory = self._app._listening
        running = 0 if factory is None else sum(connection._in_flight for connection in factory.connections)
        if self._app._server is not None:
            self._app._server.ask()
        self.say_what_runs(running, number)

    def say_what_runs(self, running: int, number: signal.Signals) -> None:
        """Say for how many requests the end waits, and what ends it at once; nothing if there are none."""
        if running:
            again = "Ctrl-C" if number == signal.SIGINT else number.name
            requests = "1 request" if running == 1 else f"{running} requests"
            print(f"shutting down: {requests} in flight; {again} again to stop at once", flush=True)

    def _on_impatience(self) -> None:
        if self._app._server is not None:
            self._app._server.ask()
            self._app._server.patience.lose()

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """Where the metrics are served, if they are."""
        return self._app.metrics_address

    def banner(self) -> list[str]:
        """Give the lines that say what serves, and where."""
        from aiorest_ws import __version__

        path = self._options["path"]
        urls = [
            f"unix:{a}" if isinstance(a, str) else self._app.generate_url(a[0], a[1], path) for a in self._app.addresses
        ]
        metrics = ["Metrics at http://{}:{}/metrics".format(*where)] if (where := self.metrics_address) else []
        python = f"{sys.implementation.name} {sys.version_info[0]}.{sys.version_info[1]}"
        return [
            strftime("%d %b, %Y - %X", gmtime()),
            f"aiorest-ws version {__version__}",
            f"hot path: compiled ({python})" if COMPILED else f"hot path: pure Python ({REASON})",
            f"Server started at {', '.join(urls)}",
            *metrics,
            "Quit the server with CONTROL-C.",
        ]


def _nothing_to_replace() -> None:
    logger.warning("SIGHUP: nothing is replaced, there is one process: start it with workers of at least 2")


async def _leave_behind() -> None:
    """Cancel what still runs in this loop, and forget what will not end: Runner would wait for that for ever."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if not others:
        return
    _, left = await asyncio.wait(others, timeout=_FAREWELL)
    for task in left:
        logger.warning("%s ignores that it is cancelled, and is left behind", task.get_name())
        asyncio._unregister_task(task)
