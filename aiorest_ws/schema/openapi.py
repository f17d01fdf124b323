"""Described routes → an OpenAPI 3.1 document, in the words of HTTP.

`args` are query parameters there, `data` the body, the status that of the reply. What a route may be refused with is
said by number where it is known beforehand; `default` is everything else.
"""

from __future__ import annotations

from collections.abc import Iterable
from mimetypes import guess_type
from typing import Any

from aiorest_ws.schema.components import Components
from aiorest_ws.schema.describe import UNKNOWN, Described, Parameter
from aiorest_ws.schema.nulls import takes_null
from aiorest_ws.schema.paths import Paths

__all__ = ("openapi",)

_JSON = "application/json"
_CONVERTED: dict[str | None, dict[str, Any]] = {
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "uuid": {"type": "string", "format": "uuid"},
    "date": {"type": "string", "format": "date"},
}

# Components, by status, and what they are for.
_REFUSALS = {
    400: ("BadRequest", "the request cannot be read"),
    401: ("Unauthorized", "a token is missing, or not valid"),
    403: ("Forbidden", "a permission refuses the request"),
    404: ("NotFound", "nothing is here"),
    409: ("Conflict", "a request with this key has been done, or may have been, and its reply is not there"),
    413: ("ContentTooLarge", "the request is larger than the server takes"),
    415: ("UnsupportedMediaType", "the body is of a type that the server does not read"),
    422: ("UnprocessableContent", "what comes does not fit; `detail` is a text, or a list of `loc` and `msg`"),
    429: ("TooManyRequests", "the client has to wait"),
}
_ERROR = ("Error", "the request has failed")
_DETAIL = {"type": "object", "properties": {"detail": {"description": "what is wrong"}}, "required": ["detail"]}
_TEXT = r"^[^\x00-\x1f\x7f]+$"
_NARROWER = {"pattern", "format", "enum", "const", "contentEncoding"}
_NO_CONTENT = (204, 205)


def openapi(
    described: Iterable[Described], *, title: str, version: str, is_limited: bool = False, prefix: str = ""
) -> tuple[dict[str, Any], list[str]]:
    """Give the document, in the order of `described`, and warnings of what is in it as `{}` or twice.

    is_limited    clients may send so many requests a second
    prefix        of the paths over HTTP
    """
    components = Components()
    operations = [(each, _operation(each, components, is_limited)) for each in described]
    for each, _ in operations:
        components.warnings += each.warnings
    components.finish()
    paths = Paths()
    for each, operation in operations:
        _complete(operation)
        paths.add(each, operation)
    paths.name_operations()
    document: dict[str, Any] = {"openapi": "3.1.0", "info": {"title": title, "version": version}}
    if prefix:
        document["servers"] = [{"url": prefix}]
    document["paths"] = paths.items
    every = paths.operations
    parts = {"schemas": components.schemas, "responses": _responses(every), "securitySchemes": _schemes(every)}
    if any(parts.values()):
        document["components"] = {name: part for name, part in parts.items() if part}
    return document, components.warnings + paths.warnings


# Operations


def _operation(each: Described, components: Components, is_limited: bool) -> dict[str, Any]:
    operation: dict[str, Any] = {"operationId": ""}  # first of all, once all are known
    if each.tags:
        operation["tags"] = list(each.tags)
    operation |= {name: text for name in ("summary", "description") if (text := getattr(each, name))}
    if each.deprecated:
        operation["deprecated"] = True
    given = [_parameter(p, components, each.title) for p in each.parameters if p.place != "data"]
    if len(each.formats) > 1:
        choice = {"type": "string", "enum": list(each.formats), "default": each.formats[0]}
        given.append({"name": "format", "in": "query", "required": False, "schema": choice})
    if given:
        operation["parameters"] = given
    for body in (p for p in each.parameters if p.place == "data"):
        content = {_JSON: {"schema": components.schema(body.hint, "validation", each.title)}}
        operation["requestBody"] = {"required": body.is_required, "content": content}
    operation["responses"] = _answers(each, components) | {
        str(status): {"$ref": f"#/components/responses/{_REFUSALS[status][0]}"}
        for status in _refusals(each, is_limited)
    }
    operation["responses"]["default"] = {"$ref": f"#/components/responses/{_ERROR[0]}"}
    security = _security(each)
    if security:
        operation["security"] = security
    return operation | _extensions(each)


