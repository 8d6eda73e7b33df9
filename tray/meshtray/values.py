"""What the tray shows and does, as plain frozen values. Text in here comes from fold.py and holds no control character.

Imports nothing of the tray.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from types import MappingProxyType

Address = IPv4Address | IPv6Address


class MeshState(Enum):
    CONNECTED = "connected"
    CONNECTING = "connecting"
    STALE = "stale"
    DOWN = "disconnected"


class Icon(Enum):
    """Its value is the name of its picture."""

    CONNECTED = "meshtray-connected"
    CONNECTING = "meshtray-connecting"
    DEGRADED = "meshtray-degraded"
    DISCONNECTED = "meshtray-disconnected"
    ATTENTION = "meshtray-attention"


class LinkState(Enum):
    """WAITING: nothing heard yet. LIVE: heard lately. SILENT: connected, and no word for too long. LOST: refused."""

    WAITING = "waiting"
    LIVE = "live"
    SILENT = "silent"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Link:
    """The connection to the helper: what is wrong with it, and what to do about that."""

    state: LinkState = LinkState.WAITING
    reason: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Member:
    id: str
    name: str
    node: bool
    ipv4: IPv4Address | None
    ipv6: IPv6Address | None
    online: bool
    enabled: bool
    admin: bool
    relay: str  # through which node it is reached, "" when straight

    @property
    def address(self) -> Address | None:
        return self.ipv4 or self.ipv6


@dataclass(frozen=True, slots=True)
class Pending:
    """A machine that asks to be let in."""

    id: str
    name: str
    source: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Invite:
    """One that was not revoked; `open` unless it was used up or has expired."""

    id: str
    member: str
    used: int
    open: bool
    created_by: str
    created_ms: int
    expires_ms: int


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that a person must look at: a pinned key that changed, a part of the helper that stopped."""

    mesh: str  # its name, "" for the helper itself
    text: str
    at_ms: int

    @property
    def key(self) -> str:
        return f"alarm/{self.mesh}/{self.at_ms}/{self.text}"


@dataclass(frozen=True, slots=True)
class Mesh:
    """`person` is whose keyring has the keys, "" when root's files have them. `wanted`: it is to be connected; where it
    is down all the same, it waits for those keys. `connected_by` is a local user, "" when nobody is known to have."""

    id: str
    name: str
    state: MeshState
    reason: str = ""
    self_id: str = ""
    writable: bool = False
    keyring_entry: str = ""
    person: str = ""
    wanted: bool = False
    connected_by: str = ""
    paused_until_ms: int = 0
    warnings: tuple[str, ...] = ()
    pending: tuple[Pending, ...] = ()
    invites: tuple[Invite, ...] = ()
    members: Mapping[str, Member] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def own(self) -> Member | None:
        return self.members.get(self.self_id)

    @property
    def keys_needed(self) -> bool:
        """Whether it was connected before this machine restarted, and waits for somebody's keyring."""
        return self.state is MeshState.DOWN and self.wanted and bool(self.keyring_entry) and not self.paused_until_ms

    @property
    def may_change(self) -> bool:
        """Whether the helper would take a change of the mesh from here now."""
        own = self.own
        return self.writable and own is not None and (own.node or own.admin)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything the helper has said. `known` is False until its first word."""

    known: bool = False
    version: str = ""
    may_operate: bool = True
    meshes: tuple[Mesh, ...] = ()
    alarms: tuple[Alarm, ...] = ()

    def mesh(self, mesh_id: str) -> Mesh | None:
        return next((one for one in self.meshes if one.id == mesh_id), None)


class Kind(Enum):
    """Notifications that a person can switch off; the value is its name in the preferences."""

    CONNECTION = "connection"
    REQUEST = "request"
    REDEEMED = "redeemed"
    ALARM = "alarm"
    EXPIRING = "expiring"


@dataclass(frozen=True, slots=True)
class Preferences:
    """What is kept over restarts. `told`: what was notified of already, oldest first; `seen`: the alarms that the
    person has looked at."""

    muted: frozenset[Kind] = frozenset()
    symbolic: bool = False
    told: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()
