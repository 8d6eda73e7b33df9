"""The last 15 minutes of each member, compared with a list that keeps everything."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshd.observe.past import PART_MS, PARTS, UNKNOWN, Past

steps = st.lists(st.tuples(st.integers(0, 90), st.sampled_from("ab"), st.integers(0, 1000)), min_size=1, max_size=60)


@given(steps)
def test_the_largest_of_each_part_is_kept(steps: list[tuple[int, str, int]]) -> None:
    past, seen, part = Past(), [], 1_000
    for step, member, value in steps:
        part += step
        past.sample(part * PART_MS, {member: (float(value), value / 2)})
        seen.append((part, member, value))
    told = {one.member_id: one for one in past.messages("mesh")}
    for member in "ab":
        expected = [
            max((value for at, who, value in seen if (at, who) == (one, member)), default=UNKNOWN)
            for one in range(part - PARTS + 1, part + 1)
        ]
        assert list(told[member].traffic if member in told else [UNKNOWN] * PARTS) == expected
    assert all(one.newest_part == part and one.mesh_id == "mesh" for one in told.values())


def test_latency_that_is_not_known_is_not_zero() -> None:
    past = Past()
    past.sample(PART_MS, {"a": (5.0, 0.0)})
    past.sample(2 * PART_MS, {"a": (0.0, 31.5)})
    [told] = past.messages("mesh")
    assert list(told.latency_ms)[-2:] == [UNKNOWN, 31.5]
    assert list(told.traffic)[-2:] == [5.0, 0.0]


def test_who_is_gone_is_forgotten() -> None:
    past = Past()
    past.sample(PART_MS, {"a": (1, 1), "b": (1, 1)})
    past.forget_all_but({"b": None})
    assert [one.member_id for one in past.messages("mesh")] == ["b"]


@pytest.mark.parametrize("later", [-5, PARTS, 10_000])
def test_a_clock_that_jumped_starts_over(later: int) -> None:
    past = Past()
    past.sample(1_000 * PART_MS, {"a": (1, 1)})
    past.sample((1_000 + later) * PART_MS, {"b": (2, 2)})
    assert [one.member_id for one in past.messages("mesh")] == ["b"]
