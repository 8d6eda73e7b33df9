"""The primary: heartbeats, lease, what is committed, handing over, stepping down."""

from __future__ import annotations

import math
from collections.abc import Mapping

from meshd.cluster.election import lease, voting
from meshd.cluster.election.messages import (
    Appended,
    Committed,
    ConfirmReply,
    ConfirmRequest,
    Effect,
    HandOver,
    Heartbeat,
    HeartbeatReply,
    Lead,
    Look,
    Refused,
    Send,
    StepDown,
)
from meshd.cluster.election.state import Attempt, Release, State, Term, Timing, waiting
from meshd.cluster.election.values import replace
from meshd.model.position import Position
from meshd.model.voters import Voters, quorum_met

Step = tuple[State, list[Effect]]


def begin(state: State, attempt: Attempt, now: float) -> Step:
    """Elected. The first write is the new epoch; heartbeats keep the others from standing until it is there."""
    term = Term(attempt.epoch, now, attempt.voters, attempt.base, attempt.forced)
    state = replace(state, attempt=None, term=term, primary=state.self_id, release=None, pending={}, refusals=0)
    record = attempt.voters if attempt.forced else None
    effects: list[Effect] = [Lead(attempt.epoch, attempt.base, attempt.token, record)]
    state, more = beat(state, term, now)
    return state, effects + more


def step_down(state: State, now: float, reason: str) -> Step:
    """Nothing is written in this epoch ever again."""
    assert state.term is not None
    epoch = state.term.epoch
    return waiting(replace(state, term=None, pending={}), now), [StepDown(epoch, reason)]


def ends_at(state: State, term: Term) -> float:
    """Until when it goes on without an answer: the lease, or one time-out for the first answers."""
    return max(lease.lease_until(state, term), term.since + state.timing.timeout)


def stuck_at(state: State, term: Term) -> float:
    """Until when it goes on without a confirmation. Never, when it is a quorum by itself: nobody could do better.

    The time of full copies that a quorum waits for does not count: ending the term would only begin them anew.
    """
    if term.behind_since == math.inf or quorum_met(term.voters, {state.self_id}):
        return math.inf
    return term.behind_since + state.timing.stuck


def expire(state: State, now: float) -> Step:
    """Before anything else: a machine that was paused may have lost its lease long ago."""
    if state.term is not None and now >= ends_at(state, state.term):
        return step_down(state, now, "no quorum of the voters answers")
    if state.term is not None and now >= stuck_at(state, state.term):
        state, effects = step_down(state, now, "no quorum of the voters gets a copy of its changes")
        return replace(state, pause=state.pause + state.timing.timeout), effects  # others go first: they may be copied
    return state, []


def tick(state: State, now: float) -> Step:
    term = state.term
    assert term is not None
    if term.target and now >= term.target_until:
        term = replace(term, target="", target_until=float("inf"))
        state = replace(state, term=term)
        return state, [Refused("the node that should take over did not catch up in time")]
    return beat(state, term, now) if now >= term.next_beat else (state, [])


def promised(state: State, term: Term) -> bool:
    """Not yet in a term that was forced, until its first entry is on disk. So nobody else hears of it either: with the
    data of a world lost, whoever promised it could follow nobody any more."""
    return state.promise.epoch == term.epoch


def first_on_disk(state: State, term: Term, now: float) -> Step:
    return beat(replace(state, promise=voting.vote(state.promise, term.epoch, state.self_id)), term, now)


def beat(state: State, term: Term, now: float) -> Step:
    term = replace(term, next_beat=now + state.timing.heartbeat)
    state = replace(state, term=term)
    if not promised(state, term):
        return state, [Look(term.head)] if term.head else []
    message = Heartbeat(term.epoch, now, term.committed, term.head is not None, state.timing.timeout)
    effects: list[Effect] = [
        Send(one, message) for one in sorted(state.nodes.union(term.voters.everyone)) if one != state.self_id
    ]
    state, more = ask_confirmations(state, term)
    return state, effects + more


def timing_changed(state: State, timing: Timing, now: float) -> State:
    """A primary makes its next lease of heartbeats that say so, and has a time-out for their answers."""
    state = replace(state, timing=timing)
    if state.term is None:
        return state
    return replace(state, term=replace(state.term, answered={}, since=now, paced=now, next_beat=now))


def ask_confirmations(state: State, term: Term) -> Step:
    """From every voter that has not confirmed the head; repeated with each heartbeat until it is committed."""
    head = term.head
    if head is None or term.committed >= head:
        return state, []
    effects: list[Effect] = []
    for one in term.voters.everyone:
        if term.confirmed.get(one, Position()) >= head:
            continue
        if one == state.self_id:
            state, more = voting.confirm_asked(state, one, ConfirmRequest(head))
            effects += more
        else:
            effects.append(Send(one, ConfirmRequest(head)))
    return state, effects


