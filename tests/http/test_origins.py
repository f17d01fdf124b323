"""Which pages may connect."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorest_ws.http.origins import Origins, check_origins


@pytest.mark.parametrize(
    ("origin", "host", "port", "scheme", "allowed"),
    [
        ("http://example.com", "example.com", None, None, True),
        ("https://example.com", "example.com", None, None, True),
        ("HTTPS://Example.COM", "example.com", None, None, True),
        ("http://example.com:80", "example.com", None, None, True),
        ("http://example.com", "example.com", 80, None, True),
        ("https://example.com", "example.com", 443, None, True),
        ("https://example.com", "example.com", 80, None, False),
        ("http://example.com:8080", "example.com", 8080, None, True),
        ("http://example.com:8080", "example.com", 8081, None, False),
        ("http://example.com:8080", "example.com", None, None, False),
        ("http://example.com", "example.com", 8080, None, False),
        ("http://[::1]:8080", "[::1]", 8080, None, True),
        ("http://127.0.0.1:8080", "localhost", 8080, None, False),
        ("http://evil.com", "example.com", None, None, False),
        ("http://example.com.evil.com", "example.com", None, None, False),
        ("http://www.example.com", "example.com", None, None, False),
        ("https://example.com", "example.com", None, "https", True),
        ("http://example.com", "example.com", None, "https", False),
        ("https://example.com", "example.com", None, "http", False),
        ("https://example.com:8443", "example.com", 8443, "https", True),
        ("chrome-extension://example.com", "example.com", None, None, False),
        ("null", "null", None, None, False),
        ("file://", "example.com", None, None, False),
        ("", "example.com", None, None, False),
        ("example.com", "example.com", None, None, False),
        ("http://example.com/", "example.com", None, None, False),
        ("http://user@example.com", "example.com", None, None, False),
        ("http://example.com http://evil.com", "example.com", None, None, False),
        ("http://example.com:", "example.com", None, None, False),
        ("http://", "example.com", None, None, False),
    ],
)
def test_by_default_the_servers_own_pages_may_connect(
    origin: str, host: str, port: int | None, scheme: str | None, allowed: bool
) -> None:
    assert Origins().allow(origin, host, port, scheme) is allowed


@pytest.mark.parametrize(
    ("allowed", "origin", "expected"),
    [
        (["*"], "https://any.where:1", True),
        (["*"], "null", True),
        (["*"], "no origin at all", True),
        ([], "http://server", False),
        (["https://a.com"], "https://a.com", True),
        (["https://a.com"], "https://a.com:443", True),
        (["https://A.com:443"], "https://a.com", True),
        (["https://a.com"], "https://a.com:8443", False),
        (["https://a.com"], "http://a.com", False),
        (["https://a.com"], "https://b.a.com", False),
        (["https://a.com"], "http://server", False),
        (["https://a.com", "https://b.com:1"], "https://b.com:1", True),
        (["https://*.a.com"], "https://b.a.com", True),
        (["https://*.a.com"], "https://c.b.a.com", True),
        (["https://*.a.com"], "https://a.com", False),
        (["https://*.a.com"], "https://ba.com", False),
        (["https://*.a.com"], "https://b.a.com:8443", False),
        (["https://*.a.com:8443"], "https://b.a.com:8443", True),
        (["https://*.a.com"], "http://b.a.com", False),
        (["https://*.a.com"], "https://b.a.com.evil.com", False),
        (["https://*.a.com"], "https://evil.com/.a.com", False),
        (["null"], "null", True),
        (["null"], "file://", False),
        (["file://"], "file://", True),
        (["app://main"], "app://main", True),
    ],
)
def test_list_says_whose_pages_may_connect(allowed: list[str], origin: str, expected: bool) -> None:
    assert Origins(allowed).allow(origin, "server") is expected


@pytest.mark.parametrize("allowed", [None, ["https://a.com"]])
@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("null", True),
        ("file://", True),
        ("http://localhost:3000", True),
        ("https://app.localhost", True),
        ("http://127.1.2.3:1", True),
        ("http://[::1]:1", True),
        ("http://192.168.0.1", False),
        ("http://localhost.evil.com", False),
        ("http://127.0.0.1.evil.com", False),
        ("http://evil.com", False),
    ],
)
def test_debug_lets_pages_of_this_machine_in(allowed: list[str] | None, origin: str, expected: bool) -> None:
    assert Origins(allowed, debug=True).allow(origin, "server") is expected
    assert Origins(allowed).allow(origin, "server") is False


@given(st.text(), st.booleans())
def test_no_origin_raises(text: str, debug: bool) -> None:
    for allowed in (None, ["https://*.a.com"]):
        assert Origins(allowed, debug=debug).allow(text, "server", 80) in (True, False)


@pytest.mark.parametrize("value", [None, [], ["*"], ("null", "file://"), {"https://a.com:1"}, ["https://*.a.com"]])
def test_option_takes_origins(value: Any) -> None:
    check_origins("allowed_origins", value)


@pytest.mark.parametrize("value", ["*", "https://a.com", 5, [5], [None], {"https://a.com": 1}])
def test_option_that_is_no_list_of_strings_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="allowed_origins must be None or a list of origins, got "):
        check_origins("allowed_origins", value)


@pytest.mark.parametrize("text", ["a.com", "https://", "https://a.com/", "https://*", "https://a.*.com", "", "*.a.com"])
def test_option_with_what_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="allowed_origins must be of the form scheme://host or "):
        check_origins("allowed_origins", [text])
