"""Kernel settings that a mesh needs, and the values before, which are put back when the last mesh that needs them goes.

`needed` is pure. Before a value is changed the old one is on disk, so it is restored after a crash, too. Everything
else blocks.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypedDict

from meshd.model.errors import Failed

log = logging.getLogger(__name__)

_PROC = Path("/proc/sys")
FORWARD4 = "net/ipv4/ip_forward"
FORWARD6 = "net/ipv6/conf/all/forwarding"
SEND_REDIRECTS = "net/ipv4/conf/all/send_redirects"
"""The kernel's WireGuard sets this to 0 when an interface goes up, and never back (wg_open in its device.c)."""

_RP_ALL = "net/ipv4/conf/all/rp_filter"


def needed(readings: Mapping[str, str], interface: str, forwarding: bool) -> dict[str, str]:
    """What a mesh needs of the settings that were read, in the order in which to set them.

    Strict reverse-path filtering (1) becomes loose (2); the kernel uses the larger of `all` and the interface's own
    value (ip-sysctl). IPv6 forwarding makes it ignore router advertisements, and drop the default routes learned from
    them, where accept_ra is 1: so 2 comes first there.
    """
    values: dict[str, str] = {}
    if forwarding:
        values |= {name: "2" for name in sorted(readings) if name.endswith("/accept_ra") and readings[name] != "0"}
        values |= {name: "1" for name in (FORWARD6, FORWARD4) if name in readings}
    strict_everywhere = readings.get(_RP_ALL) == "1"
    for name in sorted(readings):
        if name.endswith("/rp_filter") and name != _RP_ALL and (readings[name] != "0" or strict_everywhere):
            values[name] = "2"
    return values


def read(name: str) -> str | None:
    """The value of `net/ipv4/…`, None when this machine has no such setting."""
    try:
        return (_PROC / name).read_text().strip()
    except OSError:
        return None


def read_settings(interface: str, uplinks: Iterable[str]) -> dict[str, str]:
    """The readings that `needed` looks at. Uplinks are the interfaces with a default route."""
    ways_out = {name for name in uplinks if name != interface}
    names = [FORWARD4, FORWARD6, _RP_ALL]
    names += [f"net/ipv4/conf/{name}/rp_filter" for name in ways_out | {interface}]
    names += [f"net/ipv6/conf/{name}/accept_ra" for name in ways_out | _cards()]
    return {name: value for name in names if (value := read(name)) is not None}


def _cards() -> set[str]:
    """Interfaces with hardware behind them: they may get their default route only later, by advertisement."""
    try:
        return {path.name for path in Path("/sys/class/net").iterdir() if (path / "device").exists()}
    except OSError:
        return set()


class _Saved(TypedDict):
    before: str
    value: str  # what we set
    beside: dict[str, str]  # settings that the kernel changed along, as they were
    users: list[str]  # interfaces of the meshes that need it


class SavedSysctls:
    """The values before, in one file for all meshes of this machine, good for one boot and one network namespace."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def set(self, interface: str, name: str, value: str) -> None:
        """Notes the old value, with fsync, then sets the new one."""
        with self._locked() as saved:
            before = read(name)
            if before is None or before == value:
                return
            entry = saved.setdefault(name, _Saved(before=before, value=value, beside=_beside(name), users=[]))
            entry["users"] = sorted({*entry["users"], interface})
            self._store(saved)
            try:
                (_PROC / name).write_text(value)
            except FileNotFoundError:  # the interface went away just now
                pass
            except OSError as error:
                raise Failed(
                    f"sysctl {name.replace('/', '.')} can't be set to {value}: {error.strerror}",
                    "set it on this machine, or in the container's settings",
                ) from error

    def expect(self, interface: str, name: str, value: str) -> None:
        """Notes the old value of a setting that the kernel is about to set to `value` by itself, or may."""
        with self._locked() as saved:
            before = read(name)
            if name not in saved and before not in (None, value):
                saved[name] = _Saved(before=before, value=value, beside={}, users=[])
            if name in saved and interface not in saved[name]["users"]:
                saved[name]["users"] = sorted([*saved[name]["users"], interface])
                self._store(saved)

    def claim(self, interface: str, names: Iterable[str]) -> None:
        """Notes that this mesh, too, needs what another one has set."""
        with self._locked() as saved:
            new = [saved[name] for name in names if name in saved and interface not in saved[name]["users"]]
            for entry in new:
                entry["users"] = sorted([*entry["users"], interface])
            if new:
                self._store(saved)

    def release(self, interface: str) -> None:
        """Puts back what no other mesh needs, unless somebody else has changed it since."""
        with self._locked() as saved:
            for name, entry in reversed(list(saved.items())):
                if interface not in entry["users"]:
                    continue
                entry["users"].remove(interface)
                if not entry["users"]:
                    if read(name) == entry["value"]:
                        for one, value in {name: entry["before"], **entry["beside"]}.items():
                            _restore(one, value)
                    del saved[name]
            self._store(saved)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[dict[str, _Saved]]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield self._load()
        finally:
            os.close(descriptor)

    def _load(self) -> dict[str, _Saved]:
        try:
            document = json.loads(self._path.read_text())
            if document["of"] == _where():
                settings: dict[str, _Saved] = document["settings"]
                return settings
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("the file of earlier kernel settings can't be read: %s", error)
        return {}

    def _store(self, saved: dict[str, _Saved]) -> None:
        if not saved:
            self._path.unlink(missing_ok=True)
            return
        temporary = self._path.with_name(self._path.name + ".new")
        with open(temporary, "w") as file:
            json.dump({"of": _where(), "settings": saved}, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self._path)


def _beside(name: str) -> dict[str, str]:
    """What the kernel changes along with a forwarding switch (net/ipv4/devinet.c, net/ipv6/addrconf.c)."""
    if name not in (FORWARD4, FORWARD6):
        return {}
    family = "ipv4" if name == FORWARD4 else "ipv6"
    others = [str(path.relative_to(_PROC)) for path in sorted((_PROC / f"net/{family}/conf").glob("*/forwarding"))]
    if family == "ipv4":
        others.append("net/ipv4/conf/all/accept_redirects")
    switches = (FORWARD4, FORWARD6, "net/ipv4/conf/all/forwarding")
    return {one: value for one in others if one not in switches and (value := read(one)) is not None}


def _restore(name: str, value: str) -> None:
    with contextlib.suppress(OSError):  # an interface that is gone took its settings with it
        if read(name) != value:
            (_PROC / name).write_text(value)


def _where() -> str:
    """This boot and network namespace: in any other the saved values mean nothing."""
    boot = read("kernel/random/boot_id")
    return f"{boot} {os.stat('/proc/thread-self/ns/net').st_ino}"
