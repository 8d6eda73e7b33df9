"""Who is told that a Redis can't read the copies of the primary's, and what is done about it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from meshd.assembly import copies
from meshd.assembly.copies import Copies
from meshd.assembly.forwarding import Forwarding
from meshd.cluster.leadership import Leadership
from meshd.model.errors import Unavailable
from meshd.model.voters import Voters
from meshd.store.copy_format import CopyFormat
from meshproto import local_pb2, node_pb2

FORMATS = {"a": CopyFormat("Redis 8.0.2", 12), "b": CopyFormat("Valkey 8.1.1", 11), "c": CopyFormat("Redis 7.0.15", 10)}


class Node:
    """One of three, `a` being the oldest."""

    def __init__(self, own: str, primary: str, unread: str = "") -> None:
        self.events: list[str] = []
        self.asked: list[str] = []
        members = {one: SimpleNamespace(name=f"gw-{one}") for one in FORMATS}
        self.mesh: Any = SimpleNamespace(
            name="home",
            choices=SimpleNamespace(member_id=own),
            members=members,
            event=lambda kind, text, **_: self.events.append(text),
        )
        others = {one: FORMATS[one] for one in FORMATS if one != own}
        seat = SimpleNamespace(member_id=own)
        heartbeats = SimpleNamespace(formats=lambda: others, answering=lambda: set(others))
        server = SimpleNamespace(copy_format=FORMATS[own])
        self.leadership: Any = SimpleNamespace(
            _seat=seat, heartbeats=heartbeats, _server=server, copy_format=FORMATS[own]
        )
        self.leadership.not_copying = lambda target: Leadership.not_copying(self.leadership, target)
        self.elector: Any = SimpleNamespace(
            leading=own == primary,
            primary=lambda: primary,
            state=SimpleNamespace(voters=Voters(tuple(FORMATS))),
            hand_over=self.hand_over,
        )
        self.replica: Any = SimpleNamespace(unread=unread, not_voted=None)
        replica = self.replica
        self.copies = Copies(self.mesh, self.elector, replica, self.leadership)
        self.forwarding = Forwarding(self.mesh, self.elector, self.leadership, None)  # type: ignore[arg-type]  # not called

    async def hand_over(self, target: str) -> None:
        self.asked.append(target)


def test_the_primary_says_who_has_no_copy_and_who_should_lead() -> None:
    node = Node("a", "a")
    for _ in range(3):
        node.copies.look()
    (told,) = node.events
    assert told.startswith("Valkey 8.1.1 on gw-b and Redis 7.0.15 on gw-c can't read the copies that Redis 8.0.2 here")
    assert told.endswith("; install the same Redis or Valkey on all nodes")
    (check,) = node.copies.checks()
    assert (check.check, check.state) == ("copies of home", local_pb2.ERROR)
    assert node.copies.problem in told


def test_a_node_without_a_copy_says_so_while_there_is_a_primary() -> None:
    unread = "Redis 7.0.15 here can't read the copies that Redis 8.0.2 makes"
    node = Node("c", "a", unread)
    node.copies.look()
    assert node.copies.problem == f"{unread}: this node gets no changes from gw-a"
    assert node.copies.stopped
    assert node.copies.checks()[0].fix == "install what gw-a has on this node, or a newer one of the same kind"
    alone = Node("c", "", unread)
    alone.copies.look()
    assert (alone.copies.problem, alone.copies.checks()) == ("", [])
    well = Node("c", "c", unread)
    well.copies.look()
    assert (well.copies.problem, well.copies.stopped) == ("", False)


def test_a_node_that_could_not_vote_says_so_when_nobody_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    node, now = Node("c", ""), 1000.0
    monkeypatch.setattr(copies.time, "monotonic", lambda: now)
    node.copies._led = now
    node.replica.not_voted = now, "a", "Redis 7.0.15 here can't read the copies that Redis 8.0.2 makes"
    node.copies.look()
    assert node.copies.problem == "", "another one may be elected yet"
    now += 4
    node.copies.look()
    assert node.copies.problem.startswith("no node leads the mesh, and Redis 7.0.15 here can't read")
    assert "does not vote for gw-a; install the same Redis or Valkey on all nodes; gw-a may be" in node.events[0]
    now += 7
    node.copies.look()
    assert node.copies.problem == "", "gw-a asks no more"


async def test_nobody_takes_over_whose_copies_the_others_could_not_read() -> None:
    node = Node("c", "c")
    refused = await node.forwarding._promote("a")
    assert (refused.outcome, refused.code) == (node_pb2.ChangeResult.REFUSED, "conflict")
    assert "(gw-b has Valkey 8.1.1, gw-c has Redis 7.0.15)" in refused.message
    assert refused.fix == "install the same Redis or Valkey on all nodes"
    await node.forwarding._promote("b")
    await node.forwarding.hand_over()
    assert node.asked == ["b", "b"], "not the oldest one"
    node.elector.state = SimpleNamespace(voters=Voters(("c", "a")))
    with pytest.raises(Unavailable):
        await node.forwarding.hand_over()
