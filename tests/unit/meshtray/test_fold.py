"""From what `Watch` sends to what the tray knows of it."""

from __future__ import annotations

from ipaddress import IPv4Address

from hypothesis import given
from hypothesis import strategies as st
from meshproto import local_pb2 as wire
from meshproto import state_pb2
from meshtray.fold import fold
from meshtray.values import MeshState, Snapshot
from unit.meshtray.situations import NOW


def mesh(name: str = "home", **fields: object) -> wire.MeshStatus:
    members = [
        wire.MemberStatus(id="m1", name="gw-berlin", role=state_pb2.ROLE_NODE, ipv4="10.11.0.1", online=True),
        wire.MemberStatus(id="m4", name="laptop-ada", role=state_pb2.ROLE_PEER, ipv4="10.51.0.4", is_self=True),
    ]
    values: dict[str, object] = {"id": f"mesh-{name}", "name": name, "state": wire.CONNECTED, "self_id": "m4"}
    return wire.MeshStatus(**{"members": members, **values, **fields})  # type: ignore[arg-type]  # checked by protobuf


def first(*meshes: wire.MeshStatus, **fields: object) -> Snapshot:
    status = wire.Status(version="0.1.0", meshes=meshes, **fields)  # type: ignore[arg-type]  # checked by protobuf
    return fold(Snapshot(), wire.WatchUpdate(snapshot=status))


def difference(**fields: object) -> wire.WatchUpdate:
    one = wire.MeshDifference(mesh_id="mesh-home", **fields)  # type: ignore[arg-type]  # checked by protobuf
    return wire.WatchUpdate(differences=[one])


def test_a_snapshot() -> None:
    found = first(mesh(connected_by="ada", wanted=True), caller_tier=wire.TIER_OPERATE)
    assert (found.known, found.version, found.may_operate) == (True, "0.1.0", True)
    (home,) = found.meshes
    assert (home.state, home.connected_by, home.wanted) == (MeshState.CONNECTED, "ada", True)
    assert home.own is not None
    assert home.own.address == IPv4Address("10.51.0.4")
    assert not first(caller_tier=wire.TIER_OBSERVE).may_operate


def test_counters_change_nothing() -> None:
    known = first(mesh())
    busy = wire.MemberStatus(
        id="m1", name="gw-berlin", role=state_pb2.ROLE_NODE, ipv4="10.11.0.1", online=True, rx_bytes=5, latency_ms=3,
    )  # fmt: skip
    assert fold(known, difference(members=[busy])) is known
    assert fold(known, wire.WatchUpdate(at_ms=1)) is known


def test_a_head_keeps_the_members_and_members_the_head() -> None:
    known = first(mesh())
    head = mesh(state=wire.STALE, reason="no answer", members=[])
    found = fold(known, difference(head=head))
    assert (found.meshes[0].state, len(found.meshes[0].members)) == (MeshState.STALE, 2)
    gone = fold(found, difference(removed_member_ids=["m1"]))
    assert list(gone.meshes[0].members) == ["m4"]
    assert gone.meshes[0].state is MeshState.STALE


def test_meshes_come_and_go() -> None:
    known = first(mesh())
    work = wire.WatchUpdate(differences=[wire.MeshDifference(mesh_id="mesh-work", head=mesh("work", members=[]))])
    assert [one.name for one in fold(known, work).meshes] == ["home", "work"]
    assert fold(known, difference(removed=True)).meshes == ()
    unknown = wire.WatchUpdate(differences=[wire.MeshDifference(mesh_id="x", members=[wire.MemberStatus(id="m9")])])
    assert fold(known, unknown) is known


def test_a_new_snapshot_forgets_what_was() -> None:
    known = first(mesh(), mesh("work"))
    assert [one.name for one in fold(known, wire.WatchUpdate(snapshot=wire.Status(meshes=[mesh()]))).meshes] == ["home"]


def test_alarms_are_kept_once_and_only_they() -> None:
    alarm = wire.Event(mesh="home", at_ms=NOW, kind="alarm", severity="error", text="the key of gw-oslo changed")
    others = [
        wire.Event(kind="alarm", severity="warning", text="x"),
        wire.Event(kind="path", severity="error", text="y"),
    ]
    found = fold(first(mesh()), wire.WatchUpdate(events=[alarm, *others]))
    assert [one.text for one in found.alarms] == ["the key of gw-oslo changed"]
    assert fold(found, wire.WatchUpdate(events=[alarm])) is found


def test_text_that_would_lie_is_made_plain() -> None:
    hostile = "laptop\u202egpj\n<b>x</b>"
    found = first(mesh(reason=hostile)).meshes[0]
    assert found.reason == "laptop�gpj�<b>x</b>"
    assert len(first(mesh(reason="x" * 5000)).meshes[0].reason) == 200


updates = st.builds(
    lambda data: wire.WatchUpdate.FromString(data),
    st.builds(
        lambda name, state, address, text: wire.WatchUpdate(
            snapshot=wire.Status(
                meshes=[
                    wire.MeshStatus(
                        id=name, name=text, state=state, reason=text, self_id=name, warnings=[text],
                        members=[wire.MemberStatus(id=name, name=text, ipv4=address, ipv6=text)],
                        pending=[wire.PendingStatus(id=text)], invites=[wire.InviteStatus(id=text, expires_ms=-1)],
                    )
                ]
            )
        ).SerializeToString(),
        st.text(max_size=5), st.integers(-1, 9), st.sampled_from(["", "10.1.2.3", "x", "::1"]), st.text(max_size=30),
    ),
)  # fmt: skip


@given(updates)
def test_whatever_comes_is_shown(update: wire.WatchUpdate) -> None:
    from meshtray.appearance import appearance
    from meshtray.state import Heard, State
    from meshtray.step import step
    from unit.meshtray.situations import LIVE

    now, _ = step(State("ada", "0.1.0", link=LIVE), Heard(fold(Snapshot(), update), NOW, NOW))
    shown = appearance(now)
    assert not any("\n" in item.label for item in shown.menu)
