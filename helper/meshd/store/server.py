"""The private redis-server of one mesh on a node: started or adopted, supervised, opened to the overlay, stopped.

`StoreServer` is what the cluster may use of it, and of an administrator's server (`external.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import secrets
import shutil
import socket as sockets
import struct
from collections.abc import Callable, Sequence
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Protocol

from meshd.lasting import keep_running
from meshd.model.errors import Failed, MeshError
from meshd.store import process, settings
from meshd.store.connection import Connection
from meshd.store.copy_format import CopyFormat, own_format
from meshd.store.errors import StoreFailed, StoreUnavailable
from meshd.store.files import write_atomically
from meshd.store.process import Process, Record
from meshd.store.rewrite import Need, rewrite, rewrite_need

log = logging.getLogger(__name__)

SOCKET_PATH_LIMIT = 107
"""Bytes in a Unix socket path: sun_path in sys/un.h is 108 with the closing zero."""

START_LIMIT = 60.0
"""Seconds for a server to load its data; 100 MB of AOF take about one."""

ADOPT_LIMIT = 5.0
"""Seconds for a server that is found running to answer at all (LOADING counts as an answer)."""

EXIT_LIMIT = 10.0
"""Seconds for a server to end after SHUTDOWN before it is killed. With appendfsync always nothing can be lost."""

REWRITE_LIMIT = 300.0
"""Seconds for a rewrite of the append-only file. Redis goes on with a longer one, and it is looked at again."""

RESTART_WAIT, RESTART_WAIT_LIMIT = 0.1, 5.0
"""Seconds before a server that ended is started again: doubled each time it doesn't last RESTART_WAIT_LIMIT."""

OnExit = Callable[[str], None]


class StoreServer(Protocol):
    """A Redis server that serves one node of one mesh."""

    @property
    def connection(self) -> Connection: ...

    @property
    def run_id(self) -> str:
        """Redis' id of this run; another one means that it restarted."""

    @property
    def copy_format(self) -> CopyFormat:
        """In which this run writes full copies."""

    async def start(self) -> None: ...

    async def ping(self, timeout: float) -> None:
        """Raises StoreUnavailable when there is no answer in `timeout` seconds: the primary's term must end."""

    async def restart(self) -> bool:
        """Ends a server that hangs; it is started again as after any unexpected end. False where it is not ours."""

    async def open_tcp(self, addresses: Sequence[IPv4Address | IPv6Address], port: int) -> int:
        """Listens on these addresses; returns the port that replicas are to use. Raises Failed."""

    async def close_tcp(self) -> None: ...

    async def keep_aside(self, name: str) -> str:
        """Copies the append-only file, which does not grow meanwhile; returns where to, "" when that can't be."""

    async def rewrite_need(self) -> Need:
        """Whether its append-only file is to be rewritten. Never that of an administrator, who sees to it."""

    async def rewrite(self) -> None:
        """Rewrites it; what it holds is not confirmed meanwhile. Raises Failed, StoreFailed and StoreUnavailable."""

    async def detach(self) -> None:
        """Lets go; the server goes on, for the next helper."""

    async def stop(self) -> None: ...

    async def erase(self) -> None:
        """Leaves nothing of the mesh behind: `leave`."""


def socket_path(run_dir: Path, mesh: str) -> Path:
    """Where the socket goes: `<run dir>/<mesh>/redis.sock`, or a short name where that is too long. Raises Failed."""
    short = hashlib.sha256(mesh.encode()).hexdigest()[:8]
    for path in (run_dir / mesh / "redis.sock", run_dir / short / "r"):
        if len(os.fsencode(path)) <= SOCKET_PATH_LIMIT:
            return path
    raise Failed(f"the path {run_dir} is too long for Unix sockets", "choose a shorter --run-dir")


