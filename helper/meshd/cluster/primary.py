"""The primary: carries out changes one after the other and answers only when a quorum of voters confirms them.

A change is decided on the newest data (`model.changes.decide`), written by one script, confirmed by voters, and only
then reported as done (DESIGN.md section 6). In this version the node that created the mesh is the primary.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from meshproto import node_pb2, state_pb2

from meshd.cluster.heartbeats import Heartbeats, NodeCaller
from meshd.model.changes import Authority, Context, decide
from meshd.model.errors import MeshError, Unavailable
from meshd.model.position import Position
from meshd.model.state import State
from meshd.model.voters import oldest_voters, quorum_met
from meshd.store.database import Database
from meshd.store.durability import Confirmer

log = logging.getLogger(__name__)

VOTER_CHECK = 1.0
"""Seconds between looks at whether the voters, the invites or the ephemeral members want a change."""


class Primary:
    """One term of the primary. `run` drives heartbeats and upkeep; `submit` may be called once `run` is under way."""

    def __init__(
        self,
        self_id: str,
        head: State,
        epoch: int,
        changes: Database,
        own_vote: Confirmer,
        caller: NodeCaller,
        heartbeats: Heartbeats,
        authority: Authority,
        random: Callable[[int], bytes],
        on_committed: Callable[[Position], Awaitable[None]],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._self_id = self_id
        self._head = head
        self._epoch = epoch
        self._changes = changes
        self._own_vote = own_vote
        self._caller = caller
        self._heartbeats = heartbeats
        self._authority = authority
        self._random = random
        self._on_committed = on_committed
        self._now = now
        self._lock = asyncio.Lock()
        self.committed = Position()

    @property
    def head(self) -> State:
        """The newest data, which may not be committed yet."""
        return self._head

    @property
    def writable(self) -> bool:
        """Whether a change sent now would be committed: this term's first entry is, and a quorum answers."""
        return self.committed.epoch == self._epoch and self._has_quorum()

    def _has_quorum(self) -> bool:
        return quorum_met(self._head.voters, self._heartbeats.answering() | {self._self_id})

    async def write_first(self) -> None:
        """Writes the first entry of the term. Replicas may log in only after it."""
        entry = state_pb2.ChangeEntry(
            request_id=f"term-{self._epoch}-{self._self_id}",
            actor="meshd",
            action="term",
            summary=f"{self._name()} is the primary of epoch {self._epoch}",
            at_ms=int(self._now() * 1000),
            writes=[state_pb2.Write(kind="primary", key="", value=self._self_id.encode())],
            subject_id=self._self_id,
        )
        await self._append(entry)

    async def commit_first(self, timeout: float) -> bool:
        """Waits for the first entry's commit. False when no quorum confirmed it in time; `upkeep` goes on asking."""
        return await self._commit(timeout)

    def _name(self) -> str:
        member = self._head.parsed.get(self._self_id)
        return member.name if member else self._self_id

    async def submit(self, change: node_pb2.Change, timeout: float) -> node_pb2.ChangeResult:
        """Carries the change out once. A refusal is a result; never raises MeshError."""
        deadline = time.monotonic() + timeout
        try:
            async with asyncio.timeout(timeout):
                await self._lock.acquire()
        except TimeoutError:
            return _refusal(Unavailable("the primary is busy; nothing was changed", "try again"))
        try:
            return await asyncio.shield(self._carry_out(change, deadline))
        except MeshError as error:
            return _refusal(error)

    async def _carry_out(self, change: node_pb2.Change, deadline: float) -> node_pb2.ChangeResult:
        # Holds the lock that `submit` took, also when the caller has gone: a written change is seen through.
        try:
            if not await self._commit(deadline - time.monotonic()):
                raise Unavailable(
                    "a majority of the nodes that vote can't be reached; nothing was changed",
                    "see `meshctl nodes list`, and try again when they are back",
                )
            done = await self._changes.find_request(change.request_id)
            if done is not None:
                position, result = done
                result.position.CopyFrom(position.message)
                return result
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

    def _context(self) -> Context:
        return Context(
            now_ms=int(self._now() * 1000),
            random=self._random,
            authority=self._authority,
            offline_ms=self._heartbeats.offline_ms(),
        )

    async def _append(self, entry: state_pb2.ChangeEntry) -> Position:
        position = Position(self._epoch, self._head.position.revision + 1)
        await self._changes.append(entry, self._head.position, position)
        self._head = self._head.with_entry(entry, position)
        return position

    async def _commit(self, timeout: float) -> bool:
        """Whether the head is confirmed by a quorum within `timeout` seconds."""
        position = self._head.position
        if position <= self.committed:
            return True
        voters = self._head.voters
        confirmed: set[str] = set()
        wait = max(timeout, 0.05)

        async def ask(voter_id: str) -> tuple[str, Position]:
            if voter_id == self._self_id:
                return voter_id, (await self._own_vote.confirm(position, wait)).confirmed
            member = self._head.parsed.get(voter_id)
            if member is None:
                return voter_id, Position()
            request = node_pb2.ConfirmRequest(
                primary_id=self._self_id, position=position.message, wait_ms=int(wait * 1000)
            )
            reply = await self._caller.confirm(member, request, wait + 0.5)
            if reply is None or reply.promised_epoch != self._epoch:
                return voter_id, Position()
            return voter_id, Position.from_message(reply.confirmed)

        self._heartbeats.kick()
        tasks = [asyncio.create_task(ask(voter)) for voter in {*voters.current, *voters.next}]
        try:
            for finished in asyncio.as_completed(tasks, timeout=wait):
                voter_id, answer = await finished
                if answer >= position:
                    confirmed.add(voter_id)
                    if quorum_met(voters, confirmed):
                        self.committed = position
                        await self._on_committed(position)
                        self._heartbeats.set_committed(position)
                        return True
        except TimeoutError:
            pass
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return False

    async def upkeep(self) -> None:
        """Runs until cancelled: confirms what is left over, follows the voters, expires invites and members."""
        while True:
            await asyncio.sleep(VOTER_CHECK)
            try:
                await self._look_after()
            except MeshError as error:
                log.warning("upkeep of the mesh failed: %s", error)

    async def _look_after(self) -> None:
        if self.committed < self._head.position:
            async with self._lock:
                await self._commit(VOTER_CHECK)
            return
        if self._wants_expiry():
            await self.submit(self._own_change(expire_invites=node_pb2.ExpireInvites()), 5)
        voters = self._next_voters()
        if voters is not None:
            await self.submit(self._own_change(set_voters=node_pb2.SetVoters(voters=voters)), 5)

    def _wants_expiry(self) -> bool:
        context = self._context()
        try:
            return decide(self._head, self._own_change(expire_invites=node_pb2.ExpireInvites()), context) is not None
        except MeshError:
            return False

    def _own_change(self, **what: object) -> node_pb2.Change:
        change_id = f"upkeep-{self._epoch}-{self._head.position.revision}-{next(iter(what))}"
        return node_pb2.Change(request_id=change_id, actor="meshd", **what)  # type: ignore[arg-type]  # one field of `what`

    def _next_voters(self) -> state_pb2.VoterRecord | None:
        """The next step towards the oldest nodes as voters: first both sets together, then the new one alone."""
        record = self._head.voters
        if record.next:
            return state_pb2.VoterRecord(current=record.next)
        wanted = oldest_voters(self._head)
        if list(record.current) == wanted:
            return None
        ready = self._heartbeats.holding(self._head.position) | {self._self_id}
        if not quorum_met(state_pb2.VoterRecord(current=wanted), ready):
            return None
        return state_pb2.VoterRecord(current=record.current, next=wanted)


def _refusal(error: MeshError) -> node_pb2.ChangeResult:
    return node_pb2.ChangeResult(
        outcome=node_pb2.ChangeResult.REFUSED, code=error.code, message=error.message, fix=error.fix
    )
