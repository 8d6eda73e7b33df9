"""What each change does, and what it refuses."""

from __future__ import annotations

import hashlib
from ipaddress import ip_address
from typing import Any

import pytest
from meshd.model.changes.admission import MOST_REQUESTS, MOST_REQUESTS_OF_ONE, TOO_MANY_REQUESTS
from meshd.model.errors import Conflict, InvalidInput, MeshError, NotFound, NotPermitted
from meshproto import node_pb2, state_pb2

MINUTE = 60_000
DAY = 24 * 60 * MINUTE


def refused(mesh: Any, kind: type[MeshError], code: str = "", **what: Any) -> MeshError:
    with pytest.raises(kind) as caught:
        mesh.decide(**what)
    if code:
        assert caught.value.code == code
    return caught.value


def addresses(mesh: Any) -> dict[str, str]:
    return {member.name: str(member.ipv4) for member in mesh.state.parsed.values()}


def test_the_first_entry_makes_the_mesh(mesh: Any) -> None:
    member = mesh.state.find_member("gw-a")
    assert (str(member.ipv4), str(member.subnet)) == ("10.11.0.1", "10.11.0.0/16")
    assert list(mesh.state.voters.current) == [member.id]
    assert mesh.state.primary_id == member.id
    assert mesh.state.settings.dns_domain == "home.wg"
    assert mesh.state.settings.mtu == 1420


def test_members_get_the_addresses_that_the_design_names(mesh: Any) -> None:
    mesh.node("gw-b")
    mesh.peer("laptop-ada")
    mesh.peer("laptop-bob")
    assert addresses(mesh) == {
        "gw-a": "10.11.0.1", "gw-b": "10.12.0.1", "laptop-ada": "10.51.0.1", "laptop-bob": "10.51.0.2",
    }  # fmt: skip


def test_the_first_to_redeem_wins_and_the_second_hears_why(mesh: Any) -> None:
    invite = mesh.invite("laptop-ada")
    second = mesh.redemption(invite)
    mesh.redeem(invite)
    refused(mesh, Conflict, "invite-used", redeem_invite=second)
    assert mesh.state.invites[invite].state == state_pb2.INVITE_STATE_REDEEMED


def test_an_invite_for_several_machines_takes_that_many(mesh: Any) -> None:
    invite = mesh.invite(uses=2)
    mesh.redeem(invite, "laptop-ada")
    assert mesh.state.invites[invite].state == state_pb2.INVITE_STATE_OPEN
    mesh.redeem(invite, "laptop-bob")
    refused(mesh, Conflict, "invite-used", redeem_invite=mesh.redemption(invite, "laptop-eve"))
    refused(mesh, InvalidInput, create_invite=node_pb2.CreateInvite(id="4f1c22aa", uses=2, member="x", role=2))


def test_an_invite_for_several_machines_has_keys_for_those_that_come_at_once(mesh: Any) -> None:
    keys = [hashlib.sha256(b"further" + bytes([number])).digest() for number in range(3)]
    made = mesh.invite(uses=4, further_public_keys=keys)
    invite = mesh.state.invites[made]
    assert list(invite.further_public_keys) == keys
    made = mesh.invite()
    assert ip_address(mesh.state.invites[made].temporary_ipv4) < ip_address(invite.temporary_ipv4)
    applicant = mesh.applicant("gw-b")
    applicant.public_key = keys[2]
    refused(mesh, InvalidInput, admit_node=node_pb2.AdmitNode(applicant=applicant))
    many = {"id": "4f1c22aa", "uses": 2, "role": 2, "temporary_public_key": bytes([7] * 32), "token_sha256": bytes(32)}
    refused(mesh, InvalidInput, create_invite=node_pb2.CreateInvite(**many, further_public_keys=keys))
    refused(mesh, Conflict, create_invite=node_pb2.CreateInvite(**many, further_public_keys=keys[:1]))
    for _ in range(4):
        mesh.redeem(invite.id, f"laptop-{mesh.keys}")
    mesh.now_ms += 11 * MINUTE
    mesh.expire()
    assert not mesh.state.invites[invite.id].further_public_keys


