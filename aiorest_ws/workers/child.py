"""What a worker is to be told → its process as the supervisor has it: whether it serves, what it says, how it ended."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from aiorest_ws.server.process import STARTED_IN
from aiorest_ws.server.sockets import Bound
from aiorest_ws.workers.channel import Channel, open_channel
from aiorest_ws.workers.counts import Page
from aiorest_ws.workers.told import VARIABLE, Told

__all__ = ("Child", "Failure")

logger = logging.getLogger("aiorest_ws")

_LOOK = 0.1  # seconds between two looks at a process, where the system does not tell that it has ended
_LAST_WORDS = 0.25  # seconds that what it said may take behind its end, where somebody else has its channel, too
_PINGS = 4  # in the time that it has to answer
_WRITING = 0.5  # seconds that it gets to write its stacks
_LARGEST = 64 * 1024  # bytes of these
_NOT_PASSED_ON = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")  # systemd listens to the supervisor
_HELD = (signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a worker cannot start: one line, or a traceback."""

    text: str
    is_traceback: bool = False


class Child:
    """One process of a worker.

    number      of the worker
    serial      of the process, which no other has
    channel     to it, once it is started
    ready       done when it serves, True, or when it has ended before, False
    exited      done when it has ended, with its exit code, negative for a signal
    in_flight   done when it knows that it is to drain, with the number of requests that it has; or when it has ended
    failure     why it could not start, if it said so
    is_over     it has ended its service by itself, as the application asked
    is_stuck    it did not answer, and was killed
    was_killed  by us
    """

    def __init__(self, number: int, serial: int, page: Page | None) -> None:
        loop = asyncio.get_running_loop()
        self.number = number
        self.serial = serial
        self.channel: Channel | None = None
        self.ready: asyncio.Future[bool] = loop.create_future()
        self.exited: asyncio.Future[int] = loop.create_future()
        self.in_flight: asyncio.Future[int] = loop.create_future()
        self.failure: Failure | None = None
        self.is_over = False
        self.is_stuck = False
        self.was_killed = False
        self._loop = loop
        self._born = loop.time()
        self._page = page
        self._slot = 0 if page is None else page.take()
        self._process: subprocess.Popen[bytes] | None = None
        self._ours: list[int] = []  # descriptors that go with the process
        self._stacks: int | None = None
        self._has_answered = True

    def __str__(self) -> str:
        return f"worker {self.number}" + (f" (process {self._process.pid})" if self._process else "")

    @property
    def age(self) -> float:
        """Seconds since it was made."""
        return self._loop.time() - self._born

    @property
    def serves(self) -> bool:
        return self.ready.done() and self.ready.result() and not self.exited.done()

    @property
    def was_struck(self) -> bool:
        """Tell whether a signal has ended it before it served, rather than an error of its own."""
        return self.exited.done() and self.exited.result() < 0 and not self.ready.result() and self.failure is None

    @property
    def how_it_ended(self) -> str:
        """Say how it has ended: "was killed by SIGKILL"."""
        code = self.exited.result()
        if self.is_stuck:
            return "did not answer, and was killed"
        if code >= 0:
            return f"ended with exit code {code}"
        try:
            return f"was killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"was killed by signal {-code}"

    @property
    def why(self) -> str:
        """Give what is to stand behind that, of what it said itself; empty if it said nothing."""
        if self.failure is None:
            return ""
        return f":\n{self.failure.text.rstrip()}" if self.failure.is_traceback else f": {self.failure.text}"

    async def start(
        self, bound: Bound, turn: int, greet: Callable[[Child], Any], timeout: float | None, *, is_common: bool
    ) -> bool:
        """Start the process, and tell whether it serves, once that is known.

        is_common  other workers have the same sockets
        turn       at which call of `run` it is to serve
        greet      called when there is a channel
        timeout    seconds in which it has to answer, once it serves
        """
        try:
            sock = self._spawn(bound, turn, asks=timeout is not None, is_common=is_common)
        except OSError as exc:
            self.failure = Failure(f"cannot start a process: {exc}")
            self._settle(1)
            return False
        self._watch()
        self.channel = await open_channel(sock, to=str(self))
        self._listen()
        greet(self)
        await asyncio.wait([self.ready])
        if timeout is not None and self.serves:
            self._ask(timeout, 0)
        return self.ready.result()

    def order(self, kind: str, *head: Any) -> None:
        """Tell it to "drain" or to "hurry"; one that does not serve yet ends at once."""
        if self.exited.done():
            return
        if self.serves and self.channel is not None and not self.channel.is_closed:
            self.channel.send(kind, *head)
        else:
            self.signal(signal.SIGTERM)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended: its number may be another's then."""
        if self._process is not None and not self.exited.done():
            self.was_killed = self.was_killed or number == signal.SIGKILL
            self._process.send_signal(number)

    # The process

    def _spawn(self, bound: Bound, turn: int, *, asks: bool, is_common: bool) -> socket.socket:
        """Start the process; gives our end of its channel."""
        ours, theirs = socket.socketpair()
        passed: list[int] = [self._pipe(ours_is_written=True)]
        if asks:
            passed.append(self._pipe(ours_is_written=False))
        told = Told(
            number=self.number,
            turn=turn,
            sockets=[sock.fileno() for sock in bound.sockets],
            addresses=bound.addresses,
            is_shared=bound.is_shared,
            channel=theirs.fileno(),
            inode=os.fstat(theirs.fileno()).st_ino,
            life=passed[0],
            is_common=is_common,
            slot=self._slot,
            counts=None if self._page is None else self._page.descriptor,
            stacks=passed[1] if asks else None,
        )
        try:
            self._process = _run_again(told)
        except BaseException:  # raised again: nothing stays open
            ours.close()
            raise
        finally:
            theirs.close()
            for descriptor in passed:
                os.close(descriptor)
        return ours

    def _pipe(self, *, ours_is_written: bool) -> int:
        """Give their end of a pipe."""
        read, written = os.pipe()
        ours, theirs = (written, read) if ours_is_written else (read, written)
        self._ours.append(ours)
        if not ours_is_written:
            os.set_blocking(ours, False)
            self._stacks = ours
        return theirs

    def _watch(self) -> None:
        assert self._process is not None
        try:
            descriptor = os.pidfd_open(self._process.pid)
        except (AttributeError, OSError):
            self._look()
        else:
            self._loop.add_reader(descriptor, self._on_exit, descriptor)

    def _on_exit(self, descriptor: int) -> None:
        self._loop.remove_reader(descriptor)
        os.close(descriptor)
        self._look()

    def _look(self) -> None:
        assert self._process is not None
        code = self._process.poll()
        if code is None:
            self._loop.call_later(_LOOK, self._look)
        elif self.channel is None:
            self._settle(code)
        else:  # what it said last may not have been read
            self.channel.on_lost(lambda: self._settle(code))
            self._loop.call_later(_LAST_WORDS, self._settle, code)

    def _settle(self, code: int) -> None:
        if self.exited.done():
            return
        for descriptor in self._ours:
            os.close(descriptor)
        self._ours.clear()
        if self._page is not None:
            self._page.clear(self._slot)
        if self.channel is not None:
            self.channel.abort()
        for future, value in ((self.ready, False), (self.in_flight, 0), (self.exited, code)):
            if not future.done():
                future.set_result(value)  # type: ignore[arg-type]

    # What it says

    def _listen(self) -> None:
        assert self.channel is not None
        self.channel.take("ready", lambda head, body: self._on_ready())
        self.channel.take("failed", self._on_failed)
        self.channel.take("draining", self._on_draining)
        self.channel.take("over", lambda head, body: setattr(self, "is_over", True))
        self.channel.take("pong", lambda head, body: setattr(self, "_has_answered", True))

    def _on_ready(self) -> None:
        if not self.ready.done():
            self.ready.set_result(True)

    def _on_failed(self, head: list[Any], body: bytes) -> None:
        text, is_traceback = head
        self.failure = Failure(text, is_traceback)

    def _on_draining(self, head: list[Any], body: bytes) -> None:
        if not self.in_flight.done():
            self.in_flight.set_result(int(head[0]))

    # Whether it answers

    def _ask(self, timeout: float, missed: int) -> None:
        """Ask it for an answer a few times in `timeout`; `missed` of them in turn it has not given.

        Answers are counted rather than time: a supervisor that was stopped itself blames nobody for it.
        """
        if self.exited.done() or self.channel is None or self.channel.is_closed:
            return
        if self._has_answered:
            self._has_answered = False
            self.channel.send("ping")
            missed = 0
        elif missed >= _PINGS - 1:
            self._end_stuck()
            return
        else:
            missed += 1
        self._loop.call_later(timeout / _PINGS, self._ask, timeout, missed)

    def _end_stuck(self) -> None:
        self.is_stuck = True
        self.signal(signal.SIGURG)
        self._loop.call_later(_WRITING, self._kill_stuck)

    def _kill_stuck(self) -> None:
        if not self.exited.done():
            logger.error("%s does not answer, it is killed. What it does:\n%s", self, self._stacks_of() or "unknown")
            self.signal(signal.SIGKILL)

    def _stacks_of(self) -> str:
        try:
            return "" if self._stacks is None else os.read(self._stacks, _LARGEST).decode("utf-8", "replace").rstrip()
        except BlockingIOError:
            return ""


def _run_again(told: Told) -> subprocess.Popen[bytes]:
    """Run the command line of this process again, as a worker."""
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_PASSED_ON}
    with _held():
        return subprocess.Popen(
            [sys.executable, *sys.orig_argv[1:]],
            stdin=subprocess.DEVNULL,
            cwd=STARTED_IN,
            env=environment | {VARIABLE: told.written()},
            pass_fds=told.descriptors,
        )


@contextmanager
def _held() -> Iterator[None]:
    """Let what is started here begin with the signals of a terminal held back: it is not for them until it serves."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
