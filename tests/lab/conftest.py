"""Fixtures of the lab: hosts in namespaces, and a small mesh that most tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from lab.hosts.host import PATIENCE, Host
from lab.hosts.network import Network


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/lab" in str(item.path):
            item.add_marker(pytest.mark.root)


@pytest.fixture(scope="session", autouse=True)
def _root() -> None:
    if os.geteuid() != 0:
        pytest.fail("the lab tests need root: they make network namespaces")


@pytest.fixture
def network() -> Iterator[Network]:
    network = Network()
    try:
        yield network
    finally:
        network.close()


@dataclass
class Lab:
    """A mesh `home` of three gateways and two laptops, one of them behind NAT."""

    network: Network
    gateways: list[Host]
    laptops: list[Host]

    @property
    def hosts(self) -> list[Host]:
        return [*self.gateways, *self.laptops]

    def status(self, host: Host) -> Any:
        return host.meshctl("status")["meshes"][0]

    def addresses(self, family: str = "ipv4") -> dict[str, str]:
        return {member["name"]: member[family] for member in self.status(self.gateways[0])["members"]}

    def join_as_node(self, host: Host, through: Host | None = None) -> None:
        key = self.gateways[0].meshctl("key", "show")["cluster_key"]
        host.meshctl("join", "-", self.network.address((through or self.gateways[0]).name), input=key)

    def join_as_peer(self, host: Host, *options: str) -> None:
        text = self.gateways[0].meshctl("invites", "create", host.name, *options)["text"]
        host.meshctl("join", "-", "--always-on", "--wait", f"{15 * PATIENCE:g}", input=text)


def make_lab(network: Network, gateways: list[Host], laptops: list[Host]) -> Lab:
    """Has these hosts form the mesh; the first gateway creates it."""
    lab = Lab(network, gateways, laptops)
    for host in lab.hosts:
        host.start_meshd()
    gateways[0].meshctl("create", "home")
    for host in gateways[1:]:
        lab.join_as_node(host)
    for host in laptops:
        lab.join_as_peer(host)
    return lab


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    network = Network()
    try:
        gateways = [network.host(name) for name in ("gw-berlin", "gw-paris", "gw-oslo")]
        laptops = [network.host("laptop-ada"), network.host("laptop-grace", nat=True)]
        yield make_lab(network, gateways, laptops)
    finally:
        network.close()
