"""What the zones of a mesh answer."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_address

import dns.name
import dns.rcode
import dns.rdatatype
import dns.reversename
import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshd.model.errors import InvalidInput
from meshd.model.members import Member
from meshd.naming.zone import Answer, Zone

A, AAAA, PTR = dns.rdatatype.A, dns.rdatatype.AAAA, dns.rdatatype.PTR


def ask(zone: Zone, name: str, kind: dns.rdatatype.RdataType) -> Answer | None:
    return zone.lookup(dns.name.from_text(name), kind)


def found(zone: Zone, name: str, kind: dns.rdatatype.RdataType) -> list[str]:
    answer = ask(zone, name, kind)
    assert answer is not None
    assert answer.rcode == dns.rcode.NOERROR
    return [one.to_text() for rrset in answer.answer for one in rrset]


def test_members_have_both_addresses(zone: Zone) -> None:
    assert found(zone, "gw-paris.home.wg", A) == ["10.12.0.1"]
    assert found(zone, "gw-paris.home.wg", AAAA) == ["fd00:1::2"]
    assert found(zone, "gw-paris.home.wg", dns.rdatatype.ANY) == ["10.12.0.1", "fd00:1::2"]


def test_names_are_found_in_any_case_and_answered_as_asked(zone: Zone) -> None:
    answer = ask(zone, "GW-Paris.HOME.wg", A)
    assert answer is not None
    assert answer.answer[0].name.to_text() == "GW-Paris.HOME.wg."
    assert answer.answer[0][0].to_text() == "10.12.0.1"


@pytest.mark.parametrize("address", ["10.12.0.1", "fd00:1::2"])
def test_addresses_have_names(zone: Zone, address: str) -> None:
    assert found(zone, dns.reversename.from_address(address).to_text(), PTR) == ["gw-paris.home.wg."]


@pytest.mark.parametrize(
    ("name", "kind", "rcode", "apex"),
    [
        ("gw-oslo.home.wg", A, dns.rcode.NXDOMAIN, "home.wg."),
        ("x.gw-paris.home.wg", A, dns.rcode.NXDOMAIN, "home.wg."),
        ("gw-paris.home.wg", dns.rdatatype.MX, dns.rcode.NOERROR, "home.wg."),
        ("gw-paris.home.wg", dns.rdatatype.HTTPS, dns.rcode.NOERROR, "home.wg."),
        ("home.wg", A, dns.rcode.NOERROR, "home.wg."),
        ("2.0.12.10.in-addr.arpa", PTR, dns.rcode.NXDOMAIN, "12.10.in-addr.arpa."),
        ("1.0.12.10.in-addr.arpa", A, dns.rcode.NOERROR, "12.10.in-addr.arpa."),
        ("0.12.10.in-addr.arpa", PTR, dns.rcode.NOERROR, "12.10.in-addr.arpa."),  # a name below it exists
        ("7.12.10.in-addr.arpa", PTR, dns.rcode.NXDOMAIN, "12.10.in-addr.arpa."),
        ("12.10.in-addr.arpa", PTR, dns.rcode.NOERROR, "12.10.in-addr.arpa."),
        ("7.3.51.10.in-addr.arpa", PTR, dns.rcode.NXDOMAIN, "3.51.10.in-addr.arpa."),
        ("5.1.1.0.12.10.in-addr.arpa", PTR, dns.rcode.NXDOMAIN, "12.10.in-addr.arpa."),
        (dns.reversename.from_address("fd00:1::77").to_text(), PTR, dns.rcode.NXDOMAIN,
         "0.0.0.0.0.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa."),
    ],
)  # fmt: skip
def test_no_data_is_told_from_no_name(
    zone: Zone, name: str, kind: dns.rdatatype.RdataType, rcode: dns.rcode.Rcode, apex: str
) -> None:
    answer = ask(zone, name, kind)
    assert answer is not None
    assert (answer.rcode, answer.answer) == (rcode, ())
    (soa,) = answer.authority
    assert (soa.name.to_text(), soa.rdtype) == (apex, dns.rdatatype.SOA)
    assert dns.name.from_text(name).is_subdomain(soa.name)


@pytest.mark.parametrize(
    "name",
    [
        ".",
        "wg",
        "example.org",
        "home.wg.example.org",
        "xhome.wg",
        "office.wg",
        "10.in-addr.arpa",
        "51.10.in-addr.arpa",  # only a sixteenth of it is ours
        "1.16.51.10.in-addr.arpa",
        "1.0.13.10.in-addr.arpa",
        "1.0.012.10.in-addr.arpa",
        "1.0.268.10.in-addr.arpa",
        "in-addr.arpa",
        "ip6.arpa",
        "\\255.0.0.12.10.in-addr.arpa.example",
        dns.reversename.from_address("fd00:2::1").to_text(),
    ],
)
def test_what_is_not_ours_is_left_to_others(zone: Zone, name: str) -> None:
    assert ask(zone, name, A) is None


def test_the_apex_has_its_records(zone: Zone) -> None:
    assert found(zone, "home.wg", dns.rdatatype.NS) == ["gw-berlin.home.wg.", "gw-paris.home.wg."]
    (soa,) = found(zone, "home.wg", dns.rdatatype.SOA)
    assert soa.startswith("gw-berlin.home.wg. hostmaster.home.wg. 7 ")
    assert found(zone, "12.10.in-addr.arpa", dns.rdatatype.SOA) == [soa]


def test_a_custom_domain_is_the_suffix(make_zone: Callable[..., Zone]) -> None:
    zone = make_zone(domain="mesh.example.org")
    assert found(zone, "gw-paris.mesh.example.org", A) == ["10.12.0.1"]
    assert found(zone, "1.0.12.10.in-addr.arpa", PTR) == ["gw-paris.mesh.example.org."]
    assert ask(zone, "gw-paris.home.wg", A) is None


@pytest.mark.parametrize("domain", ["", "home wg", "home\n.wg", "a..b", "HOME.wg", "x" * 64])
def test_a_domain_that_is_none_is_refused(make_zone: Callable[..., Zone], domain: str) -> None:
    with pytest.raises(InvalidInput):
        make_zone(domain=domain)


def test_clients_are_enabled_members_and_what_lies_behind_nodes(zone: Zone) -> None:
    for address in ("10.51.0.1", "fd00:1::a:1", "10.12.0.1", "10.12.200.9"):
        assert zone.is_client(ip_address(address))
    for address in ("10.51.0.9", "fd00:1::a:9", "10.51.0.2", "192.0.2.1", "2001:db8::1"):
        assert not zone.is_client(ip_address(address))


def test_addresses_of_the_mesh_are_covered(zone: Zone) -> None:
    assert zone.covers(ip_address("10.11.200.1"))
    assert zone.covers(ip_address("fd00:1::99"))
    assert not zone.covers(ip_address("10.51.16.0"))
    assert not zone.covers(ip_address("192.0.2.53"))


@given(st.integers(8, 32), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_the_addresses_of_a_network_are_ours_and_no_others(prefix: int, base: int, other: int) -> None:
    network = IPv4Network((base, prefix), strict=False)
    zone = Zone("home.wg", [], [network], 1, "gw")
    for value in (base, other):
        address = ip_address(value)
        answer = zone.lookup(dns.reversename.from_address(str(address)), PTR)
        assert (answer is not None) == (address in network)


@given(st.integers(16, 128), st.integers(0, 2**128 - 1), st.integers(0, 2**128 - 1))
def test_the_same_holds_for_ipv6(prefix: int, base: int, other: int) -> None:
    network = IPv6Network((base, prefix), strict=False)
    zone = Zone("home.wg", [], [network], 1, "gw")
    for value in (base, other, base ^ 1):
        text = str(ip_address(value)) if value > 2**32 else str(ip_address(value | 2**127))
        answer = zone.lookup(dns.reversename.from_address(text), PTR)
        if dns.reversename.from_address(text).is_subdomain(dns.reversename.ipv6_reverse_domain):
            assert (answer is not None) == (ip_address(text) in network)


@given(
    st.lists(st.binary(min_size=1, max_size=20), max_size=8), st.sampled_from(["home.wg", "in-addr.arpa", "ip6.arpa"])
)
def test_any_name_can_be_asked_for(labels: list[bytes], below: str) -> None:
    zone = Zone("home.wg", [], [IPv4Network("10.11.0.0/16"), IPv6Network("fd00:1::/64")], 1, "gw")
    name = dns.name.Name((*labels, *dns.name.from_text(below).labels))
    answer = zone.lookup(name, A)
    assert answer is None or answer.answer == ()


def test_a_thousand_members_are_found(make_member: Callable[..., Member]) -> None:
    members = [
        make_member(f"laptop-{number}", f"10.51.{number // 250}.{number % 250 + 1}", f"fd00:1::{number + 1:x}")
        for number in range(1000)
    ]
    zone = Zone("home.wg", members, [IPv4Network("10.51.0.0/16")], 1, "gw")
    assert found(zone, "laptop-777.home.wg", A) == ["10.51.3.28"]
