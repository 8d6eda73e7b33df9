"""What the interface shows, as plain values. Made by mirror.py only; text in here holds no control character."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from types import MappingProxyType
from typing import NamedTuple


class MeshState(Enum):
    CONNECTED = "connected"
    CONNECTING = "connecting"
    STALE = "stale"
    DOWN = "down"


class Role(Enum):
    NODE = "node"
    PEER = "peer"
    DEVICE = "device"
    UNKNOWN = "?"


class Path(Enum):
    NONE = "none"
    DIRECT = "direct"
    RELAYED = "relayed"
    SELF = "self"


class Severity(Enum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class InviteState(Enum):
    OPEN = "open"
    REDEEMED = "redeemed"
    EXPIRED = "expired"
    REVOKED = "revoked"


class Member(NamedTuple):
    """Rates in bytes per second; `latency_ms`, `replica_lag` None where unknown; moments in Unix ms, 0: never.

    A NamedTuple, because thousands are made every two seconds: a frozen dataclass takes six times as long.
    """

    id: str
    name: str
    role: Role
    ipv4: IPv4Address | None
    ipv6: IPv6Address | None
    public_key: str
    subnets: tuple[str, ...]
    endpoint: str
    online: bool
    enabled: bool
    admin: bool
    path: Path
    relay: str
    path_reason: str
    candidates: tuple[str, ...]
    handshake_ms: int
    rx_bytes: int
    tx_bytes: int
    rx_rate: float
    tx_rate: float
    latency_ms: float | None
    primary: bool
    voter: bool
    replica_lag: int | None
    store_state: str
    joined_ms: int
    joined_by: str
    is_self: bool


@dataclass(frozen=True, slots=True)
class Route:
    """`not_installed` says why the route is not installed on this machine, "" when it is."""

    cidr: str
    nodes: tuple[str, ...]
    chosen: str
    masquerade: bool
    not_installed: str


@dataclass(frozen=True, slots=True)
class Pending:
    """A machine that asks to be let in. `fingerprint` is of the mesh's CA: the machine that asks shows the same."""

    id: str
    name: str
    source: str
    public_key: str
    fingerprint: str
    since_ms: int


@dataclass(frozen=True, slots=True)
class Invite:
    """`member` is the name it gives, "" when whoever redeems it chooses."""

    id: str
    member: str
    role: Role
    uses: int
    used: int
    state: InviteState
    created_by: str
    created_ms: int
    expires_ms: int
    admin: bool


@dataclass(frozen=True, slots=True)
class Check:
    """What the helper found out about this machine, and what to do about it."""

    name: str
    severity: Severity
    found: str
    fix: str


@dataclass(frozen=True, slots=True)
class Event:
    mesh: str
    revision: int
    at_ms: int
    kind: str
    severity: Severity
    actor: str
    subject: str
    subject_id: str
    text: str
    sequence: int

    def is_about(self, member: Member) -> bool:
        """By its id, which a rename leaves alone. Events of earlier releases have the name only."""
        return self.subject_id == member.id if self.subject_id else self.subject == member.name


@dataclass(frozen=True, slots=True)
class Mesh:
    """`members` by id, in the order in which the helper named them. `keyring_entry` has this machine's keys, "" when
    files do."""

    id: str
    name: str
    state: MeshState
    reason: str
    interface: str
    backend: str
    self_id: str
    primary: str
    epoch: int
    revision: int
    writable: bool
    stale_since_ms: int
    warnings: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    pending: tuple[Pending, ...] = ()
    invites: tuple[Invite, ...] = ()
    dns_domain: str = ""
    backend_reason: str = ""
    keyring_entry: str = ""
    election_timeout_ms: int = 0  # 0: a helper that does not say
    members: Mapping[str, Member] = field(default_factory=lambda: MappingProxyType({}))

    def own(self) -> Member | None:
        return self.members.get(self.self_id)

    def nodes(self) -> list[Member]:
        return [member for member in self.members.values() if member.role is Role.NODE]


@dataclass(frozen=True, slots=True)
class Model:
    """Everything the helper has said. `known` is False until its first snapshot; `may_operate`: not only look."""

    known: bool = False
    version: str = ""
    may_operate: bool = True
    at_ms: int = 0
    meshes: tuple[Mesh, ...] = ()
    events: tuple[Event, ...] = ()

    def mesh(self, mesh_id: str) -> Mesh | None:
        return next((mesh for mesh in self.meshes if mesh.id == mesh_id), None)


class LinkState(Enum):
    """WAITING: no answer yet, and no refusal either. LIVE: the stream runs. SILENT: it ran, and brings nothing now.
    LOST: it can't be had now."""

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
    since_ms: int = 0
