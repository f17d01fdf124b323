"""`MODULE:ATTRIBUTE` → an application; or what was asked, why it is not to be had, and what was meant."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from importlib import import_module
from importlib.machinery import all_suffixes
from importlib.util import find_spec
from inspect import iscoroutinefunction, signature
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from aiorest_ws.abstract import AbstractRouter
from aiorest_ws.app import Application
from aiorest_ws.callables.spelling import meant
from aiorest_ws.cli.failures import USAGE, Failure
from aiorest_ws.cli.parser import Parser
from aiorest_ws.cli.tracebacks import print_traceback
from aiorest_ws.server.calling import Serves, only_loading

__all__ = ("add_target", "load")

_SHAPE = "expected MODULE:ATTRIBUTE, such as main:app"


def add_target(parser: Parser) -> None:
    """Add what `load` takes."""
    what = "an Application, or a function that makes one: main:app, package.module:make_app"
    parser.add_argument("target", metavar="MODULE:ATTRIBUTE", help=what)
    parser.add_argument(
        "--app-dir", metavar="DIR", default="", help="where modules are looked for first (the current directory)"
    )


def load(target: str, directory: str = "") -> Application:
    """Import and give the application. Raises Failure; of the program's own errors their traceback is printed before.

    directory    goes first on the path; "" is the current one
    """
    module_name, attribute = _parted(target)
    folder = Path(directory or os.getcwd()).absolute()
    if not folder.is_dir():
        raise Failure(f"--app-dir: no directory {directory!r}", USAGE)
    sys.path.insert(0, str(folder))
    module = _imported(module_name, target, folder)
    found: Any = module
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise Failure(f"{_title(module)} has no {attribute!r}{_cure(module, name, folder)}")
        found = getattr(found, name)
    application = _made(found, target, module)
    if application._configured is not None:
        raise Failure(
            f"{target} has served while {module_name} was imported: put its run() behind "
            'if __name__ == "__main__": the command serves it'
        )
    return application


def _parted(target: str) -> tuple[str, str]:
    """Give module and attribute, or say how they are written."""
    module, colon, attribute = target.partition(":")
    if attribute.endswith("()"):
        raise Failure(f"{_SHAPE}, got {target!r}: a function is called by itself, say {target[:-2]}", USAGE)
    written = module.removesuffix(".py").replace("\\", "/").removeprefix("./").strip("/").replace("/", ".")
    if module and (not colon or not attribute or written != module):
        near = f", did you mean {written}:{attribute or 'app'}?" if _are_names(written) else ""
        raise Failure(f"{_SHAPE}, got {target!r}{near}", USAGE)
    if not _are_names(module) or not _are_names(attribute):
        raise Failure(f"{_SHAPE}, got {target!r}", USAGE)
    return module, attribute


def _are_names(dotted: str) -> bool:
    return all(name.isidentifier() for name in dotted.split("."))


# Modules


def _imported(name: str, target: str, folder: Path) -> ModuleType:
    """Import a module, package by package: so it is known whether it is not there, or whether it fails."""
    parts = name.split(".")
    for depth in range(1, len(parts) + 1):
        part = ".".join(parts[:depth])
        if depth > 1 and not hasattr(sys.modules[".".join(parts[: depth - 1])], "__path__"):
            inner = ".".join(parts[: depth - 1])
            raise Failure(f"no module {name!r} for {target!r}: {inner} is a module, not a package")
        try:
            is_there = part in sys.modules or find_spec(part) is not None
        except (ImportError, ValueError):
            is_there = False
        if not is_there:
            raise Failure(f"no module {part!r} for {target!r}{_near_module(part, folder)}")
        _import(part, target)
    return sys.modules[name]


def _import(name: str, target: str) -> None:
    try:
        with only_loading():
            import_module(name)
    except Serves as exc:
        raise Failure(
            f"{exc} while it is imported for {target!r}, and would serve for ever: put that behind "
            'if __name__ == "__main__":, where `python` calls it and no command does'
        ) from None
    except SystemExit as exc:
        raise Failure(
            f"module {name!r} ended the program while it was imported for {target!r}: exit({exc.code!r})"
        ) from exc
    except Exception as exc:  # of the program, which is told where it stands
        said = print_traceback(exc, __file__)
        raise Failure(f"module {name!r} fails, asked for as {target!r}: {said}") from exc


def _near_module(name: str, folder: Path) -> str:
    """Say which module was meant, or where it was looked for."""
    package, _, last = name.rpartition(".")
    places = list(sys.modules[package].__path__) if package else [str(folder)]
    near = meant(last, sorted(_modules_in(places)))
    if near is not None:
        return f", did you mean {f'{package}.{near}' if package else near!s}?"
    if not package:
        around = sorted(path.parent.name for path in folder.glob(f"*/{last}.py") if path.parent.name.isidentifier())
        if around:
            return f" in {folder}, did you mean {around[0]}.{last}?"
        if folder.name == last:
            return f" in {folder}, which is that folder itself: leave {last!r} out, or say --app-dir .."
    return f" in {places[0]}" if places else ""


def _modules_in(places: Iterable[str]) -> set[str]:
    names = set()
    for place in places:
        for path in Path(place).glob("*"):
            name = path.name.partition(".")[0]
            is_module = path.name.endswith(tuple(all_suffixes())) or (path.is_dir() and any(path.glob("*.py")))
            if is_module and name.isidentifier() and not name.startswith("_"):
                names.add(name)
    return names


def _title(module: ModuleType) -> str:
    return f"module {module.__name__!r} ({getattr(module, '__file__', None) or 'no file'})"


# Attributes


def _cure(module: ModuleType, name: str, folder: Path) -> str:
    """Say which attribute of `module` was meant; or that it is another module than who asks thinks."""
    hidden = folder / f"{module.__name__.partition('.')[0]}.py"
    if hidden.exists() and not _is_file(module, hidden) and "." not in module.__name__:
        return f": it hides {hidden}, whose name is taken: give that file another one"
    fitting = [known for known, value in vars(module).items() if isinstance(value, Application)]
    near = meant(name, fitting) or meant(name, [known for known, value in vars(module).items() if callable(value)])
    if near is not None:
        return f", did you mean {near!r}?"
    if fitting:
        return f", it has {' and '.join(map(repr, fitting))}"
    inside = sorted(each.name for each in iter_modules(getattr(module, "__path__", ())))
    return (
        f": it is a package, name a module of it: {', '.join(inside[:9])}" if inside else ", and no application at all"
    )


def _is_file(module: ModuleType, path: Path) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and Path(file).exists() and path.samefile(file)


def _made(found: Any, target: str, module: ModuleType) -> Application:
    """Give the application that `found` is or makes."""
    if isinstance(found, Application):
        return found
    if isinstance(found, AbstractRouter):
        raise Failure(f"{target} is a router, expected an application: Application({target.partition(':')[2]})")
    near = _near_application(target, module)
    if found is Application or isinstance(found, ModuleType) or not callable(found):
        kind = "the class Application itself" if found is Application else f"a {type(found).__qualname__}"
        raise Failure(f"{target} is {kind}, expected an application, or a function that makes one{near}")
    made = _called(found, target, near)
    if not isinstance(made, Application):
        raise Failure(
            f"{target} gave a {type(made).__qualname__}, expected an application: does it return it{near or '?'}"
        )
    return made


def _near_application(target: str, module: ModuleType) -> str:
    """Say which application of `module` was meant, if it has one."""
    fitting = [known for known, value in vars(module).items() if isinstance(value, Application)]
    name = meant(target.partition(":")[2], fitting) or next(iter(fitting), None)
    return "" if name is None else f", did you mean {module.__name__}:{name}?"


def _called(function: Any, target: str, near: str) -> Any:
    if iscoroutinefunction(function) or iscoroutinefunction(type(function).__call__):
        raise Failure(f"{target} is async, expected a plain function: what waits belongs in the lifespan{near}")
    try:
        signature(function).bind()
    except TypeError as exc:
        raise Failure(f"{target} is called without arguments, and it does not take that: {exc}{near}") from None
    except ValueError:
        pass  # of C, it does not say what it takes
    try:
        with only_loading():
            return function()
    except Serves as exc:
        raise Failure(
            f"{exc} where {target} is to give an application, and would serve for ever: return the application{near}"
        ) from None
    except SystemExit as exc:
        raise Failure(f"{target} ended the program: exit({exc.code!r})") from exc
    except Exception as exc:  # of the program, which is told where it stands
        raise Failure(f"{target} fails: {print_traceback(exc, __file__)}") from exc
