"""A demo that was kept: which hosts run, so that a later call can enter or remove them. `demo.py` uses it."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.hosts.host import Host, wait_until

RECORD = Path("/run/meshtui-demo.json")


@dataclass(frozen=True, slots=True)
class KeptHost:
    """`started` is the start time of `pid`, field 22 of proc(5) stat: a pid that is somebody else's by now differs."""

    name: str
    pid: int
    started: str
    folder: str

    @classmethod
    def of(cls, host: Host) -> KeptHost:
        return cls(host.name, host.pid, _started(host.pid), str(host.state.parent))

    @property
    def runs(self) -> bool:
        return _started(self.pid) == self.started != ""

    @property
    def enter(self) -> list[str]:
        return ["nsenter", "-t", str(self.pid), "-n", "-m", "-p", "-u", "-r", "-w"]

    def destroy(self) -> None:
        if self.runs:
            os.kill(self.pid, signal.SIGKILL)
            wait_until(lambda: not self.runs, 10, f"{self.name} to end")
        shutil.rmtree(self.folder, ignore_errors=True)


def _started(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def keep(hosts: list[Host]) -> None:
    RECORD.write_text(json.dumps([asdict(KeptHost.of(host)) for host in hosts]))


def kept() -> list[KeptHost]:
    """Empty when none is, or when it ended with a reboot."""
    try:
        return [KeptHost(**one) for one in json.loads(RECORD.read_text())]
    except (OSError, ValueError, TypeError):
        return []


def remove_kept() -> bool:
    """Whether there was one."""
    hosts = kept()
    for host in hosts:
        host.destroy()
    RECORD.unlink(missing_ok=True)
    return bool(hosts)
