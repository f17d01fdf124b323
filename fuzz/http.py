"""examples/todo_api over HTTP against what its schema says: every check of schemathesis, which is a program of its own.

python -m fuzz.http .venv-schemathesis/bin/st [examples]
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from runpy import run_path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent


async def attack(program: str, examples: str) -> int:
    """Serve the example, and give the exit code of who attacks it."""
    path = ROOT / "examples" / "todo_api" / "server.py"
    with TemporaryDirectory() as folder:
        app = run_path(str(path))["make_app"](Path(folder, "todos.sqlite3"))
        await app.start(http=True, port=0)
        try:
            host, port = app.addresses[0]
            url = f"http://{host}:{port}/openapi.json"
            options = ("--checks", "all", "--max-examples", examples, "--generation-database", "none", "--no-color")
            attacker = await asyncio.create_subprocess_exec(program, "run", url, *options)
            return await attacker.wait()
        finally:
            await app.stop()


if __name__ == "__main__":
    sys.exit(asyncio.run(attack(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "100")))
