"""Whoever asked to join may go away: before a node was asked that ends it, afterwards it goes on."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from meshd.assembly import joins
from meshd.assembly.daemon import Daemon
from meshd.model.errors import Conflict
from meshd.settings import Settings
from meshproto import local_pb2, state_pb2


class Join:
    """What `join_mesh` runs: reports a stage, waits, and ends as it is told."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self.go_on, self.ended, self.cancelled = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.refusal: Conflict | None = None

    async def __call__(
        self, daemon: Any, request: Any, person: str, reports: Any, asked: Any
    ) -> local_pb2.JoinProgress:
        if self._stage == "redeem":
            asked.set()
        await reports.put(local_pb2.JoinProgress(stage=self._stage))
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        if self.refusal:
            raise self.refusal
        self.ended.set()
        return local_pb2.JoinProgress(stage="done")


@pytest.fixture
def daemon() -> Daemon:
    machine: Any = SimpleNamespace()
    return Daemon(Settings(), machine)


def begin(daemon: Daemon, join: Join, monkeypatch: pytest.MonkeyPatch, **request: Any) -> Any:
    monkeypatch.setattr(joins, "_join", join)
    return joins.join_mesh(daemon, local_pb2.JoinMeshRequest(**request), "ada")


async def test_every_report_comes_and_the_last_one_is_the_result(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    join = Join("redeem")
    join.go_on.set()
    assert [one.stage async for one in begin(daemon, join, monkeypatch)] == ["redeem", "done"]


async def test_a_refusal_comes_after_the_reports(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    join = Join("redeem")
    join.refusal = Conflict("the name is taken")
    join.go_on.set()
    reports = begin(daemon, join, monkeypatch)
    assert (await anext(reports)).stage == "redeem"
    with pytest.raises(Conflict, match="the name is taken"):
        await anext(reports)


@pytest.mark.parametrize(("stage", "request_"), [("verify", {}), ("redeem", {"keys": local_pb2.MemberKeys()})])
async def test_before_a_node_was_asked_or_with_keys_of_a_keyring_it_ends_with_its_caller(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, stage: str, request_: dict[str, Any]
) -> None:
    join = Join(stage)
    reports = begin(daemon, join, monkeypatch, **request_)
    assert (await anext(reports)).stage == stage
    await reports.aclose()
    assert join.cancelled.is_set()


async def test_once_a_node_was_asked_it_goes_on_without_its_caller(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    join = Join("redeem")
    reports = begin(daemon, join, monkeypatch)
    assert (await anext(reports)).stage == "redeem"
    await reports.aclose()
    assert not join.cancelled.is_set()
    join.go_on.set()
    async with asyncio.timeout(5):
        await daemon.stop_meshes()
    assert join.ended.is_set(), "stopping waits for it"


@pytest.mark.parametrize(("role", "remove"), [(state_pb2.ROLE_NODE, "nodes"), (state_pb2.ROLE_PEER, "peers")])
async def test_a_mesh_that_does_not_fit_after_all_says_who_stays_in_it(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, role: state_pb2.Role.ValueType, remove: str
) -> None:
    """What was free before a person decided is taken: the member is there, and somebody has to remove it."""
    own = "00000000-0000-4000-8000-000000000001"
    statement = state_pb2.MemberStatement(
        id=own, name="laptop-ada", role=role, public_key=bytes(range(32)), ipv4="10.51.0.1", ipv6="fd00::1"
    )
    record = state_pb2.MemberRecord(statement=statement.SerializeToString())
    view = state_pb2.View(
        settings=state_pb2.MeshSettings(name="home"), members=[state_pb2.Member(id=own, record=record)]
    )
    choices = SimpleNamespace(member_id=own, interface="home", listen_port=10100)
    joined: Any = SimpleNamespace(view=view, identity=SimpleNamespace(choices=choices), node_id="n")

    def taken(name: str) -> None:
        raise Conflict(f"this machine is in {name} already", "leave it first")

    monkeypatch.setattr(daemon, "check_new", taken)
    with pytest.raises(Conflict) as caught:
        await joins._checked(daemon, joined, local_pb2.JoinMeshRequest())
    assert "laptop-ada was let into home meanwhile and stays" in caught.value.message
    assert caught.value.fix.startswith("leave it first; then ")
    assert caught.value.fix.endswith(f"meshctl {remove} remove laptop-ada")
