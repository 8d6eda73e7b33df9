"""The only node is lost with its disk: the mesh comes back from a backup, and its members with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.conftest import Lab, make_lab
from lab.hosts.host import BIN, Host, wait_until
from lab.hosts.network import Network

PASSPHRASE = "correct horse battery"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    network = Network()
    try:
        laptops = [network.host("laptop-ada"), network.host("laptop-grace", nat=True)]
        yield make_lab(network, [network.host("gw-berlin")], laptops)
    finally:
        network.close()


def meshctl(host: Host, *words: str, passphrase: str = PASSPHRASE) -> tuple[int, str]:
    line = [str(BIN / "meshctl"), "--timeout", "25", *words]
    done = host.run(line, check=False, environment={"MESHD_PASSPHRASE": passphrase})
    return done.returncode, done.stdout + done.stderr


def routes(host: Host) -> list[str]:
    return [route["cidr"] for route in host.meshctl("routes", "list")]


def lose_disk(network: Network, host: Host) -> None:
    """A machine without power comes back with an empty disk."""
    shutil.rmtree(host.state)
    host.state.mkdir(mode=0o700)
    host.power_on()
    network.attach(host.name)
    host.start_meshd()


def test_the_only_node_is_lost_and_restored(lab: Lab, tmp_path: Path) -> None:
    berlin, (ada, grace) = lab.gateways[0], lab.laptops
    berlin.meshctl("routes", "add", "203.0.113.0/24")
    berlin.meshctl("peers", "disable", "laptop-grace")
    berlin.meshctl("peers", "enable", "laptop-grace")
    before = lab.status(berlin)
    key = berlin.meshctl("key", "show")
    backup = tmp_path / "home.backup"
    status, text = meshctl(berlin, "backup", str(backup))
    assert status == 0, text
    assert meshctl(berlin, "backup", str(backup))[0] == 1, "it overwrites nothing"
    assert meshctl(ada, "backup", str(backup.with_name("other")))[0] == 1, "a peer has nothing to back up"
    berlin.power_off()
    lose_disk(lab.network, berlin)
    status, text = meshctl(berlin, "restore", str(backup), passphrase="wrong horse battery")
    assert (status, "the passphrase is wrong" in text) == (1, True)
    assert berlin.meshctl("status")["meshes"] == []
    status, text = meshctl(berlin, "restore", str(backup))
    assert status == 0, text
    after = lab.status(berlin)
    assert [one["name"] for one in after["members"]] == [one["name"] for one in before["members"]]
    assert after["self"]["ipv4"] == before["self"]["ipv4"]
    assert after["self"]["public_key"] != before["self"]["public_key"]
    assert berlin.meshctl("key", "show") == key
    assert [route["cidr"] for route in berlin.meshctl("routes", "list")] == ["203.0.113.0/24"]
    # The laptops hear of the new key outside of the tunnel, by themselves.
    for host in (ada, grace):
        wait_until(lambda h=host: h.ping(before["self"]["ipv4"], 1), 60, f"{host.name} to reach gw-berlin")
        wait_until(lambda h=host: lab.status(h)["writable"], 20, f"{host.name} to be in step")
    address = lab.addresses()["laptop-grace"]
    wait_until(lambda: ada.ping(address, 1), 30, "laptop-ada to reach laptop-grace")
    berlin.meshctl("peers", "rename", "laptop-grace", "laptop-g")
    lab.join_as_peer(lab.network.host("laptop-mary").with_meshd())


def test_a_stranger_hears_nothing_from_outside(lab: Lab) -> None:
    """A machine that was removed asks as the others did; it is no member any more."""
    berlin, ada = lab.gateways[0], lab.laptops[0]
    ada.stop_meshd()
    berlin.meshctl("peers", "remove", "laptop-ada")
    revision = lab.status(berlin)["revision"]
    ada.start_meshd()
    wait_until(lambda: "refused" in berlin.log() and "only members are told" in berlin.log(), 45, "the refusal")
    assert lab.status(ada)["revision"] < revision


@pytest.mark.parametrize("names", [("gw-berlin", "gw-paris"), ("gw-paris", "gw-berlin")], ids=["younger", "older"])
def test_a_node_that_was_away_for_a_restore_is_found(names: tuple[str, str], tmp_path: Path) -> None:
    """gw-paris, which leads by itself when it is back and is the older one: it follows the mesh that was restored."""
    network = Network()
    try:
        hosts = {name: network.host(name) for name in names}
        pair = make_lab(network, [hosts[name] for name in names], [network.host("laptop-ada")])
        berlin, paris, ada = hosts["gw-berlin"], hosts["gw-paris"], pair.laptops[0]
        wait_until(lambda: all(one["voter"] for one in berlin.meshctl("nodes", "list")), 30, "both to vote")
        backup = tmp_path / "home.backup"
        status, text = meshctl(berlin, "backup", str(backup))
        assert status == 0, text
        paris.meshctl("routes", "add", "198.51.100.0/24")  # after the backup: it is lost
        paris.power_off()
        berlin.power_off()
        lose_disk(network, berlin)
        status, text = meshctl(berlin, "restore", str(backup))
        assert status == 0, text
        berlin.meshctl("routes", "add", "203.0.113.0/24")
        paris.power_on()
        network.attach("gw-paris")
        paris.start_meshd()

        def one_mesh() -> bool:
            here, there = pair.status(berlin), pair.status(paris)
            same = (here["epoch"], here["revision"]) == (there["epoch"], there["revision"])
            return same and here["primary"] == there["primary"] and there["writable"]

        wait_until(one_mesh, 60, "gw-paris to follow the restored mesh")
        wait_until(lambda: all(one["voter"] for one in paris.meshctl("nodes", "list")), 30, "both to vote again")
        assert [route["cidr"] for route in paris.meshctl("routes", "list")] == ["203.0.113.0/24"]
        paris.meshctl("routes", "add", "192.0.2.128/25")
        told = paris.meshctl_raw("events").stdout
        assert "restored meanwhile: new keys of gw-berlin" in told
        assert "is dropped; a copy is in" in told
        assert list((paris.state / "home").glob("replaced-*"))
        address = pair.status(paris)["self"]["ipv4"]
        for host in (berlin, ada):
            wait_until(lambda h=host: h.ping(address, 1), 60, f"{host.name} to reach gw-paris")
    finally:
        network.close()


def test_nodes_that_go_on_beside_a_restored_mesh_say_so(tmp_path: Path) -> None:
    """gw-paris and gw-oslo were only away, and are a majority: a person has to decide. Then gw-paris goes down, so that
    gw-oslo misses it, finds the restored mesh, and gw-paris after it."""
    network = Network()
    try:
        names = ["gw-berlin", "gw-paris", "gw-oslo"]
        lab = make_lab(network, [network.host(name) for name in names], [])
        berlin, paris, oslo = lab.gateways
        wait_until(lambda: all(one["voter"] for one in berlin.meshctl("nodes", "list")), 30, "all to vote")
        backup = tmp_path / "home.backup"
        status, text = meshctl(berlin, "backup", str(backup))
        assert status == 0, text
        for host in (paris, oslo, berlin):
            host.power_off()
        lose_disk(network, berlin)
        status, text = meshctl(berlin, "restore", str(backup))
        assert status == 0, text
        berlin.meshctl("routes", "add", "203.0.113.0/24")
        for host in (paris, oslo):
            host.power_on()
            network.attach(host.name)
            host.start_meshd()
        wait_until(lambda: lab.status(oslo)["writable"], 30, "gw-paris and gw-oslo to go on")
        oslo.meshctl("routes", "add", "198.51.100.0/24")

        def told(host: Host) -> list[dict[str, str]]:
            done = host.meshctl_raw("--json", "doctor")
            return [one for one in json.loads(done.stdout) if one["check"] == "one home" and one["state"] == "error"]

        for host in (paris, oslo):
            (check,) = wait_until(lambda h=host: told(h), 60, f"{host.name} to say that there are two")
            assert "gw-berlin goes on as another mesh home" in host.meshctl_raw("events").stdout
            assert "meshctl down home" in check["fix"]
        wait_until(lambda: lab.status(oslo)["writable"], 10, "an election among the two, if there is one, to end")
        assert lab.status(oslo)["primary"] != "gw-berlin", "nothing is done about it"
        assert routes(oslo) == ["198.51.100.0/24"]
        paris.meshctl("down", "home")
        wait_until(lambda: lab.status(oslo)["primary"] == "gw-berlin", 60, "gw-oslo to follow the restored mesh")
        paris.meshctl("up", "home")
        wait_until(lambda: lab.status(paris)["primary"] == "gw-berlin", 60, "gw-paris to follow the restored mesh")
        for host in (paris, oslo):
            wait_until(lambda h=host: lab.status(h)["writable"], 30, f"{host.name} to follow")
            wait_until(lambda h=host: routes(h) == ["203.0.113.0/24"], 30, f"{host.name} to have the restored data")
            assert told(host) == []
    finally:
        network.close()


def test_the_newest_of_two_restores_is_followed(tmp_path: Path) -> None:
    """One backup, restored twice, after gw-paris was forced to lead without gw-berlin: the backup knows of nothing."""
    network = Network()
    try:
        names = ["gw-berlin", "gw-paris"]
        pair = make_lab(network, [network.host(name) for name in names], [network.host("laptop-ada")])
        (berlin, paris), ada = pair.gateways, pair.laptops[0]
        wait_until(lambda: all(one["voter"] for one in berlin.meshctl("nodes", "list")), 30, "both to vote")
        backup = tmp_path / "home.backup"
        status, text = meshctl(berlin, "backup", str(backup))
        assert status == 0, text
        berlin.power_off()
        wait_until(lambda: pair.status(paris)["primary"] is None, 20, "gw-paris to miss gw-berlin")
        paris.meshctl("nodes", "promote", "gw-paris", "--force", "--yes")
        paris.meshctl("routes", "add", "198.51.100.0/24")
        epochs = [pair.status(paris)["epoch"]]
        wait_until(lambda: pair.status(ada)["epoch"] >= epochs[0], 30, "laptop-ada to follow gw-paris")
        paris.power_off()
        for _ in range(2):
            lose_disk(network, berlin)
            status, text = meshctl(berlin, "restore", str(backup))
            assert status == 0, text
            wait_until(lambda: pair.status(berlin)["writable"], 20, "the restored mesh to take changes")
            epochs.append(pair.status(berlin)["epoch"])
            wait_until(lambda: pair.status(ada)["epoch"] >= epochs[-1], 60, "laptop-ada to hear of the restore")
            wait_until(lambda: ada.ping(pair.status(berlin)["self"]["ipv4"], 1), 30, "laptop-ada to reach gw-berlin")
            if len(epochs) == 2:
                berlin.power_off()
        assert epochs == sorted(set(epochs))
        paris.power_on()
        network.attach("gw-paris")
        paris.start_meshd()
        wait_until(lambda: pair.status(paris)["primary"] == "gw-berlin", 60, "gw-paris to follow the second restore")
        wait_until(lambda: pair.status(paris)["writable"], 30, "gw-paris to follow")
        wait_until(lambda: routes(paris) == [], 30, "gw-paris to have the restored data")
        assert list((paris.state / "home").glob("replaced-*")), "what was forced is kept aside"
    finally:
        network.close()
