"""The model follows what the helper says, whatever it says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from types import SimpleNamespace
from typing import Any
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproto import local_pb2
from meshproto.plain_text import UNSAFE
from meshtui.listings.nodes import Nodes
from meshtui.mirror import EVENTS_KEPT, fold
from meshtui.model import Model, Path

from tui import recordings


def snapshot(*meshes: local_pb2.MeshStatus) -> Model:
    return fold(Model(), local_pb2.WatchUpdate(snapshot=recordings.status(*meshes)))


def difference(**values: Any) -> local_pb2.WatchUpdate:
    return local_pb2.WatchUpdate(differences=[local_pb2.MeshDifference(mesh_id="mesh-home", **values)])


def test_a_difference_changes_only_what_it_names() -> None:
    before = snapshot(recordings.mesh())
    grace = recordings.members()[4]
    grace.rx_rate = 5
    after = fold(before, difference(members=[grace]))
    assert after.meshes[0].members[grace.id].rx_rate == 5
    assert list(after.meshes[0].members) == list(before.meshes[0].members)
    unchanged = [key for key, one in after.meshes[0].members.items() if one is before.meshes[0].members[key]]
    assert len(unchanged) == len(before.meshes[0].members) - 1
    assert after.meshes[0].routes == before.meshes[0].routes


def test_a_head_keeps_the_members() -> None:
    head = recordings.mesh(state=local_pb2.STALE, reason="no answer", members=[])
    after = fold(snapshot(recordings.mesh()), difference(head=head))
    assert after.meshes[0].reason == "no answer"
    assert len(after.meshes[0].members) == 7


def test_members_and_meshes_go() -> None:
    before = snapshot(recordings.mesh(), recordings.mesh("office"))
    gone = recordings.members()[6].id
    after = fold(before, difference(removed_member_ids=[gone, "never seen"]))
    assert gone not in after.meshes[0].members
    after = fold(after, difference(removed=True))
    assert [mesh.name for mesh in after.meshes] == ["office"]


def test_a_mesh_that_was_joined_meanwhile_appears() -> None:
    after = fold(snapshot(), difference(head=recordings.mesh(members=[]), members=recordings.members()))
    assert after.meshes == snapshot(recordings.mesh()).meshes
    assert fold(snapshot(), difference(members=recordings.members())).meshes == ()


def test_relayed_by_nobody_is_no_path() -> None:
    members = [recordings.member(5, "laptop-grace", path=local_pb2.PATH_RELAYED, relay="")]
    model = fold(Model(), local_pb2.WatchUpdate(snapshot=recordings.status(recordings.mesh(members=members))))
    assert [one.path for one in model.meshes[0].members.values()] == [Path.NONE]


def test_events_come_once_and_are_bounded() -> None:
    one = recordings.event(1, 0, "first")
    model = fold(snapshot(), local_pb2.WatchUpdate(events=[one]))
    assert fold(model, local_pb2.WatchUpdate(events=[one])).events == model.events
    many = [recordings.event(number, 0, f"event {number}") for number in range(EVENTS_KEPT + 50)]
    assert len(fold(model, local_pb2.WatchUpdate(events=many)).events) == EVENTS_KEPT


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif is_dataclass(value):
        for field in fields(value):
            yield from texts(getattr(value, field.name))
    elif isinstance(value, tuple | list):
        for one in value:
            yield from texts(one)
    elif hasattr(value, "values"):
        yield from texts(list(value.values()))


@given(st.text(), st.integers(), st.floats())
def test_hostile_values_end_at_the_edge(text: str, number: int, rate: float) -> None:
    number %= 1 << 31
    member = local_pb2.MemberStatus(
        name=text, ipv4=text, ipv6=text, endpoint=text, relay=text, path_reason=text, candidates=[text],
        store_state=text, joined_by=text, rx_rate=rate, latency_ms=rate, latest_handshake_ms=-number, subnets=[text],
    )  # fmt: skip
    mesh = local_pb2.MeshStatus(
        name=text, id="mesh-home", reason=text, primary=text, warnings=[text], members=[member],
        routes=[local_pb2.RouteStatus(cidr=text, nodes=[text], chosen=text, not_installed=text)],
        pending=[local_pb2.PendingStatus(name=text, source=text)],
    )  # fmt: skip
    event = local_pb2.Event(text=text, subject=text, actor=text, kind=text, severity=text)
    update = local_pb2.WatchUpdate(snapshot=local_pb2.Status(meshes=[mesh]), events=[event])
    model = fold(Model(), update)
    for found in texts(model):
        assert not any(category(letter) in UNSAFE for letter in found)


@pytest.mark.parametrize(
    ("milliseconds", "shown"), [(0, ""), (1000, ""), (4000, "  Time-out 4 s"), (1500, "  Time-out 1.5 s")]
)
def test_an_election_timeout_of_its_own_is_shown(milliseconds: int, shown: str) -> None:
    mesh = recordings.mesh()
    mesh.election_timeout_ms = milliseconds
    view: Any = SimpleNamespace(mesh=snapshot(mesh).meshes[0])
    words = "".join(cell.text for cell in Nodes().summary(view))
    assert f"Voters 3{shown}  changes" in words
