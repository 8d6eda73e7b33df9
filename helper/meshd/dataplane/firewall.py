"""One nftables table for each mesh, `inet meshd-<interface>`, changed only inside one transaction.

Tables, chains and sets are declared (which keeps what is there), flushed, and filled again in the same `nft -f -`:
replacing a table instead loses packets (measured: 25 of 100 replacements did, flush and fill none).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from typing import Any

from meshd.dataplane.desired import Address, DesiredFirewall, Network
from meshd.dataplane.nftables_generation import generation
from meshd.model.errors import Failed
from meshd.programs import install

log = logging.getLogger(__name__)

TIME_LIMIT = 20.0
"""Seconds for one nft call; 3,000 set elements take well under one."""

SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
"""Where nft is looked for: a person's PATH may lack sbin, or hold something else of that name."""

_CHAINS = (
    ("input", "filter", "input", "filter - 5"),
    ("forward", "filter", "forward", "filter - 5"),
    ("postrouting", "nat", "postrouting", "srcnat - 5"),
)
"""Just before other tables' chains. Policy accept: what isn't ours is not decided here."""

_ADDRESSES = ("own", "nodes", "temporary")
_NETWORKS = ("forward_to", "forward_from", "masquerade_to")
_FAMILIES = (("ip", 4), ("ip6", 6))


def table_name(interface: str) -> str:
    return f"meshd-{interface}"


def sets(wanted: DesiredFirewall) -> dict[str, frozenset[Address] | frozenset[Network]]:
    """The contents of the named sets. Default routes let members out, but nobody in: they are in `forward_to` alone."""
    return {
        "own": wanted.own_addresses,
        "nodes": wanted.nodes,
        "temporary": wanted.temporary,
        "forward_to": wanted.forward_to,
        "forward_from": frozenset(network for network in wanted.forward_to if network.prefixlen),
        "masquerade_to": wanted.masquerade_to,
    }


def script(interface: str, wanted: DesiredFirewall) -> str:
    """The whole transaction. Every value comes from a typed one; nothing a caller wrote is passed through."""
    table = f"inet {table_name(interface)}"
    lines = [f"add table {table}"]
    for name in _ADDRESSES:
        lines += [f"add set {table} {name}{version} {{ type ipv{version}_addr; }}" for _, version in _FAMILIES]
    for name in _NETWORKS:
        lines += [
            f"add set {table} {name}{version} {{ type ipv{version}_addr; flags interval; }}" for _, version in _FAMILIES
        ]
    for chain, kind, hook, priority in _CHAINS:
        lines.append(f"add chain {table} {chain} {{ type {kind} hook {hook} priority {priority}; policy accept; }}")
    lines.append(f"flush table {table}")
    for name, values in sets(wanted).items():
        for _, version in _FAMILIES:
            lines.append(f"flush set {table} {name}{version}")
            elements = _elements(values, version)
            if elements:
                lines.append(f"add element {table} {name}{version} {{ {', '.join(elements)} }}")
    lines += [f"add rule {table} {rule}" for rule in _rules(interface, wanted)]
    return "\n".join(lines) + "\n"


def additions(interface: str, before: DesiredFirewall, wanted: DesiredFirewall) -> str | None:
    """A transaction for a table that holds `before`, where only elements are to be added; None where more differs.

    It takes 3 ms. The whole one takes 20: emptying one interval set is 8 to 16 ms in the kernel. Single elements are
    not deleted: Linux 6.12 says of some that lie beside others that they don't exist.
    """
    if _rules(interface, before) != _rules(interface, wanted):
        return None
    lines = []
    old, new = sets(before), sets(wanted)
    for name in new:
        for _, version in _FAMILIES:
            there, elements = _elements(old[name], version), _elements(new[name], version)
            if set(there) - set(elements):
                return None
            added = [one for one in elements if one not in there]
            if added:
                lines.append(f"add element inet {table_name(interface)} {name}{version} {{ {', '.join(added)} }}")
    return "\n".join(lines) + "\n"


def _elements(values: Iterable[Address | Network], version: int) -> list[str]:
    """Sorted; networks that lie in others are left out, because an interval set takes no overlap."""
    chosen = [one for one in values if one.version == version]
    networks4 = [one for one in chosen if isinstance(one, IPv4Network)]
    networks6 = [one for one in chosen if isinstance(one, IPv6Network)]
    if networks4 or networks6:
        return [str(one) for one in (*collapse_addresses(networks4), *collapse_addresses(networks6))]
    return [str(one) for one in sorted(chosen, key=int)]  # type: ignore[arg-type]  # only addresses are left


def _rules(interface: str, wanted: DesiredFirewall) -> list[str]:
    return [
        *_input(f'"{interface}"', wanted),
        *_forward(f'"{interface}"', wanted),
        *_postrouting(f'"{interface}"', wanted),
    ]


def _input(mesh: str, wanted: DesiredFirewall) -> list[str]:
    rules = [f"input iifname != {{ {mesh}, lo }} {ip} daddr @own{version} drop" for ip, version in _FAMILIES]
    for ip, version in _FAMILIES:
        guest = f"input iifname {mesh} {ip} saddr @temporary{version}"
        if wanted.redeem_port:
            rules.append(f"{guest} {ip} daddr @own{version} tcp dport {wanted.redeem_port} accept")
        rules.append(f"{guest} drop")
        if wanted.redis_port:
            rules.append(
                f"input iifname {mesh} {ip} saddr != @nodes{version} tcp dport {wanted.redis_port} "
                "reject with tcp reset"
            )
    return rules