def test_each_way_for_an_invite_to_be_of_no_use_has_its_own_code(mesh: Any) -> None:
    refused(mesh, NotFound, "invite-unknown", redeem_invite=mesh.redemption("00ff00ff"))
    expiring = mesh.invite(lifetime_ms=MINUTE)
    wrong = mesh.redemption(expiring, "laptop-ada")
    wrong.token = b"guess"
    refused(mesh, NotPermitted, redeem_invite=wrong)
    mesh.now_ms += MINUTE
    late = mesh.redemption(expiring, "laptop-ada")
    refused(mesh, Conflict, "invite-expired", redeem_invite=late)
    mesh.expire()
    refused(mesh, Conflict, "invite-expired", redeem_invite=late)
    revoked = mesh.invite()
    mesh.do(revoke_invite=node_pb2.RevokeInvite(id=revoked))
    refused(mesh, Conflict, "invite-revoked", redeem_invite=mesh.redemption(revoked, "laptop-ada"))


def test_a_closed_invite_frees_its_address_after_ten_minutes_and_is_forgotten_after_a_month(mesh: Any) -> None:
    invite = mesh.invite(lifetime_ms=MINUTE)
    address = mesh.state.invites[invite].temporary_ipv4
    mesh.now_ms += MINUTE
    mesh.expire()
    assert mesh.state.invites[invite].state == state_pb2.INVITE_STATE_EXPIRED
    mesh.now_ms += 9 * MINUTE
    mesh.expire()
    assert mesh.state.invites[invite].temporary_ipv4 == address
    mesh.now_ms += MINUTE
    mesh.expire()
    assert mesh.state.invites[invite].temporary_ipv4 == ""
    another = mesh.invite()
    assert mesh.state.invites[another].temporary_ipv4 == address
    refused(mesh, Conflict, "invite-expired", redeem_invite=mesh.redemption(invite, "laptop-ada"))
    mesh.now_ms += 31 * DAY
    mesh.expire()
    assert invite not in mesh.state.invites
    refused(mesh, NotFound, "invite-unknown", redeem_invite=mesh.redemption(invite, "laptop-ada"))


def test_expiry_with_nothing_to_do_is_no_change(mesh: Any) -> None:
    mesh.invite()
    assert mesh.decide(expire_invites=node_pb2.ExpireInvites()) is None


def test_ephemeral_members_go_when_they_stay_away(mesh: Any) -> None:
    member = mesh.redeem(mesh.invite("runner-1", ephemeral_ms=60 * MINUTE))
    mesh.now_ms += DAY
    mesh.offline_ms = {member: 60 * MINUTE}
    mesh.expire()
    assert member in mesh.state.members
    mesh.offline_ms = {member: 60 * MINUTE + 1}
    mesh.expire()
    assert member not in mesh.state.members


def test_an_ephemeral_member_that_was_not_seen_yet_is_offline_since_it_joined(mesh: Any) -> None:
    """The primary counts who was never seen from the start of its term."""
    mesh.now_ms += DAY
    member = mesh.redeem(mesh.invite("runner-1", ephemeral_ms=MINUTE))
    mesh.offline_ms[member] = DAY
    mesh.now_ms += MINUTE
    mesh.expire()
    assert member in mesh.state.members
    mesh.now_ms += 1
    mesh.expire()
    assert member not in mesh.state.members


def test_an_ephemeral_node_takes_its_routes_along_unless_it_votes(mesh: Any) -> None:
    node = mesh.redeem(mesh.invite("gw-b", role=state_pb2.ROLE_NODE, ephemeral_ms=60 * MINUTE))
    mesh.now_ms += DAY
    first = mesh.state.find_member("gw-a").id
    mesh.do(add_route=node_pb2.AddRoute(cidr="203.0.113.0/24", node_id=node))
    mesh.do(set_voters=node_pb2.SetVoters(voters=state_pb2.VoterRecord(current=[first, node])))
    mesh.offline_ms = {node: DAY}
    refused(mesh, Conflict, remove_member=node_pb2.RemoveMember(id=node))
    assert mesh.state.routes
    mesh.do(set_voters=node_pb2.SetVoters(voters=state_pb2.VoterRecord(current=[first])))
    mesh.expire()
    assert not mesh.state.routes
    assert node not in mesh.state.parsed


