"""Bytes of an opening request: what is read, what is refused, and that no slicing makes a difference."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiorest_ws.exceptions import ConnectionRefused
from aiorest_ws.http.head import Handshake, check_upgrade, client_address, client_scheme, end_of_head, read
from aiorest_ws.http.refusals import refusal

GOOD = (
    b"GET /api?token=1 HTTP/1.1\r\nHost: Example.com:8080\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def verdict(data: bytes, at: Any = (), limit: int | None = 1024, max_headers: int | None = 12) -> Any:
    """Feed `data`, cut at these places: give the status of a refusal, None while incomplete, else the handshake."""
    kept = b""
    cuts = sorted({*at, len(data)})
    try:
        for start, stop in zip([0, *cuts], cuts, strict=False):
            seen = len(kept)
            kept += data[start:stop]
            end = end_of_head(kept, seen, limit)
            if end:
                handshake = read(kept[:end], max_headers)
                check_upgrade(handshake)
                return handshake
    except ConnectionRefused as exc:
        return exc.status
    return None


def changed(old: bytes, new: bytes) -> bytes:
    assert old in GOOD
    return GOOD.replace(old, new, 1)


def with_header(line: bytes) -> bytes:
    return changed(b"Upgrade: websocket", line + b"\r\nUpgrade: websocket")


def test_good_request_is_read_to_its_parts() -> None:
    assert verdict(GOOD) == Handshake(
        target="/api?token=1",
        path="/api",
        query="token=1",
        host="example.com",
        port=8080,
        headers={
            "host": "Example.com:8080",
            "upgrade": "websocket",
            "connection": "keep-alive, Upgrade",
            "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
            "sec-websocket-version": "13",
        },
    )


ACCEPTED = {
    "absolute form": changed(b"/api", b"ws://example.com:8080/api"),
    "absolute form without a path": changed(b"/api?token=1", b"WSS://Example.COM:8080"),
    "absolute form with nothing but a query": changed(b"/api", b"http://example.com:8080"),
    "absolute form with the default port": changed(b"/api", b"wss://example.com/api").replace(b":8080\r", b":443\r"),
    "absolute form with a port that Host leaves out": changed(b"/api", b"ws://example.com:80/").replace(
        b":8080\r", b"\r"
    ),
    "empty line before the request": b"\r\n" + GOOD,
    "four empty lines before the request": b"\r\n" * 4 + GOOD,
    "odd but printable target": changed(b"/api", b"//a/../%00|{}\\^`'\"<>;,"),
    "empty query": changed(b"?token=1", b"?"),
    "host without a port": changed(b":8080", b""),
    "host with an empty port": changed(b":8080", b":"),
    "host that is an address": changed(b"Example.com", b"127.0.0.1"),
    "host that is an IPv6 address": changed(b"Example.com", b"[::1]"),
    "host with an underscore": changed(b"Example.com", b"my_service"),
    "names of headers in any case": changed(b"Upgrade: websocket", b"UPGRADE: WebSocket"),
    "no space behind the colon": changed(b"Upgrade: websocket", b"Upgrade:websocket"),
    "spaces and tabs around a value": changed(b"Upgrade: websocket", b"Upgrade: \t websocket \t"),
    "one of several upgrades": changed(b"Upgrade: websocket", b"Upgrade: h2c, websocket"),
    "upgrade in two lines": changed(b"Upgrade: websocket", b"Upgrade: h2c\r\nUpgrade: websocket"),
    "connection with empty members": changed(b"keep-alive, Upgrade", b",, upgrade ,"),
    "empty value": with_header(b"X-A:"),
    "value with a tab": with_header(b"X-A: a\tb"),
    "value in UTF-8": with_header("X-A: Ångström … 語 😀".encode()),
    "value in ISO-8859-1": with_header("X-A: Zürich é".encode("latin-1")),
    "header twice that may come twice": with_header(b"X-A: a\r\nX-A: b"),
    "name of all that a token may have": with_header(b"!#$%&'*+-.^_`|~09azAZ: a"),
    "subprotocols": with_header(b"Sec-WebSocket-Protocol: a, b.c,,d"),
    "subprotocols in two lines": with_header(b"Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b"),
    "no body": with_header(b"Content-Length: 0"),
    "any origin": with_header(b"Origin: what ever"),
    "bytes behind the head": GOOD + b"\x00\r\n\n",
    "as many headers as are allowed": with_header(b"\r\n".join(b"X-%d: a" % n for n in range(7))),
    "as long as is allowed": with_header(b"X-A: " + b"a" * (1024 - len(GOOD) - 7)),
}

REFUSED = {
    "line ends that are no CRLF": (GOOD.replace(b"\r\n", b"\n"), 400),
    "one line end that is no CRLF": (changed(b"8080\r\n", b"8080\n"), 400),
    "carriage return alone": (changed(b"8080\r\n", b"8080\r"), 400),
    "carriage return in a value": (with_header(b"X-A: a\rb"), 400),
    "carriage return twice": (changed(b"8080\r\n", b"8080\r\r\n"), 400),
    "many empty lines before the request": (b"\r\n" * 6 + GOOD, 400),
    "nothing but empty lines": (b"\r\n" * 6, 400),
    "line feed before the request": (b"\n" + GOOD, 400),
    "carriage return before the request": (b"\r" + GOOD, 400),
    "vertical tab as a line end": (changed(b"8080\r\n", b"8080\x0b"), 400),
    "form feed as a line end": (changed(b"8080\r\n", b"8080\x0c"), 400),
    "file separator as a line end": (changed(b"8080\r\n", b"8080\x1c"), 400),
    "next line as a line end": (changed(b"8080\r\n", b"8080\x85"), 400),
    "next line as a line end throughout": (GOOD.replace(b"\r\n", b"\x85"), 400),
    "next line in UTF-8": (with_header("X-A: a\x85b".encode()), 400),
    "next line in a value": (with_header(b"X-A: a\x85Origin: b"), 400),
    "NUL in a value": (with_header(b"X-A: a\x00b"), 400),
    "DEL in a value": (with_header(b"X-A: a\x7fb"), 400),
    "NUL in the path": (changed(b"/api", b"/a\x00pi"), 400),
    "tab in the path": (changed(b"/api", b"/a\tpi"), 400),
    "space in the path": (changed(b"/api", b"/a pi"), 400),
    "path that is not ASCII": (changed(b"/api", "/é".encode()), 400),
    "path with a fragment": (changed(b"/api", b"/api#a"), 400),
    "path without its slash": (changed(b"/api", b"api"), 400),
    "asterisk for a path": (changed(b"/api?token=1", b"*"), 400),
    "host and port for a path": (changed(b"/api?token=1", b"example.com:80"), 400),
    "absolute form of another scheme": (changed(b"/api", b"ftp://example.com/"), 400),
    "absolute form of another host": (changed(b"/api", b"ws://evil.example:8080/"), 400),
    "absolute form of another port": (changed(b"/api", b"ws://example.com:8081/"), 400),
    "absolute form of another port, the default one": (changed(b"/api", b"ws://example.com/"), 400),
    "absolute form of a longer host": (changed(b"/api", b"ws://example.com.evil.example:8080/"), 400),
    "absolute form of a malformed host": (changed(b"/api", b"http://["), 400),
    "absolute form with a user": (changed(b"/api", b"http://a@example.com/"), 400),
    "request line of one word": (b"GET\r\n\r\n", 400),
    "request line of two words": (changed(b" HTTP/1.1", b""), 400),
    "request line of four words": (changed(b"HTTP/1.1", b"HTTP/1.1 x"), 400),
    "two spaces in the request line": (changed(b"GET ", b"GET  "), 400),
    "space before the request line": (b" " + GOOD, 400),
    "space behind the request line": (changed(b"HTTP/1.1", b"HTTP/1.1 "), 400),
    "another protocol": (changed(b"HTTP/1.1", b"HTTPS/1.1"), 400),
    "protocol in lower case": (changed(b"HTTP/1.1", b"http/1.1"), 400),
    "HTTP/1.0": (changed(b"HTTP/1.1", b"HTTP/1.0"), 505),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "POST": (changed(b"GET", b"POST"), 405),
    "method in lower case": (changed(b"GET", b"get"), 405),
    "CONNECT": (changed(b"GET /api?token=1", b"CONNECT example.com:80"), 405),
    "space before the colon": (with_header(b"X-A : a"), 400),
    "tab before the colon": (with_header(b"X-A\t: a"), 400),
    "space before the name": (with_header(b" X-A: a"), 400),
    "folded header": (with_header(b"X-A: a\r\n b"), 400),
    "no colon": (with_header(b"X-A"), 400),
    "no name": (with_header(b": a"), 400),
    "name that is no token": (with_header(b"X(A): a"), 400),
    "name that is not ASCII": (with_header("Xé: a".encode()), 400),
    "two hosts": (with_header(b"Host: example.com:8080"), 400),
    "two keys": (with_header(b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="), 400),
    "two versions": (with_header(b"SEC-WEBSOCKET-VERSION: 13"), 400),
    "two origins": (with_header(b"Origin: http://a\r\nOrigin: http://a"), 400),
    "no host": (changed(b"Host: Example.com:8080\r\n", b""), 400),
    "empty host": (changed(b"Example.com:8080", b""), 400),
    "two hosts in one": (changed(b"Example.com:8080", b"a, b"), 400),
    "host with a path": (changed(b"Example.com:8080", b"a/b"), 400),
    "host with a user": (changed(b"Example.com:8080", b"a@b"), 400),
    "host with a port that is none": (changed(b":8080", b":http"), 400),
    "host with a port too long": (changed(b":8080", b":123456"), 400),
    "no upgrade": (changed(b"Upgrade: websocket\r\n", b""), 426),
    "upgrade to something else": (changed(b"Upgrade: websocket", b"Upgrade: h2c"), 426),
    "upgrade to something that looks like it": (changed(b"Upgrade: websocket", b"Upgrade: websocket2"), 426),
    "no connection": (changed(b"Connection: keep-alive, Upgrade\r\n", b""), 400),
    "connection that does not name upgrade": (changed(b"keep-alive, Upgrade", b"keep-alive"), 400),
    "no version": (changed(b"Sec-WebSocket-Version: 13\r\n", b""), 400),
    "version of a draft": (changed(b"Version: 13", b"Version: 8"), 426),
    "version that is no number": (changed(b"Version: 13", b"Version: x"), 426),
    "no key": (changed(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b""), 400),
    "key too short": (changed(b"dGhlIHNhbXBsZSBub25jZQ==", b"dGhlIHNhbXBsZQ=="), 400),
    "key that is no base64": (changed(b"dGhl", b"dG!l"), 400),
    "subprotocol twice": (with_header(b"Sec-WebSocket-Protocol: a, b, a"), 400),
    "subprotocol that is no token": (with_header(b"Sec-WebSocket-Protocol: a b"), 400),
    "body": (with_header(b"Content-Length: 5") + b"hello", 400),
    "body of unknown length": (with_header(b"Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
    "two lengths of a body": (with_header(b"Content-Length: 0\r\nContent-Length: 0"), 400),
    "one header too many": (with_header(b"\r\n".join(b"X-%d: a" % n for n in range(8))), 431),
    "one byte too many": (with_header(b"X-A: " + b"a" * (1024 - len(GOOD) - 6)), 431),
    "far too many bytes": (with_header(b"X-A: " + b"a" * 100_000), 431),
    "a head that does not end": (b"GET / HTTP/1.1\r\nX-A: " + b"a" * 100_000, 431),
    "a request line that does not end": (b"GET /" + b"a" * 100_000, 431),
    "fault behind the limit": (b"GET /" + b"a" * 1024 + b"\x00", 431),
    "fault before the limit": (b"GET /\x00" + b"a" * 1024, 400),
    "TLS": (bytes.fromhex("160301020001"), 400),
}


@pytest.mark.parametrize("data", ACCEPTED.values(), ids=ACCEPTED)
def test_good_request_is_accepted(data: bytes) -> None:
    assert isinstance(verdict(data), Handshake)
    assert verdict(data, range(len(data))) == verdict(data)


@pytest.mark.parametrize(("data", "status"), REFUSED.values(), ids=REFUSED)
def test_bad_request_is_refused(data: bytes, status: int) -> None:
    assert verdict(data) == status
    assert verdict(data, range(min(len(data), 2000))) == status


@pytest.mark.parametrize("length", range(len(GOOD)))
def test_incomplete_request_is_waited_for(length: int) -> None:
    assert verdict(GOOD[:length], range(length)) is None


def test_limits_may_be_off() -> None:
    data = with_header(b"\r\n".join(b"X-%d: %s" % (n, b"a" * 100) for n in range(1000)))
    assert verdict(data) == 431
    assert len(verdict(data, limit=None, max_headers=None).headers) == 1005


LINES = st.sampled_from(
    [
        *(
            b"GET / HTTP/1.1",
            b"POST / HTTP/1.1",
            b"GET /\x00 HTTP/1.1",
            b"Host: a",
            b"Host: a:80",
            b"X-A: \x85",
            b"X-A: \xc3\x85",
        ),
        *(
            b"Upgrade: websocket",
            b"Connection: upgrade",
            b"Sec-WebSocket-Version: 13",
            b"X-A : b",
            b" b",
            b"X-A: a\xe9",
        ),
        *(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", b"X-A: " + b"a" * 200, b"", b"\x00", b"\r", b"Origin: null"),
    ]
)
ENDS = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\n\r\n", b"\x85", b"\r\r\n"])
STREAMS = st.one_of(
    st.lists(st.tuples(LINES, ENDS), max_size=14).map(lambda pairs: b"".join(map(b"".join, pairs))),
    st.binary(max_size=300),
    st.tuples(st.integers(0, len(GOOD)), st.binary(max_size=3), st.integers(0, 3)).map(
        lambda drawn: GOOD[: drawn[0]] + drawn[1] + GOOD[drawn[0] + drawn[2] :]
    ),
)


@given(data=STREAMS, cuts=st.lists(st.integers(0, 400), max_size=8), limit=st.sampled_from([None, 128, 260, 1024]))
@example(data=GOOD, cuts=[1, 2, 3], limit=len(GOOD) - 1)
def test_any_bytes_in_any_slices_have_one_verdict(data: bytes, cuts: list[int], limit: int | None) -> None:
    whole = verdict(data, limit=limit)
    assert whole is None or isinstance(whole, Handshake) or whole in (400, 405, 426, 431, 505)
    assert verdict(data, [cut for cut in cuts if cut < len(data)], limit=limit) == whole
    assert verdict(data, range(len(data)), limit=limit) == whole


@given(data=STREAMS)
def test_what_is_accepted_has_no_control_characters(data: bytes) -> None:
    handshake = verdict(data)
    if isinstance(handshake, Handshake):
        for text in (handshake.target, handshake.host, *handshake.headers, *handshake.headers.values()):
            assert not re.search(r"[\x00-\x08\x0a-\x1f\x7f]", text)
        assert isinstance(handshake.cookies, dict)
        assert isinstance(handshake.protocols, list)


# What is read of it


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Zürich".encode(), "Zürich"),
        ("Zürich".encode("latin-1"), "Zürich"),
        (b"\xc3\xa9\xe9", "\xc3\xa9\xe9"),  # both in one: no UTF-8
        ("\U0001f600".encode(), "\U0001f600"),
        (b"\xed\xa0\xbd", "\xed\xa0\xbd"),  # half of a surrogate pair is no UTF-8 either
    ],
)
def test_value_is_utf_8_where_it_can_be_else_iso_8859_1(value: bytes, text: str) -> None:
    handshake = read(with_header(b"X-A: " + value))
    assert handshake.headers["x-a"] == text


def with_headers(**headers: str) -> Handshake:
    return Handshake(headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    ("header", "cookies"),
    [
        ("", {}),
        ("a=b", {"a": "b"}),
        ("a=b; c=d;e=f", {"a": "b", "c": "d", "e": "f"}),
        ("a=b=c==", {"a": "b=c=="}),
        ('a="b c"; d="', {"a": "b c", "d": '"'}),
        ("a=; =b; c; ;; d=e", {"a": "", "d": "e"}),
        ("a=first; a=second", {"a": "first"}),
        ("bad name=1; a,b=2; ok=3; \xe9=4", {"ok": "3"}),
        ("{}=1; $Version=1; a={b}", {"$Version": "1", "a": "{b}"}),
    ],
)
def test_cookies_are_read_and_what_is_none_is_left_out(header: str, cookies: dict[str, str]) -> None:
    assert with_headers(cookie=header).cookies == cookies


def test_cookies_of_several_lines_are_all_read() -> None:
    assert verdict(with_header(b"Cookie: a=b\r\nCookie: c=d")).cookies == {"a": "b", "c": "d"}


@given(st.text())
def test_no_cookie_raises(text: str) -> None:
    assert all(isinstance(value, str) for value in with_headers(cookie=text).cookies.values())


@pytest.mark.parametrize(
    ("header", "proxies", "address"),
    [
        ("203.0.113.7", 1, "203.0.113.7"),
        ("198.51.100.1, 203.0.113.7", 1, "203.0.113.7"),
        ("198.51.100.1, 203.0.113.7", 2, "198.51.100.1"),
        ("made, up, 198.51.100.1,203.0.113.7", 2, "198.51.100.1"),
        ("203.0.113.7", 0, None),
        ("203.0.113.7", 2, None),
        ("", 1, None),
        (",,", 1, None),
        ("unknown", 1, None),
        ("203.0.113.7, _hidden", 1, None),
        ("203.0.113.7, \x00\r\n", 1, None),
        ("203.0.113.7:51234", 1, "203.0.113.7"),
        ("2001:DB8::7", 1, "2001:db8::7"),
        ("[2001:db8::7]", 1, "2001:db8::7"),
        ("[2001:db8::7]:51234", 1, "2001:db8::7"),
        ("::ffff:203.0.113.7", 1, "203.0.113.7"),
        ("fe80::1%eth0", 1, None),
        ("999.1.1.1", 1, None),
        ("[", 1, None),
    ],
)
def test_address_is_what_the_outermost_trusted_proxy_saw(header: str, proxies: int, address: str | None) -> None:
    assert client_address(with_headers(x_forwarded_for=header), proxies) == address


@given(st.text(), st.integers(0, 3))
def test_no_forwarded_address_raises(text: str, proxies: int) -> None:
    client_address(with_headers(x_forwarded_for=text), proxies)
    client_scheme(with_headers(x_forwarded_proto=text), proxies)


@pytest.mark.parametrize(
    ("header", "proxies", "scheme"),
    [
        ("https", 1, "https"),
        ("HTTP", 1, "http"),
        ("wss", 1, "https"),
        ("ws", 1, "http"),
        ("https", 3, "https"),
        ("http, https", 1, "https"),
        ("https, http", 2, "https"),
        ("https, http", 3, None),
        ("https", 0, None),
        ("gopher", 1, None),
        ("", 1, None),
    ],
)
def test_scheme_is_what_the_outermost_trusted_proxy_saw(header: str, proxies: int, scheme: str | None) -> None:
    assert client_scheme(with_headers(x_forwarded_proto=header), proxies) == scheme


# The answer


def test_refusal_is_short_and_closes() -> None:
    assert refusal(403) == b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    assert refusal(426, "no such version", headers=[("Upgrade", "websocket")]) == (
        b"HTTP/1.1 426 no such version\r\nUpgrade: websocket\r\nConnection: close, Upgrade\r\nContent-Length: 0\r\n\r\n"
    )
    assert refusal(499).startswith(b"HTTP/1.1 499 Refused\r\n")


@pytest.mark.parametrize(("status", "says"), [(426, "ws:// or wss://"), (404, "no WebSocket at this path")])
def test_what_people_see_in_a_browser_says_what_this_is(status: int, says: str) -> None:
    head, _, body = refusal(status).decode().partition("\r\n\r\n")
    assert says in body
    assert f"Content-Length: {len(body)}\r\nContent-Type: text/plain; charset=utf-8" in head
    assert refusal(status, to_head=True).decode() == f"{head}\r\n\r\n"
    head, _, body = refusal(status, as_detail=True).decode().partition("\r\n\r\n")
    assert list(json.loads(body)) == ["detail"]
    assert f"Content-Length: {len(body)}\r\nContent-Type: application/json" in head


@given(st.text(max_size=1000), st.text(max_size=50))
def test_whatever_an_application_gives_as_a_reason_stays_one_line(reason: str, value: str) -> None:
    lines = refusal(403, reason, [("X-A", value)]).split(b"\r\n")
    assert len(lines) == 6
    assert all(len(line) < 300 and not re.search(rb"[^ -~]", line) for line in lines)


@pytest.mark.parametrize("status", [200, 399, 600, "403", True, None])
def test_status_of_a_refusal_is_an_error(status: Any) -> None:
    with pytest.raises(ValueError, match="status must be an integer from 400 to 599, got "):
        ConnectionRefused(status)
