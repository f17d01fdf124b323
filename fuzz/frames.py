"""Random streams in random slices to our frame layer: pure against compiled, and with Autobahn's protocol behind it
against Autobahn's own reader, for a time. Every case has a seed of its own, which is printed with the first difference.

    python -m fuzz.frames --seconds 60 [--seed 0]      from this seed on; the same seeds give the same cases
    python -m fuzz.frames --only 4711                  one case again
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import sys
import time
from itertools import count

from aiorest_ws import _speedups
from tests.kit.differences import difference, difference_from_autobahn
from tests.kit.streams import random_case
from tests.swapping import Impl

# Autobahn is the slow one of the three: every so many cases.
_AUTOBAHN_EVERY = 4


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fuzz.frames", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="for how long (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the first case (%(default)s)")
    parser.add_argument("--only", type=int, metavar="SEED", help="this case and no other")
    return parser.parse_args(arguments)


def _check(seed: int, runner: asyncio.Runner, pair: tuple[Impl, Impl] | None, *, autobahn: bool) -> str | None:
    """Give how the case of `seed` differs, or None."""
    if pair is not None:
        found = difference(*pair, random_case(random.Random(seed)))
        if found is not None:
            return f"pure and compiled: {found}"
    if autobahn:
        found = runner.run(difference_from_autobahn(random_case(random.Random(seed), actions=False)))
        if found is not None:
            return f"Autobahn and ours: {found}"
    return None


def main(arguments: list[str] | None = None) -> int:
    """Run, and give 1 if there was a difference."""
    options = _parse(arguments)
    logging.disable(logging.CRITICAL)  # Autobahn logs every fault
    pair = (Impl.load("py"), Impl.load("c")) if _speedups.COMPILED else None
    if pair is None:
        print(f"not compiled ({_speedups.REASON}): against Autobahn only")
    end = time.monotonic() + options.seconds
    seeds = count(options.seed) if options.only is None else iter([options.only])
    cases = with_autobahn = 0
    with asyncio.Runner() as runner:
        for seed in seeds:
            autobahn = pair is None or options.only is not None or seed % _AUTOBAHN_EVERY == 0
            found = _check(seed, runner, pair, autobahn=autobahn)
            cases += 1
            with_autobahn += autobahn
            if found is not None:
                print(f"seed {seed}: {found}\nafter {cases} cases; again: python -m fuzz.frames --only {seed}")
                return 1
            if time.monotonic() >= end:
                break
    print(f"{cases} cases from seed {options.seed}, {with_autobahn} of them against Autobahn too: no difference")
    return 0


if __name__ == "__main__":
    sys.exit(main())
