"""Topology: who is reached how from this machine, as a tree. Relayed members hang below their relay.

meshd tells each machine its own paths only, so this is the view from here, and says so.
"""

from __future__ import annotations

from typing import ClassVar

from meshtui.format import NOTHING, milliseconds
from meshtui.listings.listing import Cell, Column
from meshtui.listings.members import Members
from meshtui.look import Tone, member_mark, role_word
from meshtui.model import Member, Mesh, Path
from meshtui.permissions import Deed
from meshtui.view import View


def branches(mesh: Mesh) -> list[tuple[str, Member]]:
    """(the drawn branch, member) from this machine down. Pure."""
    own = mesh.own()
    others = [member for member in mesh.members.values() if member is not own]
    by_relay: dict[str, list[Member]] = {}
    first: list[Member] = []
    names = {member.name for member in others if member.path is Path.DIRECT}
    for member in others:
        if member.path is Path.RELAYED and member.relay in names:
            by_relay.setdefault(member.relay, []).append(member)
        else:
            first.append(member)
    first.sort(key=lambda member: (member.path is Path.NONE, member.name))
    drawn: list[tuple[str, Member]] = [("", own)] if own is not None else []
    for place, member in enumerate(first):
        last = place == len(first) - 1
        drawn.append(("└─ " if last else "├─ ", member))
        below = sorted(by_relay.get(member.name, ()), key=lambda one: one.name)
        trunk = "   " if last else "│  "
        drawn += [(trunk + ("└─ " if at == len(below) - 1 else "├─ "), one) for at, one in enumerate(below)]
    return drawn


def _mark(member: Member, view: View, width: int) -> Cell:
    mark = member_mark(member, view.now_ms)
    return Cell(mark.shape, mark.tone)


def _way(member: Member, view: View, width: int) -> Cell:
    if member.is_self:
        return Cell("this machine", Tone.DIM)
    if not member.enabled:
        return Cell("disabled", Tone.DIM)
    if member.path is Path.DIRECT:
        return Cell("━━ direct")
    if member.path is Path.RELAYED:
        return Cell(f"╌╌ relayed by {member.relay}")
    return Cell("not reached", Tone.DIM)


def _latency(member: Member, view: View, width: int) -> Cell:
    known = member.online and member.latency_ms is not None
    return Cell(milliseconds(member.latency_ms) if known else NOTHING, Tone.PLAIN if known else Tone.DIM)


def _behind(member: Member, view: View, width: int) -> Cell:
    offered = [route.cidr for route in (view.mesh.routes if view.mesh else ()) if route.chosen == member.name]
    return Cell(", ".join([*member.subnets, *offered]), Tone.DIM)


class Topology(Members):
    name = "Topology"
    noun = "members"
    keeps_order = True
    sortable = False  # a tree
    begin: ClassVar[tuple[Deed, ...]] = (Deed.INVITE, Deed.EXPORT)

    def __init__(self) -> None:
        self._drawn: dict[str, str] = {}
        self.columns = (
            Column("", 1, _mark, gap=1),
            Column("FROM THIS MACHINE", 18, self._branch, longest=80),
            Column("HOW", 11, _way, longest=40, late=1),
            Column("LATENCY", 8, _latency, right=True, rank=1),
            Column("ROLE", 6, lambda member, view, width: Cell(role_word(member)), rank=2),
            Column("NETWORKS BEHIND IT", 18, _behind, longest=50, rank=3),
        )

    def _branch(self, member: Member, view: View, width: int) -> Cell:
        tone = Tone.STRONG if member.is_self else Tone.PLAIN if member.online else Tone.DIM
        return Cell(f"{self._drawn.get(member.id, '')}{member.name}", tone)

    def rows(self, view: View) -> dict[str, Member]:
        drawn = branches(view.mesh) if view.mesh else []
        self._drawn = {member.id: branch for branch, member in drawn}
        return {member.id: member for _, member in drawn}
