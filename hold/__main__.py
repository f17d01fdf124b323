"""The table "figures to reach under attack": each row against a fresh server, over real sockets. `make hold`.

    python -m hold                                    # compiled, uvloop: about eight minutes
    python -m hold --path pure --loop asyncio --only pings,stop

Memory is the server's resident set, its peak during the attack over what it was before; CPU is the server's, user and
system. On a machine that does other things, too, latencies are those of the machine: a row that failed is measured
again with --tries 2.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from hold import floods, leavers, messages, shares, sizes, slow, subscribers
from hold.process import serving
from hold.row import Row

SCENARIOS: dict[str, Callable[..., Iterator[Row]]] = {
    "unread": floods.unread,
    "read-late": floods.read_late,
    "pings": floods.pings,
    "fragments": floods.fragments,
    "small-frames": floods.small_frames,
    "declared": sizes.declared,
    "header": sizes.header,
    "bombs": sizes.bombs,
    "final-blocks": sizes.final_blocks,
    "offers": sizes.offers,
    "vanish": leavers.vanish,
    "handshakes": leavers.handshakes,
    "stop": leavers.stop,
    "closing": slow.closing,
    "slow-reader": slow.slow_reader,
    "news": slow.news,
    "in-flight": shares.in_flight,
    "threads": shares.threads,
    "half-open": shares.half_open,
    "one-message": messages.one_message,
    "xml": messages.xml,
    "event-names": messages.echoed_names,
    "invented-urls": subscribers.invented,
    "one-write": subscribers.private,
    "laggards": subscribers.laggards,
    "idle": sizes.idle,
}


def measure(name: str, path: str, loop: str, **scale: Any) -> list[Row]:
    """Give the rows of one scenario; what keeps it from being measured makes a row, too."""
    rows: list[Row] = []
    try:
        rows.extend(SCENARIOS[name](partial(serving, path, loop), **scale))
    except Exception as exc:
        rows.append(Row(name, f"{type(exc).__name__}: {exc}", "to be measured", False))
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Print the table, and give 1 if something was not reached."""
    parser = argparse.ArgumentParser(prog="python -m hold", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--path", choices=("compiled", "pure"), default="compiled")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="uvloop")
    parser.add_argument("--only", default=",".join(SCENARIOS), help="some of %(default)s")
    parser.add_argument("--tries", type=int, default=1, help="how often a row that failed is measured (%(default)s)")
    parser.add_argument(
        *("--send-timeout", "-s"),
        type=float,
        default=floods.SEND_TIMEOUT,
        help="of the server in `unread`, in seconds (%(default)s, the default of the application): less is quicker",
    )
    options = parser.parse_args(arguments)
    names = [name for name in options.only.split(",") if name]
    for name in names:
        if name not in SCENARIOS:
            parser.error(f"no scenario {name!r}, there are {', '.join(SCENARIOS)}")
    print(f"| property ({options.path}, {options.loop}) | measured | to reach | ok |\n|---|---|---|---|", flush=True)
    failed = 0
    for name in names:
        scale = {"send_timeout": options.send_timeout} if name == "unread" else {}
        for turn in range(options.tries):
            rows = measure(name, options.path, options.loop, **scale)
            again = "" if not turn else f" (try {turn + 1})"
            if all(row.ok for row in rows):
                break
        for row in rows:
            print(
                f"| {row.property} | {row.measured}{again} | {row.to_reach} | {'yes' if row.ok else 'NO'} |", flush=True
            )
            failed += not row.ok
    if failed:
        print(f"\n{failed} not reached", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
