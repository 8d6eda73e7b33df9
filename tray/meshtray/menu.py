"""The menu: state -> items. Pure. An item's key stays the same while it means the same thing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache

from meshproto import group

from meshtray.deeds import (
    Connect,
    Copy,
    Deed,
    Disconnect,
    InviteForm,
    Join,
    JoinClipboard,
    LetIn,
    MakeInvite,
    Mute,
    OpenMeshtui,
    Pause,
    Quit,
    Report,
    Seen,
    StartAtLogin,
    Symbolic,
    TurnAway,
)
from meshtray.notices import MOST_REQUESTS, link_reason
from meshtray.state import State
from meshtray.values import Kind, Member, Mesh, MeshState

SHAPES = {MeshState.CONNECTED: "●", MeshState.CONNECTING: "◐", MeshState.STALE: "▲", MeshState.DOWN: "○"}
MOST_MEMBERS = 30
"""More than fit on a screen are in meshtui, which can search."""

KINDS = {
    Kind.CONNECTION: "Connected and lost",
    Kind.REQUEST: "A machine asks to be let in",
    Kind.REDEEMED: "An invite was used",
    Kind.ALARM: "Alarms",
    Kind.EXPIRING: "An invite is about to expire",
}


@dataclass(frozen=True, slots=True)
class Item:
    """`deed` None: it does nothing, or opens `children`. `checked` None: no check mark. A label of "": a separator."""

    key: str
    label: str = ""
    deed: Deed | None = None
    enabled: bool = True
    checked: bool | None = None
    children: Sequence[Item] = field(default=())


def menu(state: State) -> tuple[Item, ...]:
    items = [*_problems(state), *_meshes(state)]
    if items:
        items.append(Item("line/meshes"))
    items += _always(state)
    return tuple(map(_closed, items))


def _closed(item: Item, enabled: bool = True) -> Item:
    """With nothing to choose below what can't be chosen: a panel may still show it open."""
    enabled = enabled and item.enabled
    return replace(item, enabled=enabled, children=tuple(_closed(one, enabled) for one in item.children))


def _note(key: str, text: str) -> Item:
    return Item(key, text, enabled=False)


@cache
def _command(user: str) -> str:
    """Looked up once: a directory of accounts may be far away, and this session stays without the group anyway."""
    return group.command(user)


def _problems(state: State) -> Iterator[Item]:
    if not state.live:
        yield _note("helper", _capital(link_reason(state)))
        if state.link.fix:
            yield Item("helper/fix", f"Copy: {state.link.fix}", Copy(state.link.fix, "the command"))
        return
    if state.snapshot.version and state.snapshot.version != state.own_version:
        yield _note(
            "version", f"▲ meshd is {state.snapshot.version}, meshtray {state.own_version}: restart the older one"
        )
    if not state.snapshot.may_operate:
        fix = _command(state.user)
        how = f"to change that, {group.AFTERWARDS}:" if fix else "logging in again changes that"
        if group.nameless(state.user):
            how = group.OTHER_ACCOUNT
        yield _note("observer", f"{state.user} may only look; {how}")
        if fix:
            yield Item("observer/fix", f"Copy: {fix}", Copy(fix, "the command"))
    if state.failure is not None:
        yield _note("failure", f"▲ {state.failure}")
    for one in state.snapshot.alarms:
        if one.key not in state.preferences.seen:
            yield Item(one.key, f"▲ {one.text}", children=(Item(f"{one.key}/seen", "I have seen it", Seen(one.key)),))


def _meshes(state: State) -> Iterator[Item]:
    if not state.live:
        return
    meshes = state.snapshot.meshes
    if not meshes:
        yield _note("none", "This machine is in no mesh")
    for mesh in meshes:
        head = f"{SHAPES[mesh.state]} {mesh.name}: {_state(state, mesh)}"
        inside = tuple(_mesh(state, mesh))
        if len(meshes) == 1:
            yield _note(f"mesh/{mesh.id}", head)
            yield from inside
        else:
            yield Item(f"mesh/{mesh.id}", head, children=inside)


def _state(state: State, mesh: Mesh) -> str:
    if mesh.id in state.busy:
        return f"{state.busy[mesh.id]} …"
    if mesh.state is MeshState.DOWN and mesh.paused_until_ms:
        until = datetime.fromtimestamp(mesh.paused_until_ms / 1000).astimezone()
        today = until.date() == datetime.fromtimestamp(state.now_ms / 1000).astimezone().date()
        return f"paused until {until:%H:%M}" if today else f"paused until {until:%a %H:%M}"
    return mesh.state.value


def _mesh(state: State, mesh: Mesh) -> Iterator[Item]:
    key = f"mesh/{mesh.id}"
    may, busy = state.snapshot.may_operate, mesh.id in state.busy
    if mesh.state is not MeshState.CONNECTED and mesh.reason:
        yield _note(f"{key}/reason", _capital(mesh.reason))
    if mesh.id in state.trouble:
        yield _note(f"{key}/trouble", f"▲ {_capital(state.trouble[mesh.id])}")
    for number, warning in enumerate(mesh.warnings):
        yield _note(f"{key}/warning/{number}", f"▲ {_capital(warning)}")
    own = mesh.own
    if own is not None and own.address is not None:
        yield Item(f"{key}/address", f"{own.name}: {own.address}", Copy(str(own.address), "the address"))
    if mesh.state is MeshState.DOWN:
        yield Item(f"{key}/connect", "Connect", Connect(mesh.id), enabled=may and not busy)
    else:
        yield from _letting_go(state, mesh, key, may and not busy)
    yield from _requests(mesh, key, may)
    others = [one for one in mesh.members.values() if one.id != mesh.self_id]
    if others and mesh.state is not MeshState.DOWN:
        yield Item(f"{key}/members", "Members", children=tuple(_members(mesh, key, others)))
    if mesh.state is not MeshState.DOWN and own is not None and (own.node or own.admin):
        yield Item(
            f"{key}/invite", "Invite a machine", enabled=may and mesh.may_change, children=tuple(_forms(mesh, key))
        )