def _parameter(parameter: Parameter, components: Components, title: str) -> dict[str, Any]:
    described = {"name": parameter.name, "in": "query", "required": parameter.is_required}
    if parameter.place != "path":
        schema = components.schema(parameter.hint, "validation", title, parameter.default)
        return described | ({"content": {_JSON: {"schema": schema}}} if parameter.is_json else {"schema": schema})
    described |= {"in": "path", "required": True}
    if parameter.converter == "path":
        described["description"] = "all the rest of the path, with its slashes"
    if parameter.converter in _CONVERTED and parameter.hint is UNKNOWN:
        return described | {"schema": dict(_CONVERTED[parameter.converter])}
    is_own = parameter.converter not in (None, "str", "path", *_CONVERTED)
    hint = str if is_own or parameter.hint is UNKNOWN else parameter.hint
    return described | {"schema": components.schema(hint, "validation", title)}


def _answers(each: Described, components: Components) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": "what is asked for"}
    if each.status in _NO_CONTENT:
        return {str(each.status): {"description": "done"}}
    hint = each.response
    schema = components.schema(hint, "serialization", each.title)
    types = [_media_type(name) for name in each.formats] or [_JSON]
    answer["content"] = {name: {"schema": schema if name == _JSON else {}} for name in types}
    answers = {str(each.status): answer}
    if each.live is not None and each.live.mode == "state":
        answers["304"] = {"description": "what `If-None-Match` says is what is asked for"}
    if each.may_differ and each.status == 200:
        answers["2XX"] = answer  # the handler chooses, and does not say it beforehand
    return answers


def _media_type(name: str) -> str:
    return _JSON if name == "json" else guess_type(f"_.{name}")[0] or "application/octet-stream"


def _refusals(each: Described, is_limited: bool) -> list[int]:
    statuses = {400, *each.guarding.refusals}
    if any(parameter.place == "path" for parameter in each.parameters):
        statuses.add(404)
    if any(parameter.place == "data" for parameter in each.parameters):
        statuses |= {413, 415}
    if each.checked or each.is_keyed:
        statuses.add(422)
    if each.is_keyed:
        statuses.add(409)
    if is_limited or each.guarding.reads_tokens:
        statuses.add(429)
    return sorted(statuses & _REFUSALS.keys())


def _security(each: Described) -> list[dict[str, list[str]]]:
    """Give the alternatives of what has to come with a request; `{}` is nothing."""
    if each.guarding.needs_user:
        return [{"token": list(each.guarding.scopes)}]
    return [{}, {"token": []}] if each.guarding.reads_tokens else []


def _extensions(each: Described) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if each.guarding.permissions:
        found["x-permissions"] = list(each.guarding.permissions)
    if each.live is not None:
        found["x-live"] = {"mode": each.live.mode, "shared": each.live.shared}
        if each.live.key is not None:
            found["x-live"]["key"] = each.live.key
        if each.live.presence is not None:
            found["x-live"]["presence"] = f"{each.path.rstrip('/')}/presence"
    if each.changes:
        found["x-changes"] = list(each.changes)
    if each.is_keyed:
        # No parameter: a tool that makes requests up sends one key with several, which are refused then.
        found["x-idempotent"] = {"header": "Idempotency-Key"}
    return found


def _complete(operation: dict[str, Any]) -> None:
    """Say what follows from schemas, which are known now: what parameters are, and whether a body may be missing."""
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            parameter["schema"] = _of_urls(parameter["schema"])
        if "description" in parameter.get("schema", ()):
            parameter.setdefault("description", parameter["schema"].pop("description"))
    body = operation.get("requestBody", {"required": False})
    if body["required"] and takes_null(body["content"][_JSON]["schema"]):
        body["required"] = False  # without one it is null


def _of_urls(schema: dict[str, Any]) -> dict[str, Any]:
    """Give the schema of what is a part of a url: a text there has no control characters."""
    if "anyOf" in schema:
        return schema | {"anyOf": [_of_urls(each) for each in schema["anyOf"]]}
    is_any_text = schema.get("type") == "string" and not _NARROWER & schema.keys()
    return schema | {"pattern": _TEXT} if is_any_text else schema


def _responses(operations: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Give the components that `operations` refer to."""
    used = {answer["$ref"] for each in operations for answer in each["responses"].values() if "$ref" in answer}
    content = {_JSON: {"schema": _DETAIL}}
    every = (*_REFUSALS.values(), _ERROR)
    return {name: {"description": why, "content": content} for name, why in every if _reference(name) in used}


def _reference(name: str) -> str:
    return f"#/components/responses/{name}"


def _schemes(operations: Iterable[dict[str, Any]]) -> dict[str, Any]:
    is_used = any("token" in choice for each in operations for choice in each.get("security", ()))
    return {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}} if is_used else {}
