"""A mesh in memory that carries out changes one after the other, with a CA that signs nothing."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field
from typing import Any

import pytest
from meshd.model.addresses import make_pools
from meshd.model.changes import Context, create_mesh, decide
from meshd.model.members import Role
from meshd.model.position import Position
from meshd.model.state import State
from meshproto import node_pb2, state_pb2

NOW = 1_800_000_000_000
MESH_ID = "00000000-0000-4000-8000-000000000001"


class SilentAuthority:
    def certify(self, csr: bytes, member_id: str, role: Role) -> bytes:
        return b"certificate of " + member_id.encode()

    def rotate(self, settings: state_pb2.MeshSettings) -> state_pb2.MeshSettings:
        rotated = state_pb2.MeshSettings()
        rotated.CopyFrom(settings)
        rotated.encrypted_ca_key = b"sealed %d" % (settings.key_generation + 1)
        rotated.key_generation += 1
        return rotated

    def wrap(self, settings: state_pb2.MeshSettings, member_id: str, certificate: bytes) -> bytes:
        return b"%s for %s" % (settings.encrypted_ca_key, member_id.encode())

    def sign(self, statement: state_pb2.MemberStatement) -> state_pb2.MemberRecord:
        return state_pb2.MemberRecord(statement=statement.SerializeToString())


@dataclass
class Mesh:
    """`do(kind=message)` decides a change and applies it; the clock stands still until a test moves it."""

    node_pool: str = ""
    node_prefix: int = 0
    peer_pool: str = ""
    network: str = ""
    addressing: str = ""
    now_ms: int = NOW
    offline_ms: dict[str, int] = field(default_factory=dict)
    source: random.Random = field(default_factory=lambda: random.Random(1))
    keys: int = 0
    entries: list[state_pb2.ChangeEntry] = field(default_factory=list)
    state: State = field(default_factory=State)

    def __post_init__(self) -> None:
        pools = make_pools(MESH_ID, self.node_pool, self.node_prefix, self.peer_pool, self.network, self.addressing)
        self.apply(
            create_mesh("home", MESH_ID, pools, "", 0, b"ca", b"secret", self.applicant("gw-a"), self.context, "first")
        )

    @property
    def context(self) -> Context:
        return Context(self.now_ms, self.source.randbytes, SilentAuthority(), self.offline_ms)

    def apply(self, entry: state_pb2.ChangeEntry) -> None:
        self.entries.append(entry)
        self.state = self.state.with_entry(entry, Position(1, self.state.position.revision + 1))

    def applicant(self, name: str) -> node_pb2.Applicant:
        self.keys += 1
        key = hashlib.sha256(str(self.keys).encode()).digest()
        return node_pb2.Applicant(name=name, public_key=key, certificate_request=b"csr", listen_port=10100)

    def decide(self, **what: Any) -> state_pb2.ChangeEntry | None:
        number = len(self.entries)
        return decide(self.state, node_pb2.Change(request_id=f"r{number}", actor="gw-a (ada)", **what), self.context)

    def do(self, **what: Any) -> node_pb2.ChangeResult:
        entry = self.decide(**what)
        assert entry is not None, "nothing to do"
        self.apply(entry)
        return node_pb2.ChangeResult.FromString(entry.result)

    def node(self, name: str) -> str:
        self.now_ms += 1  # so that one node is older than the next
        return self.do(admit_node=node_pb2.AdmitNode(applicant=self.applicant(name))).member_id

    def invite(self, member: str = "", role: Any = state_pb2.ROLE_PEER, **fields: Any) -> str:
        self.keys += 1
        number = f"{self.keys:08x}"
        asked = node_pb2.CreateInvite(
            id=number,
            member=member,
            role=role,
            temporary_public_key=hashlib.sha256(b"temporary" + number.encode()).digest(),
            token_sha256=hashlib.sha256(b"token" + number.encode()).digest(),
            **fields,
        )
        return self.do(create_invite=asked).object_id

    def redemption(self, invite_id: str, name: str = "") -> node_pb2.RedeemInvite:
        token = b"token" + invite_id.encode()
        return node_pb2.RedeemInvite(invite_id=invite_id, token=token, applicant=self.applicant(name))

    def redeem(self, invite_id: str, name: str = "") -> str:
        return self.do(redeem_invite=self.redemption(invite_id, name)).member_id

    def peer(self, name: str) -> str:
        return self.redeem(self.invite(name))

    def expire(self) -> None:
        entry = self.decide(expire_invites=node_pb2.ExpireInvites())
        if entry:
            self.apply(entry)


@pytest.fixture
def mesh() -> Mesh:
    return Mesh()


@pytest.fixture(scope="session")
def make_mesh() -> type[Mesh]:
    return Mesh
