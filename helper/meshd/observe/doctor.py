"""What would stop a mesh from working on this machine, and the fix for each. Only looks; changes nothing."""

from __future__ import annotations

import asyncio
import grp
import os
import shutil
import subprocess
from pathlib import Path

from meshproto import local_pb2

from meshd import defaults

_PATH = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin"


async def check_machine(backend: str, reason: str, fix: str) -> list[local_pb2.Check]:
    """Every check, the good ones too. `fix` is what makes WireGuard work here, "" when it does."""
    return await asyncio.to_thread(_check_all, backend, reason, fix)


def _check(
    name: str, good: bool, found: str, fix: str, bad: local_pb2.CheckState.ValueType = local_pb2.ERROR
) -> local_pb2.Check:
    return local_pb2.Check(check=name, state=local_pb2.OK if good else bad, found=found, fix="" if good else fix)


def _check_all(backend: str, reason: str, fix: str) -> list[local_pb2.Check]:
    return [
        _check("wireguard", not fix, reason if fix else f"{backend}: {reason}", fix),
        _program("redis-server", "needed on nodes", "apt install redis-server", local_pb2.WARNING),
        _program("nft", "the firewall of meshes", "apt install nftables", local_pb2.ERROR),
        _tun(backend),
        _forwarding(),
        _clock(),
        _group(),
        _overcommit(),
        *_foreign_firewall(),
    ]


def _program(name: str, what: str, fix: str, bad: local_pb2.CheckState.ValueType) -> local_pb2.Check:
    path = shutil.which(name, path=_PATH)
    return _check(name, path is not None, path or f"not installed ({what})", fix, bad)


def _tun(backend: str) -> local_pb2.Check:
    exists = Path("/dev/net/tun").exists()
    needed = backend == "userspace"
    return _check("tun device", exists or not needed, "/dev/net/tun" if exists else "missing", "modprobe tun")


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _forwarding() -> local_pb2.Check:
    on = _read("/proc/sys/net/ipv4/ip_forward") == "1"
    return _check("forwarding", True, "on" if on else "off; meshd switches it on for nodes", "")


def _clock() -> local_pb2.Check:
    built = Path(__file__).stat().st_mtime
    import time

    behind = built - time.time()
    return _check(
        "clock",
        behind < 24 * 3600,
        "plausible" if behind < 24 * 3600 else f"{behind / 3600:.0f} h before this program was installed",
        "timedatectl set-ntp true",
    )


def _group() -> local_pb2.Check:
    try:
        members = grp.getgrnam(defaults.GROUP).gr_mem
    except KeyError:
        return _check(
            "group mesh",
            False,
            "does not exist: only root can change anything",
            "groupadd --system mesh",
            local_pb2.WARNING,
        )
    return _check("group mesh", True, ", ".join(members) or "nobody is in it; root can change everything", "")


def _overcommit() -> local_pb2.Check:
    good = _read("/proc/sys/vm/overcommit_memory") in ("1", "0")
    return _check(
        "memory overcommit", good, "allowed" if good else "off: redis may fail to rewrite its file",
        "sysctl vm.overcommit_memory=1", local_pb2.WARNING,
    )  # fmt: skip


def _foreign_firewall() -> list[local_pb2.Check]:
    """Chains of other programs that drop by default where our packets pass."""
    if os.geteuid() != 0 or shutil.which("nft", path=_PATH) is None:
        return []
    try:
        listing = subprocess.run(
            ["nft", "list", "chains"], capture_output=True, text=True, timeout=10, check=False, env={"PATH": _PATH}
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return []
    found, table = [], ""
    chain = ""
    for line in listing.splitlines():
        words = line.split()
        if line.startswith("table"):
            table = " ".join(words[1:3])
        elif words[:1] == ["chain"]:
            chain = words[1]
        elif "policy drop" in line and "meshd-" not in table and ("hook input" in line or "hook forward" in line):
            hook = "input" if "hook input" in line else "forward"
            found.append(
                local_pb2.Check(
                    check=f"firewall {table}",
                    state=local_pb2.WARNING,
                    found=f"chain {chain} drops what nothing accepts ({hook})",
                    fix=f"accept UDP {defaults.LISTEN_PORT} and, on nodes, TCP {defaults.JOIN_PORT} there"
                    if hook == "input"
                    else "accept forwarding from and to the mesh interface there",
                )
            )
    return found or [local_pb2.Check(check="firewall", state=local_pb2.OK, found="no other program drops by default")]
