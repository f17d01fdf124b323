"""How many connections each worker has → how many the others have: one page of memory that all of them see.

Each has a slot, which only it writes, in one store of eight bytes: there is nothing to lock. Two workers that let
somebody in at the same time do not see each other, so that there may be one too many of each.
"""

from __future__ import annotations

import mmap
import os
import tempfile

__all__ = ("Counts", "Page")

_SIZE = 8  # bytes
_LEAD = 4  # connections more than another has, which are nothing


class Page:
    """The page, as its supervisor has it: for each slot how many were let in, then for each how many there are, and one
    more where more are accepted.

    descriptor    of the memory, which is no file that anybody could open
    slots         how many there are
    """

    def __init__(self, slots: int) -> None:
        self.descriptor = _memory()
        self._slots = slots
        os.ftruncate(self.descriptor, 2 * slots * _SIZE)
        self._memory = mmap.mmap(self.descriptor, 2 * slots * _SIZE)
        self._free = list(reversed(range(slots)))

    def take(self) -> int:
        """Give a slot that nobody has, which says 0."""
        return self._free.pop()

    def clear(self, slot: int) -> None:
        """Take the slot of a worker that is gone."""
        for at in (slot, self._slots + slot):
            self._memory[at * _SIZE : (at + 1) * _SIZE] = bytes(_SIZE)
        self._free.append(slot)

    def close(self) -> None:
        self._memory.close()
        os.close(self.descriptor)


class Counts:
    """The page, as one worker has it: see `limits.admission.Elsewhere` and `server.acceptor.Ahead`.

    descriptor    of the memory; it is closed, the memory stays
    slot          whose it is
    """

    def __init__(self, descriptor: int, slot: int) -> None:
        numbers = memoryview(mmap.mmap(descriptor, os.fstat(descriptor).st_size)).cast("Q")
        half = len(numbers) // 2
        self._let_in, self._opened = numbers[:half], numbers[half:]
        self._slot = slot
        self._accepts = True
        os.close(descriptor)

    def others(self) -> int:
        return sum(self._let_in) - self._let_in[self._slot]

    def tell(self, count: int, opened: int) -> None:
        self._let_in[self._slot] = count
        if self._accepts:
            self._opened[self._slot] = opened + 1

    def is_ahead(self) -> bool:
        mine = self._opened[self._slot]
        least = min((count for count in self._opened if count), default=mine)
        return mine > least + max(_LEAD, least // 8)

    def leave(self) -> None:
        self._accepts = False
        self._opened[self._slot] = 0


def _memory() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("aiorest-ws")
    descriptor, name = tempfile.mkstemp(prefix="aiorest-ws-")
    os.unlink(name)
    return descriptor
