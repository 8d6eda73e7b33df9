"""An append-only file that should be written anew and has no room for that on its disk: said until there is some. It
goes on growing, and a full disk ends its redis-server.
"""

from __future__ import annotations

from meshproto import local_pb2

from meshd.assembly.mesh import Mesh
from meshd.cluster.rewriting import Rewriting

FIX = "make room on that disk; a full one stops this node's redis"


class GrownFile:
    """`look` again and again; `problem` is "" while all is well."""

    def __init__(self, mesh: Mesh, rewriting: Rewriting) -> None:
        self._mesh = mesh
        self._rewriting = rewriting
        self.problem = ""

    def look(self) -> None:
        need, before = self._rewriting.short, self.problem
        if need is None:
            self.problem = ""
            return
        self.problem = (
            f"the append-only file of redis has {_megabytes(need.size)} and waits for room to be written anew: that "
            f"takes {_megabytes(need.takes)}, and {_megabytes(need.free or 0)} are free in {self._mesh.folder}"
        )
        if not before:
            self._mesh.event("store", f"{self.problem}; {FIX}", severity="warning")

    def checks(self) -> list[local_pb2.Check]:
        if not self.problem:
            return []
        check = f"disk of {self._mesh.name}"
        return [local_pb2.Check(check=check, state=local_pb2.WARNING, found=self.problem, fix=FIX)]


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.0f} MB"
