"""The main job on real parts: create, join, reach one another, change, and leave nothing behind."""

from __future__ import annotations

import json
import re
from typing import Any

from lab.conftest import Lab
from lab.hosts.host import Host, wait_until


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
        assert status["primary"] == lab.status(lab.gateways[0])["primary"]
        assert status["primary"] in ("gw-berlin", "gw-paris", "gw-oslo")
        assert status["writable"]


def test_replicas_hold_what_the_primary_has(lab: Lab) -> None:
    def last_id(host: Host) -> str:
        return host.run(
            "redis-cli --no-auth-warning -s /run/meshd/home/redis.sock --user meshd "
            "-a $(cat /var/lib/meshd/home/redis/redis.password) XREVRANGE changes + - COUNT 1"
        ).stdout.splitlines()[0]

    assert re.fullmatch(r"\d+-\d+", last_id(lab.gateways[0]))
    for host in lab.gateways[1:]:
        wait_until(lambda h=host: last_id(h) == last_id(lab.gateways[0]), 5, f"{host.name} to have the newest change")


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
    wait_until(lambda: "laptop-g" in lab.addresses(), 5, "gw-berlin to know the new name")
    berlin.meshctl("peers", "rename", "laptop-g", "laptop-grace")
    berlin.meshctl("peers", "admin", "laptop-ada", "off")
    grace = next(one["id"] for one in lab.status(berlin)["members"] if one["name"] == "laptop-grace")

    def renamed() -> list[Any]:
        events = [json.loads(line) for line in ada.meshctl_raw("--json", "events").stdout.splitlines()]
        return [one for one in events if one["action"] == "rename-member"]

    wait_until(lambda: len(renamed()) >= 2, 5, "laptop-ada to hear of the second name")
    assert {one["subject_id"] for one in renamed()} == {grace}, renamed()
    assert {one["subject"] for one in renamed()} == {"laptop-g", "laptop-grace"}


def test_the_systems_own_tools_agree(lab: Lab) -> None:
    """wg and nft, which know nothing of meshd, see each member once, with its addresses and those behind it."""
    members = {one["public_key"]: one for one in lab.status(lab.gateways[0])["members"]}
    for host in lab.hosts:
        me = lab.status(host)["self"]
        assert host.run("wg show home public-key").stdout.strip() == me["public_key"]
        shown = dict(line.split("\t") for line in host.run("wg show home allowed-ips").stdout.splitlines())
        others = {key: shown.pop(key) for key in set(shown) - set(members)}
        # Keys that test for some seconds whether a straight path answers have no networks.
        invites = {key: networks for key, networks in others.items() if networks != "(none)"}
        # The temporary keys of used invites stay for a while, so that whoever comes late hears why.
        assert len(invites) == (len(lab.laptops) if me["role"] == "node" else 0)
        assert all(networks.startswith("10.51.255.") for networks in invites.values())
        assert set(shown) == set(members) - {me["public_key"]}
        for key, networks in shown.items():
            wanted = {f"{members[key]['ipv4']}/32", f"{members[key]['ipv6']}/128", *members[key]["subnets"]}
            assert wanted <= set(networks.split())
            inside = {one for one in networks.split() if ":" not in one}
            assert inside == {one for one in wanted if ":" not in one}
        rules = host.run("nft list table inet meshd-home").stdout
        for address in (me["ipv4"], me["ipv6"]):
            assert address in rules
        assert (re.search(r" masquerade$", rules, re.MULTILINE) is not None) == (me["role"] == "node")


def test_names_resolve_everywhere(lab: Lab) -> None:
    addresses = lab.addresses()
    for host in lab.hosts:
        for name, address in addresses.items():
            ask = ["getent", "ahostsv4", f"{name}.home.wg"]
            wait_until(lambda h=host, a=ask, n=address: n in h.run(a, check=False).stdout, 5, f"{host.name}: {ask[2]}")


def test_what_is_removed_by_hand_comes_back(lab: Lab) -> None:
    ada = lab.laptops[0]
    ada.run("ip route del 10.12.0.0/16; nft flush table inet meshd-home")
    wait_until(lambda: "10.12.0.0/16" in ada.run("ip route").stdout, 5, "the route to come back")
    wait_until(lambda: "drop" in ada.run("nft list table inet meshd-home").stdout, 5, "the table to come back")
    # It is told once all of the repair is done.
    wait_until(lambda: "10.12.0.0/16" in ada.meshctl_raw("--json", "events").stdout, 5, "the event of it")


def test_wireguard_go_is_started_again(lab: Lab) -> None:
    grace = lab.laptops[1]
    before = grace.run("pgrep wireguard-go").stdout.split()
    address = lab.addresses()["gw-berlin"]
    grace.run("pkill -9 wireguard-go")

    def again() -> bool:
        return bool(set(grace.run("pgrep wireguard-go", check=False).stdout.split()) - set(before))

    wait_until(again, 20, "wireguard-go to be started again")
    wait_until(lambda: grace.ping(address, 1), 20, "gw-berlin to answer again")
    wait_until(lambda: lab.status(grace)["state"] == "connected", 20, "laptop-grace to be connected again")


def test_a_node_goes_on_to_know_the_latency_after_it_measured_once(lab: Lab) -> None:
    """Nodes don't probe peers but for a person; peers tell each time what they measured."""
    berlin = lab.gateways[0]

    def latency() -> float:
        member = next(one for one in lab.status(berlin)["members"] if one["name"] == "laptop-grace")
        return float(member["latency_ms"] or 0)

    berlin.meshctl("ping", "laptop-grace", "--count", "1")
    first = latency()
    wait_until(lambda: latency() not in (0, first), 30, "gw-berlin to know a newer latency of laptop-grace")


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
