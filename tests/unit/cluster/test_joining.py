"""Who joins asks again when the answer is lost: the same request, so that it gets in once."""

from __future__ import annotations

import time
import uuid
from types import SimpleNamespace
from typing import Any

import grpc
import grpc.aio
import pytest
from meshd.cluster import joining
from meshd.cluster.authority import CertificateAuthority
from meshd.cluster.certificates import new_private_key
from meshd.cluster.identity import Keys
from meshd.cluster.joining import Joined, Wishes, join_as_node, redeem
from meshd.model.errors import Conflict, MeshError, Unavailable
from meshd.model.members import Endpoint, Role
from meshd.rpc.status_codes import error_of
from meshproto import join_pb2, state_pb2
from meshproto.cluster_key import ClusterKey
from meshproto.keys import PrivateKey

MESH_ID = str(uuid.UUID(int=9))
HOSTS = [Endpoint("192.0.2.1", 9000), Endpoint("192.0.2.2", 9000)]
LOST = [
    (grpc.StatusCode.UNAVAILABLE, "Socket closed", None),
    (grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses", None),
    (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", None),
    (grpc.StatusCode.UNAVAILABLE, "no node leads the mesh", "unavailable"),
    (grpc.StatusCode.ABORTED, "not confirmed in time", "outcome-unknown"),
]


def failure(status: grpc.StatusCode, details: str, code: str | None) -> grpc.aio.AioRpcError:
    ours = grpc.aio.Metadata(*([("mesh-code", code)] if code else []))
    return grpc.aio.AioRpcError(status, grpc.aio.Metadata(), ours, details)


class Nodes:
    """Those of one mesh, which fail as they are told and then let everybody in."""

    def __init__(self, failures: list[grpc.aio.AioRpcError]) -> None:
        self.authority = CertificateAuthority.create(MESH_ID, "home")
        self._failures = failures
        self.asked: list[tuple[str, Any]] = []

    async def connect(self, address: Any, *_: Any) -> Any:
        async def challenge(*_: Any, **__: Any) -> join_pb2.ChallengeReply:
            return join_pb2.ChallengeReply(nonce=b"n" * 32, now_ms=int(time.time() * 1000))

        async def admit(request: Any, timeout: float) -> join_pb2.Admission:
            assert timeout > 0
            self.asked.append((str(address), request))
            if self._failures:
                raise self._failures.pop(0)
            member_id = str(uuid.UUID(int=7))
            certificate = self.authority.certify(request.applicant.certificate_request, member_id, Role.NODE)
            view = state_pb2.View(settings=state_pb2.MeshSettings(name="home"))
            return join_pb2.Admission(member_id=member_id, certificate=certificate, view=view)

        async def close() -> None:
            pass

        return SimpleNamespace(
            address=address,
            mesh_id=MESH_ID,
            mesh_name="home",
            ca_certificate=self.authority.certificate,
            server_certificate=b"server",
            stub=SimpleNamespace(GetChallenge=challenge, JoinAsNode=admit, RedeemInvite=admit),
            close=close,
        )


KEYS = Keys(PrivateKey(b"k" * 32), new_private_key())
WISHES = Wishes("gw-paris", "mesh", 10100, 9000, (), (), False, KEYS, "", error_of)


async def ignore(*_: Any) -> None:
    pass


async def by_key(nodes: Nodes, limit: float) -> Joined:
    return await join_as_node(ClusterKey.generate(nodes.authority.certificate), HOSTS, WISHES, ignore, limit)


async def by_invite(nodes: Nodes, limit: float) -> Joined:
    return await redeem("7", b"t", "f", HOSTS, WISHES, ignore, ignore, limit, 1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("join", [by_key, by_invite])
@pytest.mark.parametrize("lost", LOST, ids=lambda one: one[1])
async def test_a_lost_answer_is_asked_for_again(monkeypatch: pytest.MonkeyPatch, join: Any, lost: Any) -> None:
    nodes = Nodes([failure(*lost)])
    monkeypatch.setattr(joining, "connect", nodes.connect)
    joined = await join(nodes, 10)
    assert joined.identity.choices.mesh == "home"
    (first, one), (second, other) = nodes.asked
    assert (first, second) == ("192.0.2.1", "192.0.2.2"), "the next one is asked"
    assert one.request_id == other.request_id
    assert one.applicant == other.applicant


@pytest.mark.parametrize("join", [by_key, by_invite])
async def test_a_refusal_is_final(monkeypatch: pytest.MonkeyPatch, join: Any) -> None:
    nodes = Nodes([failure(grpc.StatusCode.FAILED_PRECONDITION, "the name is taken", "conflict")])
    monkeypatch.setattr(joining, "connect", nodes.connect)
    with pytest.raises(Conflict, match="the name is taken"):
        await join(nodes, 10)
    assert len(nodes.asked) == 1


@pytest.mark.parametrize("join", [by_key, by_invite])
async def test_it_ends_in_time(monkeypatch: pytest.MonkeyPatch, join: Any) -> None:
    nodes = Nodes([failure(*LOST[3]) for _ in range(100)])
    monkeypatch.setattr(joining, "connect", nodes.connect)
    with pytest.raises(MeshError) as caught:
        await join(nodes, 1)
    assert isinstance(caught.value, Unavailable)
