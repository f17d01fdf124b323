"""What docs/ shows, run for real: the programs of each page, their tests, and the exchanges beneath them.

A block of `python` is executed, after those before it on its page; one of `py` is a fragment, or somebody else's code:
the pages that have such say below who looks at it.
A block of `text` that begins with `→` is an exchange with the page's `app`. There `…` in a reply stands for what
differs from run to run, such as a token, and in later requests for the same.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import sys
from contextlib import suppress
from importlib import import_module
from importlib.metadata import metadata
from pathlib import Path
from pkgutil import resolve_name
from types import ModuleType
from typing import Any

import pytest
from fastapi.testclient import TestClient

from aiorest_ws.app import Application
from aiorest_ws.exceptions import RouterNotDefined
from aiorest_ws.testing import AsyncTestClient
from tests.kit.pages import ROOT, TIMEOUT, blocks, output_of, serving, shortened

DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
ELSEWHERE = ("observability.md",)  # tests/test_metrics.py runs it: what it registers has to be taken back
FRAGMENTS = {
    "asgi.md": "a project's in Django: tests/asgi/test_mounted.py",
    "deploy/proxies.md": "one line, a call of `run` that ends when the server does",
    "from-fastapi.md": "FastAPI's: asked below",
    "how-to/database.md": "of an example: tests/test_todo_api.py",
}
WITH_CODE = [page for page in PAGES if page not in ELSEWHERE and "\n```python\n" in (DOCS / page).read_text("utf-8")]
WITH_TESTS = [
    page for page in WITH_CODE if re.search(r"^(async )?def test_", (DOCS / page).read_text("utf-8"), re.MULTILINE)
]
STEPS = [page for page in PAGES if re.match(r"tutorial/\d", page)]


def run(page: str) -> dict[str, Any]:
    """Execute the code of `page`; give its names. For its tests, what stands before them is `server`: another file."""
    namespace: dict[str, Any] = {"__name__": "docs"}
    server = ModuleType("server")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "server", server)
        for block in blocks("python", (DOCS / page).read_text("utf-8")):
            is_another = "from server import" in block
            own = {"__name__": "docs"} if is_another else namespace
            exec(compile(block, page, "exec", dont_inherit=True), own)
            namespace.update(own)
            vars(server).update(namespace)
    return namespace


def exchanges_of(page: str) -> list[str]:
    text = (DOCS / page).read_text("utf-8")
    found = re.findall(r"^```text\n(→.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [line for block in found for line in block.splitlines()]


async def told(app: Application, shown: list[str]) -> list[str]:
    """Send the requests that are `shown`; give them with what really comes back."""
    known: dict[str, str] = {}
    lines = []
    async with AsyncTestClient(app, timeout=TIMEOUT) as client:
        for line in shown:
            if line.startswith("→ "):
                request = line[2:]
                for short, text in known.items():
                    request = request.replace(short, text)
                await client.send(request)
                lines.append(line)
            else:
                reply = await client.receive()
                assert isinstance(reply, str)
                lines.append(shortened(f"← {reply}", line, known))
        assert not client.events()
    return lines


@pytest.mark.parametrize("page", PAGES)
def test_no_code_of_a_page_is_overlooked(page: str) -> None:
    """As one that is indented would be, or one in a tab."""
    text = (DOCS / page).read_text("utf-8")
    assert re.findall(r"^[ \t>]+```.*|^~~~.*|^=== .*", text, re.MULTILINE) == []
    fences = re.findall(r"^```(.*)$", text, re.MULTILINE)
    assert all(fences[::2])
    assert not any(fences[1::2])
    assert {fence for fence in fences if fence.lower().startswith("py") and fence not in ("py", "python")} == set()
    if "python" in fences:
        assert page in (*WITH_CODE, *ELSEWHERE)
    if "py" in fences:
        assert page in FRAGMENTS
    if "\n$ aiorest-ws " in text:  # tests/cli/test_page.py types its commands
        assert page in ("reference/command-line.md", "tutorial/half-an-hour.md")


def test_tables_have_headers() -> None:
    without = [
        page
        for page in PAGES
        for head in re.findall(r"^\|(.*)\|\n\|[-:| ]+\|$", (DOCS / page).read_text("utf-8"), re.MULTILINE)
        if not all(cell.strip() for cell in head.split("|"))
    ]
    assert without == []


def test_the_page_on_installing_has_all_extras() -> None:
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", (DOCS / "install.md").read_text("utf-8"), re.MULTILINE)
    extras = set(metadata("aiorest-ws").get_all("Provides-Extra") or ())
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} >= extras > set()


def origin(value: Any) -> tuple[str, str]:
    """Where something is written; a compiled twin is where the pure one is, which the reference names."""
    return getattr(value, "__module__", "").removesuffix("_c"), getattr(value, "__qualname__", "")


@pytest.mark.parametrize("module", ["aiorest_ws", "aiorest_ws.client", "aiorest_ws.testing"])
def test_the_reference_has_all_public_names(module: str) -> None:
    """By where they are written: the client's errors are called as the server's."""
    pages = "".join(path.read_text("utf-8") for path in (DOCS / "reference").glob("*.md"))
    listed = [resolve_name(path) for path in re.findall(r"^::: (aiorest_ws[\w.]+)$", pages, re.MULTILINE)]
    listed += [getattr(whole, name) for whole in listed if inspect.ismodule(whole) for name in whole.__all__]
    public = {name: origin(getattr(import_module(module), name)) for name in import_module(module).__all__}
    assert {name for name, where in public.items() if where not in {origin(one) for one in listed}} <= {
        "COMPILED",
        "__version__",
    }


@pytest.mark.parametrize("page", WITH_CODE)
def test_code_of_the_page_runs_and_answers_as_shown(page: str) -> None:
    namespace = run(page)
    shown = exchanges_of(page)
    if shown:
        assert asyncio.run(told(namespace["app"], shown)) == shown
    elif isinstance(namespace.get("app"), Application):
        asyncio.run(prepared(namespace["app"]))


async def prepared(app: Application) -> None:
    """Check the page's application as it is checked when it starts: the reader's first try is that."""
    with suppress(RouterNotDefined):  # fragments about options
        app.prepare()


@pytest.mark.parametrize("page", WITH_TESTS)
def test_tests_of_the_page_pass(page: str) -> None:
    tests = [value for name, value in run(page).items() if name.startswith("test_")]
    assert tests
    for test in tests:
        if inspect.iscoroutinefunction(test):
            asyncio.run(test())
        else:
            test()


def test_each_step_of_the_tutorial_is_a_program_with_its_exchanges() -> None:
    assert [page[9] for page in STEPS] == list("1234567")
    for page in STEPS:
        program = blocks("python", (DOCS / page).read_text("utf-8"))[0]
        assert program.endswith('if __name__ == "__main__":\n    app.run(port=8080)\n'), page
        assert exchanges_of(page), page


@pytest.mark.parametrize("page", ["how-to/testing.md", "tutorial/6-tokens.md", "tutorial/7-live.md"])
def test_tests_of_the_page_pass_as_a_file_of_their_own(page: str, tmp_path: Path) -> None:
    for name, block in zip(("server", "test_server"), blocks("python", (DOCS / page).read_text("utf-8")), strict=True):
        (tmp_path / f"{name}.py").write_text(block, "utf-8")
    # Those that are coroutines need a plugin.
    assert " passed" in output_of("-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not two_clients", cwd=tmp_path)


def asked(tmp_path: Path, server: str, requests: list[str]) -> list[str]:
    """Serve a program, and give what the tutorial's client prints of the replies."""
    _, client = blocks("python", (DOCS / STEPS[0]).read_text("utf-8"))
    (tmp_path / "server.py").write_text(server.replace("8080", "0"), "utf-8")
    with serving(tmp_path / "server.py") as port:
        (tmp_path / "ask.py").write_text(client.replace("8080", str(port)), "utf-8")
        return output_of(tmp_path / "ask.py", *requests).splitlines()


