"""Whose append-only file may be rewritten: one at a time, because a voter confirms nothing while its own is. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

TURN_KEPT = 10.0
"""Seconds that a node which does not answer keeps its turn, or may have one of the primary before: its disk is busy."""

BEGUN_KEPT = 600.0
"""Seconds after which a node that began, and did not come to the end, keeps others from theirs no more: without room on
its disk, or with a Redis that does not answer, it may never."""


@dataclass(frozen=True, slots=True)
class Want:
    """What a node said last."""

    at: float = -inf  # when the heartbeat that it answered was sent; -inf: it answered none in this term
    outgrown: bool = False  # its file is to be rewritten
    begun: bool = False  # is rewritten, or was not to the end
    late: bool = False  # and has been so for `BEGUN_KEPT`
    told: float = -inf  # when a heartbeat that says it is its turn was sent last

    @property
    def at_it(self) -> bool:
        """Whether it may be: as it says, or since it heard that it is its turn. The primary tells itself nothing.

        What it said before it heard so, also that there is nothing to rewrite, is no answer to that.
        """
        return self.begun or (self.at > -inf and (self.told > self.at or (self.outgrown and self.told == self.at)))


def may_begin(begun: bool, ours: bool) -> bool:
    """Whether a node rewrites its file, when it can. `begun`: it was not rewritten to the end. Then it does not count,
    so that nothing is lost by writing it again, whoever else is at it; waiting would keep it from counting for longer.
    """
    return begun or ours


def next_turn(
    turn: str, self_id: str, own: Want, seen: Mapping[str, Want], since: float, now: float, lease: float
) -> str:
    """Id of the node whose turn it is, "" when it is nobody's. `turn`: whose it was; `since`: when the term began.

    Nobody begins while another one may be at it, since the primary before this one, too, or failed, unless that one is
    late; this node goes last. Who does not answer may be at it still, so everybody waits for a while.
    """
    if now - since < TURN_KEPT and any(want.at == -inf for want in seen.values()):
        return ""
    known = {one: want for one, want in seen.items() if want.at > now - TURN_KEPT} | {self_id: own}
    at_it = [one for one, want in known.items() if want.at_it and not want.late]
    if at_it:
        return at_it[0] if len(at_it) == 1 else ""
    wanting = {one: want for one, want in known.items() if want.outgrown and (one == self_id or want.at >= now - lease)}
    if turn in wanting and not wanting[turn].late:
        return turn
    return min(wanting, key=lambda one: (wanting[one].late, one == self_id, one), default="")
