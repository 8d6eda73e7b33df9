"""Whose request a change is: what peers say of that does not count, and no two askers share an id."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshd.model.errors import Conflict, InvalidInput
from meshd.model.requests import (
    NODES,
    OURS,
    as_asked_by,
    asker_of,
    check_repeat,
    check_request,
    check_request_id,
    content_of,
    request_key,
)
from meshd.model.state import filtered_entry
from meshproto import node_pb2, state_pb2

RENAME = node_pb2.RenameMember(id="0123456789", name="gw-bonn")
KEY = bytes(range(32))


def rename(**fields: Any) -> node_pb2.Change:
    return node_pb2.Change(request_id="r", rename_member=RENAME, **fields)


@pytest.mark.parametrize(
    ("sent", "written"),
    [
        ("gw-berlin (root)", "laptop-ada (root)"),
        ("laptop-ada (ada)", "laptop-ada (ada)"),
        ("meshd", "laptop-ada"),
        ("", "laptop-ada"),
        ("laptop-ada (ada)) (", "laptop-ada"),
        ("x (ada) for gw-berlin", "laptop-ada"),
        ("x (a b)", "laptop-ada"),
        ("x (uid 4711)", "laptop-ada (uid 4711)"),
        ("x (\x1b[2J)", "laptop-ada"),
    ],
)
def test_a_peer_speaks_only_for_itself(mesh: Any, sent: str, written: str) -> None:
    peer_id = mesh.peer("laptop-ada")
    peer = mesh.state.parsed[peer_id]
    for asker in ("", OURS, NODES, "other"):
        taken = as_asked_by(peer, rename(actor=sent, asker=asker))
        assert (taken.actor, taken.asker) == (written, peer.id)


def test_a_node_speaks_for_others(mesh: Any) -> None:
    change = rename(actor="laptop-ada (ada)", asker="of a peer")
    assert as_asked_by(mesh.state.find_member("gw-a"), change) == change


def test_who_wants_to_join_asks_as_its_key_whatever_else_is_said() -> None:
    applicant = node_pb2.Applicant(public_key=KEY)
    for change in (
        node_pb2.Change(asker=OURS, redeem_invite=node_pb2.RedeemInvite(applicant=applicant)),
        node_pb2.Change(asker=OURS, admit_node=node_pb2.AdmitNode(applicant=applicant)),
    ):
        assert asker_of(change) == f"key:{KEY.hex()}"


def test_the_token_is_part_of_what_is_asked_whatever_the_sender_says() -> None:
    contents = {
        content_of(
            node_pb2.Change(
                content=b"the same",
                redeem_invite=node_pb2.RedeemInvite(
                    invite_id=invite, token=token, applicant=node_pb2.Applicant(public_key=key)
                ),
            )
        )
        for invite, token, key in (("a", b"t", KEY), ("a", b"u", KEY), ("b", b"t", KEY), ("a", b"t", KEY[::-1]))
    }
    assert len(contents) == 4


def test_a_machine_that_proves_a_later_cluster_key_asks_the_same() -> None:
    first, later = (node_pb2.Change(admit_node=node_pb2.AdmitNode(key_generation=number)) for number in (1, 2))
    assert content_of(first) == content_of(later)


@pytest.mark.parametrize(
    "entry",
    [
        state_pb2.ChangeEntry(request_id="r", asker="other", content=content_of(rename())),
        state_pb2.ChangeEntry(request_id="r", asker=NODES, content=bytes(32)),
        state_pb2.ChangeEntry(request_id="r", asker=NODES),
        state_pb2.ChangeEntry(request_id="r"),  # of an earlier release
    ],
)
def test_what_is_not_the_very_same_request(entry: state_pb2.ChangeEntry) -> None:
    with pytest.raises(Conflict, match="was used before, for another request"):
        check_repeat(rename(), entry)


def test_what_is_the_same_request(mesh: Any) -> None:
    mesh.peer("laptop-ada")
    for entry in mesh.entries:
        assert entry.asker
        assert len(entry.content) == 32
    entry = state_pb2.ChangeEntry(asker=NODES, content=content_of(rename()))
    check_repeat(rename(), entry)
    check_repeat(rename(actor="gw-paris (ada)", asker=NODES), entry)


def test_peers_are_not_shown_whose_request_a_change_was(mesh: Any) -> None:
    mesh.peer("laptop-ada")
    for entry in mesh.entries:
        shown = filtered_entry(entry)
        assert {shown.request_id, shown.asker, shown.content, shown.result} == {"", b""}


@pytest.mark.parametrize("request_id", ["", "a b", "a/b", "meshd/term-7-x", "ä", "x\n", "x\0", "x" * 129])
def test_ids_that_are_no_ids(request_id: str) -> None:
    with pytest.raises(InvalidInput, match="1 to 128"):
        check_request_id(request_id)


def test_what_is_kept_of_a_request_is_small() -> None:
    check_request(rename())
    check_request(rename(content=bytes(32), asker=str(uuid.uuid4())))
    for fields in ({"content": bytes(33)}, {"content": b"x"}, {"content": bytes(4 << 20)}, {"asker": "x" * 65}):
        with pytest.raises(InvalidInput, match="SHA-256"):
            check_request(rename(**fields))


@given(st.text(max_size=20), st.text(max_size=20), st.sampled_from([NODES, OURS, "0123456789", "key:00"]))
def test_no_id_leads_to_another_askers(one: str, other: str, asker: str) -> None:
    def usable(request_id: str) -> bool:
        try:
            check_request_id(request_id)
        except InvalidInput:
            return False
        return True

    if usable(one) and usable(other):
        assert request_key(asker, one) != request_key("", other)
        assert request_key(asker, one) != request_key("another", other)
        assert (request_key(asker, one) == request_key(asker, other)) == (one == other)
