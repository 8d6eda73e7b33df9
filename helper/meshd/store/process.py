"""A redis-server process that outlives its helper: lock, start, record, identification, exit. No Redis protocol.

The lock is a file that the child inherits open and locked, so it is held for exactly as long as a server (or a child
of one) may write in the folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from meshd.model.errors import Failed
from meshd.programs import install
from meshd.store.files import write_atomically


@dataclass(frozen=True, slots=True)
class Record:
    """What is written beside the data about the server that was started last."""

    pid: int
    start_ticks: int  # when that process began; tells it from a later one with the same pid
    run_id: str = ""  # Redis' own id of this run, once it answered

    def save(self, path: Path) -> None:
        write_atomically(path, json.dumps(asdict(self)).encode() + b"\n")

    @classmethod
    def load(cls, path: Path) -> Record | None:
        """None when there is none, or it can't be read."""
        try:
            document = json.loads(path.read_bytes())
            return cls(int(document["pid"]), int(document["start_ticks"]), str(document["run_id"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @property
    def alive(self) -> bool:
        return self.pid > 0 and start_ticks(self.pid) == self.start_ticks


def start_ticks(pid: int) -> int | None:
    """When a process began, in clock ticks since boot (field 22 in proc(5)); None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before may hold anything
    return None if fields[0] in "ZX" else int(fields[19])


FOLDERS = ":/usr/bin:/usr/local/bin"
"""Where to look besides $PATH."""

NAMES = ("redis-server", "valkey-server")
"""Valkey is what Redis was under a free licence, and takes the same settings and commands."""


def find_binary(given: Path | None) -> Path:
    """The redis-server program, else Valkey's. Raises Failed."""
    folders = os.environ.get("PATH", "") + FOLDERS
    found = next(filter(None, (shutil.which(name, path=folders) for name in ([str(given)] if given else NAMES))), None)
    if found is None:
        raise Failed(
            f"{given or 'redis-server'} is not installed; a node keeps its state in it", install("redis-server")
        )
    return Path(found)


def take_lock(path: Path) -> int | None:
    """Opens and locks a file; returns the descriptor, which holds the lock, or None when somebody else holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


async def wait_for_lock(path: Path, limit: float) -> int | None:
    """Like `take_lock`, trying for `limit` seconds: a rewriting child may outlive its server for a moment."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + limit
    descriptor = take_lock(path)
    while descriptor is None and loop.time() < deadline:
        await asyncio.sleep(0.02)  # flock has no asynchronous form
        descriptor = take_lock(path)
    return descriptor


def spawn(binary: Path, configuration: Path, lock: int) -> int:
    """Starts redis-server in a session of its own, with umask 077 and the lock; returns its pid. Raises Failed."""
    try:
        child = subprocess.Popen(
            [str(binary), str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            pass_fds=(lock,),
            start_new_session=True,
            umask=0o077,
        )
    except OSError as error:
        raise Failed(f"{binary} can't be started: {error}", install("redis-server")) from error
    child.returncode = 0  # it outlives us by design, and `Process` watches and reaps it: Popen must not warn or wait
    return child.pid


class Process:
    """Watches one process through a pidfd, whether it is a child or was adopted."""

    def __init__(self, pid: int) -> None:
        """Raises ProcessLookupError when it is gone already."""
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)
        self._loop = asyncio.get_running_loop()
        self._exited: asyncio.Future[str] = self._loop.create_future()
        self._loop.add_reader(self._descriptor, self._ended)

    def _ended(self) -> None:
        self._loop.remove_reader(self._descriptor)
        how = "ended"
        with contextlib.suppress(ChildProcessError):
            result = os.waitid(os.P_PIDFD, self._descriptor, os.WEXITED | os.WNOHANG)
            if result is not None:
                how = f"ended with status {result.si_status}"
                if result.si_code != os.CLD_EXITED:
                    how = f"was ended by signal {result.si_status}"
        self._exited.set_result(how)

    @property
    def running(self) -> bool:
        return not self._exited.done()

    async def wait(self) -> str:
        """Waits until it has ended; returns how."""
        return await asyncio.shield(self._exited)

    def kill(self) -> None:
        """SIGKILL, to this very process and no other."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)

    def close(self) -> None:
        """Stops watching. The process goes on."""
        if self._descriptor >= 0:
            if not self._loop.is_closed():
                self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
