"""Events: what happened, in order, the newest last; a cursor on the last one follows."""

from __future__ import annotations

from meshtui.format import NOTHING, age
from meshtui.listings.listing import Cell, Column, Line, Listing, Story
from meshtui.look import EVENTS, Mark, Tone
from meshtui.model import Event, Invite, Mesh, Pending, Route, Severity
from meshtui.permissions import Subject
from meshtui.view import View

RECENT_MS = 15 * 60 * 1000
"""For how long an error marks the tab."""


def _mark(event: Event, view: View, width: int) -> Cell:
    mark = EVENTS[event.severity]
    return Cell(mark.shape, mark.tone)


def about(event: Event, mesh: Mesh) -> Subject | None:
    """The route, invite, request or member, where it is still there; who was let in, in the place of the request."""
    if (route := _route(event, mesh)) is not None:
        return route
    if event.subject_id:
        waiting: tuple[Invite | Pending, ...] = (*mesh.invites, *mesh.pending)
        if (found := next((one for one in waiting if one.id == event.subject_id), None)) is not None:
            return found
    let_in = f"request {event.subject_id}" if event.subject_id else None
    members = mesh.members.values()
    return next((member for member in members if event.is_about(member) or member.joined_by == let_in), None)


def _route(event: Event, mesh: Mesh) -> Route | None:
    """An event names the node that offers it; the network stands in its text."""
    if "/" not in event.text:
        return None
    words = {word.strip(",;:.()") for word in event.text.split()}
    found = [route for route in mesh.routes if route.cidr in words]
    return found[0] if len(found) == 1 else None


class Events(Listing[Event]):
    name = "Events"
    noun = "events"
    follows = True
    wants_events = True
    columns = (
        Column("", 1, _mark, lambda event, view: list(Severity).index(event.severity), gap=1),
        Column(
            "TIME", 11, lambda event, view, width: Cell(view.moment(event.at_ms), Tone.DIM),
            lambda event, view: event.at_ms,
        ),
        Column("ABOUT", 10, lambda event, view, width: Cell(event.subject or NOTHING),
               lambda event, view: event.subject, longest=24, rank=1),
        Column("WHAT", 20, lambda event, view, width: Cell(event.text), lambda event, view: event.text, longest=200),
        Column("BY", 8, lambda event, view, width: Cell(event.actor or NOTHING, Tone.DIM),
               lambda event, view: event.actor, longest=24, rank=2),
    )  # fmt: skip

    def rows(self, view: View) -> dict[str, Event]:
        return {f"{event.at_ms}/{event.sequence}/{event.text}": event for event in view.events()}

    def words(self, row: Event) -> tuple[str, str]:
        return row.subject, f"{row.subject} {row.text} {row.actor} {row.kind} {row.severity.value}"

    def subject(self, row: Event, view: View) -> Subject | None:
        return about(row, view.mesh) if view.mesh is not None else None

    def empty(self, view: View) -> str:
        return "Nothing happened since meshd started."

    def badge(self, view: View) -> Mark | None:
        recent = (event for event in view.events() if view.now_ms - event.at_ms < RECENT_MS)
        bad = any(event.severity is Severity.ERROR for event in recent)
        return Mark("▲", Tone.BAD, "an error in the last 15 minutes") if bad else None

    def story(self, row: Event, view: View) -> Story:
        mark = EVENTS[row.severity]
        lines = [
            Line("When", (Cell(f"{view.day(row.at_ms)} · {age(row.at_ms, view.now_ms)}"),)),
            Line("Kind", (Cell(f"{mark.shape} ", mark.tone), Cell(f"{mark.word} · {row.kind or 'event'}"))),
        ]
        if row.subject:
            lines.append(Line("About", (Cell(row.subject),)))
        if row.actor:
            lines.append(Line("By", (Cell(row.actor),)))
        if row.revision:
            lines.append(Line("Revision", (Cell(str(row.revision)),)))
        return Story((Cell(row.text, Tone.STRONG),), tuple(lines))
