"""What is believed outside of the tunnel: a node that is known here, with the keys that the CA signed last."""

from __future__ import annotations

import hashlib
import os
from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import Any

import pytest
from meshd.cluster import outside_view
from meshd.cluster.authority import CertificateAuthority
from meshd.cluster.certificates import new_private_key, signing_request
from meshd.cluster.election.worlds import restored_epoch
from meshd.cluster.outside_view import ask_for_view, check_answer, renewed_nodes
from meshd.model.addresses import make_pools
from meshd.model.changes import Context, create_mesh, decide
from meshd.model.changes.restore import restore_mesh, restored_position
from meshd.model.errors import NotPermitted
from meshd.model.members import Member
from meshd.model.position import Position
from meshd.model.state import State
from meshproto import join_pb2, node_pb2, state_pb2

MESH_ID = "00000000-0000-4000-8000-000000000001"
SECRET = bytes(20)


class Mesh:
    """Two nodes, and a laptop; gw-berlin is restored from what there was before gw-paris was renamed."""

    def __init__(self, authority: CertificateAuthority | None = None) -> None:
        self.authority = authority or CertificateAuthority.create(MESH_ID, "home")
        self.keys = 0
        pools = make_pools(MESH_ID, "", 0, "", "", "")
        sealed = self.authority.encrypted_key(SECRET)
        ca = self.authority.certificate
        self.state = State()
        self.apply(
            create_mesh("home", MESH_ID, pools, "", 0, ca, sealed, self.applicant("gw-berlin"), self.context, "1")
        )
        for name in ("gw-paris", "gw-oslo"):
            self.do(admit_node=node_pb2.AdmitNode(applicant=self.applicant(name)))
        self.do(add_request=node_pb2.AddRequest(id="ada", applicant=self.applicant("laptop-ada")))
        self.do(authorize_request=node_pb2.AuthorizeRequest(id="ada"))
        self.identity: Any = SimpleNamespace(ca_certificate=ca, choices=SimpleNamespace(mesh_id=MESH_ID))

    @property
    def context(self) -> Context:
        return Context(1_800_000_000_000, os.urandom, self.authority)

    def applicant(self, name: str) -> node_pb2.Applicant:
        self.keys += 1
        return node_pb2.Applicant(
            name=name,
            public_key=hashlib.sha256(os.urandom(8)).digest(),
            certificate_request=signing_request(new_private_key(), name),
            listen_port=10100,
        )

    def apply(self, entry: state_pb2.ChangeEntry | None) -> None:
        assert entry is not None
        self.state = self.state.with_entry(entry, Position(3, self.state.position.revision + 1))

    def do(self, **what: Any) -> None:
        change = node_pb2.Change(request_id=str(self.state.position.revision), actor="gw-berlin (ada)", **what)
        self.apply(decide(self.state, change, self.context))

    def id(self, name: str) -> str:
        return self.state.find_member(name).id

    def restored(self, name: str, unix_s: float = 1_800_000_000) -> State:
        epoch = restored_epoch(self.state.position.epoch, unix_s, 7)
        node = self.state.find_member(name)
        entry = restore_mesh(self.state, node, self.applicant(name), self.context, "restore", epoch)
        after = State().with_entry(entry, restored_position(self.state, epoch))
        return State.from_view(after.for_peer(self.id("gw-paris")))


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    return Mesh()


def nodes(state: State) -> dict[str, Member]:
    return {one.id: one for one in state.nodes}


def answers(mesh: Mesh, state: State, name: str, known: State) -> None:
    node = state.find_member(name)
    check_answer(mesh.identity, state, node.id, node.certificate_sha256, nodes(known))


def test_a_restored_node_is_believed_and_has_new_keys(mesh: Mesh) -> None:
    backup = mesh.state
    mesh.do(rename_member=node_pb2.RenameMember(id=mesh.id("gw-berlin"), name="gw-bonn"))
    known, mesh.state = mesh.state, backup
    after = mesh.restored("gw-berlin")
    answers(mesh, after, "gw-berlin", known)
    (renewed,) = renewed_nodes(mesh.identity, after, nodes(known))
    assert Member.from_message(renewed).public_key == after.find_member("gw-berlin").public_key
    assert renewed_nodes(mesh.identity, after, nodes(after)) == []


