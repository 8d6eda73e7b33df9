"""What must hold at every step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshd.cluster.election.lease import lease_until
from meshd.cluster.election.state import Attempt
from meshd.cluster.election.worlds import world
from meshd.model.position import Position
from meshd.model.voters import Voters, quorum_met
from meshd.store.durability import Promise

from election_model.entries import EMPTY, Entry

if TYPE_CHECKING:
    from election_model.node import Node
    from election_model.simulation import Simulation

TURN_KEPT = 10.0
"""Seconds that a node may be at it without being heard (`turns`)."""


class Violation(Exception):
    """Raised when an invariant does not hold."""

    def __init__(self, invariant: str, detail: str) -> None:
        super().__init__(f"{invariant}: {detail}")
        self.invariant = invariant


class Checker:
    """Sees everything that happens in one schedule."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self.entries: dict[Position, Entry] = {}
        self.primaries: dict[int, str] = {}  # epoch -> who wrote in it
        self.led: list[tuple[int, Entry]] = []  # epoch, the data it began with
        self.worlds: dict[int, Entry] = {0: EMPTY}  # world -> the data it was forced with
        self.continued: set[int] = set()  # numbers in which the world of the number before goes on
        self.committed: dict[int, Entry] = {}  # world -> the last committed entry
        self.accepted: dict[str, Position] = {}  # who was forced -> the least that a person agreed to
        self.commits = 0
        self.elections = 0
        self.forced = 0
        self.stepped_down: set[int] = set()
        self.trials: dict[tuple[str, int], set[str]] = {}

    def home(self, epoch: int) -> int:
        """The world that an epoch belongs to, by the number that it began with."""
        number = world(epoch)
        while number in self.continued:
            number -= 1
        return number

    def written(self, node: Node, entry: Entry) -> None:
        epoch = entry.position.epoch
        if self.primaries.setdefault(epoch, node.id) != node.id:
            raise Violation("one primary an epoch", f"{node.id} wrote {entry}, {self.primaries[epoch]} leads there")
        if entry.position in self.entries:
            raise Violation("one entry a position", f"{node.id} wrote {entry} again")
        if self.home(epoch) == self.home(entry.parent.position.epoch) and epoch < entry.parent.position.epoch:  # type: ignore[union-attr]
            raise Violation("terms only grow", f"{entry} after {entry.parent}")
        self.entries[entry.position] = entry

    def begins_rewrite(self, node: Node) -> None:
        """Its own append-only file: no other is being rewritten, or was not to the end, that its primary may know of.

        One that was not does not count already: nothing is lost by writing it again, and nobody has to be waited for.
        A full copy has one written without asking anybody.
        """
        simulation = self._simulation
        if node.redis.failed:
            return
        term = node.state.term
        leader = node if term is not None else simulation.nodes.get(node.state.primary)
        if leader is None or leader.upkeep is None or leader.state.term is None or not simulation.honest_clocks:
            return
        if leader.state.term.epoch != node.state.promise.epoch:
            return
        upkeep, long_ago = leader.upkeep, leader.local() - TURN_KEPT
        for other in simulation.nodes.values():
            if other is node or not (other.redis.rewriting or other.redis.failed) or not other.redis.alive:
                continue
            said = upkeep.seen.get(other.id)
            if other is leader or upkeep.since > long_ago or (said is not None and said.at > long_ago):
                raise Violation("one file is rewritten at a time", f"{node.id}, and {other.id} is at it")

    def begins_change(self, node: Node, voters: Voters) -> None:
        """A primary decided on the first entry of a change of voters."""
        term = node.state.term
        if term is None or term.head is None or not voters.next:
            return
        known = [*term.stored.items(), *term.confirmed.items()]
        holding = {one for one, at in known if at >= term.head} | {node.id}
        if not quorum_met(Voters(voters.next), holding):
            raise Violation("voters that lack changes don't stop commits", f"{voters} begun at {term.head}")

    def elected(self, node: Node, epoch: int, base: Entry, stood_with: Entry, same_run: bool, forced: bool) -> None:
        """A primary writes its first entry on `base`."""
        self.elections += 1
        if base is not stood_with or not same_run:
            raise Violation("leads with what it stood with", f"{node.id} stood with {stood_with}, leads with {base}")
        least = min(node.saved.floor, self.accepted.get(node.id, node.saved.floor) if forced else node.saved.floor)
        if base.position < least:
            raise Violation("keeps what it confirmed", f"{node.id} leads with {base}, not {least}")
        if not forced and world(epoch) not in self.worlds and world(epoch) == world(base.position.epoch) + 1:
            self.continued.add(world(epoch))
        home = self.home(epoch)
        if forced:
            self.forced += 1
            self.worlds.setdefault(home, base)
            if home == max(self.worlds):  # everybody gets this data
                self._simulation.damaged.clear()
        elif home not in self.worlds or not self.worlds[home].within(base):
            raise Violation("a later primary has what was committed", f"{node.id} in {epoch} lacks the forced data")
        known = self.committed.get(home)
        if known is not None and epoch > known.position.epoch and not known.within(base):
            raise Violation(
                "a later primary has what was committed", f"{node.id} leads {epoch} with {base}, lacks {known}"
            )
        self.led.append((epoch, base))

    def reported(self, node: Node, position: Position) -> None:
        """A primary says that everything up to here is committed."""
        entry = self.entries.get(position)
        if entry is None:
            raise Violation("only what was written is committed", f"{node.id} reports {position}")
        if self.primaries[position.epoch] != node.id:
            raise Violation("one primary an epoch", f"{node.id} commits {position} of {self.primaries[position.epoch]}")
        home = self.home(position.epoch)
        known = self.committed.get(home, EMPTY)
        if not known.within(entry) and not entry.within(known):
            raise Violation("committed changes are one chain", f"{node.id} commits {entry}, {known} is committed")
        for epoch, base in self.led:
            if epoch > position.epoch and self.home(epoch) == home and not entry.within(base):
                raise Violation("a later primary has what was committed", f"{entry} by {node.id}, not in {epoch}")
        if known.within(entry) and known is not entry:
            self.committed[home] = entry
        self.commits += 1

    def answered(self, node: Node, position: Position) -> None:
        """A repeated request was answered as done from the data up to here."""
        entry = self.entries.get(position)
        known = self.committed.get(self.home(position.epoch), EMPTY)
        if entry is None or not entry.within(known):
            raise Violation("only committed changes are answered", f"{node.id} answers {position}, committed {known}")

    def promised(self, node: Node, old: Promise, new: Promise) -> None:
        if new.epoch < old.epoch or new.floor < old.floor:
            raise Violation("terms only grow", f"{node.id}: {old} became {new}")
        if new.epoch == old.epoch and old.vote and new.vote != old.vote:
            raise Violation("one vote an epoch", f"{node.id}: {old} became {new}")

    def stands(self, node: Node, attempt: Attempt) -> None:
        """A candidate has its own vote and asks for the others'."""
        if attempt.released:
            if attempt.released not in self.stepped_down:
                raise Violation("hands over after stepping down", f"{node.id} stands for {attempt.released}")
        elif not quorum_met(attempt.voters, self.trials.get((node.id, attempt.epoch), set()) | {node.id}):
            raise Violation("nobody is disturbed without a chance", f"{node.id} stands in {attempt.epoch} unasked")

    def leases(self, node: Node) -> None:
        """Whether two primaries believe in their leases now."""
        term = node.state.term
        if term is None or node.local() >= lease_until(node.state, term):
            return
        for other in self._simulation.nodes.values():
            if other is node or not other.up or other.state.term is None:
                continue
            if self.home(other.state.term.epoch) != self.home(term.epoch):
                continue
            if other.local() < lease_until(other.state, other.state.term):
                raise Violation(
                    "one lease at a time", f"{node.id} in {term.epoch}, {other.id} in {other.state.term.epoch}"
                )
