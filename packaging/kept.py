"""Which hosts of a demo run: recorded while it is built, so that a later call can enter or remove what was kept or
left behind. `demo.py` uses it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.hosts.host import Host, wait_until


@dataclass(frozen=True, slots=True)
class RunningHost:
    """`started` is the start time of `pid`, field 22 of proc(5) stat: a pid that is somebody else's by now differs."""

    name: str
    pid: int
    started: str
    folder: str

    @classmethod
    def of(cls, host: Host) -> RunningHost:
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


class Record:
    """A file that one demo holds at a time. `held` says whether this is the one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = open(path, "a+")  # noqa: SIM115  # kept open: the lock ends with this process
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.held = True
        except OSError:
            self.held = False

    def _read(self) -> dict[str, object]:
        self._file.seek(0)
        try:
            content = json.loads(self._file.read())
        except ValueError:
            return {}
        return content if isinstance(content, dict) else {}

    def write(self, hosts: Iterable[Host | RunningHost], *, kept: bool) -> None:
        running = [RunningHost.of(host) if isinstance(host, Host) else host for host in hosts]
        text = json.dumps({"kept": kept, "hosts": [asdict(host) for host in running]})
        self._file.truncate(0)
        self._file.write(text)
        self._file.flush()

    @property
    def hosts(self) -> list[RunningHost]:
        hosts = self._read().get("hosts", [])
        return [RunningHost(**one) for one in hosts] if isinstance(hosts, list) else []

    @property
    def kept(self) -> bool:
        """A whole mesh that somebody chose to keep, and that still runs."""
        hosts = self.hosts
        return self._read().get("kept") is True and bool(hosts) and all(host.runs for host in hosts)

    def end_hosts(self) -> bool:
        """Ends what is recorded. Whether something ran."""
        hosts = self.hosts
        ran = any(host.runs for host in hosts)
        for host in hosts:
            host.destroy()
        self._file.truncate(0)
        return ran

    def remove(self) -> bool:
        """The hosts and the record. Whether something ran."""
        ran = self.end_hosts()
        self._path.unlink(missing_ok=True)
        return ran
