"""What a watcher is told: the differences, put into what it has, give what there is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from meshd.assembly.local_api import differences
from meshproto import local_pb2

members = st.builds(
    local_pb2.MemberStatus,
    id=st.sampled_from("abcd"),
    name=st.sampled_from(["laptop-ada", "laptop-bo"]),
    online=st.booleans(),
    rx_bytes=st.integers(0, 3),
)
meshes = st.builds(
    local_pb2.MeshStatus,
    id=st.sampled_from("xyz"),
    name=st.sampled_from(["home", "work"]),
    state=st.sampled_from([local_pb2.CONNECTED, local_pb2.STALE]),
    revision=st.integers(0, 3),
    warnings=st.lists(st.sampled_from(["clock"]), max_size=1),
    routes=st.lists(st.builds(local_pb2.RouteStatus, cidr=st.sampled_from(["203.0.113.0/24"])), max_size=1),
    members=st.lists(members, max_size=4, unique_by=lambda one: one.id),
)
statuses = st.builds(local_pb2.Status, meshes=st.lists(meshes, max_size=3, unique_by=lambda one: one.id))


def applied(
    status: local_pb2.Status, found: list[local_pb2.MeshDifference]
) -> dict[str, tuple[bytes, dict[str, bytes]]]:
    """As a front end does it: by mesh id, head and members."""
    known = normal(status)
    for one in found:
        if one.removed:
            del known[one.mesh_id]
            continue
        head, inside = known.get(one.mesh_id, (b"", {}))
        if one.HasField("head"):
            head = one.head.SerializeToString(deterministic=True)
        inside = {key: value for key, value in inside.items() if key not in one.removed_member_ids}
        inside |= {member.id: member.SerializeToString(deterministic=True) for member in one.members}
        known[one.mesh_id] = head, inside
    return known


def normal(status: local_pb2.Status) -> dict[str, tuple[bytes, dict[str, bytes]]]:
    known = {}
    for mesh in status.meshes:
        head = local_pb2.MeshStatus()
        head.CopyFrom(mesh)
        del head.members[:]
        inside = {member.id: member.SerializeToString(deterministic=True) for member in mesh.members}
        known[mesh.id] = head.SerializeToString(deterministic=True), inside
    return known


@given(statuses, statuses)
def test_differences_lead_from_one_to_the_other(sent: local_pb2.Status, present: local_pb2.Status) -> None:
    found = differences(sent, present)
    assert applied(sent, found) == normal(present)
    changed = {one.mesh_id for one in found}
    assert all(normal(sent).get(key) == value for key, value in normal(present).items() if key not in changed)


@given(statuses)
def test_nothing_new_is_nothing_to_tell(status: local_pb2.Status) -> None:
    assert differences(status, status) == []


def test_only_the_member_that_changed_is_told() -> None:
    quiet, busy = local_pb2.MemberStatus(id="a"), local_pb2.MemberStatus(id="b")
    later = local_pb2.MemberStatus(id="b", rx_bytes=5)
    (one,) = differences(
        local_pb2.Status(meshes=[local_pb2.MeshStatus(id="m", members=[quiet, busy])]),
        local_pb2.Status(meshes=[local_pb2.MeshStatus(id="m", members=[quiet, later])]),
    )
    assert list(one.members) == [later]
    assert not one.HasField("head")
