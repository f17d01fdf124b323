"""Without its extras the client can be imported, and says in one line what is missing."""

from __future__ import annotations

import pytest

from tests.serving import asynchronous, run_program

WITHOUT = """
import asyncio, sys
for name in {missing}:
    sys.modules[name] = None
from aiorest_ws.client import AsyncClient
try:
    {what}
except ImportError as exc:
    print(exc)
"""


@pytest.mark.parametrize(
    ("missing", "what", "said"),
    [
        (
            ["websockets"],
            "asyncio.run(AsyncClient('ws://127.0.0.1:9').connect())",
            "the client needs websockets: pip install 'aiorest-ws[client]>=2'",
        ),
        (
            ["msgspec"],
            "AsyncClient('ws://127.0.0.1:9', form='msgpack')",
            "MessagePack needs msgspec: pip install 'aiorest-ws[client,msgpack]>=2'",
        ),
        (
            ["msgspec"],
            "from aiorest_ws.client.shapes import fitted; print(fitted(1, int)); fitted({}, dict[str, int])",
            "1\ntype= needs msgspec: pip install 'aiorest-ws[client,typed]>=2'",
        ),
    ],
)
@asynchronous
async def test_what_is_missing_is_said_in_one_line(missing: list[str], what: str, said: str) -> None:
    outcome = await run_program(WITHOUT.format(missing=missing, what=what))
    assert (outcome.code, outcome.out.strip(), outcome.err) == (0, said, "")


@asynchronous
async def test_the_server_is_imported_without_the_client_and_the_client_without_server_and_websockets() -> None:
    outcome = await run_program("import sys; from aiorest_ws import *; print('aiorest_ws.client' in sys.modules)")
    assert (outcome.code, outcome.out, outcome.err) == (0, "False\n", "")
    outcome = await run_program(
        "import sys\n"
        "from aiorest_ws import client\n"
        "print([name for name in sys.modules if name == 'autobahn' or name.startswith('aiorest_ws.app')])\n"
        "import aiorest_ws.client\n"
        "print([name for name in sys.modules if name.partition('.')[0] in ('websockets', 'msgspec', 'pydantic')])\n"
    )
    assert (outcome.code, outcome.out, outcome.err) == (0, "[]\n[]\n", "")
