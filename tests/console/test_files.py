"""What the console's pages are made of: small, whole, of this server alone, and built of the sources beside them."""

from __future__ import annotations

import gzip
import hashlib
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from aiorest_ws import console
from aiorest_ws.console import console_files, is_wanted
from tests.kit.pages import ROOT

MOST = 60_000  # bytes, gzipped, of the whole console
FILES = console_files("/")
CONSOLE = [path for path in FILES if path.startswith("/console")]
PAGES = ["/console", "/docs"]


class Tags(HTMLParser):
    """The elements of a page, and what is written between the tags of a script or a style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.inline = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1][0] in ("script", "style"):
            self.inline += data.strip()


def tags_of(path: str) -> Tags:
    return Tags(FILES[path].make().decode())


def test_the_console_is_small() -> None:
    assert sum(len(gzip.compress(FILES[path].make())) for path in CONSOLE) <= MOST


@pytest.mark.parametrize("path", PAGES)
def test_nothing_runs_that_is_written_into_a_page(path: str) -> None:
    tags = tags_of(path)
    assert tags.inline == ""
    for tag, attributes in tags.found:
        assert tag != "style"
        assert not [name for name in attributes if name.startswith("on") or name == "style"]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_asks_only_for_what_is_served_beside_it(path: str) -> None:
    given = {name.lstrip("/") for name in FILES if name.startswith(f"{path}/") and not name.endswith("/")}
    asked = {attrs.get("src") or attrs.get("href") for tag, attrs in tags_of(path).found if tag in ("script", "link")}
    assert asked == given | {"data:,"}


@pytest.mark.parametrize("path", PAGES)
def test_the_policy_of_a_page_takes_nothing_from_elsewhere(path: str) -> None:
    headers = dict(FILES[path].headers)
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert not re.search(r"https?:|\*|unsafe-eval", headers["Content-Security-Policy"])


def test_no_file_of_the_console_names_another_server() -> None:
    for path in CONSOLE:
        assert re.findall(r"https?://[^\s\"'`]*", FILES[path].make().decode()) == []


@pytest.mark.parametrize(
    ("served", "prefix", "expected"),
    [
        ("/", "", "./"),
        ("/ws", "", "./ws"),
        ("/ws", "/api", "./../ws"),
        ("/", "/api/v1", "./../../"),
        ('/"><script>', "", './"><script>'),
    ],
)
def test_the_page_is_told_where_websockets_are_taken(served: str, prefix: str, expected: str) -> None:
    tags = Tags(console_files(served, prefix)["/console"].make().decode())
    (told,) = [attrs["content"] for tag, attrs in tags.found if tag == "meta" and attrs.get("name") == "path"]
    assert told == expected
    assert [tag for tag, _ in tags.found].count("script") == 1


def test_the_script_is_built_of_the_sources_beside_it() -> None:
    """`make test-browser` builds it anew, and compares all of it."""
    head, _, _ = FILES["/console/console.js"].make().partition(b"\n")
    told = re.fullmatch(r"/\* ([0-9a-f]{64}) of (.+) \*/", head.decode())
    assert told is not None
    digest = hashlib.sha256()
    for name in told[2].split():
        digest.update((ROOT / "clients" / "console" / name).resolve().read_bytes())
    assert digest.hexdigest() == told[1], "clients/ has changed since: run `make console`, and commit what it makes"


def test_swagger_ui_that_is_not_installed_is_one_line_that_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "find_spec", lambda name: None)
    files = console_files("/")
    assert [path for path in files if path.startswith("/docs")] == ["/docs"]
    text = files["/docs"].make().decode()
    assert "pip install 'aiorest-ws[docs]>=2'" in text
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"console": None, "debug": False}, False),
        ({"console": None, "debug": True}, True),
        ({"console": True, "debug": False}, True),
        ({"console": False, "debug": True}, False),
    ],
)
def test_pages_are_shown_where_it_is_said_or_debugged(options: dict[str, Any], expected: bool) -> None:
    assert is_wanted(options) is expected
