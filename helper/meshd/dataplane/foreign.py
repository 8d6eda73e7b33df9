"""Firewall rules of other programs (Docker, ufw, firewalld, …) that would drop a mesh's packets; for `doctor`.

`findings` is pure: it walks the chains of `nft -j list ruleset` with the packets that a mesh needs. A rule that it
does not understand is taken as not matching, so what it finds is "may drop".
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from meshd.dataplane.firewall import SYSTEM_PATH, TIME_LIMIT
from meshd.model.errors import Failed
from meshd.programs import install

_DEPTH = 16
"""Jumps that the kernel itself allows (NFT_JUMP_STACK_SIZE, net/netfilter/nf_tables.h)."""

_FAMILIES = frozenset({"inet", "ip", "ip6"})
_ENDS = frozenset({"accept", "drop", "reject"})


@dataclass(frozen=True, slots=True)
class Packet:
    """A new packet that a mesh needs to pass. `protocol` "" is any."""

    what: str
    hook: str  # "input" or "forward"
    protocol: str = ""
    port: int = 0
    interface_in: str = ""
    interface_out: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """A foreign chain that may drop what the mesh needs, and what to do."""

    packet: Packet
    owner: str  # "ufw", "firewalld", "Docker", "iptables" or the table's name
    chain: str  # "ip filter INPUT"
    fix: str

    def describe(self) -> str:
        return f"{self.owner} may drop {self.packet.what} (chain {self.chain})"


def packets(interface: str, listen_port: int, join_port: int = 0, forwarding: bool = False) -> list[Packet]:
    """What one mesh needs of this machine's firewalls. A port 0 is not needed, an interface "" not known yet."""
    needed = [Packet(f"WireGuard on UDP port {listen_port}", "input", "udp", listen_port)] if listen_port else []
    if join_port:
        needed.append(Packet(f"joins on TCP port {join_port}", "input", "tcp", join_port))
    if interface:
        needed.append(Packet(f"what arrives through {interface}", "input", interface_in=interface))
    if interface and forwarding:
        needed.append(Packet(f"what {interface} forwards", "forward", interface_in=interface, interface_out=interface))
    return needed


def read_findings(wanted: list[Packet]) -> list[Finding]:
    """Reads the ruleset. Raises Failed when nft is missing or refuses. Blocks."""
    try:
        done = subprocess.run(
            ["nft", "-j", "list", "ruleset"],
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT,
            check=False,
            env={"PATH": SYSTEM_PATH},
        )
    except FileNotFoundError as error:
        raise Failed("nft is not installed", install("nftables"), "missing") from error
    except OSError as error:
        raise Failed(f"nft can't be run: {error.strerror}", install("nftables", again=True)) from error
    except subprocess.TimeoutExpired as error:
        raise Failed("nft did not finish", "look at `nft list ruleset`") from error
    if done.returncode != 0:
        raise Failed("the firewall rules can't be read", "meshd needs CAP_NET_ADMIN: run it as root or by its service")
    try:
        ruleset = json.loads(done.stdout)
    except ValueError as error:
        raise Failed("nft's answer can't be read", "look at `nft -j list ruleset`") from error
    return findings(ruleset, wanted)


def findings(ruleset: object, wanted: list[Packet]) -> list[Finding]:
    """What would stop these packets. Whatever the ruleset holds, it never raises."""
    rules = _Rules(ruleset)
    found = []
    for packet in wanted:
        for base in rules.bases(packet.hook):
            if rules.verdict(base, packet) in ("drop", "reject"):
                owner = _owner(base, rules)
                found.append(Finding(packet, owner, " ".join(base), _fix(owner, packet)))
    return found


Chain = tuple[str, str, str]
"""Family, table, chain."""


