"""Has everything that a router forwards wait: `python slow_links.py SECONDS` in its namespace, as root.

Packets go out by a TUN device to this program, and come back from it later. Prints a line when it is ready.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import sys
import time
from collections import deque

TUNSETIFF = 0x400454CA  # linux/if_tun.h
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
NAME = "slow"
LONGEST_PACKET = 65536

COMMANDS = (
    f"ip link set {NAME} up mtu 1500 txqueuelen 10000",
    *(
        f"ip -{family} {rest}"
        for family in (4, 6)
        for rest in (
            f"route add default dev {NAME} table 100",
            "rule add priority 1 lookup local",
            "rule del priority 0",
            f"rule add priority 2 iif {NAME} lookup main",
            "rule add priority 3 iif lo lookup main",
            "rule add priority 4 lookup 100",
        )
    ),
)


def main(delay: float) -> None:
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", NAME.encode(), IFF_TUN | IFF_NO_PI))
    for command in COMMANDS:
        subprocess.run(command.split(), check=True)
    print("ready", flush=True)
    waiting: deque[tuple[float, bytes]] = deque()
    while True:
        limit = max(waiting[0][0] - time.monotonic(), 0.0) if waiting else None
        if select.select([device], [], [], limit)[0]:
            waiting.append((time.monotonic() + delay, os.read(device, LONGEST_PACKET)))
        while waiting and waiting[0][0] <= time.monotonic():
            os.write(device, waiting.popleft()[1])


if __name__ == "__main__":
    main(float(sys.argv[1]))
