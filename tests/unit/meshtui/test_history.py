"""Fifteen minutes in fixed memory, compared with a list that keeps everything."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from meshproto import local_pb2
from meshtui.history import PART_MS, PARTS, History, Series
from meshtui.mirror import fold
from meshtui.model import Model

from tui import recordings

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


def test_what_the_helper_remembers_comes_before_what_was_seen_here() -> None:
    model = fold(Model(), local_pb2.WatchUpdate(snapshot=recordings.status(recordings.mesh())))
    grace = recordings.members()[4]
    now = recordings.NOW_MS // PART_MS
    remembered = local_pb2.MemberPast(
        mesh_id="mesh-home", member_id=grace.id, newest_part=now - 1, traffic=[-1, 50, 70], latency_ms=[9, -1, 12]
    )
    history = History()
    history.recall([remembered])
    history.learn(model, recordings.NOW_MS)
    past = history.of("mesh-home", grace.id)
    assert past.traffic.bars(recordings.NOW_MS, PARTS)[-4:] == [None, 50, 70, grace.rx_rate + grace.tx_rate]
    assert past.latency.bars(recordings.NOW_MS, PARTS)[-4:-1] == [9, None, 12]


@given(
    st.lists(st.floats(width=32), max_size=200), st.lists(st.floats(width=32), max_size=3),
    st.integers(0, (1 << 64) - 1),
)  # fmt: skip
def test_whatever_is_remembered_is_taken(traffic: list[float], latency: list[float], part: int) -> None:
    history = History()
    history.recall([local_pb2.MemberPast(member_id="a", newest_part=part, traffic=traffic, latency_ms=latency)])
    assert len(history.of("", "a").traffic.bars(recordings.NOW_MS, PARTS)) == PARTS
