"""A laptop's day: from one network to another, cables pulled, networks that lead nowhere, lids closed for a while.

Its status and its tray are asked every second and compared with whether packets pass. LAPTOP_DAY_FREEZE=600 closes the
lid for ten minutes; without it for less, though longer than every time-out but those of WireGuard's keys.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import pytest
from lab.conftest import Lab, make_lab
from lab.hosts.host import PATIENCE, Host, wait_until
from lab.hosts.network import Network
from lab.hosts.person import Person
from lab.hosts.watching import Sample, Watching
from tray.desktop import BUS

FREEZE = float(os.environ.get("LAPTOP_DAY_FREEZE", "20"))

SOON = 6.0 * PATIENCE
"""Seconds in which a dead path is noticed, and in which a laptop is back once its network is (DESIGN.md section 8)."""

BLINK = 0.5
"""Seconds between what a sample says, when it is written down, and when a ping shows it."""

pytestmark = pytest.mark.timeout(300 + 2 * FREEZE)


class Back(NamedTuple):
    """Seconds from a moment until a packet came back, and until status and tray said connected."""

    packets: float
    status: float
    tray: float


@dataclass
class Day:
    lab: Lab
    ada: Host
    watching: Watching

    @property
    def network(self) -> Network:
        return self.lab.network

    def back_since(self, moment: float) -> Back:
        """Waits for all three."""
        watching = self.watching
        answer = wait_until(lambda: watching.first_answer(moment), 30, "a packet to come back")

        def connected(samples: list[Sample]) -> float:
            return next((one.at for one in samples if one.at >= answer and one.state == "connected"), 0.0)

        said = wait_until(lambda: connected(watching.samples), 30, "the status to say connected")
        shown = wait_until(lambda: connected(watching.tray), 30, "the tray to show connected")
        return Back(answer - moment, said - moment, shown - moment)

    def state(self) -> str:
        return self.watching.samples[-1].state if self.watching.samples else ""

    def icon(self) -> str:
        return self.watching.tray[-1].state if self.watching.tray else ""

    @contextmanager
    def lid_closed(self) -> Iterator[None]:
        with self.ada.frozen():
            yield
        self.watching.thawed = time.time()

    def is_honest(self) -> None:
        assert self.watching.lies(SOON + BLINK, BLINK) == []


@dataclass
class World:
    lab: Lab
    ada: Person


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Three gateways, and a laptop with a person in a session that has a bus and a keyring."""
    network = Network()
    person: Person | None = None
    try:
        lab = make_lab(network, [network.host(name) for name in ("gw-berlin", "gw-paris", "gw-oslo")], [])
        laptop = network.host("laptop-ada", nat=True).with_meshd()
        lab.laptops.append(laptop)
        person = Person(laptop, BUS)
        person.log_in()
        invite = lab.gateways[0].meshctl("invites", "create", "laptop-ada")["text"]
        person.meshctl("join", "-", "--wait", "15", input=invite)
        yield World(lab, person)
        assert "Traceback" not in laptop.recorded("tray.log"), laptop.recorded("tray.log")
    finally:
        network.close()
        if person is not None:
            person.forget()


@pytest.fixture
def day(world: World) -> Iterator[Day]:
    lab, ada = world.lab, world.lab.laptops[0]
    addresses = [lab.addresses()[name] for name in ("gw-berlin", "gw-paris", "gw-oslo")]
    with Watching(ada, addresses, world.ada.bus) as watching:
        tray = world.ada.start_tray()
        day = Day(lab, ada, watching)
        wait_until(lambda: day.state() == day.icon() == "connected" and watching.answers(), 30, "the day to begin")
        yield day
        ada.send_signal(tray)
        tray.wait(20)
    day.is_honest()


def report(what: str, back: Back) -> None:
    print(f"{what}: packets after {back.packets:.1f} s, status after {back.status:.1f} s, tray after {back.tray:.1f} s")


def test_from_one_network_to_another(day: Day) -> None:
    day.network.unplug("laptop-ada")
    time.sleep(1)
    moment = time.time()
    day.network.move("laptop-ada")
    back = day.back_since(moment)
    report("roaming", back)


def test_a_cable_that_is_pulled_and_put_back(day: Day) -> None:
    """The address stays: nothing but the link goes and comes."""
    day.ada.run("ip link set eth0 down")
    wait_until(lambda: day.state() == "stale", 10, "the loss to be shown")
    gateway = day.network.gateway("laptop-ada")
    moment = time.time()
    day.ada.run(f"ip link set eth0 up; ip route add default via {gateway}")
    back = day.back_since(moment)
    report("cable", back)


def test_a_network_that_leads_nowhere_for_a_while(day: Day) -> None:
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
    report("portal", back)


def test_a_lid_that_was_closed_while_another_node_came_to_lead(day: Day) -> None:
    berlin = day.lab.gateways[0]
    primary = day.lab.status(berlin)["primary"]
    with day.lid_closed():
        time.sleep(FREEZE / 2)
        other = next(name for name in ("gw-paris", "gw-oslo") if name != primary)
        berlin.meshctl("nodes", "promote", other)
        time.sleep(FREEZE / 2)
        moment = time.time()
    back = day.back_since(moment)
    report(f"lid closed for {FREEZE:g} s", back)
    wait_until(lambda: day.lab.status(day.ada)["primary"] == other, 10, "the laptop to know who leads")
    assert "this machine slept" in day.ada.meshctl_raw("events").stdout


def test_a_lid_that_is_opened_elsewhere(day: Day) -> None:
    with day.lid_closed():
        time.sleep(FREEZE / 2)
        day.network.move("laptop-ada")
        time.sleep(FREEZE / 2)
        opened = time.time()
    first = wait_until(
        lambda: next((one for one in day.watching.samples if one.at >= opened and one.state), None), 5, "an answer"
    )
    back = day.back_since(opened)
    if first.at < opened + back.packets - BLINK:
        assert first.state != "connected", "what was true before the lid closed is not shown as if it were true now"
    report(f"elsewhere after {FREEZE:g} s", back)


def test_a_pause_ends_by_itself(day: Day, world: World) -> None:
    """With keys from her keyring, which nobody has to unlock again."""
    began = time.time()
    paused = world.ada.meshctl("down", "home", "--for", "4s")
    moment = time.time() + 4
    assert paused["state"] == "down"
    assert paused["reason"].startswith("paused until ")
    assert (paused["connected_by"], paused["paused_until"] is None) == ("ada", False)

    def shown() -> bool:
        return any(one.state == "disconnected" for one in day.watching.tray if one.at > began)

    wait_until(shown, 3, "the tray to show it")
    back = day.back_since(moment)
    report("pause", back)
    assert world.ada.meshctl("status")["meshes"][0]["paused_until"] is None
