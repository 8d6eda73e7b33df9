"""States of the tray to test with: ada's, at 14:00, live, with one mesh unless told otherwise."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from types import MappingProxyType
from typing import Any

from meshtray.state import State
from meshtray.values import Invite, Link, LinkState, Member, Mesh, MeshState, Pending, Snapshot

HOUR = 3_600_000
NOW = 1_795_269_600_000
LIVE = Link(LinkState.LIVE)
LOST = Link(LinkState.LOST, "meshd is not running", "sudo systemctl start meshd")
SILENT = Link(LinkState.SILENT, "the helper is not answering", "sudo systemctl restart meshd")

DESK_ALAN = Pending("4f2a", "desk-alan", "192.0.2.77", "b3f1 9a20")


def member(number: int, name: str, **fields: Any) -> Member:
    values: dict[str, Any] = {
        "id": f"m{number}", "name": name, "node": name.startswith("gw-"), "ipv4": IPv4Address(f"10.51.0.{number}"),
        "ipv6": None, "online": True, "enabled": True, "admin": False, "relay": "",
    }  # fmt: skip
    return Member(**{**values, **fields})


def mesh(name: str = "home", *others: Member, admin: bool = False, **fields: Any) -> Mesh:
    everybody = (member(1, "gw-berlin"), member(4, "laptop-ada", admin=admin), *others)
    values: dict[str, Any] = {
        "id": f"mesh-{name}", "name": name, "state": MeshState.CONNECTED, "self_id": "m4", "writable": True,
        "person": "ada", "keyring_entry": "KEY", "wanted": True, "connected_by": "ada",
        "members": MappingProxyType({one.id: one for one in everybody}),
    }  # fmt: skip
    return Mesh(**{**values, **fields})


def down(name: str = "home", **fields: Any) -> Mesh:
    return mesh(name, **{"state": MeshState.DOWN, "wanted": False, "writable": False, "connected_by": "", **fields})


def snapshot(*meshes: Mesh, **fields: Any) -> Snapshot:
    return Snapshot(**{"known": True, "version": "0.1.0", "meshes": meshes, **fields})


def state(*meshes: Mesh, **fields: Any) -> State:
    """As after a while: what is connected is known to be."""
    values: dict[str, Any] = {
        "user": "ada", "own_version": "0.1.0", "now_ms": NOW, "boot_ms": NOW, "link": LIVE,
        "snapshot": snapshot(*meshes),
        "connected": frozenset(one.id for one in meshes if one.state is MeshState.CONNECTED),
    }  # fmt: skip
    return State(**{**values, **fields})


def invite(number: int, **fields: Any) -> Invite:
    values: dict[str, Any] = {
        "id": f"4f1cab{number:02x}", "member": "laptop-grace", "used": 0, "open": True,
        "created_by": "laptop-ada (ada)", "created_ms": NOW - 240 * HOUR, "expires_ms": NOW + 96 * HOUR,
    }  # fmt: skip
    return Invite(**{**values, **fields})


def with_state(one: Mesh, new: MeshState, reason: str = "") -> Mesh:
    return replace(one, state=new, reason=reason)
