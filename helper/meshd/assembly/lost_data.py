"""A node whose Redis lost changes that it had confirmed, as after a disk that did not keep them: says so for as long as
nobody leads, since it does not lead by itself then. With a primary it gets them back and nobody has to know.
"""

from __future__ import annotations

from meshproto import local_pb2

from meshd.assembly.mesh import Mesh
from meshd.clocks import boottime
from meshd.cluster.elector import Elector
from meshd.model.position import Position

PATIENCE = 3.0
"""Seconds without a primary before it is told: after a start of all nodes the others may have everything."""


class LostData:
    """`look` again and again; `problem` is "" while all is well."""

    def __init__(self, mesh: Mesh, elector: Elector) -> None:
        self._mesh = mesh
        self._elector = elector
        self._since = 0.0
        self.problem = ""

    def look(self) -> None:
        if self._elector.lost is None or self._elector.primary():
            self._since, self.problem = 0.0, ""
            return
        self._since = self._since or boottime()
        if boottime() - self._since >= PATIENCE and not self.problem:
            self.problem = f"redis here has lost changes that this node had confirmed: {lost_changes(self._elector)}"
            self._mesh.event("store", f"{self.problem}; it does not lead by itself: {self._fix}", severity="error")

    @property
    def _fix(self) -> str:
        name = self._mesh.me.name if self._mesh.me is not None else "NODE"
        if self._elector.state.position == Position():
            return "bring back a node that has them, or let another machine take its place: meshctl restore FILE"
        return (
            "bring back a node that has them; else have it lead without them: "
            f"meshctl --mesh {self._mesh.name} nodes promote {name} --force"
        )

    def checks(self) -> list[local_pb2.Check]:
        if not self.problem:
            return []
        check = f"data of {self._mesh.name}"
        return [local_pb2.Check(check=check, state=local_pb2.ERROR, found=self.problem, fix=self._fix)]


def lost_changes(elector: Elector) -> str:
    """Which of the changes that this node confirmed are not in its Redis any more."""
    first, last = elector.state.position.revision + 1, elector.state.promise.floor.revision
    if first > last:  # others of as many numbers
        return f"those of epoch {elector.state.promise.floor.epoch}"
    return f"revision {last}" if first == last else f"revisions {first} to {last}"
