"""What would stop a mesh from working on this machine, and the fix for each: one function for each finding.

They look at what they are given or at this machine's files, and change nothing. What the siblings know (firewalls,
overlaps, resolvers) comes in as arguments; `assembly.examination` puts it together. Those that read files block.
"""

from __future__ import annotations

import grp
import shutil
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from statistics import median
from types import MappingProxyType

from meshproto import local_pb2
from meshproto.group import way_in

from meshd import defaults
from meshd.programs import install

Address = IPv4Address | IPv6Address
Check = local_pb2.Check
OK, WARNING, ERROR = local_pb2.OK, local_pb2.WARNING, local_pb2.ERROR

PROC = Path("/proc")
NSSWITCH = Path("/etc/nsswitch.conf")

CLOCK_SLACK = 120.0
"""Seconds that two machines' clocks may differ before it is worth a word."""

_PATH = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin"


def finding(
    check: str, problem: str, good: str, fix: str, bad: local_pb2.CheckState.ValueType = local_pb2.WARNING
) -> Check:
    """All is well when there is no `problem`."""
    return Check(check=check, state=bad if problem else OK, found=problem or good, fix=fix if problem else "")


# --- programs and the kernel ------------------------------------------------------------------------------------------


def check_wireguard(backend: str, reason: str, fix: str) -> Check:
    """`fix` is what makes WireGuard work here, "" when it does."""
    return finding("wireguard", reason if fix else "", f"{backend}: {reason}", fix, ERROR)


def check_redis(nodes: Sequence[str], peers_only: bool, external: bool) -> Check:
    """`nodes` are the meshes that this machine is a node of."""
    if external:
        return finding("redis-server", "", "an administrator's (--redis)", "")
    path = shutil.which("redis-server", path=_PATH) or shutil.which("valkey-server", path=_PATH)
    if path is None and peers_only:
        return finding("redis-server", "", "not installed; only nodes need it", "")
    problem = f"not installed; {', '.join(nodes) or 'a node'} needs it" if path is None else ""
    return finding("redis-server", problem, path or "", install("redis-server"), ERROR if nodes else WARNING)


def check_nft() -> Check:
    path = shutil.which("nft", path=_PATH)
    problem = "" if path else "not installed; the firewall of meshes needs it"
    return finding("nft", problem, path or "", install("nftables"), ERROR)


def check_forwarding(nodes: Sequence[str], ipv6: bool) -> Check:
    """A node forwards; meshd switches it on, and something may have switched it off or keep it from doing so."""
    switches = {"IPv4": "net/ipv4/ip_forward"}
    if ipv6:
        switches["IPv6"] = "net/ipv6/conf/all/forwarding"
    off = {name: switch for name, switch in switches.items() if _read(PROC / "sys" / switch) == "0"}
    if not nodes:
        return finding("forwarding", "", "off; meshd switches it on for nodes" if off else "on", "")
    return finding(
        "forwarding",
        f"off for {' and '.join(off)}: {', '.join(nodes)} can't pass packets on" if off else "",
        "on",
        "; ".join(f"sysctl -w {switch.replace('/', '.')}=1" for switch in off.values())
        + " (and see who switches it off: grep -r forward /etc/sysctl.conf /etc/sysctl.d)",
        ERROR,
    )


def check_unread(mesh: str, problem: str, fix: str) -> Check:
    """A mesh of this machine whose files meshd could not use when it started."""
    return finding(mesh, f"does not come up: {problem}", "", fix, ERROR)


def check_overcommit() -> Check:
    """Redis forks to rewrite its file; with strict accounting that needs its memory twice."""
    strict = _read(PROC / "sys/vm/overcommit_memory") == "2"
    problem = "off: redis may fail to rewrite its file" if strict else ""
    return finding("memory overcommit", problem, "allowed", "sysctl -w vm.overcommit_memory=1")


# --- ports ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Port:
    """One that a mesh needs, or would need. An unspecified address is all of them."""

    what: str
    address: Address
    number: int
    kind: socket.SocketKind

    def __str__(self) -> str:
        name = f"{'UDP' if self.kind == socket.SOCK_DGRAM else 'TCP'} port {self.number}"
        return name if self.address.is_unspecified else f"{name} of {self.address}"


def check_ports(
    check: str,
    ports: Iterable[Port],
    owner: Callable[[Address, int, socket.SocketKind], str],
    ours: Callable[[str], bool],
    fix: str,
    bad: local_pb2.CheckState.ValueType = local_pb2.ERROR,
) -> Check:
    """`owner` says who has a port, `ours` whether that is us."""
    taken = []
    for port in ports:
        program = owner(port.address, port.number, port.kind)
        if program and not ours(program):
            taken.append(f"{port} ({port.what}) is taken by {program}")
    return finding(check, "; ".join(taken), "free, or ours", fix, bad)


