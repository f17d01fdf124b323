"""The rooms of docs/architecture.md: a module imports its own room or those below it, and nothing goes in circles.

Imports inside functions count, imports under `if TYPE_CHECKING:` do not. What tests share is in no test module.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import aiorest_ws
from tests.kit import pages

ROOT = Path(aiorest_ws.__file__).parent

# Lowest first. A name is a package, or a module beside them; "" is `aiorest_ws` itself.
ROOMS = (
    *("portable", "peers", "gone", "exceptions", "status"),
    "client",
    "callables",
    "routing",
    "_speedups",
    *("wrappers", "markup", "renderers"),
    "limits",
    "logs",
    "realtime",
    "idempotency",
    "dependencies",
    *("permissions", "middlewares", "abstract"),
    "http",
    "auth",
    "views",
    "handlers",
    "decorators",
    "registration",
    *("routers", "urls", "converters"),
    "schema",
    "connection",
    "metrics",
    "server",
    "console",
    "exchange",
    "workers",
    "request",
    "conf",
    "utils",
    "asgi",
    "app",
    "testing",
    "",
    "cli",
    "__main__",
)
ALONE = "command_line"  # imports nothing of ours
FROM_ROOT = {"__version__"}  # may be taken from `aiorest_ws` itself: it is bound before anything is imported


def module_of(path: Path) -> str:
    """Give a source's module, dotted, below `aiorest_ws`, without `_c`: "" is the package itself."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts).removesuffix("_c")


def sources() -> list[Path]:
    return sorted(path for kind in ("*.py", "*.pyx", "*.pxd", "*.pyi") for path in ROOT.rglob(kind))


SOURCES = sources()
MODULES = {module_of(path) for path in SOURCES} | set(ROOMS)


def resolve(base: str, names: list[str]) -> Iterator[str]:
    """Give the modules that `from base import names` imports; `base` is dotted, below `aiorest_ws`."""
    for name in names:
        module = f"{base}.{name}".lstrip(".").removesuffix("_c")
        if module in MODULES:
            yield module
        elif base or name not in FROM_ROOT:
            yield base.removesuffix("_c")


def below_root(name: str) -> str | None:
    """Strip `aiorest_ws`; None for somebody else's module."""
    head, _, rest = name.partition(".")
    return rest if head == "aiorest_ws" else None


def absolute(package: str, level: int, name: str) -> str | None:
    """Resolve the `from` part of an import in a module of `package`; None for somebody else's module."""
    if level == 0:
        return below_root(name)
    parts = package.split(".") if package else []
    return ".".join([*parts[: len(parts) - level + 1], *([name] if name else [])])


def is_type_checking(test: ast.expr) -> bool:
    return "TYPE_CHECKING" in (getattr(test, "id", None), getattr(test, "attr", None))


def imports_of_python(tree: ast.AST, package: str) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and is_type_checking(node.test):
            for branch in node.orelse:
                yield from imports_of_python(ast.Module([branch], []), package)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                module = below_root(alias.name)
                if module is not None:
                    yield module.removesuffix("_c")
        elif isinstance(node, ast.ImportFrom):
            base = absolute(package, node.level, node.module or "")
            if base is not None:
                yield from resolve(base, [alias.name for alias in node.names])
        else:
            yield from imports_of_python(node, package)


CYTHON_FROM = re.compile(r"^[ \t]*from[ \t]+(\.*)([\w.]*)[ \t]+c?import[ \t]+(\([^)]*\)|[^\n]*)", re.MULTILINE)
CYTHON_IMPORT = re.compile(r"^[ \t]*c?import[ \t]+([\w.]+)", re.MULTILINE)


def imports_of_cython(source: str, package: str) -> Iterator[str]:
    for dots, name, imported in CYTHON_FROM.findall(source):
        base = absolute(package, len(dots), name)
        if base is not None:
            names = re.sub(r"#.*|[()]", "", imported).split(",")
            yield from resolve(base, [name.split()[0] for name in names if name.strip()])
    for name in CYTHON_IMPORT.findall(source):
        module = below_root(name)
        if module is not None:
            yield module.removesuffix("_c")


@cache
def imports_of(path: Path) -> set[str]:
    """Give the modules that a source imports, dotted, below `aiorest_ws`, without `_c`."""
    module = module_of(path)
    package = module if path.stem == "__init__" else module.rpartition(".")[0]
    source = path.read_text("utf-8")
    if path.suffix in (".pyx", ".pxd"):
        imported = set(imports_of_cython(source, package))
    else:
        imported = set(imports_of_python(ast.parse(source, str(path)), package))
    return imported - {module}


