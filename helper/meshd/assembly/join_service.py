"""The join service of a node: machines that prove the cluster key, redeem an invite or ask to be let in, and members
that ask outside of the tunnel how their mesh is now. Made by `node_duties`."""

from __future__ import annotations

import hashlib
import logging
import os
import time
import uuid
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address

from meshproto import PROTOCOL_VERSION, join_pb2, node_pb2

from meshd.assembly.forwarding import raise_refusal
from meshd.assembly.mesh import Mesh
from meshd.assembly.mesh_networks import networks_of
from meshd.assembly.refusals import Refusals
from meshd.assembly.write_limits import WriteLimits
from meshd.cluster.admission import Challenges, check_proof
from meshd.cluster.certificates import check_await_signature, check_view_signature
from meshd.model.errors import Conflict, MeshError, NotPermitted
from meshd.model.members import Role
from meshd.model.position import Position
from meshd.model.requests import ID_IN_USE
from meshd.model.state import with_members

Source = IPv4Address | IPv6Address

log = logging.getLogger(__name__)

FLOODS_KEPT = 50
"""Different floods that are told within ten minutes: many addresses shall not fill the journal."""

NO_INVITE = frozenset({"invite-unknown", "invite-edited", ID_IN_USE})
"""Refusals that whoever has an invite does not get."""


class JoinService:
    """Implements `JoinApi`. `submit` makes a change, `refused` takes note of a call that nobody had a right to."""

    def __init__(
        self,
        mesh: Mesh,
        submit: Callable[[node_pb2.Change, float], Awaitable[node_pb2.ChangeResult]],
        refused: Callable[[str, str, str], None],
        closing: Callable[[], bool],
        limits: WriteLimits,
    ) -> None:
        self._mesh = mesh
        self._submit = submit
        self._refused = refused
        self._closing = closing
        self._limits = limits
        self._challenges = Challenges(os.urandom)
        self._floods = Refusals(self._tell_flood, kept=FLOODS_KEPT)

    def is_inside(self, source: Source) -> bool:
        return self._mesh.addresses.is_inside(source)

    def flooded(self, error: MeshError) -> None:
        """Told and logged once in a while: a line for each call would be a flood of its own."""
        self._floods.tell(f"refused at the join port: {error.message}")

    def _tell_flood(self, text: str) -> None:
        log.warning("%s: %s", self._mesh.name, text)
        self._mesh.event("audit", text, severity="warning")

    async def authority(self) -> join_pb2.AuthorityReply:
        return join_pb2.AuthorityReply(
            ca_certificate=self._mesh.identity.ca_certificate,
            mesh_name=self._mesh.name,
            protocol_version=PROTOCOL_VERSION,
            networks=map(str, networks_of(self._mesh.state.settings, self._mesh.members.values())),
        )

    async def challenge(self) -> join_pb2.ChallengeReply:
        return join_pb2.ChallengeReply(nonce=self._challenges.give(), now_ms=int(time.time() * 1000))

    async def join_as_node(self, source: Source, request: join_pb2.JoinAsNodeRequest) -> join_pb2.Admission:
        identity = self._mesh.identity
        self._challenges.take(request.nonce)
        secret, generation = self._mesh.cluster_keys.present()
        check_proof(
            request.proof,
            secret,
            request.nonce,
            identity.ca_certificate,
            identity.certificate,
            request.applicant.public_key,
            request.applicant.certificate_request,
        )
        change = node_pb2.Change(
            request_id=request.request_id,
            actor=f"{source} with the cluster key",
            admit_node=node_pb2.AdmitNode(applicant=request.applicant, key_generation=generation),
        )
        return await self._admit(change, Role.NODE)

    async def redeem_invite(self, source: Source, request: join_pb2.RedeemInviteRequest) -> join_pb2.Admission:
        change = node_pb2.Change(
            request_id=request.request_id,
            actor=f"invite {request.invite_id}",
            redeem_invite=node_pb2.RedeemInvite(
                invite_id=request.invite_id, token=request.token, applicant=request.applicant
            ),
        )
        try:
            return await self._admit(change, Role.PEER)
        except MeshError as error:
            if error.code in NO_INVITE:
                self._refused(str(source), "an invite", error.message)
            raise

    async def _admit(self, change: node_pb2.Change, role: Role) -> join_pb2.Admission:
        """Has the primary let the applicant in, and lets its key into our data plane before it is told."""
        mesh = self._mesh
        result = raise_refusal(await self._submit(change, 10.0))
        mesh.admit(result.member, Position.from_message(result.position))
        await mesh.reconcile()
        member = mesh.members.get(result.member_id)
        if member is None or member not in mesh.present:
            raise Conflict("the new member was removed again at once")
        applicant = (change.admit_node if role is Role.NODE else change.redeem_invite).applicant
        if member.public_key.data != applicant.public_key:
            raise NotPermitted("that member has another key than this machine")
        view = mesh.state.to_view() if member.role is Role.NODE else mesh.state.for_peer(member.id)
        admission = join_pb2.Admission(
            member_id=member.id,
            certificate=result.member.certificate,
            view=with_members(view, result.member),
            node_id=mesh.choices.member_id,
        )
        if member.role is Role.NODE and role is Role.PEER:
            admission.cluster_secret = mesh.identity.cluster_secret or b""
        return admission

    async def request_access(
        self, source: Source, request: join_pb2.RequestAccessRequest
    ) -> join_pb2.RequestAccessReply:
        # The same key gets the same id: a machine that asks again finds its request.
        request_id = hashlib.sha256(request.applicant.public_key).hexdigest()[:10]
        self._limits.check_request(source, self._mesh.state.requests.get(request_id), request.applicant)
        change = node_pb2.Change(
            request_id=str(uuid.uuid4()),
            actor=str(source),
            add_request=node_pb2.AddRequest(id=request_id, applicant=request.applicant, source=str(source)),
        )
        raise_refusal(await self._submit(change, 10.0))
        return join_pb2.RequestAccessReply(id=request_id)

    async def get_view(self, source: Source, request: join_pb2.GetViewRequest) -> join_pb2.GetViewReply:
        self._challenges.take(request.nonce)
        state, own = self._mesh.state, self._mesh.identity.certificate
        asking = state.members.get(request.member_id)
        known = asking.certificate if asking is not None else b""
        check_view_signature(known, request.nonce, request.member_id, own, request.signature)
        return join_pb2.GetViewReply(view=state.for_peer(request.member_id))

    async def await_access(self, source: Source, request: join_pb2.AwaitAccessRequest) -> join_pb2.AwaitAccessReply:
        mesh = self._mesh
        deadline = time.monotonic() + min(request.wait_ms / 1000, 30.0)
        version = -1
        while not self._closing():
            asked = mesh.state.requests.get(request.id)
            if asked is not None:
                check_await_signature(asked.certificate_request, request.id, request.signature)
                if asked.refused:
                    return join_pb2.AwaitAccessReply(refused=True)
                member = mesh.state.members.get(asked.authorized_member_id)
                if member is not None:
                    await mesh.wait_applied(mesh.state.position, 3.0)
                    return join_pb2.AwaitAccessReply(
                        admission=join_pb2.Admission(
                            member_id=member.id,
                            certificate=member.certificate,
                            view=mesh.state.for_peer(member.id),
                            node_id=mesh.choices.member_id,
                        )
                    )
            if time.monotonic() >= deadline:
                break
            version = await mesh.wait_changed(version, deadline - time.monotonic())
        return join_pb2.AwaitAccessReply(pending=True)
