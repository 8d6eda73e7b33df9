"""What the icon looks like and says: state -> Appearance. Pure. Never green unless meshd says so now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from meshtray.menu import Item, menu
from meshtray.notices import ending, link_reason
from meshtray.state import UNLOCKING, State
from meshtray.values import Alarm, Icon, Mesh, MeshState

SHAPES = {MeshState.CONNECTED: "●", MeshState.CONNECTING: "◐", MeshState.STALE: "▲", MeshState.DOWN: "○"}

MOST_LINES = 5
"""Of what waits for the person: a tooltip is not to fill the screen."""


@dataclass(frozen=True, slots=True)
class Appearance:
    """`urgent`: the desktop may draw attention to the icon. `title` holds nothing that others chose but a mesh's name,
    a DNS label: panels differ in whether they read markup in it."""

    icon: Icon
    title: str
    text: str
    menu: Sequence[Item]
    urgent: bool = False
    symbolic: bool = False


def appearance(state: State) -> Appearance:
    icon = icon_of(state)
    title, text = words(state)
    return Appearance(icon, title, text, menu(state), icon is Icon.ATTENTION, state.preferences.symbolic)


def icon_of(state: State) -> Icon:
    """An alarm first; then what is not as the person wants it; then what waits for the person; then what is."""
    if not state.live:
        return Icon.DISCONNECTED
    if unseen(state):
        return Icon.ATTENTION
    up = [mesh for mesh in state.snapshot.meshes if mesh.state is not MeshState.DOWN]
    states = {mesh.state for mesh in up}
    if MeshState.STALE in states or any(mesh.warnings for mesh in up if mesh.state is MeshState.CONNECTED):
        return Icon.DEGRADED
    if MeshState.CONNECTING in states or "connecting" in state.busy.values():
        return Icon.CONNECTING
    if UNLOCKING in state.busy.values() or any(wait_for_person(state, mesh) for mesh in up):
        return Icon.ATTENTION
    if MeshState.CONNECTED not in states:
        return Icon.DISCONNECTED
    held_up = any(mesh.keys_needed and mesh.person == state.user for mesh in state.snapshot.meshes)
    return Icon.DEGRADED if held_up else Icon.CONNECTED


def unseen(state: State) -> list[Alarm]:
    return [one for one in state.snapshot.alarms if one.key not in state.preferences.seen]


def wait_for_person(state: State, mesh: Mesh) -> list[str]:
    """What only a person can decide, in words."""
    if not (mesh.may_change and state.snapshot.may_operate):
        return []
    found = [f"{one.name} asks to be let in" for one in mesh.pending]
    found += [f"invite {one.id} is about to expire" for one in ending(mesh, state.now_ms)]
    rest = len(found) - MOST_LINES
    return [*found[:MOST_LINES], f"and {rest} more"] if rest > 0 else found


def words(state: State) -> tuple[str, str]:
    """Title and lines of the tooltip."""
    if not state.live:
        return "Not connected", _capital(link_reason(state))
    meshes = state.snapshot.meshes
    if not meshes:
        return "No mesh yet", "This machine is in no mesh."
    lines = []
    for mesh in meshes:
        lines.append(f"{SHAPES[mesh.state]} {mesh.name}: {_state(state, mesh)}")
        reason = mesh.reason if mesh.state in (MeshState.CONNECTING, MeshState.STALE) else ""
        lines += [f"   {one}" for one in (reason, *wait_for_person(state, mesh), *mesh.warnings) if one]
    lines += [f"▲ {one.text}" for one in unseen(state)]
    connected = sum(mesh.state is MeshState.CONNECTED for mesh in meshes)
    if len(meshes) == 1:
        return f"{meshes[0].name}: {_state(state, meshes[0])}", "\n".join(lines[1:])
    return f"{connected} of {len(meshes)} meshes connected", "\n".join(lines)


def _state(state: State, mesh: Mesh) -> str:
    if mesh.id in state.busy:
        return f"{state.busy[mesh.id]} …"
    if mesh.state is MeshState.CONNECTED:
        own = mesh.own.address if mesh.own is not None else None
        return f"connected, {own}" if own is not None else "connected"
    return str(mesh.state.value)


def _capital(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"
