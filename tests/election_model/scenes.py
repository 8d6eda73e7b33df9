"""Rules that a random schedule meets too seldom: each is played on one machine, and raises Violation where broken."""

from __future__ import annotations

from meshd.cluster.election import lease, machine, worlds
from meshd.cluster.election.messages import (
    Appended,
    Committed,
    ConfirmReply,
    ConfirmRequest,
    ForceWanted,
    Heartbeat,
    HeartbeatReply,
    Lead,
    Park,
    Parked,
    Received,
    Send,
    StepDown,
    StoreFailed,
    StoreSeen,
    Tick,
    TimingChanged,
    VoteReply,
    VoteRequest,
)
from meshd.cluster.election.state import State, Term, starting, timing_of, wake_at
from meshd.cluster.election.values import replace
from meshd.model.position import Position
from meshd.model.voters import Voters
from meshd.store.durability import Promise

from election_model.invariants import Violation

AT = Position(5, 10)
VOTERS = Voters(("a", "b", "c"))


def _voter(epoch: int) -> State:
    """A machine `b` that was started long ago."""
    state = starting("b", Promise(epoch, AT), 0.0, nodes=frozenset(VOTERS.current))
    return machine.step(state, StoreSeen(AT, VOTERS, True), 0.0)[0]


def released_long_ago() -> None:
    """A candidate that epoch 5 was released for comes late: epoch 6 has a primary with a lease."""
    state, _ = machine.step(_voter(5), Received("a", Heartbeat(6, 10.0, AT, True)), 10.0)
    _, effects = machine.step(state, Received("c", VoteRequest(7, AT, released=5)), 10.1)
    for effect in effects:
        if isinstance(effect, Send) and isinstance(effect.message, VoteReply) and not effect.message.refusal:
            raise Violation("one lease at a time", "a vote for a candidate that an older epoch was released for")


def refused_again_and_again() -> None:
    """Each refusal makes the next wait longer, up to a limit: else one that can't win disturbs for ever."""
    state, now, waits = _voter(5), 100.0, []
    for _ in range(4):
        state, effects = machine.step(state, Tick(), now)
        asked = [one.message for one in effects if isinstance(one, Send)]
        if not asked or not isinstance(asked[0], VoteRequest):
            raise Violation("nobody is disturbed without a chance", "a candidate that is due does not ask")
        for other in ("a", "c"):
            reply = VoteReply(asked[0].epoch, True, 5, "position")
            state, _ = machine.step(state, Received(other, reply), now)
        waits.append(wake_at(state) - now)
        now = wake_at(state)
    if waits != sorted(set(waits)):
        raise Violation("a refused candidate waits longer", f"it waited {waits}")


def _leader() -> State:
    """`b` leads epoch 6 on data that ends at `AT`; its first entry is written, and nothing is confirmed."""
    term = Term(6, 100.0, VOTERS, AT, head=Position(6, 11))
    return replace(_voter(6), term=term, position=Position(6, 11))


def long_lease() -> None:
    """The primary's lease may last 3 s after a heartbeat that said so, also when the voter was started again."""
    state, _ = machine.step(_voter(6), Received("a", Heartbeat(6, 10.0, AT, True, timeout=4.0)), 10.0)
    again = starting("b", state.promise, 10.0, nodes=state.nodes)
    for voter in (state, machine.step(again, StoreSeen(AT, VOTERS, True), 10.0)[0]):
        _, effects = machine.step(voter, Received("c", VoteRequest(7, AT)), 12.5)
        for effect in effects:
            if isinstance(effect, Send) and isinstance(effect.message, VoteReply) and not effect.message.refusal:
                raise Violation("one lease at a time", "a vote while a long lease may hold")


def longer_lease() -> None:
    """A heartbeat that was sent before the time-out was raised makes no lease of the longer kind."""
    state, _ = machine.step(_leader(), Received("c", HeartbeatReply(6, 100.2)), 100.3)
    state, _ = machine.step(state, TimingChanged(timing_of(4.0)), 100.4)
    state, _ = machine.step(state, Received("c", HeartbeatReply(6, 100.3)), 100.5)
    if lease.has_lease(state, 102.0):
        raise Violation("one lease at a time", "a long lease of heartbeats that spoke of a short one")


def overtaken_heartbeat() -> None:
    """A heartbeat of before the time-out was raised comes in after one that speaks of the longer lease."""
    state = replace(_voter(6), primary="a")
    for sent_at, timeout in ((100.1, 4.0), (100.0, 1.0)):
        state, _ = machine.step(state, Received("a", Heartbeat(6, sent_at, AT, True, timeout)), 100.2)
    state, effects = machine.step(state, Received("c", VoteRequest(7, AT, True)), 102.0)
    if not any(isinstance(one, Send) and isinstance(one.message, VoteReply) and one.message.refusal for one in effects):
        raise Violation("one lease at a time", "a vote while the primary has a long lease")
    state, _ = machine.step(state, Received("a", Heartbeat(6, 102.1, AT, True, 1.0)), 102.1)
    if state.patience != 1.0:
        raise Violation("somebody is elected and commits", "it waits longer than the last heartbeat said")


def not_on_disk() -> None:
    """While Redis rewrites its file, what is in its memory is not confirmed."""
    at = Position(6, 11)
    state, _ = machine.step(_voter(6), Received("a", ConfirmRequest(at)), 10.0)
    _, effects = machine.step(state, StoreSeen(at, VOTERS, False), 10.1)
    if effects:
        raise Violation("keeps what it confirmed", f"{effects} of what is not on disk")


