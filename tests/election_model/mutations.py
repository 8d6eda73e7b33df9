"""The rules of DESIGN.md sections 6 and 7, each broken on purpose. The model must notice every one.

Rules that only show when several things go wrong within milliseconds have a test of their own on the machine
(tests/unit/cluster/test_election.py), which fails without them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from unittest import mock

from meshd.cluster import turns
from meshd.cluster.election import leading, lease, machine, standing, state, voter_change, voting, worlds
from meshd.cluster.election.messages import Effect, HandOver, Look, Received, Send, VoteRequest
from meshd.cluster.election.state import Attempt, State, Term
from meshd.model import voters as quorums
from meshd.model.position import Position
from meshd.model.voters import Voters

from election_model import invariants, node, redis, scenes
from election_model.simulation import Simulation, Weather

Patch = tuple[object, str, Callable[..., Any]]


ANY = Weather()


@dataclass(frozen=True, slots=True)
class Mutation:
    rule: str  # of DESIGN.md
    patches: tuple[Patch, ...]
    weather: Weather = ANY  # in which it shows soon
    seed: int = 0  # of the first schedule that shows it, when the model was last changed
    scene: Callable[[], None] | None = None  # instead of a schedule

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for owner, name, replacement in self.patches:
                stack.enter_context(mock.patch.object(owner, name, replacement))
            yield

    def caught(self, seeds: Sequence[int]) -> tuple[int, str] | None:
        """The first schedule in which an invariant is violated, and which one."""
        with self.applied():
            if self.scene is not None:
                try:
                    self.scene()
                except invariants.Violation as violation:
                    return 0, violation.invariant
                return None
            for seed in seeds:
                try:
                    Simulation(seed, self.weather).run()
                except invariants.Violation as violation:
                    return seed, violation.invariant
        return None


def everywhere(name: str, replacement: Callable[..., Any], *modules: ModuleType) -> tuple[Patch, ...]:
    """For a function that modules have imported by name."""
    return tuple((module, name, replacement) for module in modules)


QUORUM_USERS = (quorums, leading, lease, standing, voter_change)


def _half_is_enough(voters: Sequence[str], confirmed: AbstractSet[str]) -> bool:
    return 2 * sum(voter in confirmed for voter in voters) >= len(voters)


def _present_voters_alone(record: Voters, confirmed: AbstractSet[str]) -> bool:
    return quorums._one(record.current, confirmed)


def _new_voters_at_once(now_state: State, wanted: Sequence[str], now: float) -> Voters | None:
    term = now_state.term
    if term is None or not wanted or tuple(wanted) == term.voters.current:
        return None
    joint = Voters(term.voters.current, tuple(wanted))
    return Voters(tuple(wanted)) if voter_change.ready(now_state, term, joint) else None


def _votes_for_anybody_again(now_state: State, sender: str, request: Any) -> bool:
    return not request.trial and request.epoch == now_state.promise.epoch


def _hears_everybody(self: Simulation, voter: node.Node, candidate: str, request: VoteRequest) -> None:
    voter.deliver(Received(candidate, request))


def _keeps_no_epoch(self: node.Node, after: State) -> bool:
    self.saved = dataclasses.replace(self.saved, floor=max(self.saved.floor, after.promise.floor))
    return True


def _goes_on(now_state: State, event: Any, now: float) -> tuple[State, list[Effect]]:
    return dataclasses.replace(now_state, loaded=False), [Look(Position())]


def _tells_at_once(now_state: State, target: str, now: float) -> tuple[State, list[Effect]]:
    term = now_state.term
    if term is None or target == now_state.self_id or target not in term.voters.current:
        return now_state, []
    return now_state, [Send(target, HandOver(term.epoch))]


def _hands_over_early(now_state: State, now: float) -> tuple[State, list[Effect]]:
    term = now_state.term
    if term is None or not term.target or term.head is None:
        return now_state, []
    now_state, effects = leading.step_down(now_state, now, "hand-over")
    return now_state, [*effects, Send(term.target, HandOver(term.epoch))]


def _stands_unasked(now_state: State, epoch: int, now: float) -> tuple[State, list[Effect]]:
    attempt = Attempt(state.Stage.ASKING, epoch, now, now_state.token, now_state.voters, now_state.position)
    return standing.park(now_state, attempt, now)


def _from_the_answer(now_state: State, sender: str, reply: Any, now: float) -> tuple[State, list[Effect]]:
    return _BEAT_ANSWERED(now_state, sender, dataclasses.replace(reply, sent_at=now), now)


_BEAT_ANSWERED = leading.beat_answered


def _lasts_longer(now_state: State, term: Term) -> float:
    return _LEASE_UNTIL(now_state, term) + 1.0


_LEASE_UNTIL = lease.lease_until


def _answers_the_head(now_state: State, now: float) -> Position | None:
    return now_state.term.head if now_state.term is not None else None


def _without_floor(now_state: State, epoch: int, position: Position, voters: Voters) -> bool:
    return bool(voters.current)


def _confirms_for_anybody(now_state: State, sender: str, request: Any) -> tuple[State, list[Effect]]:
    return dataclasses.replace(now_state, pending={**now_state.pending, sender: request.position}), [Look(Position())]


def _refused_without_a_wait(now_state: State, now: float) -> tuple[State, list[Effect]]:
    return dataclasses.replace(now_state, attempt=None, wait_from=now, pause=now_state.timing.stagger), []


def _stands_at_once(now_state: State, attempt: Attempt, now: float) -> tuple[State, list[Effect]]:
    attempt = dataclasses.replace(attempt, stage=state.Stage.STANDING)
    return dataclasses.replace(now_state, attempt=attempt), standing.request_votes(now_state, attempt)


def _ends_silently(now_state: State, now: float, reason: str) -> tuple[State, list[Effect]]:
    return state.waiting(dataclasses.replace(now_state, term=None, pending={}), now), []


def _one_world(epoch: int, slot: int) -> int:
    return _FORCED_EPOCH(epoch, 7)


def _next_number(epoch: int, slot: int) -> int:
    return epoch + 1


def _with_what_is_in_memory(now_state: State, epoch: int, position: Position, voters: Voters) -> bool:
    return _MAY_LEAD(dataclasses.replace(now_state, in_force=True), epoch, position, voters)


_MAY_LEAD = standing.may_lead


def _leads_with_whatever(now_state: State, attempt: Attempt, now: float) -> tuple[State, list[Effect]]:
    epoch = worlds.forced_epoch(max(now_state.promise.epoch, now_state.highest), attempt.slot)
    forced = dataclasses.replace(attempt, epoch=epoch, voters=Voters((now_state.self_id,)))
    return leading.begin(now_state, forced, now)


def _promises_a_world_first(now_state: State, attempt: Attempt, now: float) -> tuple[State, list[Effect]]:
    forced, effects = _FORCED(now_state, attempt, now)
    if forced.term is None:
        return forced, effects
    promise = voting.vote(forced.promise, forced.term.epoch, forced.self_id)
    return dataclasses.replace(forced, promise=promise), effects


_FORCED = standing.forced
_FORCED_EPOCH = worlds.forced_epoch


def _whoever_wants(
    turn: str, self_id: str, own: turns.Want, seen: Mapping[str, turns.Want], since: float, now: float, lease: float
) -> str:
    wanting = {one for one, want in {**seen, self_id: own}.items() if want.outgrown and not want.begun}
    return min(wanting, default="")


def _at_once(
    turn: str, self_id: str, own: turns.Want, seen: Mapping[str, turns.Want], since: float, now: float, lease: float
) -> str:
    return _NEXT_TURN(turn, self_id, own, seen, -math.inf, now, lease)


_NEXT_TURN = turns.next_turn

WORLD_USERS = (worlds, standing, voting)

CALM = Weather(
    nodes=3, voters=3, wild_clocks=False, damage=False, force=False, ailing=False, paced=False, short_worlds=False,
    rewrites=False, mixed=False,
)  # fmt: skip
UNCOPIED = dataclasses.replace(CALM, uncopied=True)
LARGE = dataclasses.replace(CALM, large=True, ailing=False)
EVEN = dataclasses.replace(CALM, nodes=4, voters=4)
CHANGING = dataclasses.replace(CALM, nodes=4, gap=0.3)
FORCING = dataclasses.replace(CALM, force=True, gap=0.3)
FORCING_LESS = dataclasses.replace(FORCING, damage=True, only=("damage", "force", "force", "crash"))
ENDING = dataclasses.replace(CALM, short_worlds=True)
DAMAGING = dataclasses.replace(CALM, damage=True)
CUTTING = dataclasses.replace(CALM, only=("cut", "cut again", "crash"), gap=0.2, seconds=6.0)

REWRITING = dataclasses.replace(CALM, rewrites=True, seconds=10.0)
MIXED = dataclasses.replace(CALM, mixed=True, nodes=None, voters=None)
RESTARTING = dataclasses.replace(CALM, only=("redis",), gap=0.08)

MUTATIONS = {
    "vote whatever the position": Mutation(
        "7.3: only for a candidate whose position is at least the larger of its own and its floor",
        ((voting, "required", lambda now_state: Position()),),
        CALM,
        0,
    ),
    "no floor": Mutation(
        "6.5 and 7.3: the floor is stored before a position is confirmed",
        ((voting, "raised_floor", lambda promise, position: promise),),
        DAMAGING,
        30,
    ),
    "stand below the floor": Mutation(
        "7.3: it stands only with loaded data at or above its floor",
        ((standing, "may_lead", _without_floor),),
        dataclasses.replace(DAMAGING, nodes=2, voters=2),
        17,
    ),
    "two votes in one epoch": Mutation(
        "7.3: it votes once per epoch", ((voting, "voted_for", _votes_for_anybody_again),), EVEN, 5
    ),
    "vote for a node that can't be copied": Mutation(
        "7.3: only for a candidate whose copies its Redis can read",
        ((Simulation, "_refuse", _hears_everybody),),
        MIXED,
        256,
    ),
    "epoch not stored": Mutation(
        "7.3: a voter stores the promised epoch with fsync", ((node.Node, "save", _keeps_no_epoch),), CALM, 69
    ),
    "go on after Redis restarted": Mutation(
        "7.5: when its Redis restarted, hangs or fails a write, the primary steps down",
        ((machine, "store_failed", _goes_on),),
        DAMAGING,
        39,
    ),
    "lead with another run of Redis": Mutation(
        "7.5: a candidate whose Redis restarted gives up",
        ((node.Node, "usable", lambda self, lead, stood_with, run: self.redis.live.position == lead.base),),
        RESTARTING,
        10,
    ),
    "stand with a Redis that is not parked": Mutation(
        "7.3: a candidate first parks its Redis", ((standing, "park", _stands_at_once),), scene=scenes.parks_first
    ),
    "the account outlives the term": Mutation(
        "6.2 and 7.5: the account is deleted on stepping down",
        ((leading, "step_down", _ends_silently),),
        scene=scenes.term_ends,
    ),
    "confirm what is not on disk": Mutation(
        "6.5: confirmed only while the append-only file is in force",
        ((voting, "confirmable", lambda now_state, seen: seen.position.epoch == now_state.promise.epoch),),
        scene=scenes.not_on_disk,
    ),
    "rewrite two files at once": Mutation(
        "6.2: files are rewritten one voter at a time",
        ((turns, "next_turn", _whoever_wants),),
        REWRITING,
    ),
    "a new primary gives a turn at once": Mutation(
        "6.2: also when the primary changes meanwhile",
        ((turns, "next_turn", _at_once),),
        REWRITING,
    ),
    "pass over a file that could not be rewritten": Mutation(
        "6.2: one that was not rewritten to the end is tried again",
        ((turns, "may_begin", lambda begun, ours: ours and not begun),),
        REWRITING,
    ),
    "confirm for an old primary": Mutation(
        "6.5: the epoch is the one it has promised",
        (
            (voting, "confirmable", lambda now_state, seen: seen.in_force),
            (voting, "confirm_asked", _confirms_for_anybody),
        ),
        scene=scenes.old_primary_asks,
    ),
    "count entries of an older epoch": Mutation(
        "6.6: committed is what is of the current epoch, or before that",
        ((leading, "counts", lambda term, reply: True),),
        scene=scenes.old_entries,
    ),
    "released for an older epoch": Mutation(
        "7.2: in a hand-over the lease that was given up is that of the promised epoch",
        ((voting, "released", lambda now_state, request: request.released > 0),),
        scene=scenes.released_long_ago,
    ),
    "a refused candidate asks again at once": Mutation(
        "7.4: a refused candidate waits longer",
        ((standing, "refused", _refused_without_a_wait),),
        scene=scenes.refused_again_and_again,
    ),
    "a voter forgets a long lease": Mutation(
        "7.2 and 11: no voter grants within the time-out that the primary said; that is kept on disk",
        ((voting, "patience", lambda heartbeat: 0.0),),
        scene=scenes.long_lease,
    ),
    "the last heartbeat counts": Mutation(
        "7.2 and 11: of a primary's heartbeats the one that was sent last says how long its lease may be",
        ((voting, "overtaken", lambda now_state, heartbeat: False),),
        scene=scenes.overtaken_heartbeat,
    ),
    "a lease of heartbeats that said less": Mutation(
        "7.5 and 11: when the time-out is set, the primary's lease begins anew",
        ((leading, "timing_changed", lambda now_state, timing, now: dataclasses.replace(now_state, timing=timing)),),
        scene=scenes.longer_lease,
    ),
    "anybody may copy": Mutation(
        "6.2: replicas log in as `repl-<epoch>`, which only that epoch's primary creates",
        ((redis.Redis, "admits", lambda self, epoch: True),),
        DAMAGING,
        266,
    ),
    "the account survives a restart": Mutation(
        "6.2: the account is never saved",
        ((redis.Redis, "account_after_restart", lambda self: self.account),),
        DAMAGING,
        931,
    ),
    "lead without confirmations": Mutation(
        "7.5: a primary whose changes no quorum confirms steps down (a primary that nobody can copy)",
        ((leading, "stuck_at", lambda now_state, term: float("inf")),),
        UNCOPIED,
        0,
    ),
    "cut full copies short": Mutation(
        "7.5: the time of a full copy that a quorum waits for does not count",
        ((leading, "copied_soon", lambda now_state, term, now: set()),),
        LARGE,
        2,
    ),
    "write without looking": Mutation(
        "6.4: check that the last entry is the expected one",
        ((node.Node, "expected", lambda self, write: True),),
        DAMAGING,
        37,
    ),
    "grant while a lease may hold": Mutation(
        "7.2: no voter grants within one time-out of a heartbeat",
        ((voting, "quiet", lambda now_state, now: True),),
        CALM,
        787,
    ),
    "lease from the answer": Mutation(
        "7.5: the lease runs from the sending of the heartbeat",
        ((leading, "beat_answered", _from_the_answer),),
        dataclasses.replace(CUTTING, only=("slow", "cut")),
        491,
    ),
    "long lease": Mutation(
        "7.5: the lease is shorter than the time-out",
        everywhere("lease_until", _lasts_longer, lease, invariants),
        CALM,
        27,
    ),
    "half is a quorum": Mutation(
        "7.7: more than half of the voters, or half of them including the oldest",
        ((quorums, "_one", _half_is_enough),),
        EVEN,
        36,
    ),
    "present voters alone": Mutation(
        "7.7: votes, commits and lease need a quorum of each set",
        everywhere("quorum_met", _present_voters_alone, *QUORUM_USERS),
        CHANGING,
        28,
    ),
    "one entry for new voters": Mutation(
        "7.7: a change of voters is two entries", ((voter_change, "next_voters", _new_voters_at_once),), CHANGING, 538
    ),
    "new voters that lack changes": Mutation(
        "7.7: it begins only when a quorum of the new set holds the latest revision",
        ((voter_change, "ready", lambda now_state, term, joint: True),),
        CHANGING,
        2,
    ),
    "tell before stepping down": Mutation(
        "7.2: a hand-over begins when the primary has stepped down",
        ((leading, "hand_over_wanted", _tells_at_once),),
        CALM,
        23,
    ),
    "hand over early": Mutation(
        "7.3: in a hand-over the target must have everything, too",
        ((leading, "hand_over", _hands_over_early), (voting, "required", lambda now_state: Position())),
        CALM,
        0,
    ),
    "stand unasked": Mutation("7.2: who misses it asks first", ((standing, "ask", _stands_unasked),), CALM, 0),
    "answer what is not committed": Mutation(
        "6.7: repeated requests are answered only from committed entries",
        ((lease, "answerable", _answers_the_head),),
        CALM,
        0,
    ),
    "force to the next epoch": Mutation(
        "7.8: --force raises the epoch to a world of its own",
        everywhere("forced_epoch", _next_number, worlds, standing),
        FORCING,
        48,
    ),
    "a node has one world": Mutation(
        "7.8: each --force begins a world that no other one does",
        everywhere("forced_epoch", _one_world, worlds, standing),
        scene=scenes.forced_again,
    ),
    "force with less than was said": Mutation(
        "7.8: --force leads with what a person agreed to at least",
        ((standing, "forced", _leads_with_whatever),),
        FORCING_LESS,
    ),
    "promise a world before it has data": Mutation(
        "7.8: the epoch of a forced world is promised once its first entry is on disk",
        ((standing, "forced", _promises_a_world_first),),
        dataclasses.replace(FORCING, only=("force", "redis", "hang", "crash")),
    ),
    "promise a world in memory": Mutation(
        "7.8: and on disk it is once the append-only file is in force",
        ((leading, "promised", lambda state, term: term.head is not None),),
        scene=scenes.world_in_memory,
    ),
    "promise a world of data of before": Mutation(
        "7.8: and it is the first entry of that world, not what was there before",
        ((voting, "has_first", lambda term, seen: seen.in_force),),
        scene=scenes.world_in_memory,
    ),
    "stand with a world in memory": Mutation(
        "7.8: nor does anybody stand with data of a world that is not on disk",
        ((standing, "may_lead", _with_what_is_in_memory),),
        scene=scenes.world_in_memory,
    ),
    "any data for any world": Mutation(
        "7.8: nobody leads a forced world with data of another",
        everywhere("continues", lambda epoch, data: True, *WORLD_USERS),
        FORCING,
    ),
    "the mesh ends with its world": Mutation(
        "7.8: after 2^20 epochs a world goes on in the next number",
        everywhere("continues", lambda epoch, data: worlds.world(epoch) == worlds.world(data), *WORLD_USERS),
        ENDING,
    ),
    "a new world goes on in the next number": Mutation(
        "7.8: only a world that is half used up goes on in the next number",
        everywhere("continues", lambda epoch, data: 0 <= worlds.world(epoch) - worlds.world(data) <= 1, *WORLD_USERS),
        scene=scenes.neighbouring_worlds,
    ),
}
