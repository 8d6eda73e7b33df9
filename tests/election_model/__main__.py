"""Runs many schedules: `python -m election_model --schedules 10000 --seed 1`; `--trace SEED` shows one.

With `--seconds 3600` it begins no more after that, and its last line says where the next run goes on.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from itertools import islice

from election_model.invariants import Violation
from election_model.simulation import Simulation

PART = 200
"""Schedules that a process does at a time."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="election_model", description=__doc__)
    parser.add_argument("--schedules", type=int, help="how many; 1000 unless --seconds is given")
    parser.add_argument("--seconds", type=float, help="begin no more after this time")
    parser.add_argument("--seed", "--from-seed", type=int, default=1, help="of the first; the next has the next number")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--trace", type=int, metavar="SEED", help="run this schedule alone and print every step")
    parser.add_argument("--keep-going", action="store_true", help="count violations instead of stopping at the first")
    given = parser.parse_args()
    if given.trace is not None:
        return show(given.trace)
    began = time.monotonic()
    wanted = given.schedules or (1000 if given.seconds is None else sys.maxsize)
    ends = given.seed + wanted
    total: Counter[str] = Counter()
    with ProcessPoolExecutor(given.jobs) as processes:
        parts = (range(first, min(first + PART, ends)) for first in range(given.seed, ends, PART))
        while round_of_parts := list(islice(parts, given.jobs)):
            for counted, violations in processes.map(run, round_of_parts):
                total.update(counted)
                for text in violations:
                    print(text, flush=True)
            late = given.seconds is not None and time.monotonic() - began >= given.seconds
            if late or (total["violations"] and not given.keep_going):
                break
    took = time.monotonic() - began
    print(
        f"{total['schedules']} schedules from seed {given.seed}, {total['violations']} violations: "
        f"{total['elections']} terms, {total['forced']} of them forced, {total['commits']} commits, "
        f"{total['steps']} steps, {total['seconds']} s of mesh time in {took:.0f} s "
        f"({total['schedules'] / took:.0f} schedules/s); the next: --from-seed {given.seed + total['schedules']}"
    )
    return 1 if total["violations"] else 0


def run(seeds: range) -> tuple[Counter[str], list[str]]:
    """What happened in these schedules, and what was violated in which."""
    total: Counter[str] = Counter()
    violations = []
    for seed in seeds:
        simulation = Simulation(seed)
        try:
            simulation.run()
        except Violation as violation:
            violations.append(f"seed {seed}: {violation}")
        checker = simulation.checker
        total.update(
            schedules=1,
            elections=checker.elections,
            forced=checker.forced,
            commits=checker.commits,
            steps=simulation.steps,
            seconds=round(simulation.now),
        )
    total["violations"] = len(violations)
    return total, violations


def show(seed: int) -> int:
    simulation = Simulation(seed, trace=True)
    try:
        simulation.run()
    except Violation as violation:
        print("\n".join(simulation.trace or []))
        print(f"seed {seed}: {violation}")
        return 1
    print("\n".join(simulation.trace or []))
    return 0


if __name__ == "__main__":
    sys.exit(main())
