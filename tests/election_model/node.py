"""One node: a helper that runs the election machine and carries out its effects, and a redis-server beside it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

from meshd.cluster.election import lease, machine, voter_change
from meshd.cluster.election.messages import (
    Appended,
    Committed,
    Effect,
    Event,
    Follow,
    Lead,
    Look,
    NodesChanged,
    Park,
    Parked,
    Refused,
    Send,
    StepDown,
    StoreFailed,
    StoreSeen,
    Tick,
    TimingChanged,
    VoteReply,
)
from meshd.cluster.election.state import State, Timing, starting, wake_at
from meshd.model.position import Position
from meshd.model.voters import Voters
from meshd.store.durability import Promise

from election_model.entries import Entry
from election_model.redis import Redis
from election_model.upkeep import Upkeep

if TYPE_CHECKING:
    from election_model.simulation import Simulation

PING = 0.2
PING_LIMIT = 0.4
LOOK_AGAIN = 0.04


class Node:
    def __init__(self, simulation: Simulation, node_id: str, data: Entry) -> None:
        self.simulation = simulation
        self.id = node_id
        self.redis = Redis(data)
        self.saved = Promise(data.position.epoch)
        self.disk_full = False
        self.no_room = False  # for a second file
        self.up = False
        self.paused_until = 0.0
        self.clock_base, self.clock_from, self.clock_rate = 0.0, 0.0, 1.0
        self.state: State = starting(node_id, self.saved, 0.0)
        self.timing = Timing()  # as the data says that this node knows
        self.life = 0  # of the helper: what an earlier one asked for reaches nobody
        self.writing = False
        self.unwritten: list[Voters] = []  # records on their way to Redis, which may hang
        self.upkeep: Upkeep | None = None
        self._wake = inf
        self._looking = False
        self._operations: deque[tuple[int, Effect | Append]] = deque()
        self._busy = False
        self._parked: dict[int, tuple[Entry, int]] = {}

    # --- clock and life ---------------------------------------------------------------------------------------------

    def local(self) -> float:
        return self.clock_base + (self.simulation.now - self.clock_from) * self.clock_rate

    def set_clock(self, jump: float, rate: float) -> None:
        self.clock_base, self.clock_from, self.clock_rate = self.local() + jump, self.simulation.now, rate
        self._plan_tick()

    def start(self) -> None:
        """The helper starts: nothing is known but what is on disk. The Redis it finds may still let replicas in."""
        self.up = True
        self.life += 1
        self.writing = self._looking = self._busy = False
        self._operations.clear()
        self._parked.clear()
        self._wake = inf
        self.state = starting(self.id, self.saved, self.local(), self.timing)
        self._operate(StepDown(0, "start"))
        self.handle(NodesChanged(self.simulation.everyone))
        self.look()
        self.later(PING, self._ping)
        self.upkeep = Upkeep(self) if self.simulation.may_rewrite else None

    def pace(self, timing: Timing) -> None:
        """The node learns of another timing."""
        self.timing = timing
        self.handle(TimingChanged(timing))

    def stop(self) -> None:
        self.up = False
        self.life += 1

    def later(self, delay: float, action: Callable[[], None]) -> None:
        """Something that this life of the helper does after a while, and not while it is paused."""
        self.simulation.after(delay, action, self, self.life)

    # --- the machine ------------------------------------------------------------------------------------------------

    def deliver(self, event: Event, delay: float = 0.0) -> None:
        self.later(delay, lambda: self.handle(event))

    def handle(self, event: Event) -> None:
        simulation, before = self.simulation, self.state
        after, effects = machine.step(before, event, self.local())
        if simulation.trace is not None:
            simulation.note(self, event, effects)
        if after is before:
            pass
        elif not self.save(after):
            self.state, effects = machine.step(before, StoreFailed("the promise can't be written"), self.local())
        else:
            self.state = after
        for effect in effects:
            self._carry_out(effect)
        if self.state is not before:
            if self.state.term is not before.term and simulation.honest_clocks:
                simulation.checker.leases(self)  # only a change of the term makes a lease longer
            self._plan_tick()
        elif self._wake == inf:
            self._plan_tick()

    def _plan_tick(self) -> None:
        due = wake_at(self.state)
        if due == inf:
            return
        at = max(self.simulation.now + (due - self.local()) / self.clock_rate, self.simulation.now) + 1e-4
        if at < self._wake - 1e-9:
            self._wake = at

            def tick() -> None:
                if self._wake == at:
                    self._wake = inf
                self.handle(Tick())

            self.later(at - self.simulation.now, tick)

    def save(self, after: State) -> bool:
        if after.promise is self.saved or after.promise == self.saved:
            return True
        if self.disk_full:
            return False
        checker = self.simulation.checker
        checker.promised(self, self.saved, after.promise)
        attempt = after.attempt
        if after.promise.vote == self.id and after.promise.epoch > self.saved.epoch and attempt is not None:
            checker.stands(self, attempt)
        self.saved = after.promise
        return True

    def _carry_out(self, effect: Effect) -> None:
        simulation = self.simulation
        match effect:
            case Send(to, message):
                if isinstance(message, VoteReply) and message.trial and not message.refusal:
                    simulation.checker.trials.setdefault((to, message.epoch), set()).add(self.id)
                simulation.send(self, to, message)
            case Look():
                self.look()
            case Refused():
                pass
            case Committed(position):
                simulation.checker.reported(self, position)
            case StepDown(epoch):
                simulation.checker.stepped_down.add(epoch)
                self._operate(effect)
            case _:
                self._operate(effect)

    # --- looking at Redis -------------------------------------------------------------------------------------------

    def look(self) -> None:
        if not self._looking:
            self._looking = True
            self.later(self.simulation.chance.uniform(0.0005, 0.005), self._seen)

    def _ping(self) -> None:
        """The primary's Redis must go on taking writes: a command that hung may have made it follow somebody."""
        term, redis = self.state.term, self.redis
        answers = redis.alive and redis.hung_until <= self.simulation.now
        if term is not None and term.head is not None and answers and not redis.takes_writes:
            self.handle(StoreFailed("redis takes no writes"))
        self.later(PING, self._ping)

    def _seen(self) -> None:
        self._looking = False
        redis = self.redis
        if redis.alive and redis.hung_until <= self.simulation.now:
            redis.sync()  # the answer comes after the file is written
            at = redis.live.position
            self.deliver(
                StoreSeen(at, redis.live.voters, redis.in_force, redis.copying),
                self.simulation.chance.choice((0.0, 0.0, 0.001, 0.03)),
            )
            if any(wanted > at or not redis.in_force for wanted in self.state.pending.values()):
                self._look_again()
        elif not self.state.loaded or self.state.pending:
            self._look_again()

    def _look_again(self) -> None:
        self._looking = True
        self.later(LOOK_AGAIN, self._seen)

    def redis_failed(self, reason: str) -> None:
        """The helper notices, mostly at once."""
        self.deliver(StoreFailed(reason), self.simulation.chance.choice((0.0, 0.001, 0.01, 0.05, 0.5)))

    # --- commands to Redis: one connection, in order ---------------------------------------------------------------

    def write(self) -> None:
        """A client's change, or a step of a change of voters."""
        term = self.state.term
        if self.writing or term is None or term.head is None or not lease.writable(self.state, self.local()):
            return
        chance = self.simulation.chance
        voters = None
        if chance.random() < 0.4:
            voters = voter_change.next_voters(self.state, self.simulation.wanted, self.local())
        if voters is not None:
            self.simulation.checker.begins_change(self, voters)
            self.unwritten.append(voters)
        self.writing = True
        self._operate(Append(term.epoch, term.head, voters))

    def _operate(self, operation: Effect | Append) -> None:
        self._operations.append((self.life, operation))
        if not self._busy:
            self._busy = True
            self._next()

    def _next(self) -> None:
        chance = self.simulation.chance
        delay = chance.uniform(0.0003, 0.003) if chance.random() > 0.03 else chance.uniform(0.01, 1.0)
        self.later(delay, self._send)

    def _send(self) -> None:
        """The command leaves the helper. A server that hangs gets to it when it goes on; a dead one never does."""
        life, operation = self._operations.popleft()
        redis = self.redis
        wait = max(redis.hung_until - self.simulation.now, 0.0)
        if wait > PING_LIMIT:
            self.later(PING_LIMIT, lambda: self._failed("redis hangs"))
            run = redis.run
            self.simulation.after(wait, lambda: redis.run == run and self._execute(life, operation))
            return
        if not redis.alive:
            self._failed("redis is gone")
            return
        self._execute(life, operation)
        if self._operations:
            self.later(0.0, self._next)
        else:
            self._busy = False

    def _failed(self, reason: str) -> None:
        self.writing = False
        self.handle(StoreFailed(reason))
        if self._operations:
            self._next()
        else:
            self._busy = False

    def _report(self, life: int, event: Event) -> None:
        """The answer of Redis, to the helper that asked."""
        if life == self.life:
            self.deliver(event, self.simulation.chance.choice((0.0, 0.001, 0.02)))

    def _execute(self, life: int, operation: Effect | Append) -> None:
        redis, simulation = self.redis, self.simulation
        if not redis.alive:
            return
        match operation:
            case StepDown():
                redis.revoke()
                redis.park()
            case Park(token):
                redis.park()
                self._parked[token] = redis.live, redis.run
                self._report(life, Parked(token, redis.live.position, redis.live.voters))
            case Follow(primary, epoch):
                redis.revoke()
                if not simulation.reads(self.id, primary):
                    redis.park()
                    return
                redis.takes_writes = False
                redis.master = primary, epoch
                simulation.replicate(self)
            case Lead():
                self._lead(life, operation)
            case Append():
                self._append(life, operation)

    def _lead(self, life: int, lead: Lead) -> None:
        redis, checker = self.redis, self.simulation.checker
        term = self.state.term
        if life != self.life or term is None or term.epoch != lead.epoch:
            return
        stood_with, run = self._parked[lead.token]
        if not self.usable(lead, stood_with, run):
            self._report(life, StoreFailed("redis is not as it was parked"))
            return
        redis.master = None
        redis.takes_writes = True
        entry = Entry(
            Position(lead.epoch, redis.live.position.revision + 1), redis.live, lead.voters or redis.live.voters
        )
        checker.elected(self, lead.epoch, redis.live, stood_with, run == redis.run, lead.voters is not None)
        checker.written(self, entry)
        redis.append(None, entry)
        redis.account = lead.epoch
        self._report(life, Appended(entry.position, entry.voters))

    def usable(self, lead: Lead, stood_with: Entry, run: int) -> bool:
        """What the first write checks: the same run of Redis, and the expected last entry."""
        return run == self.redis.run and self.redis.live.position == lead.base

    def _append(self, life: int, write: Append) -> None:
        redis = self.redis
        if life == self.life:
            self.writing = False
        if write.voters in self.unwritten:
            self.unwritten.remove(write.voters)
        position = Position(write.epoch, write.expected.revision + 1)
        if not redis.takes_writes or not self.expected(write):
            self._report(life, StoreFailed(f"{position} conflicts with what is in redis"))
            return
        entry = Entry(position, redis.live, write.voters or redis.live.voters)
        self.simulation.checker.written(self, entry)
        redis.append(None, entry)
        self.simulation.grown(self)
        if self.simulation.chance.random() < 0.02 and not self.simulation.peace:
            self._report(life, StoreFailed("the answer to a write was lost"))
        else:
            self._report(life, Appended(entry.position, entry.voters))

    def expected(self, write: Append) -> bool:
        return self.redis.live.position == write.expected


class Append:
    """A write of the primary: the script that checks the last entry first."""

    __slots__ = ("epoch", "expected", "voters")

    def __init__(self, epoch: int, expected: Position, voters: Voters | None) -> None:
        self.epoch = epoch
        self.expected = expected
        self.voters = voters
