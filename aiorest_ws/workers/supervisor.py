"""An application → workers that serve it, each a process, on sockets that outlive them; what dies is started again."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
import time
from collections.abc import Coroutine, Mapping
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from aiorest_ws.exceptions import ImproperlyConfigured
from aiorest_ws.idempotency import Idempotency
from aiorest_ws.idempotency.hub_server import KeyHub
from aiorest_ws.realtime.brokers.hub_server import Hub
from aiorest_ws.server.exposing import expose
from aiorest_ws.server.hangups import Hangups
from aiorest_ws.server.process import Signals, notify
from aiorest_ws.server.program import Program
from aiorest_ws.server.sockets import Bound, Place, bind_each
from aiorest_ws.workers.backoff import Backoff
from aiorest_ws.workers.child import Child
from aiorest_ws.workers.counts import Page

if TYPE_CHECKING:
    from aiorest_ws.app import Application
    from aiorest_ws.metrics import Exposition
    from aiorest_ws.workers.scrapes import Scrapes

__all__ = ("Supervisor",)

T = TypeVar("T")

logger = logging.getLogger("aiorest_ws")

_ONE_BY_ONE = 5.0  # seconds that a worker that is replaced may drain before it is the next one's turn
_TRIES = 5  # processes that are started to replace one, where signals kill them: a new version may always crash
_ANSWER = 0.5  # seconds for workers to say how many requests they have
_AT_ONCE = 2.0  # seconds that they get when nobody has patience any more
_STDIN = ("", "-")  # what a program is called that was read from there


class _Worker:
    """One place of a worker: its number, its sockets, and the process that serves on them.

    wanted    done when somebody wants another process in its place
    answer    done when that has been tried: whether it serves
    tries     how many processes may be started for that yet
    """

    def __init__(self, number: int, bound: Bound) -> None:
        self.number = number
        self.bound = bound
        self.child: Child
        self.backoff = Backoff()
        self.wanted = self.answer = asyncio.get_running_loop().create_future()
        self.tries = _TRIES

    def want(self) -> asyncio.Future[bool]:
        self.answer = asyncio.get_running_loop().create_future()
        self.tries = _TRIES
        if not self.wanted.done():
            self.wanted.set_result(True)
        return self.answer

    def tell(self, is_replaced: bool) -> None:
        self.wanted = asyncio.get_running_loop().create_future()
        if not self.answer.done():
            self.answer.set_result(is_replaced)

    def may_try_again(self, child: Child) -> bool:
        """Tell whether `child` says nothing of the next one: a signal has killed it, and memory may have been short."""
        self.tries -= 1
        return child.was_struck and self.tries > 0

    def turn_away(self) -> None:
        """Let nobody wait in the queue of these sockets, while there are others: a program may take long to start.

        The worker that is to come listens on them again.
        """
        for sock in self.bound.sockets:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # nobody has listened there


class Supervisor(Program):
    """What `Application.run` is with more than one worker.

    count    of workers
    turn     how often `run` was called before

    Raises ImproperlyConfigured where there cannot be workers.
    """

    def __init__(self, app: Application, options: Mapping[str, Any], count: int, turn: int) -> None:
        super().__init__(app, options)
        _check(options)
        self._count = count
        self._turn = turn
        self._workers: list[_Worker] = []
        self._children: set[Child] = set()
        self._serial = 0
        self._page: Page | None = None
        self._is_common = False
        self._hub: Hub | None = None
        self._keys: KeyHub | None = None
        self._scrapes: Scrapes | None = None
        self._exposition: Exposition | None = None
        self._asked: asyncio.Event
        self._ends_by: signal.Signals | None = None
        self._replacing: asyncio.Task[None] | None = None
        self._wants_replaced = False
        self._tasks: set[asyncio.Task[Any]] = set()

    async def _run(self, signals: Signals) -> bool:
        """Start the workers, and keep them. Tells whether it failed, and has said why."""
        self._asked = asyncio.Event()
        place = Place(**{field.name: self._options[field.name] for field in fields(Place)})
        bounds = await bind_each(place, self._count)
        try:
            signals.lead_to(self._on_signal_of_end, self._on_impatience)
            with Hangups(self._on_hangup, self._asked.set):
                return await self._supervise(bounds)
        finally:
            for bound in bounds:
                bound.close()
            if self._exposition is not None:
                await self._exposition.close()
            for each in (self._hub, self._keys):
                if each is not None:
                    each.stop()
            if self._page is not None:
                self._page.close()

    async def _supervise(self, bounds: list[Bound]) -> bool:
        self._is_common = bounds[0] is bounds[-1]
        if self._options["max_connections"] is not None or self._is_common:
            self._page = Page(2 * self._count + 8)  # who is replaced is there beside who takes its place
        if self._options["broker"] is None:
            self._hub = Hub(self._options["max_history"])
            if self._options["idempotency"] is not False:
                self._keys = KeyHub(Idempotency.of(self._options["idempotency"]))
        self._exposition = expose(self._options, self._registry)
        self._workers = [_Worker(number, bound) for number, bound in enumerate(bounds, 1)]
        try:
            failed = await self._until_asked(self._start_all())
            if failed is None and not self._asked.is_set():
                self._on_ready(bounds)
                await self._asked.wait()
        finally:
            for bound in bounds:
                bound.close_sockets()  # who answers probes while it drains has them, too
            await self._end()
        return failed is not None and self._say_why(failed)

    def _registry(self) -> Scrapes:
        """Give what has the metrics of all workers."""
        from aiorest_ws.workers.scrapes import Scrapes

        self._scrapes = Scrapes(asyncio.get_running_loop())
        return self._scrapes

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        return None if self._exposition is None else self._exposition.address

    # Ready

    async def _start_all(self) -> Child | None:
        """Start the workers; gives the one that cannot start, if any.

        One comes first: what keeps all of them from starting happens once.
        """
        first, *others = self._workers
        if not await self._started(first):
            return first.child
        starts = {self._begin(self._started(worker)): worker for worker in others}
        while starts:
            done, _ = await asyncio.wait(starts, return_when=asyncio.FIRST_COMPLETED)
            for start in done:
                worker = starts.pop(start)
                if not start.result():
                    return worker.child
        return None

    async def _started(self, worker: _Worker) -> bool:
        worker.child = self._new_child(worker)
        if not await self._start(worker, worker.child):
            return False
        self._begin(self._keep(worker))
        return True

    def _new_child(self, worker: _Worker) -> Child:
        self._serial += 1
        child = Child(worker.number, self._serial, self._page)
        self._children.add(child)
        child.exited.add_done_callback(partial(self._forget, child))
        return child

    async def _start(self, worker: _Worker, child: Child) -> bool:
        timeout = self._options["worker_timeout"]
        return await child.start(worker.bound, self._turn, self._greet, timeout, is_common=self._is_common)

    def _greet(self, child: Child) -> None:
        if child.channel is None:
            return
        if self._hub is not None:
            self._hub.add(child.channel, child.serial)
        if self._keys is not None:
            self._keys.add(child.channel)
        if self._scrapes is not None:
            self._scrapes.add(child.serial, child.number, child.channel)

    def _forget(self, child: Child, exited: asyncio.Future[int]) -> None:
        self._children.discard(child)
        if self._hub is not None and child.channel is not None:
            self._hub.remove(child.serial)

    def _begin(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)
        return task

    def _on_task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("the supervisor failed, it ends", exc_info=task.exception())
            self._asked.set()

    async def _until_asked(self, coroutine: Coroutine[Any, Any, Child | None]) -> Child | None:
        """Give what `coroutine` gives; None when somebody asks for the end before."""
        task, asked = self._begin(coroutine), self._begin(self._asked.wait())
        await asyncio.wait([task, asked], return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        return task.result() if task.done() else None

    def _on_ready(self, bounds: list[Bound]) -> None:
        if bounds[0].file is not None:
            bounds[0].file.put()
        self._app.addresses = bounds[0].addresses
        for line in self.banner():
            print(line, flush=True)
        notify("READY=1")

    def banner(self) -> list[str]:
        *lines, last = super().banner()
        return [*lines, f"Workers: {self._count}", last]

    def _say_why(self, child: Child) -> bool:
        """Say why `child` could not start: True once a traceback is written, else raises ImproperlyConfigured."""
        if child.failure is None:
            raise ImproperlyConfigured(f"worker {child.number} {child.how_it_ended} before it served")
        if not child.failure.is_traceback:
            raise ImproperlyConfigured(child.failure.text)
        sys.stderr.write(child.failure.text)
        return True

    # A worker's life

    async def _keep(self, worker: _Worker) -> None:
        """See to it that there is a process that serves, and that it is replaced when that is wanted."""
        while True:
            await asyncio.wait([worker.child.exited, worker.wanted], return_when=asyncio.FIRST_COMPLETED)
            if not worker.child.exited.done():
                await self._replace(worker)
            elif worker.child.is_over:
                self._asked.set()
                return
            else:
                await self._restart(worker)

    async def _restart(self, worker: _Worker) -> None:
        """Start processes until one serves; who wants another is told when one does, or cannot."""
        tried = None
        while True:
            if not self._is_common and any(each.child.serves for each in self._workers):
                worker.turn_away()  # before anybody hears of it: who comes from now on finds the others
            gone = worker.child
            wait = worker.backoff.after(gone.age, served=gone.ready.result())
            when = f"in {wait:g} s" if wait else "at once"
            logger.error("%s %s, another is started %s%s", gone, gone.how_it_ended, when, gone.why)
            if worker.wanted is not tried:  # else one was started for it at once
                await asyncio.wait([worker.wanted], timeout=wait)
            else:
                await asyncio.sleep(wait)
            tried = worker.wanted if worker.wanted.done() else None
            worker.child = child = self._new_child(worker)
            serves = await self._start(worker, child)
            if tried is not None and not worker.may_try_again(child):
                worker.tell(serves)
            if serves:
                logger.info("%s serves", child)
                return

    async def _replace(self, worker: _Worker) -> None:
        """Let another process serve in the place of one, which then drains; and tell whether it does."""
        old, backoff = worker.child, Backoff()
        new = self._new_child(worker)
        while not await self._start(worker, new) and worker.may_try_again(new):
            wait = backoff.after(new.age, served=False)
            logger.error(
                "%s %s before it served, %s stays, another is started in %g s", new, new.how_it_ended, old, wait
            )
            await asyncio.wait([old.exited], timeout=wait)
            if old.exited.done():
                return  # who is started in its place is the other one, too
            new = self._new_child(worker)
        if new.ready.result():
            worker.child = new
            old.order("drain", True)
            logger.info("%s serves in the place of %s, which drains", new, old)
            # The new one may die meanwhile: its queue is not to wait for that.
            await asyncio.wait([old.exited, new.exited], timeout=_ONE_BY_ONE, return_when=asyncio.FIRST_COMPLETED)
        else:
            logger.error("%s %s before it served, %s stays%s", new, new.how_it_ended, old, new.why)
        worker.tell(new.ready.result())

    def _on_hangup(self) -> None:
        """Replace all workers."""
        if self._replacing is None and not self._asked.is_set():
            self._replacing = self._begin(self._replace_all())
        else:
            self._wants_replaced = True  # who has been replaced may be older than what has changed

    async def _replace_all(self) -> None:
        notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        self._wants_replaced = True
        while self._wants_replaced:
            self._wants_replaced = False
            for worker in self._workers:
                if not await worker.want():
                    logger.error("the other workers stay as they are: send SIGHUP again when this is mended")
                    break
        self._replacing = None
        notify("READY=1")

    # The end

    def _on_signal_of_end(self, number: signal.Signals) -> None:
        self._ends_by = number
        self._asked.set()

    def _on_impatience(self) -> None:
        for child in list(self._children):
            child.order("hurry")
        asyncio.get_running_loop().call_later(_AT_ONCE, self._kill)

    def _kill(self) -> None:
        for child in list(self._children):
            child.signal(signal.SIGKILL)

    async def _end(self) -> None:
        """Drain every worker, and wait for them."""
        notify("STOPPING=1")
        self._asked.set()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        children = list(self._children)
        for child in children:
            child.order("drain", False)
        if self._ends_by is not None:
            await self._say_what_runs(children, self._ends_by)
        while self._children:
            await asyncio.wait([child.exited for child in self._children])

    async def _say_what_runs(self, children: list[Child], number: signal.Signals) -> None:
        known = [child.in_flight for child in children]
        if known:
            await asyncio.wait(known, timeout=_ANSWER)
        self.say_what_runs(sum(future.result() for future in known if future.done()), number)


def _check(options: Mapping[str, Any]) -> None:
    """Raise ImproperlyConfigured where there cannot be workers."""
    is_command = bool(sys.orig_argv[1:]) or getattr(sys, "frozen", False)
    if not is_command or (sys.argv and sys.argv[0] in _STDIN):
        raise ImproperlyConfigured(
            "workers run the command line of this program again, and it was read from standard input: "
            "put it into a file"
        )
