"""What a helper does about the append-only file of its Redis, and what it says and hears of whose turn it is."""

from __future__ import annotations

import random
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, cast

from meshd.cluster import turns
from meshd.cluster.election.messages import Heartbeat, HeartbeatReply
from meshd.cluster.turns import Want

if TYPE_CHECKING:
    from election_model.node import Node

LOOK_EVERY = 3.0
TURN_EVERY = 0.5
UNKNOWN = Want(outgrown=True, begun=True)


class Upkeep:
    """Of one life of a helper. `rewriting` and `heartbeats` of meshd do the same."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._chance = random.Random(f"{node.simulation.seed} rewrites {node.id} {node.life}")
        self.want = UNKNOWN
        self._ours_until = -inf
        self._turn = ""
        self._number = 0  # of the last heartbeat that it sent
        self._last = (0, 0)  # epoch and number of the last one that it heard
        self._epoch = 0  # of the term that the next two are of
        self._since = 0.0
        self.seen: dict[str, Want] = {}
        self.look()

    def look(self) -> None:
        node, redis, simulation = self._node, self._node.redis, self._node.simulation
        pause = LOOK_EVERY
        if redis.alive and redis.hung_until <= simulation.now:
            begun = not redis.in_force
            self.want = Want(outgrown=begun or redis.outgrown, begun=begun)
            possible = redis.in_force or redis.failed
            if self.want.outgrown and possible and turns.may_begin(begun, self._ours()):
                self._rewrite()
                return
            if self.want.outgrown:
                pause = TURN_EVERY
        node.later(pause, self.look)

    def _ours(self) -> bool:
        node = self._node
        if node.state.term is not None:
            return node.simulation.answer(node) is not None and self.turn() == node.id
        return node.local() < self._ours_until

    def _rewrite(self) -> None:
        node, redis, simulation = self._node, self._node.redis, self._node.simulation
        simulation.checker.begins_rewrite(node)
        simulation.rewrites += 1
        simulation.tell(f"{node.id} rewrites its file")
        self.want = Want(outgrown=True, begun=True)
        run, number = redis.run, redis.begin_rewrite()

        def end() -> None:  # the server's, whatever becomes of the helper
            if redis.run != run or redis.copies != number or not redis.alive:
                return
            if node.no_room:
                redis.rewriting, redis.failed = False, True
            else:
                redis.rewritten()

        length = self._chance.choice((0.1, 0.5, 2.0))
        simulation.after(length, end)
        node.later(length + 0.05, self._ended)

    def _ended(self) -> None:
        redis = self._node.redis
        if redis.in_force and not redis.outgrown:
            self.want = Want()
        self._node.later(LOOK_EVERY, self.look)

    # --- heartbeats -------------------------------------------------------------------------------------------------

    def turn(self) -> str:
        node = self._node
        term, now = node.state.term, node.local()
        assert term is not None
        if self._epoch != term.epoch:
            self._epoch, self._since, self._turn, self.seen = term.epoch, now, "", {}
        lease = node.state.timing.lease
        self._turn = turns.next_turn(self._turn, node.id, self.want, self.seen, self._since, now, lease)
        return self._turn

    def says(self, to: str, message: object) -> object:
        """What goes with a heartbeat, or with the answer to one."""
        if isinstance(message, HeartbeatReply):
            return self.want
        if isinstance(message, Heartbeat) and self._node.state.term is not None:
            self.turn()
            known = self.seen.setdefault(to, Want())
            ours = self.turn() == to and known.outgrown
            if ours:
                self.seen[to] = replace(known, told=message.sent_at)
            self._number += 1
            return ours, self._number, self._node.simulation.nodes[to].life
        return None

    def hears(self, sender: str, message: object, said: object) -> None:
        node = self._node
        if isinstance(message, Heartbeat) and message.epoch == node.state.promise.epoch:
            ours, number, life = cast("tuple[bool, int, int]", said)
            # A call ends with the helper that it was made to, and its connection: no turn reaches the next one.
            if life == node.life and (message.epoch, number) >= self._last:
                self._last = message.epoch, number
                self._ours_until = node.local() + node.state.timing.lease if ours and self.want.outgrown else -inf
        if isinstance(message, HeartbeatReply) and isinstance(said, Want) and node.state.term is not None:
            self.turn()
            known = self.seen.get(sender, Want())
            if message.promised_epoch == self._epoch and message.sent_at >= max(known.at, self._since):
                self.seen[sender] = replace(known, at=message.sent_at, outgrown=said.outgrown, begun=said.begun)

    @property
    def since(self) -> float:
        """When the term began."""
        return self._since
