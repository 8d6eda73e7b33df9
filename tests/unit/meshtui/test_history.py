"""Fifteen minutes in fixed memory, compared with a list that keeps everything."""

from __future__ import annotations

import time
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproto import local_pb2
from meshproto.byte_scale import packed
from meshtui.history import COUNTS, SAMPLE_MS, SAMPLES, SPAN_MS, UNPACKED, History, Series
from meshtui.mirror import fold
from meshtui.model import Model

from tui import recordings

steps = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 1000)), max_size=80)


@given(steps, st.sampled_from(COUNTS), st.integers(0, 1000))
def test_bars_are_the_largest_of_each_span(steps: list[tuple[int, int]], count: int, later: int) -> None:
    series, seen, sample = Series(), [], 100_000
    for step, value in steps:
        sample += step
        series.add(sample, float(value))
        seen.append((sample, float(value)))
    now_ms = (sample + later) * SAMPLE_MS + 1
    kept = [(at, value) for at, value in seen if at > sample - SAMPLES]
    each_ms = SPAN_MS // count
    last = now_ms // each_ms
    expected = [
        max((value for at, value in kept if at * SAMPLE_MS // each_ms == span), default=None)
        for span in range(last - count + 1, last + 1)
    ]
    assert series.bars(now_ms, count) == expected
    known = {at: max(value for when, value in kept if when == at) for at, _ in kept if at > sample + later - SAMPLES}
    assert series.worst(now_ms) == max(known.values(), default=None)
    assert series.middle(now_ms) == (median(known.values()) if known else None)


def test_every_count_of_bars_is_of_whole_milliseconds() -> None:
    assert all(SPAN_MS % count == 0 for count in COUNTS)


def test_a_late_value_counts_where_it_belongs() -> None:
    series = Series()
    series.add(1000, 5)
    series.add(999, 7)
    series.add(1000 - SAMPLES, 9)
    bars = series.bars(1000 * SAMPLE_MS, SAMPLES)
    assert bars[-2:] == [7, 5]
    assert bars[:-2] == [None] * (SAMPLES - 2)


def test_what_the_helper_remembers_comes_before_what_was_seen_here() -> None:
    model = fold(Model(), local_pb2.WatchUpdate(snapshot=recordings.status(recordings.mesh())))
    grace = recordings.members()[4]
    now = recordings.NOW_MS // SAMPLE_MS
    remembered = local_pb2.MemberPast(
        mesh_id="mesh-home", member_id=grace.id, newest_sample=now - 1,
        traffic=bytes([0, packed(50), packed(70)]), latency=bytes([packed(9), 0, packed(12)]),
    )  # fmt: skip
    history = History()
    history.recall([remembered])
    history.learn(model, recordings.NOW_MS)
    past = history.of("mesh-home", grace.id)
    before, *seen = past.traffic.bars(recordings.NOW_MS, SAMPLES)[-4:]
    assert before is None
    assert seen == pytest.approx([50, 70, grace.rx_rate + grace.tx_rate], rel=0.06)
    first, none, last = past.latency.bars(recordings.NOW_MS, SAMPLES)[-4:-1]
    assert none is None
    assert (first, last) == pytest.approx((9, 12), rel=0.06)


def test_recordings_of_the_first_format_have_parts_of_fifteen_seconds() -> None:
    part = recordings.NOW_MS // 15_000
    old = local_pb2.MemberPast(
        mesh_id="m", member_id="a", newest_part=part, traffic_parts=[-1, 50, 70], latency_parts=[9, -1, 12]
    )
    history = History()
    history.recall([old])
    assert history.of("m", "a").traffic.bars(recordings.NOW_MS, 60)[-4:] == [None, None, 50, 70]
    assert history.of("m", "a").latency.bars(recordings.NOW_MS, 60)[-3:] == [9, None, 12]


@given(
    st.binary(max_size=500), st.binary(max_size=3), st.lists(st.floats(width=32), max_size=500),
    st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 64) - 1),
)  # fmt: skip
def test_whatever_is_remembered_is_taken(
    traffic: bytes, latency: bytes, parts: list[float], sample: int, part: int
) -> None:
    history = History()
    past = local_pb2.MemberPast(
        member_id="a", newest_sample=sample, traffic=traffic, latency=latency, newest_part=part, traffic_parts=parts
    )
    history.recall([past])
    assert len(history.of("", "a").traffic.bars(recordings.NOW_MS, 60)) == 60


@given(steps, st.binary(max_size=500), st.integers(99_000, 101_000), st.binary(max_size=500), st.integers(0, 900))
def test_what_is_recalled_and_what_was_seen_come_together(
    steps: list[tuple[int, int]], packed_values: bytes, newest: int, again: bytes, later: int
) -> None:
    """At first everything that is told; at another connection what came meanwhile."""
    series, slow = Series(), Series()

    def tell(values: bytes, last: int) -> None:
        series.recall(last, values)
        after = slow.at
        for number, value in enumerate(values[-SAMPLES:], last - len(values[-SAMPLES:]) + 1):
            if value and number > after:
                slow.add(number, UNPACKED[value])

    tell(packed_values, newest)
    sample = newest
    for step, value in steps:
        sample += step
        for one in (series, slow):
            one.add(sample, float(value))
    tell(again, sample + later)
    now_ms = max(series.at, slow.at) * SAMPLE_MS
    assert series.bars(now_ms, SAMPLES) == slow.bars(now_ms, SAMPLES)


def test_the_past_of_three_thousand_is_recalled_in_a_moment() -> None:
    """It took seconds when each value was added by itself, and nobody saw a thing until then."""
    values = bytes(range(1, 226)) * 2
    past = [
        local_pb2.MemberPast(member_id=str(at), newest_sample=1000, traffic=values, latency=values)
        for at in range(3000)
    ]
    history = History()
    began = time.process_time()
    history.recall(past)
    assert time.process_time() - began < 1