def violations(path: Path) -> list[str]:
    room = module_of(path).partition(".")[0]
    if room != ALONE and room not in ROOMS:
        return [f"{path.name}: {room!r} is no room: add it to ROOMS"]
    found = []
    for other in sorted(imports_of(path)):
        below = other.partition(".")[0]
        if room == ALONE:
            found.append(f"{path.name}: stands alone and imports {other!r}")
        elif below == ALONE:
            continue
        elif below not in ROOMS:
            found.append(f"{path.name}: imports {other!r}, which is in no room")
        elif ROOMS.index(below) > ROOMS.index(room):
            found.append(f"{path.name}: {room!r} imports {other!r}, which is above it")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(ROOT)) for path in SOURCES])
def test_module_imports_its_room_or_those_below(path: Path) -> None:
    assert violations(path) == []


def test_no_imports_go_in_circles() -> None:
    graph: dict[str, set[str]] = {}
    for path in SOURCES:
        graph.setdefault(module_of(path), set()).update(imports_of(path))
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as exc:
        pytest.fail(" → ".join(exc.args[1]))


def test_every_room_is_there_and_is_named_once() -> None:
    assert len(ROOMS) == len(set(ROOMS))
    assert {module_of(path).partition(".")[0] for path in SOURCES} == {*ROOMS, ALONE}


@pytest.mark.parametrize(
    ("module", "source", "expected"),
    [
        ("_speedups/codec.py", "from aiorest_ws import handlers", "imports 'handlers'"),
        ("_speedups/codec.py", "from ..server.factory import X", "imports 'server.factory'"),
        ("_speedups/trie_c.pyx", "from aiorest_ws.handlers.plans cimport Plan", "imports 'handlers.plans'"),
        ("_speedups/wrappers.py", "def f():\n    from ..wrappers import Response", "imports 'wrappers'"),
        ("views.py", "if x:\n    from .app import Application", "imports 'app'"),
        ("views.py", "import aiorest_ws.app", "imports 'app'"),
        ("views.py", "from aiorest_ws import Application", "imports ''"),
        ("command_line.py", "from . import status", "stands alone"),
        ("helpers.py", "", "is no room"),
        ("views.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .app import Application", None),
        ("auth/token.py", "from .user import User\nfrom ..exceptions import BaseAPIException", None),
        ("app.py", "from . import __version__\nfrom .request import RequestHandlerFactory", None),
        ("_speedups/pipeline_c.pxd", "from aiorest_ws._speedups.wrappers_c cimport Request as _Request", None),
    ],
)
def test_the_walker_sees_what_it_should(
    module: str, source: str, expected: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / module
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source, "utf-8")
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    found = violations(path)
    if expected is None:
        assert found == []
    else:
        assert len(found) == 1
        assert expected in found[0]


# The tests


STATEMENT = re.compile(r"^[ \t]*(?:from|import)[ \t](?:[^(\n]*\([^)]*\)|[^\n]*)", re.MULTILINE)


def imports_of_tests(source: str) -> list[str]:
    """Give the statements that import what only pytest should: a test module, or a conftest.py."""
    return [line for line in STATEMENT.findall(source) if re.search(r"\b(test_\w+|conftest)\b", line)]


def test_what_tests_share_is_in_the_kit() -> None:
    """In tests/kit/, or in a module beside it: whoever takes one helper need not read a file of tests for it."""
    paths = [path for name in ("tests", "bench", "fuzz", "hold", "soak") for path in (pages.ROOT / name).rglob("*.py")]
    assert Path(__file__) in paths
    found = [(str(path), line) for path in paths for line in imports_of_tests(path.read_text("utf-8"))]
    assert found == []


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ("from tests.test_leaks import check", True),
        ("from tests import test_leaks", True),
        ("from tests import (\n    kit,\n    test_leaks,\n)", True),
        ("import tests.conftest as kit", True),
        ("def f():\n    from .conftest import impl", True),
        ("from tests.kit.leaks import check", False),
        ("from aiorest_ws.testing import TestClient\ntest_client = TestClient", False),
        ("import pytest_aiorest_ws", False),
    ],
)
def test_an_import_of_a_test_is_seen(source: str, seen: bool) -> None:
    assert bool(imports_of_tests(source)) is seen
