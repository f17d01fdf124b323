"""A schema of pydantic_core → what checks by it, and takes no longer for an odd value than for an ordinary one.

It tells the first fault only of each array and object, if there are many; items of sets and keys of dicts that a client
could make collide are counted by their hashes, as `traps` does for msgspec; and a default that is a flat list, dict or
set is copied at once, in place of a deep copy of 2 µs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import local
from typing import Any

from aiorest_ws.handlers.traps import KEY_BEYOND, ONE_HASH, Alike, nodes_of

__all__ = ("Bounded",)

_STOPPING = frozenset(("list", "tuple", "set", "frozenset", "dict"))  # `dict` is ignored before 2.41
# Where the schemas of parts are. Defaults, literals and metadata may be dicts, too, and are left alone.
_PARTS = (
    *("schema", "items_schema", "keys_schema", "values_schema", "extras_schema", "extras_keys_schema"),
    *("python_schema", "json_schema", "lax_schema", "strict_schema", "arguments_schema", "return_schema"),
    *("var_args_schema", "var_kwargs_schema", "choices", "fields", "steps", "definitions"),
)
# Of which a client can make few that have the same hash, as it is secret.
_SAFE = frozenset(
    ("any", "str", "bytes", "bool", "none", "enum", "literal", "date", "datetime", "time", "timedelta", "never")
)
_SCALARS = frozenset((str, bytes, int, float, bool, type(None)))
_MOST_PARTS = 1_000  # of a value all of whose faults are told


class Bounded:
    """Checks by a schema: a small value throughout, a large one up to the first fault of each array and object."""

    def __init__(self, schema: Any) -> None:
        self._schema = schema
        self._apart = _Apart()
        self._validator = _validator(_with_bounds(schema, self._apart, stops=True))
        self._thorough: Any = None  # made when it is first needed

    def validate_python(self, value: Any) -> Any:
        return self._checked("validate_python", value, value)

    def validate_strings(self, value: Any) -> Any:
        return self._checked("validate_strings", value, value)

    def validate_json(self, text: bytes, value: Any) -> Any:
        """Check the JSON text of `value`."""
        return self._checked("validate_json", text, value)

    def _checked(self, method: str, sent: Any, value: Any) -> Any:
        try:
            return getattr(self._validator, method)(sent)
        except ValueError:
            if not _is_small(value):
                raise
        finally:
            self._apart.forget()
        if self._thorough is None:
            self._thorough = _validator(_with_bounds(self._schema, self._apart, stops=False))
        try:
            return getattr(self._thorough, method)(sent)
        finally:
            self._apart.forget()


def _is_small(value: Any) -> bool:
    parts = [value]
    for part in parts:  # which grows
        if isinstance(part, (dict, list, tuple)):
            if len(parts) + len(part) > _MOST_PARTS:
                return False
            parts += part.values() if isinstance(part, dict) else part
    return True


class _Apart(local, Alike):
    """What sets and dicts were to have in them, of the message that this thread looks at."""

    def item(self, value: Any) -> Any:
        """Give `value`, or refuse it for those that have the same hash, and are others."""
        kind = type(value)
        if kind is str or (kind is int and -(2**63) <= value < 2**64):
            return value  # of these a client makes few
        try:
            collides = self.collides(value)
        except TypeError:
            return value  # it has no hash, and pydantic says so
        if collides:
            _refuse(ONE_HASH)
        return value

    def key(self, value: Any) -> Any:
        """Give `value`, as `item` does, but no integer beyond 64 bits."""
        if type(value) is int and not -(2**63) <= value < 2**64:
            _refuse(KEY_BEYOND)
        return self.item(value)

    def forget(self) -> None:
        self.seen.clear()


def _refuse(text: str) -> None:
    from pydantic_core import PydanticCustomError

    raise PydanticCustomError("trap", text)


def _with_bounds(node: Any, apart: _Apart, *, stops: bool) -> Any:
    """Give a copy of `node`, a schema or several of them, with bounds throughout."""
    if isinstance(node, (list, tuple)):
        return type(node)(_with_bounds(part, apart, stops=stops) for part in node)
    if not isinstance(node, dict):
        return node  # a choice of a union has its label beside it, a dataclass names its fields
    kind = node["type"]
    made = dict(node)
    for name in _PARTS:
        part = node.get(name)
        if isinstance(part, dict) and name in ("choices", "fields"):
            made[name] = {key: _with_bounds(inner, apart, stops=stops) for key, inner in part.items()}
        elif part is not None:
            made[name] = _with_bounds(part, apart, stops=stops)
    if kind in _STOPPING and stops:
        made["fail_fast"] = True
    if kind in ("set", "frozenset") and not _is_safe(node.get("items_schema")):
        made["items_schema"] = _followed(made["items_schema"], apart.item)
    if kind == "dict" and not _is_safe(node.get("keys_schema")):
        made["keys_schema"] = _followed(made["keys_schema"], apart.key)
    if kind == "default" and _is_flat(node.get("default")):
        made["default_factory"] = made.pop("default").copy
    return made


def _followed(schema: Any, function: Callable[[Any], Any]) -> Any:
    return {"type": "function-after", "function": {"type": "no-info", "function": function}, "schema": schema}


def _is_safe(schema: Any) -> bool:
    if schema is None:
        return True  # anything
    kind = schema["type"]
    if kind in ("nullable", "default"):
        return _is_safe(schema["schema"])
    if kind == "union":
        return all(_is_safe(choice[0] if isinstance(choice, tuple) else choice) for choice in schema["choices"])
    return kind in _SAFE


def _is_flat(default: Any) -> bool:
    """Tell whether a copy of `default` is as good as a deep one, and is one at all."""
    if type(default) is dict:
        return _SCALARS.issuperset(map(type, default.values())) and _SCALARS.issuperset(map(type, default))
    return type(default) in (list, set) and _SCALARS.issuperset(map(type, default))


def _validator(schema: Any) -> Any:
    from pydantic_core import SchemaValidator

    # A model within has a validator already, without bounds: it must not take the place of what its schema says.
    try:
        return SchemaValidator(schema, _use_prebuilt=False)
    except TypeError as exc:
        if "_use_prebuilt" not in str(exc):
            raise
    with _incomplete(schema):
        return SchemaValidator(schema)


@contextmanager
def _incomplete(schema: Any) -> Iterator[None]:
    """Let no class in `schema` say that it has a validator: before 2.13, pydantic cannot be told to make its own."""
    models = {node["cls"] for node in nodes_of(schema) if node.get("type") in ("model", "dataclass")}
    found = {cls: vars(cls)["__pydantic_complete__"] for cls in models if "__pydantic_complete__" in vars(cls)}
    for cls in found:
        cls.__pydantic_complete__ = False
    try:
        yield
    finally:
        for cls, is_complete in found.items():
            cls.__pydantic_complete__ = is_complete
