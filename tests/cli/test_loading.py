"""MODULE:ATTRIBUTE: what is served, and what is said where nothing can be."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

import aiorest_ws
from aiorest_ws.app import Application
from aiorest_ws.cli.failures import Failure
from aiorest_ws.cli.loading import load
from aiorest_ws.cli.tracebacks import print_traceback
from aiorest_ws.exceptions import InvalidPathArgument
from aiorest_ws.routers import SimpleRouter
from aiorest_ws.server.calling import check_may_serve
from tests.kit.cli import Cli

PROGRAM = """
from aiorest_ws import Application, SimpleRouter
router = SimpleRouter()
application = Application(router)
"""


def refused(cli: Cli, target: str, code: int = 1) -> str:
    """Give what `routes` says instead of routes."""
    said = cli("routes", target)
    assert (said.code, said.out) == (code, "")
    *before, last = said.err.splitlines()
    assert last.startswith("aiorest-ws: ")
    assert not before
    return last.removeprefix("aiorest-ws: ")


@pytest.mark.parametrize(
    "source",
    [
        f"{PROGRAM}app = application",
        f"{PROGRAM}def app(): return application",
        f"{PROGRAM}def app(debug=False, *more, **others): return Application(router)",
        f"{PROGRAM}class Own(Application): pass\napp = lambda: Own(router)",
        f"{PROGRAM}class app(Application):\n    def __init__(self): super().__init__(router)",
    ],
)
def test_an_application_or_what_makes_one(source: str, cli: Cli) -> None:
    assert isinstance(load(f"{cli.write(source)}:app"), Application)


def test_attributes_of_attributes_and_modules_of_packages(cli: Cli) -> None:
    cli.write("", "package_of_it.__init__")
    cli.write(f"{PROGRAM}class Holder:\n    app = application", "package_of_it.inner.server")
    assert isinstance(load("package_of_it.inner.server:Holder.app"), Application)


def test_the_current_directory_is_on_the_path_and_another_may_be(cli: Cli) -> None:
    name = cli.write(PROGRAM, "elsewhere/module_of_elsewhere")
    assert refused(cli, "module_of_elsewhere:application").startswith("no module 'module_of_elsewhere' for ")
    assert cli("routes", "--app-dir", "elsewhere", "module_of_elsewhere:application").code == 0
    assert str(cli.folder / "elsewhere") in sys.path
    assert name
    assert cli("routes", "--app-dir", "nowhere", "m:a") == (2, "", "aiorest-ws: --app-dir: no directory 'nowhere'\n")


@pytest.mark.parametrize(
    ("target", "near"),
    [
        ("app", ", did you mean app:app?"),
        ("app:", ", did you mean app:app?"),
        ("main.py", ", did you mean main:app?"),
        ("./src/main.py:server", ", did you mean src.main:server?"),
        ("src/main:server", ", did you mean src.main:server?"),
        ("src\\main.py:server", ", did you mean src.main:server?"),
        (":app", ""),
        ("", ""),
        ("a b:app", ""),
        ("main:app:more", ""),
        ("main::app", ""),
        (".main:app", ""),
        ("main:create_app()", ": a function is called by itself, say main:create_app"),
    ],
)
def test_what_is_no_target_says_how_it_is_written(target: str, near: str, cli: Cli) -> None:
    said = refused(cli, target, code=2)
    assert said == f"expected MODULE:ATTRIBUTE, such as main:app, got {target!r}{near}"


def test_a_module_that_is_not_there(cli: Cli) -> None:
    cli.write(PROGRAM, "orders")
    cli.write(PROGRAM, "package_of_misses.server")
    assert refused(cli, "oders:application") == "no module 'oders' for 'oders:application', did you mean orders?"
    assert refused(cli, "quite_another:app") == f"no module 'quite_another' for 'quite_another:app' in {cli.folder}"
    target = "package_of_misses.sever:application"
    said = f"no module 'package_of_misses.sever' for {target!r}, did you mean package_of_misses.server?"
    assert refused(cli, target) == said
    target = "orders.app:application"
    assert refused(cli, target) == f"no module 'orders.app' for {target!r}: orders is a module, not a package"


def test_a_module_of_the_folder_below(cli: Cli) -> None:
    """fastapi#3967: the command in the folder above the program's, or in that of its package."""
    cli.write(PROGRAM, "inside_of_it.program_below")
    target = "program_below:application"
    said = f"no module 'program_below' for {target!r} in {cli.folder}, did you mean inside_of_it.program_below?"
    assert refused(cli, target) == said


