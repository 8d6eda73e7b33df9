"""Talks to systemd as sd_notify(3) says: one datagram to $NOTIFY_SOCKET. Does nothing without one."""

from __future__ import annotations

import os
import socket


def notify(message: str) -> None:
    """For example `READY=1` or `STOPPING=1`."""
    target = os.environ.get("NOTIFY_SOCKET", "")
    if not target.startswith(("/", "@")):
        return
    address = "\0" + target[1:] if target.startswith("@") else target
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.connect(address)
            channel.send(message.encode())
        except OSError:
            return


def watchdog_interval() -> float | None:
    """Seconds between `WATCHDOG=1` messages, half of what systemd allows; None when it expects none."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        return int(os.environ["WATCHDOG_USEC"]) / 2e6
    except (KeyError, ValueError):
        return None
