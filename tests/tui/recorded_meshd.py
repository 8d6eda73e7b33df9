"""A real gRPC server on a Unix socket that says what a test hands it: the front end can't tell it from meshd."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from meshproto import local_pb2
from meshproto.local_pb2_grpc import MeshdServicer, add_MeshdServicer_to_server

from tui import recordings

INVITE = "mesh1-" + "abcdefghijklmnopqrstuvwxyz234567" * 8
CLUSTER_KEY = "meshkey1-" + "abcdefghijklmnopqrstuvwxyz234567" * 2


class RecordedMeshd(MeshdServicer):
    """`status` is the snapshot that a new watcher gets; `push` sends everybody an update; `calls` is what was asked,
    `past_of` about whose day. A join says `stages`, and ends once `held` is set."""

    def __init__(self, socket: Path, status: local_pb2.Status, events: list[local_pb2.Event] | None = None) -> None:
        self.status = status
        self.events = events or []
        self.journal: list[local_pb2.Event] = []
        self.checks: list[local_pb2.Check] = []
        self.calls: list[Any] = []
        self.past_of: list[str] = []
        self.past: list[local_pb2.MemberPast] = []
        self.watches: list[local_pb2.WatchRequest] = []
        self.refuse: tuple[str, str] | None = None
        self.refuse_about: dict[str, str] = {}
        self.keyring_entry = ""
        self.silent = threading.Event()
        self.held = threading.Event()
        self.held.set()
        self.stages = recordings.stages()
        self._socket = socket
        self._watchers: list[queue.SimpleQueue[local_pb2.WatchUpdate | None]] = []
        self._server: grpc.Server | None = None

    def start(self) -> None:
        self._socket.unlink(missing_ok=True)
        self._server = grpc.server(ThreadPoolExecutor(8))
        add_MeshdServicer_to_server(self, self._server)
        self._server.add_insecure_port(f"unix:{self._socket}")
        self._server.start()

    def stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            for watcher in self._watchers:
                watcher.put(None)
            self._watchers.clear()
            stopped = server.stop(0)
            self.held.set()
            stopped.wait(5)
        self._socket.unlink(missing_ok=True)

    def push(self, update: local_pb2.WatchUpdate) -> None:
        for watcher in self._watchers:
            watcher.put(update)

    # --- the calls --------------------------------------------------------------------------------------------------

    def Watch(self, request: local_pb2.WatchRequest, context: Any) -> Iterator[local_pb2.WatchUpdate]:
        mine: queue.SimpleQueue[local_pb2.WatchUpdate | None] = queue.SimpleQueue()
        if not context.add_callback(lambda: mine.put(None)):  # gone, or a stop: no thread waits for ever
            return
        self._watchers.append(mine)
        if not self.silent.is_set():
            self.watches.append(request)
            yield local_pb2.WatchUpdate(snapshot=self.status, events=self.events, past=self.past)
        while (update := mine.get()) is not None:
            yield update

    def ListEvents(self, request: local_pb2.ListEventsRequest, context: Any) -> Iterator[local_pb2.Event]:
        yield from self.journal or self.events

    def _answer(self, request: Any, context: Any) -> None:
        self.calls.append(request)
        if getattr(request, "who", "") in self.refuse_about:
            context.set_trailing_metadata((("mesh-code", "refused"),))
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, self.refuse_about[request.who])
        if self.refuse is not None:
            message, fix = self.refuse
            context.set_trailing_metadata((("mesh-code", "refused"), ("mesh-fix-bin", fix.encode())))
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, message)

    def _change(self, request: Any, context: Any) -> local_pb2.ChangeReply:
        self._answer(request, context)
        return local_pb2.ChangeReply(revision=42)

    RemoveMember = PromoteNode = RenameMember = SetMemberEnabled = SetMemberAdmin = AuthorizePeer = DeauthorizePeer = (
        _change
    )
    AddRoute = RemoveRoute = RevokeInvite = _change

    def ForcePromotion(self, request: local_pb2.ForcePromotionRequest, context: Any) -> local_pb2.ForcePromotionReply:
        self._answer(request, context)
        warnings = (
            "gw-berlin and gw-oslo are taken out of the mesh; they may come back with a cluster key",
            "changes that only they have are lost: up to 3 since 13:40",
        )
        return local_pb2.ForcePromotionReply(warnings=warnings)

    def Doctor(self, request: local_pb2.DoctorRequest, context: Any) -> local_pb2.DoctorReply:
        return local_pb2.DoctorReply(checks=self.checks)

    def GetPast(self, request: local_pb2.GetPastRequest, context: Any) -> local_pb2.GetPastReply:
        self.past_of.append(request.who)
        minutes = range(24 * 60)
        return local_pb2.GetPastReply(
            newest_minute=recordings.NOW_MS // 60_000,
            traffic=[-1 if minute < 600 else 1000.0 * (minute % 240) for minute in minutes],
            latency_ms=[-1 if minute < 600 else 30 + minute % 50 for minute in minutes],
        )

    def Ping(self, request: local_pb2.PingRequest, context: Any) -> local_pb2.PingReply:
        self._answer(request, context)
        return local_pb2.PingReply(
            sent=4, received=4, min_ms=28.2, avg_ms=31.04, max_ms=44.5, path=local_pb2.PATH_RELAYED
        )

    def _mesh(self, request: Any, context: Any) -> local_pb2.MeshReply:
        self._answer(request, context)
        return local_pb2.MeshReply()

    Disconnect = SetRoutePreference = _mesh

    def Connect(self, request: local_pb2.ConnectRequest, context: Any) -> local_pb2.MeshReply:
        if self.keyring_entry and not request.HasField("keys"):
            self.calls.append(request)
            context.set_trailing_metadata((("mesh-code", "keys-needed"),))
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "the keys are in a keyring")
        return self._mesh(request, context)

    def LeaveMesh(self, request: local_pb2.LeaveMeshRequest, context: Any) -> local_pb2.LeaveMeshReply:
        self._answer(request, context)
        return local_pb2.LeaveMeshReply(keyring_entry=self.keyring_entry)

    def ShowKey(self, request: local_pb2.ShowKeyRequest, context: Any) -> local_pb2.ShowKeyReply:
        self._answer(request, context)
        return local_pb2.ShowKeyReply(cluster_key=CLUSTER_KEY)

    def CreateInvite(self, request: local_pb2.CreateInviteRequest, context: Any) -> local_pb2.CreateInviteReply:
        self._answer(request, context)
        ends = recordings.NOW_MS + request.lifetime_ms
        invite = local_pb2.InviteStatus(id="4f1cab90", member=request.member, expires_ms=ends)
        return local_pb2.CreateInviteReply(invite=invite, text=INVITE)

    def ShowInvite(self, request: local_pb2.ShowInviteRequest, context: Any) -> local_pb2.CreateInviteReply:
        self._answer(request, context)
        invite = next(one for mesh in self.status.meshes for one in mesh.invites if one.id == request.id)
        return local_pb2.CreateInviteReply(invite=invite, text=INVITE)

    def CreateMesh(self, request: local_pb2.CreateMeshRequest, context: Any) -> local_pb2.CreateMeshReply:
        self._answer(request, context)
        mesh = local_pb2.MeshStatus(name=request.name, id=f"mesh-{request.name}", state=local_pb2.CONNECTED)
        self.push(local_pb2.WatchUpdate(differences=[local_pb2.MeshDifference(mesh_id=mesh.id, head=mesh)]))
        return local_pb2.CreateMeshReply(mesh=mesh, cluster_key=CLUSTER_KEY)

    def JoinMesh(self, request: local_pb2.JoinMeshRequest, context: Any) -> Iterator[local_pb2.JoinProgress]:
        yield from self.stages
        self.held.wait(20)
        if self._server is None:
            context.abort(grpc.StatusCode.UNAVAILABLE, "stopped")
        self._answer(request, context)
        yield local_pb2.JoinProgress(stage="done", text="joined office", mesh=local_pb2.MeshStatus(name="office"))
