"""The worlds of restores: in the order of time, and above whatever was there before."""

from __future__ import annotations

import pytest
from meshd.cluster.election import worlds


def test_restores_are_worlds_in_the_order_of_time() -> None:
    """A restore knows its backup only: nothing that was restored or forced since."""
    now = 1_800_000_000.5
    first, second = worlds.restored_epoch(3, now, worlds.DRAWS - 1), worlds.restored_epoch(3, now + 1, 0)
    assert first < second
    assert not worlds.continues(second + 5, first + 5)
    assert worlds.restored_epoch(3, now, 1) != worlds.restored_epoch(3, now, 2), "two at the same time"
    forced = 3
    for _ in range(1000):
        forced = worlds.forced_epoch(forced, worlds.SLOTS - 1)
    assert forced < first, "the restored mesh is above all that was forced since the backup"
    assert first < worlds.forced_epoch(first, 0) < worlds.restored_epoch(3, now + 3 * 4096, 0)


@pytest.mark.parametrize("unix_s", [0.0, -5.0, 1_800_000_000.0, 1e12])
def test_a_restore_is_above_its_backup_whatever_the_clock_says(unix_s: float) -> None:
    for backup in (1, 2**20 - 1, worlds.forced_epoch(9, 5) + 7, worlds.restored_epoch(3, 1_900_000_000, 5) + 7):
        epoch = worlds.restored_epoch(backup, unix_s, 0)
        assert backup < epoch < 2**63
        assert not worlds.continues(epoch, backup)
        assert worlds.world(epoch) << worlds.SHIFT == epoch, "it begins a world"
        assert worlds.forced_epoch(epoch, worlds.SLOTS - 1) < 2**64
