"""Which WireGuard this machine uses, and why (shown by doctor). In this release that is wireguard-go everywhere."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

from meshd.dataplane.wireguard.userspace import find_binary
from meshd.model.errors import Failed


@dataclass(frozen=True, slots=True)
class Choice:
    backend: str  # "userspace"
    reason: str


async def choose_backend(setting: str) -> Choice:
    """`setting` is auto, kernel or userspace. Raises Failed when what is asked for, or what it needs, is missing."""
    if setting == "kernel":
        raise Failed("this release can't use the kernel's WireGuard yet", "use --backend userspace, or leave it out")
    if not await asyncio.to_thread(os.path.exists, "/dev/net/tun"):
        raise Failed("wireguard-go needs /dev/net/tun, which is missing", "modprobe tun")
    if find_binary() is None:
        raise Failed("wireguard-go is not installed", "apt install wireguard-go")
    return Choice("userspace", "it was asked for" if setting == "userspace" else "this release uses wireguard-go")
