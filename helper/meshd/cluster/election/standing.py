"""The candidate: waits, asks whether it would be elected, parks its Redis, stands, wins or waits longer."""

from __future__ import annotations

from meshd.cluster.election import leading, voting
from meshd.cluster.election.messages import (
    Effect,
    ForceWanted,
    HandOver,
    Look,
    Park,
    Parked,
    Refused,
    Send,
    VoteReply,
    VoteRequest,
)
from meshd.cluster.election.state import Attempt, Stage, State, stand_at, waiting
from meshd.cluster.election.values import replace
from meshd.cluster.election.worlds import continues, forced_epoch, world
from meshd.model.position import Position
from meshd.model.voters import Voters, quorum_met

Step = tuple[State, list[Effect]]

DOUBLINGS = 4
"""Times that the wait of a refused candidate doubles, at most."""


def next_epoch(state: State) -> int:
    return max(state.promise.epoch, state.highest, state.position.epoch) + 1


def may_lead(state: State, epoch: int, position: Position, voters: Voters) -> bool:
    """Whether this node may stand with this data: nothing it confirmed is missing, and no newer world is known.

    Also one that votes no longer, or not yet: while the entry that says so is not committed, it may be the only one
    that the others must not lack. It wins with their votes, commits the entry, and hands over. Not with data of a world
    that is not promised here as it was not on disk: what a forced term left in memory, whose votes would promise it.
    """
    kept = state.in_force or world(position.epoch) <= world(state.promise.epoch)
    return bool(voters.current) and position >= state.promise.floor and kept and continues(epoch, position.epoch)


def abandoned(state: State) -> State:
    return replace(state, attempt=None) if state.attempt else state


def refused(state: State, now: float) -> Step:
    """The attempt is over; the next one is made later, the oftener it was refused the later, and with a fresh look."""
    times = state.refusals + 1
    pause = state.timing.stagger * 2 ** min(times - 1, DOUBLINGS)
    return replace(state, attempt=None, refusals=times, wait_from=now, pause=pause), [Look(Position())]


def tick(state: State, now: float) -> Step:
    if state.attempt is not None:
        return refused(state, now) if now >= state.attempt.until else (state, [])
    if now < stand_at(state):
        return state, []
    epoch = next_epoch(state)
    if not state.loaded or not may_lead(state, epoch, state.position, state.voters):
        return waiting(state, now), [Look(Position())]
    return ask(state, epoch, now)


def ask(state: State, epoch: int, now: float) -> Step:
    """The trial: nothing is stored, nobody is disturbed, and Redis goes on as it was."""
    attempt = Attempt(
        Stage.ASKING,
        epoch,
        now + state.timing.round,
        state.token,
        state.voters,
        state.position,
        frozenset({state.self_id}),
    )
    state = replace(state, attempt=attempt)
    if quorum_met(attempt.voters, attempt.granted):
        return park(state, attempt, now)
    return state, request_votes(state, attempt)


def request_votes(state: State, attempt: Attempt) -> list[Effect]:
    trial = attempt.stage is Stage.ASKING
    request = VoteRequest(attempt.epoch, attempt.base, trial, attempt.released)
    return [Send(one, request) for one in attempt.voters.everyone if one != state.self_id]


def park(state: State, attempt: Attempt, now: float) -> Step:
    token = state.token + 1
    attempt = replace(attempt, stage=Stage.PARKING, token=token, until=now + state.timing.timeout)
    return replace(state, token=token, attempt=attempt), [Park(token)]


