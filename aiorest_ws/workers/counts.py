"""How many connections each worker has → how many the others have: one page of memory that all of them see.

Each has a slot, which only it writes, in one store of eight bytes: there is nothing to lock. Two workers that let
somebody in at the same time do not see each other, so that there may be one too many of each.
"""

from __future__ import annotations

import mmap
import os
import tempfile

__all__ = ("Counts", "Page")

_SLOT = 8  # bytes


class Page:
    """The page, as its supervisor has it.

    descriptor    of the memory, which is no file that anybody could open
    slots         how many there are
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.descriptor = _memory()
        os.ftruncate(self.descriptor, slots * _SLOT)
        self._memory = mmap.mmap(self.descriptor, slots * _SLOT)
        self._free = list(reversed(range(slots)))

    def take(self) -> int:
        """Give a slot that nobody has, which says 0."""
        return self._free.pop()

    def clear(self, slot: int) -> None:
        """Take the slot of a worker that is gone."""
        self._memory[slot * _SLOT : (slot + 1) * _SLOT] = bytes(_SLOT)
        self._free.append(slot)

    def close(self) -> None:
        self._memory.close()
        os.close(self.descriptor)


class Counts:
    """The page, as one worker has it: see `limits.admission.Elsewhere`.

    descriptor    of the memory; it is closed, the memory stays
    slot          whose it is
    """

    def __init__(self, descriptor: int, slot: int) -> None:
        self._slots = memoryview(mmap.mmap(descriptor, os.fstat(descriptor).st_size)).cast("Q")
        self._slot = slot
        os.close(descriptor)

    def others(self) -> int:
        return sum(self._slots) - self._slots[self._slot]

    def tell(self, count: int) -> None:
        self._slots[self._slot] = count


def _memory() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("aiorest-ws")
    descriptor, name = tempfile.mkstemp(prefix="aiorest-ws-")
    os.unlink(name)
    return descriptor
