"""A laptop's day: from one network to another, cables pulled, networks that lead nowhere, lids closed for a while.

Its status is asked every second and compared with whether packets pass. LAPTOP_DAY_FREEZE=600 closes the lid for ten
minutes; without it for less, though longer than every time-out but those of WireGuard's keys.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from lab.conftest import Lab, make_lab
from lab.hosts.host import PATIENCE, Host, wait_until
from lab.hosts.network import Network
from lab.hosts.watching import Watching

FREEZE = float(os.environ.get("LAPTOP_DAY_FREEZE", "20"))

SOON = 6.0 * PATIENCE
"""Seconds in which a dead path is noticed, and in which a laptop is back once its network is (DESIGN.md section 8)."""

BLINK = 0.5
"""Seconds between what a sample says and when it is written down."""

pytestmark = pytest.mark.timeout(300 + 2 * FREEZE)


@dataclass
class Day:
    lab: Lab
    ada: Host
    watching: Watching

    @property
    def network(self) -> Network:
        return self.lab.network

    def back_since(self, moment: float) -> tuple[float, float]:
        """Seconds from then until a packet came back, and until the status said connected; waits for both."""
        answer = wait_until(lambda: self.watching.first_answer(moment), 30, "a packet to come back")
        said = wait_until(
            lambda: next((one.at for one in self.watching.samples if one.at >= answer and one.state == "connected"), 0),
            30,
            f"connected; it is {self.watching.samples[-1]}",
        )
        return answer - moment, said - moment

    def state(self) -> str:
        return self.watching.samples[-1].state if self.watching.samples else ""

    def is_honest(self) -> None:
        assert self.watching.lies(SOON + BLINK) == []


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    network = Network()
    try:
        gateways = [network.host(name) for name in ("gw-berlin", "gw-paris", "gw-oslo")]
        yield make_lab(network, gateways, [network.host("laptop-ada", nat=True)])
    finally:
        network.close()


@pytest.fixture
def day(lab: Lab) -> Iterator[Day]:
    ada = lab.laptops[0]
    addresses = [lab.addresses()[name] for name in ("gw-berlin", "gw-paris", "gw-oslo")]
    with Watching(ada, addresses) as watching:
        day = Day(lab, ada, watching)
        wait_until(lambda: day.state() == "connected" and watching.answers(), 30, "the day to begin")
        yield day
        day.is_honest()


def report(what: str, back: tuple[float, float], record: object) -> None:
    print(f"{what}: packets after {back[0]:.1f} s, connected after {back[1]:.1f} s")
    record("back", [what, *back])  # type: ignore[operator]  # pytest's record_property


def test_from_one_network_to_another(day: Day, record_property: object) -> None:
    day.network.unplug("laptop-ada")
    time.sleep(1)
    moment = time.time()
    day.network.move("laptop-ada")
    back = day.back_since(moment)
    report("roaming", back, record_property)
    assert max(back) < SOON


def test_a_cable_that_is_pulled_and_put_back(day: Day, record_property: object) -> None:
    """The address stays: nothing but the link goes and comes."""
    day.ada.run("ip link set eth0 down")
    wait_until(lambda: day.state() == "stale", 10, "the loss to be shown")
    gateway = day.network.gateway("laptop-ada")
    moment = time.time()
    day.ada.run(f"ip link set eth0 up; ip route add default via {gateway}")
    back = day.back_since(moment)
    report("cable", back, record_property)
    assert max(back) < SOON


def test_a_network_that_leads_nowhere_for_a_while(day: Day, record_property: object) -> None:
    """As behind a captive portal: address and route are there, and nothing passes."""
    address = day.network.address("laptop-ada")
    day.network.router.run(
        "nft add table ip portal; nft 'add chain ip portal fwd_ { type filter hook forward priority -10; }'; "
        f"nft add rule ip portal fwd_ ip saddr {address} drop; nft add rule ip portal fwd_ ip daddr {address} drop"
    )
    wait_until(lambda: day.state() == "stale", 10, "the loss to be shown")
    time.sleep(5)  # what repairs sessions has tried several times
    moment = time.time()
    day.network.router.run("nft delete table ip portal")
    back = day.back_since(moment)
    report("portal", back, record_property)
    assert max(back) < SOON


def test_a_lid_that_was_closed_while_another_node_came_to_lead(day: Day, record_property: object) -> None:
    berlin = day.lab.gateways[0]
    primary = day.lab.status(berlin)["primary"]
    with day.ada.frozen():
        time.sleep(FREEZE / 2)
        other = next(name for name in ("gw-paris", "gw-oslo") if name != primary)
        berlin.meshctl("nodes", "promote", other)
        time.sleep(FREEZE / 2)
        moment = time.time()
    back = day.back_since(moment)
    report(f"lid closed for {FREEZE:g} s", back, record_property)
    assert max(back) < SOON
    wait_until(lambda: day.lab.status(day.ada)["primary"] == other, 10, "the laptop to know who leads")
    assert "this machine slept" in day.ada.meshctl_raw("events").stdout


def test_a_lid_that_is_opened_elsewhere(day: Day, record_property: object) -> None:
    with day.ada.frozen():
        time.sleep(FREEZE / 2)
        day.network.move("laptop-ada")
        time.sleep(FREEZE / 2)
        opened = time.time()
    first = wait_until(
        lambda: next((one for one in day.watching.samples if one.at >= opened and one.state), None), 5, "an answer"
    )
    back = day.back_since(opened)
    if first.at < opened + back[0]:
        assert first.state != "connected", "what was true before the lid closed is not shown as if it were true now"
    report(f"elsewhere after {FREEZE:g} s", back, record_property)
    assert max(back) < SOON