def test_a_module_of_the_folder_where_one_is(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.write(PROGRAM, "folder_of_it.program_there")
    inner = cli.folder / "folder_of_it"
    monkeypatch.chdir(inner)
    assert refused(cli, "folder_of_it.program_there:application") == (
        f"no module 'folder_of_it' for 'folder_of_it.program_there:application' in {inner}, which is that folder "
        "itself: leave 'folder_of_it' out, or say --app-dir .."
    )


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("import no_such_library_at_all", "ModuleNotFoundError: No module named 'no_such_library_at_all'"),
        ("from {name} import missing", "ImportError: cannot import name 'missing' from "),
        ("x = 1\nx.y", "AttributeError: 'int' object has no attribute 'y'"),
        ("raise ValueError('first\\nsecond')", "ValueError: first"),
        ("raise LookupError", "LookupError"),
        ("def broken(:", "SyntaxError: invalid syntax"),
    ],
)
def test_a_module_that_fails_shows_its_traceback_and_what_was_asked(source: str, line: str, cli: Cli) -> None:
    """Where others say that the module could not be imported: flask#2625, flask#2214, uvicorn#2035."""
    name = cli.write("")
    cli.write(source.replace("{name}", name), name)
    said = cli("routes", f"{name}:app")
    assert (said.code, said.out) == (1, "")
    *traceback, last = said.err.splitlines()
    assert last.startswith(f"aiorest-ws: module '{name}' fails, asked for as '{name}:app': {line}")
    assert sum("File" in shown for shown in traceback) == 1  # nothing of ours, nothing of importlib
    assert f"{name}.py" in "\n".join(traceback)


def test_a_chain_of_errors_is_shown_whole(cli: Cli) -> None:
    name = cli.write("try:\n    {}['a']\nexcept KeyError as exc:\n    raise RuntimeError('no a') from exc")
    said = cli("routes", f"{name}:app")
    assert "KeyError: 'a'" in said.err
    assert "direct cause" in said.err
    assert said.err.endswith("RuntimeError: no a\n")


def test_a_module_or_a_function_that_ends_the_program(cli: Cli) -> None:
    name = cli.write("import sys\nsys.exit(3)")
    target = f"{name}:app"
    assert refused(cli, target) == f"module '{name}' ended the program while it was imported for {target!r}: exit(3)"
    name = cli.write("def app(): raise SystemExit('no')")
    assert refused(cli, f"{name}:app") == f"{name}:app ended the program: exit('no')"


def test_an_attribute_that_is_not_there(cli: Cli) -> None:
    name = cli.write(f"{PROGRAM}def make_it(): return application")
    title = f"module '{name}' ({cli.folder / name}.py) has no "
    assert refused(cli, f"{name}:aplication") == f"{title}'aplication', did you mean 'application'?"
    assert refused(cli, f"{name}:makeit") == f"{title}'makeit', did you mean 'make_it'?"
    assert refused(cli, f"{name}:server") == f"{title}'server', it has 'application'"
    name = cli.write("")
    assert refused(cli, f"{name}:app").endswith("has no 'app', and no application at all")


def test_a_file_whose_name_is_taken_is_named(cli: Cli) -> None:
    """flask-sqlalchemy#507: an application in site.py is not found."""
    cli.write(PROGRAM, "token")
    said = refused(cli, "token:application")
    assert said.endswith(f": it hides {cli.folder / 'token.py'}, whose name is taken: give that file another one")


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("app = router", "is a router, expected an application: Application(app)"),
        (
            "app = 3",
            "is a int, expected an application, or a function that makes one, did you mean {name}:application?",
        ),
        ("import json as app", "is a module, expected an application, or a function that makes one, did you mean"),
        (
            "app = Application",
            "is the class Application itself, expected an application, or a function that makes one, ",
        ),
        ("def app(): pass", "gave a NoneType, expected an application: does it return it"),
        ("async def app(): pass", "is async, expected a plain function: what waits belongs in the lifespan"),
        (
            "def app(settings): pass",
            "is called without arguments, and it does not take that: missing a required argument",
        ),
    ],
)
def test_an_attribute_that_is_no_application(source: str, line: str, cli: Cli) -> None:
    name = cli.write(PROGRAM + source)
    assert refused(cli, f"{name}:app").startswith(f"{name}:app {line.format(name=name)}")


