"""Where things are listed, and what a row leads to. Pure."""

from __future__ import annotations

from meshtui.model import Invite, Member, Mesh, Pending, Route
from meshtui.permissions import Subject

OVERVIEW, MEMBERS, ROUTES, INVITES = 0, 1, 3, 4
"""Tabs. The app begins with members where there is one mesh, else with the overview."""


def place_of(subject: Subject) -> tuple[int, str] | None:
    """The tab that lists it, and its row there; None for what has no row to go to."""
    match subject:
        case Member():
            return MEMBERS, subject.id
        case Route():
            return ROUTES, subject.cidr
        case Invite():
            return INVITES, subject.id
        case Pending():
            return INVITES, f"?{subject.id}"
        case _:
            return None


def led_to(subject: Subject, tab: int, mesh: Mesh | None) -> Subject | None:
    """What a row of a tab leads to when it is about `subject`: from a route its node. None where that is itself."""
    if isinstance(subject, Route) and tab == ROUTES:
        return next((one for one in (mesh.nodes() if mesh else ()) if one.name == subject.chosen), None)
    place = place_of(subject)
    return subject if place is not None and place[0] != tab else None
