"""What the processes of a host use, as the kernel counts it."""

from __future__ import annotations

import os
from pathlib import Path

from lab.hosts.host import Host

TICKS = os.sysconf("SC_CLK_TCK")


def megabytes(pid: int) -> float:
    """Resident memory now."""
    line = next(one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmRSS"))
    return int(line.split()[1]) * 1024 / 1e6


def cpu_seconds(pid: int) -> float:
    """Processor time since the process began, to 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def cpu_with_children(pid: int) -> float:
    """The same, with its children that ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS


def found(host: Host, name: str) -> list[int]:
    """Pids of a program in the host, as the machine outside sees them: those in the host's own pid namespace."""
    space = os.readlink(f"/proc/{host.pid}/ns/pid")
    pids = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "comm").read_text().strip() == name and os.readlink(folder / "ns/pid") == space:
                pids.append(int(folder.name))
        except OSError:
            continue
    return pids
