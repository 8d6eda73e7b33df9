"""Kernel settings that a mesh needs, and the values before, which are put back when the last mesh that needs them goes.

Before a value is changed, the old one is on disk: it is restored after a crash, too. Every function blocks.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

_PROC = Path("/proc/sys")


def read(name: str) -> str | None:
    """The value of `net/ipv4/…`, None when this machine has no such setting."""
    try:
        return (_PROC / name).read_text().strip()
    except OSError:
        return None


def wanted(interface: str, forwarding: bool, ipv6: bool) -> dict[str, str]:
    """What a mesh needs: forwarding on nodes, and loose reverse-path filtering where it is strict.

    IPv6 forwarding makes the kernel ignore router advertisements unless accept_ra is 2, so uplinks get that.
    """
    values = {}
    if forwarding:
        values["net/ipv4/ip_forward"] = "1"
        if ipv6:
            for path in sorted((_PROC / "net/ipv6/conf").glob("*/accept_ra")):
                name = str(path.relative_to(_PROC))
                uplink = path.parent.name
                if uplink not in ("all", "default", "lo", interface) and read(name) == "1":
                    values[name] = "2"
            values["net/ipv6/conf/all/forwarding"] = "1"
    for path in sorted((_PROC / "net/ipv4/conf").glob("*/rp_filter")):
        name = str(path.relative_to(_PROC))
        if path.parent.name != "lo" and read(name) == "1":
            values[name] = "2"
    return values


class SavedSysctls:
    """The old values, in one file for all meshes of this helper: {name: {"before": value, "users": [interface]}}."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def _load(self) -> dict[str, dict[str, object]]:
        try:
            document = json.loads(self._path.read_text())
            return document if isinstance(document, dict) else {}
        except (OSError, ValueError):
            return {}

    def _store(self, document: dict[str, dict[str, object]]) -> None:
        if not document:
            self._path.unlink(missing_ok=True)
            return
        temporary = self._path.with_name(self._path.name + ".new")
        with open(temporary, "w") as file:
            json.dump(document, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self._path)

    def kept(self, interface: str) -> dict[str, str]:
        """The settings that this interface's mesh changed earlier, with the values it needs now."""
        return {
            name: value
            for name, entry in self._load().items()
            if interface in list(entry["users"])  # type: ignore[call-overload]  # a list, as `set` wrote it
            and (value := read(name)) is not None
        }

    def set(self, interface: str, name: str, value: str) -> None:
        document = self._load()
        entry = document.setdefault(name, {"before": read(name), "users": []})
        users = set(entry["users"]) | {interface}  # type: ignore[call-overload]  # a list, as written below
        entry["users"] = sorted(users)
        self._store(document)
        with contextlib.suppress(FileNotFoundError):
            (_PROC / name).write_text(value)

    def restore(self, interface: str) -> None:
        """Puts back what no other mesh needs. An interface that is gone took its settings with it."""
        document = self._load()
        for name, entry in list(document.items()):
            users = [user for user in entry["users"] if user != interface]  # type: ignore[attr-defined]
            if users:
                entry["users"] = users
                continue
            with contextlib.suppress(OSError):
                (_PROC / name).write_text(str(entry["before"]))
            del document[name]
        self._store(document)
