"""Where a data set stands: (epoch, revision), in the order in which changes are committed (DESIGN.md section 6)."""

from __future__ import annotations

from dataclasses import dataclass

from meshproto import state_pb2


@dataclass(frozen=True, order=True, slots=True)
class Position:
    """The last entry of a data set. Epoch counts terms of the primary, revision counts changes; both only grow."""

    epoch: int = 0
    revision: int = 0

    @classmethod
    def from_message(cls, message: state_pb2.Position) -> Position:
        return cls(message.epoch, message.revision)

    @property
    def message(self) -> state_pb2.Position:
        return state_pb2.Position(epoch=self.epoch, revision=self.revision)

    def __str__(self) -> str:
        return f"{self.revision}-{self.epoch}"
