"""`--watch`: a command that shows something, again with each change that the helper reports."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from meshproto import local_pb2
from meshproto.client import HelperError

from meshctl.session import Session


def watch(session: Session, command: Callable[[Session], None]) -> None:
    """Until interrupted, or the time-out that was given. Raises HelperError."""
    for found in statuses(session):
        session.watched = found
        command(session)


def statuses(session: Session) -> Iterator[local_pb2.Status]:
    """What is so, each time it changes. Raises HelperError."""
    known = local_pb2.Status()
    endless = session.options.timeout is None
    for update in session.stream("Watch", local_pb2.WatchRequest(mesh=session.mesh), endless=endless):
        known = after(known, update)
        yield known
    raise HelperError("failed", "meshd ended the report", "see the log of meshd")


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
