"""The primary's lease: until when no other primary can have been elected, if clocks run at nearly the same rate.

It counts from the sending of the heartbeat that a quorum answered. Nothing that is committed rests on it.
"""

from __future__ import annotations

import math
from operator import itemgetter

from meshd.cluster.election.state import State, Term
from meshd.model.position import Position
from meshd.model.voters import quorum_met


def lease_until(state: State, term: Term) -> float:
    """When the lease ends: -inf before a quorum answered, inf when this node is a quorum by itself."""
    there = {state.self_id}
    if quorum_met(term.voters, there):
        return math.inf
    for one, since in sorted(term.answered.items(), key=itemgetter(1), reverse=True):
        there.add(one)
        if quorum_met(term.voters, there):
            return since + state.timing.lease
    return -math.inf


def has_lease(state: State, now: float) -> bool:
    return state.term is not None and now < lease_until(state, state.term)


def writable(state: State, now: float) -> bool:
    """Whether a change may be written now: this term's first entry is committed and the lease holds."""
    term = state.term
    return term is not None and not term.target and term.committed == term.head and has_lease(state, now)


def answerable(state: State, now: float) -> Position | None:
    """Up to where repeated requests and revision checks may be answered from; None when not at all."""
    term = state.term
    if term is None or term.committed.epoch != term.epoch or not has_lease(state, now):
        return None
    return term.committed
