"""What packages do when they are removed, `meshd --take-down`; a machine where only the hosts file can be written."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab.hosts.host import BIN, Host, wait_until
from lab.hosts.network import Network


@pytest.fixture
def host() -> Iterator[Host]:
    network = Network()
    try:
        yield network.host("gw-berlin")
    finally:
        network.close()


def test_everything_that_outlives_meshd_is_ended_and_comes_back(host: Host) -> None:
    before = host.network_state()
    host.start_meshd()
    host.meshctl("create", "home")
    wait_until(lambda: "gw-berlin.home.wg" in host.run("cat /etc/hosts").stdout, 10, "the names")
    refused = host.run(f"{BIN}/meshd --take-down", check=False)
    assert refused.returncode == 1
    assert "another meshd" in refused.stderr
    host.stop_meshd()
    assert "redis-server" in host.run("ps -e -o comm").stdout
    assert "home" in host.run("ip -o link").stdout
    host.run(f"{BIN}/meshd --take-down")
    running = host.run("ps -e -o comm").stdout
    assert "redis-server" not in running
    assert "wireguard-go" not in running
    left = {key: text for key, text in host.network_state().items() if key != "state"}
    assert left == {key: text for key, text in before.items() if key != "state"}
    host.run(f"{BIN}/meshd --take-down")
    host.start_meshd()
    wait_until(lambda: host.meshctl("status")["meshes"][0]["writable"], 10, "the mesh to be back")


def test_names_are_written_where_nothing_else_in_etc_can_be(host: Host) -> None:
    host.run("mount --bind /etc/hosts /etc/hosts && mount -o remount,bind,ro /etc && ! touch /etc/x")
    before = host.run("cat /etc/hosts").stdout
    host.start_meshd()
    host.meshctl("create", "home")
    wait_until(lambda: "gw-berlin.home.wg" in host.run("cat /etc/hosts").stdout, 10, "the names")
    host.meshctl("leave", "home", "--yes")
    assert host.run("cat /etc/hosts").stdout == before
    host.stop_meshd()
