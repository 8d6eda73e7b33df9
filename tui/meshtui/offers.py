"""What is offered for a selection: the key, the words for it, and why not. Hints, palette and help are made from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from meshtui.model import Check, Invite, Member, Mesh, MeshState, Pending, Role, Route
from meshtui.permissions import Deed, Refusal, Subject, refusal
from meshtui.view import View

KEYS = {
    Deed.PING: "p",
    Deed.COPY: "c",
    Deed.ENABLE: "e",
    Deed.RENAME: "r",
    Deed.ADMIN: "A",
    Deed.REMOVE: "d",
    Deed.PROMOTE: "P",
    Deed.USE: "e",
    Deed.WITHDRAW: "d",
    Deed.PUBLISH: "a",
    Deed.INVITE: "i",
    Deed.REVOKE: "d",
    Deed.SHOW: "K",
    Deed.LET_IN: "y",
    Deed.REFUSE: "d",
    Deed.CONNECT: "e",
    Deed.LEAVE: "d",
    Deed.KEY: "K",
    Deed.JOIN: "a",
    Deed.CREATE: "n",
    Deed.EXAMINE: "x",
    Deed.EXPORT: "w",
}
"""One letter means the same kind of thing everywhere: a adds, d takes away, e switches on and off, K shows a secret."""

OF = {
    Member: (Deed.PING, Deed.COPY, Deed.ENABLE, Deed.RENAME, Deed.ADMIN, Deed.REMOVE, Deed.PROMOTE),
    Route: (Deed.COPY, Deed.USE, Deed.WITHDRAW),
    Invite: (Deed.SHOW, Deed.REVOKE),
    Pending: (Deed.LET_IN, Deed.REFUSE),
    Mesh: (Deed.CONNECT, Deed.KEY, Deed.LEAVE),
    Check: (Deed.COPY,),
}

FOR_SEVERAL = frozenset((Deed.PING, Deed.COPY, Deed.ENABLE, Deed.REMOVE))

BEGINNINGS = (Deed.INVITE, Deed.PUBLISH, Deed.JOIN, Deed.CREATE, Deed.EXAMINE, Deed.EXPORT)
"""They need no row."""


class Offer(NamedTuple):
    """`word` stands beside the key, `title` in the palette with `about`; `refusal` is None when it may be done."""

    deed: Deed
    key: str
    word: str
    title: str
    about: str
    refusal: Refusal | None


def offers(view: View, subjects: Sequence[Subject], begin: Sequence[Deed]) -> list[Offer]:
    """What may be done to the subjects, and what can be begun where they are."""
    found = []
    if subjects:
        several = len(subjects) > 1
        kinds = [deed for deed in OF[type(subjects[0])] if not several or deed in FOR_SEVERAL]
        found = [_offer(deed, view, subjects) for deed in kinds if deed is not Deed.PROMOTE or _is_node(subjects[0])]
    return found + [_offer(deed, view, ()) for deed in begin]


def _is_node(subject: Subject) -> bool:
    return isinstance(subject, Member) and subject.role is Role.NODE


def _offer(deed: Deed, view: View, subjects: Sequence[Subject]) -> Offer:
    refusals = [refusal(deed, view, subject) for subject in subjects] or [refusal(deed, view)]
    word, title, about = _words(deed, subjects)
    return Offer(deed, KEYS[deed], word, title, about, next((one for one in refusals if one is not None), None))


def named(subjects: Sequence[Subject]) -> str:
    if len(subjects) == 1:
        return name_of(subjects[0])
    return f"{len(subjects)} members"


def name_of(subject: Subject) -> str:
    match subject:
        case Route():
            return subject.cidr
        case Invite():
            return f"invite {subject.id}"
        case _:
            return subject.name


def switches_off(subjects: Sequence[Subject]) -> bool:
    """Whether `e` disables or disconnects: as soon as one is on."""
    return any(
        subject.enabled if isinstance(subject, Member)
        else subject.state is not MeshState.DOWN if isinstance(subject, Mesh)
        else isinstance(subject, Route) and not subject.not_installed
        for subject in subjects
    )  # fmt: skip


def _words(deed: Deed, subjects: Sequence[Subject]) -> tuple[str, str, str]:
    """Beside the key, in the palette, and what it does."""
    name, off = (named(subjects) if subjects else ""), switches_off(subjects)
    one = subjects[0] if subjects else None
    match deed:
        case Deed.PING:
            return "ping", f"Ping {name}", "Through the tunnel, four times"
        case Deed.COPY:
            what = {Member: "the address of ", Check: "the fix for "}.get(type(one), "")
            return "copy", f"Copy {what}{name}", "To the clipboard, over SSH too"
        case Deed.ENABLE:
            word = "disable" if off else "enable"
            return word, f"{word.capitalize()} {name}", "Asks first; name and address stay"
        case Deed.RENAME:
            return "rename", f"Rename {name}", "Its address stays"
        case Deed.ADMIN:
            has = isinstance(one, Member) and one.admin
            return (
                ("no admin" if has else "admin"),
                (f"Take the admin right from {name}" if has else f"Make {name} an admin"),
                "Admins may change the mesh from their laptop",
            )
        case Deed.REMOVE:
            return "remove", f"Remove {name}", "Asks first; it would have to join anew"
        case Deed.PROMOTE:
            return "promote", f"Make {name} the primary", "Asks first, and says what may be lost where no majority is"
        case Deed.USE:
            word = "don't use" if off else "use"
            return word, f"{'Don’t use' if off else 'Use'} {name} on this machine", "A choice of this machine alone"
        case Deed.WITHDRAW:
            return "withdraw", f"Withdraw {name}", "Asks first; members don't reach it any more"
        case Deed.PUBLISH:
            return "add", "Publish a route", "A subnet behind a node, for everybody"
        case Deed.INVITE:
            return "invite", "Make an invite", "Lets one machine join; text and QR code"
        case Deed.SHOW:
            return "show", f"Show {name} again", "Text and QR code, where it was made"
        case Deed.REVOKE:
            return "revoke", f"Revoke {name}", "Asks first; who joined with it stays"
        case Deed.LET_IN:
            return "let in", f"Let {name} in", "Asks first, with the fingerprint to compare"
        case Deed.REFUSE:
            return "refuse", f"Refuse {name}", "Asks first"
        case Deed.CONNECT:
            word = "disconnect" if off else "connect"
            return word, f"{word.capitalize()} {name}", "This machine alone; it stays a member"
        case Deed.LEAVE:
            return "leave", f"Leave {name}", "Asks first; removes everything of it from this machine"
        case Deed.KEY:
            return "key", f"Show the cluster key of {name}", "Lets machines join as nodes"
        case Deed.JOIN:
            return "join", "Join a mesh", "With an invite or a cluster key"
        case Deed.CREATE:
            return "new", "Create a mesh", "This machine becomes its first node"
        case Deed.EXAMINE:
            return "examine", "Examine this machine", "What would stop a mesh from working here"
        case Deed.EXPORT:
            return "write", "Write the topology to a file", "As SVG, DOT, Mermaid or text"
