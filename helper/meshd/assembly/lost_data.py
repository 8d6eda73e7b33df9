"""A node whose Redis lost changes that it had confirmed, as after a disk that did not keep them: says so for as long as
nobody leads, since it does not lead by itself then. With a primary it gets them back and nobody has to know.

One that is empty since it could not read a copy has them in its file still: it is started again first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from meshproto import local_pb2

from meshd.assembly.mesh import Mesh
from meshd.clocks import boottime
from meshd.cluster.elector import Elector
from meshd.model.position import Position
from meshd.store.durability import OK
from meshd.store.server import StoreServer

log = logging.getLogger(__name__)

PATIENCE = 3.0
"""Seconds without a primary before it is told: after a start of all nodes the others may have everything."""


class LostData:
    """`look` again and again; `problem` is "" while all is well."""

    def __init__(
        self, mesh: Mesh, elector: Elector, server: StoreServer, copying_stopped: Callable[[], bool] = lambda: False
    ) -> None:
        """`copying_stopped`: whether there is a primary, but nothing can be copied from it."""
        self._mesh = mesh
        self._elector = elector
        self._server = server
        self._copying_stopped = copying_stopped
        self._since = 0.0
        self._started_again = False
        self.problem = ""

    async def look(self) -> None:
        state = self._elector.state
        emptied = state.loaded and state.position == Position() and self._elector.store_state != OK
        if state.loaded and not emptied:
            self._started_again = False
        lost = self._elector.lost is not None
        if not (lost or emptied) or (self._elector.primary() and not self._copying_stopped()):
            self._since, self.problem = 0.0, ""
            return
        self._since = self._since or boottime()
        if boottime() - self._since < PATIENCE:
            return
        if emptied and not self._started_again:
            self._since, self._started_again = 0.0, True
            if await self._server.restart():
                text = "redis here came up empty from a copy that it could not load; it is started again from its file"
                self._mesh.event("store", text, severity="warning")
                return
        if lost and not self.problem and not self._elector.primary():
            self.problem = f"redis here has lost changes that this node had confirmed: {lost_changes(self._elector)}"
            self._mesh.event("store", f"{self.problem}; it does not lead by itself: {self._fix}", severity="error")

    @property
    def _fix(self) -> str:
        name = self._mesh.me.name if self._mesh.me is not None else "NODE"
        if self._elector.state.position == Position():
            if self._elector.store_state != OK:
                return "start that Redis again: its file may be whole; else bring back a node that has them"
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
