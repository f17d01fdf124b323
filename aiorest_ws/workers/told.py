"""What a supervisor tells a worker before it starts → text in the environment, and back."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict, dataclass
from typing import Any

from aiorest_ws.exceptions import ImproperlyConfigured
from aiorest_ws.server.acceptor import Ahead
from aiorest_ws.server.sockets import Bound, Listener

__all__ = ("VARIABLE", "Told")

VARIABLE = "AIOREST_WS_WORKER"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is a number of a file is a descriptor that the worker has inherited.

    number       of the worker, from 1 on; it is that of who took its place, too
    turn         at which call of `run` the program is to serve: how many were before
    sockets      that it listens on
    addresses    what they are called
    is_shared    others than workers may listen there
    channel      to the supervisor
    inode        of the channel, by which it is known that this is the process that was meant
    life         a pipe that ends with the supervisor
    is_common    other workers have the very same sockets
    slot         whose it is of the page of counts
    counts       that page, None where nothing is counted
    stacks       where it writes what it does when it is asked, None where nobody asks
    """

    number: int
    turn: int
    sockets: list[int]
    addresses: list[Any]
    is_shared: bool
    channel: int
    inode: int
    life: int
    is_common: bool = False
    slot: int = 0
    counts: int | None = None
    stacks: int | None = None

    @classmethod
    def read(cls, text: str) -> Told:
        """Read what `written` wrote. Raises ImproperlyConfigured where it is not for this process."""
        try:
            told = cls(**json.loads(text))
            if os.fstat(told.channel).st_ino == told.inode:
                return told
        except (ValueError, TypeError, OSError):
            pass
        raise ImproperlyConfigured(
            f"environment variable {VARIABLE} is what a supervisor told another process: "
            "do not pass it on, and do not set it yourself"
        )

    def written(self) -> str:
        return json.dumps(asdict(self))

    @property
    def descriptors(self) -> list[int]:
        """All that the worker inherits, once each."""
        others = (self.channel, self.life, self.counts, self.stacks)
        return [*self.sockets, *(descriptor for descriptor in others if descriptor is not None)]

    def keep(self) -> None:
        """See to it that no program that the worker starts inherits them, too."""
        for descriptor in self.descriptors:
            os.set_inheritable(descriptor, False)

    def bound(self, others: Ahead | None) -> Bound:
        """Give what to listen on; `others` knows about those who have the very same."""
        addresses = [tuple(address) if isinstance(address, list) else address for address in self.addresses]
        sockets: list[socket.socket] = [Listener(fileno=descriptor) for descriptor in self.sockets]
        return Bound(sockets, is_shared=self.is_shared, called=addresses, others=others)
