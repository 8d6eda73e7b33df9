"""What nodes together see of a member, and how often a node is told of it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from meshd.cluster import heartbeats as module
from meshd.cluster.election.messages import Heartbeat, HeartbeatReply
from meshd.cluster.heartbeats import Heartbeats
from meshd.model.position import Position
from meshproto import node_pb2

BERLIN, PARIS, ADA, BOB = "gw-berlin", "gw-paris", "laptop-ada", "laptop-bob"


class Paris:
    """The other node: keeps what it is sent, answers with what it reaches."""

    def __init__(self) -> None:
        self.got: list[node_pb2.HeartbeatRequest] = []
        self.reaches: list[node_pb2.Presence] = []

    async def heartbeat(
        self, member: object, request: node_pb2.HeartbeatRequest, timeout: float
    ) -> node_pb2.HeartbeatReply:
        self.got.append(request)
        return node_pb2.HeartbeatReply(presence=self.reaches, promised_epoch=3, stored=Position(3, 4).message)


def beating(paris: Paris, own: list[node_pb2.Presence]) -> Heartbeats:
    def request() -> node_pb2.HeartbeatRequest:
        return node_pb2.HeartbeatRequest(presence=[node_pb2.Presence(member_id=BERLIN, online=True)])

    return Heartbeats(BERLIN, paris, request, lambda: own)  # type: ignore[arg-type]


async def answers(beats: Heartbeats, paris: Paris, count: int) -> None:
    """Sends so many heartbeats, and has them answered."""
    for number in range(count):
        beat = Heartbeat(3, float(number), Position(3, 5), open=True)
        assert await beats.send(SimpleNamespace(id=PARIS), beat) == HeartbeatReply(3, float(number), Position(3, 4))  # type: ignore[arg-type]
    assert beats.answering() == {PARIS}


async def test_presence_is_what_all_nodes_see_together() -> None:
    own = [
        node_pb2.Presence(member_id=ADA, online=True, attached_node_ids=[BERLIN], candidates=["192.0.2.1:1"]),
        node_pb2.Presence(member_id=BOB, latest_handshake_ms=7),
    ]
    paris = Paris()
    paris.reaches = [
        node_pb2.Presence(
            member_id=ADA, latest_handshake_ms=9, attached_node_ids=[PARIS, BERLIN], candidates=["192.0.2.2:2"]
        )
    ]
    beats = beating(paris, own)
    await answers(beats, paris, 1)
    seen = {one.member_id: one for one in beats.presence()}
    assert seen[ADA] == node_pb2.Presence(
        member_id=ADA,
        online=True,
        latest_handshake_ms=9,
        attached_node_ids=[BERLIN, PARIS],
        candidates=["192.0.2.1:1", "192.0.2.2:2"],
    )
    assert not seen[BOB].online
    assert seen[PARIS].online, "a node that answers is online whoever probes it"
    assert own[0].attached_node_ids == [BERLIN], "what a node said was changed"


async def test_presence_is_told_to_a_node_once_in_its_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PRESENCE_INTERVAL", 3600.0)
    paris = Paris()
    await answers(beating(paris, []), paris, 5)
    assert [len(one.presence) for one in paris.got[:5]] == [1, 0, 0, 0, 0]


def test_who_was_never_seen_is_offline_since_the_term_began(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    own = [node_pb2.Presence(member_id=ADA, online=True)]
    beats = beating(Paris(), own)
    clock[0] = 110.0
    beats.presence()
    own.clear()
    clock[0] = 115.0
    beats.presence()
    offline = beats.offline_ms()
    assert (offline.get(ADA), offline.get(BOB)) == (5_000, 15_000)
