"""Traffic per second: it follows, settles, never is negative, and a new session starts anew."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshd.observe.rates import Rate, Rates
from meshproto.keys import PublicKey

KEY = PublicKey(bytes(32))


def fed(*samples: tuple[float, int, int]) -> Rate:
    rates = Rates()
    for now, rx, tx in samples:
        rates.sample(now, {KEY: (rx, tx)})
    return rates.of(KEY)


def test_a_steady_stream_is_its_rate() -> None:
    rate = fed(*((float(second), second * 1000, second * 50) for second in range(30)))
    assert rate.rx == pytest.approx(1000, rel=0.01)
    assert rate.tx == pytest.approx(50, rel=0.01)


def test_the_first_sample_is_no_rate() -> None:
    assert fed((5.0, 10**9, 10**9)) == Rate()
    assert Rates().of(KEY) == Rate()


def test_silence_becomes_zero_and_not_a_little() -> None:
    assert fed((0.0, 0, 0), (1.0, 10**6, 0), *((float(second), 10**6, 0) for second in range(2, 40))) == Rate()


def test_a_new_session_counts_from_its_own_start() -> None:
    assert fed((0.0, 10**9, 10**9), (1.0, 0, 0)) == Rate()


def test_a_peer_that_went_is_forgotten() -> None:
    rates = Rates()
    rates.sample(0.0, {KEY: (0, 0)})
    rates.sample(1.0, {KEY: (10**6, 0)})
    rates.sample(2.0, {})
    assert rates.of(KEY) == Rate()
    rates.sample(3.0, {KEY: (10**9, 0)})
    assert rates.of(KEY) == Rate()


@given(st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)), max_size=20))
def test_never_negative_and_never_an_error(samples: list[tuple[float, int, int]]) -> None:
    rate = fed(*samples)
    assert rate.rx >= 0
    assert rate.tx >= 0
