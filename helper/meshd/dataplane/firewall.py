"""One nftables table for each mesh, `inet meshd-<interface>`, changed only inside one transaction.

Tables, chains and sets are declared (which keeps what is there), flushed, and filled again in the same `nft -f -`:
replacing a table instead loses packets (FACTS: 25 of 100 replacements did, flush and fill none).
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterable

from meshd.dataplane.desired import Address, DesiredFirewall, Network
from meshd.model.errors import Failed

TIME_LIMIT = 20.0
"""Seconds for one nft call; 3,000 set elements take well under one."""


def table_name(interface: str) -> str:
    return f"meshd-{interface}"


def _by_version(values: Iterable[Address | Network], version: int) -> str:
    chosen = sorted((one for one in values if one.version == version), key=str)
    return ", ".join(str(one) for one in chosen)


def script(interface: str, wanted: DesiredFirewall) -> str:
    """The whole transaction. Every value comes from a typed one; nothing a caller wrote is passed through."""
    table = f"inet {table_name(interface)}"
    sets = {
        "own": wanted.own_addresses,
        "nodes": wanted.nodes,
        "temporary": wanted.temporary,
        "forward_to": wanted.forward_to,
        "masquerade_to": wanted.masquerade_to,
    }
    lines = [f"add table {table}"]
    for name in sets:
        for version in (4, 6):
            lines.append(f"add set {table} {name}{version} {{ type ipv{version}_addr; flags interval; auto-merge; }}")
    for chain, hook, priority in (
        ("input", "input", "filter - 5"),
        ("forward", "forward", "filter - 5"),
        ("postrouting", "postrouting", "srcnat - 5"),
    ):
        kind = "nat" if chain == "postrouting" else "filter"
        lines.append(f"add chain {table} {chain} {{ type {kind} hook {hook} priority {priority}; policy accept; }}")
    lines.append(f"flush table {table}")
    for name, values in sets.items():
        for version in (4, 6):
            lines.append(f"flush set {table} {name}{version}")
            elements = _by_version(values, version)
            if elements:
                lines.append(f"add element {table} {name}{version} {{ {elements} }}")
    lines += [f"add rule {table} {rule}" for rule in _rules(interface, wanted)]
    return "\n".join(lines) + "\n"


def _rules(interface: str, wanted: DesiredFirewall) -> list[str]:
    mesh = f'"{interface}"'
    rules = [
        f"input iifname != {{ {mesh}, lo }} ip daddr @own4 drop",
        f"input iifname != {{ {mesh}, lo }} ip6 daddr @own6 drop",
    ]
    if wanted.temporary:
        for ip, version in (("ip", 4), ("ip6", 6)):
            rules.append(
                f"input iifname {mesh} {ip} saddr @temporary{version} "
                f"tcp dport {wanted.redeem_port} {ip} daddr @own{version} accept"
            )
            rules.append(f"input iifname {mesh} {ip} saddr @temporary{version} drop")
            rules.append(f"forward iifname {mesh} {ip} saddr @temporary{version} drop")
    if wanted.redis_port:
        for ip, version in (("ip", 4), ("ip6", 6)):
            rules.append(f"input iifname {mesh} tcp dport {wanted.redis_port} {ip} saddr != @nodes{version} drop")
    if wanted.transport_prefix is None:
        return [*rules, f"forward iifname {mesh} drop", f"forward oifname {mesh} drop"]
    prefix = wanted.transport_prefix
    rules += [
        f"forward iifname {mesh} tcp flags syn tcp option maxseg size set rt mtu",
        f"forward oifname {mesh} tcp flags syn tcp option maxseg size set rt mtu",
        f"forward iifname {mesh} oifname {mesh} ip6 saddr {prefix} ip6 daddr {prefix} accept",
        f"forward iifname {mesh} ip daddr @forward_to4 accept",
        f"forward iifname {mesh} ip6 daddr @forward_to6 accept",
        f"forward iifname {mesh} ct state established,related accept",
        f"forward iifname {mesh} drop",
        f"forward oifname {mesh} ct state established,related accept",
        f"forward oifname {mesh} ip saddr @forward_to4 accept",
        f"forward oifname {mesh} ip6 saddr @forward_to6 accept",
        f"forward oifname {mesh} drop",
        f"postrouting iifname {mesh} oifname != {mesh} ip daddr @masquerade_to4 masquerade",
        f"postrouting iifname {mesh} oifname != {mesh} ip6 daddr @masquerade_to6 masquerade",
    ]
    return rules


def _nft(arguments: list[str], text: str | None = None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["nft", *arguments], input=text, capture_output=True, text=True, timeout=TIME_LIMIT, check=False
        )
    except FileNotFoundError as error:
        raise Failed("nft is not installed", "apt install nftables", "missing") from error
    except subprocess.TimeoutExpired as error:
        raise Failed("nft did not finish") from error


def apply(interface: str, wanted: DesiredFirewall) -> str:
    """Sets the table; returns the digest of what the kernel then has. Blocks."""
    done = _nft(["-f", "-"], script(interface, wanted))
    if done.returncode != 0:
        raise Failed(f"nft refused our table: {done.stderr.strip().splitlines()[0] if done.stderr else 'no message'}")
    return digest(interface)


def digest(interface: str) -> str:
    """A digest of the table as the kernel has it, "" when there is none. Blocks.

    Compared with the digest right after `apply`, it tells whether somebody changed or flushed the table since.
    """
    done = _nft(["-j", "list", "table", "inet", table_name(interface)])
    if done.returncode != 0:
        return ""
    items = [item for item in json.loads(done.stdout)["nftables"] if "metainfo" not in item]
    for item in items:
        for value in item.values():
            value.pop("handle", None)
    return hashlib.sha256(json.dumps(items, sort_keys=True).encode()).hexdigest()


def remove(interface: str) -> None:
    """Deletes the table; nothing happens when it is gone. Blocks."""
    _nft(["delete", "table", "inet", table_name(interface)])
