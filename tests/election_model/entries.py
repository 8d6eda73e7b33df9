"""Data sets as chains of entries: two data sets are equal when they end in the same object."""

from __future__ import annotations

from meshd.model.position import Position
from meshd.model.voters import Voters


class Entry:
    """One change on top of all before it. `voters`: the record in the data with it."""

    __slots__ = ("parent", "position", "voters")

    def __init__(self, position: Position, parent: Entry | None, voters: Voters) -> None:
        self.position = position
        self.parent = parent
        self.voters = voters

    def within(self, other: Entry) -> bool:
        """Whether the other data set has this entry."""
        at: Entry | None = other
        while at is not None and at.position.revision > self.position.revision:
            at = at.parent
        return at is self

    def __repr__(self) -> str:
        return str(self.position)


EMPTY = Entry(Position(), None, Voters())
