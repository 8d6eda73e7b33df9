"""The words of the notifications, and which changes of the snapshot are worth one. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from meshproto.durations import format_left

from meshtray.deeds import Connect, Deed, Disconnect, InviteForm, LetIn, MakeInvite, OpenMeshtui, Pause, Seen, TurnAway
from meshtray.state import Failure, Notify, State
from meshtray.values import Invite, Kind, LinkState, Mesh, Snapshot

SOON_MS = 24 * 3_600_000
"""An invite that ends within that is about to expire …"""
LASTING_MS = 3 * SOON_MS
"""… unless it was not meant to last: whoever made it for an hour knows."""
MOST_REQUESTS = 5
"""Whoever reaches a node may ask to be let in, a hundred times: one who does must not fill the screen of an admin."""
MOST_ENDING = 5
"""Nor may invites that were made by the hundred, and end together."""
ALARM_MS = 24 * 3_600_000
"""Older alarms were there for everybody to see."""


def connected(mesh: Mesh, again: bool) -> Notify:
    address = mesh.own.address if mesh.own is not None else None
    title = f"{mesh.name} is connected{' again' if again else ''}"
    return Notify(
        f"connection/{mesh.id}", title, f"This machine is {address} in it." if address else "", Kind.CONNECTION
    )


def lost(state: State, mesh: Mesh) -> Notify:
    why = mesh.reason if state.live else link_reason(state)
    title = f"{mesh.name} is not connected any more"
    return Notify(
        f"connection/{mesh.id}", title, _sentence(why), Kind.CONNECTION, (("Open meshtui", OpenMeshtui(mesh.name)),)
    )


def disconnected(mesh: Mesh) -> Notify:
    return Notify(
        f"connection/{mesh.id}", f"{mesh.name} was disconnected", _sentence(mesh.reason), Kind.CONNECTION,
        (("Connect", Connect(mesh.id)),),
    )  # fmt: skip


def link_reason(state: State) -> str:
    """Why nothing is known of the meshes."""
    match state.link.state:
        case LinkState.WAITING:
            return "meshd was not heard yet"
        case LinkState.SILENT:
            return "the helper is not answering: no word from meshd for 5 s"
        case _:
            return state.link.reason or "meshd is starting"


def failed(deed: Deed, failure: Failure, mesh: str) -> Notify:
    match deed:
        case Connect():
            title, actions = f"{mesh or 'the mesh'} could not be connected", (("Try again", Connect(deed.mesh_id)),)
            return Notify(f"failed/{deed.mesh_id}", _sentence(title, ""), _sentence(str(failure)), actions=actions)
        case Disconnect() | Pause():
            title = f"{mesh or 'the mesh'} could not be disconnected"
        case LetIn():
            title = f"{deed.name} could not be let in"
        case TurnAway():
            title = f"{deed.name} could not be refused"
        case MakeInvite():
            title = "the invite could not be made"
        case _:
            title = "that did not work"
    return Notify(f"failed/{type(deed).__name__}", _sentence(title, ""), _sentence(str(failure)))


def nowhere(message: str, fix: str) -> Notify:
    return Notify("nowhere", "meshtray can't show its icon", f"{_sentence(message)} {_sentence(fix)}")


def requests(snapshot: Snapshot) -> list[str]:
    """The keys of the notifications about machines that ask to be let in, where this person may let them in."""
    return [
        _request_key(mesh, one.id)
        for mesh in snapshot.meshes
        if mesh.may_change and snapshot.may_operate
        for one in mesh.pending[:MOST_REQUESTS]
    ]


def _request_key(mesh: Mesh, request_id: str) -> str:
    return f"request/{mesh.id}/{request_id}"


def of_change(before: Snapshot, after: Snapshot, now_ms: int) -> Iterator[Notify]:
    """What a person may want to know of, whether it was said already or not. Each has a key of its own."""
    for mesh in after.meshes:
        if mesh.may_change and after.may_operate:
            yield from _requests(mesh)
        yield from _invites(before.mesh(mesh.id), mesh, now_ms)
    for alarm in after.alarms:
        if now_ms - alarm.at_ms < ALARM_MS:
            yield Notify(
                alarm.key, f"Alarm: {alarm.mesh or 'meshd'}", _sentence(alarm.text), Kind.ALARM,
                (("Open meshtui", OpenMeshtui(alarm.mesh)), ("I have seen it", Seen(alarm.key))), urgent=True,
            )  # fmt: skip


def _requests(mesh: Mesh) -> Iterator[Notify]:
    for one in mesh.pending[:MOST_REQUESTS]:
        yield Notify(
            _request_key(mesh, one.id), f"{one.name} asks to join {mesh.name}",
            f"It came from {one.source}. It shows its person this fingerprint: {one.fingerprint}", Kind.REQUEST,
            (("Let it in", LetIn(mesh.id, one.id, one.name)), ("Refuse", TurnAway(mesh.id, one.id, one.name))),
        )  # fmt: skip


def ending(mesh: Mesh, now_ms: int) -> list[Invite]:
    """Those made on this machine that are about to expire, the first to do so first."""
    found = [one for one in mesh.invites if _is_ending(one, now_ms) and _is_own(mesh, one)]
    return sorted(found, key=lambda one: (one.expires_ms, one.id))


def _is_ending(invite: Invite, now_ms: int) -> bool:
    left = invite.expires_ms - now_ms
    return invite.open and 0 < left < SOON_MS and invite.expires_ms - invite.created_ms >= LASTING_MS


def _is_own(mesh: Mesh, invite: Invite) -> bool:
    """`created_by` is "laptop-ada (ada)"."""
    return mesh.own is not None and invite.created_by.partition(" ")[0] == mesh.own.name


def _invites(before: Mesh | None, mesh: Mesh, now_ms: int) -> Iterator[Notify]:
    used = {one.id: one.used for one in before.invites} if before is not None else None
    for one in mesh.invites:
        if used is not None and one.used > used.get(one.id, 0):
            who = one.member or "A machine"
            yield Notify(
                f"redeemed/{mesh.id}/{one.id}/{one.used}", f"{who} joined {mesh.name}",
                f"With invite {one.id} of {one.created_by}.", Kind.REDEEMED,
            )  # fmt: skip
    for one in ending(mesh, now_ms)[:MOST_ENDING]:
        left = format_left(one.expires_ms - now_ms)
        yield Notify(
            f"expiring/{mesh.id}/{one.id}", f"Your invite to {mesh.name} ends in {left}",
            f"Nobody has joined as {one.member or 'a new machine'} with it yet.", Kind.EXPIRING,
            (("Make a new one", MakeInvite(mesh.id, InviteForm.FILE)),),
        )  # fmt: skip


def _sentence(text: str, end: str = ".") -> str:
    return f"{text[:1].upper()}{text[1:]}{end if not text.endswith(('.', '`')) else ''}" if text else ""
