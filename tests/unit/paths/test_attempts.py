from __future__ import annotations

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st
from meshd.paths.attempts import CANDIDATES, FIRST_PAUSE, HEAD_START, LONGEST_PAUSE, Attempts, usable_candidates

HERE = ("192.0.2.1:10100",)


def test_the_side_with_the_head_start_tries_at_once_and_the_other_after_it() -> None:
    attempts = Attempts()
    assert attempts.due("a", 100.0, waits=False, addresses=HERE)
    assert not attempts.due("b", 100.0, waits=True, addresses=HERE)
    assert attempts.due("b", 100.0 + HEAD_START, waits=True, addresses=HERE)


def test_each_pause_is_twice_the_one_before_up_to_the_longest() -> None:
    attempts, now, pauses = Attempts(), 0.0, []
    attempts.due("a", now, waits=False, addresses=HERE)
    for _ in range(10):
        attempts.began("a", now)
        start = now
        while not attempts.due("a", now, waits=False, addresses=HERE):
            now += 0.5
        pauses.append(now - start)
    assert pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert pauses[-1] == LONGEST_PAUSE
    assert pauses == sorted(pauses)


def test_a_new_address_makes_it_due_at_once_and_a_vanished_one_does_not() -> None:
    attempts = Attempts()
    attempts.due("a", 0.0, waits=False, addresses=("192.0.2.1:1", "192.0.2.2:1"))
    attempts.began("a", 0.0)
    assert not attempts.due("a", 1.0, waits=False, addresses=("192.0.2.1:1",))
    assert attempts.due("a", 2.0, waits=False, addresses=("192.0.2.1:1", "198.51.100.1:1"))


def test_a_success_and_a_member_that_is_gone_are_forgotten() -> None:
    attempts = Attempts()
    for key in ("a", "b"):
        attempts.due(key, 0.0, waits=False, addresses=HERE)
        attempts.began(key, 0.0)
        attempts.failed(key, "tried 192.0.2.1:1: no answer")
    attempts.keep(["a"])
    assert (attempts.outcome("a"), attempts.outcome("b")) == ("tried 192.0.2.1:1: no answer", "")
    attempts.forget("a")
    assert attempts.due("a", 0.0, waits=False, addresses=HERE)


def test_candidates_are_addresses_of_other_machines_each_once() -> None:
    texts = [
        "192.0.2.1:10100",
        "192.0.2.1:10100",
        "[2001:db8::1]:10100",
        "gw-berlin.example:10100",
        "127.0.0.1:10100",
        "[::1]:10100",
        "0.0.0.0:10100",
        "224.0.0.1:10100",
        "255.255.255.255:10100",
        "[fe80::1]:10100",
        "10.51.0.7:10100",
        "192.0.2.1:99999",
        "",
    ]
    overlay = ip_address("10.51.0.7")
    found = usable_candidates(texts, lambda address: address != overlay)
    assert found == [(ip_address("192.0.2.1"), 10100), (ip_address("2001:db8::1"), 10100)]


def test_no_more_than_the_limit_is_tried() -> None:
    texts = [f"192.0.2.{number}:1" for number in range(1, 100)]
    assert len(usable_candidates(texts, lambda _: True)) == CANDIDATES


@given(st.lists(st.text(max_size=60)))
def test_foreign_texts_are_passed_over(texts: list[str]) -> None:
    usable_candidates(texts, lambda _: True)