def test_of_two_restores_the_later_one_is_followed(mesh: Mesh) -> None:
    """One backup, restored twice: whoever knows the first one's keys takes the second one's, and never back."""
    first, second = mesh.restored("gw-berlin"), mesh.restored("gw-berlin", 1_800_000_100)
    assert first.position < second.position
    answers(mesh, second, "gw-berlin", first)
    (renewed,) = renewed_nodes(mesh.identity, second, nodes(first))
    assert Member.from_message(renewed).public_key == second.find_member("gw-berlin").public_key
    with pytest.raises(NotPermitted, match="not its present one"):
        answers(mesh, first, "gw-berlin", second)
    assert renewed_nodes(mesh.identity, first, nodes(second)) == []


def test_who_is_not_known_is_not_believed(mesh: Mesh) -> None:
    after = mesh.restored("gw-berlin")
    without = nodes(mesh.state)
    del without[mesh.id("gw-berlin")]
    node = after.find_member("gw-berlin")
    with pytest.raises(NotPermitted, match="no node that this machine knows"):
        check_answer(mesh.identity, after, node.id, node.certificate_sha256, without)
    ada = after.find_member("laptop-ada")
    with pytest.raises(NotPermitted, match="no node that this machine knows"):
        check_answer(mesh.identity, after, ada.id, ada.certificate_sha256, {**nodes(mesh.state), ada.id: ada})
    assert renewed_nodes(mesh.identity, after, without) == []


def test_a_certificate_that_was_replaced_is_not_believed(mesh: Mesh) -> None:
    """The lost node's disk was found: it answers with the keys of before, to one that knows the new ones or not."""
    old, after = mesh.state, mesh.restored("gw-berlin")
    stolen = old.find_member("gw-berlin")
    for state, known in ((after, old), (after, after), (old, after)):
        with pytest.raises(NotPermitted, match="not its present one"):
            check_answer(mesh.identity, state, stolen.id, stolen.certificate_sha256, nodes(known))
    assert renewed_nodes(mesh.identity, old, nodes(after)) == []


def test_records_that_the_ca_did_not_sign_are_not_taken_over(mesh: Mesh) -> None:
    view = mesh.restored("gw-berlin").to_view()
    for member in view.members:
        statement = state_pb2.MemberStatement.FromString(member.record.statement)
        member.record.CopyFrom(CertificateAuthority.create(MESH_ID, "home").sign(statement))
    after = State.from_view(view)
    with pytest.raises(NotPermitted, match="not signed by the mesh CA"):
        answers(mesh, after, "gw-berlin", mesh.state)
    assert renewed_nodes(mesh.identity, after, nodes(mesh.state)) == []
    settings = state_pb2.MeshSettings(id="another")
    with pytest.raises(NotPermitted, match="another mesh"):
        answers(mesh, State(settings=settings, parsed=after.parsed), "gw-berlin", mesh.state)


async def test_who_knows_nothing_newer_is_not_the_last_to_be_asked(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that was away for the restore, too, answers with what it has."""
    stale, after = mesh.state, mesh.restored("gw-berlin")
    asked: list[str] = []

    class Connection:
        server_certificate, node_id = b"", ""

        def __init__(self, state: State) -> None:
            self.stub = self
            self.state = state

        async def GetChallenge(self, *_: Any, **__: Any) -> join_pb2.ChallengeReply:  # gRPC's name
            return join_pb2.ChallengeReply()

        async def GetView(self, *_: Any, **__: Any) -> join_pb2.GetViewReply:  # gRPC's name
            return join_pb2.GetViewReply(view=self.state.to_view())

        async def close(self) -> None: ...

    async def connect(address: Any, *_: Any) -> Connection:
        asked.append(str(address))
        return Connection(stale if str(address) == "192.0.2.1" else after)

    monkeypatch.setattr(outside_view, "connect", connect)
    monkeypatch.setattr(outside_view, "view_signature", lambda *_: b"")
    monkeypatch.setattr(outside_view, "check_answer", lambda *_: None)
    identity = SimpleNamespace(
        ca_certificate=mesh.identity.ca_certificate,
        choices=SimpleNamespace(member_id="m"),
        keys=SimpleNamespace(certificate=None),
    )
    places = [(IPv4Address("192.0.2.1"), 9000), (IPv4Address("192.0.2.2"), 9000)]
    found = await ask_for_view(identity, places, nodes(stale), stale.position)  # type: ignore[arg-type]  # what it uses of one
    assert asked == ["192.0.2.1", "192.0.2.2"]
    assert found is not None
    assert found.position == after.position
    assert await ask_for_view(identity, places, nodes(stale), after.position) is None  # type: ignore[arg-type]  # the same
