"""What `Watch` says, kept as one status: for front ends that render the protocol's own messages. Pure."""

from __future__ import annotations

from meshproto import local_pb2


def after(known: local_pb2.Status, update: local_pb2.WatchUpdate) -> local_pb2.Status:
    """The status with the changes of an update."""
    found = local_pb2.Status()
    found.CopyFrom(update.snapshot if update.HasField("snapshot") else known)
    for change in update.differences:
        at = next((number for number, mesh in enumerate(found.meshes) if mesh.id == change.mesh_id), None)
        if change.removed:
            if at is not None:
                del found.meshes[at]
            continue
        mesh = found.meshes[at] if at is not None else found.meshes.add(id=change.mesh_id)
        members = {one.id: one for one in mesh.members}
        if change.HasField("head"):
            mesh.CopyFrom(change.head)
            mesh.id = change.mesh_id
        members.update((one.id, one) for one in change.members)
        for gone in change.removed_member_ids:
            members.pop(gone, None)
        kept = list(members.values())
        del mesh.members[:]
        mesh.members.extend(kept)
    return found
