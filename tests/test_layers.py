"""The layers of design.md §4: a module imports its own layer or lower ones, never a higher one.

Imports inside functions count, imports under `if TYPE_CHECKING:` do not.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import aiorest_ws

ROOT = Path(aiorest_ws.__file__).parent
SOURCES = sorted(path for kind in ("*.py", "*.pyx", "*.pxd", "*.pyi") for path in ROOT.rglob(kind))

# The single source of truth, lowest first. A compiled form `X_c` has the layer of its `X`; a package stands for all of
# its modules that are not named themselves.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("calls", "collector", "gone"),
    ("annotations", "arguments", "defaults", "markers", "patience", "traps"),
    (
        *("exceptions", "status", "limits", "permissions", "abstract", "hosts", "rate", "converters", "spelling"),
        *("bodies", "misses", "loggers", "middlewares", "recoveries", "turns", "threads", "dependencies", "scopes"),
        *("values", "sieves"),
    ),
    (
        "origins",
        "handshake",
        "admissions",
        "sockets",
        "complaints",
        "proxy_protocol",
        "conf",
        "lifespan",
        "signatures",
        "guards",
        "passing",
    ),
    ("unsendable",),
    ("hooks",),
    ("_speedups.msgpack",),
    ("_speedups.codec", "_speedups.trie", "_speedups.wrappers", "_speedups.plan", "_speedups.meter"),
    ("_speedups.proof",),
    ("_speedups.envelope",),
    ("_speedups.replies", "_speedups.guards"),
    ("_speedups.pipeline",),
    ("_speedups.deflate",),
    ("_speedups.frames", "_speedups.step", "_speedups.workers"),
    ("_speedups.connection",),
    ("_speedups",),
    ("wrappers", "renderers", "templates", "typed", "binders", "checks", "models"),
    ("views", "auth"),
    ("decorators", "declarations"),
    ("routers", "urls"),
    ("compression",),
    ("opening",),
    ("secure", "proxies"),
    ("seams", "watch", "stopwatch", "listener", "access_log"),
    ("protocol",),
    ("factory",),
    ("request", "metrics"),
    ("options", "shutdown"),
    ("sources", "process", "utils"),
    ("server",),
    ("app",),
    ("testing",),
    ("",),  # aiorest_ws/__init__.py
)
ALONE = ("command_line",)  # imports nothing of ours
FROM_ROOT = {"__version__"}  # may be taken from `aiorest_ws` itself: it is bound before anything is imported

RANK = {module: rank for rank, layer in enumerate(LAYERS) for module in layer} | dict.fromkeys(ALONE, 0)


def module_of(path: Path) -> str:
    """Give a source's module, dotted, below `aiorest_ws`, without `_c`: "" is the package itself."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts).removesuffix("_c")


MODULES = {module_of(path) for path in SOURCES} | set(RANK)


def layer_of(module: str) -> str | None:
    """Find the table's entry for a module: its own, or that of the nearest package above it."""
    while module not in RANK:
        if not module:
            return None
        module = module.rpartition(".")[0]
        if not module:
            return None
    return module


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


def violations(path: Path) -> list[str]:
    module = module_of(path)
    package = module if path.stem == "__init__" else module.rpartition(".")[0]
    source = path.read_text("utf-8")
    if path.suffix in (".pyx", ".pxd"):
        imported = set(imports_of_cython(source, package))
    else:
        imported = set(imports_of_python(ast.parse(source, str(path)), package))
    layer = layer_of(module)
    if layer is None:
        return [f"{path.name}: module {module!r} is in no layer: add it to LAYERS"]
    found = []
    for other in sorted(imported - {module}):
        below = layer_of(other)
        if below is None:
            found.append(f"{path.name}: imports {other!r}, which is in no layer")
        elif layer in ALONE:
            found.append(f"{path.name}: stands alone and imports {other!r}")
        elif RANK[below] > RANK[layer]:
            found.append(f"{path.name}: {module!r} (layer {RANK[layer]}) imports {other!r} (layer {RANK[below]})")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(ROOT)) for path in SOURCES])
def test_module_imports_no_higher_layer(path: Path) -> None:
    assert violations(path) == []


def test_every_module_of_the_table_is_named_once() -> None:
    named = [module for layer in (*LAYERS, ALONE) for module in layer]
    assert len(named) == len(set(named))


@pytest.mark.parametrize(
    ("module", "source", "expected"),
    [
        ("_speedups/codec.py", "from aiorest_ws import _speedups", "imports '_speedups'"),
        ("_speedups/codec.py", "from . import pipeline", "imports '_speedups.pipeline'"),
        ("_speedups/codec.py", "from . import decode", "imports '_speedups' "),
        ("_speedups/trie_c.pyx", "from aiorest_ws._speedups.pipeline_c cimport Plan", "imports '_speedups.pipeline'"),
        ("_speedups/wrappers.py", "def f():\n    from ..wrappers import Response", "imports 'wrappers'"),
        ("views.py", "if x:\n    from .app import Application", "imports 'app'"),
        ("views.py", "import aiorest_ws.app", "imports 'app'"),
        ("views.py", "from aiorest_ws import Application", "imports ''"),
        ("command_line.py", "from . import status", "stands alone"),
        ("helpers.py", "", "is in no layer"),
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
