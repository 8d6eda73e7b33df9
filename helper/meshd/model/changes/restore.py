"""The first entry of a mesh that comes back from a backup: one node takes a lost node's place, with new keys. Pure."""

from __future__ import annotations

import hashlib

from meshproto import node_pb2, state_pb2

from meshd.model.changes.admission import check_applicant
from meshd.model.changes.context import Context, Draft
from meshd.model.members import Endpoint, Member
from meshd.model.position import Position
from meshd.model.state import State


def restored_position(state: State, epoch: int) -> Position:
    """`epoch`: the first one of the restored mesh, above every other that may have been."""
    return Position(epoch, state.position.revision + 1)


def restore_mesh(
    state: State, node: Member, applicant: node_pb2.Applicant, context: Context, request_id: str, epoch: int
) -> state_pb2.ChangeEntry:
    """Writes everything that the backup holds. `node` keeps its id, name and addresses, gets the applicant's keys, and
    is the only voter and the primary. Its serial is the epoch, so that of two restores the later one's keys count.
    Raises InvalidInput."""
    draft = Draft(state, node_pb2.Change(request_id=request_id, actor="restore"), context)
    key = check_applicant(draft, applicant)
    member = state_pb2.Member()
    member.CopyFrom(state.members[node.id])
    certificate = context.authority.certify(applicant.certificate_request, node.id, node.role)
    statement = state_pb2.MemberStatement.FromString(member.record.statement)
    statement.public_key = key.data
    statement.certificate_sha256 = hashlib.sha256(certificate).digest()
    statement.serial = max(statement.serial + 1, epoch)  # above whatever was signed since the backup was made
    member.record.CopyFrom(context.authority.sign(statement))
    member.certificate = certificate
    member.wrapped_secret = context.authority.wrap(state.settings, node.id, certificate)
    member.endpoints[:] = [str(Endpoint.parse(text)) for text in applicant.endpoints]
    member.listen_port, member.join_port = applicant.listen_port, applicant.join_port
    member.behind_nat, member.protocol_version = applicant.behind_nat, applicant.protocol_version
    draft.put("settings", "", state.settings)
    for other in state.members.values():
        draft.put("member", other.id, member if other.id == node.id else other)
    for name, table in (("route", state.routes), ("invite", state.invites), ("request", state.requests)):
        for where, message in table.items():
            draft.put(name, where, message)
    draft.put("voters", "", state_pb2.VoterRecord(current=[node.id]))
    draft.writes.append(state_pb2.Write(kind="primary", key="", value=node.id.encode()))
    draft.subject_id = node.id
    draft.summary = f"{node.name} restored {state.settings.name} from a backup of {state.position}"
    entry = draft.entry()
    entry.action = "restore"
    return entry