def beat_answered(state: State, sender: str, reply: HeartbeatReply, now: float) -> Step:
    term = state.term
    if reply.promised_epoch > state.highest:
        state = replace(state, highest=reply.promised_epoch)
    if term is None or reply.promised_epoch < term.epoch:
        return state, []
    if reply.promised_epoch > term.epoch:
        return step_down(state, now, f"{sender} has promised epoch {reply.promised_epoch}")
    term = replace(term, stored={**term.stored, sender: reply.stored})
    if reply.sent_at >= term.paced:
        sent_at = max(term.answered.get(sender, reply.sent_at), reply.sent_at)
        term = replace(term, answered={**term.answered, sender: sent_at})
    copying = term.copying | {sender} if reply.copying else term.copying - {sender}
    term = replace(term, copying=copying)
    if term.behind_since < now and quorum_met(term.voters, copied_soon(state, term, now)):
        term = replace(term, behind_since=now)
    return hand_over(replace(state, term=term), now)


def copied_soon(state: State, term: Term, now: float) -> set[str]:
    """Who has the head, or is getting a full copy and said so within the lease."""
    have = {state.self_id, *(one for one, at in term.confirmed.items() if at == term.head)}
    return have | {one for one in term.copying if now - term.answered.get(one, -math.inf) < state.timing.lease}


def appended(state: State, event: Appended, now: float) -> Step:
    term = state.term
    if term is None or event.position.epoch != term.epoch:
        return state, []
    first = term.head is None
    term = replace(term, head=event.position, voters=event.voters, behind_since=min(term.behind_since, now))
    state = replace(state, term=term, position=event.position, voters=event.voters)
    if first:
        return beat(state, term, now)
    state, effects = ask_confirmations(state, term)
    # Who was asked for an earlier entry may have confirmed this one before we heard that it is written. It is not asked
    # again, and with a record of fewer voters that may be all that was missing.
    state, more = advance(state, now)
    return state, effects + more


def confirmed(state: State, sender: str, reply: ConfirmReply, now: float) -> Step:
    term = state.term
    if term is None or not counts(term, reply):
        return state, []
    position = max(term.confirmed.get(sender, Position()), reply.confirmed)
    return advance(replace(state, term=replace(term, confirmed={**term.confirmed, sender: position})), now)


def advance(state: State, now: float) -> Step:
    """Commits what a quorum has confirmed by now."""
    term = state.term
    if term is None:
        return state, []
    position = committed(term.voters, term.confirmed)
    if position <= term.committed:
        return hand_over(retiring(state, term, now), now)
    behind_since = math.inf if position == term.head else now
    term = replace(term, committed=position, behind_since=behind_since, next_beat=now)  # the others learn at once
    state, more = hand_over(retiring(replace(state, term=term), term, now), now)
    return state, [Committed(position), *more]


def counts(term: Term, reply: ConfirmReply) -> bool:
    """Only a confirmation of this epoch, by a voter that has promised nothing newer."""
    return reply.promised_epoch == term.epoch == reply.confirmed.epoch


def committed(voters: Voters, confirmed: Mapping[str, Position]) -> Position:
    """The highest position that a quorum confirms. All confirmations are of the term's own epoch (section 6.6)."""
    for position in sorted(set(confirmed.values()), reverse=True):
        if quorum_met(voters, {one for one, at in confirmed.items() if at >= position}):
            return position
    return Position()


def retiring(state: State, term: Term, now: float) -> State:
    """A primary that votes no longer leaves once that is committed: it hands over to the oldest that is ready."""
    if term.committed != term.head or term.voters.next or state.self_id in term.voters.current or term.target:
        return state
    ready = [one for one in term.voters.current if term.confirmed.get(one, Position()) >= term.committed]
    return replace(state, term=replace(term, target=ready[0], target_until=float("inf"))) if ready else state


def hand_over_wanted(state: State, target: str, now: float) -> Step:
    """From here on no change is begun; the one that is under way is seen through first."""
    term = state.term
    if term is None:
        return state, [Refused("this node is not the primary")]
    if target == state.self_id or target not in term.voters.current or term.voters.next:
        return state, [Refused("only another node that votes can take over, and not while the voters change")]
    term = replace(term, target=target, target_until=now + state.timing.timeout)
    return hand_over(replace(state, term=term), now)


def hand_over(state: State, now: float) -> Step:
    """Steps down, lease and all, and only then tells the target. Once it has everything."""
    term = state.term
    if term is None or not term.target or term.head is None or term.committed < term.head:
        return state, []
    if term.stored.get(term.target, Position()) < term.head and term.confirmed.get(term.target) != term.head:
        return state, []
    state, effects = step_down(state, now, f"{term.target} takes over")
    until = now + state.timing.timeout
    state = replace(state, release=Release(term.target, term.epoch, now + state.timing.heartbeat / 2, until))
    return state, [*effects, Send(term.target, HandOver(term.epoch))]


def release_tick(state: State, now: float) -> Step:
    """Tells the target again, until somebody leads a newer epoch."""
    release = state.release
    if release is None or now < release.next_beat:
        return state, []
    if now >= release.until or state.promise.epoch != release.epoch:
        return replace(state, release=None), []
    state = replace(state, release=replace(release, next_beat=now + state.timing.heartbeat / 2))
    return state, [Send(release.target, HandOver(release.epoch))]
