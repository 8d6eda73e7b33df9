"""What the person at this terminal may do to something, and if not, why and what would change that. Pure.

The helper decides; this is so that nobody is offered what it would refuse.
"""

from __future__ import annotations

import getpass
import os
from enum import Enum
from functools import cache
from typing import NamedTuple

from meshproto import group

from meshtui.model import Check, Invite, InviteState, LinkState, Member, Mesh, MeshState, Pending, Role, Route
from meshtui.view import View

Subject = Member | Route | Invite | Pending | Mesh | Check
"""What a row stands for."""


class Deed(Enum):
    COPY = "copy"
    PING = "ping"
    ENABLE = "enable"
    RENAME = "rename"
    ADMIN = "admin"
    REMOVE = "remove"
    PROMOTE = "promote"
    PUBLISH = "publish"
    WITHDRAW = "withdraw"
    USE = "use"
    INVITE = "invite"
    REVOKE = "revoke"
    SHOW = "show"
    LET_IN = "let_in"
    REFUSE = "refuse"
    CREATE = "create"
    JOIN = "join"
    CONNECT = "connect"
    LEAVE = "leave"
    KEY = "key"
    EXAMINE = "examine"
    EXPORT = "export"


OWN_MACHINE = frozenset((Deed.CREATE, Deed.JOIN, Deed.CONNECT, Deed.LEAVE, Deed.USE, Deed.KEY, Deed.SHOW))
"""They change, or show a secret of, this machine alone: no right in the mesh is needed, nor a majority."""

ANYBODY = frozenset((Deed.COPY, Deed.PING, Deed.EXAMINE))


class Refusal(NamedTuple):
    why: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.why} → {self.fix}" if self.fix else self.why


def copied(subject: Subject | None) -> str:
    """What of it goes to the clipboard; "" for nothing."""
    match subject:
        case Member():
            return str(subject.ipv4 or subject.ipv6 or "")
        case Route():
            return subject.cidr
        case Check():
            return subject.fix
        case _:
            return ""


def refusal(deed: Deed, view: View, subject: Subject | None = None) -> Refusal | None:
    """None when it may be done."""
    if deed is Deed.COPY:
        return None if copied(subject) else Refusal("there is nothing to copy")
    if deed is Deed.EXPORT and view.mesh is not None:
        return None
    if view.replayed is not None:
        return Refusal("this is a recording")
    if view.link.state is not LinkState.LIVE:
        silent = view.link.state is LinkState.SILENT
        return Refusal("meshd does not answer" if silent else "meshd is not connected", view.link.fix)
    if deed not in ANYBODY and not view.model.may_operate:
        user = _user()
        if not user:
            return Refusal(f"uid {os.getuid()} may only look", "use an account of the group mesh")
        return Refusal(f"{user} may only look", _way_in(user))
    mesh = subject if isinstance(subject, Mesh) else view.mesh
    if deed is Deed.PROMOTE and mesh is not None and isinstance(subject, Member) and _without_majority(mesh):
        if leads_by_force(mesh, subject):
            return None
        why = f"{mesh.name} can't be changed now: no majority of its nodes answers"
        return Refusal(why, f"on {subject.name}: meshctl nodes promote {subject.name} --force")
    if mesh is None:
        return None if deed in (Deed.CREATE, Deed.JOIN, Deed.EXAMINE) else Refusal("this machine is in no mesh")
    if deed not in ANYBODY and deed not in OWN_MACHINE and (refused := _no_change(mesh)) is not None:
        return refused
    return _about(deed, mesh, subject)


@cache
def _way_in(user: str) -> str:
    """Looked up once: a directory of accounts may be far away, and this session stays without the group anyway."""
    return group.way_in(user)


def _user() -> str:
    """ "" for a uid without a name, as in some containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def leads_by_force(mesh: Mesh, subject: Member) -> bool:
    """Whether to make it the primary would be without a majority: only a node itself can do that."""
    return subject.is_self and _without_majority(mesh)


def _without_majority(mesh: Mesh) -> bool:
    """As a node sees it."""
    me = mesh.own()
    return me is not None and me.role is Role.NODE and not mesh.writable and mesh.state is not MeshState.DOWN


def _no_change(mesh: Mesh) -> Refusal | None:
    """Why this member can't have the mesh changed now."""
    me = mesh.own()
    if me is not None and me.role is not Role.NODE and not me.admin:
        return Refusal(f"{me.name} is not an admin of {mesh.name}", f"on a node: meshctl peers admin {me.name} on")
    if mesh.state is MeshState.DOWN:
        return Refusal(f"{mesh.name} is disconnected here", f"meshctl up {mesh.name}")
    if not mesh.writable:
        return Refusal(f"{mesh.name} can't be changed now: no majority of its nodes answers", "meshctl nodes list")
    return None


def _about(deed: Deed, mesh: Mesh, subject: Subject | None) -> Refusal | None:
    """Why it makes no sense for this one."""
    me = mesh.own()
    match deed, subject:
        case Deed.PING, Member(is_self=True):
            return Refusal(f"{subject.name} is this machine")
        case Deed.PING, Member(enabled=False):
            return Refusal(f"{subject.name} is disabled")
        case Deed.ENABLE, Member(is_self=True):
            return Refusal("a machine can't disable itself")
        case Deed.ENABLE, Member(role=Role.NODE):
            return Refusal(f"{subject.name} is a node; only peers are enabled and disabled")
        case Deed.ADMIN, Member(role=Role.NODE):
            return Refusal(f"{subject.name} is a node, and nodes may change everything")
        case Deed.PROMOTE, Member(primary=True):
            return Refusal(f"{subject.name} is the primary")
        case Deed.PROMOTE, Member(voter=False):
            return Refusal(f"{subject.name} does not vote, so it can't lead", "meshctl nodes list")
        case Deed.PROMOTE, Member(online=False, is_self=False):
            return Refusal(f"{subject.name} is offline")
        case Deed.REMOVE, Member(is_self=True):
            return Refusal(f"{subject.name} is this machine", f"leave {mesh.name}: Overview, then d")
        case Deed.USE, Route() if me is not None and me.name in subject.nodes:
            return Refusal("this machine offers it")
        case ((Deed.REVOKE | Deed.SHOW), Invite()) if subject.state is not InviteState.OPEN:
            return Refusal(f"the invite is {subject.state.value} already")
        case Deed.KEY, Mesh() if me is None or me.role is not Role.NODE:
            return Refusal("peers don't have the cluster key", "on a node: meshctl key show")
        case _:
            return None