class _Rules:
    def __init__(self, ruleset: object) -> None:
        self._bases: dict[Chain, tuple[str, str]] = {}  # chain -> (hook, policy)
        self.rules: dict[Chain, list[list[Any]]] = {}
        items = ruleset.get("nftables") if isinstance(ruleset, dict) else None
        for item in items if isinstance(items, list) else []:
            chain, rule = (item.get("chain"), item.get("rule")) if isinstance(item, dict) else (None, None)
            if isinstance(chain, dict):
                key = (str(chain.get("family")), str(chain.get("table")), str(chain.get("name")))
                self.rules.setdefault(key, [])
                if chain.get("type") == "filter":
                    self._bases[key] = (str(chain.get("hook")), str(chain.get("policy", "accept")))
            elif isinstance(rule, dict) and isinstance(rule.get("expr"), list):
                key = (str(rule.get("family")), str(rule.get("table")), str(rule.get("chain")))
                self.rules.setdefault(key, []).append(rule["expr"])

    def bases(self, hook: str) -> Iterator[Chain]:
        for key, (at, _) in self._bases.items():
            if at == hook and key[0] in _FAMILIES and not key[1].startswith("meshd-"):
                yield key

    def verdict(self, base: Chain, packet: Packet) -> str:
        return self._walk(base, packet, 0) or self._bases[base][1]

    def _walk(self, chain: Chain, packet: Packet, depth: int) -> str:
        """The verdict of the chain; "" when it has none."""
        for expressions in self.rules.get(chain, []) if depth < _DEPTH else []:
            for expression in expressions:
                kind, value = _only(expression)
                if kind in ("counter", "log", "comment"):
                    continue
                if kind == "match" and _matches(value, packet):
                    continue
                if kind in _ENDS:
                    return kind
                if kind in ("jump", "goto") and isinstance(value, dict):
                    inner = self._walk((chain[0], chain[1], str(value.get("target"))), packet, depth + 1)
                    if inner:
                        return inner
                    if kind == "goto":
                        return ""
                    continue
                if kind == "return":
                    return ""
                break
        return ""


def _only(expression: object) -> tuple[str, Any]:
    if isinstance(expression, dict) and len(expression) == 1:
        kind, value = next(iter(expression.items()))
        return str(kind), value
    return "", None


def _matches(match: object, packet: Packet) -> bool:
    """Whether the packet surely matches; False for whatever is not understood."""
    if not isinstance(match, dict):
        return False
    value = _value(match.get("left"), packet)
    operator, right = match.get("op"), match.get("right")
    if value is None:
        return False
    inside = _contains(right, value)
    return not inside if operator == "!=" else inside and operator in ("==", "in")


def _value(left: object, packet: Packet) -> str | int | None:
    kind, inner = _only(left)
    if not isinstance(inner, dict):
        return None
    if kind == "meta":
        known = {"iifname": packet.interface_in, "oifname": packet.interface_out, "l4proto": packet.protocol}
        return known.get(str(inner.get("key"))) or None
    if kind == "payload" and inner.get("field") == "dport" and packet.port:
        return packet.port if inner.get("protocol") in (packet.protocol, "th") else None
    if kind == "payload" and inner.get("field") in ("protocol", "nexthdr"):
        return packet.protocol or None
    return "new" if kind == "ct" and inner.get("key") == "state" else None


def _contains(right: object, value: str | int) -> bool:
    if isinstance(right, list):
        return any(_contains(one, value) for one in right)
    if isinstance(right, dict):
        ends = right.get("range")
        if isinstance(ends, list) and len(ends) == 2 and all(isinstance(one, int) for one in (*ends, value)):
            return bool(ends[0] <= value <= ends[1])
        return _contains(right.get("set"), value) if "set" in right else False
    if isinstance(right, str) and right.endswith("*") and isinstance(value, str):
        return value.startswith(right[:-1])
    return right == value


def _owner(base: Chain, rules: _Rules) -> str:
    family, table, chain = base
    names = {name for _, inside, name in rules.rules if inside == table}
    if table == "firewalld":
        return "firewalld"
    if any(name.startswith(("ufw-", "ufw6-")) for name in names):
        return "ufw"
    if chain == "FORWARD" and any(name.startswith("DOCKER") for name in names):
        return "Docker"
    return "iptables" if family != "inet" and chain.isupper() else f"table {family} {table}"


def _fix(owner: str, packet: Packet) -> str:
    port = f"{packet.port}/{packet.protocol}"
    mesh = packet.interface_in
    if owner == "ufw":
        if packet.port:
            return f"ufw allow {port}"
        if packet.hook == "forward":
            return f"ufw route allow in on {mesh}; ufw route allow out on {mesh}"
        return f"ufw allow in on {mesh}"
    if owner == "firewalld":
        if packet.port:
            return f"firewall-cmd --permanent --add-port={port} && firewall-cmd --reload"
        return f"firewall-cmd --permanent --zone=trusted --add-interface={mesh} && firewall-cmd --reload"
    if owner == "Docker":
        return f"iptables -I DOCKER-USER -i {mesh} -j ACCEPT; iptables -I DOCKER-USER -o {mesh} -j ACCEPT"
    if owner == "iptables":
        if packet.port:
            return f"iptables -I INPUT -p {packet.protocol} --dport {packet.port} -j ACCEPT (and with ip6tables)"
        if packet.hook == "forward":
            return f"iptables -I FORWARD -i {mesh} -j ACCEPT; iptables -I FORWARD -o {mesh} -j ACCEPT"
        return f"iptables -I INPUT -i {mesh} -j ACCEPT (and with ip6tables)"
    return f"accept {packet.what} in {owner}"
