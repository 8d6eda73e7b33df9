"""A machine with a newer release whose messages differ: it is refused, and both ends say why."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab.conftest import Lab, make_lab
from lab.hosts.host import BIN, wait_until
from lab.hosts.network import Network

NEWER = "import meshproto; meshproto.PROTOCOL_VERSION = 2; from meshd.main import run; run()"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    network = Network()
    try:
        gateways = [network.host(name) for name in ("gw-berlin", "gw-paris")]
        yield make_lab(network, gateways, [network.host("laptop-ada")])
    finally:
        network.close()


def test_the_version_of_each_member_is_shown(lab: Lab) -> None:
    for host in lab.hosts:
        wait_until(
            lambda h=host: {one["protocol_version"] for one in lab.status(h)["members"]} == {1}, 10, "the versions"
        )
    assert "protocol  version 1" in lab.gateways[0].meshctl_raw("nodes", "show", "gw-paris").stdout


def test_a_laptop_of_another_version_is_told_and_keeps_its_tunnel(lab: Lab) -> None:
    ada = lab.laptops[0]
    ada.stop_meshd()
    ada.start_meshd(program=[str(BIN / "python"), "-c", NEWER])
    wait_until(lambda: "refuses" in lab.status(ada)["reason"], 15, "laptop-ada to be told")
    reason = lab.status(ada)["reason"]
    assert "laptop-ada speaks protocol version 2, this node 1 (install the same release of meshtui on both)" in reason
    wait_until(lambda: lab.status(ada)["state"] == "stale", 10, "laptop-ada to be stale")
    assert ada.ping("10.11.0.1", 1) == 1
    said = "laptop-ada is refused: it speaks protocol version 2, this node 1"
    wait_until(lambda: any(said in one.meshctl_raw("events").stdout for one in lab.gateways), 5, "a node to say so")
    done = ada.meshctl_raw("peers", "rename", "laptop-ada", "laptop-eve")
    assert done.returncode == 1
    assert "protocol version" in done.stderr
    ada.stop_meshd()
    ada.start_meshd()
    wait_until(lambda: lab.status(ada)["state"] == "connected", 15, "laptop-ada to be connected with the right version")
    assert lab.status(ada)["reason"] == ""


def test_a_node_of_another_version_does_not_stop_the_others(lab: Lab) -> None:
    berlin, paris = lab.gateways
    paris.stop_meshd()
    paris.start_meshd(program=[str(BIN / "python"), "-c", NEWER])
    said = "gw-berlin is refused: it speaks protocol version 1, this node 2"
    wait_until(lambda: said in paris.meshctl_raw("events").stdout, 15, "gw-paris to say so")
    assert paris.ping("10.11.0.1", 1) == 1
    paris.stop_meshd()
    paris.start_meshd()
    wait_until(lambda: lab.status(paris)["writable"], 20, "gw-paris to be in step")
    berlin.meshctl("routes", "add", "203.0.113.0/24")
