"""What is wrong with an opening request, or how the server is → the bytes of the HTTP response that says so."""

from __future__ import annotations

from collections.abc import Sequence
from json import dumps

__all__ = ("health", "on_a_line", "phrase", "refusal")

# For people who look at it with a browser; a program reads the status.
_TEXTS = {
    404: "no WebSocket at this path: the log of the server says which one it serves\n",
    426: "this port speaks WebSocket (ws:// or wss://), and plain HTTP only where the server's option `http` is on: "
    "connect with a WebSocket client\n",
}


def refusal(
    status: int,
    reason: str | None = None,
    headers: Sequence[tuple[str, str]] = (),
    *,
    to_head: bool = False,
    as_detail: bool = False,
) -> bytes:
    """Give the HTTP response that refuses a handshake. `reason` has the standard's text when it is not given.

    to_head      the request was a HEAD, whose answer has no body (RFC 9110 §9.3.2)
    as_detail    the body is JSON, as that of every error over HTTP
    """
    says = on_a_line(reason or phrase(status))
    text, media_type = "" if reason else _TEXTS.get(status, ""), "text/plain; charset=utf-8"
    if as_detail:
        text, media_type = dumps({"detail": says}, separators=(",", ":")), "application/json"
    lines = [f"HTTP/1.1 {status} {says}"]
    lines += [f"{on_a_line(name)}: {on_a_line(value)}" for name, value in headers]
    upgrades = any(name.lower() == "upgrade" for name, _ in headers)
    lines += [f"Connection: close{', Upgrade' if upgrades else ''}", f"Content-Length: {len(text)}"]
    if text:
        lines.append(f"Content-Type: {media_type}")
    if as_detail:
        lines += ["Cache-Control: no-store", "X-Content-Type-Options: nosniff"]
    return "\r\n".join((*lines, "", "" if to_head else text)).encode("ascii")


def health(*, stopping: bool, to_head: bool) -> bytes:
    """Give the HTTP response to a probe: 200, or 503 when the server is stopping."""
    status, text = ("503 Service Unavailable", "stopping\n") if stopping else ("200 OK", "ok\n")
    lines = (
        f"HTTP/1.1 {status}",
        "Connection: close",
        "Cache-Control: no-store",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(text)}",
    )
    return "\r\n".join((*lines, "", "" if to_head else text)).encode("ascii")


def phrase(status: int) -> str:
    """Give what the standard calls a status."""
    from http import HTTPStatus

    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Refused"


def on_a_line(text: str, most: int = 200) -> str:
    """Give `text` as a line of a response can have it: what an application says may come from a client."""
    return "".join(mark if " " <= mark <= "~" else "?" for mark in str(text)[:most])
