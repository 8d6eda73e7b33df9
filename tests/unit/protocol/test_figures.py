"""Recordings of thousands of members: short, and the same again."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproto import local_pb2
from meshproto.figures import BadFigures, Figures

IDS = ("ada", "grace", "joan")


def member(
    member_id: str, name: str, rx: int, tx: int, rate: float, latency: float, moment: int
) -> local_pb2.MemberStatus:
    return local_pb2.MemberStatus(
        id=member_id, name=name, rx_bytes=rx, tx_bytes=tx, rx_rate=rate, tx_rate=rate / 2, latency_ms=latency,
        latest_handshake_ms=moment,
    )  # fmt: skip


COUNTS = st.integers(0, (1 << 63) - 1)
RATES = st.just(0.0) | st.floats(1e-6, 1e12)
"""Bytes a second, or ms: what is smaller than a float of four bytes can be is no figure that a member has."""
MEMBERS = st.builds(member, st.sampled_from(IDS), st.sampled_from("ab"), COUNTS, COUNTS, RATES, RATES, COUNTS)


def each_once(members: list[local_pb2.MemberStatus]) -> list[local_pb2.MemberStatus]:
    return list({one.id: one for one in members}.values())


DIFFERENCES = st.builds(
    lambda removed, members, gone: local_pb2.WatchUpdate(
        differences=[
            local_pb2.MeshDifference(mesh_id="m", removed=removed, members=each_once(members), removed_member_ids=gone)
        ]
    ),
    st.booleans(),
    st.lists(MEMBERS, max_size=4),
    st.lists(st.sampled_from(IDS), max_size=2, unique=True),
)
SNAPSHOTS = st.builds(
    lambda members: local_pb2.WatchUpdate(
        snapshot=local_pb2.Status(meshes=[local_pb2.MeshStatus(id="m", members=each_once(members))])
    ),
    st.lists(MEMBERS, max_size=4),
)


def shown(update: local_pb2.WatchUpdate) -> local_pb2.WatchUpdate:
    """With the digits that a recording keeps, and members in one order."""
    like = local_pb2.WatchUpdate.FromString(update.SerializeToString())
    for one in (one for difference in like.differences for one in difference.members):
        for name in ("rx_rate", "tx_rate", "latency_ms"):
            setattr(one, name, float(f"{getattr(one, name):.3g}"))
    for difference in like.differences:
        ordered = sorted(difference.members, key=lambda one: one.id)
        members = [local_pb2.MemberStatus.FromString(one.SerializeToString()) for one in ordered]
        del difference.members[:]
        difference.members.extend(members)
    return like


@given(st.lists(DIFFERENCES | SNAPSHOTS))
def test_what_is_shortened_is_whole_again(updates: list[local_pb2.WatchUpdate]) -> None:
    writes, reads = Figures(), Figures()
    for update in updates:
        before = update.SerializeToString(deterministic=True)
        short = writes.shortened(update).SerializeToString()
        assert update.SerializeToString(deterministic=True) == before
        assert shown(reads.whole(local_pb2.WatchUpdate.FromString(short))) == shown(update)


FIGURES = st.builds(
    local_pb2.MemberFigures,
    numbers=st.lists(st.integers(0, 3) | st.integers(0, (1 << 32) - 1), max_size=3),
    **{name: st.lists(st.integers(-(1 << 63), (1 << 63) - 1), max_size=3) for name in ("rx_bytes", "handshakes_ms")},
    **{name: st.lists(st.floats(width=32), max_size=3) for name in ("rx_rates", "latencies_ms")},
    tx_bytes=st.lists(st.just(0), max_size=3),
    tx_rates=st.lists(st.just(0.0), max_size=3),
)


@given(MEMBERS, FIGURES)
def test_figures_of_a_stranger_are_refused_or_taken(
    one: local_pb2.MemberStatus, figures: local_pb2.MemberFigures
) -> None:
    reads = Figures()
    reads.whole(local_pb2.WatchUpdate(differences=[local_pb2.MeshDifference(mesh_id="m", members=[one])]))
    update = local_pb2.WatchUpdate(differences=[local_pb2.MeshDifference(mesh_id="m", figures=figures)])
    try:
        assert len(reads.whole(update).differences[0].members) == len(figures.numbers)
    except BadFigures:
        assert (
            figures.numbers
            or figures.rx_bytes
            or figures.latencies_ms
            or figures.rx_rates
            or figures.tx_bytes
            or (figures.tx_rates or figures.handshakes_ms)
        )


def test_figures_of_who_is_gone_are_refused() -> None:
    reads = Figures()
    ada = member("ada", "a", 1, 1, 1, 1, 1)
    reads.whole(local_pb2.WatchUpdate(differences=[local_pb2.MeshDifference(mesh_id="m", members=[ada])]))
    reads.whole(local_pb2.WatchUpdate(differences=[local_pb2.MeshDifference(mesh_id="m", removed_member_ids=["ada"])]))
    counted = local_pb2.MemberFigures(
        numbers=[0], rx_bytes=[1], tx_bytes=[1], rx_rates=[1], tx_rates=[1], latencies_ms=[1], handshakes_ms=[1]
    )
    with pytest.raises(BadFigures, match="gone"):
        reads.whole(local_pb2.WatchUpdate(differences=[local_pb2.MeshDifference(mesh_id="m", figures=counted)]))


def test_three_thousand_that_count_on_are_a_twentieth() -> None:
    """What 3,000 members cost in a recording every two seconds; 0.8 MB when each is written whole."""

    def crowd(step: int) -> list[local_pb2.MemberStatus]:
        return [
            local_pb2.MemberStatus(
                id=f"9e91c0de-0000-4000-8000-{number:012x}", name=f"laptop-{number}", ipv4="10.51.0.1",
                ipv6=f"fd4b:9c1e:77a0::{number:x}", public_key=f"{number * 7919:043x}=", endpoint="198.51.100.7:10100",
                candidates=["198.51.100.7:10100"], joined_by="invite of gw-berlin", path_reason="",
                online=True, enabled=True, rx_bytes=number * 1000 + step * number * 37 % 90_000,
                tx_bytes=number * 500 + step * number * 13 % 50_000, rx_rate=step * number * 37 % 45_000 / 1.7,
                tx_rate=step * number * 13 % 25_000 / 1.3, latency_ms=(number * 7 + step) % 800 / 10.3,
                latest_handshake_ms=1_760_000_000_000 + step * 2000 * (number % 50 == 0),
            )
            for number in range(3000)
        ]  # fmt: skip

    writes = Figures()
    sizes = []
    for step in range(1, 4):
        difference = local_pb2.MeshDifference(mesh_id="m", members=crowd(step))
        update = local_pb2.WatchUpdate(differences=[difference])
        short = writes.shortened(update).SerializeToString()
        sizes.append((len(update.SerializeToString()), len(gzip.compress(short, 6))))
    assert sizes[2][1] * 20 < sizes[2][0], sizes
