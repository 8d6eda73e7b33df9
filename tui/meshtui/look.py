"""State as a shape and a tone, in one place: every state can be told apart without colour."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from meshtui.model import Member, MeshState, Path, Role, Route, Severity


class Tone(Enum):
    """What a colour means. Nothing else in the interface is coloured, but the focus."""

    PLAIN = "plain"
    GOOD = "good"
    CAUTION = "caution"
    BAD = "bad"
    DIM = "dim"
    STRONG = "strong"


class Mark(NamedTuple):
    """A shape, its tone, and the word for it."""

    shape: str
    tone: Tone
    word: str


HANDSHAKE_OLD_MS = 180_000
"""REJECT_AFTER_TIME of the WireGuard paper, section 6.1: after it a session is over."""

MESHES = {
    MeshState.CONNECTED: Mark("●", Tone.GOOD, "connected"),
    MeshState.CONNECTING: Mark("◐", Tone.CAUTION, "connecting"),
    MeshState.STALE: Mark("▲", Tone.BAD, "stale"),
    MeshState.DOWN: Mark("○", Tone.DIM, "down"),
}
EVENTS = {
    Severity.INFO: Mark("·", Tone.DIM, "info"),
    Severity.WARNING: Mark("▲", Tone.CAUTION, "warning"),
    Severity.ERROR: Mark("✖", Tone.BAD, "error"),
}


def member_mark(member: Member, now_ms: int) -> Mark:
    if not member.enabled:
        return Mark("⊘", Tone.DIM, "disabled")
    if member.is_self:
        return Mark("●", Tone.GOOD, "this machine")
    if not member.online:
        return Mark("○", Tone.DIM, "offline")
    if member.path is Path.NONE:
        return Mark("◐", Tone.CAUTION, "online, no path from here")
    if member.handshake_ms and now_ms - member.handshake_ms > HANDSHAKE_OLD_MS:
        return Mark("◐", Tone.CAUTION, "online, handshake is old")
    return Mark("●", Tone.GOOD, "online")


def node_mark(member: Member, now_ms: int) -> Mark:
    if member.store_state not in ("", "ok"):
        return Mark("▲", Tone.CAUTION, member.store_state)
    return member_mark(member, now_ms)


def route_mark(route: Route) -> Mark:
    if route.not_installed:
        return Mark("▲", Tone.CAUTION, "not installed here")
    if not route.chosen:
        return Mark("○", Tone.DIM, "no offering node is online")
    return Mark("●", Tone.GOOD, "installed")


def role_word(member: Member) -> str:
    """`node ★` for the primary."""
    return f"{member.role.value} ★" if member.primary else member.role.value


def path_words(member: Member) -> str:
    """`direct`, `relayed gw-a`, `this machine`, or a dash."""
    if member.is_self or member.path is Path.SELF:
        return "this machine"
    if member.path is Path.RELAYED:
        return f"relayed {member.relay}".rstrip()
    return "direct" if member.path is Path.DIRECT else "–"


ROLE_ORDER = {Role.NODE: 0, Role.PEER: 1, Role.DEVICE: 2, Role.UNKNOWN: 3}
