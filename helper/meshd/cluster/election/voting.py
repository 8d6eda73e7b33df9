"""The voter: grants votes, hears the primary, confirms positions. `machine` says how its word gets on disk first."""

from __future__ import annotations

from meshd.cluster.election import leading, standing
from meshd.cluster.election.messages import (
    ConfirmReply,
    ConfirmRequest,
    Effect,
    Follow,
    Heartbeat,
    HeartbeatReply,
    Look,
    Send,
    StoreSeen,
    VoteReply,
    VoteRequest,
)
from meshd.cluster.election.state import State, Term, Timing, waiting
from meshd.cluster.election.values import replace
from meshd.cluster.election.worlds import continues
from meshd.model.position import Position
from meshd.store.durability import Promise

Step = tuple[State, list[Effect]]


def required(state: State) -> Position:
    """What a candidate must have to get this vote: all that is here, and all that was ever confirmed here."""
    return max(state.position, state.promise.floor) if state.loaded else state.promise.floor


def quiet(state: State, now: float) -> bool:
    """Whether no lease can rest on a heartbeat that this voter answered, also before it was started again."""
    return min(now - state.heard, now - state.started) >= state.patience


def voted_for(state: State, sender: str, request: VoteRequest) -> bool:
    """Whether it has this vote already: then its answer was lost."""
    return not request.trial and (request.epoch, sender) == (state.promise.epoch, state.promise.vote)


def released(state: State, request: VoteRequest) -> bool:
    """Whether the primary whose heartbeats count here gave up its lease for this candidate."""
    return 0 < state.promise.epoch <= request.released


def refusal(state: State, sender: str, request: VoteRequest, now: float) -> str:
    """Why a candidate does not get this vote; "" when it does. The same tests for a trial as for a vote."""
    if voted_for(state, sender, request):
        return ""
    if request.epoch <= state.promise.epoch:
        return "epoch"
    if not continues(request.epoch, request.position.epoch):
        return "world"
    if request.position < required(state):
        return "position"
    if state.leading:
        return "leading"
    if not released(state, request) and not quiet(state, now):
        return "recent"
    return ""


def vote(promise: Promise, epoch: int, candidate: str) -> Promise:
    """The promise that goes with a vote."""
    return replace(promise, epoch=epoch, vote=candidate)


def vote_asked(state: State, sender: str, request: VoteRequest, now: float) -> Step:
    reason = refusal(state, sender, request, now)
    effects: list[Effect] = []
    if not reason and not request.trial:
        state = waiting(standing.abandoned(state), now)
        promise = vote(state.promise, request.epoch, sender)
        if promise != state.promise:
            state = replace(state, promise=promise, pending={})
    effects.append(Send(sender, VoteReply(request.epoch, request.trial, state.promise.epoch, reason)))
    return state, effects


def accepts(state: State, heartbeat: Heartbeat) -> bool:
    """Whether this is the primary of the promised epoch, or of a newer one."""
    return heartbeat.epoch >= state.promise.epoch


def patience(heartbeat: Heartbeat) -> float:
    """How long this primary's lease may go on, where that is longer than usual: what is promised is on disk."""
    return heartbeat.timeout if heartbeat.timeout > Timing().timeout else 0.0


def overtaken(state: State, heartbeat: Heartbeat) -> bool:
    """Whether a later one was heard before it: its primary may have a longer lease by now than it says."""
    return (heartbeat.epoch, heartbeat.sent_at) < state.latest


def heartbeat_heard(state: State, sender: str, heartbeat: Heartbeat, now: float) -> Step:
    if not accepts(state, heartbeat) or (state.term is not None and state.term.epoch == heartbeat.epoch):
        return state, [Send(sender, HeartbeatReply(state.promise.epoch, heartbeat.sent_at))]
    effects: list[Effect] = []
    if state.leading:
        state, effects = leading.step_down(state, now, f"epoch {heartbeat.epoch} has another primary")
    if overtaken(state, heartbeat):
        promise = state.promise
    else:
        promise = replace(state.promise, patience=patience(heartbeat))
        state = replace(state, latest=(heartbeat.epoch, heartbeat.sent_at))
    if heartbeat.epoch > state.promise.epoch:
        promise = replace(promise, epoch=heartbeat.epoch, vote="")
        state = replace(state, pending={})
    state = waiting(replace(standing.abandoned(state), promise=promise), now)
    state = replace(state, primary=sender, heard=now, release=None, highest=max(state.highest, heartbeat.epoch))
    effects.append(Send(sender, HeartbeatReply(state.promise.epoch, heartbeat.sent_at, state.position, state.copying)))
    if heartbeat.open:
        aside = heartbeat.epoch > state.position.epoch and not continues(heartbeat.epoch, state.position.epoch)
        effects.append(Follow(sender, heartbeat.epoch, aside))
    return state, effects


def confirm_asked(state: State, sender: str, request: ConfirmRequest) -> Step:
    """Asked by the primary, also by this node when it is that itself."""
    if request.position.epoch != state.promise.epoch:
        return state, [Send(sender, ConfirmReply(state.promise.epoch, Position()))]
    return replace(state, pending={**state.pending, sender: request.position}), [Look(request.position)]


def confirmable(state: State, seen: StoreSeen) -> bool:
    """The test for every voter, the primary included: of the promised epoch, and on disk with all before it."""
    return seen.in_force and seen.position.epoch == state.promise.epoch


def raised_floor(promise: Promise, position: Position) -> Promise:
    return replace(promise, floor=max(promise.floor, position))


def has_first(term: Term, seen: StoreSeen) -> bool:
    """Whether the first entry of that term is on disk."""
    return seen.in_force and seen.position.epoch == term.epoch


def store_seen(state: State, seen: StoreSeen, now: float) -> Step:
    state = replace(
        state, loaded=True, copying=seen.copying, position=seen.position, in_force=seen.in_force, voters=seen.voters
    )
    effects: list[Effect] = []
    if state.term is not None and not leading.promised(state, state.term) and has_first(state.term, seen):
        state, effects = leading.first_on_disk(state, state.term, now)
    ready = [one for one, wanted in state.pending.items() if wanted <= seen.position]
    if not ready or not confirmable(state, seen):
        return state, effects
    promise = raised_floor(state.promise, seen.position)
    state = replace(state, promise=promise, pending={one: at for one, at in state.pending.items() if one not in ready})
    for one in ready:
        if one == state.self_id:
            state, more = leading.confirmed(state, one, ConfirmReply(promise.epoch, seen.position), now)
            effects += more
        else:
            effects.append(Send(one, ConfirmReply(promise.epoch, seen.position)))
    return state, effects
