"""Types → JSON Schemas of them, and the components that these refer to."""

from __future__ import annotations

import inspect
import json
from collections import Counter
from copy import deepcopy
from datetime import date
from itertools import chain, count
from typing import TYPE_CHECKING, Any
from uuid import UUID

from aiorest_ws._speedups import dumps
from aiorest_ws.exceptions import ImproperlyConfigured
from aiorest_ws.handlers.parameters import NEEDS_MSGSPEC
from aiorest_ws.schema.describe import UNKNOWN
from aiorest_ws.schema.nulls import drop_false_nulls
from aiorest_ws.schema.wanted import TEMPLATE, Mode, Wanted

if TYPE_CHECKING:
    from aiorest_ws.schema.generators import Generated

__all__ = ("Components",)

_PLAIN: dict[Any, dict[str, Any]] = {
    UNKNOWN: {},
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    UUID: {"type": "string", "format": "uuid"},
    date: {"type": "string", "format": "date"},
}


class Components:
    """Gives schemas of types. They are empty until `finish` fills them in, those of all types at once.

    schemas     of classes, by name, once they are finished
    warnings    of types that have no schema, and name who asked for it
    """

    def __init__(self) -> None:
        self.schemas: dict[str, Any] = {}
        self.warnings: list[str] = []
        self._wanted: list[Wanted] = []
        self._again: list[tuple[str, str]] = []  # names of what was described before, by another name

    def schema(self, hint: Any, mode: Mode, title: str, default: Any = None) -> dict[str, Any]:
        """Give the schema of `hint`, still empty but for its `default`; `title` is what a warning names."""
        wanted = Wanted(hint, mode, title, _default(default))
        self._wanted.append(wanted)
        return wanted.schema

    def finish(self) -> None:
        """Fill in every schema that was given. Raises ImproperlyConfigured if that needs msgspec, and it is missing."""
        left = [wanted for wanted in self._wanted if not _is_plain(wanted)]
        if not left:
            return
        try:
            from aiorest_ws.schema import generators
        except ModuleNotFoundError as exc:
            if exc.name != "msgspec":
                raise
            raise ImproperlyConfigured(f"the schema of what {left[0].title} takes or answers {NEEDS_MSGSPEC}") from None
        kinds, pydantics = generators.sorted_by_library(left, self.warnings)
        for generated in generators.of_msgspec(kinds, pydantics, self.warnings):
            self._add(generated)
        for generated in generators.of_pydantic(pydantics, self.warnings):
            self._add(generated)
        self._merge_same()
        self.schemas = dict(sorted(self.schemas.items()))
        titles = Counter(schema.get("title") for schema in self.schemas.values())
        for name, schema in self.schemas.items():
            if titles[schema.get("title")] > 1:
                schema["title"] = name  # by which generators of clients call classes: they leave out the second of two

    def _add(self, generated: Generated) -> None:
        """Take in what was generated; a class is renamed if another one has its name, or has a dot in it."""
        defined, schemas = generated
        taken = {*self.schemas, *defined}
        renamed = {name: _free(name, taken) for name in defined if name in self.schemas or "." in name}
        self._again += [(new, old) for old, new in renamed.items() if old in self.schemas]
        references = _references(renamed)
        drop_false_nulls([*defined.values(), *(schema for _, schema in schemas)])
        for name, schema in defined.items():
            self.schemas[renamed.get(name, name)] = _renamed(schema, references)
        for wanted, schema in schemas:
            wanted.schema.update(_renamed(schema, references))

    def _merge_same(self) -> None:
        """Let what was described twice be there once, where that is the same."""
        again = True
        while again:
            same = {new: old for new, old in self._again if new in self.schemas and self._are_same(new, old)}
            again = bool(same)
            for name in same:
                del self.schemas[name]
            for schema in (*self.schemas.values(), *(wanted.schema for wanted in self._wanted)):
                _renamed(schema, _references(same))

    def _are_same(self, new: str, old: str) -> bool:
        return bool(_renamed(deepcopy(self.schemas[new]), _references({new: old})) == self.schemas[old])


def _references(names: dict[str, str]) -> dict[str, str]:
    return {TEMPLATE.format(name=old): TEMPLATE.format(name=new) for old, new in names.items()}


def _free(name: str, taken: set[str]) -> str:
    """Give a name like `name` that is not in `taken`, where it is then; generators of clients take dots for modules."""
    plain = name.replace(".", "_")
    free = next(each for each in chain((plain,), (f"{plain}_{number}" for number in count(2))) if each not in taken)
    taken.add(free)
    return free


def _default(value: Any) -> dict[str, Any]:
    """Give a default as JSON has it; nothing, if it only stands for "not given"."""
    if value is None or value is inspect.Parameter.empty:
        return {}
    value = sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value
    try:
        found = json.loads(dumps(value))
    except Exception:  # values of the user's own
        return {}
    return {} if found is None else {"default": found}


def _is_plain(wanted: Wanted) -> bool:
    """Fill in the schema of a type that needs no library."""
    try:
        known = _PLAIN.get(wanted.hint)
    except TypeError:  # it cannot be hashed
        return False
    wanted.schema.update(known or {})
    return known is not None


def _renamed(schema: Any, references: dict[str, str]) -> Any:
    """Change `schema`, and give it, to refer to others than it did; those of its discriminators are references, too."""
    if not references:
        return schema
    if isinstance(schema, dict):
        for key, value in schema.items():
            schema[key] = _renamed(value, references)
    elif isinstance(schema, list):
        schema[:] = (_renamed(each, references) for each in schema)
    elif isinstance(schema, str):
        return references.get(schema, schema)
    return schema
