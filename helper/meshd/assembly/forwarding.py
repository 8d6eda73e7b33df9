"""Brings a change to the primary, whoever that is by now: here, at another node, or at the next one elected.

The same request id is carried out once (DESIGN.md section 6), so a change whose outcome is not known is sent again.
"""

from __future__ import annotations

import asyncio
import logging
import time

from meshproto import node_pb2

from meshd.assembly.mesh import Mesh
from meshd.assembly.node_calls import NodeCalls
from meshd.cluster.elector import Elector
from meshd.cluster.leadership import Leadership
from meshd.model.errors import Conflict, MeshError, OutcomeUnknown, Unavailable, from_code
from meshd.model.members import Role
from meshd.model.position import Position
from meshd.model.voters import quorum_met

log = logging.getLogger(__name__)

PAUSE = 0.1
"""Seconds before a change is tried again where nothing has changed meanwhile."""

APPLY_LIMIT = 3.0
"""Seconds that a committed change waits for the data planes."""

NO_PRIMARY = Unavailable(
    "no node leads the mesh: a majority of the nodes that vote can't be reached; nothing was changed",
    "see `meshctl nodes list`, and try again when they are back",
)


SAME_REDIS = "install the same Redis or Valkey on all nodes"

LOST = Unavailable(
    "no node leads the mesh, and this one does not by itself: its redis has lost changes that it had confirmed; "
    "nothing was changed",
    "see `meshctl doctor`",
)


