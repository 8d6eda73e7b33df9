"""The last 15 minutes of each member, compared with a list that keeps everything."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshd.observe.past import LATE, SAMPLE_MS, SAMPLES, Past
from meshproto.byte_scale import packed

steps = st.lists(st.tuples(st.integers(0, 90), st.sampled_from("ab"), st.integers(0, 1000)), min_size=1, max_size=60)


@given(steps)
def test_the_largest_of_each_sample_is_kept(steps: list[tuple[int, str, int]]) -> None:
    past, seen, number = Past(), [], 1_000
    for step, member, value in steps:
        number += step if step > LATE + 1 else min(step, 1)  # a late look is another test
        past.sample(number * SAMPLE_MS, {member: (float(value), value / 2)})
        seen.append((number, member, value))
    told = {one.member_id: one for one in past.messages("mesh")}
    for member in "ab":
        expected = [
            max((packed(value) for at, who, value in seen if (at, who) == (one, member)), default=0)
            for one in range(number - SAMPLES + 1, number + 1)
        ]
        assert list(told[member].traffic if member in told else bytes(SAMPLES)) == expected
    assert all(one.newest_sample == number and one.mesh_id == "mesh" for one in told.values())


def test_latency_that_is_not_known_is_not_zero() -> None:
    past = Past()
    past.sample(SAMPLE_MS, {"a": (5.0, 0.0)})
    past.sample(2 * SAMPLE_MS, {"a": (0.0, 31.5)})
    [told] = past.messages("mesh")
    assert list(told.latency)[-2:] == [0, packed(31.5)]
    assert list(told.traffic)[-2:] == [packed(5.0), packed(0.0)]


def test_a_look_that_comes_late_leaves_no_gap_and_a_pause_does() -> None:
    past = Past()
    past.sample(1_000 * SAMPLE_MS, {"a": (5.0, 1.0)})
    past.sample((1_001 + LATE) * SAMPLE_MS, {"a": (7.0, 1.0)})
    past.sample((1_003 + 2 * LATE) * SAMPLE_MS, {"a": (9.0, 1.0)})
    [told] = past.messages("mesh")
    pause = [0] * (LATE + 1)
    assert list(told.traffic[-5 - 2 * LATE :]) == [
        0, packed(5.0), *[packed(7.0)] * (LATE + 1), *pause[: LATE + 1], packed(9.0)
    ]  # fmt: skip


def test_three_thousand_members_take_a_fixed_amount_of_memory() -> None:
    tracemalloc.start()
    try:
        past = Past()
        members = {f"9e91c0de-0000-4000-8000-{number:012x}": (number * 100.0, number % 90) for number in range(3000)}
        past.sample(1_000 * SAMPLE_MS, members)
        first, _ = tracemalloc.get_traced_memory()
        for step in range(1, 2 * SAMPLES, 90):
            past.sample((1_000 + step) * SAMPLE_MS, members)
        last, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert last - first < 10_000
    assert last / 3000 < 1_500, "bytes a member, with what Python adds"


def test_who_is_gone_is_forgotten() -> None:
    past = Past()
    past.sample(SAMPLE_MS, {"a": (1, 1), "b": (1, 1)})
    past.forget_all_but({"b": None})
    assert [one.member_id for one in past.messages("mesh")] == ["b"]


@pytest.mark.parametrize("later", [-5, SAMPLES, 10_000])
def test_a_clock_that_jumped_starts_over(later: int) -> None:
    past = Past()
    past.sample(1_000 * SAMPLE_MS, {"a": (1, 1)})
    past.sample((1_000 + later) * SAMPLE_MS, {"b": (2, 2)})
    assert [one.member_id for one in past.messages("mesh")] == ["b"]
