"""Kernel or userspace WireGuard: what this machine has, what was asked for, and why (shown by doctor)."""

from __future__ import annotations

import asyncio
import os
import subprocess
from dataclasses import dataclass

from meshd.dataplane.wireguard.userspace import find_binary
from meshd.model.errors import Failed


@dataclass(frozen=True, slots=True)
class Choice:
    backend: str  # "kernel" or "userspace"
    reason: str


async def choose_backend(setting: str) -> Choice:
    """`setting` is auto, kernel or userspace. Raises Failed when what is asked for, or anything at all, is missing."""
    kernel = await asyncio.to_thread(kernel_problem)
    if setting != "userspace" and not kernel:
        return Choice("kernel", "the kernel has WireGuard")
    if setting == "kernel":
        raise Failed(f"kernel WireGuard was asked for, but {kernel}", "modprobe wireguard, or use --backend userspace")
    if not await asyncio.to_thread(os.path.exists, "/dev/net/tun"):
        raise Failed(
            f"no WireGuard: {kernel}, and /dev/net/tun is missing", "load one of the modules wireguard and tun"
        )
    if find_binary() is None:
        raise Failed(f"no WireGuard: {kernel}, and wireguard-go is not installed", "apt install wireguard-go")
    return Choice("userspace", "it was asked for" if setting == "userspace" else f"{kernel}; wireguard-go is installed")


def kernel_problem() -> str:
    """Why kernel WireGuard can't be used here; "" when it can: a link is made and removed again. Blocks."""
    name = f"wgprobe{os.getpid() % 100000}"
    try:
        made = subprocess.run(
            ["ip", "link", "add", name, "type", "wireguard"], capture_output=True, text=True, timeout=10, check=False
        )
        if made.returncode != 0:
            return f"the kernel has no WireGuard ({made.stderr.strip().splitlines()[-1] if made.stderr else 'refused'})"
        subprocess.run(["ip", "link", "delete", name], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"the kernel could not be asked ({error})"
    return ""
