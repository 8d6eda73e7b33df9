"""`nodes promote --force`: a node leads without asking the others. Says first what that may lose."""

from __future__ import annotations

import logging
import math

from meshproto import local_pb2

from meshd.assembly.lost_data import lost_changes
from meshd.assembly.mesh import Mesh
from meshd.assembly.node_duties import NodeDuties
from meshd.cluster.elector import Elector, boot_time
from meshd.model.errors import InvalidInput, Unavailable
from meshd.model.members import Member
from meshd.model.position import Position

log = logging.getLogger(__name__)


async def force_promotion(
    mesh: Mesh, member: Member, request: local_pb2.ForcePromotionRequest, who: str
) -> local_pb2.ForcePromotionReply:
    """Raises InvalidInput for another machine, Unavailable, and Conflict when nothing has to be forced."""
    if member.id != mesh.choices.member_id:
        raise InvalidInput(f"{member.name} is another machine", f"run this on {member.name}")
    if not isinstance(mesh.duties, NodeDuties):
        raise Unavailable(f"{mesh.name} is disconnected on this machine", f"meshctl up {mesh.name}")
    elector = mesh.duties.elector
    if request.confirmed:
        log.warning("%s: %s has this node lead by force", mesh.name, who)
        await elector.force(Position(request.epoch, request.revision))
    else:
        elector.check_force()
    position = elector.state.position
    warnings = [] if request.confirmed else what_it_loses(mesh, member, elector)
    return local_pb2.ForcePromotionReply(warnings=warnings, epoch=position.epoch, revision=position.revision)


def what_it_loses(mesh: Mesh, member: Member, elector: Elector) -> list[str]:
    state = elector.state
    voters = [mesh.members[one].name for one in state.voters.everyone if one in mesh.members and one != member.id]
    last = mesh.members.get(state.primary)
    age = boot_time() - state.heard
    heard = f"The primary was heard last {age:.0f} s ago{f': {last.name}' if last is not None else ''}."
    if math.isinf(age):
        heard = "No primary was heard since meshd was started here."
    said = [
        f"{member.name} has the changes up to revision {state.position.revision}. Any change that was reported done "
        f"after that one is lost: the other nodes drop it when they are back.",
        heard,
    ]
    if elector.lost is not None:
        said.append(
            f"Redis on {member.name} has lost changes that {member.name} had confirmed, {lost_changes(elector)}. Who "
            f"made them was told that they are done. Where another node has them, bring that one back instead."
        )
    if state.position < mesh.committed:
        said.append(f"Revision {mesh.committed.revision} was reported done, and {member.name} does not have it.")
    if voters:
        said.append(
            f"From then on {member.name} decides alone, until these follow it again: {', '.join(sorted(voters))}. "
            f"Where one of them runs and is only cut off, people there can go on changing the mesh, and lose that, too."
        )
    return said
