"""What resolved is told of an interface, over a real bus, by a small service that keeps it as resolved does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from meshd import system_bus
from meshd.naming.resolved import (
    DOMAINS,
    LinkNames,
    leads_to_resolved,
    read_link,
    reverse_domains,
    revert_link,
    set_link,
)
from meshd.system_bus import RESOLVED, BusError, SystemBus
from private_bus import PrivateBus, until

NAMES = LinkNames(
    (ip_address("10.11.0.1"), ip_address("fd00::1")), ("home.wg", "11.10.in-addr.arpa", "8.b.d.0.1.0.0.2.ip6.arpa")
)


class SmallResolved:
    """The links by number, as org.freedesktop.resolve1.Manager is told. `refuses`: the member that it refuses."""

    def __init__(self) -> None:
        self.links: dict[int, dict[str, Any]] = {}
        self.refuses = ""
        self.rubbish = False
        self.hangs = False

    def answer(self, message: Any) -> Any:
        from dbus_next import Message, MessageType, Variant

        if message.message_type is not MessageType.METHOD_CALL:
            return None
        if self.hangs:
            return True  # taken, and never answered
        if message.member == self.refuses:
            return Message.new_error(message, "org.freedesktop.DBus.Error.AccessDenied", "no")
        if message.member == "Get":
            what = message.body[1]
            found = [[1, *each] for each in ([[2, b"\1\2\3\4"]] if what == "DNS" else [["example.org", False]])]
            for number, link in self.links.items():
                found += [[number, *each] for each in link.get(what, [])]
            if self.rubbish and what == "DNS":
                found.append([3, 2, b"\1"])
            kind = "a(iiay)" if what == "DNS" else "a(isb)"
            return Message.new_method_return(message, "v", [Variant(kind, found)])
        number = message.body[0]
        if number == 99:
            return Message.new_error(message, f"{RESOLVED}.NoSuchLink", "Link 99 not known")
        if message.member == "RevertLink":
            self.links.pop(number, None)
        else:
            self.links.setdefault(number, {})[message.member.removeprefix("SetLink")] = message.body[1]
        return Message.new_method_return(message)


@pytest.fixture
def resolved() -> SmallResolved:
    return SmallResolved()


@pytest.fixture
async def bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resolved: SmallResolved) -> AsyncIterator[SystemBus]:
    private = PrivateBus(tmp_path)
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={private.path}")
    private.start()
    connection = await private.connect()
    connection.add_message_handler(resolved.answer)
    await connection.request_name(RESOLVED)
    bus = SystemBus()
    task = asyncio.create_task(bus.run())
    await until(lambda: bus.owner(RESOLVED), "resolved")
    yield bus
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    connection.close()
    private.stop()


async def test_only_the_meshs_names_go_there(bus: SystemBus, resolved: SmallResolved) -> None:
    await set_link(bus, 3, NAMES)
    assert resolved.links == {
        3: {
            "DefaultRoute": False,
            "Domains": [[domain, True] for domain in NAMES.domains],
            "DNSSEC": "no", "DNSOverTLS": "no", "LLMNR": "no", "MulticastDNS": "no",
            "DNS": [[2, bytes([10, 11, 0, 1])], [10, ip_address("fd00::1").packed]],
        }
    }  # fmt: skip
    assert await read_link(bus, 3) == NAMES
    assert (await read_link(bus, 4)).servers == ()


async def test_all_of_it_is_taken_back(bus: SystemBus, resolved: SmallResolved) -> None:
    await set_link(bus, 3, NAMES)
    await revert_link(bus, 3)
    assert resolved.links == {}
    await revert_link(bus, 99)  # the interface is gone, and all of it with it


async def test_a_refusal_is_told(bus: SystemBus, resolved: SmallResolved) -> None:
    for member, work in (("SetLinkDNS", set_link(bus, 3, NAMES)), ("RevertLink", revert_link(bus, 3))):
        resolved.refuses = member
        with pytest.raises(BusError, match=f"refuses {member}: no"):
            await work


async def test_a_service_that_hangs_or_talks_rubbish(
    bus: SystemBus, resolved: SmallResolved, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved.rubbish = True
    with pytest.raises(BusError, match="can't be read"):
        await read_link(bus, 3)
    monkeypatch.setattr(system_bus, "CALL_LIMIT", 0.2)
    resolved.hangs = True
    with pytest.raises(BusError, match=r"did not answer SetLinkDefaultRoute within 0\.2 s"):
        await set_link(bus, 3, NAMES)


async def test_more_domains_than_it_takes(bus: SystemBus, resolved: SmallResolved) -> None:
    await set_link(bus, 3, LinkNames(NAMES.servers, tuple(f"d{number}.example" for number in range(300))))
    assert len(resolved.links[3]["Domains"]) == DOMAINS


def test_order_is_no_difference() -> None:
    assert NAMES.same_as(LinkNames(NAMES.servers[::-1], NAMES.domains[::-1]))
    assert not NAMES.same_as(LinkNames(NAMES.servers[:1], NAMES.domains))


def test_reverse_zones_end_at_dots() -> None:
    texts = (
        "10.11.0.0/16",
        "10.51.0.0/20",
        "192.0.2.0/24",
        "2001:db8::/32",
        "2001:db8::/33",
        "0.0.0.0/0",
        "10.0.0.1/32",
    )
    assert reverse_domains(map(ip_network, texts)) == [
        "1.0.0.10.in-addr.arpa",
        "11.10.in-addr.arpa",
        "2.0.192.in-addr.arpa",
        "8.b.d.0.1.0.0.2.ip6.arpa",
    ]


def test_where_resolv_conf_leads() -> None:
    stub, other = ip_address("127.0.0.53"), ip_address("192.0.2.53")
    assert leads_to_resolved([stub])
    assert leads_to_resolved([stub, other])
    assert not leads_to_resolved([other, stub])
    assert not leads_to_resolved([])
