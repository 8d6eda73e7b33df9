"""A run by hand, as long as you like: python -m chaos --nodes 5 --seconds 1800 --seed 7. In `tests`, as root."""

from __future__ import annotations

import argparse
import sys
import time

from chaos.storm import storm


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--nodes", type=int, default=3, choices=range(2, 8))
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    result = storm(options.nodes, options.seconds, options.seed, verbose=True)
    print(result.text())
    return 1 if result.findings.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