def consequence(state: State, mesh: Mesh) -> str:
    """Whom it would cut besides this person, "" for nobody: then nothing is asked."""
    own = mesh.own
    if own is not None and own.node:
        return "This machine is a node: peers and subnets behind it are cut off too"
    if mesh.connected_by == state.user:
        return ""
    if mesh.person and mesh.person != state.user:
        return f"{mesh.connected_by or mesh.person} connected it; only {mesh.person} has the keys to connect it again"
    return f"{mesh.connected_by} connected it" if mesh.connected_by else "It is connected for all users of this machine"


def _letting_go(state: State, mesh: Mesh, key: str, may: bool) -> Iterator[Item]:
    effect = consequence(state, mesh)
    if effect:
        really = (
            _note(f"{key}/disconnect/effect", effect),
            Item(f"{key}/disconnect/yes", "Disconnect all the same", Disconnect(mesh.id)),
        )
        yield Item(f"{key}/disconnect", "Disconnect", enabled=may, children=really)
        return
    yield Item(f"{key}/disconnect", "Disconnect", Disconnect(mesh.id), enabled=may)
    pauses = (("5", "For 5 minutes", 5), ("60", "For 1 hour", 60), ("morning", "Until tomorrow morning", 0))
    children = tuple(Item(f"{key}/pause/{name}", label, Pause(mesh.id, minutes)) for name, label, minutes in pauses)
    yield Item(f"{key}/pause", "Pause", enabled=may, children=children)


def _requests(mesh: Mesh, key: str, may: bool) -> Iterator[Item]:
    may = may and mesh.may_change
    for one in mesh.pending[:MOST_REQUESTS]:
        at = f"{key}/request/{one.id}"
        yield Item(
            at, f"{one.name} asks to be let in", children=(
                _note(f"{at}/source", f"From {one.source}"),
                _note(f"{at}/fingerprint", f"It shows: {one.fingerprint}"),
                Item(f"{at}/yes", f"Let {one.name} in", LetIn(mesh.id, one.id, one.name), enabled=may),
                Item(f"{at}/no", "Refuse", TurnAway(mesh.id, one.id, one.name), enabled=may),
            ),
        )  # fmt: skip
    if len(mesh.pending) > MOST_REQUESTS:
        rest = len(mesh.pending) - MOST_REQUESTS
        yield Item(f"{key}/requests/more", f"And {rest} more ask, in meshtui", OpenMeshtui(mesh.name))


def _members(mesh: Mesh, key: str, others: Sequence[Member]) -> Iterator[Item]:
    shown = sorted(others, key=lambda one: (not one.online, not one.node, one.name))
    for one in shown[:MOST_MEMBERS]:
        shape = "⊘" if not one.enabled else "●" if one.online else "○"
        about = f" through {one.relay}" if one.relay and one.online else ""
        address = f"  {one.address}" if one.address is not None else ""
        deed = Copy(str(one.address), f"the address of {one.name}") if one.address is not None else None
        yield Item(f"{key}/member/{one.id}", f"{shape} {one.name}{address}{about}", deed, enabled=deed is not None)
    yield Item(f"{key}/members/line")
    if len(others) > MOST_MEMBERS:
        rest = len(others) - MOST_MEMBERS
        yield Item(f"{key}/members/more", f"And {rest} more, in meshtui", OpenMeshtui(mesh.name))
    else:
        yield _note(f"{key}/members/hint", "Choose one to copy its address")


def _forms(mesh: Mesh, key: str) -> Iterator[Item]:
    yield Item(f"{key}/invite/file", "As a file …", MakeInvite(mesh.id, InviteForm.FILE))
    yield Item(f"{key}/invite/text", "On the clipboard", MakeInvite(mesh.id, InviteForm.TEXT))
    yield Item(f"{key}/invite/qr", "As a QR code …", MakeInvite(mesh.id, InviteForm.QR))


def _always(state: State) -> Iterator[Item]:
    may = state.live and state.snapshot.may_operate
    ways = (
        Item("join/clipboard", "With the invite on the clipboard …", JoinClipboard()),
        Item("join/ask", "With a file, a link or a text …", Join()),
    )
    yield Item("join", "Join a mesh", enabled=may, children=ways)
    yield Item("meshtui", "Open meshtui", OpenMeshtui())
    muted, symbolic = state.preferences.muted, state.preferences.symbolic
    switches = tuple(
        Item(f"notify/{kind.value}", label, Mute(kind, kind not in muted), checked=kind not in muted)
        for kind, label in KINDS.items()
    )
    settings = (
        Item("login", "Start at login", StartAtLogin(not state.at_login), checked=state.at_login),
        Item("symbolic", "Icon without colours", Symbolic(not symbolic), checked=symbolic),
        Item("notify", "Notifications", children=switches),
    )
    yield Item("settings", "Settings", children=settings)
    yield Item("report", "Report a problem …", Report())
    yield Item("quit", _quit(state), Quit())


def _quit(state: State) -> str:
    up = [one.name for one in state.snapshot.meshes if state.shown(one) is not MeshState.DOWN]
    if not up:
        return "Quit"
    return f"Quit ({', '.join(up)} {'stays' if len(up) == 1 else 'stay'} as {'it is' if len(up) == 1 else 'they are'})"


def _capital(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"
