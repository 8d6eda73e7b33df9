"""What systemd hears, on real datagram sockets, by path and by abstract name."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from meshd import service_manager


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The other end, as systemd has it."""
    name = f"@meshd-test-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)
        listener.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        monkeypatch.delenv("WATCHDOG_USEC", raising=False)
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        yield listener


async def heard(systemd: socket.socket) -> list[str]:
    return (await asyncio.wait_for(asyncio.get_running_loop().sock_recv(systemd, 4096), 10)).decode().split("\n")


async def told(stopping: asyncio.Event, status: Callable[[], str]) -> asyncio.Task[None]:
    return asyncio.create_task(service_manager.keep_informed(stopping, status))


async def test_ready_then_stopping(systemd: socket.socket) -> None:
    stopping = asyncio.Event()
    task = await told(stopping, lambda: "home: connected")
    assert await heard(systemd) == ["READY=1", "STATUS=home: connected"]
    stopping.set()
    assert await heard(systemd) == ["STOPPING=1", "STATUS=stopping; tunnels stay up"]
    await task


async def test_a_status_is_told_again_only_when_it_changes(
    systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_manager, "STATUS_INTERVAL", 0.01)
    stopping, looked_often, looks, line = asyncio.Event(), asyncio.Event(), 0, "in no mesh"

    def status() -> str:
        nonlocal looks
        looks += 1
        if looks == 5:
            looked_often.set()
        return line

    task = await told(stopping, status)
    await heard(systemd)
    await asyncio.wait_for(looked_often.wait(), 10)
    with pytest.raises(BlockingIOError):
        systemd.recv(4096)
    line = "home: connecting"
    assert await heard(systemd) == ["STATUS=home: connecting"]
    stopping.set()
    await task


async def test_the_watchdog_is_fed_at_half_its_time(systemd: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert service_manager.watchdog_interval() == 0.05
    stopping = asyncio.Event()
    task = await told(stopping, lambda: "in no mesh")
    await heard(systemd)
    for _ in range(3):
        assert await heard(systemd) == ["WATCHDOG=1"]
    stopping.set()
    await task


@pytest.mark.parametrize("asked", ["", "0", "-5", "soon", None])
def test_no_watchdog_without_a_sensible_time(monkeypatch: pytest.MonkeyPatch, asked: str | None) -> None:
    if asked is None:
        monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    else:
        monkeypatch.setenv("WATCHDOG_USEC", asked)
    assert service_manager.watchdog_interval() is None


def test_a_watchdog_of_another_process_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getppid()))
    assert service_manager.watchdog_interval() is None


def test_a_socket_that_nobody_listens_on_is_only_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    service_manager.notify("READY=1")
    assert "was not told READY=1" in caplog.text


@pytest.mark.parametrize("target", ["", "vsock:2:1234", "relative/path"])
def test_other_kinds_of_sockets_are_left_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, target: str
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", target)
    service_manager.notify("READY=1")
    assert caplog.text == ""


def test_a_full_queue_does_not_hold_the_helper(
    systemd: socket.socket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(service_manager, "SEND_LIMIT", 0.01)
    for _ in range(2000):  # more than net.unix.max_dgram_qlen
        service_manager.notify("WATCHDOG=1")
        if caplog.text:
            break
    assert "timed out" in caplog.text