def _forward(mesh: str, wanted: DesiredFirewall) -> list[str]:
    prefix = wanted.transport_prefix
    if prefix is None:
        return [f"forward iifname {mesh} drop", f"forward oifname {mesh} drop"]
    inside = f"iifname {mesh} oifname {mesh}"
    rules = [f"forward iifname {mesh} {ip} saddr @temporary{version} drop" for ip, version in _FAMILIES]
    rules += [f"forward {way} {mesh} tcp flags syn tcp option maxseg size set rt mtu" for way in ("iifname", "oifname")]
    rules.append(f"forward {inside} ip6 saddr {prefix} ip6 daddr {prefix} accept")
    for ip, version in _FAMILIES:
        rules.append(f"forward {inside} {ip} daddr @forward_from{version} accept")
        rules.append(f"forward {inside} {ip} saddr @forward_from{version} accept")
    rules.append(f"forward {inside} drop")
    rules += [f"forward iifname {mesh} {ip} daddr @forward_to{version} accept" for ip, version in _FAMILIES]
    rules.append(f"forward iifname {mesh} drop")
    rules.append(f"forward oifname {mesh} ct state established,related accept")
    rules += [f"forward oifname {mesh} {ip} saddr @forward_from{version} accept" for ip, version in _FAMILIES]
    rules.append(f"forward oifname {mesh} drop")
    return rules


def _postrouting(mesh: str, wanted: DesiredFirewall) -> list[str]:
    if not wanted.masquerade_to:
        return []
    return [
        f"postrouting iifname {mesh} oifname != {mesh} {ip} daddr @masquerade_to{version} masquerade"
        for ip, version in _FAMILIES
    ]


@dataclass(frozen=True, slots=True)
class _Known:
    """A table as it was last seen with what we put into it."""

    contents: DesiredFirewall
    digest: str  # of its listing
    generation: int | None  # of all tables, before it was listed


class Tables:
    """The tables of all meshes, and what this process put into each. Everything blocks."""

    def __init__(self) -> None:
        self._set: dict[str, _Known] = {}  # by interface

    def read(self, interface: str) -> DesiredFirewall | None:
        """The contents; None when the table is missing, was changed by somebody, or is of an earlier process.

        While no program changed anything in nftables, it is not listed: that takes 5 to 10 ms and more.
        """
        known = self._set.get(interface)
        if known is None:
            return None
        present = generation()
        if present is not None and present == known.generation:
            return known.contents
        listing = _list(interface)
        if listing is None or _digest(listing) != known.digest:
            return None
        self._set[interface] = replace(known, generation=present)
        return known.contents

    def set(self, interface: str, wanted: DesiredFirewall) -> None:
        """Makes or changes the table, in one transaction."""
        text = script(interface, wanted)
        before = self.read(interface)
        fewer = additions(interface, before, wanted) if before is not None else None
        done = _nft(["-f", "-"], fewer) if fewer is not None else None
        if done is None or done.returncode != 0:
            done = _nft(["-f", "-"], text)
        if done.returncode != 0 and _list(interface) is not None:
            # Somebody gave the table another shape. Only then it is replaced.
            log.warning("the firewall table of %s can't be changed and is made anew", interface)
            done = _nft(["-f", "-"], f"delete table inet {table_name(interface)}\n{text}")
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines()
            raise Failed(
                f"nft refused the table of {interface}: {lines[0] if lines else 'no message'}",
                "look at `nft list ruleset`; the kernel needs nf_tables with nat and conntrack",
            )
        self._set.pop(interface, None)
        present = generation()
        listing = _list(interface)
        if listing is not None and sum("rule" in item for item in listing) == text.count("\nadd rule "):
            self._set[interface] = _Known(wanted, _digest(listing), present)

    def remove(self, interface: str) -> None:
        """Deletes the table; nothing happens when it is gone."""
        self._set.pop(interface, None)
        with contextlib.suppress(FileNotFoundError, PermissionError):  # no nft, no table
            _run(["-f", "-"], f"add table inet {table_name(interface)}\ndelete table inet {table_name(interface)}\n")


def _nft(arguments: list[str], text: str | None = None) -> subprocess.CompletedProcess[str]:
    try:
        return _run(arguments, text)
    except FileNotFoundError as error:
        raise Failed("nft is not installed", install("nftables"), "missing") from error
    except OSError as error:
        raise Failed(f"nft can't be run: {error.strerror}", install("nftables", again=True)) from error


def _run(arguments: list[str], text: str | None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["nft", *arguments],
            input=text,
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT,
            check=False,
            env={"PATH": SYSTEM_PATH},
        )
    except subprocess.TimeoutExpired as error:
        raise Failed("nft did not finish", "look at `nft list ruleset`") from error


def _list(interface: str) -> list[dict[str, Any]] | None:
    done = _nft(["-j", "list", "table", "inet", table_name(interface)])
    if done.returncode != 0:
        return None
    items: list[dict[str, Any]] = [item for item in json.loads(done.stdout)["nftables"] if "metainfo" not in item]
    for item in items:
        for value in item.values():
            value.pop("handle", None)  # it grows with every change
    return items


def _digest(listing: list[dict[str, Any]]) -> str:
    return hashlib.sha256(json.dumps(listing, sort_keys=True).encode()).hexdigest()
