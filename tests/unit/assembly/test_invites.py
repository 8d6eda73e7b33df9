"""The secrets of invites made here: kept while they are open, shown to whoever may, gone afterwards."""

from __future__ import annotations

import itertools
import os
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from meshd.assembly.invite_keys import FOLDER, forget_closed
from meshd.assembly.invites import MADE, make_invite, show_invite
from meshd.model.errors import Conflict, MeshError, NotFound, OutcomeUnknown
from meshd.model.members import Endpoint, Role
from meshproto import local_pb2, node_pb2, state_pb2
from meshproto.invite import parse_invite, redeem_token
from meshproto.keys import PublicKey


class Mesh:
    """As much of a mesh as invites need; `commit` is what the primary does with the change."""

    def __init__(self, folder: Path) -> None:
        node = SimpleNamespace(
            id="n",
            role=Role.NODE,
            joined_ms=1,
            ipv4=IPv4Address("10.11.0.1"),
            ipv6=IPv6Address("fd00::1"),
            public_key=PublicKey(bytes(32)),
            endpoints=[Endpoint("192.0.2.1", 10100)],
            join_port=9000,
        )
        self.folder = folder
        self.name = "home"
        self.state = SimpleNamespace(invites={})
        self.sessions = SimpleNamespace(is_online=lambda node: True)
        self.members: dict[str, Any] = {"n": node}
        self.choices = SimpleNamespace(mesh_id="00000000-0000-4000-8000-000000000001", keyring_entry="", person="ada")
        self.identity = SimpleNamespace(ca_certificate=b"ca")
        self.refuse: MeshError | None = None
        self.done = ""  # the invite that the request was carried out with

    async def commit(self, change: node_pb2.CreateInvite) -> node_pb2.ChangeResult:
        if self.refuse:
            raise self.refuse
        if self.done:
            return node_pb2.ChangeResult(applied_node_ids=["n"], object_id=self.done)
        self.state.invites[change.id] = state_pb2.Invite(
            id=change.id,
            member=change.member,
            role=change.role,
            uses=1,
            state=state_pb2.INVITE_STATE_OPEN,
            created_by="gw-berlin (ada)",
            expires_ms=1_800_000_000_000,
            temporary_public_key=change.temporary_public_key,
            token_sha256=change.token_sha256,
            temporary_ipv4="10.51.0.9",
            temporary_ipv6="fd00::9",
        )
        return node_pb2.ChangeResult(applied_node_ids=["n"])

    async def make(self) -> local_pb2.CreateInviteReply:
        return await make_invite(self, local_pb2.CreateInviteRequest(member="laptop-ada"), self.commit)  # type: ignore[arg-type]

    async def show(self, beginning: str) -> local_pb2.CreateInviteReply:
        return await show_invite(self, beginning)  # type: ignore[arg-type]

    @property
    def kept(self) -> set[str]:
        folder = self.folder / FOLDER
        return {path.name for path in folder.iterdir()} if folder.exists() else set()


async def test_an_invite_that_was_made_and_can_not_be_shown_is_not_refused(tmp_path: Path) -> None:
    """As just after an election: no node has its key yet, or it was not seen here."""
    mesh = Mesh(tmp_path)
    mesh.members["n"].endpoints = []
    with pytest.raises(MeshError, match=r"invite .* was made, but no node that others can reach has its key") as caught:
        await mesh.make()
    assert caught.value.code == MADE
    (made,) = mesh.state.invites
    assert mesh.kept == {made}
    assert f"invites show {made}" in caught.value.fix


async def lost(mesh: Mesh, change: node_pb2.CreateInvite) -> node_pb2.ChangeResult:
    await mesh.commit(change)
    mesh.done = change.id
    raise OutcomeUnknown("its answer was lost")


@pytest.fixture
def mesh(tmp_path: Path) -> Mesh:
    return Mesh(tmp_path)


async def test_an_open_invite_is_shown_as_it_was_made(mesh: Mesh) -> None:
    made = await mesh.make()
    assert await mesh.show(made.invite.id[:5]) == made
    invite = parse_invite(made.text)
    stored = mesh.state.invites[invite.id]
    assert invite.temporary_key.public.data == stored.temporary_public_key
    assert len(redeem_token(invite.temporary_key, invite.id)) == 32
    assert [one.endpoints for one in invite.nodes] == [("192.0.2.1:10100",)]


