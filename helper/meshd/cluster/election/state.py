"""What one node knows in the election. Immutable; times are seconds of its own CLOCK_BOOTTIME."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from functools import cache

from meshd.cluster.election.values import replace
from meshd.model.position import Position
from meshd.model.voters import Voters
from meshd.store.durability import Promise


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. The lease is shorter than the time-out by more than clocks can differ in rate."""

    heartbeat: float = 0.2
    lease: float = 0.75
    timeout: float = 1.0
    stagger: float = 0.1  # between the waits of one voter and of the next younger one: a round of votes
    round: float = 0.5  # for the answers to a request for votes
    stuck: float = 5.0  # that a primary goes on whose changes no quorum confirms or is getting a copy of


@cache
def timing_of(timeout: float) -> Timing:
    """For a mesh with slow links: all of it in proportion to the election time-out. 0: as it is by default."""
    usual = Timing()
    scale = (timeout or usual.timeout) / usual.timeout
    return Timing(*(getattr(usual, field.name) * scale for field in fields(Timing)))


LAST_RESORT = 10
"""Staggers that a node which does not vote waits longer: it stands only when none of the voters could win."""


class Stage(Enum):
    ASKING = "asking"  # whether it would be elected
    PARKING = "parking"  # its Redis
    STANDING = "standing"  # for election


@dataclass(frozen=True)
class Attempt:
    """To become primary."""

    stage: Stage
    epoch: int
    until: float
    token: int  # of the parking
    voters: Voters = Voters()
    base: Position = Position()
    granted: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()
    released: int = 0
    forced: bool = False
    slot: int = 0  # when it is forced: of the world that it begins
    accepted: Position = Position()  # when it is forced: the least data that it may lead with; (0, 0): the floor


@dataclass(frozen=True)
class Term:
    """As primary of one epoch."""

    epoch: int
    since: float
    voters: Voters  # the latest record in the data: it decides on commits and lease, committed or not
    base: Position  # the data it was elected with
    forced: bool = False
    head: Position | None = None  # the last entry it wrote; None before the first
    committed: Position = Position()
    behind_since: float = math.inf  # since when the head is not committed, without progress
    copying: frozenset[str] = frozenset()  # who said last that it is getting a full copy
    confirmed: Mapping[str, Position] = field(default_factory=dict)
    answered: Mapping[str, float] = field(default_factory=dict)  # voter -> when the heartbeat it answered was sent
    stored: Mapping[str, Position] = field(default_factory=dict)  # node -> last entry in its Redis
    next_beat: float = -math.inf
    paced: float = -math.inf  # when the timing changed: heartbeats of before don't make a lease of now
    target: str = ""  # whom it hands over to
    target_until: float = math.inf


@dataclass(frozen=True)
class Release:
    """A term that was handed over: the target is told until a newer epoch is heard of."""

    target: str
    epoch: int
    next_beat: float
    until: float


@dataclass(frozen=True)
class State:
    self_id: str
    started: float
    promise: Promise = Promise()
    timing: Timing = Timing()
    nodes: frozenset[str] = frozenset()
    loaded: bool = False  # whether the local Redis answers
    copying: bool = False  # whether it is getting a full copy
    position: Position = Position()  # of the local Redis, as it was seen last
    in_force: bool = False  # whether all of that was on disk
    voters: Voters = Voters()  # the latest record in that data
    primary: str = ""  # who was heard last
    heard: float = -math.inf  # when
    latest: tuple[int, float] = (0, -math.inf)  # epoch of the latest heartbeat, and when it was sent there
    wait_from: float = -math.inf
    pause: float = 0.0  # after wait_from, before it asks for votes
    refusals: int = 0  # in a row
    highest: int = 0  # epoch that was heard of
    token: int = 0
    pending: Mapping[str, Position] = field(default_factory=dict)  # who asked for which confirmation
    attempt: Attempt | None = None
    term: Term | None = None
    release: Release | None = None

    @property
    def leading(self) -> bool:
        return self.term is not None

    @property
    def patience(self) -> float:
        """Seconds of silence that may be a primary with a lease: by the timing here, or by what it said itself."""
        return max(self.timing.timeout, self.promise.patience)


def starting(
    self_id: str, promise: Promise, now: float, timing: Timing = Timing(), nodes: frozenset[str] = frozenset()
) -> State:
    """A helper that has just started, with what is on its disk."""
    state = State(self_id, now, promise, timing, nodes, highest=promise.epoch)
    return waiting(state, now)


def waiting(state: State, now: float) -> State:
    """Begins a full wait: a primary was heard, a vote granted, or a term ended."""
    return replace(state, wait_from=now, pause=state.patience, refusals=0)


def rank(state: State) -> int:
    """Place among those that may stand, the oldest first. The primary that fell silent does not count."""
    order = [one for one in state.voters.everyone if one == state.self_id or one != state.primary]
    return order.index(state.self_id) if state.self_id in order else len(order) + LAST_RESORT


def stand_at(state: State) -> float:
    """When this node asks for votes. Half a stagger more, since the others heard the same heartbeat a little later.

    The only node of a mesh waits for nobody: there is none that a lease could belong to. Without what it confirmed it
    has nothing to stand with, and looks again and again.
    """
    alone = state.nodes == {state.self_id} and state.voters.everyone == (state.self_id,)
    if alone and state.loaded and state.position >= state.promise.floor:
        return state.wait_from
    return state.wait_from + state.pause + state.timing.stagger * (rank(state) + 0.5)


def wake_at(state: State) -> float:
    """When the next `Tick` is due."""
    due = math.inf
    if state.term is not None:
        due = min(state.term.next_beat, state.term.target_until)
    elif state.attempt is not None:
        due = state.attempt.until
    elif state.voters.current:
        due = stand_at(state)
    if state.release is not None:
        due = min(due, state.release.next_beat)
    return due
