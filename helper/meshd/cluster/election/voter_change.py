"""The change of voters: two entries, first both sets together, then the new one alone."""

from __future__ import annotations

from collections.abc import Sequence

from meshd.cluster.election import lease
from meshd.cluster.election.state import State, Term
from meshd.model.position import Position
from meshd.model.voters import Voters, quorum_met


def next_voters(state: State, wanted: Sequence[str], now: float) -> Voters | None:
    """The record that the primary writes next; None when there is nothing to do, or not yet."""
    term = state.term
    if term is None or not lease.writable(state, now):
        return None
    if term.voters.next:
        return Voters(term.voters.next)
    if not wanted or tuple(wanted) == term.voters.current:
        return None
    joint = Voters(term.voters.current, tuple(wanted))
    return joint if ready(state, term, joint) else None


def ready(state: State, term: Term, joint: Voters) -> bool:
    """Whether a quorum of the new voters holds the latest entry: else the change could stop all others."""
    head = term.head or Position()
    known = [*term.stored.items(), *term.confirmed.items()]
    holding = {one for one, position in known if position >= head} | {state.self_id}
    return quorum_met(Voters(joint.next), holding)