async def test_only_root_reads_what_is_kept(mesh: Mesh) -> None:
    made = await mesh.make()
    path = mesh.folder / FOLDER / made.invite.id
    assert (path.parent.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o600)
    assert path.stat().st_size == 32


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (state_pb2.INVITE_STATE_REDEEMED, "used"),
        (state_pb2.INVITE_STATE_REVOKED, "revoked"),
        (state_pb2.INVITE_STATE_EXPIRED, "expired"),
    ],
)
async def test_a_closed_invite_is_not_shown_and_its_secret_goes(
    mesh: Mesh, state: state_pb2.InviteState.ValueType, word: str
) -> None:
    closed = (await mesh.make()).invite.id
    still_open = (await mesh.make()).invite.id
    mesh.state.invites[closed].state = state
    with pytest.raises(Conflict, match=word):
        await mesh.show(closed)
    forget_closed(mesh.folder, mesh.state)  # type: ignore[arg-type]
    assert mesh.kept == {still_open}


async def test_a_refused_invite_leaves_nothing(mesh: Mesh) -> None:
    mesh.refuse = Conflict("the name is taken")
    with pytest.raises(Conflict):
        await mesh.make()
    assert mesh.kept == set()


async def test_the_secret_of_a_change_that_may_have_been_made_is_kept(mesh: Mesh) -> None:
    mesh.refuse = OutcomeUnknown("who knows")
    with pytest.raises(OutcomeUnknown):
        await mesh.make()
    (unknown,) = mesh.kept
    mesh.refuse = None
    await mesh.make()
    assert unknown in mesh.kept, "it may still turn up"
    os.utime(mesh.folder / FOLDER / unknown, (1, 1))
    forget_closed(mesh.folder, mesh.state)  # type: ignore[arg-type]
    assert unknown not in mesh.kept


async def test_what_somebody_else_made_is_not_here(mesh: Mesh) -> None:
    made = await mesh.make()
    (mesh.folder / FOLDER / made.invite.id).unlink()
    with pytest.raises(NotFound, match="not on this machine") as caught:
        await mesh.show(made.invite.id)
    assert "gw-berlin (ada)" in caught.value.fix


@pytest.mark.parametrize("damage", [b"", b"\0" * 31, b"\1" * 32])
async def test_a_damaged_secret_is_none(mesh: Mesh, damage: bytes) -> None:
    made = await mesh.make()
    (mesh.folder / FOLDER / made.invite.id).write_bytes(damage)
    with pytest.raises(NotFound, match="not on this machine"):
        await mesh.show(made.invite.id)


async def test_unclear_and_unknown_ids(mesh: Mesh) -> None:
    for _ in range(20):  # among 20 ids, two begin with the same of 16 digits
        await mesh.make()
    first = sorted(one[0] for one in mesh.state.invites)
    twice = next(a for a, b in itertools.pairwise(first) if a == b)
    with pytest.raises(Conflict, match="begin with"):
        await mesh.show(twice)
    for nobody in ("", "zz", "../n"):
        with pytest.raises(NotFound, match="there is no invite"):
            await mesh.show(nobody)


async def test_a_repeated_request_gives_the_invite_that_was_made(mesh: Mesh) -> None:
    request = local_pb2.CreateInviteRequest(member="laptop-ada", request_id="r")
    with pytest.raises(OutcomeUnknown):
        await make_invite(mesh, request, partial(lost, mesh))  # type: ignore[arg-type]
    (made,) = mesh.state.invites
    again = await mesh.make()
    assert again.invite.id == made
    assert again == await mesh.show(made)
    assert mesh.kept == {made}, "of the key that was made for the repeat, nothing stays"


async def test_a_repeat_at_another_machine_says_that_the_secret_is_elsewhere(mesh: Mesh) -> None:
    mesh.done = (await mesh.make()).invite.id
    (mesh.folder / FOLDER / mesh.done).unlink()
    with pytest.raises(NotFound, match="not on this machine") as caught:
        await mesh.make()
    assert caught.value.code == "no-secret"
    assert mesh.kept == set()
