"""`step`: one event in, the next state and the effects out. Nothing here knows what time it is or who listens.

A step that changes `promise` counts only once that is on disk, written with fsync before any of its effects is carried
out. When it can't be written, the step did not happen: the state stays as it was, and takes `StoreFailed` instead.
"""

from __future__ import annotations

from meshd.cluster.election import leading, standing, voting
from meshd.cluster.election.messages import (
    Appended,
    ConfirmReply,
    ConfirmRequest,
    Effect,
    Event,
    ForceWanted,
    HandOver,
    HandOverWanted,
    Heartbeat,
    HeartbeatReply,
    Look,
    Message,
    NodesChanged,
    Parked,
    Received,
    StoreFailed,
    StoreSeen,
    TimingChanged,
    VoteReply,
    VoteRequest,
)
from meshd.cluster.election.state import State
from meshd.cluster.election.values import replace
from meshd.model.position import Position

Step = tuple[State, list[Effect]]


def step(state: State, event: Event, now: float) -> Step:
    """`now`: seconds of this machine's CLOCK_BOOTTIME."""
    state, effects = leading.expire(state, now)
    state, more = _take(state, event, now)
    return state, effects + more


def _take(state: State, event: Event, now: float) -> Step:
    match event:
        case Received():
            return _receive(state, event.sender, event.message, now)
        case StoreSeen():
            return voting.store_seen(state, event, now)
        case StoreFailed():
            return store_failed(state, event, now)
        case Parked():
            return standing.parked(state, event, now)
        case Appended():
            return leading.appended(state, event, now)
        case NodesChanged():
            return replace(state, nodes=event.nodes), []
        case TimingChanged():
            return leading.timing_changed(state, event.timing, now), []
        case HandOverWanted():
            return leading.hand_over_wanted(state, event.target, now)
        case ForceWanted():
            return standing.force(state, event, now)
        case _:
            return _tick(state, now)


def _tick(state: State, now: float) -> Step:
    state, effects = leading.release_tick(state, now)
    state, more = leading.tick(state, now) if state.leading else standing.tick(state, now)
    return state, effects + more


def _receive(state: State, sender: str, message: Message, now: float) -> Step:
    match message:
        case VoteRequest():
            return voting.vote_asked(state, sender, message, now)
        case VoteReply():
            return standing.answered(state, sender, message, now)
        case Heartbeat():
            return voting.heartbeat_heard(state, sender, message, now)
        case HeartbeatReply():
            return leading.beat_answered(state, sender, message, now)
        case ConfirmRequest():
            return voting.confirm_asked(state, sender, message)
        case ConfirmReply():
            return leading.confirmed(state, sender, message, now)
        case HandOver():
            return standing.handed_over(state, message, now)


def store_failed(state: State, event: StoreFailed, now: float) -> Step:
    """A term or an attempt ends with the Redis that it began with: what that had may be gone."""
    state = replace(state, loaded=False, copying=False)
    effects: list[Effect] = []
    if state.leading:
        state, effects = leading.step_down(state, now, event.reason)
    elif state.attempt is not None:
        return standing.refused(state, now)
    return state, [*effects, Look(Position())]