def test_an_ephemeral_node_that_goes_takes_the_cluster_key_out_of_use(mesh: Any) -> None:
    """As `nodes remove` does: it knew the key."""
    node = mesh.redeem(mesh.invite("gw-b", role=state_pb2.ROLE_NODE, ephemeral_ms=60 * MINUTE))
    peer = mesh.redeem(mesh.invite("runner-1", ephemeral_ms=60 * MINUTE))
    stays = mesh.node("gw-c")
    mesh.now_ms += DAY
    mesh.offline_ms = {peer: DAY}
    mesh.expire()
    assert mesh.state.settings.key_generation == 0, "a peer never knew it"
    mesh.offline_ms = {node: DAY}
    before = mesh.state.members[stays].wrapped_secret
    mesh.expire()
    assert mesh.state.settings.key_generation == 1
    assert mesh.state.members[stays].wrapped_secret != before
    assert mesh.state.members.keys() == {mesh.state.find_member("gw-a").id, stays}


def test_names_are_given_once_and_kept_for_open_invites(mesh: Any) -> None:
    mesh.invite("laptop-ada")
    for name in ("gw-a", "laptop-ada"):
        error = refused(mesh, Conflict, admit_node=node_pb2.AdmitNode(applicant=mesh.applicant(name)))
        assert "--name" in error.fix
    mesh.now_ms += 15 * DAY
    mesh.expire()
    mesh.node("laptop-ada")


def test_the_name_in_an_invite_wins(mesh: Any) -> None:
    member = mesh.redeem(mesh.invite("laptop-ada"), "something-else")
    assert mesh.state.parsed[member].name == "laptop-ada"


def test_a_key_is_in_the_mesh_once(mesh: Any) -> None:
    invite = mesh.invite("laptop-ada")
    redemption = mesh.redemption(invite)
    mesh.do(redeem_invite=redemption)
    again = node_pb2.AdmitNode(applicant=redemption.applicant)
    again.applicant.name = "gw-b"
    refused(mesh, Conflict, admit_node=again)
    temporary = node_pb2.AdmitNode(applicant=mesh.applicant("gw-b"))
    another = mesh.invite()
    temporary.applicant.public_key = mesh.state.invites[another].temporary_public_key
    refused(mesh, InvalidInput, admit_node=temporary)


@pytest.mark.parametrize(
    "broken",
    [
        {"public_key": b"short"},
        {"public_key": bytes(32)},
        {"name": "Bad Name"},
        {"name": "x[red]"},
        {"endpoints": ["nonsense:99999"]},
        {"endpoints": ["[fe80::1%eth0]:1"]},
        {"endpoints": ["192.0.2.1:1"] * 17},
        {"listen_port": 70_000},
        {"certificate_request": b"x" * 10_000},
    ],
)
def test_a_hostile_applicant_is_refused(mesh: Any, broken: dict[str, Any]) -> None:
    good = mesh.applicant("gw-b")
    fields = {descriptor.name: value for descriptor, value in good.ListFields()} | broken
    refused(mesh, InvalidInput, admit_node=node_pb2.AdmitNode(applicant=node_pb2.Applicant(**fields)))


def test_requests_are_authorized_once_and_refused_ones_stay_out(mesh: Any) -> None:
    for number, name in enumerate(("laptop-ada", "laptop-eve")):
        asked = node_pb2.AddRequest(id=f"request-{number}", applicant=mesh.applicant(name), source="192.0.2.7")
        mesh.do(add_request=asked)
    member = mesh.do(authorize_request=node_pb2.AuthorizeRequest(id="request-0")).member_id
    assert mesh.state.parsed[member].name == "laptop-ada"
    assert mesh.decide(authorize_request=node_pb2.AuthorizeRequest(id="request-0")) is None
    mesh.do(refuse_request=node_pb2.RefuseRequest(id="request-1"))
    refused(mesh, Conflict, authorize_request=node_pb2.AuthorizeRequest(id="request-1"))
    refused(mesh, NotFound, authorize_request=node_pb2.AuthorizeRequest(id="request-"))
    mesh.now_ms += 2 * DAY
    mesh.expire()
    assert list(mesh.state.requests) == ["request-0"]
    mesh.do(remove_member=node_pb2.RemoveMember(id=member))
    assert not mesh.state.requests


