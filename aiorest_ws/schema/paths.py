"""Operations → the path items of OpenAPI, where templates that differ only in their parameters are one path."""

from __future__ import annotations

from typing import Any

from aiorest_ws.routing.templates import parameter_names, replace_parameters
from aiorest_ws.schema.describe import Described
from aiorest_ws.schema.names import Names

__all__ = ("Paths",)


class Paths:
    """Collects operations by path and verb.

    items       path → verb, lower case → operation
    warnings    of two routes that are one there
    """

    def __init__(self) -> None:
        self.items: dict[str, dict[str, Any]] = {}
        self.warnings: list[str] = []
        self._paths: dict[str, str] = {}  # by their shapes
        self._titles: dict[tuple[str, str], str] = {}
        self._names: dict[tuple[str, str], str] = {}

    @property
    def operations(self) -> list[dict[str, Any]]:
        return [operation for item in self.items.values() for operation in item.values()]

    def add(self, each: Described, operation: dict[str, Any]) -> None:
        """Add `operation`, which describes `each`. If there is one with its path and verb, one is made of both."""
        verb = each.verb.lower()
        path = self._paths.setdefault(replace_parameters(each.path, lambda name: "{}"), each.path)
        if path != each.path:
            names = dict(zip(parameter_names(each.path), parameter_names(path), strict=True))
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "path":
                    parameter["name"] = names[parameter["name"]]
        item = self.items.setdefault(path, {})
        if verb in item:
            self.warnings.append(
                f"{each.title} and {self._titles[path, verb]} are the same path to OpenAPI: they are described as one"
            )
            item[verb] = _merged(item[verb], operation)
            return
        item[verb] = operation
        self._titles[path, verb] = each.title
        self._names[path, verb] = each.name or path

    def name_operations(self) -> None:
        """Give each operation an id of its own, made of its verb and of the name or the path of its route."""
        names = Names()
        for (path, verb), name in self._names.items():
            self.items[path][verb]["operationId"] = names.take(verb, name)


# Two operations as one


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Give an operation that takes what either takes, and answers what either answers."""
    found = one | {name: value for name, value in other.items() if name not in one}
    for name in ("tags", "x-permissions", "x-changes"):
        if name in found:
            found[name] = list(dict.fromkeys((*one.get(name, ()), *other.get(name, ()))))
    texts = [text for each in (one, other) if (text := _text(each))]
    if len(texts) > 1 and texts[0] != texts[1]:
        found["description"] = "\n\nor\n\n".join(texts)
    if "deprecated" in found:
        found["deprecated"] = all("deprecated" in each for each in (one, other))
    if "parameters" in found:
        found["parameters"] = _merged_parameters(one.get("parameters", []), other.get("parameters", []))
    if "requestBody" in found:
        found["requestBody"] = _merged_body(one.get("requestBody"), other.get("requestBody"))
    found["responses"] = _merged_responses(one["responses"], other["responses"])
    if "security" in found:
        first, second = (each.get("security", [{}]) for each in (one, other))
        found["security"] = [*first, *(each for each in second if each not in first)]
    return found


def _text(operation: dict[str, Any]) -> str:
    return "\n\n".join(operation[name] for name in ("summary", "description") if name in operation)


def _merged_parameters(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> list[dict[str, Any]]:
    by_name = {(each["name"], each["in"]): each for each in other}
    found = []
    for each in one:
        same = by_name.pop((each["name"], each["in"]), None)
        if same is None:
            found.append(each | {"required": False})
        else:
            rest = {name: value for name, value in each.items() if name not in ("schema", "content")}
            found.append(rest | {"required": each["required"] and same["required"]} | _merged_types(each, same))
    return found + [each | {"required": False} for each in by_name.values()]


def _merged_types(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Give the types of two parameters, texts or JSON."""
    if "content" in one and "content" in other:
        return {"content": _merged_content(one["content"], other["content"])}
    if "content" in one or "content" in other:
        return {"content": {"application/json": {"schema": {}}}}
    return {"schema": _either(one["schema"], other["schema"])}


def _merged_body(one: dict[str, Any] | None, other: dict[str, Any] | None) -> dict[str, Any]:
    if one is None or other is None:
        return (one or other or {}) | {"required": False}
    return {
        "required": one["required"] and other["required"],
        "content": _merged_content(one["content"], other["content"]),
    }


def _merged_responses(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    found = dict(one)
    for status, answer in other.items():
        known = found.setdefault(status, answer)
        if known != answer:
            content = _merged_content(known.get("content", {}), answer.get("content", {}))
            found[status] = known | ({"content": content} if content else {})
    return {status: found[status] for status in sorted(found)}


def _merged_content(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    both = {name: {"schema": _either(one[name]["schema"], other[name]["schema"])} for name in one if name in other}
    return {**one, **other, **both}


def _either(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Give a schema of what fits either."""
    if one == other:
        return one
    if not one or not other:
        return {}  # anything
    return {"anyOf": [*one["anyOf"], other] if list(one) == ["anyOf"] else [one, other]}
