"""Token buckets under a clock of our own."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from meshd.naming.rate_limit import RateLimit


def test_a_burst_and_then_the_rate() -> None:
    limit = RateLimit(10, 5)
    assert [limit.take("ada", 100.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert not limit.take("ada", 100.09)
    assert limit.take("ada", 100.11)
    assert not limit.take("ada", 100.12)
    assert [limit.take("ada", 200.0) for _ in range(6)] == [True] * 5 + [False]


def test_one_asker_costs_another_nothing() -> None:
    limit = RateLimit(10, 1)
    assert limit.take("ada", 1.0)
    assert not limit.take("ada", 1.0)
    assert limit.take("grace", 1.0)


def test_who_asks_no_more_is_forgotten() -> None:
    limit = RateLimit(10, 5)
    for number in range(1000):
        limit.take(number, 0.0)
    assert len(limit) == 1000
    limit.take("ada", 61.0)
    assert len(limit) == 1


@given(st.lists(st.floats(0, 2), max_size=200), st.integers(1, 50), st.integers(1, 20))
def test_never_more_than_burst_and_rate(pauses: list[float], rate: int, burst: int) -> None:
    limit, now, taken = RateLimit(rate, burst), 1000.0, 0
    for pause in pauses:
        now += pause
        taken += limit.take("ada", now)
    assert taken <= burst + (now - 1000.0) * rate + 1e-6 * len(pauses)
