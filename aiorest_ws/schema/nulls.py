"""A schema with defaults → the same without those that are null where it does not fit, and only means "not given"."""

from __future__ import annotations

from typing import Any

__all__ = ("drop_false_nulls", "takes_null")

_DATA = ("default", "examples", "const", "enum")  # what is no schema, whatever it looks like


def drop_false_nulls(schema: Any) -> None:
    """Take out of `schema`, and of all in it, each default that is null and no value of its own schema."""
    todo = [schema]
    while todo:
        node = todo.pop()
        if isinstance(node, list):
            todo += node
        elif isinstance(node, dict):
            if "default" in node and node["default"] is None and not takes_null(node):
                del node["default"]
            for name, value in node.items():
                if name == "properties" and isinstance(value, dict):
                    todo += value.values()
                elif name not in _DATA:
                    todo.append(value)


def takes_null(node: Any) -> bool:
    """Tell whether null fits; of what a reference leads to nobody says that it does."""
    if not isinstance(node, dict):
        return True
    choices = [node[name] for name in ("anyOf", "oneOf") if name in node]
    kind = node.get("type", "null")
    return (
        "$ref" not in node
        and (kind == "null" or "null" in kind)
        and ("enum" not in node or None in node["enum"])
        and ("const" not in node or node["const"] is None)
        and all(any(map(takes_null, each)) for each in choices)
        and all(map(takes_null, node.get("allOf", ())))
    )
