"""meshd, with append-only files that are rewritten all the time, each for about a second: `python -m chaos.meshd`."""

from __future__ import annotations

from meshd import main
from meshd.cluster import rewriting
from meshd.store import rewrite, settings

KEY_DELAY = 100_000
"""Microseconds that Redis waits after each key that it writes into a copy of its data (`rdb-key-save-delay`). The data
is in about ten keys."""


def run() -> None:
    rewrite.SMALLEST = 64 << 10
    rewrite.GROWTH = 1.02  # type: ignore[assignment]  # by some changes; as much again would be seldom after a while
    rewrite.SPARE = 1 << 20
    rewriting.LOOK_EVERY = 1.0
    settings.SETTINGS["rdb-key-save-delay"] = str(KEY_DELAY)
    main.run()


if __name__ == "__main__":
    run()
