"""Every finding: named with its fix when it is there, and gone when it isn't."""

from __future__ import annotations

import grp
import shutil
import socket
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from meshd.observe import doctor
from meshd.observe.doctor import ERROR, OK, WARNING, Check, Port
from meshproto import local_pb2


def bad(check: Check, found: str, fix: str, state: local_pb2.CheckState.ValueType = WARNING) -> None:
    assert check.state == state
    assert found in check.found
    assert fix in check.fix


def good(check: Check, found: str) -> None:
    assert (check.state, check.found, check.fix) == (OK, found, "")


def has_programs(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path: f"/usr/bin/{name}" if name in names else None)


def test_wireguard() -> None:
    bad(doctor.check_wireguard("userspace", "neither works", "modprobe wireguard"), "neither works", "modprobe", ERROR)
    good(doctor.check_wireguard("kernel", "this kernel has WireGuard", ""), "kernel: this kernel has WireGuard")


def test_redis_is_needed_on_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    has_programs(monkeypatch)
    bad(doctor.check_redis(["home"], False, False), "not installed; home needs it", "apt install redis-server", ERROR)
    bad(doctor.check_redis([], False, False), "a node needs it", "apt install redis-server", WARNING)
    good(doctor.check_redis([], True, False), "not installed; only nodes need it")
    good(doctor.check_redis(["home"], False, True), "an administrator's (--redis)")
    has_programs(monkeypatch, "redis-server")
    good(doctor.check_redis(["home"], False, False), "/usr/bin/redis-server")


def test_nft(monkeypatch: pytest.MonkeyPatch) -> None:
    has_programs(monkeypatch)
    bad(doctor.check_nft(), "not installed", "apt install nftables", ERROR)
    has_programs(monkeypatch, "nft")
    good(doctor.check_nft(), "/usr/bin/nft")


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(doctor, "PROC", tmp_path)
    for name in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding", "vm/overcommit_memory"):
        (tmp_path / "sys" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "sys" / name).write_text("1\n")
    return tmp_path / "sys"


def test_forwarding(proc: Path) -> None:
    good(doctor.check_forwarding(["home"], ipv6=True), "on")
    (proc / "net/ipv6/conf/all/forwarding").write_text("0\n")
    bad(
        doctor.check_forwarding(["home"], ipv6=True),
        "off for IPv6: home can't pass packets on",
        "sysctl -w net.ipv6.conf.all.forwarding=1 (",
        ERROR,
    )
    good(doctor.check_forwarding(["home"], ipv6=False), "on")
    (proc / "net/ipv4/ip_forward").write_text("0\n")
    bad(doctor.check_forwarding(["home"], True), "IPv4 and IPv6", "sysctl -w net.ipv4.ip_forward=1; sysctl -w", ERROR)
    good(doctor.check_forwarding([], ipv6=True), "off; meshd switches it on for nodes")


def test_overcommit(proc: Path) -> None:
    good(doctor.check_overcommit(), "allowed")
    (proc / "vm/overcommit_memory").write_text("2\n")
    bad(doctor.check_overcommit(), "redis may fail", "sysctl -w vm.overcommit_memory=1")


def test_ports() -> None:
    ports = [
        Port("WireGuard", ip_address("0.0.0.0"), 10100, socket.SOCK_DGRAM),
        Port("members", ip_address("10.11.0.1"), 9001, socket.SOCK_STREAM),
    ]
    owners = {10100: "openvpn (pid 7)", 9001: "meshd (pid 9)"}

    def owner(address: object, port: int, kind: socket.SocketKind) -> str:
        return owners.get(port, "")

    def ours(program: str) -> bool:
        return "pid 9" in program

    found = doctor.check_ports("ports home", ports, owner, ours, "stop it")
    bad(found, "UDP port 10100 (WireGuard) is taken by openvpn (pid 7)", "stop it", ERROR)
    assert "9001" not in found.found
    owners[9001] = "nginx (pid 8)"
    found = doctor.check_ports("ports home", ports, owner, ours, "stop it")
    bad(found, "TCP port 9001 of 10.11.0.1 (members) is taken by nginx (pid 8)", "stop it", ERROR)
    owners.clear()
    good(doctor.check_ports("ports home", ports, owner, ours, "stop it"), "free, or ours")


