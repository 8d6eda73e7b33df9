"""What the elector of a node has done elsewhere: at other nodes, in its Redis, in its mesh."""

from __future__ import annotations

from typing import Protocol

from meshd.cluster.election.messages import Message
from meshd.model.position import Position
from meshd.model.voters import Voters


class Links(Protocol):
    """What the elector needs done elsewhere. None of these raises MeshError, except `begin` and `follow`."""

    async def send(self, to: str, message: Message) -> Message | None:
        """Gives a message to another node; returns its reply, None when there is none."""

    async def follow(self, primary: str, epoch: int) -> None:
        """Has the local Redis copy from that primary."""

    async def keep_aside(self, position: Position) -> None:
        """Keeps a copy of the local data, which ends at `position` and which a person gave up with `--force`."""

    async def begin(self, epoch: int, base: Position, voters: Voters | None) -> tuple[Position, Voters]:
        """Writes the first entry of a term on `base` into a Redis that takes writes, with a record of who votes where
        one is given (`--force`); lets replicas in afterwards."""

    async def began(self) -> None:
        """The election knows that the first entry is there: changes may come."""

    async def end(self, epoch: int, reason: str) -> None:
        """The term is over, or was never begun: nothing is written any more."""

    def committed(self, position: Position) -> None:
        """Everything up to here is committed, in this node's term."""
