"""Runs the election machine on one node: gives it what happens, one event after the other, and does what it says.

The machine decides, `election` says how; here are the clock, the promise file, Redis and the calls to other nodes.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from meshd.cluster import forcing
from meshd.cluster.election import lease, machine, worlds
from meshd.cluster.election.messages import (
    Appended,
    Committed,
    ConfirmReply,
    ConfirmRequest,
    Effect,
    Event,
    Follow,
    ForceWanted,
    HandOverWanted,
    Heartbeat,
    Lead,
    Look,
    Message,
    NodesChanged,
    Park,
    Parked,
    Received,
    Refused,
    Send,
    StepDown,
    StoreFailed,
    StoreSeen,
    Tick,
    TimingChanged,
    answers,
)
from meshd.cluster.election.state import State, Timing, starting, wake_at
from meshd.cluster.links import Links
from meshd.cluster.store_health import HANG_LIMIT, StoreHealth
from meshd.model.errors import MeshError, Unavailable
from meshd.model.position import Position
from meshd.model.voters import Voters
from meshd.store.database import Database
from meshd.store.durability import Promise, Sight, look
from meshd.store.replication import Replication
from meshd.store.server import StoreServer

log = logging.getLogger(__name__)

LOOK_AGAIN = 0.05
"""Seconds between looks at a Redis that does not answer, or whose file is not in force yet."""

GROWTH_WAIT = 0.25
"""Seconds that one wait for an entry lasts."""

WATCHED_LIMIT = 1.5
"""Election time-outs after which the primary that was heard last is not called the primary any more."""


def boot_time() -> float:
    """Seconds since boot, sleep included: a machine that was suspended has lost its lease."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Elector:
    """`run` does everything; the other methods may be called from when it runs."""

    def __init__(
        self,
        self_id: str,
        server: StoreServer,
        database: Database,
        replication: Replication,
        promise_file: Path,
        links: Links,
        nodes: Callable[[], frozenset[str]],
        timing: Callable[[], Timing] = Timing,
        now: Callable[[], float] = boot_time,
    ) -> None:
        """Reads the promise file; raises Failed when that is damaged."""
        self._server = server
        self._database = database
        self._replication = replication
        self._path = promise_file
        self._health = StoreHealth(server, replication)
        self._links = links
        self._nodes = nodes
        self._now = now
        self._timing = timing
        self.state: State = starting(self_id, Promise.load(promise_file), now(), timing(), nodes())
        self.store_state = "redis was not looked at yet"
        self.changed = asyncio.Condition()  # who leads, or what is committed
        self._events: asyncio.Queue[tuple[Event, asyncio.Future[list[Message]] | None]] = asyncio.Queue()
        self._operations: asyncio.Queue[StepDown | Park | Lead | Follow] = asyncio.Queue()
        self._look_wanted = asyncio.Event()
        self._runs: dict[int, str] = {}  # parking token -> run of Redis
        self._confirming: dict[str, set[asyncio.Future[ConfirmReply]]] = {}
        self._sending: set[asyncio.Task[None]] = set()
        self._asking: set[str] = set()  # nodes that a ConfirmRequest is under way to
        self._refusal = ""
        self._aside = Position()  # of the data that was kept aside last
        self._storing: asyncio.Task[None] | None = None
        self._open = True  # whether there may be an account that lets replicas in
        self._closed = False

    # --- what others want to know -----------------------------------------------------------------------------------

    @property
    def leading(self) -> bool:
        return self.state.leading

    @property
    def epoch(self) -> int:
        """Of the term that this node leads, else the promised one."""
        return self.state.term.epoch if self.state.term is not None else self.state.promise.epoch

    @property
    def committed(self) -> Position:
        """In this node's term; (0, 0) when it leads none."""
        return self.state.term.committed if self.state.term is not None else Position()

    @property
    def lost(self) -> Position | None:
        """What this node confirmed, when its Redis does not hold that any more: then it does not lead by itself."""
        state = self.state
        return state.promise.floor if state.loaded and state.position < state.promise.floor else None

    def writable(self) -> bool:
        """Whether this node leads and a change may be written now."""
        return lease.writable(self.state, self._now())

    def answerable(self) -> bool:
        """Whether this node leads, and what it says about earlier changes is true."""
        return lease.answerable(self.state, self._now()) is not None

    def primary(self) -> str:
        """Who leads as far as this node knows: itself only with a lease, another only when heard of lately; else ""."""
        now = self._now()
        if self.state.term is not None:
            return self.state.self_id if lease.answerable(self.state, now) is not None else ""
        return self.state.primary if now - self.state.heard < WATCHED_LIMIT * self.state.timing.timeout else ""

    # --- what happens -----------------------------------------------------------------------------------------------

    async def received(self, sender: str, message: Message) -> Message | None:
        """A message of another node, and the reply to it that came with the same step."""
        if isinstance(message, Heartbeat):
            self._look_wanted.set()  # the next reply says what is here now
        for reply in await self._take(Received(sender, message)):
            return reply
        return None

    async def confirm(self, sender: str, request: ConfirmRequest, wait: float) -> ConfirmReply:
        """The primary asks: answers once that is confirmed, or never will be, or after `wait` seconds."""
        future: asyncio.Future[ConfirmReply] = asyncio.get_running_loop().create_future()
        waiting = self._confirming.setdefault(sender, set())
        waiting.add(future)
        try:
            await self._take(Received(sender, request))
            async with asyncio.timeout(wait):
                return await future
        except TimeoutError:
            return ConfirmReply(self.state.promise.epoch, Position())
        finally:
            waiting.discard(future)

    async def appended(self, position: Position, voters: Voters) -> None:
        """The primary wrote an entry."""
        await self._take(Appended(position, voters))

    async def store_failed(self, reason: str) -> None:
        await self._take(StoreFailed(reason))

    def redis_ended(self, reason: str) -> None:
        """From a callback: redis-server ended, and is started again."""
        self._events.put_nowait((StoreFailed(reason), None))

    async def hand_over(self, target: str) -> None:
        """Has another node lead. Returns when this one has stepped down. Raises Unavailable."""
        self._refusal = ""
        await self._take(HandOverWanted(target))
        limit = self.state.timing.timeout * 1.5
        try:
            async with asyncio.timeout(limit), self.changed:
                await self.changed.wait_for(lambda: self._refusal or not self.leading)
        except TimeoutError:
            self._refusal = "it did not catch up in time"
        if self._refusal:
            raise Unavailable(f"the other node can't take over: {self._refusal}", "see `meshctl nodes list`")

    def check_force(self) -> None:
        """Raises Conflict when `force` would be refused as things are now."""
        _, effects = machine.step(self.state, ForceWanted(0, self.state.position), self._now())
        for effect in effects:
            if isinstance(effect, Refused):
                raise forcing.not_forced(effect.reason)

    async def force(self, accepted: Position = Position()) -> None:
        """Has this node lead alone, whatever the others hold, with data from `accepted` on even where it confirmed more
        than that. Returns when it does. Raises Conflict, OutcomeUnknown and Unavailable."""
        self._refusal = ""
        await self._take(ForceWanted(secrets.randbelow(worlds.SLOTS), accepted))
        await forcing.until_it_leads(self, lambda: self._refusal)

    async def wait_committed(self, position: Position, timeout: float) -> bool:
        """Whether that entry of this node's term is committed in time. False at once when the term ends."""
        try:
            async with asyncio.timeout(timeout), self.changed:
                await self.changed.wait_for(lambda: self.committed >= position or not self._leads(position.epoch))
        except TimeoutError:
            pass
        return self._leads(position.epoch) and self.committed >= position

    def _leads(self, epoch: int) -> bool:
        return self.state.term is not None and self.state.term.epoch == epoch

    async def wait_changed(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Whether a condition on who leads came true in time."""
        try:
            async with asyncio.timeout(timeout), self.changed:
                await self.changed.wait_for(condition)
        except TimeoutError:
            return False
        return True

    async def _take(self, event: Event) -> list[Message]:
        """Has the machine take an event; returns what it answers its sender."""
        if self._closed:
            raise Unavailable("this node is stopping")
        done: asyncio.Future[list[Message]] = asyncio.get_running_loop().create_future()
        self._events.put_nowait((event, done))
        return await done

    # --- the machine ------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Runs until cancelled. A Redis that was adopted may still let replicas of an older term in: not any more.

        After a fault of ours it may be run again: it then begins with what is on disk, as when the helper starts.
        """
        if self._closed:
            self._begin_again()
        self._operations.put_nowait(StepDown(0, "the election began anew"))
        self._look_wanted.set()
        async with asyncio.TaskGroup() as tasks:
            work = (self._operate(), self._look(), self._watch_redis(), self._health.restart_what_hangs())
            jobs = [tasks.create_task(job) for job in work]
            try:
                while True:
                    await self._next()
            finally:
                self._closed = True
                for job in jobs:  # before they are told that nobody answers any more, which would be a fault of theirs
                    job.cancel()
                while not self._events.empty():
                    _give_up(self._events.get_nowait()[1])
                for task in self._sending:
                    task.cancel()
                await asyncio.gather(*self._sending, return_exceptions=True)
                if self._storing is not None:  # who begins anew reads the file
                    await asyncio.gather(self._storing, return_exceptions=True)
                self.state = replace(self.state, term=None)  # whoever asks meanwhile: nothing is written any more
                async with self.changed:
                    self.changed.notify_all()

    def _begin_again(self) -> None:
        """Forgets everything but what was promised. Raises Failed when that is damaged."""
        known = self.state
        self.state = starting(known.self_id, Promise.load(self._path), self._now(), self._timing(), self._nodes())
        self._operations = asyncio.Queue()
        self._runs.clear()
        self._asking.clear()  # of exchanges that were ended before their first step
        self._open = True
        self._closed = False

    async def _next(self) -> None:
        nodes = self._nodes()
        if nodes != self.state.nodes:
            await self._step(NodesChanged(nodes), None)
        timing = self._timing()
        if timing != self.state.timing:
            await self._step(TimingChanged(timing), None)
        limit = wake_at(self.state) - self._now()
        if limit > 0:
            try:
                async with asyncio.timeout(min(limit, self.state.timing.heartbeat)):
                    event, done = await self._events.get()
            except TimeoutError:
                return
            try:
                await self._step(event, done)
            finally:
                _give_up(done)
        else:
            await asyncio.sleep(0)  # however often a tick is due, others get their turn
            await self._step(Tick(), None)

    async def _step(self, event: Event, done: asyncio.Future[list[Message]] | None) -> None:
        before = self.state
        after, effects = machine.step(before, event, self._now())
        if after.promise != before.promise:
            try:
                await self._store(after.promise)
            except OSError as error:
                reason = f"the promise file can't be written: {error.strerror}"
                log.error("%s: %s", self._path, reason)
                after, effects = machine.step(before, StoreFailed(reason), self._now())
        self.state = after
        sender = event.sender if isinstance(event, Received) else ""
        replies = []
        for effect in effects:
            if isinstance(effect, Send) and effect.to == sender and done is not None and answers(event, effect):
                replies.append(effect.message)
            else:
                self._carry_out(effect)
        if done is not None and not done.done():
            done.set_result(replies)
        async with self.changed:
            self.changed.notify_all()

    async def _store(self, promise: Promise) -> None:
        """Raises OSError. A thread can't be called back: what it began is written, and `run` does not end before it."""
        self._storing = asyncio.create_task(asyncio.to_thread(promise.save, self._path), name="store the promise")
        await asyncio.shield(self._storing)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Send(to, ConfirmReply() as reply):
                for future in self._confirming.get(to, ()):
                    if not future.done():
                        future.set_result(reply)
            case Send(to, message):
                self._send(to, message)
            case Look():
                self._look_wanted.set()
            case Committed(position):
                self._links.committed(position)
            case Refused(reason):
                self._refusal = reason
            case StepDown(epoch, reason):
                log.warning("no longer the primary of epoch %d: %s", epoch, reason)
                self._operations.put_nowait(effect)
            case Follow():
                if self._operations.empty():
                    self._operations.put_nowait(effect)
            case _:
                self._operations.put_nowait(effect)

    def _send(self, to: str, message: Message) -> None:
        if isinstance(message, ConfirmRequest):
            if to in self._asking:
                return
            self._asking.add(to)
        task = asyncio.create_task(self._exchange(to, message), name=f"{type(message).__name__} to {to}")
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _exchange(self, to: str, message: Message) -> None:
        try:
            reply = await self._links.send(to, message)
        finally:
            if isinstance(message, ConfirmRequest):
                self._asking.discard(to)
        if reply is not None:
            await self._take(Received(to, reply))

    # --- Redis ------------------------------------------------------------------------------------------------------

    async def _operate(self) -> None:
        """Commands that change what Redis is, in their order."""
        while True:
            operation = await self._operations.get()
            try:
                await self._carry_out_in_redis(operation)
            except (MeshError, OSError) as error:
                if str(error) != self.store_state:
                    log.warning("%s: %s", type(operation).__name__, error)
                self.store_state = str(error)
                if not isinstance(operation, Follow):
                    await self._take(StoreFailed(str(error)))

    async def _carry_out_in_redis(self, operation: StepDown | Park | Lead | Follow) -> None:
        match operation:
            case StepDown(epoch, reason):
                await self._links.end(epoch, reason)
                await self._let_nobody_in()
                await self._replication.park()
            case Park(token):
                await self._let_nobody_in()
                await self._replication.park()
                await self._server.ping(HANG_LIMIT)
                self._runs[token] = self._server.run_id
                sight = await look(self._database)
                await self._take(Parked(token, sight.position, sight.voters))
            case Lead():
                await self._lead(operation)
            case Follow(primary, epoch, aside):
                await self._let_nobody_in()
                if aside and self.state.position not in (Position(), self._aside):
                    await self._replication.park()
                    await self._links.keep_aside(self.state.position)
                    self._aside = self.state.position
                await self._links.follow(primary, epoch)

    async def _let_nobody_in(self) -> None:
        """Also when the end of a term could not be carried out, as Redis hung then."""
        if self._open:
            await self._replication.revoke_all()
            self._open = False

    async def _lead(self, lead: Lead) -> None:
        run = self._runs.get(lead.token)
        self._runs.clear()
        if not self._leads(lead.epoch):
            return
        if not run or run != self._server.run_id:
            await self._take(StoreFailed("redis was restarted since it was parked"))
            return
        self._open = True
        await self._replication.detach()
        position, voters = await self._links.begin(lead.epoch, lead.base, lead.voters)
        log.info("primary of epoch %d, from change %s on", lead.epoch, position)
        await self._take(Appended(position, voters))
        await self._links.began()

    async def _look(self) -> None:
        """Looks when asked, and again for as long as something is waited for."""
        while True:
            await self._look_wanted.wait()
            self._look_wanted.clear()
            sight = await self._sight()
            if sight is None:
                self._look_wanted.set()
                await asyncio.sleep(LOOK_AGAIN)
                continue
            await self._take(StoreSeen(sight.position, sight.voters, sight.in_force, self._replication.copying))
            if self.state.pending:
                self._look_wanted.set()
                if not sight.in_force or all(sight.position >= wanted for wanted in self.state.pending.values()):
                    await asyncio.sleep(LOOK_AGAIN)

    async def _sight(self) -> Sight | None:
        try:
            wanted = max(self.state.pending.values(), default=Position())
            if wanted > self.state.position:
                await self._database.wait_position(wanted, GROWTH_WAIT)
            sight = await look(self._database)
        except MeshError as error:
            self.store_state = str(error)
            return None
        self.store_state = sight.state
        return sight

    async def _watch_redis(self) -> None:
        """The primary's Redis must be the same run, answer soon, and take writes."""
        epoch, run = 0, ""
        while True:
            await asyncio.sleep(self.state.timing.heartbeat)
            term = self.state.term
            if term is None or term.head is None:
                epoch = 0
                continue
            if epoch != term.epoch:
                epoch, run = term.epoch, self._server.run_id
            problem = await self._health.problem(run) and await self._health.problem(run)
            if problem and self.state.term is not None and self.state.term.epoch == epoch:
                await self._take(StoreFailed(problem))


def _give_up(done: asyncio.Future[list[Message]] | None) -> None:
    """What was not answered by now never will be."""
    if done is not None and not done.done():
        done.set_exception(Unavailable("this node is stopping"))
