"""`nodes promote --force`: a node leads without asking the others. Says first what that may lose."""

from __future__ import annotations

import logging
import math

from meshproto import local_pb2

from meshd.assembly.mesh import Mesh
from meshd.assembly.node_duties import NodeDuties
from meshd.cluster.elector import Elector, boot_time
from meshd.model.errors import InvalidInput, Unavailable
from meshd.model.members import Member

log = logging.getLogger(__name__)


async def force_promotion(mesh: Mesh, member: Member, confirmed: bool, who: str) -> local_pb2.ForcePromotionReply:
    """Raises InvalidInput for another machine, Unavailable, and Conflict when nothing has to be forced."""
    if member.id != mesh.choices.member_id:
        raise InvalidInput(f"{member.name} is another machine", f"run this on {member.name}")
    if not isinstance(mesh.duties, NodeDuties):
        raise Unavailable(f"{mesh.name} is disconnected on this machine", f"meshctl up {mesh.name}")
    elector = mesh.duties.elector
    if confirmed:
        log.warning("%s: %s has this node lead by force", mesh.name, who)
        await elector.force()
    else:
        elector.check_force()
    position = elector.state.position
    warnings = [] if confirmed else what_it_loses(mesh, member, elector)
    return local_pb2.ForcePromotionReply(warnings=warnings, epoch=position.epoch, revision=position.revision)


def what_it_loses(mesh: Mesh, member: Member, elector: Elector) -> list[str]:
    state = elector.state
    voters = [mesh.members[one].name for one in state.voters.everyone if one in mesh.members and one != member.id]
    last = mesh.members.get(state.primary)
    age = boot_time() - state.heard
    heard = "not since meshd was started here" if math.isinf(age) else f"{age:.0f} s ago"
    said = [
        f"{member.name} has the changes up to revision {state.position.revision}. Any change that was reported done "
        f"after that one is lost: the other nodes drop it when they are back.",
        f"The primary was heard last {heard}{f': {last.name}' if last is not None else ''}.",
    ]
    if state.position < mesh.committed:
        said.append(f"Revision {mesh.committed.revision} was reported done, and {member.name} does not have it.")
    if voters:
        said.append(
            f"From then on {member.name} decides alone, until these follow it again: {', '.join(sorted(voters))}. "
            f"Where one of them runs and is only cut off, people there can go on changing the mesh, and lose that, too."
        )
    return said
