"""A Redis that can't read the copies of the primary's: said by the node that has it and by the primary for as long as
it is so. Nothing is lost by that, but there is a copy less than one may think.
"""

from __future__ import annotations

import time

from meshproto import local_pb2

from meshd.assembly.forwarding import SAME_REDIS
from meshd.assembly.mesh import Mesh
from meshd.cluster.elector import Elector
from meshd.cluster.leadership import Leadership
from meshd.cluster.replica import Replica

PATIENCE = 3.0
"""Seconds without a primary before it is told: mostly one that can be copied is elected by then."""

ASKED = 10.0
"""Seconds for which a candidate counts after it asked. It asks again every two seconds at least."""


class Copies:
    """`look` again and again; `problem` is "" while all is well."""

    def __init__(self, mesh: Mesh, elector: Elector, replica: Replica, leadership: Leadership) -> None:
        self._mesh = mesh
        self._elector = elector
        self._replica = replica
        self._leadership = leadership
        self.problem = ""
        self._fix = ""
        self._led = time.monotonic()  # when there was a primary last

    @property
    def stopped(self) -> bool:
        """Whether this node copies nothing, since its Redis could not read it."""
        return bool(self._replica.unread) and not self._elector.leading

    def look(self) -> None:
        problem, fix = self._look()
        if problem and problem != self.problem:
            self._mesh.event("store", f"{problem}; {fix}", severity="error")
        self.problem, self._fix = problem, fix

    def _look(self) -> tuple[str, str]:
        own = self._mesh.choices.member_id
        if self._elector.leading:
            self._led = time.monotonic()
            unable = self._leadership.not_copying(own)
            here = self._leadership.copy_format
            told = [f"{one.server} on {self._name(node_id)}" for node_id, one in sorted(unable.items())]
            if not told:
                return "", ""
            return f"{' and '.join(told)} can't read the copies that {here.server} here makes", SAME_REDIS
        primary = self._elector.primary()
        now, refused = time.monotonic(), self._replica.not_voted
        if primary:
            self._led = now
        elif refused is not None and now - refused[0] < ASKED and now - self._led > PATIENCE:
            name = self._name(refused[1])
            return (
                f"no node leads the mesh, and {refused[2]}, so it does not vote for {name}",
                f"{SAME_REDIS}; {name} may be the only one that has the latest changes, so begin with the others",
            )
        if not (self.stopped and primary):
            return "", ""
        name = self._name(primary)
        return (
            f"{self._replica.unread}: this node gets no changes from {name}",
            f"install what {name} has on this node, or a newer one of the same kind",
        )

    def _name(self, node_id: str) -> str:
        member = self._mesh.members.get(node_id)
        return member.name if member is not None else node_id

    def checks(self) -> list[local_pb2.Check]:
        if not self.problem:
            return []
        check = f"copies of {self._mesh.name}"
        return [local_pb2.Check(check=check, state=local_pb2.ERROR, found=self.problem, fix=self._fix)]
