"""A gRPC server on a Unix socket that gives canned answers to meshctl, and remembers what was asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest
from meshproto import local_pb2, local_pb2_grpc, state_pb2

CHANGES = [
    "PromoteNode", "SetElectionTimeout",
    "RenameMember", "SetMemberAdmin", "AuthorizePeer", "DeauthorizePeer", "AddRoute", "RemoveRoute", "RevokeInvite",
]  # fmt: skip


class Canned(local_pb2_grpc.MeshdServicer):
    open_invite = local_pb2.InviteStatus(
        id="4f1c77aa", member="laptop-ada", role=state_pb2.ROLE_PEER, uses=1, state=state_pb2.INVITE_STATE_OPEN
    )

    def __init__(self) -> None:
        self.meshes: list[local_pb2.MeshStatus] = []
        self.joins: list[local_pb2.JoinMeshRequest] = []
        self.leaves: list[local_pb2.LeaveMeshRequest] = []
        self.disconnects: list[local_pb2.DisconnectRequest] = []
        self.forced: list[bool] = []  # whether each call was confirmed
        self.updates: list[local_pb2.WatchUpdate] = []
        self.checks: list[local_pb2.Check] = []
        self.pinged = local_pb2.PingReply()
        self.events = 1_000_000
        self.invites = 0
        self.silent = False
        self.passphrases: list[str] = []
        self.restored: list[local_pb2.RestoreRequest] = []
        self.never = threading.Event()

    def GetStatus(self, request, context):  # type: ignore[no-untyped-def]
        return local_pb2.Status(version="1", meshes=self.meshes)

    def RemoveMember(self, request, context):  # type: ignore[no-untyped-def]
        if request.who != "laptop-ada":
            self._refuse(request.who, context)
        return local_pb2.ChangeReply(epoch=2, revision=9)

    def _refuse(self, code, context):  # type: ignore[no-untyped-def]
        context.set_trailing_metadata((("mesh-code", code), ("mesh-fix-bin", b"do this")))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "it is so")

    def JoinMesh(self, request, context):  # type: ignore[no-untyped-def]
        self.joins.append(request)
        yield local_pb2.JoinProgress(stage="pending", request_id="7\x1b[2J", fingerprint="f\x1b[2J", text="t")
        yield local_pb2.JoinProgress(stage="done", mesh=local_pb2.MeshStatus(name="home"))

    def ForcePromotion(self, request, context):  # type: ignore[no-untyped-def]
        self.forced.append(request.confirmed)
        warnings = [] if request.confirmed else ["changes after 7 are lost\x1b[2J"]
        return local_pb2.ForcePromotionReply(warnings=warnings, epoch=2, revision=9)

    def Watch(self, request, context):  # type: ignore[no-untyped-def]
        if self.updates:
            yield from self.updates
            self.never.wait(20)
        yield local_pb2.WatchUpdate(snapshot=local_pb2.Status(meshes=self.meshes))
        head = local_pb2.MeshStatus(name="home", state=local_pb2.CONNECTED)
        self.meshes = [head]
        yield local_pb2.WatchUpdate(differences=[local_pb2.MeshDifference(mesh_id="m", head=head)])

    def CreateInvite(self, request, context):  # type: ignore[no-untyped-def]
        self.invites += 1
        if request.member == "refused":
            self._refuse("conflict", context)
        return self._invite("contents")

    def ShowInvite(self, request, context):  # type: ignore[no-untyped-def]
        assert request.id == "4f1c"
        return self._invite("")

    def _invite(self, file: str) -> local_pb2.CreateInviteReply:
        return local_pb2.CreateInviteReply(
            invite=self.open_invite, text="mesh1-abc", uri="mesh://join/mesh1-abc", file=file
        )

    def LeaveMesh(self, request, context):  # type: ignore[no-untyped-def]
        self.leaves.append(request)
        return local_pb2.LeaveMeshReply(left_behind="laptop-ada stays in the member list")

    def CreateMesh(self, request, context):  # type: ignore[no-untyped-def]
        return local_pb2.CreateMeshReply(mesh=local_pb2.MeshStatus(name="home"), cluster_key="meshkey1-secret")

    def ShowKey(self, request, context):  # type: ignore[no-untyped-def]
        return local_pb2.ShowKeyReply(cluster_key="meshkey1-secret")

    def BackUp(self, request, context):  # type: ignore[no-untyped-def]
        self.passphrases.append(request.passphrase)
        return local_pb2.BackUpReply(data=b"sealed", mesh="home", position=state_pb2.Position(epoch=1, revision=7))

    def Restore(self, request, context):  # type: ignore[no-untyped-def]
        self.passphrases.append(request.passphrase)
        self.restored.append(request)
        return local_pb2.MeshReply(mesh=self.meshes[0])

    def RotateKey(self, request, context):  # type: ignore[no-untyped-def]
        return local_pb2.ShowKeyReply(cluster_key="meshkey1-new")

    def SetMemberEnabled(self, request, context):  # type: ignore[no-untyped-def]
        if self.silent:
            self.never.wait(20)
        return local_pb2.ChangeReply(epoch=2, revision=9)

    def Doctor(self, request, context):  # type: ignore[no-untyped-def]
        if self.silent:
            self.never.wait(20)
        return local_pb2.DoctorReply(checks=self.checks)

    def Ping(self, request, context):  # type: ignore[no-untyped-def]
        return self.pinged

    def Connect(self, request, context):  # type: ignore[no-untyped-def]
        return local_pb2.MeshReply(mesh=local_pb2.MeshStatus(name="home"))

    SetRoutePreference = Connect

    def Disconnect(self, request, context):  # type: ignore[no-untyped-def]
        self.disconnects.append(request)
        return self.Connect(request, context)

    def ListEvents(self, request, context):  # type: ignore[no-untyped-def]
        for _ in range(self.events):
            if not context.is_active():
                return
            yield local_pb2.Event(mesh="home", at_ms=1, kind="state", severity="info", text="something" * 100)


def _changed(self, request, context):  # type: ignore[no-untyped-def]
    return local_pb2.ChangeReply(epoch=2, revision=9)


for _name in CHANGES:
    setattr(Canned, _name, _changed)


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Canned]:
    canned, socket = Canned(), tmp_path / "s"
    server = grpc.server(futures.ThreadPoolExecutor(4))
    local_pb2_grpc.add_MeshdServicer_to_server(canned, server)  # type: ignore[no-untyped-call, unused-ignore]
    server.add_insecure_port(f"unix:{socket}")
    server.start()
    monkeypatch.setenv("MESHD_SOCKET", str(socket))
    monkeypatch.delenv("MESHD_KEY", raising=False)
    yield canned
    canned.never.set()
    server.stop(None).wait()
