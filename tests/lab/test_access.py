"""Who is in and who is out: access ends everywhere at once, ephemeral members go by themselves, invites for many."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator

import pytest
from lab.conftest import Lab, make_lab
from lab.hosts.flood import Flood
from lab.hosts.host import Host, wait_until
from lab.hosts.network import Network

pytestmark = pytest.mark.quiet


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    network = Network()
    try:
        gateways = [network.host(name) for name in ("gw-berlin", "gw-paris")]
        yield make_lab(network, gateways, [network.host("laptop-ada"), network.host("laptop-grace", nat=True)])
    finally:
        network.close()


@pytest.mark.parametrize("how", ["disable", "remove"])
def test_access_ends_at_every_member_within_two_seconds(lab: Lab, how: str) -> None:
    """The one who loses it does nothing about it: its meshd is stopped, its tunnel is as it was."""
    ada, grace = lab.laptops
    addresses = lab.addresses()
    others = {"gw-berlin": lab.gateways[0], "gw-paris": lab.gateways[1], "laptop-grace": grace}
    pings = []
    for name, host in others.items():
        wait_until(lambda n=name: ada.ping(addresses[n], 1), 20, f"laptop-ada to reach {name}")
        wait_until(lambda h=host: h.ping(addresses["laptop-ada"], 1), 20, f"{name} to reach laptop-ada")
    ada.stop_meshd()
    for name, host in others.items():
        pings.append((f"laptop-ada to {name}", ada, f"to-{name}", addresses[name]))
        pings.append((f"{name} to laptop-ada", host, "to-laptop-ada", addresses["laptop-ada"]))
    running = [
        (what, host, file, host.record(["ping", "-n", "-D", "-i", "0.02", to], file)) for what, host, file, to in pings
    ]
    for what, host, file, _ in running:
        wait_until(lambda h=host, f=file: h.recorded(f).count("bytes from") > 3, 10, f"pings from {what}")
    lab.gateways[1].meshctl("peers", how, "laptop-ada")
    done = time.time()
    wait_until(lambda: time.time() > done + 3, 5, "the time that access may still take to end, and one second more")
    last = {}
    for what, host, file, process in running:
        host.send_signal(process)
        process.wait(5)
        answers = re.findall(r"^\[([\d.]+)\] \d+ bytes from", host.recorded(file), re.MULTILINE)
        last[what] = float(answers[-1]) - done
    print({what: f"{after:+.3f} s" for what, after in last.items()})
    assert max(last.values()) < 2.0, last
    ada.start_meshd()
    if how == "disable":
        lab.gateways[0].meshctl("peers", "enable", "laptop-ada")
        for name in others:
            wait_until(lambda n=name: ada.ping(addresses[n], 1), 25, f"laptop-ada to reach {name} again")
    else:
        wait_until(lambda: "was removed" in lab.status(ada)["reason"] or lab.status(ada)["state"] == "stale", 15, "ada")
        ada.meshctl("leave", "home", "--yes")
        lab.join_as_peer(ada)


def test_who_loses_access_is_told_by_whom(lab: Lab) -> None:
    ada = lab.laptops[0]

    def seen() -> tuple[str, str]:
        found = lab.status(ada)
        return found["state"], found["reason"]

    ada.meshctl("wait", "--for", "connected", "--timeout", "20")
    wait_until(lambda: knows(lab.gateways[1], "laptop-ada"), 10, "gw-paris to know that laptop-ada is back")
    lab.gateways[1].meshctl("peers", "disable", "laptop-ada")
    wait_until(lambda: seen() == ("stale", "this machine was disabled in home by gw-paris (root)"), 2, "ada to hear it")
    began = time.monotonic()
    lab.gateways[0].meshctl("peers", "enable", "laptop-ada")
    ada.meshctl("wait", "--for", "connected", "--timeout", "20")
    print(f"connected {time.monotonic() - began:.1f} s after it was enabled")
    lab.gateways[1].meshctl("peers", "remove", "laptop-ada")
    wait_until(lambda: seen()[0] == "down", 2, "ada to hear that, too")
    assert "was removed from home" in seen()[1]
    wait_until(lambda: ada.run("ip link show dev home", check=False).returncode != 0, 5, "its interface to go")
    ada.stop_meshd()
    ada.start_meshd()
    assert "was removed from home" in seen()[1], "also after a restart"
    ada.meshctl("leave", "home", "--yes")
    assert ada.faults() == []
    lab.join_as_peer(ada)


def knows(host: Host, name: str) -> bool:
    return name in {member["name"] for member in host.meshctl("status")["meshes"][0]["members"]}


def members(lab: Lab) -> list[str]:
    return [member["name"] for member in lab.status(lab.gateways[0])["members"]]


def test_an_ephemeral_member_goes_when_it_stays_away(lab: Lab) -> None:
    eve = lab.network.host("laptop-eve")
    eve.start_meshd()
    lab.join_as_peer(eve, "--ephemeral", "3s")
    address = lab.addresses()["laptop-eve"]
    # She is connected once one node answers her; gw-paris may hear of her a moment later.
    wait_until(lambda: lab.gateways[1].ping(address, 1), 10, "gw-paris to reach laptop-eve")
    with Flood(lab.gateways[1], address, 0.1) as flood:
        wait_until(lambda: len(flood.answers()) > 80, 12, "eight seconds of pings")
    assert flood.lost == []
    assert "laptop-eve" in members(lab)
    eve.power_off()
    wait_until(lambda: "laptop-eve" not in members(lab), 30, "laptop-eve to be removed")
    assert "laptop-grace" in members(lab)
    events = lab.gateways[0].meshctl_raw("events").stdout
    assert "laptop-eve was offline for too long and is removed" in events
    lab.join_as_peer(lab.network.host("laptop-mary", nat=True).with_meshd())
    assert lab.addresses()["laptop-mary"] == address  # free again


def test_an_invite_makes_a_node(lab: Lab) -> None:
    oslo = lab.network.host("gw-oslo").with_meshd()
    text = lab.gateways[1].meshctl("invites", "create", "gw-oslo", "--node")["text"]
    oslo.meshctl("join", "-", "--wait", "15", input=text)
    me = lab.status(oslo)["self"]
    assert (me["role"], me["subnets"], me["name"]) == ("node", ["10.13.0.0/16"], "gw-oslo")
    assert oslo.meshctl("key", "show") == lab.gateways[0].meshctl("key", "show")
    oslo.stop_meshd()
    oslo.start_meshd()
    wait_until(lambda: lab.status(oslo)["state"] == "connected", 15, "gw-oslo to be back")
    wait_until(lambda: lab.status(oslo)["writable"], 5, "gw-oslo to be in step")
    text = oslo.meshctl("invites", "create", "laptop-bob")["text"]
    bob = lab.network.host("laptop-bob", nat=True).with_meshd()
    bob.meshctl("join", "-", "--always-on", "--wait", "15", input=text)
    for host in (*lab.gateways, bob):
        wait_until(lambda h=host: h.ping(me["ipv4"], 1), 10, f"{host.name} to reach gw-oslo")
    bob.meshctl("leave", "home", "--yes")
    oslo.meshctl("leave", "home", "--yes")


def test_an_invite_for_six_machines_lets_six_in_at_once(lab: Lab) -> None:
    hosts = [lab.network.host(f"laptop-{number}", nat=number % 2 == 0).with_meshd() for number in range(6)]
    made = lab.gateways[0].meshctl("invites", "create", "--uses", "6")
    results: dict[str, tuple[float, int, str]] = {}

    def join(host: Host) -> None:
        began = time.monotonic()
        done = host.meshctl_raw("--timeout", "25", "join", "-", "--always-on", input=made["text"])
        results[host.name] = round(time.monotonic() - began, 1), done.returncode, done.stderr

    threads = [threading.Thread(target=join, args=(host,)) for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print({name: seconds for name, (seconds, _, _) in results.items()})
    assert {status for _, status, _ in results.values()} == {0}, results
    for host in hosts:
        wait_until(lambda h=host: h.ping("10.12.0.1", 1), 10, f"{host.name} to reach gw-paris")

    def state() -> str:
        invites = lab.gateways[0].meshctl("invites", "list")
        return str(next(one["state"] for one in invites if one["id"] == made["invite"]["id"]))

    wait_until(lambda: state() == "redeemed", 5, "gw-berlin to know that the invite is used up")


@pytest.mark.parametrize("out", [0, 10], ids=["at once", "after a while"])
def test_a_peer_that_is_enabled_again_is_back_at_once(lab: Lab, out: int) -> None:
    """Its nodes start the sessions, where it was last, and it hears them."""
    berlin = lab.gateways[0]
    address = lab.addresses()[berlin.name]
    for host in lab.laptops:
        wait_until(lambda h=host: lab.status(h)["state"] == "connected", 20, f"{host.name} to be connected")
        berlin.meshctl("peers", "disable", host.name)
        if out:
            wait_until(lambda h=host: lab.status(h)["state"] != "connected", 20, f"{host.name} to be out")
        began = time.monotonic()
        wait_until(lambda b=began: time.monotonic() >= b + out, 20, "it to have been out for a while")
        berlin.meshctl("peers", "enable", host.name)
        began = time.monotonic()
        once = ["ping", "-q", "-c", "1", "-W", "0.3", address]  # one of Host.ping that is lost takes 2 s to say so
        wait_until(lambda h=host: h.run(once, check=False).returncode == 0, 20, f"{host.name} to reach its node")  # noqa: B023  # awaited here
        wait_until(lambda h=host: lab.status(h)["state"] == "connected", 20, f"{host.name} to be connected")
        took = time.monotonic() - began
        print(f"{host.name} is connected {took:.2f} s after it was enabled")
        assert took < 5.0  # a session that its own end starts anew takes longer: it waits 5 s for an answer
