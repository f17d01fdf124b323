"""schemathesis against `examples/todo_api` over HTTP: what its document says → requests that fit, and that do not.

    python -m fuzz.documents PATH-OF-ST [--examples 100] [--seed N]

Its exit code is that of schemathesis, which says what it has found, and how to ask it again.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from examples.todo_api.server import make_app


async def ask(st: str, *options: str) -> int:
    """Serve the example, have `st` ask it, and give the exit code of that."""
    with TemporaryDirectory() as directory:
        app = make_app(Path(directory, "todos.sqlite3"))
        await app.start(port=0, http=True)
        host, port = app.addresses[0][:2]
        url = f"http://{host}:{port}/openapi.json"
        try:
            process = await asyncio.create_subprocess_exec(
                st, "run", url, "--checks", "all", "--no-color", *options, cwd=directory
            )
            return await process.wait()
        finally:
            await app.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("st", type=Path, help="the program `st` of schemathesis")
    parser.add_argument("--examples", default="100", help="requests for each operation and phase")
    parser.add_argument("--seed", help="of the requests")
    given = parser.parse_args()
    seed = [] if given.seed is None else ["--seed", given.seed]
    return asyncio.run(ask(str(given.st.absolute()), "--max-examples", given.examples, *seed))


if __name__ == "__main__":
    sys.exit(main())
