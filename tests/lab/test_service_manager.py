"""A real meshd and the socket that systemd would listen on."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.hosts.host import PATIENCE, Host
from lab.hosts.network import Network


@pytest.fixture
def host(network: Network) -> Host:
    return network.host("gw-berlin")


@pytest.fixture
def systemd(host: Host) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(Path(f"/proc/{host.pid}/root/run/notify")))
        listener.settimeout(20 * PATIENCE)
        yield listener


def until(systemd: socket.socket, line: str) -> None:
    """Hears datagrams until one has the line; the listener's time-out ends the wait."""
    while line not in systemd.recv(4096).decode().split("\n"):
        pass


def test_ready_status_watchdog_and_stopping(host: Host, systemd: socket.socket) -> None:
    host.start_meshd(environment={"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "1000000"})
    assert systemd.recv(4096).decode().split("\n") == ["READY=1", "STATUS=in no mesh"]
    assert host.meshctl("status")["meshes"] == [], "who is ready answers"
    until(systemd, "WATCHDOG=1")
    host.meshctl("create", "home")
    until(systemd, "STATUS=home: connected")
    host.stop_meshd(signal.SIGTERM)
    until(systemd, "STOPPING=1")
    systemd.setblocking(False)
    with pytest.raises(BlockingIOError):
        systemd.recv(4096)
