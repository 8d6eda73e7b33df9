"""The file of the past: what was remembered is told again after a restart; anything else is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshd.observe.day import MINUTE_MS, Day
from meshd.observe.kept_past import MAGIC, DamagedPast, decode, encode
from meshd.observe.past import Past
from meshproto import local_pb2

MINUTE = 29_000_000


def remembered(minutes: list[tuple[int, float, float]]) -> tuple[Past, Day]:
    past, day = Past(), Day()
    for minute, traffic, latency in sorted(minutes):
        for one in (past, day):
            one.sample((MINUTE + minute) * MINUTE_MS, {"a": (traffic, latency)})  # type: ignore[attr-defined]
    return past, day


def kept(past: Past, day: Day) -> bytes:
    return encode(local_pb2.WatchUpdate(past=past.messages(""), days=day.messages("")))


values = st.floats(0, 1e9, width=32)


@given(st.lists(st.tuples(st.integers(0, 2000), values, values), min_size=1, max_size=20))
def test_a_restart_changes_nothing(minutes: list[tuple[int, float, float]]) -> None:
    past, day = remembered(minutes)
    past_again, day_again = Past(), Day()
    read = decode(kept(past, day))
    past_again.recall(read.past)
    day_again.recall(read.days)
    assert past_again.messages("m") == past.messages("m")
    assert day_again.message("a") == day.message("a")
    later = (MINUTE + 2100) * MINUTE_MS
    for one in (day, day_again):
        one.sample(later, {"a": (7.0, 7.0)})
    assert day_again.message("a") == day.message("a")


def test_what_is_a_day_old_is_forgotten() -> None:
    past, day = remembered([(0, 5.0, 5.0)])
    again = Day()
    again.recall(decode(kept(past, day)).days)
    again.sample((MINUTE + 1440) * MINUTE_MS, {"b": (1.0, 1.0)})
    assert list(again.message("a").traffic) == []


@given(st.binary(max_size=200))
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(DamagedPast):
        decode(data)
    with pytest.raises(DamagedPast):
        decode(MAGIC + data)


def test_a_damaged_file_is_refused() -> None:
    data = bytearray(kept(*remembered([(0, 5.0, 5.0)])))
    data[-1] ^= 1
    with pytest.raises(DamagedPast, match="checksum"):
        decode(bytes(data))


def test_values_of_another_length_are_left_out() -> None:
    past, day = Past(), Day()
    past.recall([local_pb2.MemberPast(member_id="a", newest_sample=9, traffic=b"1", latency=b"1")])
    day.recall([local_pb2.MemberDay(member_id="a", newest_minute=9, traffic=b"x", latency_ms=b"x")])
    assert (past.messages(""), day.messages("")) == ([], [])
