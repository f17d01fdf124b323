"""What `import aiorest_ws` costs: nothing beyond what its dependencies import themselves."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec

from tests.serving import asynchronous, run_program

# Cython's runtime puts these into sys.modules for the types that compiled modules share: no file is read for them.
CYTHON = re.compile(r"cython_runtime|_cython_[0-9_]+")

# uvloop, which is not on Windows, is left out where it is not installed.
LATER = [
    *("difflib", "xml", "msgspec", "jwt", "prometheus_client", "pydantic", "sqlalchemy", "aiosqlite", "django"),
    *(["uvloop"] if find_spec("uvloop") else []),
]

SOURCE = """
import json, sys
import autobahn.asyncio.websocket, orjson, pybase64
before = set(sys.modules)
import aiorest_ws
print(json.dumps(sorted(set(sys.modules) - before)))
"""


@asynchronous
async def test_importing_the_package_imports_nothing_that_the_first_request_does_not_need() -> None:
    outcome = await run_program(SOURCE)
    assert (outcome.code, outcome.err) == (0, "")
    imported = json.loads(outcome.out)
    assert "aiorest_ws.app" in imported
    foreign = [name for name in imported if name.partition(".")[0] != "aiorest_ws" and not CYTHON.fullmatch(name)]
    assert foreign == []


@asynchronous
async def test_importing_the_package_sets_up_no_logging_and_no_loop() -> None:
    """O5: 1.1.1 configured logging at import."""
    outcome = await run_program(
        "import logging\n"
        "before = dict(logging.Logger.manager.loggerDict)\n"
        "import aiorest_ws\n"
        "print(logging.getLogger().handlers, logging.getLogger('aiorest_ws').handlers, logging.getLogger().level)\n"
    )
    assert (outcome.code, outcome.out, outcome.err) == (0, "[] [] 30\n", "")


@asynchronous
async def test_importing_the_package_imports_neither_tools_nor_extras_before_they_are_needed() -> None:
    """Nor what only programs of others, as in examples/, bring along."""
    outcome = await run_program(f"import aiorest_ws, sys; print([m for m in {LATER} if m in sys.modules])")
    assert (outcome.code, outcome.out, outcome.err) == (0, "[]\n", "")


def test_what_is_not_imported_is_there() -> None:
    """Else it would prove nothing that it is not."""
    assert [name for name in LATER if find_spec(name) is None] == []
