"""Fifteen minutes in fixed memory, compared with a list that keeps everything."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from meshtui.history import PART_MS, PARTS, Series

steps = st.lists(st.tuples(st.integers(0, 90), st.integers(0, 1000)), max_size=80)


@given(steps, st.sampled_from([12, 15, 20, 30, 60]), st.integers(0, 200))
def test_bars_are_the_largest_of_each_span(steps: list[tuple[int, int]], count: int, later: int) -> None:
    series, seen, part = Series(), [], 100_000
    for step, value in steps:
        part += step
        series.add(part, float(value))
        seen.append((part, float(value)))
    now = part + later
    each = PARTS // count
    last = now // each
    expected = [
        max((value for at, value in seen if at // each == span and at > part - PARTS), default=None)
        for span in range(last - count + 1, last + 1)
    ]
    assert series.bars(now * PART_MS, count) == expected


def test_a_late_value_counts_where_it_belongs() -> None:
    series = Series()
    series.add(1000, 5)
    series.add(999, 7)
    series.add(900, 9)
    bars = series.bars(1000 * PART_MS, PARTS)
    assert bars[-2:] == [7, 5]
    assert bars[:-2] == [None] * (PARTS - 2)