def test_client_of_the_tutorial_prints_the_replies(tmp_path: Path) -> None:
    server, _ = blocks("python", (DOCS / STEPS[0]).read_text("utf-8"))
    shown = exchanges_of(STEPS[0])
    told = asked(tmp_path, server, [line[2:] for line in shown if line.startswith("→")])
    assert sorted(told) == sorted(line[2:] for line in shown if line.startswith("←"))  # each comes as it is ready


def test_program_for_the_original_runs(tmp_path: Path) -> None:
    (server,) = blocks("python", (DOCS / "moving-over.md").read_text("utf-8"))
    told = asked(tmp_path, server, ['{"method":"GET","url":"/sum/total","args":{"numbers":[2,3,4]}}'])
    assert told == ['{"data":"total: 9","event_name":null}']


def test_imports_that_stay_are_there() -> None:
    page = (DOCS / "moving-over.md").read_text("utf-8")
    table = page.partition("| module | names |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (`aiorest_ws.*?) \| (.*) \|$", table, re.MULTILINE)
    assert len(rows) > 15
    for modules, names in rows:
        held = {name for module in re.findall(r"`([\w.]+)`", modules) for name in dir(import_module(module))}
        assert {name for name in re.findall(r"`(\w+)`", names) if name != "status_code"} <= held, modules


def test_code_of_fastapi_answers_what_ours_does() -> None:
    (theirs,) = blocks("py", (DOCS / "from-fastapi.md").read_text("utf-8"))
    namespace: dict[str, Any] = {"__name__": "theirs"}
    exec(compile(theirs, "from-fastapi.md", "exec", dont_inherit=True), namespace)
    client = TestClient(namespace["app"])
    reply = client.put("/items/7", json={"name": "tea", "price": 4.0})
    assert (reply.status_code, reply.json()) == (201, {"number": 7})
    assert client.get("/items/7", params={"discount": 0.25}).json() == {"name": "tea", "price": 3.0}
    assert client.get("/items/8").json() == {"detail": "no such item"}
