"""The last 24 hours of each member, compared with a list that keeps everything; and the scale of its bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshd.observe.day import MINUTE_MS, MINUTES, Day
from meshproto.byte_scale import UNKNOWN, packed, unpacked

steps = st.lists(st.tuples(st.integers(0, 900), st.sampled_from("ab"), st.integers(0, 10**9)), min_size=1, max_size=30)


@given(steps)
def test_the_largest_of_each_minute_is_kept(steps: list[tuple[int, str, int]]) -> None:
    day, seen, minute = Day(), [], 5_000
    for step, member, value in steps:
        minute += step
        day.sample(minute * MINUTE_MS + 59_999, {member: (float(value), 0.0)})
        seen.append((minute, member, value))
    for member in "ab":
        told = day.message(member)
        assert told.newest_minute == minute
        assert list(told.latency_ms) in ([], [UNKNOWN] * MINUTES)
        known = {at: value for at, who, value in sorted(seen) if who == member}
        for at, value in zip(range(minute - MINUTES + 1, minute + 1), told.traffic, strict=False):
            assert value == (pytest.approx(known[at], rel=0.07, abs=0.01) if at in known else UNKNOWN)
        assert len(told.traffic) == MINUTES or not any(at > minute - MINUTES for at in known)


@given(st.floats(0, 5e10), st.floats(0, 5e10))
def test_the_scale_keeps_the_order_and_comes_near(one: float, other: float) -> None:
    assert unpacked(packed(one)) == pytest.approx(one, rel=0.07, abs=0.01)
    assert (packed(one) <= packed(other)) or one >= other
    assert 1 <= packed(one) <= 255


@pytest.mark.parametrize("value", [-1.0, 1e18])
def test_what_no_byte_can_hold(value: float) -> None:
    assert packed(value) in (1, 255)


@pytest.mark.parametrize("later", [-5, MINUTES, 100_000])
def test_a_clock_that_jumped_starts_over(later: int) -> None:
    day = Day()
    day.sample(5_000 * MINUTE_MS, {"a": (1, 1)})
    day.sample((5_000 + later) * MINUTE_MS, {"b": (2, 2)})
    assert list(day.message("a").traffic) == []
    assert len(day.message("b").traffic) == MINUTES


def test_who_is_gone_is_forgotten() -> None:
    day = Day()
    day.sample(MINUTE_MS, {"a": (1, 1), "b": (1, 1)})
    day.forget_all_but(["b"])
    assert (len(day.message("a").traffic), len(day.message("b").traffic)) == (0, MINUTES)
