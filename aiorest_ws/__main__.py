"""`python -m aiorest_ws` → the command `aiorest-ws`."""

from __future__ import annotations

import sys

from aiorest_ws_cli import main

if __name__ == "__main__":
    sys.exit(main())