def test_networks() -> None:
    overlaps = {ip_network("10.12.0.0/16"): "10.12.0.0/16 overlaps 10.12.7.0/24, which this machine has on wlan0"}
    bad(doctor.check_networks("home", overlaps), "10.12.7.0/24, which this machine has on wlan0", "ip route")
    good(doctor.check_networks("home", {}), "no overlap with this machine's own")
    bad(doctor.check_default_networks(overlaps), "`meshctl create` refuses", "--node-pool CIDR")
    good(doctor.check_default_networks({}), "the usual addresses of a mesh are free")


def test_firewall() -> None:
    first, second = doctor.check_firewall([("ufw may drop joins", "ufw allow 9000/tcp"), ("x may drop y", "z")])
    bad(first, "ufw may drop joins", "ufw allow 9000/tcp")
    bad(second, "x may drop y", "z")
    (only,) = doctor.check_firewall([])
    good(only, "no other program's rules drop what a mesh needs")


def test_clock() -> None:
    now = 2_000_000_000.0
    good(doctor.check_clock(now, now - 5, now + 60, "gw-paris joined home"), "plausible")
    good(doctor.check_clock(now, now - 5, 0, ""), "plausible")
    bad(doctor.check_clock(now, now + 3 * 86400, 0, ""), "3 days before this program was installed", "set-ntp", ERROR)
    bad(doctor.check_clock(now, 0, now + 600, "gw-paris joined home"), "10 min before gw-paris", "date -s", ERROR)
    bad(doctor.check_clock(now, 0, now + 10000, "gw-paris joined home"), "3 h before gw-paris", "date -s", ERROR)
    good(doctor.check_clock(now, 0, 0, "", {"gw-berlin": 0.2, "gw-paris": 4000.0, "gw-oslo": -3.0}), "plausible")
    found = doctor.check_clock(now, 0, 0, "", {"gw-berlin": -7200.0, "gw-paris": -7201.0, "gw-oslo": 1.0})
    bad(found, "2 h ahead of the clocks of gw-berlin, gw-paris", "set-ntp", ERROR)
    bad(doctor.check_clock(now, 0, 0, "", {"gw-berlin": 300}), "5 min behind the clock of gw-berlin", "date", ERROR)


def test_resolver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "NSSWITCH", tmp_path / "nsswitch.conf")
    one, two = ip_address("192.0.2.53"), ip_address("2001:db8::53")
    resolver, switch = doctor.check_resolver([], [], hosts_file=True)
    bad(resolver, "names none", "nameserver ADDRESS")
    good(switch, "the hosts file is read for names")
    bad(doctor.check_resolver([one, two], [two], False)[0], "2001:db8::53 does not answer", "nameserver ADDRESS")
    bad(doctor.check_resolver([one], [one], False)[0], "192.0.2.53 does not answer (no other answers)", "nameserver")
    good(doctor.check_resolver([one, two], [], False)[0], "192.0.2.53, 2001:db8::53")
    (tmp_path / "nsswitch.conf").write_text("passwd: files\nhosts: dns\n")
    bad(doctor.check_resolver([one], [], True)[1], "leaves out the hosts file", "hosts: files dns")
    assert len(doctor.check_resolver([one], [], False)) == 1


@pytest.mark.parametrize(
    ("text", "reads"),
    [
        ("", True),
        ("hosts: files dns\n", True),
        ("hosts:\tfiles mdns4_minimal [NOTFOUND=return] dns myhostname # usual\n", True),
        ("hosts: dns # files\n", False),
        ("# hosts: dns\n", True),
        ("hosts:\n", False),
    ],
)
def test_the_name_service_switch_is_read(text: str, reads: bool) -> None:
    assert doctor.reads_hosts_file(text) is reads


def test_group(monkeypatch: pytest.MonkeyPatch) -> None:
    def group(name: str) -> grp.struct_group:
        assert name == "mesh"
        return grp.struct_group(("mesh", "x", 990, ["ada"]))

    def missing(name: str) -> grp.struct_group:
        raise KeyError(name)

    monkeypatch.setattr(grp, "getgrnam", missing)
    bad(doctor.check_group("root", permitted=True), "does not exist", "groupadd --system mesh")
    monkeypatch.setattr(grp, "getgrnam", group)
    good(doctor.check_group("root", permitted=True), "ada")
    bad(doctor.check_group("ada", permitted=False), "this session is older", "log out and in again")
    bad(doctor.check_group("grace", permitted=False), "grace is not in it", "sudo usermod -aG mesh grace")
