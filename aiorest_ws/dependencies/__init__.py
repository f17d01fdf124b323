"""What a handler depends on: made before it, cleaned up behind it."""

from .order import Depends

__all__ = ("Depends",)
