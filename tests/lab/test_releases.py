"""Members of different releases in one mesh: helpers of packaging/earlier-releases beside those of this tree. They join
through each other, take each other's changes and each other's place, and keep each other's data."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import pytest
from earlier import program, releases, unpack
from lab.cluster import Cluster
from lab.hosts.host import Host, wait_until
from lab.hosts.network import Network

OLDEST, PREVIOUS, PRESENT = "oldest", "previous", "present"


class Releases(Cluster):
    """gw-berlin and gw-oslo run the oldest release at first, gw-paris this tree; a laptop of each."""

    programs: Mapping[str, Sequence[str]] = MappingProxyType({})

    def start(self, host: Host, release: str) -> None:
        if release == PRESENT:
            host.start_meshd()
        else:
            host.start_meshd(program=self.programs[release])

    def restart(self, host: Host, release: str) -> None:
        host.stop_meshd()
        self.start(host, release)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Releases, Host, Host]]:
    """And laptop-ada of the oldest release, laptop-grace of this one."""
    kept = {OLDEST: releases()[0], PREVIOUS: releases()[-1]}
    network = Network()
    try:
        gateways = {name: network.host(name) for name in ("gw-berlin", "gw-paris", "gw-oslo")}
        ada, grace = network.host("laptop-ada"), network.host("laptop-grace")
        made = Releases(network, gateways, {})
        made.programs = {
            name: program(unpack(commit, tmp_path_factory.mktemp(version)), "meshd")
            for name, (version, commit) in kept.items()
        }
        for host, release in zip(
            (*gateways.values(), ada, grace), (OLDEST, PRESENT, OLDEST, OLDEST, PRESENT), strict=True
        ):
            made.start(host, release)
        berlin, paris, oslo = gateways.values()
        key = berlin.meshctl("create", "home")["cluster_key"]
        paris.meshctl("join", "-", network.address("gw-berlin"), input=key)
        oslo.meshctl("join", "-", network.address("gw-paris"), input=key)
        for laptop, through in ((ada, paris), (grace, berlin)):  # each by an invite that the other release made
            text = through.meshctl("invites", "create", laptop.name)["text"]
            laptop.meshctl("join", "-", "--always-on", "--wait", "30", input=text, timeout=90)
        yield made, ada, grace
    finally:
        network.close()


def _all_answer(mesh: Releases, *laptops: Host) -> None:
    addresses = {one["name"]: one["ipv4"] for one in mesh.status(laptops[0])["members"]}
    for host in (*mesh.hosts.values(), *laptops):
        for name, address in addresses.items():
            if name != host.name:
                wait_until(lambda h=host, a=address: h.ping(a, 1) == 1, 20, f"{host.name} to reach {name}")


def test_they_join_through_each_other_and_all_answer(mesh: tuple[Releases, Host, Host]) -> None:
    home, ada, grace = mesh
    _all_answer(home, ada, grace)
    wait_until(lambda: home.voters(ada) == 3, 20, "three voters")
    versions = {one["name"]: one["protocol_version"] for one in home.status(grace)["members"]}
    assert set(versions.values()) == {1}, "one protocol: no one is refused"


def test_changes_of_each_reach_the_other(mesh: tuple[Releases, Host, Host]) -> None:
    home, ada, grace = mesh
    berlin, paris, _ = home.hosts.values()
    home.add(berlin)
    home.add(paris)
    home.check()
    paris.meshctl("peers", "rename", "laptop-ada", "laptop-eve")
    berlin.meshctl("peers", "disable", "laptop-grace")
    wait_until(lambda: ada.ping(_address(home, "laptop-grace"), 1) == 0, 20, "laptop-grace to be out")
    paris.meshctl("peers", "enable", "laptop-grace")
    for host in (ada, grace):
        wait_until(
            lambda h=host: {"laptop-eve", "laptop-grace"} <= {one["name"] for one in home.status(h)["members"]},
            20,
            f"{host.name} to see both names",
        )
    _all_answer(home, ada, grace)


def _address(home: Releases, name: str) -> str:
    members = home.status(next(iter(home.hosts.values())))["members"]
    return next(str(one["ipv4"]) for one in members if one["name"] == name)


def test_each_takes_over_from_the_other(mesh: tuple[Releases, Host, Host]) -> None:
    home, ada, grace = mesh
    home.primary()
    for name, release in (("gw-berlin", OLDEST), ("gw-paris", PRESENT)):
        host = home.hosts[name]
        host.meshctl("nodes", "promote", name)
        wait_until(lambda h=host: home.primary() is h, 30, f"{name} to lead")
        home.add(host)
        host.stop_meshd(signal.SIGKILL)
        survivors = home.others(host)
        for one in survivors:
            home.add(one)
        assert home.primary(*survivors) is not host
        home.start(host, release)
        home.primary()
        home.check()
    _all_answer(home, ada, grace)


def test_an_upgrade_and_a_downgrade_of_every_member_keep_everything(mesh: tuple[Releases, Host, Host]) -> None:
    """Which is also: each release reads what the other one stored."""
    home, ada, grace = mesh
    before = {one["id"]: (one["name"], one["ipv4"], one["public_key"]) for one in home.status(ada)["members"]}
    for release in (PRESENT, PREVIOUS, PRESENT):
        for host in (*home.hosts.values(), ada, grace):
            home.restart(host, release)
            wait_until(
                lambda h=host: (status := home.status(h))["state"] == "connected" and status["writable"],
                30,
                f"{host.name} to be connected with the {release} release",
            )
            if host.name.startswith("gw-"):
                home.add(host)
        home.check()
        _all_answer(home, ada, grace)
        found = home.status(grace)["members"]
        assert {one["id"]: (one["name"], one["ipv4"], one["public_key"]) for one in found} == before
