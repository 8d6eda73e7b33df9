"""Links to other nodes that are too slow for the election time-out: said for as long as they are, with what to set.
Nodes at their ends take each other for dead, and nobody gets votes in time."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable

from meshproto import local_pb2

from meshd.assembly.mesh import Mesh
from meshd.model.members import Member
from meshd.model.voters import LONGEST_TIMEOUT_MS

FITS = 4
"""Round trips that an election time-out is to have room for: a vote has half of it, and the lease of a heartbeat three
quarters, of which one round trip and one interval between heartbeats (a fifth) are gone when it is answered."""

KEPT = 8
"""Measurements of a link, of which the least counts: a busy machine makes some of them longer."""

ENOUGH = 4


class SlowLinks:
    """`look` again and again; `problem` is "" while all is well. `timeout`: of elections, in seconds."""

    def __init__(self, mesh: Mesh, nodes: Callable[[], Iterable[Member]], timeout: Callable[[], float]) -> None:
        self._mesh = mesh
        self._nodes = nodes
        self._timeout = timeout
        self._seen: dict[str, deque[tuple[float, float]]] = {}  # by node: when it was answered, milliseconds
        self.problem = self.fix = ""

    def look(self) -> None:
        least = self._least()
        timeout, before = self._timeout(), self.problem
        slow = {name: ms for name, ms in least.items() if FITS * ms > 1000 * timeout}
        if not slow:
            self.problem = self.fix = ""
            return
        name, ms = max(slow.items(), key=lambda one: one[1])
        wanted = min(math.ceil(FITS * ms / 1000), LONGEST_TIMEOUT_MS // 1000)
        self.problem = f"round trips to {name} take {ms:.0f} ms: too long for an election time-out of {timeout:g} s"
        self.fix = f"meshctl nodes timeout {wanted}"
        if not before:
            self._mesh.event("state", f"{self.problem}; set it: {self.fix}", severity="warning")

    def _least(self) -> dict[str, float]:
        """Milliseconds to each node that answered often enough lately, by name."""
        prober, found = self._mesh.sessions.prober, {}
        nodes = {one.id: one for one in self._nodes() if one.id != self._mesh.choices.member_id}
        self._seen = {one: self._seen.get(one, deque(maxlen=KEPT)) for one in nodes}
        for node_id, seen in self._seen.items():
            contact = prober.contact(nodes[node_id].ipv4)
            if not contact.measured_ms:
                seen.clear()
            elif not seen or seen[-1][0] != contact.answered:
                seen.append((contact.answered, contact.measured_ms))
            if len(seen) >= ENOUGH:
                found[nodes[node_id].name] = min(ms for _, ms in seen)
        return found

    def checks(self) -> list[local_pb2.Check]:
        if not self.problem:
            return []
        check = f"links of {self._mesh.name}"
        return [local_pb2.Check(check=check, state=local_pb2.WARNING, found=self.problem, fix=self.fix)]
