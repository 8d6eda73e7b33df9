"""(state, event) -> (state, effects). Pure: app.py hands in what happens, with the time, and does the effects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TypeVar

from meshtray import notices
from meshtray.deeds import Connect, Deed, Disconnect, LetIn, Mute, Pause, Quit, Seen, Symbolic, TurnAway
from meshtray.state import (
    UNLOCKING,
    AtLogin,
    Chosen,
    Effect,
    Ended,
    Event,
    Heard,
    Leave,
    LinkChanged,
    Notify,
    Nowhere,
    Perform,
    Save,
    State,
    Ticked,
    Unlocked,
    Waits,
    Withdraw,
)
from meshtray.values import Link, LinkState, MeshState, Snapshot

TOLD_KEPT = 300
"""Keys of notifications that are remembered, so that none is repeated."""

LOST_AFTER_MS = 10_000
"""A mesh that is away for less comes back by itself as a rule (meshd repairs a path within 6 s), and nobody is told."""

UNHEARD = ("helper-unreachable", "timeout")
"""Codes of failures that say nothing but that the helper did not answer."""

T = TypeVar("T")
Result = tuple[State, list[Effect]]


def step(state: State, event: Event) -> Result:
    state, effects = _happened(state, event)
    state, more = _settled(state)
    return state, [*effects, *more]


def _happened(state: State, event: Event) -> Result:
    match event:
        case Heard():
            return _heard(replace(state, now_ms=event.now_ms, boot_ms=event.boot_ms), event.snapshot)
        case LinkChanged():
            return _linked(replace(state, now_ms=event.now_ms, boot_ms=event.boot_ms), event.link), []
        case Ticked():
            before, state = state.minute, replace(state, now_ms=event.now_ms, boot_ms=event.boot_ms)
            return _news(state, state.snapshot) if state.minute != before else (state, [])
        case Chosen():
            return _chosen(replace(state, now_ms=event.now_ms), event.deed)
        case Waits():
            busy = _with(state.busy, event.mesh_id, UNLOCKING) if event.mesh_id in state.busy else state.busy
            return replace(state, busy=busy), []
        case Unlocked():
            return replace(state, trouble=_without(state.trouble, [event.mesh_id])), []
        case Ended():
            return _ended(state, event)
        case Nowhere():
            return _told(state, [notices.nowhere(event.message, event.fix)])
        case AtLogin():
            return replace(state, at_login=event.on), []


def _with(mapping: Mapping[str, T], key: str, value: T) -> Mapping[str, T]:
    return MappingProxyType({**mapping, key: value})


def _without(mapping: Mapping[str, T], keys: Iterable[str]) -> Mapping[str, T]:
    gone = frozenset(keys)
    return MappingProxyType({key: value for key, value in mapping.items() if key not in gone}) if gone else mapping


# --- the helper -------------------------------------------------------------------------------------------------------


def _linked(state: State, link: Link) -> State:
    """A helper that is heard again may be asked again for what it did not answer."""
    if link.state is not LinkState.LIVE:
        return replace(state, link=link)
    return replace(
        state, link=link, trouble=_without(state.trouble, state.unheard), unheard=frozenset(), asked=frozenset()
    )


def _heard(state: State, snapshot: Snapshot) -> Result:
    before = state.snapshot
    state = replace(state, snapshot=snapshot)
    waiting = notices.requests(snapshot)
    withdrawn: list[Effect] = [Withdraw(key) for key in notices.requests(before) if key not in waiting]
    state, effects = _news(state, before)
    return state, withdrawn + effects


def _news(state: State, before: Snapshot) -> Result:
    """Of changes, and of invites whose time comes."""
    return _told(state, notices.of_change(before, state.snapshot, state.now_ms))


def _told(state: State, found: Iterable[Notify]) -> Result:
    """What the person was not told yet, by this tray or one before it."""
    effects: list[Effect] = []
    for news in found:
        if news.key not in state.preferences.told:
            told = (*state.preferences.told, news.key)[-TOLD_KEPT:]
            state = replace(state, preferences=replace(state.preferences, told=told))
            effects += [*_wanted(state, news), Save()]
    return state, effects


def _wanted(state: State, news: Notify) -> list[Effect]:
    """A notification, unless its kind is switched off."""
    return [] if news.kind in state.preferences.muted else [news]


def _settled(state: State) -> Result:
    """What follows from how the meshes are now, whatever it was that happened."""
    effects: list[Effect] = []
    known = {one.id for one in state.snapshot.meshes}
    now = frozenset(one.id for one in state.snapshot.meshes if state.shown(one) is MeshState.CONNECTED)
    before, state = state.connected & known, replace(state, connected=now)
    for mesh in state.snapshot.meshes:
        key = mesh.id
        if key in now:
            if key in state.lost_told or key in state.awaited:
                effects += _wanted(state, notices.connected(mesh, again=key in state.lost_told))
            state = _forgotten(state, [key])
        elif key in before and key not in state.let_go:
            state = replace(state, lost_ms=_with(state.lost_ms, key, state.boot_ms))
        if state.live and mesh.state is MeshState.DOWN:
            if key in state.lost_ms:
                effects += _wanted(state, notices.disconnected(mesh))
                state = _forgotten(state, [key])
            if mesh.keys_needed and mesh.person == state.user and not _held_up(state, key):
                state = replace(state, busy=_with(state.busy, key, "connecting"))
                effects.append(Perform(Connect(key, by_itself=True)))
        elif state.live:
            state = replace(state, asked=state.asked - {key})
            if key not in state.busy:
                state = replace(state, let_go=state.let_go - {key})
        since = state.lost_ms.get(key, state.boot_ms)
        if state.boot_ms - since >= LOST_AFTER_MS and key not in state.lost_told:
            effects += _wanted(state, notices.lost(state, mesh))
            state = replace(state, lost_told=state.lost_told | {key})
    return _forgotten(state, (set(state.lost_ms) | set(state.trouble)) - known, state.live), effects


def _held_up(state: State, mesh_id: str) -> bool:
    """Whether it is not for us to connect it now of our own accord."""
    return mesh_id in state.busy or mesh_id in state.trouble or mesh_id in state.asked


def _forgotten(state: State, meshes: Iterable[str], really: bool = True) -> State:
    """Of these, nothing is expected or held against them any more."""
    gone = frozenset(meshes)
    if not gone or not really:
        return state
    return replace(
        state,
        lost_ms=_without(state.lost_ms, gone), lost_told=state.lost_told - gone, awaited=state.awaited - gone,
        trouble=_without(state.trouble, gone), unheard=state.unheard - gone,
    )  # fmt: skip


# --- the person -------------------------------------------------------------------------------------------------------


def _chosen(state: State, deed: Deed) -> Result:
    preferences = state.preferences
    match deed:
        case Quit():
            return state, [Leave()]
        case Mute():
            muted = preferences.muted | {deed.kind} if deed.muted else preferences.muted - {deed.kind}
            return replace(state, preferences=replace(preferences, muted=muted)), [Save()]
        case Symbolic():
            return replace(state, preferences=replace(preferences, symbolic=deed.on)), [Save()]
        case Seen():
            seen = (*preferences.seen, deed.key)[-TOLD_KEPT:]
            return replace(state, preferences=replace(preferences, seen=seen)), [Save()]
        case Connect():
            if deed.mesh_id in state.busy:
                return state, []
            state = replace(
                _forgotten(state, [deed.mesh_id]),
                busy=_with(state.busy, deed.mesh_id, "connecting"), awaited=state.awaited | {deed.mesh_id},
            )  # fmt: skip
            return state, [Perform(deed)]
        case Disconnect() | Pause():
            return _let_go(state, deed)
        case _:
            return state, [Perform(deed)]


def _let_go(state: State, deed: Disconnect | Pause) -> Result:
    if deed.mesh_id in state.busy:
        return state, []
    state = replace(
        _forgotten(state, [deed.mesh_id]),
        let_go=state.let_go | {deed.mesh_id}, busy=_with(state.busy, deed.mesh_id, "disconnecting"),
    )  # fmt: skip
    return state, [Perform(deed)]


def _ended(state: State, event: Ended) -> Result:
    deed, failure = event.deed, event.failure
    state = replace(state, failure=failure)
    if isinstance(deed, Connect | Disconnect | Pause):
        state = replace(state, busy=_without(state.busy, [deed.mesh_id]))
    effects: list[Effect] = []
    if isinstance(deed, Connect) and failure is not None:
        unheard = frozenset({deed.mesh_id}) if failure.code in UNHEARD else frozenset()
        state = replace(
            state, trouble=_with(state.trouble, deed.mesh_id, str(failure)), awaited=state.awaited - {deed.mesh_id},
            unheard=state.unheard | unheard,
        )  # fmt: skip
    if isinstance(deed, Connect) and failure is None:
        state = replace(state, asked=state.asked | {deed.mesh_id})
    if isinstance(deed, Disconnect | Pause) and failure is not None:
        state = replace(state, let_go=state.let_go - {deed.mesh_id})
    if failure is not None:
        mesh = (
            state.snapshot.mesh(deed.mesh_id)
            if isinstance(deed, Connect | Disconnect | Pause | LetIn | TurnAway)
            else None
        )
        effects.append(notices.failed(deed, failure, mesh.name if mesh is not None else ""))
    elif event.say:
        effects.append(Notify(f"done/{type(deed).__name__}", event.say, event.body, actions=event.next))
    return state, effects