def old_primary_asks() -> None:
    """A voter that promised epoch 6 confirms nothing for the primary of epoch 5."""
    state, effects = machine.step(_voter(6), Received("a", ConfirmRequest(AT)), 10.0)
    effects += machine.step(state, StoreSeen(AT, VOTERS, True), 10.1)[1]
    for effect in effects:
        if isinstance(effect, Send) and isinstance(effect.message, ConfirmReply) and effect.message.confirmed >= AT:
            raise Violation("a later primary has what was committed", "a confirmation after a promise")


def old_entries() -> None:
    """What was confirmed of an older epoch commits nothing: a later primary may lack it."""
    state = _leader()
    for voter in ("a", "c"):
        state, effects = machine.step(state, Received(voter, ConfirmReply(6, AT)), 100.3)
        if any(isinstance(effect, Committed) for effect in effects):
            raise Violation("a later primary has what was committed", f"{effects} for entries of epoch 5")


def parks_first() -> None:
    """Before it asks for votes a candidate's Redis stands still: it wins with the data that it has then."""
    state, effects = machine.step(_voter(5), Tick(), 100.0)
    (asked, *_) = [one.message for one in effects if isinstance(one, Send) and isinstance(one.message, VoteRequest)]
    state, effects = machine.step(state, Received("c", VoteReply(asked.epoch, True, 5)), 100.1)
    if not any(isinstance(effect, Park) for effect in effects) or any(isinstance(effect, Send) for effect in effects):
        raise Violation("leads with what it stood with", f"{effects} of a candidate that was not parked")


def term_ends() -> None:
    """Whatever ends a term has its account deleted and its Redis parked."""
    for event in (StoreFailed("redis hangs"), Received("a", Heartbeat(7, 1.0, AT, True))):
        _, effects = machine.step(_leader(), event, 100.2)
        if not any(isinstance(effect, StepDown) and effect.epoch == 6 for effect in effects):
            raise Violation("hands over after stepping down", f"{effects} when a term ends")


def neighbouring_worlds() -> None:
    """Two nodes were forced apart and took numbers that follow each other: one lacks what the other leads with."""
    own, other = 5 << worlds.SHIFT, 6 << worlds.SHIFT
    at = Position(own + 3, 20)
    state = starting("b", Promise(own + 3, at), 0.0, nodes=frozenset(VOTERS.current))
    state, _ = machine.step(state, StoreSeen(at, Voters(("b",)), True), 0.0)
    state, _ = machine.step(state, Received("a", Heartbeat(other + 1, 10.0)), 10.0)
    _, effects = machine.step(state, Tick(), 100.0)
    if any(isinstance(effect, Park) for effect in effects):
        raise Violation("a later primary has what was committed", f"{effects} with data of another world")


def forced_again() -> None:
    """Its Redis lost the first entry of the world that it was forced into; a replica may have it."""
    state, led = _voter(5), []
    for slot in (1, 2):
        state, _ = machine.step(state, ForceWanted(slot), 100.0 * slot)
        state, effects = machine.step(state, Parked(state.token, AT, VOTERS), 100.0 * slot)
        led += [one.epoch for one in effects if isinstance(one, Lead)]
        state = starting("b", state.promise, 0.0, nodes=state.nodes)  # its helper was started again, too
        state, _ = machine.step(state, StoreSeen(AT, VOTERS, True), 0.0)
    if len(set(led)) != 2:
        raise Violation("one entry a position", f"the worlds of two forces are {led}")


def world_in_memory() -> None:
    """Its Redis was at its append-only file when it was forced: what it wrote since may be gone with the power."""
    state, _ = machine.step(_voter(5), ForceWanted(1), 100.0)
    state, effects = machine.step(state, Parked(state.token, AT, VOTERS), 100.0)
    (lead,) = (one for one in effects if isinstance(one, Lead))
    first, alone = Position(lead.epoch, AT.revision + 1), Voters(("b",))
    before = StoreSeen(AT, VOTERS, True)  # looked at before it was written
    for event in (before, Appended(first, alone), before, StoreSeen(first, alone, False), Tick()):
        state, effects = machine.step(state, event, 101.0)
        if state.promise.epoch == lead.epoch or any(isinstance(one, Send) for one in effects):
            raise Violation("somebody is elected and commits", f"a world is told of that no disk has: {effects}")
    again = starting("b", state.promise, 101.0, nodes=state.nodes)  # its helper is started again, and its Redis goes on
    for at in range(102, 120):
        again, effects = machine.step(again, StoreSeen(first, alone, False), float(at))
        again, more = machine.step(again, Tick(), at + 0.5)
        if any(isinstance(one, Park | Send) for one in effects + more):
            raise Violation("somebody is elected and commits", f"it stands with a world that no disk has: {more}")
    again, _ = machine.step(again, StoreSeen(first, alone, True), 120.0)
    if not any(isinstance(one, Park) for one in machine.step(again, Tick(), 130.0)[1]):
        raise Violation("somebody is elected and commits", "its disk has that world, and it does not stand")
    state, effects = machine.step(state, StoreSeen(first, alone, True), 102.0)
    if Committed(first) not in effects or not any(isinstance(one, Send) for one in effects):
        raise Violation("somebody is elected and commits", f"its disk has it, and it does not lead: {effects}")


SCENES = (
    released_long_ago, refused_again_and_again, long_lease, longer_lease, overtaken_heartbeat, not_on_disk,
    old_primary_asks, old_entries, parks_first, term_ends, neighbouring_worlds, forced_again, world_in_memory,
)  # fmt: skip
