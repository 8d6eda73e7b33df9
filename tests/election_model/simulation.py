"""One schedule: several nodes, a network that misbehaves, faults, then peace, in which somebody must be elected."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from unittest import mock

from meshd.cluster.election import lease, worlds
from meshd.cluster.election.messages import Effect, Event, Heartbeat, Message, Received, VoteReply, VoteRequest
from meshd.cluster.election.state import Timing
from meshd.model.position import Position
from meshd.model.voters import Voters, quorum_met
from meshd.store.copy_format import CopyFormat

from election_model.entries import EMPTY, Entry
from election_model.invariants import Checker, Violation
from election_model.node import Node
from election_model.redis import Redis

PEACE_LIMIT = 15.0
"""Seconds after the last fault within which a change must be committed (DESIGN.md: somebody is elected in a bound)."""

REWRITES_LIMIT = 60.0
"""Seconds in peace within which all files that have grown are rewritten."""


@dataclass(frozen=True, slots=True)
class Weather:
    """What a schedule may suffer. Each is chosen by the seed unless it is given."""

    nodes: int | None = None
    voters: int | None = None
    seconds: float | None = None
    gap: float | None = None  # mean seconds between faults
    wild_clocks: bool | None = None
    damage: bool | None = None  # disks that lose what they had confirmed
    force: bool | None = None
    uncopied: bool | None = None  # in peace, one node whose data nobody can copy
    large: bool | None = None  # full copies that take longer than a primary goes on without confirmations
    ailing: bool | None = None  # in peace, a minority that stays cut off, dead or paused
    paced: bool | None = None  # the election time-out is set to others
    rewrites: bool | None = None  # append-only files grow and are rewritten
    mixed: bool | None = None  # redis-servers that can't read one another's copies
    short_worlds: bool | None = None  # epochs are near the end of a world of 64, so that it goes on in the next one
    only: tuple[str, ...] = ()  # faults by name; all when empty


class Simulation:
    def __init__(self, seed: int, weather: Weather = Weather(), trace: bool = False) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.trace: list[str] | None = [] if trace else None
        self.now = 0.0
        self.timing = Timing()  # that was set last
        self.steps = 0
        chance = self.chance
        size = weather.nodes or chance.choice((2, 3, 3, 3, 4, 4, 5))
        voting = min(weather.voters or chance.choice((1, 2, 3, 3, 4, 5, 5)), size)
        self.seconds = weather.seconds or chance.choice((3.0, 6.0, 10.0))
        self.gap = weather.gap or chance.choice((0.15, 0.4, 0.8))
        self.honest_clocks = not (chance.random() < 0.3 if weather.wild_clocks is None else weather.wild_clocks)
        self.may_damage = chance.random() < 0.3 if weather.damage is None else weather.damage
        self.may_force = chance.random() < 0.15 if weather.force is None else weather.force
        self.may_leave_uncopied = random.Random(f"{seed} uncopied").random() < 0.1
        if weather.uncopied is not None:
            self.may_leave_uncopied = weather.uncopied
        self.copy_seconds = 2 * Timing().stuck if random.Random(f"{seed} large").random() < 0.1 else 0.0
        if weather.large is not None:
            self.copy_seconds = 2 * Timing().stuck if weather.large else 0.0
        self.may_leave_ailing = random.Random(f"{seed} ailing").random() < 0.5
        if weather.ailing is not None:
            self.may_leave_ailing = weather.ailing
        self.may_pace = random.Random(f"{seed} paced").random() < 0.2 if weather.paced is None else weather.paced
        self.may_rewrite = random.Random(f"{seed} rewrites").random() < 0.25
        if weather.rewrites is not None:
            self.may_rewrite = weather.rewrites
        self.rewrites = 0
        kinds = random.Random(f"{seed} mixed")
        self.mixed = kinds.random() < 0.1 if weather.mixed is None else weather.mixed
        worlds_end = random.Random(f"{seed} worlds")
        short = worlds_end.random() < 0.1 if weather.short_worlds is None else weather.short_worlds
        self.world_bits = 6 if short else worlds.SHIFT
        oldest = worlds_end.randint(56, 63) if short else 1
        self.only = weather.only
        self.loss, self.slow = 0.0, 0.0
        self.blocked: set[tuple[str, str]] = set()  # messages from, to
        self.unlinked: set[tuple[str, str]] = set()  # replication between
        self.uncopied = ""  # whom nobody can copy, also in peace
        self.damaged: set[str] = set()
        self.ailing: frozenset[str] = frozenset()  # who has no part in peace
        self.peace = False
        ids = [f"n{number}" for number in range(size)]
        self.everyone = frozenset(ids)
        self.formats = {one: CopyFormat(number=kinds.choice((10, 11, 12)) if self.mixed else 10) for one in ids}
        if self.mixed:  # the only one who has all data may be one that the others can't copy
            self.may_damage = self.may_leave_ailing = self.may_leave_uncopied = False
        self.wanted = tuple(ids[:voting])
        first = Entry(Position(oldest, 1), EMPTY, Voters(self.wanted))
        self.checker = Checker(self)
        self.checker.entries[first.position] = first
        self.checker.primaries[oldest] = ids[0]
        self.checker.committed[0] = first
        self.nodes = {one: Node(self, one, first if one in self.wanted else EMPTY) for one in ids}
        self._events: list[tuple[float, int, Callable[[], object], Node | None, int]] = []
        self._order = count()
        for node in self.nodes.values():
            rate = chance.uniform(0.97, 1.03) if self.honest_clocks else chance.uniform(0.5, 2.0)
            node.set_clock(chance.uniform(0, 1000), rate)
            node.start()
            self._clients(node)

    # --- time -------------------------------------------------------------------------------------------------------

    def after(self, delay: float, action: Callable[[], object], node: Node | None = None, life: int = 0) -> None:
        """With `node`: something that this life of its helper does, and not while that is paused."""
        heappush(self._events, (self.now + delay, next(self._order), action, node, life))

    def run(self) -> None:
        """Raises Violation."""
        with mock.patch.object(worlds, "SHIFT", self.world_bits):
            self._run()

    def _run(self) -> None:
        from election_model import faults

        faults.plan(self)
        if self.may_pace:
            faults.plan_timing(self)
        if self.may_rewrite:
            faults.plan_growth(self)
        self._until(self.seconds)
        faults.end_all(self)
        self.peace = True
        limit = PEACE_LIMIT * self.timing.timeout + (2 * self.timing.stuck if self._leave_uncopied() else 0.0)
        limit += 2 * self.copy_seconds
        self._leave_ailing()
        began = self.now
        before = set(self.checker.entries.values())
        if not self.recoverable() or (self.mixed and not self._electable()):
            return
        while not self._settled(before):
            self._until(self.now + 0.5)
            if self.now - began > limit:
                states = {n.id: (n.state.promise, n.redis.live, n.redis.live.voters) for n in self.nodes.values()}
                raise Violation("somebody is elected and commits", f"not {limit} s after the last fault: {states}")
        if self.may_rewrite and not self.ailing and not self.uncopied:
            self._rewrite_all()

    def _rewrite_all(self) -> None:
        """In peace, every file that has grown is rewritten in its turn."""
        limit = self.now + REWRITES_LIMIT * self.timing.timeout
        while any(node.redis.outgrown or not node.redis.in_force for node in self.nodes.values()):
            self._until(self.now + 0.5)
            if self.now > limit:
                files = {n.id: (n.redis.outgrown, n.redis.in_force) for n in self.nodes.values()}
                raise Violation("files that have grown are rewritten", f"(outgrown, in force): {files}")

    def _leave_uncopied(self) -> bool:
        """In peace, too, nobody can copy the data of one node, though its messages pass: others have to lead."""
        if not self.may_leave_uncopied or not self.honest_clocks or self.may_damage or self.may_force:
            return False
        odd = random.Random(f"{self.seed} odd").choice(sorted(self.nodes))
        if not self._enough(self.everyone - {odd}):
            return False
        self.uncopied = odd
        self.tell(f"nobody can copy from {odd}")
        return True

    def _enough(self, others: frozenset[str]) -> bool:
        """Whether these are a quorum, whatever record decides now, is on its way to a Redis that hangs, or is what it
        will come to."""
        records = {node.redis.live.voters for node in self.nodes.values()} | {self.checker.committed[0].voters}
        records.update(record for node in self.nodes.values() for record in node.unwritten)
        records.add(Voters(self.wanted))
        return all(
            not one.current or (quorum_met(one, others) and quorum_met(Voters(one.current), others)) for one in records
        )

    def _leave_ailing(self) -> None:
        """In peace, too, a minority has no part in it: the others have to do without, disturbed by its messages."""
        from election_model import faults

        chance = random.Random(f"{self.seed} who ails")
        if not self.may_leave_ailing or self.uncopied or not self.honest_clocks or self.may_force:
            return
        ids = sorted(self.nodes)
        chance.shuffle(ids)
        ailing = frozenset(ids[: chance.randint(1, len(ids) - 1)])
        if not self._enough(self.everyone - self.damaged - ailing):
            return
        self.ailing = ailing
        for one in sorted(ailing):
            faults.AILMENTS[chance.choice(sorted(faults.AILMENTS))](self, self.nodes[one])

    def _until(self, end: float) -> None:
        events = self._events
        while events and events[0][0] <= end:
            self.now, _, action, node, life = heappop(events)
            self.steps += 1
            if node is None:
                action()
            elif not node.up or node.life != life:
                continue
            elif self.now < node.paused_until:
                heappush(events, (node.paused_until + 1e-6, next(self._order), action, node, life))
            else:
                action()
        self.now = end

    def _settled(self, before: set[Entry]) -> bool:
        """A change made in peace is committed, by a primary that votes, and is in every voter's data."""
        for node in self.nodes.values():
            term = node.state.term
            if term is None or term.head is None or term.committed.epoch != term.epoch:
                continue
            entry = self.checker.entries.get(term.committed)
            if entry is None or entry in before or node.id not in entry.voters.current or entry.voters.next:
                continue
            return all(
                entry.parent is not None and entry.parent.within(self.nodes[one].redis.live)
                for one in entry.voters.current
                if one not in self.ailing and self.reads(one, node.id)
            )
        return False

    def recoverable(self) -> bool:
        """Whether a quorum of every record in use still has its disk."""
        if not self.damaged:
            return True
        return len(self.checker.worlds) == 1 and self._enough(self.everyone - self.damaged - self.ailing)

    def _electable(self) -> bool:
        """Whether a quorum could vote for somebody and copy what that one has. With servers of several kinds it may be
        that what one disk alone has by now, uncommitted, is nothing that the others can read: a person has to mend it.
        """
        nodes = self.nodes.values()
        return any(
            self._enough(
                frozenset(
                    one.id
                    for one in nodes
                    if self.reads(one.id, node.id)
                    and max(one.redis.live.position, one.saved.floor) <= node.redis.live.position
                )
            )
            for node in nodes
        )

    # --- network ----------------------------------------------------------------------------------------------------

    def send(self, sender: Node, to: str, message: Message) -> None:
        chance = self.chance
        said = sender.upkeep.says(to, message) if sender.upkeep is not None else None
        copies = 1 if chance.random() > 0.02 or self.peace else chance.choice((0, 2, 2))
        for _ in range(copies):
            if chance.random() < self.loss:
                continue
            delay = chance.uniform(0.0005, 0.01)
            if chance.random() < self.slow:
                delay = chance.uniform(0.01, 2.5)
            self.after(delay, lambda: self._arrive(sender.id, to, message, said))

    def reads(self, one: str, other: str) -> bool:
        """Whether the redis-server of one node can load copies by that of the other."""
        return self.formats[one].reads(self.formats[other])

    def _arrive(self, sender: str, to: str, message: Message, said: object) -> None:
        if (sender, to) not in self.blocked:
            node = self.nodes[to]
            if isinstance(message, VoteRequest) and not self.reads(to, sender):
                node.later(0.0, lambda: self._refuse(node, sender, message))
                return
            node.deliver(Received(sender, message))
            if said is not None and node.upkeep is not None:
                node.later(0.0, lambda upkeep=node.upkeep: upkeep.hears(sender, message, said))
            if isinstance(message, Heartbeat):
                node.later(0.0, node.look)

    def _refuse(self, node: Node, candidate: str, request: VoteRequest) -> None:
        """`Replica.vote`: the machine of this voter hears nothing of it."""
        self.send(node, candidate, VoteReply(request.epoch, request.trial, node.state.promise.epoch, "format"))

    def grown(self, primary: Node) -> None:
        for node in self.nodes.values():
            if node.redis.master is not None and node.redis.master[0] == primary.id:
                self.replicate(node)

    def replicate(self, node: Node) -> None:
        """The replica gets what its primary has, a little later, if they are still connected then."""
        link, run = node.redis.master, node.redis.run
        chance = self.chance
        delay = chance.uniform(0.0002, 0.004) if chance.random() > 0.05 else chance.uniform(0.01, 0.5)

        def copy() -> None:
            redis = node.redis
            if redis.master != link or redis.run != run or not redis.alive or redis.hung_until > self.now or not link:
                return
            source = self.nodes[link[0]].redis
            if not source.alive or source.hung_until > self.now or not source.admits(link[1]):
                return
            if (node.id, link[0]) in self.unlinked or link[0] == self.uncopied:
                return
            how = redis.copy(source, chance)
            if how == "part":
                redis.receiving = None
                self.after(chance.choice((0.0, 0.001, 0.005)), lambda: redis.run == run and redis.sync())
            elif how == "full" and not self.copy_seconds:
                self._copied(node, source)
            elif how == "full" and not redis.copying:
                redis.receiving = link
                self.after(self.copy_seconds, lambda: self._arrived(node, source, run, source.run))

        self.after(delay, copy)

    def _copied(self, node: Node, source: Redis) -> None:
        """A full copy is here; the append-only file is written anew a little later."""
        redis, run = node.redis, node.redis.run
        redis.copy_all(source)
        copies = redis.copies
        self.after(
            self.chance.uniform(0.05, 0.4),
            lambda: redis.run == run and redis.copies == copies and redis.alive and redis.rewritten(),
        )

    def _arrived(self, node: Node, source: Redis, run: int, source_run: int) -> None:
        """The end of a full copy that took its time, unless something cut it."""
        redis, link = node.redis, node.redis.receiving
        if redis.run != run or not redis.copying or link is None:
            return
        redis.receiving = None
        same = source.alive and source.run == source_run and source.admits(link[1])
        if same and redis.alive and (node.id, link[0]) not in self.unlinked and link[0] != self.uncopied:
            self._copied(node, source)

    # --- clients ----------------------------------------------------------------------------------------------------

    def _clients(self, node: Node) -> None:
        """Somebody wants a change now and then, and asks whether an earlier one was done."""

        def again() -> None:
            if node.up and node.state.leading and self.now >= node.paused_until:
                node.write()
                answer = self.answer(node)
                if answer is not None:
                    self.checker.answered(node, answer)
            self._clients(node)

        self.after(self.chance.uniform(0.03, 0.2), again)

    def answer(self, node: Node) -> Position | None:
        return lease.answerable(node.state, node.local())

    # --- trace ------------------------------------------------------------------------------------------------------

    def note(self, node: Node, event: Event, effects: list[Effect]) -> None:
        assert self.trace is not None
        self.trace.append(f"{self.now:8.4f} {node.id} {event}" + "".join(f"\n             -> {one}" for one in effects))

    def tell(self, text: str) -> None:
        if self.trace is not None:
            self.trace.append(f"{self.now:8.4f} ** {text}")
