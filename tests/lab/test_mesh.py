"""The main job on real parts: create, join, reach one another, change, and leave nothing behind."""

from __future__ import annotations

import re
import signal
import time

import pytest
from lab.conftest import Lab
from lab.hosts.host import CommandFailed, Host, wait_until
from lab.hosts.network import Network


def test_every_pair_reaches_each_other(lab: Lab) -> None:
    for family in ("ipv4", "ipv6"):
        for host in lab.hosts:
            for name, address in lab.addresses(family).items():
                if name != host.name:
                    wait_until(lambda h=host, a=address: h.ping(a, 1), 15, f"{host.name} to reach {name} by {family}")


def test_addresses_are_given_in_order(lab: Lab) -> None:
    assert lab.addresses() == {
        "gw-berlin": "10.11.0.1",
        "gw-paris": "10.12.0.1",
        "gw-oslo": "10.13.0.1",
        "laptop-ada": "10.51.0.1",
        "laptop-grace": "10.51.0.2",
    }


def test_all_members_have_one_view(lab: Lab) -> None:
    revision = lab.status(lab.gateways[0])["revision"]
    for host in lab.hosts:
        wait_until(lambda h=host: lab.status(h)["revision"] >= revision, 5, f"{host.name} to have revision {revision}")
        status = lab.status(host)
        assert status["state"] == "connected", status["reason"]
        assert status["primary"] == "gw-berlin"
        assert status["writable"]


def test_replicas_hold_what_the_primary_has(lab: Lab) -> None:
    def last_id(host: Host) -> str:
        return host.run(
            "redis-cli --no-auth-warning -s /run/meshd/home/redis.sock --user meshd "
            "-a $(cat /var/lib/meshd/home/redis/redis.password) XREVRANGE changes + - COUNT 1"
        ).stdout.splitlines()[0]

    newest = last_id(lab.gateways[0])
    assert re.fullmatch(r"\d+-\d+", newest)
    for host in lab.gateways[1:]:
        wait_until(lambda h=host: last_id(h) == newest, 5, f"{host.name} to have {newest}")


def test_a_route_behind_a_gateway(lab: Lab) -> None:
    ada, paris = lab.laptops[0], lab.gateways[1]
    lan = lab.network.add_lan_host("gw-paris", "203.0.113.0/24", "203.0.113.9")
    paris.meshctl("routes", "add", "203.0.113.0/24")
    wait_until(lambda: ada.ping("203.0.113.9", 1), 5, "the host behind gw-paris to answer")
    assert lan.ping("203.0.113.1", 1) == 1
    (route,) = ada.meshctl("routes", "list")
    assert (route["cidr"], route["nodes"], route["chosen"]) == ("203.0.113.0/24", ["gw-paris"], "gw-paris")
    with pytest.raises(CommandFailed, match=r"10\.11\.0\.0/16"):
        paris.meshctl("routes", "add", "10.11.5.0/24")
    paris.meshctl("routes", "remove", "203.0.113.0/24")
    wait_until(lambda: not ada.ping("203.0.113.9", 1), 5, "the route to be gone")
    assert ada.meshctl("routes", "list") == []


def test_a_peer_that_is_no_admin_is_told_so(lab: Lab) -> None:
    ada, berlin = lab.laptops[0], lab.gateways[0]
    done = ada.meshctl_raw("routes", "add", "203.0.113.0/24", "--node", "gw-paris")
    assert done.returncode == 4
    assert "laptop-ada is not an admin of home" in done.stderr
    assert "meshctl peers admin laptop-ada on" in done.stderr
    berlin.meshctl("peers", "admin", "laptop-ada", "on")
    wait_until(
        lambda: ada.meshctl_raw("peers", "rename", "laptop-grace", "laptop-g").returncode == 0, 5, "the admin's change"
    )
    berlin.meshctl("peers", "rename", "laptop-g", "laptop-grace")
    berlin.meshctl("peers", "admin", "laptop-ada", "off")