class RedisServer(StoreServer):
    """One redis-server process on one folder. It survives its helper and is adopted by the next one."""

    def __init__(self, folder: Path, socket: Path, *, binary: Path | None = None, on_exit: OnExit) -> None:
        """`on_exit` is called with the reason each time the server ends unasked, before it is started again."""
        if len(os.fsencode(socket)) > SOCKET_PATH_LIMIT:
            raise Failed(f"{socket} is too long for a Unix socket", "choose a shorter --run-dir")
        self._folder = folder
        self._socket = socket
        self._binary = binary
        self._on_exit = on_exit
        self._connection: Connection | None = None
        self._process: Process | None = None
        self._owner_lock = -1
        self._run_id = ""
        self._copy_format = CopyFormat()
        self._adopted = False
        self._tcp: tuple[tuple[str, ...], int] = ((), 0)
        self._tcp_due = False  # it could not be opened after a restart
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def connection(self) -> Connection:
        if self._connection is None:
            raise StoreUnavailable(f"redis-server for {self._folder} is not started")
        return self._connection

    @property
    def run_id(self) -> str:
        return self._run_id

    @property
    def copy_format(self) -> CopyFormat:
        return self._copy_format

    @property
    def adopted(self) -> bool:
        """Whether the server was running already when `start` was called."""
        return self._adopted

    @property
    def pid(self) -> int:
        """0 while there is none."""
        return self._process.pid if self._process and self._process.running else 0

    async def start(self) -> None:
        """Adopts the server that runs on the folder, or starts one; returns when it answers. Raises Failed."""
        process.find_binary(self._binary)
        await asyncio.to_thread(self._prepare_folders)
        lock = process.take_lock(self._folder / "owner.lock")
        if lock is None:
            raise Failed(f"another meshd uses the store in {self._folder}", "stop it, or choose another --state-dir")
        self._owner_lock = lock
        try:
            password = await asyncio.to_thread(self._password)
            self._connection = Connection.to_socket(self._socket, settings.USER, password)
            await self._adopt_or_launch(password)
        except BaseException:
            await self.detach()
            raise
        self._supervisor = keep_running(partial(self._supervise, password), f"redis-server {self._folder.name}")

    def _prepare_folders(self) -> None:
        for folder in (self._folder, self._socket.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)

    def _password(self) -> str:
        path = self._folder / "redis.password"
        with contextlib.suppress(FileNotFoundError):
            password = path.read_text().strip()
            if password:
                return password
        password = secrets.token_hex(32)
        write_atomically(path, password.encode() + b"\n")
        return password

    async def _adopt_or_launch(self, password: str) -> None:
        lock = process.take_lock(self._folder / "server.lock")
        if lock is None:
            if await self._adopt():
                return
            lock = await self._evict()
        await self._launch(password, lock)

    async def _adopt(self) -> bool:
        """Takes over the running server when it is ours: the socket's listener, the folder and the record agree."""
        try:
            await self._wait_ready(ADOPT_LIMIT)
            info = await self.connection.info("server")
            pid = int(info["process_id"])
            folder = (await self.connection.config("dir"))["dir"]
        except (StoreUnavailable, StoreFailed) as error:
            log.warning("the redis-server on %s can't be adopted: %s", self._folder, error)
            return False
        record = Record.load(self._folder / "server.json")
        known = record is None or (record.pid == pid and record.run_id in ("", info["run_id"]))
        if pid != _listener(self._socket) or not _same(folder, self._folder) or not known:
            log.warning("the redis-server on %s is not the one that was started there", self._socket)
            return False
        self._process = Process(pid)
        self._run_id = info["run_id"]
        self._copy_format = await own_format(self.connection)
        self._adopted = True
        words = [word for pair in settings.SETTINGS.items() for word in pair]
        await self.connection.call("CONFIG", "SET", *words)
        bound = await self.connection.config("bind", "port")
        if int(bound["port"]):
            self._tcp = (tuple(bound["bind"].split()), int(bound["port"]))
        await asyncio.to_thread(self._record)
        log.info("adopted redis-server %d on %s", pid, self._folder)
        return True

    async def _evict(self) -> int:
        """Ends a server that holds the folder but doesn't answer; returns the lock. Only one that we started."""
        record = Record.load(self._folder / "server.json")
        if record is not None and record.alive:
            log.warning("redis-server %d on %s does not answer: killing it", record.pid, self._folder)
            with contextlib.suppress(ProcessLookupError):
                hung = Process(record.pid)
                if record.alive:
                    hung.kill()
                hung.close()
        lock = await process.wait_for_lock(self._folder / "server.lock", EXIT_LIMIT)
        if lock is None:
            raise Failed(
                f"another redis-server uses {self._folder} and is not ours to end",
                f"find it with `fuser {self._folder / 'server.lock'}` and stop it",
            )
        return lock

    async def _launch(self, password: str, lock: int) -> None:
        """Starts a server; it inherits the lock, of which our copy is closed."""
        text = settings.configuration(self._folder, self._socket, password)
        path = self._folder / "redis.conf"
        try:
            await asyncio.to_thread(write_atomically, path, text.encode())
            _rotate(self._folder / "redis.log")
            pid = process.spawn(process.find_binary(self._binary), path, lock)
        finally:
            os.close(lock)
        if self._process is not None:
            self._process.close()
        self._process = Process(pid)
        self._adopted = False
        self._run_id = ""
        await asyncio.to_thread(self._record)
        await self._wait_ready(START_LIMIT)
        self._copy_format = await own_format(self.connection)
        self._run_id = (await self.connection.info("server"))["run_id"]
        await asyncio.to_thread(self._record)
        log.info("started redis-server %d on %s", pid, self._folder)

    def _record(self) -> None:
        assert self._process is not None
        ticks = process.start_ticks(self._process.pid)
        if ticks is not None:
            Record(self._process.pid, ticks, self._run_id).save(self._folder / "server.json")

    async def _wait_ready(self, limit: float) -> None:
        """Until it answers and has loaded its data. A server that says LOADING has START_LIMIT in any case."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while True:
            try:
                await self.connection.call("PING")
                return
            except StoreUnavailable as error:
                if self._process is not None and not self._process.running:
                    raise Failed(f"redis-server on {self._folder} ended at once{self._last_words()}") from error
                allowed = START_LIMIT if "loading" in error.message else limit
                if loop.time() - begun > allowed:
                    raise
            await asyncio.sleep(0.01)

    def _last_words(self) -> str:
        with contextlib.suppress(OSError, IndexError):
            text = (self._folder / "redis.log").read_text(errors="replace")
            return f": {text.strip().splitlines()[-1][:300]}"
        return ""

    async def _supervise(self, password: str) -> None:
        """Starts the server again when it ends unasked. Its data is as the AOF has it; it follows nobody."""
        loop = asyncio.get_running_loop()
        wait = RESTART_WAIT
        while True:
            assert self._process is not None
            begun = loop.time()
            how = await self._process.wait()
            self._run_id = ""
            words = self._last_words() if "status" in how else ""
            log.error("redis-server on %s %s%s", self._folder, how, words)
            self._on_exit(f"redis-server {how}")
            if loop.time() - begun > RESTART_WAIT_LIMIT:
                wait = RESTART_WAIT
            while True:
                await asyncio.sleep(wait)
                wait = min(wait * 2, RESTART_WAIT_LIMIT)
                try:
                    await self._launch(password, await self._evict())
                    await self._apply_tcp()
                    break
                except (MeshError, OSError) as error:
                    log.error("redis-server on %s can't be started again: %s", self._folder, error)
                    if self._process.running:
                        self._tcp_due = True
                        break

    async def ping(self, timeout: float) -> None:
        """Raises StoreUnavailable without an answer."""
        await self.connection.call("PING", timeout=timeout)
        if self._tcp_due:
            try:
                await self._apply_tcp()
            except Failed as error:
                log.warning("redis-server on %s: %s", self._folder, error)  # the next ping tries again
            else:
                self._tcp_due = False

    async def restart(self) -> bool:
        if self._process is not None:
            self._process.kill()
        return True

    async def open_tcp(self, addresses: Sequence[IPv4Address | IPv6Address], port: int) -> int:
        self._tcp = (tuple(str(address) for address in addresses), port)
        await self._apply_tcp()
        return port

    async def close_tcp(self) -> None:
        """Accepts no new connections. Replicas that are connected stay until their account is revoked."""
        self._tcp = ((), 0)
        await self.connection.call("CONFIG", "SET", "port", 0)

    async def _apply_tcp(self) -> None:
        addresses, port = self._tcp
        if not port:
            return
        try:
            await self.connection.call("CONFIG", "SET", "bind", " ".join(addresses), "port", port)
        except StoreFailed as error:
            raise Failed(
                f"redis-server can't listen on {' and '.join(addresses)} port {port}: {error}",
                f"see what has it: ss -ltnp sport = :{port}",
            ) from error

    async def keep_aside(self, name: str) -> str:
        target = self._folder.parent / name
        if not target.exists():
            await asyncio.to_thread(_copy_whole, self._folder / settings.APPEND_FOLDER, target)
        return str(target)

    async def rewrite_need(self) -> Need:
        room = (await asyncio.to_thread(shutil.disk_usage, self._folder)).free
        return await rewrite_need(self.connection, room)

    async def rewrite(self) -> None:
        log.info("rewriting the append-only file in %s", self._folder)
        await rewrite(self.connection, REWRITE_LIMIT)

    async def detach(self) -> None:
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.wait([self._supervisor])
            self._supervisor = None
        if self._connection is not None:
            await self._connection.close()
            self._connection = None
        if self._process is not None:
            self._process.close()
            self._process = None
        if self._owner_lock >= 0:
            os.close(self._owner_lock)
            self._owner_lock = -1

    async def stop(self) -> None:
        """Ends the server: everything acknowledged is on disk already."""
        running, self._process = self._process, None
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.wait([self._supervisor])
            self._supervisor = None
        if running is not None and running.running:
            with contextlib.suppress(StoreUnavailable, StoreFailed):
                await self.connection.call("SHUTDOWN", "NOSAVE", "NOW", "FORCE", timeout=EXIT_LIMIT)
            try:
                async with asyncio.timeout(EXIT_LIMIT):
                    await running.wait()
            except TimeoutError:
                running.kill()
                await running.wait()
        if running is not None:
            running.close()
        await self.detach()
        await asyncio.to_thread(self._socket.unlink, missing_ok=True)

    async def erase(self) -> None:
        """Ends the server and removes its folder."""
        await self.stop()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)


def _copy_whole(source: Path, target: Path) -> None:
    """Copies a folder; a copy that was not finished is not there."""
    part = target.with_name(f"{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(source, part)
    part.rename(target)


def _listener(socket: Path) -> int:
    """The process that listens on a Unix socket (SO_PEERCRED in unix(7))."""
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as probe:
        probe.settimeout(1)
        probe.connect(str(socket))
        credentials = probe.getsockopt(sockets.SOL_SOCKET, sockets.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[0])


def _rotate(path: Path, limit: int = 1 << 20) -> None:
    """Keeps one older log file."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > limit:
            path.rename(path.with_name(path.name + ".old"))


def _same(one: str, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
