"""Invites and machines that ask to be let in: what is open, for whom, and until when."""

from __future__ import annotations

from typing import ClassVar

from meshproto.durations import format_left

from meshtui.format import NOTHING, age
from meshtui.listings.listing import Cell, Column, Line, Listing, Story
from meshtui.look import Mark, Tone
from meshtui.model import Invite, InviteState, Pending, Role
from meshtui.permissions import Deed
from meshtui.view import View

Entry = Invite | Pending

INVITES = {
    InviteState.OPEN: Mark("●", Tone.GOOD, "open"),
    InviteState.REDEEMED: Mark("✓", Tone.DIM, "used"),
    InviteState.EXPIRED: Mark("○", Tone.DIM, "expired"),
    InviteState.REVOKED: Mark("⊘", Tone.DIM, "revoked"),
}
WAITS = Mark("①", Tone.CAUTION, "asks to be let in")
ORDER = (InviteState.OPEN, InviteState.REDEEMED, InviteState.EXPIRED, InviteState.REVOKED)


def entry_mark(entry: Entry) -> Mark:
    return WAITS if isinstance(entry, Pending) else INVITES[entry.state]


def _mark(entry: Entry, view: View, width: int) -> Cell:
    mark = entry_mark(entry)
    return Cell(mark.shape, mark.tone)


def _name(entry: Entry, view: View, width: int) -> Cell:
    if isinstance(entry, Pending):
        return Cell(entry.name, Tone.STRONG)
    return Cell(entry.member) if entry.member else Cell("whoever has it", Tone.DIM)


def _state(entry: Entry, view: View, width: int) -> Cell:
    live = isinstance(entry, Pending) or entry.state is InviteState.OPEN
    return Cell(entry_mark(entry).word, Tone.PLAIN if live else Tone.DIM)


def _role(entry: Entry, view: View, width: int) -> Cell:
    if isinstance(entry, Pending):
        return Cell(Role.PEER.value)
    return Cell(f"{entry.role.value}{', admin' if entry.admin else ''}")


def _uses(entry: Entry, view: View, width: int) -> Cell:
    return Cell(NOTHING, Tone.DIM) if isinstance(entry, Pending) else Cell(f"{entry.used} of {entry.uses}")


def _left(entry: Entry, view: View, width: int) -> Cell:
    if isinstance(entry, Pending) or entry.state is not InviteState.OPEN:
        return Cell(NOTHING, Tone.DIM)
    return Cell(_countdown(entry, view))


def _countdown(invite: Invite, view: View) -> str:
    left = invite.expires_ms - view.now_ms
    return f"in {format_left(left)}" if left > 0 else "now"


def _origin(entry: Entry, view: View, width: int) -> Cell:
    return Cell(f"from {entry.source}" if isinstance(entry, Pending) else entry.created_by, Tone.DIM)


def _since(entry: Entry) -> int:
    return entry.since_ms if isinstance(entry, Pending) else entry.created_ms


class Invites(Listing[Entry]):
    name = "Invites"
    noun = "invites and requests"
    one = "invite or request"
    keeps_order = True
    begin: ClassVar[tuple[Deed, ...]] = (Deed.INVITE,)
    columns = (
        Column("", 1, _mark, gap=1),
        Column("FOR", 14, _name, lambda entry, view: entry.name if isinstance(entry, Pending) else entry.member,
               longest=63),
        Column("STATE", 17, _state, lambda entry, view: -1 if isinstance(entry, Pending) else ORDER.index(entry.state)),
        Column("JOINS AS", 11, _role, rank=2),
        Column("USED", 7, _uses, lambda entry, view: 0 if isinstance(entry, Pending) else -entry.used, rank=3),
        Column("ENDS", 9, _left, lambda entry, view: 0 if isinstance(entry, Pending) else entry.expires_ms,
               right=True, late=1),
        Column("MADE", 11, lambda entry, view, width: Cell(age(_since(entry), view.now_ms)),
               lambda entry, view: -_since(entry), right=True, rank=1),
        Column("BY", 10, _origin, longest=32, rank=4),
        Column("ID", 8, lambda entry, view, width: Cell(entry.id, Tone.DIM), longest=16, rank=5),
    )  # fmt: skip

    def rows(self, view: View) -> dict[str, Entry]:
        """Who asks comes first, then what is open, the newest above."""
        if view.mesh is None:
            return {}
        invites = sorted(view.mesh.invites, key=lambda one: (ORDER.index(one.state), -one.created_ms))
        return {**{f"?{one.id}": one for one in view.mesh.pending}, **{one.id: one for one in invites}}

    def words(self, row: Entry) -> tuple[str, str]:
        if isinstance(row, Pending):
            return row.name, f"{row.name} {row.id} {row.source} {WAITS.word}"
        return row.member, f"{row.member} {row.id} {row.role.value} {INVITES[row.state].word} {row.created_by}"

    def subject(self, row: Entry, view: View) -> Entry:
        return row

    def empty(self, view: View) -> str:
        own = view.mesh.own() if view.mesh else None
        if own is not None and own.role is Role.PEER and not own.admin:
            return "No invites are shown here: peers that are no admins see none."
        return f"No invites yet.{view.hint(' Key i makes one: it lets a machine join, once, until it ends.')}"

    def badge(self, view: View) -> Mark | None:
        return Mark("①", Tone.CAUTION, WAITS.word) if view.mesh and view.mesh.pending else None

    def story(self, row: Entry, view: View) -> Story:
        mark = entry_mark(row)
        state = Line("State", (Cell(f"{mark.shape} ", mark.tone), Cell(mark.word)))
        if isinstance(row, Pending):
            lines = [
                state,
                Line("From", (Cell(f"{row.source}, {age(row.since_ms, view.now_ms)}"),)),
                Line("Mesh", (Cell(f"fingerprint {row.fingerprint}"), Cell(" · must be the same there", Tone.DIM))),
                Line("Its key", (Cell(row.public_key),)),
                Line("Choose", (Cell("y lets it in, d refuses it"),)),
            ]
            return Story((Cell(row.name, Tone.STRONG), Cell(f"  request {row.id}", Tone.DIM)), tuple(lines))
        left = f" · ends {_countdown(row, view)}" if row.state is InviteState.OPEN else ""
        lines = [
            Line("State", (*state.parts, Cell(f"{left} · {row.used} of {row.uses} used"))),
            Line("Joins as", (Cell(f"{row.role.value}{', may change the mesh' if row.admin else ''}"),)),
            Line("Made", (Cell(f"{view.day(row.created_ms)} by {row.created_by}"),)),
            Line("Ends", (Cell(view.day(row.expires_ms)),)),
        ]
        who = row.member or "whoever has it"
        return Story((Cell(who, Tone.STRONG), Cell(f"  invite {row.id}", Tone.DIM)), tuple(lines))
