"""Runs many schedules: `python -m election_model --schedules 10000 --seed 1`; `--trace SEED` shows one."""

from __future__ import annotations

import argparse
import sys
import time

from election_model.invariants import Violation
from election_model.simulation import Simulation


def main() -> int:
    parser = argparse.ArgumentParser(prog="election_model", description=__doc__)
    parser.add_argument("--schedules", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1, help="of the first schedule; the next has the next number")
    parser.add_argument("--trace", type=int, metavar="SEED", help="run this schedule alone and print every step")
    parser.add_argument("--keep-going", action="store_true", help="count violations instead of stopping at the first")
    given = parser.parse_args()
    if given.trace is not None:
        return show(given.trace)
    began = time.monotonic()
    commits = elections = steps = seconds = failed = 0
    for seed in range(given.seed, given.seed + given.schedules):
        simulation = Simulation(seed)
        try:
            simulation.run()
        except Violation as violation:
            failed += 1
            print(f"seed {seed}: {violation}", flush=True)
            if not given.keep_going:
                return 1
        commits += simulation.checker.commits
        elections += simulation.checker.elections
        steps += simulation.steps
        seconds += simulation.now
    took = time.monotonic() - began
    print(
        f"{given.schedules} schedules from seed {given.seed}, {failed} violations: {elections} elections, "
        f"{commits} commits, {steps} steps, {seconds:.0f} s of mesh time in {took:.0f} s "
        f"({given.schedules / took:.0f} schedules/s)"
    )
    return 1 if failed else 0


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
