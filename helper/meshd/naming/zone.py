"""The names of one mesh as DNS zones: its domain, and the reverse zones of its networks. Pure.

`lookup` answers what is ours and says None for the rest. Used by `dns_server`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.reversename
import dns.rrset

from meshd.model.members import Member, Role
from meshd.model.names import check_domain

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

TTL = 30
"""Seconds that an answer may be kept. Addresses never change, but a member may be renamed or leave."""

NEGATIVE_TTL = 5
"""Seconds that "no such name" may be kept: a name that was asked for too early appears soon after its member joined."""

_IN = dns.rdataclass.IN
_IPV4_ROOT = dns.reversename.ipv4_reverse_domain
_IPV6_ROOT = dns.reversename.ipv6_reverse_domain
_DECIMAL = {str(number).encode(): number for number in range(256)}
_HEXADECIMAL = {f"{number:x}".encode(): number for number in range(16)}


@dataclass(frozen=True, slots=True)
class Answer:
    rcode: dns.rcode.Rcode
    answer: tuple[dns.rrset.RRset, ...] = ()
    authority: tuple[dns.rrset.RRset, ...] = ()


class Zone:
    """Made anew for every change of the members. `serial` grows with each (the revision)."""

    def __init__(
        self, domain: str, members: Iterable[Member], networks: Iterable[Network], serial: int, server: str
    ) -> None:
        """`server` is the name of the member that answers. Raises InvalidInput for a domain that is none."""
        members = list(members)
        self._domain = dns.name.from_text(check_domain(domain))
        self._networks = sorted(set(networks), key=lambda one: -one.prefixlen)
        self._addresses: dict[dns.name.Name, tuple[IPv4Address, IPv6Address]] = {}
        self._names: dict[Address, dns.name.Name] = {}
        self._clients: set[Address] = set()
        self._subnets = [member.subnet for member in members if member.subnet is not None and member.enabled]
        for member in members:
            name = dns.name.Name((member.name.encode(), *self._domain.labels))
            self._addresses[name] = member.ipv4, member.ipv6
            self._names[member.ipv4] = self._names[member.ipv6] = name
            if member.enabled:
                self._clients.update((member.ipv4, member.ipv6))
        self._used = {
            4: sorted(int(member.ipv4) for member in members),
            6: sorted(int(member.ipv6) for member in members),
        }
        self._servers = sorted(member.name for member in members if member.role is Role.NODE and member.enabled)
        self._soa = _record(
            dns.rdatatype.SOA,
            f"{self._child(server)} {self._child('hostmaster')} {serial % 2**32} 3600 600 86400 {NEGATIVE_TTL}",
        )

    def is_client(self, address: Address) -> bool:
        """Whether this is an enabled member, or in the subnet of one: nobody else is answered."""
        if address in self._names:
            return address in self._clients
        return any(address in subnet for subnet in self._subnets)

    def covers(self, address: Address) -> bool:
        """Whether the address is one of the mesh's own, in use or not."""
        return any(address in network for network in self._networks)

    def lookup(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> Answer | None:
        """The answer to a question of class IN; None when the name lies in none of our zones."""
        apex = self._apex(name)
        if apex is None:
            return None
        found = self._records(name, apex)
        chosen = [one for one in found or [] if kind in (one.rdtype, dns.rdatatype.ANY)]
        if chosen:
            return Answer(dns.rcode.NOERROR, tuple(_rrset(name, TTL, one) for one in _by_type(chosen)))
        soa = dns.rrset.from_rdata(apex, NEGATIVE_TTL, self._soa)
        return Answer(dns.rcode.NXDOMAIN if found is None else dns.rcode.NOERROR, authority=(soa,))

    def _child(self, label: str) -> dns.name.Name:
        return dns.name.Name((label.encode(), *self._domain.labels))

    def _records(self, name: dns.name.Name, apex: dns.name.Name) -> list[dns.rdata.Rdata] | None:
        """Everything at this name; None when nothing has this name or one below it."""
        records: list[dns.rdata.Rdata] = []
        if name == apex:
            records.append(self._soa)
            records += [_record(dns.rdatatype.NS, self._child(server)) for server in self._servers]
        if name in self._addresses:
            ipv4, ipv6 = self._addresses[name]
            records += [_record(dns.rdatatype.A, ipv4), _record(dns.rdatatype.AAAA, ipv6)]
        place = _reverse(name)
        if place is not None and place.exact:
            network = place.network
            if network.prefixlen == network.max_prefixlen:
                owner = self._names.get(network.network_address)
                if owner is not None:
                    records.append(_record(dns.rdatatype.PTR, owner))
            elif self._any_within(network):
                return records
        return records or None

    def _any_within(self, network: Network) -> bool:
        used = self._used[network.version]
        first = bisect_left(used, int(network.network_address))
        return first < len(used) and used[first] <= int(network.broadcast_address)

    def _apex(self, name: dns.name.Name) -> dns.name.Name | None:
        """The zone that the name lies in.

        Reverse zones end at dots, so a /20 is sixteen zones of a /24 each; what lies above them is not ours alone.
        """
        if name.is_subdomain(self._domain):
            return self._domain
        place = _reverse(name)
        if place is None:
            return None
        for network in self._networks:
            labels = -(-network.prefixlen // place.step)
            # An address is never in a network of the other version.
            if place.network.prefixlen >= labels * place.step and place.network.network_address in network:
                return dns.name.Name(name.labels[len(name.labels) - labels - len(place.root.labels) :])
        return None


@dataclass(frozen=True, slots=True)
class _Reverse:
    """A name below in-addr.arpa or ip6.arpa as the network that it stands for; `exact` when no label is left over."""

    network: Network
    exact: bool
    root: dns.name.Name
    step: int  # bits of one label


def _reverse(name: dns.name.Name) -> _Reverse | None:
    if name.is_subdomain(_IPV4_ROOT):
        root, step, most, digits = _IPV4_ROOT, 8, 32, _DECIMAL
    elif name.is_subdomain(_IPV6_ROOT):
        root, step, most, digits = _IPV6_ROOT, 4, 128, _HEXADECIMAL
    else:
        return None
    value = bits = 0
    labels = name.labels[: len(name.labels) - len(root.labels)]
    for label in reversed(labels):
        digit = digits.get(label.lower())
        if digit is None or bits == most:
            break
        value, bits = value << step | digit, bits + step
    packed = (value << (most - bits)).to_bytes(most // 8, "big")
    network: Network = IPv4Network((packed, bits)) if most == 32 else IPv6Network((packed, bits))
    return _Reverse(network, bits == len(labels) * step, root, step)


def _record(kind: dns.rdatatype.RdataType, value: object) -> dns.rdata.Rdata:
    return dns.rdata.from_text(_IN, kind, str(value))


def _by_type(records: list[dns.rdata.Rdata]) -> list[list[dns.rdata.Rdata]]:
    kinds = dict.fromkeys(one.rdtype for one in records)
    return [[one for one in records if one.rdtype == kind] for kind in kinds]


def _rrset(name: dns.name.Name, ttl: int, records: list[dns.rdata.Rdata]) -> dns.rrset.RRset:
    return dns.rrset.from_rdata_list(name, ttl, records)
