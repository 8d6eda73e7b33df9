"""Request ids that somebody else used or reserves: they give nothing away and stop nothing. On real redis-servers."""

from __future__ import annotations

import hashlib
import uuid
from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import Any

import pytest
from meshd.assembly.admitted import Admitted
from meshd.assembly.join_service import JoinService
from meshd.assembly.write_limits import WriteLimits
from meshd.model.errors import Conflict, MeshError
from meshd.model.requests import as_asked_by
from meshproto import join_pb2, node_pb2, state_pb2

DONE, REFUSED = node_pb2.ChangeResult.DONE, node_pb2.ChangeResult.REFUSED
TOKEN = b"sixteen bytes or so"
SECRET = bytes(20)
OUTSIDE = IPv4Address("192.0.2.66")


def duties_of(node: Any, told: list[str]) -> JoinService:
    """The join service of a node, whose own state is the newest."""

    async def reconcile() -> None:
        mesh.state = node.leadership.primary.head
        mesh.members = dict(mesh.state.parsed)
        mesh.present = list(mesh.members.values())

    mesh: Any = SimpleNamespace(
        state=node.leadership.primary.head,
        reconcile=reconcile,
        admitted=Admitted(),
        members={},
        present=[],
        choices=SimpleNamespace(member_id=node.id),
        identity=SimpleNamespace(cluster_secret=SECRET),
    )
    mesh.admit = lambda message, position: mesh.admitted.add(message, position, mesh.state)

    def refused(source: str, what: str, reason: str) -> None:
        told.append(f"{what}: {reason}")

    return JoinService(mesh, node.submit, refused, lambda: False, WriteLimits())


async def redeem(duties: JoinService, **fields: Any) -> join_pb2.Admission:
    return await duties.redeem_invite(OUTSIDE, join_pb2.RedeemInviteRequest(**fields))


async def invited(cluster: Any, primary: Any, role: state_pb2.Role.ValueType, name: str) -> str:
    invite_id = uuid.uuid4().hex[:8]
    asked = node_pb2.CreateInvite(
        id=invite_id,
        member=name,
        role=role,
        temporary_public_key=hashlib.sha256(invite_id.encode()).digest(),
        token_sha256=hashlib.sha256(TOKEN).digest(),
    )
    change = node_pb2.Change(request_id=str(uuid.uuid4()), actor="gw-0 (ada)", create_invite=asked)
    assert (await primary.submit(change)).outcome == DONE
    return invite_id


async def test_an_id_of_another_request_admits_nobody(cluster: Any) -> None:
    """Of a renamed node, and of a node that joined: neither without an invite nor with a false token."""
    primary = await cluster.all_vote()
    told: list[str] = []
    duties = duties_of(primary, told)
    rename = node_pb2.Change(
        request_id=str(uuid.uuid4()), rename_member=node_pb2.RenameMember(id=list(cluster.nodes)[1], name="gw-bonn")
    )
    assert (await primary.submit(rename)).outcome == DONE
    applicant = cluster.applicant("gw-x")
    for joiner in (applicant, None):
        with pytest.raises(MeshError, match="has no invite 00000000"):
            await redeem(duties, invite_id="00000000", token=b"x", request_id=rename.request_id, applicant=joiner)
    assert told[0].startswith("an invite: home has no invite")
    invite_id = await invited(cluster, primary, state_pb2.ROLE_NODE, "gw-x")
    asked = {"invite_id": invite_id, "request_id": "j", "applicant": applicant}
    first = await redeem(duties, token=TOKEN, **asked)
    assert first.cluster_secret == SECRET
    again = await redeem(duties, token=TOKEN, **asked)
    assert (again.member_id, again.cluster_secret) == (first.member_id, SECRET)
    with pytest.raises(MeshError, match="for another request"):
        await redeem(duties, token=b"x", **asked)
    for other in (cluster.applicant("other"), None):
        with pytest.raises(MeshError, match="edited"):
            await redeem(duties, token=b"x", **{**asked, "applicant": other})


async def test_a_member_that_was_removed_is_not_admitted_again(cluster: Any) -> None:
    primary = await cluster.all_vote()
    duties = duties_of(primary, [])
    applicant = cluster.applicant("laptop-grace")
    invite_id = await invited(cluster, primary, state_pb2.ROLE_PEER, "laptop-grace")
    asked = {"invite_id": invite_id, "request_id": "j", "applicant": applicant, "token": TOKEN}
    admission = await redeem(duties, **asked)
    admit = node_pb2.Change(request_id="node", admit_node=node_pb2.AdmitNode(applicant=cluster.applicant("gw-y")))
    node = (await primary.submit(admit)).member_id
    for member_id in (admission.member_id, node):
        remove = node_pb2.Change(request_id=str(uuid.uuid4()), remove_member=node_pb2.RemoveMember(id=member_id))
        assert (await primary.submit(remove)).outcome == DONE
    with pytest.raises(Conflict, match="removed from the mesh since it joined"):
        await redeem(duties, **asked)
    again = await primary.submit(admit)
    assert (again.outcome, again.code) == (REFUSED, "conflict")
    assert not again.member.certificate


async def test_ids_that_a_peer_reserves_stop_no_election(cluster: Any) -> None:
    old = await cluster.all_vote()
    duties = duties_of(old, [])
    invite_id = await invited(cluster, old, state_pb2.ROLE_PEER, "laptop-ada")
    joined = await redeem(
        duties, invite_id=invite_id, request_id="j", applicant=cluster.applicant("laptop-ada"), token=TOKEN
    )
    ada = old.leadership.primary.head.parsed[joined.member_id]
    port = 10200
    reserved = range(old.elector.epoch + 1, old.elector.epoch + 11)
    for epoch in reserved:
        for node in cluster.nodes:
            port += 1
            endpoints = node_pb2.UpdateEndpoints(id=ada.id, listen_port=port)
            change = node_pb2.Change(
                request_id=f"term-{epoch}-{node}", actor="meshd", asker="meshd", update_endpoints=endpoints
            )
            assert (await old.submit(as_asked_by(ada, change))).outcome == DONE
    await old.stop()
    new = await cluster.primary(old)
    assert new.elector.epoch in reserved, "a term whose first entry has such an id began"
    assert (await new.submit(cluster.change())).outcome == DONE


async def test_the_same_id_for_something_else_is_refused(cluster: Any) -> None:
    primary = await cluster.all_vote()
    one, other = cluster.change(), cluster.change()
    other.request_id = one.request_id
    assert (await primary.submit(one)).outcome == DONE
    result = await primary.submit(other)
    assert (result.outcome, result.code) == (REFUSED, "request-id-used")
    rotate = node_pb2.Change(request_id=one.request_id, rotate_key=node_pb2.RotateKey())
    assert (await primary.submit(rotate)).code == "request-id-used"
    assert (await primary.submit(one)).outcome == DONE
    assert primary.leadership.primary.head.position.revision == (await primary.submit(one)).position.revision


async def test_what_an_earlier_release_carried_out_is_not_answered(cluster: Any) -> None:
    """It kept neither asker nor content: nobody knows whose the answer would be. It isn't carried out twice either."""
    primary = await cluster.all_vote()
    change, term = cluster.change(), primary.leadership.primary
    write = term._changes.append

    async def as_before(entry: state_pb2.ChangeEntry, *positions: Any) -> None:
        entry.ClearField("asker")
        entry.ClearField("content")
        await write(entry, *positions)

    term._changes.append = as_before
    assert (await primary.submit(change)).outcome == DONE
    term._changes.append = write
    result = await primary.submit(change)
    assert (result.outcome, result.code) == (REFUSED, "request-id-used")
