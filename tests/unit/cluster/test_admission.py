"""Who may try to join: nonces good once, proofs of the secret, and how often one source may try."""

from __future__ import annotations

import os
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshd.cluster.admission import (
    CHALLENGE_LIFE,
    CHALLENGES_KEPT,
    SOURCES_KEPT,
    TRIES,
    TRIES_PER_SECOND,
    Challenges,
    RateLimit,
    TooManyTries,
    check_proof,
)
from meshd.model.errors import NotPermitted
from meshproto import cluster_key

SOURCE = IPv4Address("192.0.2.1")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_nonce_is_good_once_and_for_a_minute() -> None:
    clock = Clock()
    challenges = Challenges(os.urandom, clock)
    first, second = challenges.give(), challenges.give()
    challenges.take(first)
    for used in (first, b"", bytes(32)):
        with pytest.raises(NotPermitted, match="unknown or too old"):
            challenges.take(used)
    clock.now += CHALLENGE_LIFE + 0.1
    with pytest.raises(NotPermitted):
        challenges.take(second)


def test_a_flood_of_challenges_fills_no_memory() -> None:
    challenges = Challenges(os.urandom, Clock())
    nonces = [challenges.give() for _ in range(CHALLENGES_KEPT * 2)]
    with pytest.raises(NotPermitted):
        challenges.take(nonces[0])
    challenges.take(nonces[-1])
    assert len(challenges._open) < CHALLENGES_KEPT


PARTS = [b"s" * 32, b"n" * 32, b"ca", b"server", b"k" * 32, b"csr"]


@given(st.integers(0, len(PARTS) - 1), st.binary(max_size=40))
def test_a_proof_is_about_all_of_it(changed: int, other: bytes) -> None:
    proof = cluster_key.proof(*PARTS)
    check_proof(proof, *PARTS)
    parts = [*PARTS[:changed], other, *PARTS[changed + 1 :]]
    if parts != PARTS:
        with pytest.raises(NotPermitted) as caught:
            check_proof(proof, *parts)
        assert caught.value.code == "wrong-key"
    with pytest.raises(NotPermitted):
        check_proof(other, *PARTS)


def tries(limit: RateLimit, source: IPv4Address | IPv6Address, count: int) -> int:
    """How many are let through."""
    allowed = 0
    for _ in range(count):
        try:
            limit.count(source)
        except TooManyTries:
            continue
        allowed += 1
    return allowed


def test_a_source_may_try_ten_times_and_then_slowly() -> None:
    clock = Clock()
    limit = RateLimit(clock)
    assert tries(limit, SOURCE, 50) == TRIES
    with pytest.raises(TooManyTries, match=r"192\.0\.2\.1") as caught:
        limit.count(SOURCE)
    assert caught.value.fix == "wait 3 s and try again"
    assert tries(limit, IPv4Address("192.0.2.2"), 50) == TRIES, "another source is not punished"
    clock.now += 3
    limit.count(SOURCE)
    clock.now += 10_000
    assert tries(limit, SOURCE, 50) == TRIES, "it saves up no more than that"


def test_an_ipv6_source_is_its_network() -> None:
    limit = RateLimit(Clock())
    assert sum(tries(limit, IPv6Address(f"2001:db8::{number:x}"), 1) for number in range(50)) == TRIES
    limit.count(IPv6Address("2001:db8:0:1::1"))


def test_a_flood_from_everywhere_fills_no_memory() -> None:
    limit = RateLimit(Clock())
    for number in range(SOURCES_KEPT + 100):
        limit.count(IPv4Address(number))
    assert len(limit._sources) == SOURCES_KEPT


@given(st.lists(st.tuples(st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1"]), st.floats(0, 5)), max_size=80))
def test_never_more_than_the_rate(found: list[tuple[str, float]]) -> None:
    clock = Clock()
    limit = RateLimit(clock)
    let_in: dict[str, int] = {}
    for source, pause in found:
        clock.now += pause
        let_in[source] = let_in.get(source, 0) + tries(limit, ip_address(source), 1)
    assert all(count <= TRIES + (clock.now - 1000) * TRIES_PER_SECOND + 1e-6 for count in let_in.values())
