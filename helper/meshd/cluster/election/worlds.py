"""Epochs made by `--force`. Each force begins a new world: 2^20 epochs of its own, which start from one node's data.

Data of an older world may lack what the new one committed, so nobody leads a world with data of another. After a
million elections a world goes on in the number after its own, as if nothing were: that one belongs to nobody.
"""

from __future__ import annotations

SHIFT = 20
"""Bits of an epoch that count the elections in one world: a million."""

SLOTS = 1 << 24
"""Worlds that a generation has. Each force draws one, so that two nodes that are forced apart from each other do not
share an epoch, nor does a node with itself: forced again when its Redis lost the first entry, which a replica may have.
Besides all that, a chance of one in 16 million would have to come true."""


def world(epoch: int) -> int:
    return epoch >> SHIFT


def continues(epoch: int, data: int) -> bool:
    """Whether a term of `epoch` may begin with data whose last entry is of epoch `data`: of the same world, or of the
    one before when that is more than half used up. A force never takes the next number, unless two nodes are forced
    apart, have neighbouring slots (one in 8 million) and one elects half a million times before they meet."""
    ahead = world(epoch) - world(data)
    return ahead == 0 or (ahead == 1 and data % (1 << SHIFT) >= 1 << (SHIFT - 1))


def forced_epoch(epoch: int, slot: int) -> int:
    """The first epoch of the world that is begun in that slot where `epoch` is the highest one known."""
    generation = world(epoch) // SLOTS + 1
    return (generation * SLOTS + slot) << SHIFT
