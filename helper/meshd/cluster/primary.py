"""The primary: carries out changes one after the other and answers only when a quorum of voters confirms them.

A change is decided on the newest data (`model.changes.decide`), written by one script, confirmed by voters, and only
then reported as done (DESIGN.md section 6). The elector says what is confirmed, and when the term is over.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from meshproto import node_pb2, state_pb2

from meshd.cluster.election.voter_change import next_voters
from meshd.cluster.elector import Elector, boot_time
from meshd.cluster.heartbeats import Heartbeats
from meshd.model.changes import Authority, Context, decide
from meshd.model.errors import Conflict, InvalidInput, MeshError, OutcomeUnknown, Unavailable
from meshd.model.position import Position
from meshd.model.requests import OURS, asker_of, check_repeat, check_request, is_admission, request_key
from meshd.model.state import State
from meshd.model.voters import Voters, oldest_voters
from meshd.store.database import Database
from meshd.store.errors import AppendConflict

log = logging.getLogger(__name__)

VOTER_CHECK = 1.0
"""Seconds between looks at whether the voters, the invites or the ephemeral members want a change."""


OVER = Unavailable("this node is not the primary any more; nothing was changed", "try again")


class Primary:
    """One term of the primary."""

    def __init__(
        self,
        self_id: str,
        head: State,
        epoch: int,
        changes: Database,
        elector: Elector,
        heartbeats: Heartbeats,
        authority: Authority,
        random: Callable[[int], bytes],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._self_id = self_id
        self._head = head
        self._epoch = epoch
        self._changes = changes
        self._elector = elector
        self._heartbeats = heartbeats
        self._authority = authority
        self._random = random
        self._now = now
        self._lock = asyncio.Lock()
        self._running: set[asyncio.Task[node_pb2.ChangeResult]] = set()
        self._asked: Counter[str] = Counter()  # requests that are carried out or wait for that

    @property
    def head(self) -> State:
        """The newest data, which may not be committed yet."""
        return self._head

    @property
    def writable(self) -> bool:
        """Whether a change sent now would be committed: this term's first entry is, and a quorum answers."""
        return self._elector.writable()

    async def write_first(self, voters: Voters | None = None) -> Position:
        """Writes the first entry of the term. Replicas may log in only after it. `voters`: a person has this node lead
        by force, and says with it who votes from now on."""
        entry = state_pb2.ChangeEntry(
            request_id=f"term-{self._epoch}-{self._self_id}",
            actor="meshd",
            action="term",
            summary=f"{self._name()} {'was forced to be' if voters else 'is'} the primary of epoch {self._epoch}",
            at_ms=int(self._now() * 1000),
            writes=[state_pb2.Write(kind="primary", key="", value=self._self_id.encode())],
            subject_id=self._self_id,
            asker=OURS,
        )
        if voters is not None:
            entry.writes.add(kind="voters", key="", value=voters.message.SerializeToString())
        return await self._write(entry)

    def _name(self) -> str:
        member = self._head.parsed.get(self._self_id)
        return member.name if member else self._self_id

    async def submit(self, change: node_pb2.Change, timeout: float) -> node_pb2.ChangeResult:
        """Carries the change out once. A refusal is a result; never raises MeshError."""
        deadline = time.monotonic() + timeout
        key = request_key(asker_of(change), change.request_id)
        try:
            check_request(change)
            self._asked[key] += 1
            try:
                async with asyncio.timeout(timeout):
                    await self._lock.acquire()
            except TimeoutError:
                self._forget(key)
                return await self._busy(change, key)
            except BaseException:
                self._forget(key)
                raise
            task = asyncio.create_task(self._carry_out(change, deadline), name=f"change {change.request_id}")
            self._running.add(task)
            task.add_done_callback(partial(self._ended, key))
            return await asyncio.shield(task)
        except MeshError as error:
            return _refusal(error)

    async def _busy(self, change: node_pb2.Change, key: str) -> node_pb2.ChangeResult:
        """Raises Unavailable, or OutcomeUnknown when the very same request is written or on its way."""
        await self._not_yet(change)
        if self._asked[key]:
            raise OutcomeUnknown("the same request is being carried out", "repeating it is safe")
        raise Unavailable("the primary is busy; nothing was changed", "try again")

    def _forget(self, key: str) -> None:
        self._asked -= Counter({key: 1})

    def _ended(self, key: str, task: asyncio.Task[node_pb2.ChangeResult]) -> None:
        """Takes note of a failure, also when the caller has gone."""
        self._forget(key)
        self._running.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.info("%s: %s", task.get_name(), task.exception())

    async def _carry_out(self, change: node_pb2.Change, deadline: float) -> node_pb2.ChangeResult:
        # Holds the lock that `submit` took, also when the caller has gone: a written change is seen through.
        try:
            if not await self._commit(deadline - time.monotonic()):
                await self._not_yet(change)
                raise Unavailable(
                    "a majority of the nodes that vote can't be reached; nothing was changed",
                    "see `meshctl nodes list`, and try again when they are back",
                )
            done = await self._done(change)
            if not self._elector.answerable():
                await self._not_yet(change)
                raise OVER
            if done is not None:
                position, result = done
                if is_admission(change) and result.member_id not in self._head.members:
                    raise Conflict("this machine was removed from the mesh since it joined", "ask for a new invite")
                result.position.CopyFrom(position.message)
                return result
            if change.WhichOneof("what") == "set_voters":
                self._check_step(change.set_voters.voters)
            if change.WhichOneof("what") == "remove_member":
                await self._free_of(change.remove_member.id, deadline)
            entry = decide(self._head, change, self._context())
            if entry is None:
                return node_pb2.ChangeResult(outcome=node_pb2.ChangeResult.DONE, position=self._head.position.message)
            result = node_pb2.ChangeResult.FromString(entry.result)
            result.outcome = node_pb2.ChangeResult.DONE
            position = await self._append(entry)
            result.position.CopyFrom(position.message)
            if not await self._commit(deadline - time.monotonic()):
                result.outcome = node_pb2.ChangeResult.UNKNOWN
                result.message = f"change {position} was written but not confirmed by a majority in time"
                result.fix = f"check with `meshctl events --since {position.revision}`; repeating it is safe"
            return result
        finally:
            self._lock.release()

    async def _done(self, change: node_pb2.Change) -> tuple[Position, node_pb2.ChangeResult] | None:
        """Where this very request is in the data, and its result. Raises Conflict when its id was another one's."""
        found = await self._changes.find_request(asker_of(change), change.request_id)
        if found is None:
            return None
        position, entry, result = found
        check_repeat(change, entry)
        return position, result

    async def _not_yet(self, change: node_pb2.Change) -> None:
        """Raises OutcomeUnknown when this request, asked for before, is in the data and waits for its confirmation."""
        written = await self._done(change)
        if written is not None:
            revision = written[0].revision
            raise OutcomeUnknown(
                f"change {written[0]} was written but is not confirmed by a majority yet",
                f"check with `meshctl events --since {revision}`; repeating it is safe",
            )

    def _context(self) -> Context:
        return Context(
            now_ms=int(self._now() * 1000),
            random=self._random,
            authority=self._authority,
            offline_ms=self._heartbeats.offline_ms(),
        )

    async def _append(self, entry: state_pb2.ChangeEntry) -> Position:
        """Writes an entry of this term. Whatever goes wrong ends the term: what is in Redis is not known any more."""
        if not self._elector.writable():
            raise OVER
        try:
            position = await self._write(entry)
        except InvalidInput:
            raise
        except AppendConflict as error:
            await self._elector.store_failed(str(error))
            raise OVER from error
        except MeshError as error:
            with suppress(Unavailable):  # the node is stopping: that doesn't take back what was written
                await self._elector.store_failed(str(error))
            raise OutcomeUnknown(str(error), "check with `meshctl events`; repeating it is safe") from error
        try:
            await self._elector.appended(position, Voters.from_message(self._head.voters))
        except Unavailable as error:
            raise OutcomeUnknown(str(error), "check with `meshctl events`; repeating it is safe") from error
        return position

    async def _write(self, entry: state_pb2.ChangeEntry) -> Position:
        position = Position(self._epoch, self._head.position.revision + 1)
        await self._changes.append(entry, self._head.position, position)
        self._head = self._head.with_entry(entry, position)
        return position

    async def _commit(self, timeout: float) -> bool:
        """Whether the head is confirmed by a quorum within `timeout` seconds."""
        return await self._elector.wait_committed(self._head.position, max(timeout, 0.05))

    async def upkeep(self) -> None:
        """Runs until cancelled: follows the voters, expires invites and members."""
        while True:
            await asyncio.sleep(VOTER_CHECK)
            try:
                await self._look_after()
            except MeshError as error:
                log.warning("upkeep of the mesh failed: %s", error)

    async def _look_after(self) -> None:
        if not self.writable:
            return
        if self._wants_expiry():
            await self.submit(self._own_change(expire_invites=node_pb2.ExpireInvites()), 5)
        voters = next_voters(self._elector.state, oldest_voters(self._head), boot_time())
        if voters is not None:
            await self.submit(self._own_change(set_voters=node_pb2.SetVoters(voters=voters.message)), 5)

    def _wants_expiry(self) -> bool:
        context = self._context()
        try:
            return decide(self._head, self._own_change(expire_invites=node_pb2.ExpireInvites()), context) is not None
        except MeshError:
            return False

    def _own_change(self, **what: object) -> node_pb2.Change:
        change_id = f"upkeep-{self._epoch}-{self._head.position.revision}-{next(iter(what))}"
        return node_pb2.Change(request_id=change_id, actor="meshd", asker=OURS, **what)  # type: ignore[arg-type]  # one field of `what`

    def _check_step(self, record: state_pb2.VoterRecord) -> None:
        """Only the next step of a change of voters may be written, as it is now: another may have come between."""
        step = next_voters(self._elector.state, oldest_voters(self._head), boot_time())
        if step is None or step != Voters.from_message(record):
            raise Unavailable("who votes has changed meanwhile; nothing was changed", "try again")

    async def _free_of(self, member_id: str, deadline: float) -> None:
        """Has a node vote no more, in the two entries that a change of voters takes, before it is removed."""
        wanted = oldest_voters(self._head, without=member_id)
        while member_id in {*self._head.voters.current, *self._head.voters.next} and wanted:
            voters = next_voters(self._elector.state, wanted, boot_time())
            if voters is None:
                raise Unavailable(
                    "a majority of the other nodes that vote is not up to date; nothing was changed",
                    "see `meshctl nodes list`, and try again when they are back",
                )
            change = self._own_change(set_voters=node_pb2.SetVoters(voters=voters.message))
            entry = decide(self._head, change, self._context())
            if entry is None:
                return
            await self._append(entry)
            if not await self._commit(deadline - time.monotonic()):
                raise Unavailable("a change of who votes was not confirmed in time; nothing was removed", "try again")


def _refusal(error: MeshError) -> node_pb2.ChangeResult:
    if isinstance(error, OutcomeUnknown):
        return node_pb2.ChangeResult(outcome=node_pb2.ChangeResult.UNKNOWN, message=error.message, fix=error.fix)
    return node_pb2.ChangeResult(
        outcome=node_pb2.ChangeResult.REFUSED, code=error.code, message=error.message, fix=error.fix
    )
