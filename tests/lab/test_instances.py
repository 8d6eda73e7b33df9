"""Two helpers on one machine, each with its own folders; and a second one on the same folder, which is refused."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest
from lab.hosts.host import BIN, Host, wait_until
from lab.hosts.network import Network

OTHER = ["--state-dir", "/var/lib/meshd/other", "--run-dir", "/run/meshd-other"]
SOCKET = ["--socket", "/run/meshd-other/meshd.sock"]


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[Host, Host]]:
    """gw-berlin with its helper, and gw-paris."""
    network = Network()
    try:
        berlin = network.host("gw-berlin").with_meshd()
        berlin.meshctl("create", "home")
        paris = network.host("gw-paris").with_meshd()
        paris.meshctl("join", "-", network.address("gw-berlin"), input=berlin.meshctl("key", "show")["cluster_key"])
        yield berlin, paris
    finally:
        network.close()


def states(host: Host, *options: str) -> list[tuple[str, str, bool]]:
    found: list[dict[str, Any]] = host.meshctl(*options, "status")["meshes"]
    return [(mesh["name"], mesh["state"], mesh["writable"]) for mesh in found]


def is_well(host: Host) -> None:
    """Connected at any time; on a busy machine it may have missed the other node, and waits for its lease just now."""
    assert [(name, state) for name, state, _ in states(host)] == [("home", "connected")]
    wait_until(lambda: states(host) == [("home", "connected", True)], 5, f"{host.name} to take changes")


def test_a_second_one_on_the_same_folder_is_refused(hosts: tuple[Host, Host]) -> None:
    berlin, _ = hosts
    done = berlin.run([str(BIN / "meshd")], check=False, timeout=10)
    assert done.returncode == 1
    assert "another meshd (pid " in done.stderr
    assert "--run-dir" in done.stderr
    is_well(berlin)


def test_two_with_their_own_folders_do_not_disturb_each_other(hosts: tuple[Host, Host]) -> None:
    berlin, paris = hosts
    second = berlin.record([str(BIN / "meshd"), *OTHER], "other.log")
    wait_until(lambda: berlin.meshctl_raw(*SOCKET, "status").returncode == 0, 20, "the second helper")
    berlin.meshctl(*SOCKET, "create", "work", "--node-pool", "172.20.0.0/16", "--peer-pool", "172.21.0.0/16")
    wait_until(lambda: states(berlin, *SOCKET) == [("work", "connected", True)], 10, "the second mesh")
    is_well(berlin)
    berlin.send_signal(second, signal.SIGKILL)
    second.wait(10)
    second = berlin.record([str(BIN / "meshd"), *OTHER], "other.log")
    wait_until(
        lambda: berlin.meshctl_raw(*SOCKET, "wait", "--timeout", "1").returncode == 0, 20, "the second helper again"
    )
    berlin.meshctl(*SOCKET, "leave", "work", "--yes")
    wait_until(lambda: berlin.run("cat /proc/sys/net/ipv4/ip_forward").stdout == "1\n", 5, "forwarding for home")
    assert berlin.run("ip -br link").stdout.count("home") == 1
    assert paris.ping("10.11.0.1") == 3
    is_well(berlin)
    berlin.send_signal(second)
    assert second.wait(20) == 0
    assert "Traceback" not in berlin.recorded("other.log")
