"""Talks to systemd as sd_notify(3) and sd_watchdog_enabled(3) say: datagrams to $NOTIFY_SOCKET. Silent without one."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable

STATUS_INTERVAL = 2.0
"""Seconds after which a changed status is told at the latest."""
SEND_LIMIT = 0.5
"""Seconds to wait while systemd's queue is full: READY=1 must not be lost, and the event loop not be held for long."""

log = logging.getLogger(__name__)


def notify(*lines: str) -> None:
    """Sends for example `READY=1`, `STATUS=…`; several in one datagram."""
    target = os.environ.get("NOTIFY_SOCKET", "")
    if not target.startswith(("/", "@")):
        return
    address = "\0" + target[1:] if target.startswith("@") else target
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.settimeout(SEND_LIMIT)
        try:
            channel.connect(address)
            channel.send("\n".join(lines).encode())
        except OSError as error:
            log.warning("the service manager was not told %s: %s", " ".join(lines), error)


def watchdog_interval() -> float | None:
    """Seconds between `WATCHDOG=1` messages, half of what systemd allows; None when it expects none."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        allowed = int(os.environ["WATCHDOG_USEC"])
    except (KeyError, ValueError):
        return None
    return allowed / 2e6 if allowed > 0 else None


async def keep_informed(stopping: asyncio.Event, status: Callable[[], str]) -> None:
    """Says that the helper is ready, then its status as it changes, and that it is alive, until it stops."""
    told = status()
    notify("READY=1", f"STATUS={told}")
    watchdog = watchdog_interval()
    while not stopping.is_set():
        try:
            async with asyncio.timeout(min(watchdog or STATUS_INTERVAL, STATUS_INTERVAL)):
                await stopping.wait()
        except TimeoutError:
            present = status()
            lines = [] if present == told else [f"STATUS={present}"]
            if watchdog is not None:
                lines.append("WATCHDOG=1")
            if lines:
                notify(*lines)
            told = present
    notify("STOPPING=1", "STATUS=stopping; tunnels stay up")