def test_one_stranger_can_not_take_all_places_of_those_that_wait(mesh: Any) -> None:
    """From all of an IPv6 /64; others still may, until there are too many in all."""

    def asked(number: int, source: str) -> node_pb2.AddRequest:
        return node_pb2.AddRequest(id=f"r{number}", applicant=mesh.applicant(f"laptop-{number}"), source=source)

    for number in range(MOST_REQUESTS_OF_ONE):
        mesh.do(add_request=asked(number, f"2001:db8::{number:x}"))
    error = refused(mesh, Conflict, add_request=asked(900, "2001:db8::ffff"))
    assert (error.message, error.code) == (
        "too many machines from 2001:db8::/64 are waiting to be let in", TOO_MANY_REQUESTS
    )  # fmt: skip
    mesh.do(add_request=asked(900, "2001:db8:0:1::1"))
    mesh.do(refuse_request=node_pb2.RefuseRequest(id="r0"))
    mesh.do(add_request=asked(901, "2001:db8::ffff"))
    for number in range(len(mesh.state.requests) - 1, MOST_REQUESTS):
        mesh.do(add_request=asked(number, f"192.0.2.{number}"))
    error = refused(mesh, Conflict, add_request=asked(902, "198.51.100.1"))
    assert (error.message, error.code) == ("too many machines are waiting to be let in", TOO_MANY_REQUESTS)


def test_a_machine_that_asks_again_finds_its_request(mesh: Any) -> None:
    applicant = mesh.applicant("laptop-ada")
    applicant.listen_port, applicant.behind_nat = 10107, True
    asked = node_pb2.AddRequest(id="request-0", applicant=applicant, source="192.0.2.7")
    mesh.do(add_request=asked)
    assert mesh.decide(add_request=asked) is None
    asked.applicant.name = "laptop-a"
    since = mesh.state.requests["request-0"].since_ms
    mesh.now_ms += MINUTE
    mesh.do(add_request=asked)
    assert [(one.name, one.since_ms) for one in mesh.state.requests.values()] == [("laptop-a", since)]
    stranger = node_pb2.AddRequest(id="request-0", applicant=mesh.applicant("laptop-eve"), source="192.0.2.8")
    refused(mesh, Conflict, add_request=stranger)
    member = mesh.do(authorize_request=node_pb2.AuthorizeRequest(id="request-0")).member_id
    assert (mesh.state.parsed[member].listen_port, mesh.state.parsed[member].behind_nat) == (10107, True)
    assert mesh.decide(add_request=asked) is None
    mesh.do(remove_member=node_pb2.RemoveMember(id=member))
    mesh.do(add_request=asked)
    mesh.do(refuse_request=node_pb2.RefuseRequest(id="request-0"))
    assert mesh.decide(add_request=asked) is None


def test_a_node_is_removed_with_its_routes_when_it_votes_no_more(mesh: Any) -> None:
    first, second = mesh.state.find_member("gw-a").id, mesh.node("gw-b")
    mesh.do(add_route=node_pb2.AddRoute(cidr="203.0.113.0/24", node_id=first))
    mesh.do(add_route=node_pb2.AddRoute(cidr="203.0.113.0/24", node_id=second))
    mesh.do(set_voters=node_pb2.SetVoters(voters=state_pb2.VoterRecord(current=[first], next=[first, second])))
    refused(mesh, Conflict, remove_member=node_pb2.RemoveMember(id=second))
    mesh.do(set_voters=node_pb2.SetVoters(voters=state_pb2.VoterRecord(current=[first])))
    mesh.do(remove_member=node_pb2.RemoveMember(id=second))
    assert [route.node_id for route in mesh.state.routes.values()] == [first]
    third = mesh.node("gw-b")
    assert str(mesh.state.parsed[third].ipv4) == "10.12.0.1"


def test_the_last_node_and_one_that_votes_stay(mesh: Any) -> None:
    first = mesh.state.find_member("gw-a").id
    mesh.peer("laptop-ada")
    refused(mesh, Conflict, remove_member=node_pb2.RemoveMember(id=first))
    mesh.node("gw-b")
    refused(mesh, Conflict, remove_member=node_pb2.RemoveMember(id=first))


