"""Headers and masks of frames (RFC 6455 §5.2 and §5.3)."""

from __future__ import annotations

__all__ = ("extended_length", "header", "header_size", "length_in", "unmask")


def header(first: int, size: int) -> bytes:
    """Give the header of a frame that is not masked, of a payload of `size` bytes (RFC 6455 §5.2).

    first    its first byte: FIN, RSV1 to RSV3 and the opcode
    """
    if size < 126:
        return bytes((first, size))
    if size < 65536:
        return bytes((first, 126)) + size.to_bytes(2, "big")
    return bytes((first, 127)) + size.to_bytes(8, "big")


def header_size(head: bytes) -> int:
    """Give the size of a header of which the first two bytes are known."""
    length = head[1] & 0x7F
    return 2 + (0 if length < 126 else 2 if length == 126 else 8) + (4 if head[1] & 0x80 else 0)


def length_in(head: bytes) -> int:
    """Give the length of the payload that a whole header declares."""
    length = head[1] & 0x7F
    if length >= 126:
        length = int.from_bytes(head[2:4] if length == 126 else head[2:10], "big")
    return length


def extended_length(data: bytes, at: int) -> tuple[int, int]:
    """Give the size of the masked header at `at`, whose length has bytes of its own, and that length.

    The length is -1 while not all of it is there, and -2 if it is longer than it has to be, or than any may be.
    """
    size = 8 if data[at + 1] & 0x7F == 126 else 14
    length = -1
    if len(data) - at >= size - 4:
        length = int.from_bytes(data[at + 2 : at + size - 4], "big")
        if length < (126 if size == 8 else 65536) or length >> 63:
            length = -2
    return size, length


def unmask(data: bytes, mask: bytes) -> bytes:
    """XOR `data` with `mask`, over and over (RFC 6455 §5.3)."""
    size = len(data)
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "little")
    return (int.from_bytes(data, "little") ^ key).to_bytes(size, "little")
