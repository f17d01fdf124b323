"""Described routes → an OpenAPI 3.1 document."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aiorest_ws.schema.describe import UNKNOWN, Described, Parameter

__all__ = ("openapi",)

_TEMPLATE = "#/components/schemas/{name}"
_OF_CONVERTERS: dict[str | None, dict[str, Any]] = {
    None: {"type": "string"},
    "path": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "uuid": {"type": "string", "format": "uuid"},
    "date": {"type": "string", "format": "date"},
}


class Components:
    """Gives the schema of a type, and keeps those of the classes in it."""

    def __init__(self) -> None:
        self.schemas: dict[str, Any] = {}
        self.warnings: list[str] = []

    def schema(self, hint: Any, title: str) -> dict[str, Any]:
        """Give the schema of `hint`; `{}` and a warning that names `title` where there is none."""
        if hint is UNKNOWN:
            return {}
        try:
            schema, found = _schema_of(hint)
        except Exception as exc:  # types of the user's own
            self.warnings.append(f"{title}: {hint!r} cannot be described: {exc}")
            return {}
        for name, component in found.items():
            if self.schemas.setdefault(name, component) != component:
                self.warnings.append(f"{title}: another class is named {name}, too: it cannot be described")
                return {}
        return schema


def _schema_of(hint: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    if hasattr(hint, "model_json_schema"):  # pydantic's
        schema = hint.model_json_schema(ref_template=_TEMPLATE.replace("{name}", "{model}"))
        found = schema.pop("$defs", {})
        return {"$ref": _TEMPLATE.format(name=hint.__name__)}, found | {hint.__name__: schema}
    from msgspec.json import schema_components  # only who asks for a schema needs it

    (schema,), found = schema_components([hint], ref_template=_TEMPLATE)
    return schema, found


def openapi(described: Iterable[Described], *, title: str, version: str) -> tuple[dict[str, Any], list[str]]:
    """Give the document, in the order of `described`, and warnings of what is in it as `{}`."""
    components = Components()
    paths: dict[str, dict[str, Any]] = {}
    for each in described:
        components.warnings += each.warnings
        paths.setdefault(each.path, {})[each.verb.lower()] = _operation(each, components)
    document: dict[str, Any] = {"openapi": "3.1.0", "info": {"title": title, "version": version}, "paths": paths}
    parts = {
        "schemas": dict(sorted(components.schemas.items())),
        "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
    }
    return document | {"components": parts}, components.warnings


def _operation(each: Described, components: Components) -> dict[str, Any]:
    title = f"{each.verb} {each.path}"
    answer: dict[str, Any] = {"description": "what the view answers"}
    if each.response is not UNKNOWN:
        answer["content"] = {"application/json": {"schema": components.schema(each.response, title)}}
    responses = {"200": answer, "default": {"description": "an error, with `detail`"}}
    operation: dict[str, Any] = {"operationId": f"{each.verb.lower()} {each.path}"}
    operation |= {name: text for name in ("summary", "description") if (text := getattr(each, name))}
    given = [_parameter(p, components, title) for p in each.parameters if p.place != "data"]
    if given:
        operation["parameters"] = given
    for body in (p for p in each.parameters if p.place == "data"):
        content = {"application/json": {"schema": components.schema(body.hint, title)}}
        operation["requestBody"] = {"required": body.is_required, "content": content}
    operation["responses"] = responses
    if each.is_guarded:
        operation["security"] = [{"token": []}]
    if each.permissions:
        operation["x-permissions"] = list(each.permissions)
    if each.live is not None:
        operation["x-live"] = each.live
    return operation


def _parameter(parameter: Parameter, components: Components, title: str) -> dict[str, Any]:
    is_path = parameter.place == "path"
    schema = components.schema(parameter.hint, title)
    if is_path and parameter.hint is UNKNOWN:
        schema = dict(_OF_CONVERTERS.get(parameter.converter, {"type": "string"}))
    return {
        "name": parameter.name,
        "in": "path" if is_path else "query",
        "required": is_path or parameter.is_required,
        "schema": schema,
    }