# --- networks ---------------------------------------------------------------------------------------------------------


def check_networks(mesh: str, overlaps: Mapping[IPv4Network | IPv6Network, str]) -> Check:
    """`overlaps` has a sentence for each network of the mesh that is also a network of this machine."""
    return finding(
        f"networks {mesh}",
        "; ".join(sorted(overlaps.values())) + ": what goes there does not reach the mesh" if overlaps else "",
        "no overlap with this machine's own",
        "give the local network other addresses, or take the route away: ip route",
    )


def check_default_networks(overlaps: Mapping[IPv4Network | IPv6Network, str]) -> Check:
    """For a machine in no mesh: what `meshctl create` would refuse."""
    return finding(
        "networks",
        "; ".join(sorted(overlaps.values())) + ": `meshctl create` refuses its usual addresses" if overlaps else "",
        "the usual addresses of a mesh are free",
        "meshctl create NAME --node-pool CIDR --peer-pool CIDR, with networks that are free everywhere",
    )


def check_firewall(findings: Iterable[tuple[str, str]]) -> list[Check]:
    """`findings` are what other programs' rules may drop, each with its fix."""
    found = [finding("firewall", what, "", fix) for what, fix in findings]
    return found or [finding("firewall", "", "no other program's rules drop what a mesh needs", "")]


# --- clock, names, people ---------------------------------------------------------------------------------------------


def check_clock(
    now: float, installed: float, newest: float, newest_what: str, ahead: Mapping[str, float] = MappingProxyType({})
) -> Check:
    """`newest` is the latest time known from others, in Unix seconds, as `installed` is; 0 for none. `ahead`: the nodes
    that answer, and by how many seconds their clocks are ahead of this one's."""
    problem = ""
    middle = median(ahead.values()) if ahead else 0.0
    if abs(middle) > CLOCK_SLACK:  # most of them agree that it is this one
        away = sorted(name for name, seconds in ahead.items() if abs(seconds) > CLOCK_SLACK)
        way = "behind" if middle > 0 else "ahead of"
        problem = f"{_span(abs(middle))} {way} the clock{'s' * (len(away) > 1)} of {', '.join(away)}"
    for behind, what in ((installed - now, "this program was installed"), (newest - now, newest_what)):
        if behind > CLOCK_SLACK and not problem:
            problem = f"{_span(behind)} before {what}"
    return finding("clock", problem, "plausible", "set it: timedatectl set-ntp true, or date -s '…' as root", ERROR)


def _span(seconds: float) -> str:
    if seconds >= 2 * 86400:
        return f"{seconds / 86400:.0f} days"
    return f"{seconds / 3600:.0f} h" if seconds >= 2 * 3600 else f"{seconds / 60:.0f} min"


def check_resolver(resolvers: Sequence[Address], silent: Sequence[Address], hosts_file: bool) -> list[Check]:
    """`resolvers` are those in resolv.conf, `silent` those of them that don't answer."""
    problem = ""
    if not resolvers:
        problem = "/etc/resolv.conf names none: hosts given by name are not found, and a node's DNS forwards nothing"
    elif silent:
        none = " (no other answers)" if len(silent) == len(resolvers) else ""
        problem = f"{', '.join(map(str, silent))} does not answer{none}"
    checks = [
        finding(
            "resolver",
            problem,
            ", ".join(map(str, resolvers)),
            "name one that answers in /etc/resolv.conf: nameserver ADDRESS",
        )
    ]
    if hosts_file:
        problem = (
            ""
            if reads_hosts_file(_read(NSSWITCH))
            else f"{NSSWITCH} leaves out the hosts file, where the members' names are"
        )
        fix = f"put `files` first in its line of {NSSWITCH}: hosts: files dns"
        checks.append(finding("name service switch", problem, "the hosts file is read for names", fix))
    return checks


def reads_hosts_file(text: str) -> bool:
    """Whether programs look into the hosts file by nsswitch.conf; they do when it has no line for hosts (man 5)."""
    lines = [line.partition("#")[0].split() for line in text.splitlines()]
    sources = next((words[1:] for words in lines if words[:1] == ["hosts:"]), None)
    return sources is None or "files" in sources


def check_group(user: str, permitted: bool) -> Check:
    """`user` is who asks, `permitted` whether they may change anything."""
    name = f"group {defaults.GROUP}"
    try:
        members = grp.getgrnam(defaults.GROUP).gr_mem
    except KeyError:
        problem, good = "does not exist: only root can change anything", ""
        return finding(name, problem, good, way_in("USER" if user == "root" else user))
    good = ", ".join(members) or "nobody is in it; root can change everything"
    if permitted:
        return finding(name, "", good, "")
    if user in members:
        return finding(name, f"{user} is in it, but this session is older", good, way_in(user))
    return finding(name, f"{user} is not in it: may look, and change nothing", good, way_in(user))


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
