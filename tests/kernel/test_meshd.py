"""meshd on the kernel's WireGuard, whole. One machine: emulated, several take longer than a join may. In this order."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from lab.hosts.host import Host, wait_until
from lab.hosts.network import Network

BACKEND = os.environ.get("KERNEL_TEST_BACKEND", "kernel")  # the test itself can be tried where there is no kernel's
OTHER = "userspace"
KIND = {"kernel": "wireguard", "userspace": "tun"}


class Gateway:
    """gw-berlin, alone in the mesh home, with an open invite: that is a peer of its interface."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.before = host.network_state()
        host.start_meshd("--backend", "auto")
        host.meshctl("create", "home")
        host.meshctl("invites", "create", "laptop-ada")

    @property
    def status(self) -> Any:
        return self.host.meshctl("status")["meshes"][0]

    def index(self) -> str:
        return self.host.run("cat /sys/class/net/home/ifindex", check=False).stdout

    def show(self, what: str) -> str:
        return self.host.run(["wg", "show", "home", what], check=False).stdout

    def kind(self) -> str:
        found = re.search(r"^\s+(wireguard|tun)\b", self.host.run("ip -d link show home").stdout, re.MULTILINE)
        return found[1] if found else ""


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    network = Network()
    try:
        yield Gateway(network.host("gw-berlin"))
    finally:
        print(network.logs())
        network.close()


def test_the_kernels_wireguard_is_used_and_said_why(gateway: Gateway) -> None:
    status = gateway.status
    assert (status["state"], status["backend"]) == ("connected", BACKEND)
    assert status["backend_reason"].startswith("this kernel has ")
    (check,) = (one for one in gateway.host.meshctl("doctor") if one["check"] == "wireguard")
    assert (check["state"], check["found"]) == ("ok", f"{BACKEND}: {status['backend_reason']}")
    assert gateway.kind() == KIND[BACKEND]
    assert (gateway.host.run("pgrep wireguard-go", check=False).stdout == "") is (BACKEND == "kernel")
    assert gateway.show("public-key").strip() == status["self"]["public_key"]
    assert len(gateway.show("peers").split()) == 1


def test_what_is_removed_by_hand_comes_back(gateway: Gateway) -> None:
    peer, index = gateway.show("peers").strip(), gateway.index()
    gateway.host.run(["wg", "set", "home", "peer", peer, "remove"])
    wait_until(lambda: gateway.show("peers").strip() == peer, 5, "the peer to come back")
    assert gateway.index() == index
    gateway.host.run("ip link del home")
    wait_until(lambda: gateway.show("peers").strip() == peer, 5, "the interface to come back, with its peer")
    assert gateway.index() != index
    wait_until(lambda: gateway.host.ping(gateway.status["self"]["ipv4"], 1), 5, "its address to come back")
    assert (gateway.status["backend"], gateway.kind()) == (BACKEND, KIND[BACKEND])


def test_what_a_killed_meshd_left_is_adopted(gateway: Gateway) -> None:
    before = [gateway.index(), gateway.show("dump")]
    gateway.host.stop_meshd(signal.SIGKILL)
    assert [gateway.index(), gateway.show("dump")] == before
    gateway.host.start_meshd("--backend", "auto")
    wait_until(lambda: gateway.status["state"] == "connected", 10, "the mesh to be connected")
    assert [gateway.index(), gateway.show("dump")] == before


def test_another_backend_is_taken_when_the_interface_goes_down(gateway: Gateway) -> None:
    index = gateway.index()
    gateway.host.stop_meshd()
    gateway.host.start_meshd("--backend", OTHER)
    wait_until(lambda: gateway.status["state"] == "connected", 10, "the mesh to be connected")
    assert (gateway.status["backend"], gateway.index()) == (BACKEND, index)
    if OTHER != BACKEND:
        assert "`meshctl down` and `up` change it" in gateway.status["backend_reason"]
    gateway.host.meshctl("down", "home")
    assert gateway.index() == ""
    gateway.host.meshctl("up", "home")
    wait_until(lambda: gateway.status["state"] == "connected", 10, "the mesh to be connected")
    assert (gateway.status["backend"], gateway.status["backend_reason"]) == (OTHER, "it was asked for")
    assert gateway.kind() == KIND[OTHER]


def test_leaving_leaves_nothing(gateway: Gateway) -> None:
    gateway.host.meshctl("leave", "home", "--yes")
    assert gateway.host.meshctl("status")["meshes"] == []
    assert gateway.host.network_state() == gateway.before