def test_flags_and_names_change_and_the_statement_is_signed_again(mesh: Any) -> None:
    member = mesh.peer("laptop-ada")
    mesh.do(set_admin=node_pb2.SetAdmin(id=member, admin=True))
    mesh.do(rename_member=node_pb2.RenameMember(id=member, name="laptop-ida"))
    mesh.do(set_enabled=node_pb2.SetEnabled(id=member, enabled=False))
    found = mesh.state.parsed[member]
    assert (found.name, found.admin, found.enabled, found.serial) == ("laptop-ida", True, False, 3)
    assert mesh.state.members[member].disabled_by == "gw-a (ada)"
    for what in (
        {"set_admin": node_pb2.SetAdmin(id=member, admin=True)},
        {"rename_member": node_pb2.RenameMember(id=member, name="laptop-ida")},
        {"set_enabled": node_pb2.SetEnabled(id=member, enabled=False)},
    ):
        assert mesh.decide(**what) is None
    mesh.do(set_enabled=node_pb2.SetEnabled(id=member, enabled=True))
    assert mesh.state.members[member].disabled_by == ""
    refused(mesh, Conflict, rename_member=node_pb2.RenameMember(id=member, name="gw-a"))
    refused(mesh, Conflict, set_enabled=node_pb2.SetEnabled(id=mesh.state.find_member("gw-a").id))


UNKNOWN = b"\xc2\x3e\x05later"  # field 1000, wire type 2


@pytest.mark.parametrize("kind", ["set_enabled", "rename_member", "update_endpoints"])
def test_fields_of_newer_versions_survive_a_change(mesh: Any, kind: str) -> None:
    member = mesh.peer("laptop-ada")
    stored = mesh.state.members[member]
    statement = stored.record.statement + UNKNOWN
    stored.MergeFromString(UNKNOWN)
    stored.record.statement = statement
    message = {
        "set_enabled": node_pb2.SetEnabled(id=member, enabled=False),
        "rename_member": node_pb2.RenameMember(id=member, name="laptop-ida"),
        "update_endpoints": node_pb2.UpdateEndpoints(id=member, endpoints=["192.0.2.9:1"], listen_port=7),
    }[kind]
    entry = mesh.decide(**{kind: message})
    written = state_pb2.Member.FromString(entry.writes[0].value)
    assert UNKNOWN in entry.writes[0].value.replace(written.record.SerializeToString(), b"")
    assert UNKNOWN in written.record.statement


def test_an_invite_keeps_fields_of_newer_versions(mesh: Any) -> None:
    invite = mesh.invite("laptop-ada")
    mesh.state.invites[invite].MergeFromString(UNKNOWN)
    entry = mesh.decide(redeem_invite=mesh.redemption(invite))
    assert UNKNOWN in next(write.value for write in entry.writes if write.kind == "invite")


def test_the_entry_says_who_did_what(mesh: Any) -> None:
    mesh.peer("laptop-ada")
    entry = mesh.entries[-1]
    assert entry.actor == "gw-a (ada)"
    assert entry.action == "redeem-invite"
    assert "laptop-ada" in entry.summary
    assert entry.subject_id == mesh.state.find_member("laptop-ada").id
    assert node_pb2.ChangeResult.FromString(entry.result).outcome == node_pb2.ChangeResult.DONE


def test_a_change_with_control_characters_in_its_actor_is_refused(mesh: Any) -> None:
    from meshd.model.changes import decide

    change = node_pb2.Change(request_id="r", actor="\x1b[31m", expire_invites=node_pb2.ExpireInvites())
    with pytest.raises(InvalidInput):
        decide(mesh.state, change, mesh.context)


def test_voters_are_nodes_each_named_once(mesh: Any) -> None:
    first, peer = mesh.state.find_member("gw-a").id, mesh.peer("laptop-ada")
    for current in ([], [peer], [first, first], ["nobody"]):
        voters = state_pb2.VoterRecord(current=current)
        refused(mesh, InvalidInput, set_voters=node_pb2.SetVoters(voters=voters))


def test_the_entry_says_which_invite_or_request_it_is_about(mesh: Any) -> None:
    invite = mesh.invite()
    made = mesh.entries[-1].subject_id
    revoked = mesh.decide(revoke_invite=node_pb2.RevokeInvite(id=invite[:6]))
    assert [made, revoked.subject_id] == [invite, invite]
    asked = node_pb2.AddRequest(id="4f2a", applicant=mesh.applicant("desk-alan"), source="192.0.2.77")
    mesh.do(add_request=asked)
    refused_one = mesh.decide(refuse_request=node_pb2.RefuseRequest(id="4f2a"))
    assert [mesh.entries[-1].subject_id, refused_one.subject_id] == ["4f2a", "4f2a"]
    let_in = mesh.decide(authorize_request=node_pb2.AuthorizeRequest(id="4f2a"))
    assert let_in.subject_id == node_pb2.ChangeResult.FromString(let_in.result).member_id
