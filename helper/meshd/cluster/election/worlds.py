"""Epochs made by a person: by `--force`, and by a restore. Each begins a new world: 2^20 epochs of its own, which start
from one node's data.

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


RESTORED_SINCE = 1735689600
"""Seconds of Unix time, 2025-01-01: worlds of restores are counted from here."""

SECONDS = 1 << 31
"""Restores are told apart by the second for 68 years; epochs stay below 2^63, with room for half a million forces."""

DRAWS = 1 << 12
"""Worlds of one second, of which a restore draws one: two machines may be told to restore at the same time."""


def restored_epoch(epoch: int, unix_s: float, draw: int) -> int:
    """The first epoch of a mesh that comes back at that time from data of `epoch`; `draw` is below `DRAWS`.

    A restore knows the backup only, not what was forced or restored since. So the clock says which one is the newest: a
    later restore is above an earlier one, and all are above the forces of a mesh that was never restored, which come a
    generation a time (4,096 s are one here). With a clock that is wrong it is at least above the backup.
    """
    seconds = min(max(int(unix_s) - RESTORED_SINCE, 0), SECONDS - 1)
    generation, slot = divmod(seconds * DRAWS + draw, SLOTS)
    return (max(generation, world(epoch) // SLOTS + 1) * SLOTS + slot) << SHIFT
