"""Units of systemd, as text."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ("values_of",)


def values_of(unit: Path, name: str) -> list[str]:
    """Give each value of a directive of a unit, in their order."""
    return re.findall(rf"^{name}=(.*)$", unit.read_text("utf-8"), re.MULTILINE)
