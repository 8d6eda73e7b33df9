"""Runs benchmarks by name, shows a table for each, and writes all of it as JSON where asked. Ends with status 1 when a
figure is above its limit."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from bench.figures import Figure, machine, table

NAMES = (
    "start", "throughput", "join", "apply", "memory", "terminal", "failover", "healing", "restarts", "commits", "large",
    "tray", "packages",
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/bench/run", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)} (default: all)")
    parser.add_argument("--json", metavar="FILE", help="where to write the figures with every sample")
    options = parser.parse_args()
    unknown = set(options.names) - set(NAMES)
    if unknown:
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    results: dict[str, Any] = {}
    above = 0
    for name in options.names or NAMES:
        before, began = machine(), time.monotonic()
        figures: list[Figure] = importlib.import_module(f"bench.{name}").measure()
        took = time.monotonic() - began
        after = machine()["load"]
        print(f"\n{name} ({before['at']}, {took:.0f} s, load {before['load']} before and {after} after)")
        print(table(figures), flush=True)
        for one in figures:
            if not one.kept:
                print(f"{one.name}: {max(one.samples):.2f} {one.unit} is above the limit, {one.limit:g} {one.unit}")
                above += 1
        results[name] = {**before, "load_after": after, "figures": [one.as_json() for one in figures]}
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=2) + "\n")
    return 1 if above else 0


if __name__ == "__main__":
    sys.exit(main())
