"""The disk of the only node did not keep what it had confirmed: it says so and leads only when a person knows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from lab.conftest import Lab, make_lab
from lab.hosts.host import Host, wait_until
from lab.hosts.network import Network


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    network = Network()
    try:
        yield make_lab(network, [network.host("gw-berlin")], [network.host("laptop-ada")])
    finally:
        network.close()


def data_check(host: Host) -> dict[str, Any] | None:
    return next((one for one in host.meshctl("doctor") if one["check"] == "data of home"), None)


def test_a_lone_node_that_lost_a_change_says_so_and_has_a_way_out(lab: Lab) -> None:
    berlin, (ada,) = lab.gateways[0], lab.laptops
    ada.meshctl("down")  # what it tells of itself is a change, too
    berlin.meshctl("routes", "add", "203.0.113.0/24")
    revision = berlin.meshctl("routes", "add", "198.51.100.0/24")["revision"]
    assert data_check(berlin) is None
    berlin.power_off()
    (aof,) = (berlin.state / "home/redis/appendonlydir").glob("*.incr.aof")
    os.truncate(aof, aof.stat().st_size - 10)
    berlin.power_on()
    lab.network.attach("gw-berlin")
    berlin.start_meshd()
    check = wait_until(lambda: data_check(berlin), 30, "the loss to be told")
    assert check["state"] == "error"
    assert f"has lost changes that this node had confirmed: revision {revision}" in check["found"]
    assert "nodes promote gw-berlin --force" in check["fix"]
    assert not lab.status(berlin)["writable"]
    for command in (["status"], ["events"], ["nodes", "show", "gw-berlin"]):
        assert "has lost changes" in berlin.meshctl_raw(*command).stdout, command
    refused = berlin.meshctl_raw("routes", "add", "192.0.2.0/28")
    assert (refused.returncode, "see `meshctl doctor`" in refused.stderr) == (1, True)
    asked = berlin.meshctl_raw("nodes", "promote", "gw-berlin", "--force")
    print(asked.stderr)
    assert asked.returncode == 2
    assert f"has lost changes that gw-berlin had confirmed, revision {revision}." in asked.stderr
    berlin.meshctl("nodes", "promote", "gw-berlin", "--force", "--yes")
    assert [route["cidr"] for route in berlin.meshctl("routes", "list")] == ["203.0.113.0/24"]
    berlin.meshctl("routes", "add", "198.51.100.0/24")
    wait_until(lambda: data_check(berlin) is None, 10, "the loss to be told no more")  # looked at now and then
    ada.meshctl("up")
    wait_until(lambda: lab.status(ada)["writable"], 30, "laptop-ada to be in step")
    wait_until(lambda: len(ada.meshctl("routes", "list")) == 2, 10, "laptop-ada to see both routes")


def test_redis_of_a_lone_node_is_killed(lab: Lab) -> None:
    berlin = lab.gateways[0]
    for number in range(3):
        berlin.run("kill -9 $(pidof redis-server)")
        wait_until(lambda: lab.status(berlin)["writable"], 15, "gw-berlin to lead again")
        berlin.meshctl("routes", "add", f"192.0.2.{16 * number}/28")
