"""The answer that opens a WebSocket, byte for byte."""

from __future__ import annotations

from aiorest_ws.http.acceptance import acceptance

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # of RFC 6455 §1.3, and what comes of it
ECHO = b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
BEGIN = b"HTTP/1.1 101 Switching Protocols\r\n"
UPGRADE = b"Upgrade: WebSocket\r\nConnection: Upgrade\r\n"


def test_it_has_what_is_needed_and_nothing_else() -> None:
    assert acceptance(KEY, None, (), None, "") == BEGIN + UPGRADE + ECHO + b"\r\n"
    assert acceptance(KEY, "", (), None, "") == BEGIN + UPGRADE + ECHO + b"\r\n"


def test_it_says_what_was_agreed_on_and_who_answers() -> None:
    whole = acceptance(KEY, "ours/1", (), "chat", "permessage-deflate; client_no_context_takeover")
    assert whole == (
        BEGIN + b"Server: ours/1\r\n" + UPGRADE + b"Sec-WebSocket-Protocol: chat\r\n" + ECHO
        + b"Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n\r\n"
    )  # fmt: skip


def test_a_header_may_have_several_values_each_in_a_line_of_its_own() -> None:
    headers = [("Set-Cookie", ["a=1", "b=2"]), ("X-Name", "Zoë"), ("X-Number", 3)]
    lines = b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Name: Zo\xc3\xab\r\nX-Number: 3\r\n"
    assert acceptance(KEY, None, headers, None, "") == BEGIN + UPGRADE + lines + ECHO + b"\r\n"
