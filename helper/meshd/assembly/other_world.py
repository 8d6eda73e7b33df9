"""A mesh that went on twice: a node was restored from a backup while a majority of the others was only away. Those miss
nobody, so they don't follow; and to choose between two histories is for a person. So it is told, and nothing is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from meshproto import local_pb2

from meshd.clocks import boottime
from meshd.cluster.election import worlds
from meshd.cluster.outside_view import Address, ask_for_view
from meshd.model.members import Member
from meshd.model.position import Position

if TYPE_CHECKING:
    from meshd.assembly.mesh import Mesh

ASK_EVERY = 30.0
"""Seconds between two times that the nodes which are missed are asked outside of the tunnel."""

KEPT = 300.0
"""Seconds after the last answer for which it is told: a node that is gone for good goes on no more."""

Places = Callable[[Sequence[Member]], Awaitable[list[tuple[Address, int]]]]


class OtherWorld:
    """Of a node. `problem` is "" while all is well."""

    def __init__(self, mesh: Mesh, places: Places) -> None:
        """`places`: addresses and join ports of nodes."""
        self._mesh = mesh
        self._places = places
        self._asking: asyncio.Task[None] | None = None
        self._asked = self._heard = 0.0
        self._epoch = 0
        self._name = ""

    def look(self, silent: Sequence[Member], nodes: Sequence[Member]) -> None:
        """`silent`: of the other nodes, those that are not heard in the tunnel."""
        now = boottime()
        if silent and now - self._asked > ASK_EVERY and (self._asking is None or self._asking.done()):
            self._asked = now
            self._asking = asyncio.create_task(self._ask(silent, nodes), name=f"{self._mesh.name}: asking the missing")

    async def _ask(self, silent: Sequence[Member], nodes: Sequence[Member]) -> None:
        mesh = self._mesh
        known, present = {node.id: node for node in nodes}, mesh.state.position
        found = await ask_for_view(mesh.identity, await self._places(silent), known, present)
        if found is not None:
            self.heard(found.position, known[found.primary_id].name if found.primary_id in known else "another node")

    def heard(self, position: Position, name: str) -> None:
        """That node leads with data which ends there. Told when nobody may take it for later changes of ours."""
        present = self._mesh.state.position
        if position < present or worlds.continues(position.epoch, present.epoch):
            return
        told = bool(self.problem)
        self._epoch, self._name, self._heard = position.epoch, name, boottime()
        if not told:
            self._mesh.event("alarm", f"{self.problem}; {self._fix}", severity="error")

    @property
    def problem(self) -> str:
        present = self._mesh.state.position.epoch
        if not self._epoch or present >= self._epoch or boottime() - self._heard > KEPT:
            return ""
        return (
            f"{self._name} goes on as another mesh {self._mesh.name}: it was restored from a backup, or made the "
            "primary by force, while the nodes here were away; what is changed on one side is not known on the other"
        )

    @property
    def _fix(self) -> str:
        name = self._mesh.name
        return (
            f"decide which one goes on. That of {self._name}: `meshctl down {name}` on all nodes here but one, until "
            f"that one follows, then `meshctl up {name}`. This one: `meshctl down {name}` on {self._name}"
        )

    def checks(self) -> list[local_pb2.Check]:
        if not self.problem:
            return []
        check = f"one {self._mesh.name}"
        return [local_pb2.Check(check=check, state=local_pb2.ERROR, found=self.problem, fix=self._fix)]

    async def stop(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
