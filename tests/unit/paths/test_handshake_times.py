"""Handshakes keep their age when the wall clock is set, in either direction."""

from __future__ import annotations

from meshd.paths.handshake_times import HandshakeTimes

DAY = 86400.0


def test_the_age_does_not_depend_on_the_wall_clock() -> None:
    times = HandshakeTimes()
    times.note("a", 1000.0, wall=1002.0, boot=50.0)
    for wall in (1010.0, 1010.0 + 3 * DAY, 1010.0 - 3 * DAY):
        times.note("a", 1000.0, wall=wall, boot=58.0)
        assert times.at("a") == 48.0


def test_people_see_it_by_the_clock_as_it_is() -> None:
    times = HandshakeTimes()
    assert times.shown("a", 1.0, 1.0) == 0.0
    times.note("a", 1000.0, wall=1002.0, boot=50.0)
    assert times.shown("a", wall=1011.5, boot=60.0) == 1000.0, "a clock that is disciplined changes nothing"
    assert times.shown("a", wall=1012.0 + DAY, boot=60.0) == 1000.0 + DAY


def test_a_session_that_was_started_anew_keeps_the_last_one() -> None:
    times = HandshakeTimes()
    times.note("a", 1000.0, wall=1002.0, boot=50.0)
    times.note("a", None, wall=1003.0, boot=51.0)
    assert times.at("a") == 48.0
    times.note("a", 1010.0, wall=1010.0, boot=58.0)
    assert times.at("a") == 58.0


def test_a_clock_that_was_set_back_is_noticed() -> None:
    times = HandshakeTimes()
    assert times.set_back(0.0) == 0.0
    times.note("a", 1000.0, wall=1002.0, boot=50.0)
    assert times.set_back(1002.0) == 0.0
    assert times.set_back(999.0) == 0.0
    assert times.set_back(1000.0 - DAY) == DAY


def test_a_stamp_from_the_future_is_as_good_as_now() -> None:
    """meshd was started after the clock had been set back."""
    times = HandshakeTimes()
    times.note("a", 1000.0 + DAY, wall=1000.0, boot=50.0)
    assert times.at("a") == 50.0
    assert times.set_back(1000.0) == DAY


def test_members_that_left_are_dropped() -> None:
    times = HandshakeTimes()
    times.note("a", 1000.0, wall=1002.0, boot=50.0)
    times.keep(set())
    assert times.at("a") is None
