"""Calls without a right to them are told once, and do not fill the journal."""

from __future__ import annotations

from meshd.assembly import refusals
from meshd.assembly.refusals import Refusals


def test_each_refusal_is_told_once_in_a_while() -> None:
    told: list[str] = []
    now = [0.0]
    noted = Refusals(told.append, lambda: now[0])
    for _ in range(3):
        noted.note("ipv4:10.51.0.3:40000", "Heartbeat", "laptop-ada is not a node")
        noted.note("ipv4:10.51.0.3:40001", "Heartbeat", "laptop-ada is not a node")
    noted.note("ipv6:%5Bfd00::3%5D:4000", "Vote", "laptop-ada is not a node")
    assert told == [
        "refused Heartbeat from 10.51.0.3: laptop-ada is not a node",
        "refused Vote from fd00::3: laptop-ada is not a node",
    ]
    now[0] = refusals.AGAIN
    noted.note("10.51.0.3", "Heartbeat", "laptop-ada is not a node")
    assert len(told) == 3


def test_many_different_ones_do_not_fill_the_journal() -> None:
    told: list[str] = []
    noted = Refusals(told.append, lambda: 0.0)
    for number in range(2 * refusals.KEPT):
        noted.note("", "Submit", f"reason {number}")
    assert len(told) == refusals.KEPT
    told.clear()
    few = Refusals(told.append, lambda: 0.0, kept=3)
    for number in range(10):
        few.tell(f"flood {number}")
    assert told == ["flood 0", "flood 1", "flood 2"]