def test_a_disabled_peer_loses_access_and_gets_it_back(lab: Lab) -> None:
    ada, berlin = lab.laptops[0], lab.gateways[0]
    addresses = lab.addresses()
    others = [addresses[name] for name in ("gw-paris", "gw-oslo", "laptop-grace")]
    for address in others:
        wait_until(lambda a=address: ada.ping(a, 1), 15, f"{address} to answer")
    pings = [
        ada.record(["ping", "-i", "0.1", "-D", "-W", "1", address], f"ping{number}")
        for number, address in enumerate(others)
    ]
    wait_until(lambda: all(ada.recorded(f"ping{n}").count("bytes from") > 3 for n in range(3)), 10, "pings")
    berlin.meshctl("peers", "disable", "laptop-ada")
    done = time.time()
    time_limit = done + 4
    wait_until(lambda: time.time() > time_limit, 6, "two seconds and some more to pass")
    for process in pings:
        process.terminate()
        process.wait(5)
    for number in range(3):
        text = ada.recorded(f"ping{number}")
        last = max(float(match) for match in re.findall(r"^\[([\d.]+)\] \d+ bytes from", text, re.MULTILINE))
        print(f"last answer from {others[number]} {last - done:+.3f} s after the change was reported done")
        assert last - done < 2.0
    berlin.meshctl("peers", "enable", "laptop-ada")
    for address in others:
        wait_until(lambda a=address: ada.ping(a, 1), 25, f"{address} to answer again")


def test_names_resolve_everywhere(lab: Lab) -> None:
    addresses = lab.addresses()
    for host in lab.hosts:
        for name, address in addresses.items():
            found = host.run(["getent", "ahostsv4", f"{name}.home.wg"]).stdout
            assert address in found


def test_what_is_removed_by_hand_comes_back(lab: Lab) -> None:
    ada = lab.laptops[0]
    ada.run("ip route del 10.12.0.0/16; nft flush table inet meshd-home")
    wait_until(lambda: "10.12.0.0/16" in ada.run("ip route").stdout, 5, "the route to come back")
    wait_until(lambda: "drop" in ada.run("nft list table inet meshd-home").stdout, 5, "the table to come back")
    events = ada.meshctl_raw("--json", "events").stdout
    assert "10.12.0.0/16" in events


def test_meshd_restarts_without_losing_a_packet(lab: Lab) -> None:
    oslo, paris = lab.gateways[2], lab.gateways[1]
    address = lab.addresses()["gw-oslo"]
    for number in (signal.SIGTERM, signal.SIGKILL):
        flood = paris.record(["ping", "-q", "-i", "0.01", "-c", "500", address], "flood")
        oslo.stop_meshd(number)
        oslo.start_meshd()
        assert flood.wait(30) == 0
        assert " 0% packet loss" in paris.recorded("flood")
        wait_until(lambda: lab.status(oslo)["state"] == "connected", 15, "gw-oslo to be connected again")
        assert lab.status(oslo)["self"]["ipv4"] == address


def test_wireguard_go_is_started_again(lab: Lab) -> None:
    grace = lab.laptops[1]
    grace.run("pkill -9 wireguard-go")
    wait_until(lambda: lab.status(grace)["state"] == "connected", 20, "laptop-grace to be connected again")
    assert grace.ping(lab.addresses()["gw-berlin"], 1) == 1


def test_a_machine_that_reboots_comes_back(lab: Lab) -> None:
    paris = lab.gateways[1]
    address = lab.addresses()["gw-paris"]
    paris.power_off()
    paris.power_on()
    lab.network.attach("gw-paris")
    paris.start_meshd()
    wait_until(lambda: lab.status(paris)["state"] == "connected", 20, "gw-paris to be connected again")
    assert lab.status(paris)["self"]["ipv4"] == address
    wait_until(lambda: lab.gateways[0].ping(address, 1), 10, "gw-berlin to reach gw-paris")


def test_leaving_leaves_nothing(network: Network) -> None:
    berlin, ada = network.host("gw-berlin"), network.host("laptop-ada")
    before = {host.name: host.network_state() for host in (berlin, ada)}
    for host in (berlin, ada):
        host.start_meshd()
    berlin.meshctl("create", "home")
    text = berlin.meshctl("invites", "create", "laptop-ada")["text"]
    ada.meshctl("join", "-", "--always-on", input=text)
    ada.stop_meshd(signal.SIGKILL)
    ada.start_meshd()
    ada.meshctl("leave", "home", "--yes")
    assert [one["name"] for one in berlin.meshctl("nodes", "list")] == ["gw-berlin"]
    wait_until(lambda: berlin.meshctl("peers", "list") == [], 5, "laptop-ada to be gone from the list")
    berlin.meshctl("leave", "home", "--yes")
    for host in (berlin, ada):
        assert host.network_state() == before[host.name]
        assert host.meshctl("status")["meshes"] == []
