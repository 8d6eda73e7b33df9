"""What a mesh's state says of this machine's clock, and of the Redis of each node."""

from __future__ import annotations

import os
import time
from ipaddress import IPv4Address, IPv6Address
from types import SimpleNamespace
from typing import Any

import pytest
from meshd.assembly import status
from meshd.assembly.status import clock_problem
from meshd.model.members import Role
from meshd.observe.rates import Rate
from meshd.paths.handshake_times import HandshakeTimes
from meshd.paths.probing import Prober
from meshproto import local_pb2, node_pb2
from meshproto.keys import PublicKey

NOW, DAY = 1_800_000_000.0, 86400.0


@pytest.mark.parametrize(
    ("clock", "joined", "said"),
    [
        (NOW, NOW - DAY, ""),
        (NOW + 3 * DAY, NOW - DAY, ""),  # ahead: WireGuard takes it
        (NOW - 2 * DAY, NOW - 9 * DAY, "2 d"),  # the last handshake was later
        (NOW, NOW + 60, ""),  # clocks differ a little
        (NOW, NOW + 5 * DAY, "5 d"),  # another member joined in this machine's future
    ],
)
def test_a_clock_that_nodes_may_refuse(monkeypatch: pytest.MonkeyPatch, clock: float, joined: float, said: str) -> None:
    handshakes = HandshakeTimes()
    handshakes.note("gw-berlin", NOW, wall=NOW, boot=50.0)
    members = {"a": SimpleNamespace(joined_ms=int(joined * 1000))}
    mesh: Any = SimpleNamespace(sessions=SimpleNamespace(handshakes=handshakes), members=members)
    monkeypatch.setattr(status.time, "time", lambda: clock)
    problem = clock_problem(mesh)
    if not said:
        assert problem == ""
    else:
        assert problem.startswith(f"; this machine's clock is {said} behind")
        assert "timedatectl set-ntp true" in problem


def test_a_pause_ends_by_the_clock_of_where_the_machine_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    noon = 1_800_014_400_000 - 1_800_014_400_000 % 86_400_000 + 12 * 3_600_000
    mesh: Any = SimpleNamespace(name="home", choices=SimpleNamespace(paused_until_ms=noon))
    try:
        for zone, said in (("UTC", "12:00"), ("EAST-5", "17:00"), ("WEST3", "09:00")):
            monkeypatch.setenv("TZ", zone)  # as another /etc/localtime: nobody tells this process
            assert f"paused until {said};" in status.mesh_state(mesh)[1]
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("member_id", "said"),
    [
        ("me", "redis is rewriting its append-only file"),
        ("other", "1 changes behind"),
        ("gone", ""),  # what it said before it went is not true any more
        ("never heard", ""),
    ],
)
def test_the_store_of_a_node_is_as_it_is_known_now(member_id: str, said: str) -> None:
    health = {
        "me": node_pb2.NodeHealth(store_state="ok", reachable=True),
        "other": node_pb2.NodeHealth(store_state="1 changes behind", reachable=True),
        "gone": node_pb2.NodeHealth(store_state="ok"),
    }
    mesh: Any = SimpleNamespace(
        choices=SimpleNamespace(member_id="me"),
        duties=SimpleNamespace(store_state="redis is rewriting its append-only file"),
        node_health=health,
    )
    member: Any = SimpleNamespace(id=member_id)
    assert status._store_state(mesh, member) == said


@pytest.mark.parametrize(
    ("up", "held", "enabled", "known"),
    [(True, True, True, True), (False, True, True, False), (True, False, True, False), (True, True, False, False)],
)
def test_a_machine_without_tunnels_says_nothing_old_about_others(
    up: bool, held: bool, enabled: bool, known: bool
) -> None:
    """Disconnected, without its keys, disabled: for some seconds the others would look as they did."""
    key = PublicKey(bytes(31) + b"1")
    me = SimpleNamespace(id="me", enabled=enabled)
    other: Any = SimpleNamespace(
        id="other", name="gw-berlin", role=Role.NODE, enabled=True, admin=False, public_key=key,
        ipv4=IPv4Address("10.11.0.1"), ipv6=IPv6Address("2001:db8::1"), subnet=None, endpoints=(), joined_ms=0,
        joined_by="", protocol_version=1,
    )  # fmt: skip
    stored = SimpleNamespace(epoch=1, revision=4)
    mesh: Any = SimpleNamespace(
        choices=SimpleNamespace(member_id="me", up=up),
        identity=SimpleNamespace(held=object() if held else None),
        me=me,
        duties=None,
        node_health={"other": node_pb2.NodeHealth(store_state="ok", reachable=True)},
        committed=SimpleNamespace(revision=4),
        state=SimpleNamespace(members={}, voters=SimpleNamespace(current=()), position=stored),
        presence={}, versions={}, ipv6=False,
        sessions=SimpleNamespace(
            device=None, prober=Prober(lambda _: True, os.urandom), rates=SimpleNamespace(of=lambda _: Rate(716, 20)),
            is_online=lambda _: True, over_transport=lambda _: False, ways={}, handshake_shown=lambda _: 0.0,
        ),
    )  # fmt: skip
    told = status.member_status(mesh, other)
    assert told.online is known
    assert (told.path == local_pb2.PATH_DIRECT) is known
    assert (told.rx_rate, told.tx_rate) == ((716, 20) if known else (0, 0))
    assert told.store_state == ("ok" if known else "")
    assert (told.replica_lag >= 0) is known