class Forwarding:
    """For one node of one mesh."""

    def __init__(self, mesh: Mesh, elector: Elector, leadership: Leadership, calls: NodeCalls) -> None:
        self._mesh = mesh
        self._elector = elector
        self._leadership = leadership
        self._calls = calls

    async def submit(self, change: node_pb2.Change, timeout: float) -> node_pb2.ChangeResult:
        """Tries until it is done or refused, or the time is over. Never raises MeshError."""
        deadline = time.monotonic() + timeout
        unknown: node_pb2.ChangeResult | None = None
        while True:
            asked = self._elector.primary()
            result = await self._try(asked, change, max(deadline - time.monotonic(), 0.05))
            if result.outcome == node_pb2.ChangeResult.UNKNOWN:
                unknown = result
            elif result.outcome == node_pb2.ChangeResult.DONE or result.code != "unavailable":
                return result
            if deadline - time.monotonic() <= PAUSE:
                return unknown or result
            await self._elector.wait_changed(lambda: self._elector.primary() not in ("", asked), PAUSE)  # noqa: B023  # awaited here

    async def _try(self, primary: str, change: node_pb2.Change, timeout: float) -> node_pb2.ChangeResult:
        if primary == self._mesh.choices.member_id:
            return await self.submit_here(change, timeout)
        member = self._mesh.members.get(primary)
        if member is None:
            await self._elector.wait_changed(lambda: self._elector.primary() != primary, timeout)
            return refused(NO_PRIMARY if self._elector.lost is None else LOST)
        request = node_pb2.SubmitRequest(
            mesh_id=self._mesh.choices.mesh_id, change=change, hops=1, timeout_ms=int(timeout * 1000)
        )
        call = asyncio.create_task(self._calls.submit(member, request, timeout))
        gone = asyncio.create_task(self._elector.wait_changed(lambda: self._elector.primary() != primary, timeout))
        try:
            await asyncio.wait([call, gone], return_when=asyncio.FIRST_COMPLETED)
            if call.done() and not call.cancelled():  # cancelled: its connection was made anew
                return call.result()
        finally:
            for task in (call, gone):
                task.cancel()
            await asyncio.wait([call, gone])
        return node_pb2.ChangeResult(
            outcome=node_pb2.ChangeResult.UNKNOWN,
            message=f"{member.name} was lost while it carried the change out",
            fix="check with `meshctl events`; repeating it is safe",
        )

    async def submit_here(self, change: node_pb2.Change, timeout: float) -> node_pb2.ChangeResult:
        """At the primary itself; refused when this node is not that."""
        primary = self._leadership.primary
        if primary is None or not self._elector.answerable():
            return refused(Unavailable(f"{self._mesh.name} has another primary by now", "try again"))
        if change.WhichOneof("what") == "remove_member" and change.remove_member.id == self._mesh.choices.member_id:
            nodes = [one for one in self._mesh.members.values() if one.role is Role.NODE]
            if len(nodes) > 1:
                return await self._hand_over_first()
        if change.WhichOneof("what") == "promote_node":
            return await self._promote(change.promote_node.id)
        result = await primary.submit(change, timeout)
        if result.outcome == node_pb2.ChangeResult.DONE:
            await self._see_applied(change, result, timeout)
        return result

    async def _hand_over_first(self) -> node_pb2.ChangeResult:
        """A primary can't be removed by itself: another one takes over, and removes it then."""
        try:
            await self.hand_over()
        except MeshError as error:
            return refused(error)
        return refused(Unavailable("this node has handed over to another one", "try again"))

    async def _promote(self, target: str) -> node_pb2.ChangeResult:
        """Hands over; whoever asked tries again, and it is done when the node itself is asked."""
        if target == self._mesh.choices.member_id:
            done = node_pb2.ChangeResult.DONE
            return node_pb2.ChangeResult(outcome=done, member_id=target, position=self._elector.committed.message)
        member = self._mesh.members.get(target)
        name = member.name if member is not None else target
        if target not in self._elector.state.voters.current:
            return refused(Conflict(f"{name} does not vote, so it can't lead", "see `meshctl nodes list`"))
        if target not in self._leadership.heartbeats.answering():
            return refused(Conflict(f"{name} does not answer the primary", "see `meshctl nodes list`"))
        if not self._may_lead(target):
            unable = self._leadership.not_copying(target)
            names = ", ".join(f"{self._name(one)} has {unable[one].server}" for one in sorted(unable))
            return refused(
                Conflict(f"{name} can't lead: others could not read copies by its redis ({names})", SAME_REDIS)
            )
        try:
            await self._elector.hand_over(target)
        except MeshError as error:
            return refused(error)
        return refused(Unavailable(f"the primary has handed over to {name}", "try again"))

    def _name(self, node_id: str) -> str:
        member = self._mesh.members.get(node_id)
        return member.name if member is not None else node_id

    def _may_lead(self, target: str) -> bool:
        """Whether a quorum has a Redis that can copy from that node's: the others would not elect it."""
        voters = self._elector.state.voters
        return quorum_met(voters, set(voters.everyone) - self._leadership.not_copying(target).keys())

    async def hand_over(self) -> None:
        """To the oldest voter that answers and can be copied from. Raises Unavailable."""
        own = self._mesh.choices.member_id
        answering = self._leadership.heartbeats.answering()
        for target in self._elector.state.voters.current:
            if target != own and target in answering and self._may_lead(target):
                log.info("%s: handing over to %s", self._mesh.name, target)
                await self._elector.hand_over(target)
                return
        raise Unavailable(
            "no other node that votes can be reached to take over as primary",
            "see `meshctl nodes list`, and try again when one is back",
        )

    async def _see_applied(self, change: node_pb2.Change, result: node_pb2.ChangeResult, timeout: float) -> None:
        """An invite counts only with nodes that let its key in: waits for them and names them."""
        position = Position.from_message(result.position)
        heartbeats = self._leadership.heartbeats
        await self._mesh.wait_applied(position, min(timeout, APPLY_LIMIT))
        if change.WhichOneof("what") != "create_invite":
            return
        deadline = time.monotonic() + min(timeout, APPLY_LIMIT)
        answering = heartbeats.answering()
        while time.monotonic() < deadline and not answering <= heartbeats.applied(position):
            await heartbeats.next_answer(deadline - time.monotonic())
        result.applied_node_ids.extend([self._mesh.choices.member_id, *sorted(heartbeats.applied(position))])


def refused(error: MeshError) -> node_pb2.ChangeResult:
    return node_pb2.ChangeResult(
        outcome=node_pb2.ChangeResult.REFUSED, code=error.code, message=error.message, fix=error.fix
    )


def raise_refusal(result: node_pb2.ChangeResult) -> node_pb2.ChangeResult:
    """The result itself when it was done. Raises what it was refused with, or OutcomeUnknown."""
    if result.outcome == node_pb2.ChangeResult.DONE:
        return result
    if result.outcome == node_pb2.ChangeResult.UNKNOWN:
        raise OutcomeUnknown(result.message, result.fix)
    raise from_code(result.code or "failed", result.message or "the change was refused", result.fix)
