"""The VM itself: its kernel makes WireGuard links, and they carry packets between network namespaces."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

LEFT, RIGHT = "vm-left", "vm-right"


def run(*command: str, text: str | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, input=text)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout.strip()


@pytest.fixture
def namespaces() -> Iterator[None]:
    for name in (LEFT, RIGHT):
        run("ip", "netns", "add", name)
    try:
        run("ip", "link", "add", "eth0", "netns", LEFT, "type", "veth", "peer", "name", "eth0", "netns", RIGHT)
        yield
    finally:
        for name in (LEFT, RIGHT):
            run("ip", "netns", "del", name)


@pytest.mark.usefixtures("namespaces")
def test_the_kernels_wireguard_carries_packets() -> None:
    secrets = {name: run("wg", "genkey") for name in (LEFT, RIGHT)}
    for number, (name, other) in enumerate(((LEFT, RIGHT), (RIGHT, LEFT)), start=1):
        within = ["ip", "netns", "exec", name]
        run(*within, "ip", "address", "add", f"192.0.2.{number}/24", "dev", "eth0")
        run(*within, "ip", "link", "set", "eth0", "up")
        run(*within, "ip", "link", "add", "wg0", "type", "wireguard")
        run(*within, "ip", "address", "add", f"10.11.0.{number}/24", "dev", "wg0")
        run(
            *within, "wg", "set", "wg0", "listen-port", "10100", "private-key", "/dev/stdin",
            "peer", run("wg", "pubkey", text=secrets[other]),
            "allowed-ips", f"10.11.0.{3 - number}/32", "endpoint", f"192.0.2.{3 - number}:10100",
            text=secrets[name],
        )  # fmt: skip
        run(*within, "ip", "link", "set", "wg0", "up")
    assert " 0% packet loss" in run("ip", "netns", "exec", LEFT, "ping", "-q", "-c", "5", "-W", "10", "10.11.0.2")
    assert run("ip", "netns", "exec", RIGHT, "wg", "show", "wg0", "latest-handshakes").split("\t")[1] != "0"