def parked(state: State, event: Parked, now: float) -> Step:
    """From here on the data stays as it is: the candidate stands with it."""
    state = replace(state, loaded=True, position=event.position, voters=event.voters)
    attempt = state.attempt
    if attempt is None or attempt.stage is not Stage.PARKING or attempt.token != event.token:
        return state, []
    unasked = not attempt.released and not attempt.forced and event.voters != attempt.voters
    attempt = replace(attempt, voters=event.voters, base=event.position)
    if attempt.forced:
        return forced(state, attempt, now)
    if unasked:
        return refused(state, now)  # the data grew meanwhile, and others vote now: they are asked first, too
    if attempt.epoch <= state.promise.epoch or not may_lead(state, attempt.epoch, event.position, event.voters):
        return refused(state, now)
    attempt = replace(
        attempt,
        stage=Stage.STANDING,
        until=now + state.timing.round,
        granted=frozenset({state.self_id}),
        refused=frozenset(),
    )
    promise = voting.vote(state.promise, attempt.epoch, state.self_id)
    state = replace(state, promise=promise, pending={}, attempt=attempt, highest=max(state.highest, attempt.epoch))
    if quorum_met(attempt.voters, attempt.granted):
        return leading.begin(state, attempt, now)
    return state, request_votes(state, attempt)


def answered(state: State, sender: str, reply: VoteReply, now: float) -> Step:
    state = replace(state, highest=max(state.highest, reply.promised_epoch))
    attempt = state.attempt
    if attempt is None or attempt.epoch != reply.epoch or reply.trial is not (attempt.stage is Stage.ASKING):
        return state, []
    if attempt.stage is Stage.PARKING:
        return state, []
    if reply.refusal:
        attempt = replace(attempt, refused=attempt.refused | {sender})
        if not quorum_met(attempt.voters, set(attempt.voters.everyone) - attempt.refused):
            return refused(state, now)
        return replace(state, attempt=attempt), []
    attempt = replace(attempt, granted=attempt.granted | {sender}, refused=attempt.refused - {sender})
    state = replace(state, attempt=attempt)
    if not quorum_met(attempt.voters, attempt.granted):
        return state, []
    return park(state, attempt, now) if attempt.stage is Stage.ASKING else leading.begin(state, attempt, now)


def handed_over(state: State, message: HandOver, now: float) -> Step:
    """The primary chose this node: no trial, no wait."""
    epoch = next_epoch(state)
    if message.epoch != state.promise.epoch or state.leading or not state.loaded:
        return state, []
    if state.attempt is not None and state.attempt.stage is not Stage.ASKING:
        return state, []
    if not may_lead(state, epoch, state.position, state.voters):
        return state, [Look(Position())]
    return park(state, Attempt(Stage.PARKING, epoch, now, state.token, released=message.epoch), now)


def force(state: State, wanted: ForceWanted, now: float) -> Step:
    """A person decided that this node leads alone, whatever the others hold."""
    if state.term is not None and not leading.promised(state, state.term):
        return state, [Refused("it was forced to lead already, and does once its data is on its disk")]
    if state.leading:
        return state, [Refused("this node is the primary already")]
    if not state.loaded:
        return state, [Refused("redis on this node does not answer")]
    if now - state.heard < state.timing.timeout:
        return state, [Refused("the primary is there: nothing has to be forced")]
    if state.position == Position():
        return state, [Refused("its redis holds nothing of the mesh")]
    if state.self_id not in state.voters.everyone:
        return state, [Refused("it does not vote")]
    attempt = Attempt(Stage.PARKING, 0, now, state.token, forced=True, slot=wanted.slot, accepted=wanted.accepted)
    return park(state, attempt, now)


def forced(state: State, attempt: Attempt, now: float) -> Step:
    """The epoch is promised only when its first entry is on disk: a promise of a world without data would block all."""
    floor = state.promise.floor
    least = min(floor, attempt.accepted) if attempt.accepted > Position() else floor
    if state.self_id not in attempt.voters.everyone or attempt.base < least:
        return abandoned(state), [Refused("its redis holds less than was said: ask what it has again")]
    epoch = forced_epoch(max(state.promise.epoch, state.highest, attempt.base.epoch), attempt.slot)
    return leading.begin(state, replace(attempt, epoch=epoch, voters=Voters((state.self_id,))), now)
