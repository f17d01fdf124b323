"""A reply → what is kept of it; what was kept → the reply to another request, in its form."""

from __future__ import annotations

from typing import Any

from aiorest_ws._speedups import Response, decode, write
from aiorest_ws.exceptions import InvalidMessage
from aiorest_ws.idempotency.ledgers import Outcome
from aiorest_ws.realtime.messages import MSGPACK, family_of, fitting

__all__ = ("kept_of", "reply", "response", "value_of")

_MARK = "replayed"


def _encoded(outcome: Outcome, form: int) -> bytes:
    """Give the value of `outcome` as it is said in `form`."""
    return outcome.value if outcome.form == family_of(form) else write(value_of(outcome), form)


def value_of(outcome: Outcome) -> Any:
    return decode(_object([("value", outcome.value)], outcome.form), outcome.form)["value"]


def kept_of(rendered: bytes, request: Any) -> Outcome | None:
    """Give what is to be kept of a reply; None for one that no client could be given in another form."""
    form = family_of(request.form)
    try:
        message = decode(rendered, form)
    except InvalidMessage:
        return None  # of a renderer of the user's own
    name = "detail" if "detail" in message else "data"
    return Outcome(request.status, name, form, fitting(write(message.get(name), form)))


def reply(request: Any, outcome: Outcome, *, is_again: bool) -> bytes:
    """Give the reply to `request`, with `outcome`, not yet base64; marked if it was given before.

    As all that is the framework's own, the mark is only in replies to requests with an `id`.
    """
    form = request.form
    content = (outcome.name, _encoded(outcome, form))
    if request.id is None:
        return _object([content, ("event_name", write(request.event_name, form))], form)
    members = [("id", write(request.id, form)), ("status", write(outcome.status, form)), content]
    if request.event_name is not None:
        members.append(("event_name", write(request.event_name, form)))
    if is_again:
        members.append((_MARK, write(True, form)))
    return _object(members, form)


def response(outcome: Outcome) -> Response:
    return Response(value_of(outcome), status=outcome.status)


def _object(members: list[tuple[str, bytes]], form: int) -> bytes:
    """Give an object of a few members that are encoded already."""
    if form & MSGPACK:
        return b"".join((bytes((0x80 | len(members),)), *(write(name, form) + value for name, value in members)))
    return b"{" + b",".join(b'"%b":%b' % (name.encode(), value) for name, value in members) + b"}"
