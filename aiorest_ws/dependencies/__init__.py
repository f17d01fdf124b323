"""What a handler depends on: made before it, cleaned up behind it."""

from .depends import Depends

__all__ = ("Depends",)
