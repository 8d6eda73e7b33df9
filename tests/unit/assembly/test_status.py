"""What a mesh's state says of this machine's clock, and of the Redis of each node."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from meshd.assembly import status
from meshd.assembly.status import clock_problem
from meshd.paths.handshake_times import HandshakeTimes
from meshproto import node_pb2

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
