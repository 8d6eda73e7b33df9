"""The tray as one value, what can happen to it, and what it wants done: step.py goes from one to the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from meshtray.deeds import Deed
from meshtray.values import Kind, Link, LinkState, Mesh, MeshState, Preferences, Snapshot

UNLOCKING = "waiting for your keyring to be unlocked"
"""What is being done to a mesh while its keys are asked for, and nobody has answered yet."""


def _nothing() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something could not be done. `code` is the helper's, or "no-keyring"."""

    message: str
    fix: str = ""
    code: str = ""

    def __str__(self) -> str:
        return f"{self.message} → {self.fix}" if self.fix else self.message


@dataclass(frozen=True, slots=True)
class State:
    """Mappings are by the mesh's id. `busy`: what is being done to it. `trouble`: why it could not be connected.
    `connected`: those that were at the last look; `lost_ms`: since when (`boot_ms`) one that was is not; `lost_told`:
    that this was said; `awaited`: that a success is to be said; `let_go`: that it goes down by our own hand; `unheard`:
    the trouble was that the helper did not answer; `asked`: the helper said yes to connecting it, and does not show it
    yet. `failure` is the last one, until something succeeds."""

    user: str
    own_version: str
    now_ms: int = 0
    boot_ms: int = 0
    link: Link = Link()
    snapshot: Snapshot = Snapshot()
    preferences: Preferences = Preferences()
    at_login: bool = False
    busy: Mapping[str, str] = field(default_factory=_nothing)
    trouble: Mapping[str, str] = field(default_factory=_nothing)
    connected: frozenset[str] = frozenset()
    lost_ms: Mapping[str, int] = field(default_factory=_nothing)
    lost_told: frozenset[str] = frozenset()
    awaited: frozenset[str] = frozenset()
    let_go: frozenset[str] = frozenset()
    unheard: frozenset[str] = frozenset()
    asked: frozenset[str] = frozenset()
    failure: Failure | None = None

    @property
    def minute(self) -> int:
        return self.now_ms // 60_000

    @property
    def live(self) -> bool:
        return self.link.state is LinkState.LIVE and self.snapshot.known

    def shown(self, mesh: Mesh) -> MeshState:
        """What may be said of the mesh: nothing but DOWN while the helper is not heard."""
        return mesh.state if self.live else MeshState.DOWN


# --- what happens -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Heard:
    """The helper said something; what it came to. `now_ms` as everywhere in Unix ms, which somebody may set; `boot_ms`
    of a clock that nobody sets and that goes on while the machine sleeps."""

    snapshot: Snapshot
    now_ms: int
    boot_ms: int


@dataclass(frozen=True, slots=True)
class LinkChanged:
    link: Link
    now_ms: int
    boot_ms: int


@dataclass(frozen=True, slots=True)
class Ticked:
    now_ms: int
    boot_ms: int


@dataclass(frozen=True, slots=True)
class Chosen:
    """A person chose something."""

    deed: Deed
    now_ms: int


@dataclass(frozen=True, slots=True)
class Waits:
    """The mesh's keys were asked for, and the keyring does not answer yet: the desktop asks the person, or it hangs."""

    mesh_id: str


@dataclass(frozen=True, slots=True)
class Unlocked:
    """The keyring answered for the mesh after we had given it up: the person was away for a while."""

    mesh_id: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A deed is done, or could not be. `say` is what a person should know of it, with what they can do next."""

    deed: Deed
    failure: Failure | None = None
    say: str = ""
    body: str = ""
    next: tuple[tuple[str, Deed], ...] = ()


@dataclass(frozen=True, slots=True)
class Nowhere:
    """The session has no place for an icon, it seems, and the tray is about to end. `fix` is what to do."""

    message: str
    fix: str


@dataclass(frozen=True, slots=True)
class AtLogin:
    """Whether the tray starts at login, as its file says."""

    on: bool


Event = Heard | LinkChanged | Ticked | Chosen | Waits | Unlocked | Ended | Nowhere | AtLogin


# --- what is to be done -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Perform:
    deed: Deed


@dataclass(frozen=True, slots=True)
class Notify:
    """Takes the place of an earlier one with the same key. `kind` None: an answer to the person, never switched off."""

    key: str
    title: str
    body: str = ""
    kind: Kind | None = None
    actions: tuple[tuple[str, Deed], ...] = field(default=())
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Withdraw:
    """The notification with that key says something that is over."""

    key: str


@dataclass(frozen=True, slots=True)
class Save:
    """The preferences changed."""


@dataclass(frozen=True, slots=True)
class Leave:
    """The tray is to end."""


Effect = Perform | Notify | Withdraw | Save | Leave
