"""Which sessions are started anew, and when: on remembered WireGuard, with clocks that are set."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from meshd.assembly import renewals
from meshd.assembly.renewals import Renewals
from meshd.dataplane.desired import UdpEndpoint
from meshd.dataplane.wireguard.backend import DeviceChange, DeviceState, PeerState
from meshd.model.members import Member, Role
from meshproto.keys import PublicKey

NOW = 10_000.0


def member(name: str, role: Role, number: int) -> Member:
    return Member(
        id=name, name=name, role=role, public_key=PublicKey(bytes([number]) * 32),
        ipv4=IPv4Address(f"10.51.0.{number}"), ipv6=IPv6Address(f"fd00::{number}"), transport=None, subnet=None,
    )  # fmt: skip


BERLIN, ADA, GRACE = (
    member("gw-berlin", Role.NODE, 1),
    member("laptop-ada", Role.PEER, 2),
    member("grace", Role.PEER, 3),
)
ENDPOINT = UdpEndpoint(IPv4Address("192.0.2.1"), 10100)


@dataclass
class Contact:
    heard: float = 0.0
    first_unanswered: float = 0.0


@dataclass
class FakeSessions:
    """What `Renewals` asks of the sessions; also the prober."""

    handshakes: dict[str, float] = field(default_factory=dict)
    alive_ones: set[str] = field(default_factory=set)
    quiet: bool = True
    answer: float | None = None
    pinged: list[str] = field(default_factory=list)
    contacts: dict[str, Contact] = field(default_factory=dict)
    device: DeviceState | None = None

    @property
    def prober(self) -> FakeSessions:
        return self

    def handshake_at(self, member: Member) -> float | None:
        return self.handshakes.get(member.id)

    def alive(self, address: IPv4Address) -> bool:
        return str(address) in self.alive_ones

    def is_online(self, member: Member) -> bool:
        return str(member.ipv4) in self.alive_ones

    def contact(self, address: IPv4Address) -> Contact:
        return self.contacts.get(str(address), Contact())

    def carries(self, member: Member) -> bool:
        return False

    def is_quiet(self, member: Member) -> bool:
        return self.quiet

    def ping(self, address: IPv4Address) -> None:
        self.pinged.append(str(address))

    async def measure(self, address: IPv4Address, timeout: float) -> float | None:
        return self.answer

    async def next_endpoint(self, member: Member) -> UdpEndpoint | None:
        return ENDPOINT


class World:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = NOW
        monkeypatch.setattr(renewals, "boottime", lambda: self.now)
        self.sessions = FakeSessions()
        self.changes: list[DeviceChange] = []
        self.mesh = SimpleNamespace(
            name="home",
            members={one.id: one for one in (BERLIN, ADA, GRACE)},
            choices=SimpleNamespace(interface="home"),
            machine=SimpleNamespace(backend=SimpleNamespace(apply=self.apply)),
        )
        mesh: Any = self.mesh
        sessions: Any = self.sessions
        self.renewals = Renewals(mesh, sessions)

    async def apply(self, interface: str, change: DeviceChange) -> None:
        self.changes.append(change)

    def device(self, **stamps: float | None) -> DeviceState:
        peers = {}
        for one in (BERLIN, ADA, GRACE):
            stamp = stamps.get(one.name.replace("-", "_"), NOW)
            peers[one.public_key] = replace(
                PeerState(one.public_key, ENDPOINT, frozenset(), 0, None, 0, 0), latest_handshake=stamp
            )
        self.sessions.device = DeviceState(None, 10100, 0, peers)
        return self.sessions.device

    async def settle(self) -> None:
        await asyncio.gather(*self.renewals._tasks)

    def anew(self) -> list[PublicKey]:
        """Whose sessions were removed and added in one change, in order."""
        for change in self.changes:
            assert [one.remove for one in change.peers] == [True, False] * (len(change.peers) // 2)
        return [one.public_key for change in self.changes for one in change.peers if one.remove]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


async def test_after_a_sleep_an_old_session_starts_anew_at_once(world: World) -> None:
    world.device()
    world.sessions.handshakes = {BERLIN.id: NOW - 600}
    world.renewals.renew_all(ADA)
    await world.settle()
    assert world.anew() == [BERLIN.public_key]
    assert world.sessions.pinged == ["10.51.0.1"], "which sends the handshake"


async def test_a_young_one_goes_on_when_it_answers(world: World) -> None:
    world.device()
    world.sessions.handshakes = {BERLIN.id: NOW - 60}
    world.sessions.answer = 1.0
    world.renewals.renew_all(ADA)
    await world.settle()
    assert world.changes == []
    world.sessions.answer = None
    world.renewals.renew_all(ADA)
    await world.settle()
    assert world.anew() == [BERLIN.public_key]


async def test_two_who_say_so_cost_one_start(world: World) -> None:
    """The loop that is late, and logind."""
    world.device()
    world.renewals.renew_all(ADA)
    await world.settle()
    world.now += 0.2
    world.renewals.renew_all(ADA)
    await world.settle()
    assert world.anew() == [BERLIN.public_key]


async def test_a_silent_node_is_tried_every_two_seconds(world: World) -> None:
    device = world.device()
    world.sessions.contacts = {"10.51.0.1": Contact(first_unanswered=NOW)}
    starts = []
    for tenth in range(200):
        world.now = NOW + tenth / 10
        before = len(world.changes)
        await world.renewals.look(ADA, device)
        if len(world.changes) > before:
            starts.append(tenth / 10)
    assert starts[0] == pytest.approx(5.1)
    assert {round(later - one, 1) for one, later in pairwise(starts)} == {2.1}


@pytest.mark.parametrize(
    ("age", "alive", "quiet", "stamp", "forgotten"),
    [
        (191.0, False, True, NOW, True),
        (189.0, False, True, NOW, False),  # its keys are good for 180 s
        (191.0, True, True, NOW, False),
        (191.0, False, False, NOW, False),  # something is under way
        (191.0, False, True, None, False),  # it is new already
    ],
)
async def test_what_is_over_is_forgotten_so_that_a_clock_that_was_set_back_can_return(
    world: World, age: float, alive: bool, quiet: bool, stamp: float | None, forgotten: bool
) -> None:
    world.sessions.handshakes = {ADA.id: NOW - age, GRACE.id: NOW}
    world.sessions.alive_ones = {"10.51.0.2"} if alive else set()
    world.sessions.quiet = quiet
    await world.renewals.look(BERLIN, world.device(laptop_ada=stamp))
    assert world.anew() == ([ADA.public_key] if forgotten else [])
    if forgotten:
        assert world.changes[0].peers[1].endpoint == ENDPOINT, "where it was last"
