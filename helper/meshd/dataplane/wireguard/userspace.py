"""WireGuard by wireguard-go: one process for each interface, in its own session, found again through its socket.

A helper that restarts adopts the process that is there: the tunnel never notices (FACTS: 0 of 400 pings lost).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import socket
import struct
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from meshd.dataplane.wireguard.backend import DeviceChange, DeviceState
from meshd.dataplane.wireguard.uapi import GET, check_errno, decode_errno, decode_state, encode_changes
from meshd.model.errors import Failed
from meshd.programs import install

log = logging.getLogger(__name__)

SOCKETS = Path("/var/run/wireguard")
"""Where wireguard-go puts its sockets; it has no option for that."""

START_LIMIT = 5.0
"""Seconds that wireguard-go may take to answer; it needs about 20 ms."""

ANSWER_LIMIT = 10.0
"""Seconds for one request; 5,000 peers take 0.6 s."""


def find_binary() -> Path | None:
    """Where wireguard-go is, or None."""
    found = shutil.which("wireguard-go", path=os.environ.get("PATH", "") + ":/usr/bin:/usr/local/bin:/usr/sbin")
    return Path(found) if found else None


class UserspaceBackend:
    """`on_died` is called with the interface's name when its wireguard-go ends without having been told to."""

    name = "userspace"

    def __init__(self, log_dir: Path, on_died: Callable[[str], None] | None = None, sockets: Path = SOCKETS) -> None:
        self._log_dir = log_dir
        self._sockets = sockets
        self.on_died = on_died
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._watched: dict[str, tuple[int, int]] = {}  # interface -> (pid, pidfd)

    def _socket(self, interface: str) -> Path:
        return self._sockets / f"{interface}.sock"

    async def exists(self, interface: str) -> bool:
        return await asyncio.to_thread(self._pid_of, interface) is not None

    async def create(self, interface: str, mtu: int) -> bool:
        async with self._locks[interface]:
            pid = await asyncio.to_thread(self._pid_of, interface)
            made = pid is None
            if pid is None:
                if interface in await asyncio.to_thread(os.listdir, "/sys/class/net"):
                    raise Failed(
                        f"interface {interface} already exists and is not ours", "remove it, or choose --interface"
                    )
                pid = await asyncio.to_thread(self._spawn, interface)
            self._watch(interface, pid)
            return made

    def _pid_of(self, interface: str) -> int | None:
        """The process that answers on the interface's socket, from the socket's credentials."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(START_LIMIT)
                connection.connect(str(self._socket(interface)))
                packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        except OSError:
            return None
        pid: int = struct.unpack("3i", packed)[0]
        return pid

    def _spawn(self, interface: str) -> int:
        binary = find_binary()
        if binary is None:
            raise Failed(
                "wireguard-go is not installed, and this kernel has no WireGuard", install("wireguard-go"), "missing"
            )
        self._log_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        log_path = self._log_dir / f"wireguard-{interface}.log"
        # It outlives this helper, so nothing here owns it: no Popen, which would complain about that.
        pid = os.posix_spawn(
            binary,
            [str(binary), "-f", interface],
            {
                "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                "LOG_LEVEL": "error",
                "WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD": "1",
            },
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log_path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],  # Python ignores these two
        )
        deadline = time.monotonic() + START_LIMIT
        while self._pid_of(interface) != pid:
            if not _is_running(pid) or time.monotonic() > deadline:
                _end(pid)
                words = log_path.read_text(errors="replace").strip().splitlines()[-1:]
                raise Failed(
                    f"wireguard-go for {interface} did not start: {' '.join(words) or 'no message'}",
                    "check that /dev/net/tun can be opened here",
                )
            time.sleep(0.002)  # in a thread; it takes about 20 ms
        return pid

    def _watch(self, interface: str, pid: int) -> None:
        known = self._watched.get(interface)
        if known is not None:
            if known[0] == pid:
                return
            self._unwatch(interface)
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        self._watched[interface] = (pid, descriptor)
        asyncio.get_running_loop().add_reader(descriptor, self._died, interface)

    def _unwatch(self, interface: str) -> None:
        known = self._watched.pop(interface, None)
        if known is not None:
            asyncio.get_running_loop().remove_reader(known[1])
            os.close(known[1])

    def _died(self, interface: str) -> None:
        known = self._watched.get(interface)
        self._unwatch(interface)
        if known is not None:
            _reap(known[0])
        log.warning("wireguard-go of %s ended", interface)
        if self.on_died is not None:
            self.on_died(interface)

    async def read(self, interface: str) -> DeviceState:
        async with self._locks[interface]:
            reply = await self._ask(interface, GET)
        return await asyncio.to_thread(decode_state, reply)  # 80 ms for 3,000 peers: too long for the loop

    async def apply(self, interface: str, change: DeviceChange) -> None:
        async with self._locks[interface]:
            for request in encode_changes(change):
                check_errno(decode_errno(await self._ask(interface, request)))

    async def _ask(self, interface: str, request: bytes) -> bytes:
        try:
            async with asyncio.timeout(ANSWER_LIMIT):
                reader, writer = await asyncio.open_unix_connection(self._socket(interface), limit=1 << 26)
                try:
                    writer.write(request)
                    await writer.drain()
                    return await reader.readuntil(b"\n\n")
                finally:
                    writer.close()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise Failed(f"wireguard-go of {interface} does not answer", "meshd starts it again by itself") from error
        except TimeoutError as error:
            raise Failed(
                f"wireguard-go of {interface} hangs", f"end it: pkill -f 'wireguard-go -f {interface}'"
            ) from error

    async def delete(self, interface: str) -> None:
        async with self._locks[interface]:
            pid = await asyncio.to_thread(self._pid_of, interface)
            self._unwatch(interface)
            if pid is not None:
                await asyncio.to_thread(_end, pid)
            self._socket(interface).unlink(missing_ok=True)
            (self._log_dir / f"wireguard-{interface}.log").unlink(missing_ok=True)

    async def close(self) -> None:
        for interface in list(self._watched):
            self._unwatch(interface)


def _end(pid: int) -> None:
    """Ends a process and waits until it is gone. Blocks; runs in a thread."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            if not _is_running(pid):
                return
            time.sleep(0.005)


def _is_running(pid: int) -> bool:
    _reap(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):  # an adopted one is reaped by init
        os.waitpid(pid, os.WNOHANG)
