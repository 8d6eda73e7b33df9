"""A private system bus: a real dbus-daemon in a folder, and programs on it. Tests start, freeze and end them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from meshproto import bus_connection
from meshproto.bus_connection import connect

CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*" eavesdrop="false"/>
<allow send_type="signal"/><allow receive_sender="*"/></policy></busconfig>
"""


class PrivateBus:
    """`start` and `stop` as often as wanted; the socket's path stays the same."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "bus"
        self._config = folder / "bus.conf"
        self._config.write_text(CONFIG.format(path=self.path))
        self.daemon: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.path.unlink(missing_ok=True)
        self.daemon = subprocess.Popen(
            ["dbus-daemon", f"--config-file={self._config}", "--nofork", "--nopidfile", "--nosyslog"],
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 10
        while not self._listens():
            assert time.monotonic() < deadline, "dbus-daemon does not start"
            time.sleep(0.01)

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as plain:
            return plain.connect_ex(str(self.path)) == 0

    def signal(self, number: int) -> None:
        assert self.daemon is not None
        os.kill(self.daemon.pid, number)

    def stop(self) -> None:
        if self.daemon is not None:
            self.signal(signal.SIGCONT)
            self.daemon.terminate()
            self.daemon.wait(10)
            self.daemon = None

    async def connect(self) -> Any:
        """A connection of dbus-next; `close` it."""
        return await connect(f"unix:path={self.path}")


def overtaken(
    monkeypatch: pytest.MonkeyPatch, name: str, change: Callable[[], Awaitable[None]], question: int = 1
) -> None:
    """Has connections read two things at once: who has `name`, asked the first time or that one, and that `change`,
    called then, changed it."""
    really, questions = bus_connection.connect, 0

    async def connected(address: str | None = None, limit_s: float = 5.0) -> Any:
        connection = await really(address, limit_s)
        call = connection.call

        async def asked(message: Any) -> Any:
            nonlocal questions
            if (message.member, message.body) != ("GetNameOwner", [name]):
                return await call(message)
            questions += 1
            if questions != question:
                return await call(message)
            connection._loop.remove_reader(connection._fd)
            answer = asyncio.ensure_future(call(message))
            there = await until(lambda: _unread(connection), "who has the name")
            await change()
            await until(lambda: _unread(connection) > there, "that it changed")
            connection._loop.add_reader(connection._fd, connection._message_reader)
            return await answer

        connection.call = asked
        return connection

    monkeypatch.setattr(bus_connection, "connect", connected)


def _unread(connection: Any) -> int:
    with contextlib.suppress(BlockingIOError):
        return len(connection._sock.recv(65536, socket.MSG_PEEK))
    return 0


async def until(condition: Callable[[], Any], what: str, limit: float = 10.0) -> Any:
    """The condition's value once it is true."""
    deadline = time.monotonic() + limit
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {limit:g} s for: {what}"
        await asyncio.sleep(0.01)
    return value
