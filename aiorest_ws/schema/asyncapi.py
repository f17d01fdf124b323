"""Described routes → an AsyncAPI 3.0 document, in the words of the connection and as a client sees it.

There is one channel, the connection. A request is an operation that sends, whose reply comes over the same channel and
has the same `id`; where one may subscribe, another operation receives what changes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any, get_args

from aiorest_ws.schema.components import Components
from aiorest_ws.schema.describe import UNKNOWN, Described, Parameter
from aiorest_ws.schema.draft import as_draft_07
from aiorest_ws.schema.names import Names
from aiorest_ws.schema.nulls import takes_null

__all__ = ("asyncapi",)

_CHANNEL = "connection"
_MESSAGES = f"#/channels/{_CHANNEL}/messages"

_ID = {"type": ["string", "integer"], "description": "of a request; its reply has the same"}
_TOKEN = {"type": "string", "description": "whose request it is, if the handshake does not say so"}
_TOPIC = {"type": "string", "description": "the name of the subscription, from the reply to SUBSCRIBE"}
_VERSION = {"type": "string", "description": "what `since` of a later SUBSCRIBE says"}
_DETAIL = {"description": "what is wrong: a text, or a list of `loc` and `msg`"}
_REFUSED = {"type": "integer", "minimum": 400, "maximum": 599}
_KEY = {
    "type": "string",
    "minLength": 16,
    "maxLength": 128,
    "description": "one for each thing to be done: who asks again with it gets what came of it the first time",
}
_RETRY = {"type": "integer", "minimum": 0, "description": "milliseconds after which it makes sense to come back"}
_CHANGED = {"type": "object", "description": "url → version, of what the client subscribes to"}

# How the text of a parameter looks, by converters.
_LOOKS = {"int": "-?[0-9]+", "date": "[0-9]{4}-[0-9]{2}-[0-9]{2}", "path": r"[^\x00-\x1f\x7f]+"}


def asyncapi(
    described: Iterable[Described], *, title: str, version: str, address: str = "/"
) -> tuple[dict[str, Any], list[str]]:
    """Give the document, in the order of `described`, and warnings of what is in it as `{}`.

    address    path of the url that clients connect to
    """
    writer = _Writer()
    for each in described:
        writer.add_request(each)
        if each.live is not None:
            writer.add_subscription(each)
    writer.add_common()
    writer.finish()
    references = {key: {"$ref": f"#/components/messages/{key}"} for key in writer.messages}
    parts = {
        "schemas": writer.components.schemas,
        "messages": writer.messages,
        "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}} if writer.is_guarded else {},
    }
    document = {
        "asyncapi": "3.0.0",
        "info": {"title": title, "version": version, "description": "What a client sends, and what it receives."},
        "defaultContentType": "application/json",
        "channels": {_CHANNEL: {"address": address, "messages": references}},
        "operations": writer.operations,
        "components": {name: as_draft_07(part) for name, part in parts.items() if part},
    }
    return document, writer.components.warnings


class _Writer:
    """Collects operations, and the messages that they send and receive."""

    def __init__(self) -> None:
        self.components = Components()
        self.messages: dict[str, Any] = {}
        self.operations: dict[str, Any] = {}
        self.is_guarded = False
        self._names = Names()
        self._is_live = False

    def add_request(self, each: Described) -> None:
        """Add what `each` takes and answers."""
        self.components.warnings += each.warnings
        name = self._names.take(each.verb.lower(), each.name or each.path)
        status = {"type": "integer", "minimum": 200, "maximum": 299} if each.may_differ else {"const": each.status}
        reply = {"id": _ID, "status": status, "data": self._schema(each.response, each)}
        if each.changes:
            reply["changed"] = _CHANGED
        if each.is_keyed:
            reply["replayed"] = {"const": True}
        self._send(name, each, each.verb, reply, optional=("changed", "replayed"))

    def add_subscription(self, each: Described) -> None:
        """Add how one subscribes to `each`, and what comes of it."""
        self._is_live = True
        assert each.live is not None
        is_log = each.live.mode == "log"
        name = self._names.take("subscribe", each.name or each.path)
        reply: dict[str, Any] = {"id": _ID, "status": {"enum": [200, 206, 304] if is_log else [200, 304]}}
        reply |= {"topic": _TOPIC, "version": _VERSION, "data": self._schema(each.response, each)}
        if each.live.key is not None:
            reply["key"] = {"const": each.live.key, "description": "of each item: what tells it from others"}
        self._send(name, each, "SUBSCRIBE", reply, optional=("data", "key"))
        push = {"event_name": _TOPIC, "version": _VERSION, "data": self._schema(_pushed(each), each)}
        self._message(f"{name}.push", push, optional=() if is_log else ("data",))
        what = "the next item" if is_log else "the whole value; without `data` it is what it was"
        self.operations[self._names.take("receive", each.name or each.path)] = {
            "action": "receive",
            "channel": {"$ref": f"#/channels/{_CHANNEL}"},
            "summary": f"What changes of {each.path}: {what}",
            "messages": [{"$ref": f"{_MESSAGES}/{key}"} for key in (f"{name}.push", "end")],
            **_words(each, ("tags",)),
            "x-live": {"mode": each.live.mode, "shared": each.live.shared},
        }

    def add_common(self) -> None:
        """Add the messages that no route has for its own."""
        self._message("refusal", {"id": _ID, "status": _REFUSED, "detail": _DETAIL})
        if self._is_live:
            end = {"event_name": _TOPIC, "status": _REFUSED, "detail": _DETAIL, "retry": _RETRY}
            self._message("end", end, optional=("retry",))
            self._send_plain("unsubscribe", {"topic": _TOPIC})
        self._send_plain("ping", {})

    def finish(self) -> None:
        """Fill in schemas, and say what follows from them: that data may be missing which may be null."""
        self.components.finish()
        for message in self.messages.values():
            members, required = message["payload"]["properties"], message["payload"]["required"]
            if "method" in members and "data" in required and takes_null(members["data"]):
                required.remove("data")

    def _send(self, name: str, each: Described, verb: str, reply: dict[str, Any], optional: Collection[str]) -> None:
        """Add an operation that sends a request, and receives a reply."""
        asked, left_out = self._asked(each, verb)
        self._message(f"{name}.request", asked, optional=left_out)
        self._message(f"{name}.reply", reply, optional=optional)
        operation = _operation(name) | _words(each, ("summary", "description", "tags"))
        if each.guarding.needs_user:
            self.is_guarded = True
            operation["security"] = [{"$ref": "#/components/securitySchemes/token"}]
        if each.deprecated:
            operation["x-deprecated"] = True
        path = {p.name: self._schema(p.hint, each) for p in each.parameters if p.place == "path"}
        if path:
            operation["x-path"] = {"template": each.path, "parameters": path}
        self.operations[name] = operation

    def _send_plain(self, verb: str, members: dict[str, Any]) -> None:
        name = self._names.take(verb, "")
        self._message(f"{name}.request", {"method": {"const": verb.upper()}, **members, "id": _ID})
        self._message(f"{name}.reply", {"id": _ID, "status": {"const": 200}, "data": {"type": "null"}})
        self.operations[name] = _operation(name)

    def _asked(self, each: Described, verb: str) -> tuple[dict[str, Any], list[str]]:
        """Give the members of a request, and those that may be left out."""
        optional = ["token", "since", "idempotency_key"]
        asked: dict[str, Any] = {"method": {"const": verb}, "url": _url(each)}
        args = [p for p in each.parameters if p.place == "args"]
        if args or each.open:
            asked["args"] = {
                "type": "object",
                "properties": {p.name: self._taken(p, each) for p in args},
                "required": [p.name for p in args if p.is_required],
                "additionalProperties": each.open,
            }
        if not any(p.is_required for p in args):
            optional.append("args")
        for body in (p for p in each.parameters if p.place == "data" and verb != "SUBSCRIBE"):
            asked["data"] = self._taken(body, each)
            if not body.is_required:
                optional.append("data")
        if each.is_keyed and verb != "SUBSCRIBE":
            asked["idempotency_key"] = _KEY
        if verb == "SUBSCRIBE":
            asked["since"] = _VERSION
        if each.guarding.reads_tokens or each.guarding.needs_user:
            asked["token"] = _TOKEN
        return asked | {"id": _ID}, optional

    def _taken(self, parameter: Parameter, each: Described) -> dict[str, Any]:
        return self.components.schema(parameter.hint, "validation", each.title, parameter.default)

    def _schema(self, hint: Any, each: Described) -> dict[str, Any]:
        return self.components.schema(hint, "serialization", each.title)

    def _message(self, key: str, members: dict[str, Any], *, optional: Collection[str] = ()) -> None:
        payload = {
            "type": "object",
            "properties": members,
            "required": [name for name in members if name not in optional],
        }
        message: dict[str, Any] = {"name": key, "payload": payload}
        if "id" in members:
            message["correlationId"] = {"location": "$message.payload#/id"}
        self.messages[key] = message


def _operation(name: str) -> dict[str, Any]:
    """Give an operation that sends, and receives its reply."""
    channel = {"$ref": f"#/channels/{_CHANNEL}"}
    replies = [{"$ref": f"{_MESSAGES}/{key}"} for key in (f"{name}.reply", "refusal")]
    return {
        "action": "send",
        "channel": channel,
        "messages": [{"$ref": f"{_MESSAGES}/{name}.request"}],
        "reply": {"channel": channel, "messages": replies},
    }


def _words(each: Described, names: Iterable[str]) -> dict[str, Any]:
    found = {name: text for name in names if (text := getattr(each, name))}
    if "tags" in found:
        found["tags"] = [{"name": tag} for tag in each.tags]
    return found


def _url(each: Described) -> dict[str, Any]:
    """Give the schema of the url in requests of `each`."""
    looks = {p.name: _LOOKS.get(p.converter or "", r"[^/\x00-\x1f\x7f]+") for p in each.parameters if p.place == "path"}
    if not looks:
        return {"const": each.path}
    pattern = re.escape(each.path)
    for name, look in looks.items():
        pattern = pattern.replace(re.escape(f"{{{name}}}"), look)
    return {"type": "string", "pattern": f"^{pattern}/?$"}


def _pushed(each: Described) -> Any:
    """Give the type of a push: of a log it is that of one item."""
    assert each.live is not None
    if each.response is UNKNOWN or each.live.mode == "state":
        return each.response
    return (*get_args(each.response), UNKNOWN)[0]
