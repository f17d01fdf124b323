"""This machine, and what of it this process may use → how many processors that is."""

from __future__ import annotations

import math
import os
from pathlib import Path

__all__ = ("usable",)

_CGROUP = Path("/sys/fs/cgroup")


def usable(cgroup: Path = _CGROUP) -> int:
    """Give how many processors this process may use, at least 1: a container's limit counts, too.

    cgroup    where Linux says that limit
    """
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    quota = _quota(cgroup)
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def _quota(cgroup: Path) -> float | None:
    """Give the processors that the time of this container comes to; None without a limit."""
    try:
        if (cgroup / "cpu.max").exists():
            time, period = (cgroup / "cpu.max").read_text().split()
        else:
            time = (cgroup / "cpu/cpu.cfs_quota_us").read_text()
            period = (cgroup / "cpu/cpu.cfs_period_us").read_text()
        return float(time) / float(period) if float(time) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):  # "max", or not Linux
        return None
