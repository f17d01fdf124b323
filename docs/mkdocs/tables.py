"""Names in tables may break at their joints: `max_connections_per_address` is three lines on a phone, not its width."""

from __future__ import annotations

import re
from typing import Any

CELL = re.compile(r"<td\b.*?</td>", re.DOTALL)
CODE = re.compile(r"(?<=<code>)[^<]+(?=</code>)")
JOINT = re.compile(r"(?<=\w)([_./=(\[,:|]|-(?=\w))(?=\S)|(?<=[a-z])(?=[A-Z])")


def on_post_page(output: str, **_: Any) -> str:
    """Once the words for the search are taken: they stay whole."""
    return CELL.sub(lambda cell: CODE.sub(lambda code: JOINT.sub(r"\1<wbr>", code[0]), cell[0]), output)
