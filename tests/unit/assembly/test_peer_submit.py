"""A peer's change goes to one node after the other while none answers, always as the same request."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from meshd.assembly.peer_duties import PeerDuties
from meshproto import node_pb2

Result = node_pb2.ChangeResult
DONE = Result(outcome=Result.DONE)
AWAY = Result(outcome=Result.REFUSED, code="unavailable", message="can't be reached")
TAKEN = Result(outcome=Result.REFUSED, code="conflict", message="the name is taken")
LOST = Result(outcome=Result.UNKNOWN, message="the connection broke")
CHANGE = node_pb2.Change(request_id="7")


class Peer:
    """As much of a peer as `submit` needs; `answers` are by node."""

    def __init__(self, answers: dict[str, Result], attached: str | None = None) -> None:
        self.answers = answers
        self.asked: list[tuple[str, str, int]] = []
        self._attached = SimpleNamespace(id=attached, as_it_was="when the stream began") if attached else None
        self._mesh = SimpleNamespace(name="home", choices=SimpleNamespace(mesh_id="m"))
        self._calls = self

    def _nodes(self) -> list[Any]:
        return [SimpleNamespace(id=name) for name in self.answers]

    async def submit(self, node: Any, request: node_pb2.SubmitRequest, timeout: float) -> Result:
        assert 0 < request.timeout_ms <= timeout * 1000 <= 5000
        self.asked.append((node.id, request.change.request_id, request.timeout_ms))
        return self.answers[node.id]


async def result_of(peer: Any) -> Result:
    return await PeerDuties.submit(peer, CHANGE, 5)


@pytest.mark.parametrize(
    ("answers", "asked", "result"),
    [
        ({"a": DONE, "b": DONE}, "a", DONE),
        ({"a": AWAY, "b": DONE}, "ab", DONE),
        ({"a": LOST, "b": DONE}, "ab", DONE),
        ({"a": TAKEN, "b": DONE}, "a", TAKEN),
        ({"a": AWAY, "b": TAKEN}, "ab", TAKEN),
        ({"a": AWAY, "b": AWAY}, "ab", AWAY),
        ({"a": LOST, "b": AWAY}, "ab", LOST),
        ({"a": AWAY, "b": LOST}, "ab", LOST),
    ],
)
async def test_who_is_asked_and_what_it_comes_to(answers: dict[str, Result], asked: str, result: Result) -> None:
    peer = Peer(answers)
    assert await result_of(peer) == result
    assert "".join(node for node, _, _ in peer.asked) == asked
    assert {request_id for _, request_id, _ in peer.asked} == {"7"}


async def test_the_node_that_it_is_attached_to_comes_first() -> None:
    peer = Peer({"a": DONE, "b": DONE}, attached="b")
    await result_of(peer)
    assert [node for node, _, _ in peer.asked] == ["b"]


async def test_a_silent_node_leaves_time_for_the_next() -> None:
    peer = Peer({"a": AWAY, "b": AWAY, "c": AWAY})
    await result_of(peer)
    assert sum(limit for _, _, limit in peer.asked[:1]) <= 3000
    assert peer.asked[-1][2] >= 4900, "nobody else is left, and hardly any time went by"


async def test_without_a_node_it_is_refused() -> None:
    result = await result_of(Peer({}))
    assert (result.outcome, result.code, result.message) == (Result.REFUSED, "unavailable", "no node of home is known")
