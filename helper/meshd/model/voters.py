"""Who votes, and what a quorum is (DESIGN.md section 7.7). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from meshproto import state_pb2

from meshd.model.state import State

VOTERS = 7
"""The oldest nodes vote; more voters make commits slower and nothing safer."""


ELECTION_TIMEOUT_MS = 1000
"""By default: for links with a round trip of up to 250 ms."""

LONGEST_TIMEOUT_MS = 30_000


@dataclass(frozen=True, slots=True)
class Voters:
    """A voter record as a value: member ids, oldest first. While `next` is not empty, a quorum of each is needed."""

    current: tuple[str, ...] = ()
    next: tuple[str, ...] = ()

    @classmethod
    def from_message(cls, message: state_pb2.VoterRecord) -> Voters:
        return cls(tuple(message.current), tuple(message.next))

    @property
    def message(self) -> state_pb2.VoterRecord:
        return state_pb2.VoterRecord(current=self.current, next=self.next)

    @property
    def everyone(self) -> tuple[str, ...]:
        """Each voter of both sets once, the oldest first as far as the record tells."""
        return tuple(dict.fromkeys(self.current + self.next)) if self.next else self.current


def oldest_voters(state: State, without: str = "") -> list[str]:
    """Ids of the nodes that should vote, oldest first. Not those that are removed when they stay away."""
    return [one.id for one in state.nodes if one.id != without and not one.ephemeral_ms][:VOTERS]


def quorum_met(record: state_pb2.VoterRecord | Voters, confirmed: AbstractSet[str]) -> bool:
    """Whether these members are a quorum: of the present voters and, during a change, of the next ones, too."""
    return _one(record.current, confirmed) and (not record.next or _one(record.next, confirmed))


def _one(voters: Sequence[str], confirmed: AbstractSet[str]) -> bool:
    count = sum([voter in confirmed for voter in voters])
    return 2 * count > len(voters) or (len(voters) > 0 and 2 * count == len(voters) and voters[0] in confirmed)