@pytest.mark.parametrize("source", ["def show(request): ...", "async def show(request): ...", "def show(): ..."])
def test_a_handler_is_no_application_and_the_one_beside_it_is_named(source: str, cli: Cli) -> None:
    name = cli.write(PROGRAM + source)
    assert refused(cli, f"{name}:show").endswith(f", did you mean {name}:application?")


def test_a_function_that_raises_shows_where(cli: Cli) -> None:
    name = cli.write("def app():\n    return [][1]")
    said = cli("routes", f"{name}:app")
    assert said.code == 1
    assert "line 2, in app" in said.err
    assert said.err.count("File") == 1
    assert said.err.endswith(f"aiorest-ws: {name}:app fails: IndexError: list index out of range\n")


def test_a_type_error_inside_of_a_function_is_not_taken_for_its_arguments(cli: Cli) -> None:
    name = cli.write("def app():\n    return len(3)")
    assert cli("routes", f"{name}:app").err.endswith("fails: TypeError: object of type 'int' has no len()\n")


def test_an_application_that_has_served_while_it_was_imported(cli: Cli) -> None:
    name = cli.write(f"{PROGRAM}application._take({{}})  # as run() does\n")
    with pytest.raises(Failure, match=r"has served while .* was imported: put its run\(\) behind if __name__"):
        load(f"{name}:application")


def test_a_package_without_one_says_what_is_in_it(cli: Cli) -> None:
    folder = cli.folder / "shop_of_modules"
    folder.mkdir()
    for name, source in (("__init__", ""), ("server", PROGRAM), ("client", "")):
        (folder / f"{name}.py").write_text(source)
    said = refused(cli, "shop_of_modules:app")
    assert said.endswith("has no 'app': it is a package, name a module of it: client, server")


# What would serve


@pytest.mark.parametrize(
    ("serving", "call"),
    [
        ("application.run(port=0)", "run()"),
        ("import asyncio; asyncio.run(application.serve(port=0))", "serve()"),
        ("def main():\n    application.run(port=0)\nmain()", "run()"),
        ("class Own(Application):\n    def run(self): super().run(port=0)\nOwn(router).run()", "run()"),
        ("try:\n    application.run(port=0)\nexcept Exception: pass", "run()"),
    ],
)
@pytest.mark.parametrize("command", ["routes", "schema", "run"])
def test_a_program_that_serves_by_itself_is_told_where(command: str, serving: str, call: str, cli: Cli) -> None:
    source = f"{PROGRAM}{serving}\n"
    line = next(number for number, text in enumerate(source.splitlines(), 1) if call.strip("()") + "(port" in text)
    name = cli.write(source)
    said = cli(command, f"{name}:application")
    assert (said.code, said.out) == (1, "")
    assert said.err == (
        f"aiorest-ws: {cli.folder / name}.py, line {line}, calls {call} while it is imported for "
        f"'{name}:application', and would serve for ever: put that behind if __name__ == \"__main__\":, "
        "where `python` calls it and no command does\n"
    )


