"""Exceptions that another process can be given: the base of all of the framework's own."""

from __future__ import annotations

from typing import Any

__all__ = ("Portable",)


class Portable(Exception):
    """What can be copied and pickled with all its attributes, whatever its `__init__` takes."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _made_again, (type(self), self.args, self.__dict__)


def _made_again(cls: type[Exception], args: tuple[Any, ...], attributes: dict[str, Any]) -> Exception:
    exc = cls.__new__(cls, *args)
    exc.args = args
    exc.__dict__.update(attributes)
    return exc
