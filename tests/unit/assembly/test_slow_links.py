"""Nodes say which link is too slow for the election time-out, and what to set."""

from __future__ import annotations

from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import Any

from meshd.assembly.slow_links import ENOUGH, KEPT, SlowLinks
from meshproto import local_pb2

PARIS, OSLO = IPv4Address("10.12.0.1"), IPv4Address("10.13.0.1")


class Links:
    def __init__(self) -> None:
        self.events: list[str] = []
        self.timeout = 1.0
        self.contacts: dict[IPv4Address, Any] = {}
        nodes = [
            SimpleNamespace(id=name, name=name, ipv4=address)
            for name, address in (("gw-berlin", IPv4Address("10.11.0.1")), ("gw-paris", PARIS), ("gw-oslo", OSLO))
        ]
        mesh: Any = SimpleNamespace(
            name="home",
            choices=SimpleNamespace(member_id="gw-berlin"),
            sessions=SimpleNamespace(prober=SimpleNamespace(contact=self.contacts.__getitem__)),
            event=lambda kind, text, severity: self.events.append(text),
        )
        self.slow = SlowLinks(mesh, lambda: nodes, lambda: self.timeout)  # type: ignore[arg-type,return-value]
        self._time = 100.0

    def measure(self, paris: float, oslo: float = 20.0) -> None:
        """Milliseconds; 0: no answer. What was measured once is looked at several times."""
        self._time += 2
        for address, ms in ((PARIS, paris), (OSLO, oslo)):
            self.contacts[address] = SimpleNamespace(answered=self._time, measured_ms=ms)
        for _ in range(5):
            self.slow.look()


def test_a_slow_link_is_told_once_and_until_the_time_out_fits() -> None:
    links = Links()
    for _ in range(ENOUGH - 1):
        links.measure(610.0)
    assert links.slow.problem == "", "a few say nothing"
    for ms in (602.0, 900.0, 640.0):
        links.measure(ms)
    told = "round trips to gw-paris take 602 ms: too long for an election time-out of 1 s"
    assert links.events == [f"{told}; set it: meshctl nodes timeout 3"]
    (check,) = links.slow.checks()
    assert (check.state, check.found, check.fix) == (local_pb2.WARNING, told, "meshctl nodes timeout 3")
    links.timeout = 3.0
    links.measure(620.0)
    assert (links.slow.problem, links.slow.checks()) == ("", [])
    assert len(links.events) == 1


def test_a_busy_machine_is_no_slow_link() -> None:
    links = Links()
    for number in range(50):
        links.measure(40.0 if number % KEPT == 0 else 700.0)
    assert links.events == []


def test_one_that_does_not_answer_is_not_slow() -> None:
    links = Links()
    for _ in range(KEPT):
        links.measure(600.0)
    assert links.slow.problem
    links.measure(0.0)
    assert links.slow.problem == ""
