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


def next_turn(
    turn: str, self_id: str, own: Want, seen: Mapping[str, Want], since: float, now: float, lease: float
) -> str:
    """Id of the node whose turn it is, "" when it is nobody's. `turn`: whose it was; `since`: when the term began.

    Who is at it already, since the primary before this one, or failed, goes first, unless it is late; this node goes
    last. Who does not answer may be at it still, so everybody waits for a while.
    """
    here = {one: want for one, want in seen.items() if want.at >= now - lease}
    wanting = {one: want for one, want in (here | {self_id: own}).items() if want.outgrown}
    begun = sorted(one for one, want in wanting.items() if want.begun and not want.late)
    if begun:
        return turn if turn in begun else begun[0]
    if turn in seen and turn not in here and seen[turn].at > now - TURN_KEPT:
        return turn
    if now - since < TURN_KEPT and any(want.at == -inf for want in seen.values()):
        return ""
    if turn in wanting and not wanting[turn].late:
        return turn
    return min(wanting, key=lambda one: (wanting[one].late, one == self_id, one), default="")
