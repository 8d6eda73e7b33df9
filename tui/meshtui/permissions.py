"""What the person at this terminal may do to a member, and if not, why and what would change that. Pure.

The helper decides; this is so that nobody is offered what it would refuse.
"""

from __future__ import annotations

import getpass
from dataclasses import dataclass
from enum import Enum

from meshtui.model import LinkState, Member, Role
from meshtui.view import View


class Deed(Enum):
    COPY = "copy"
    PING = "ping"
    ENABLE = "enable"
    RENAME = "rename"


@dataclass(frozen=True, slots=True)
class Refusal:
    why: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.why} → {self.fix}" if self.fix else self.why


def refusal(deed: Deed, view: View, member: Member | None) -> Refusal | None:
    """None when it may be done."""
    mesh = view.mesh
    if mesh is None or member is None:
        return Refusal("no member is selected")
    if deed is Deed.COPY:
        return None if member.ipv4 or member.ipv6 else Refusal(f"{member.name} has no address")
    if view.link.state is not LinkState.LIVE:
        return Refusal("meshd is not connected", view.link.fix)
    if deed is Deed.PING:
        if member.is_self:
            return Refusal(f"{member.name} is this machine")
        return None if member.enabled else Refusal(f"{member.name} is disabled")
    if not view.model.may_operate:
        user = getpass.getuser()
        return Refusal(f"{user} may only look", f"sudo usermod -aG mesh {user}, then log in again")
    me = mesh.own()
    if me is not None and me.role is not Role.NODE and not me.admin:
        return Refusal(f"{me.name} is not an admin of {mesh.name}", f"on a node: meshctl peers admin {me.name} on")
    if deed is Deed.ENABLE and member.is_self:
        return Refusal("a machine can't disable itself")
    if not mesh.writable:
        return Refusal(f"{mesh.name} can't be changed now: no majority of its nodes answers", "meshctl nodes list")
    return None