@pytest.mark.parametrize(
    "serving",
    [
        "import uvicorn; uvicorn.run(application.asgi(), port=0, log_config=None)",
        "import uvicorn; uvicorn.run(application.asgi(), port=0, log_config=None, loop='asyncio')",
        "import asyncio, uvicorn as u; asyncio.run(u.Server(u.Config(application.asgi(), log_config=None)).serve())",
        "import asyncio, hypercorn.asyncio as h; c = h.Config(); asyncio.run(h.serve(application.asgi(), c))",
    ],
)
def test_a_program_that_has_another_server_serve_it_is_told_where(serving: str, cli: Cli) -> None:
    name = cli.write(f"{PROGRAM}{serving}")
    said = cli("routes", f"{name}:application")
    assert (said.code, said.out) == (1, "")
    (line,) = [line for line in said.err.splitlines() if line.startswith("aiorest-ws: ")]
    assert line.startswith(
        f"aiorest-ws: {cli.folder / name}.py, line 5, calls what serves app.asgi() while it is imported for "
    )


def test_a_function_that_serves_is_to_give_the_application(cli: Cli) -> None:
    name = cli.write(f"{PROGRAM}def main():\n    application.run(port=0)")
    said = refused(cli, f"{name}:main")
    assert said == (
        f"{cli.folder / name}.py, line 6, calls run() where {name}:main is to give an application, and would serve for "
        f"ever: return the application, did you mean {name}:application?"
    )


def test_another_thread_of_a_program_may_serve(cli: Cli) -> None:
    """It holds nobody up. Nothing serves here: a router is missing, which `run` comes to after it was let through."""
    name = cli.write(
        f"{PROGRAM}from threading import Thread\nsaid = []\n"
        "def serve():\n    try: Application().run(port=0)\n    except SystemExit as exc: said.append(str(exc))\n"
        "thread = Thread(target=serve)\nthread.start(); thread.join()\nassert 'outer' in said[0], said\n"
    )
    assert cli("routes", f"{name}:application").code == 0


def test_what_is_loaded_may_serve_afterwards(cli: Cli) -> None:
    name = cli.write(PROGRAM)
    application = load(f"{name}:application")
    check_may_serve("run()")
    assert not application.is_running


# Tracebacks


@pytest.mark.parametrize(
    ("wrong", "last"),
    [
        ("@router.get('board')\ndef show(request): ...", "InvalidPathArgument: Path should be started with"),
        ("@router.get('/board')\ndef show(request, a: object()): ...", "InvalidHandler: annotation of parameter 'a'"),
        ("@router.get('/{a}/{a}')\ndef show(request, a): ...", "EndpointValueError: "),
        ("Application(router, prot=80)", "TypeError: unknown option 'prot', did you mean 'port'?"),
        ("router.include_router(router)", "AttributeError: 'SimpleRouter' object has no attribute 'include_router': "),
    ],
)
def test_what_we_refuse_is_shown_at_the_line_of_the_program(wrong: str, last: str, cli: Cli) -> None:
    name = cli.write(PROGRAM + wrong)
    outer = cli.write(f"import importlib\nimportlib.import_module('{name}')")
    said = cli("routes", f"{outer}:app")
    files = re.findall(r'File "(.*?)"', said.err)
    assert files == [f"{cli.folder / each}.py" for each in (outer, name)]  # no importlib, nothing of ours, one error
    assert said.err.splitlines()[-1].startswith(
        f"aiorest-ws: module '{outer}' fails, asked for as '{outer}:app': {last}"
    )


def test_where_we_fail_ourselves_our_lines_are_shown(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiorest_ws.routers.checked_template", lambda path, converters: path.no_such_attribute)
    name = cli.write(f"{PROGRAM}router.get('/a')")
    assert 'routers.py"' in cli("routes", f"{name}:app").err


def test_a_folder_whose_name_begins_like_that_of_the_package_is_not_ours(capsys: pytest.CaptureFixture[str]) -> None:
    place = f"{Path(aiorest_ws.__file__).parent}_shop{os.sep}main.py"
    with pytest.raises(InvalidPathArgument) as caught:
        exec(compile("router.get('board')(print)", place, "exec"), {"router": SimpleRouter()})
    print_traceback(caught.value, "")
    assert place in capsys.readouterr().err


def test_a_slip_of_the_pen_is_in_the_last_line(cli: Cli) -> None:
    name = cli.write(f"{PROGRAM}router.regster('/a', None)")
    assert cli("routes", f"{name}:app").err.endswith(
        "AttributeError: 'SimpleRouter' object has no attribute 'regster', did you mean 'register'?\n"
    )
