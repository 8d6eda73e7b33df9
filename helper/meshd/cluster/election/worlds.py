"""Epochs made by `--force`. Each force begins a new world: 2^20 epochs of its own, which start from one node's data.

Data of an older world may lack what the new one committed, so nobody leads a world with data of another.
"""

from __future__ import annotations

SHIFT = 20
"""Bits of an epoch that count the elections in one world: a million."""

SLOTS = 8
"""Worlds that a generation has, one for each voter: two that are forced apart from each other never share an epoch."""


def world(epoch: int) -> int:
    return epoch >> SHIFT


def forced_epoch(epoch: int, rank: int) -> int:
    """The first epoch of the world that the voter of this rank makes, which knows of `epoch`."""
    generation = world(epoch) // SLOTS + 1
    return (generation * SLOTS + rank % SLOTS) << SHIFT
