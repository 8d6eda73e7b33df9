"""`meshctl doctor`: each problem is made real on a host, named with its fix, taken away, and gone from the answer."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from lab.hosts.host import BIN, Host, wait_until
from lab.hosts.network import Network

Check = dict[str, str]


@dataclass
class Machines:
    network: Network
    berlin: Host  # node of home
    paris: Host  # node of home
    new: Host  # in no mesh


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    network = Network()
    try:
        berlin, paris, new = (network.host(name) for name in ("gw-berlin", "gw-paris", "laptop-new"))
        resolver = network.host("resolver")
        resolver.record(
            ["dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--user=root", "--pid-file",
             "--bind-interfaces", f"--listen-address={network.address('resolver')}"],
            "dnsmasq",
        )  # fmt: skip
        for host in (berlin, paris, new):
            host.run(f"echo nameserver {network.address('resolver')} > /etc/resolv.conf")
            host.run(
                "echo 'hosts: files dns' > /etc/nsswitch.conf; groupdel mesh 2>/dev/null; groupadd mesh", check=False
            )
            host.start_meshd("--backend", "userspace")
        key = berlin.meshctl("create", "home")["cluster_key"]
        paris.meshctl("join", "-", network.address("gw-berlin"), "--wait", "20", input=key)
        yield Machines(network, berlin, paris, new)
    finally:
        network.close()


def checks(host: Host) -> list[Check]:
    found: list[Check] = host.meshctl("doctor")
    return found


def problem(host: Host, name: str, text: str) -> Check | None:
    return next((one for one in checks(host) if one["check"] == name and text in one["found"] and one["fix"]), None)


def fine(host: Host, name: str) -> bool:
    """The check is there, and good."""
    states = [one["state"] for one in checks(host) if one["check"] == name]
    return bool(states) and set(states) == {"ok"}


@contextmanager
def named(host: Host, name: str, text: str, fix: str, limit: float = 12) -> Iterator[None]:
    """The check is fine before; a problem inside; and fine again after what the body takes away."""
    found = wait_until(lambda: problem(host, name, text), limit, f"doctor on {host.name} to say: {name}: {text}")
    assert fix in found["fix"]
    yield
    wait_until(lambda: fine(host, name), 20, f"doctor on {host.name} to find {name} fine again")


def holder(host: Host, *ports: str) -> None:
    """A program that has ports, given as udp:10100:0.0.0.0; its pid is in /run/holder."""
    program = (
        "import os, signal, socket, sys\n"
        "held = []\n"
        "for text in sys.argv[1:]:\n"
        "    kind, port, address = text.split(':')\n"
        "    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == 'udp' else socket.SOCK_STREAM)\n"
        "    kind == 'udp' or one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # of connections that ended\n"
        "    one.bind((address, int(port))); held.append(one)\n"
        "    kind == 'udp' or one.listen()\n"
        "open('/run/holder', 'w').write(str(os.getpid()))\n"
        "signal.pause()\n"
    )
    host.run("rm -f /run/holder")
    host.record(["python3", "-c", program, *ports], "holder")
    wait_until(lambda: host.run("cat /run/holder", check=False).stdout, 5, f"the ports\n{host.recorded('holder')}")


def test_a_good_machine_has_nothing_to_mend(machines: Machines) -> None:
    for host in (machines.berlin, machines.paris, machines.new):
        wait_until(lambda h=host: all(one["state"] == "ok" for one in checks(h)), 15, f"{checks(host)}")
    names = {one["check"] for one in checks(machines.berlin)}
    assert names >= {
        "wireguard", "redis-server", "nft", "forwarding", "clock", "memory overcommit", "group mesh", "resolver",
        "name service switch", "firewall", "mesh home", "networks home", "ports home", "hosts file home", "dns home",
    }  # fmt: skip
    assert {one["check"] for one in checks(machines.new)} >= {"networks", "ports"}


@pytest.mark.parametrize(
    ("program", "check", "package"),
    [
        ("wireguard-go", "wireguard", "apt install wireguard-go"),
        ("redis-server", "redis-server", "apt install redis-server"),
        ("nft", "nft", "apt install nftables"),
    ],
)
def test_a_missing_program(machines: Machines, program: str, check: str, package: str) -> None:
    new = machines.new
    path = new.run(f"realpath $(command -v {program})").stdout.strip()
    new.run(f"mount --bind /dev/null {path}")
    with named(new, check, "not installed", package):
        new.run(f"umount {path}")


def test_ports_that_a_new_mesh_would_use(machines: Machines) -> None:
    new = machines.new
    holder(new, "udp:10100:0.0.0.0", "tcp:9000:127.0.0.1")
    with named(new, "ports", "UDP port 10100 (WireGuard) is taken by python3", "--listen-port"):
        assert problem(new, "ports", "TCP port 9000 (joins) is taken by python3")
        new.run("kill $(cat /run/holder)")


def test_ports_that_a_mesh_has_lost(machines: Machines) -> None:
    berlin = machines.berlin
    berlin.stop_meshd()
    berlin.run("pkill -9 wireguard-go")
    wait_until(lambda: not berlin.run("ss -Hlnu sport = 10100").stdout, 5, "wireguard-go to end")
    holder(berlin, "udp:10100:0.0.0.0", "udp:9001:0.0.0.0", "tcp:9001:0.0.0.0", "tcp:9000:0.0.0.0")
    berlin.start_meshd("--backend", "userspace")
    with named(berlin, "ports home", "UDP port 10100 (WireGuard) is taken by python3", "stop that program", 20):
        for text in (
            "UDP port 9001 of 10.11.0.1 (probes) is taken by python3",
            "TCP port 9001 of 10.11.0.1 (members) is taken by python3",
            "TCP port 9000 (joins) is taken by python3",
        ):
            assert problem(berlin, "ports home", text)
        assert problem(berlin, "mesh home", "can't listen on UDP 10.11.0.1:9001")
        berlin.run("kill $(cat /run/holder)")
    wait_until(lambda: fine(berlin, "mesh home"), 30, "home to be connected again")
    wait_until(lambda: berlin.meshctl("status")["meshes"][0]["writable"], 20, "home to be writable again")


def test_forwarding_that_somebody_switched_off(machines: Machines) -> None:
    berlin = machines.berlin
    berlin.run("mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys")
    # From outside, where /proc/sys can be written: the setting belongs to the network namespace.
    switch = ["nsenter", "-t", str(berlin.pid), "-n", "sh", "-c", "echo 0 > /proc/sys/net/ipv4/ip_forward"]
    subprocess.run(switch, check=True)
    with named(berlin, "forwarding", "off for IPv4: home can't pass packets on", "sysctl -w net.ipv4.ip_forward=1"):
        berlin.run("umount /proc/sys")


def test_networks_of_this_machine_that_overlap(machines: Machines) -> None:
    berlin, new = machines.berlin, machines.new
    berlin.run("ip route add 10.12.7.0/24 dev eth0")
    with named(
        berlin, "networks home", "10.12.0.0/16 overlaps 10.12.7.0/24, which this machine has on eth0", "ip route"
    ):
        berlin.run("ip route del 10.12.7.0/24 dev eth0")
    new.run("ip addr add 10.51.3.1/24 dev eth0")
    with named(new, "networks", "10.51.0.0/16 overlaps 10.51.3", "--peer-pool CIDR"):
        new.run("ip addr del 10.51.3.1/24 dev eth0")


def test_firewall_rules_of_others(machines: Machines) -> None:
    berlin, new = machines.berlin, machines.new
    for host, text, fix in (
        (new, "table inet strict may drop WireGuard on UDP port 10100", "accept"),
        (berlin, "table inet strict may drop what arrives through home", "accept"),
        (berlin, "table inet strict may drop joins on TCP port 9000", "accept"),
    ):
        host.run("nft add table inet strict")
        host.run("nft 'add chain inet strict input { type filter hook input priority 0; policy drop; }'")
        host.run("nft add rule inet strict input tcp dport 22 accept; nft add rule inet strict input iif lo accept")
        with named(host, "firewall", text, fix):
            host.run("nft delete table inet strict")
    berlin.run("nft add table ip filter")
    berlin.run("nft 'add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }'")
    with named(berlin, "firewall", "iptables may drop what home forwards", "iptables -I FORWARD -i home -j ACCEPT"):
        berlin.run("nft delete table ip filter")


def test_a_clock_that_is_behind(machines: Machines) -> None:
    new = machines.new
    new.stop_meshd()
    library = new.run("ls /usr/lib/*/faketime/libfaketimeMT.so.1").stdout.strip()
    new.meshd = new.popen(
        ["env", f"LD_PRELOAD={library}", "FAKETIME=-400d", str(BIN / "meshd"), "--backend", "userspace"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_until(lambda: new.meshctl_raw("status").returncode == 0, 20, "meshd to answer")
    with named(new, "clock", "days before this program was installed", "timedatectl set-ntp true"):
        new.stop_meshd()
        new.start_meshd("--backend", "userspace")


def test_a_clock_that_is_ahead_of_the_others(machines: Machines) -> None:
    paris = machines.paris
    paris.stop_meshd()
    library = paris.run("ls /usr/lib/*/faketime/libfaketimeMT.so.1").stdout.strip()
    fake = {"LD_PRELOAD": library, "FAKETIME": "+3h", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    paris.start_meshd("--backend", "userspace", environment=fake)
    with named(paris, "clock", "3 h ahead of the clock of gw-berlin", "timedatectl set-ntp true"):
        paris.stop_meshd()
        paris.start_meshd("--backend", "userspace")


def test_resolvers_that_are_missing_or_silent(machines: Machines) -> None:
    new = machines.new
    new.run("cp /etc/resolv.conf /run/kept; echo '# none' > /etc/resolv.conf")
    with named(new, "resolver", "names none", "nameserver ADDRESS"):
        new.run("cat /run/kept > /etc/resolv.conf")
    new.run("(cat /run/kept; echo nameserver 198.51.100.254) > /etc/resolv.conf")
    with named(new, "resolver", "198.51.100.254 does not answer", "nameserver ADDRESS"):
        new.run("cat /run/kept > /etc/resolv.conf")


def test_a_name_service_switch_without_the_hosts_file(machines: Machines) -> None:
    new = machines.new
    new.run("echo 'hosts: dns' > /etc/nsswitch.conf")
    with named(new, "name service switch", "leaves out the hosts file", "hosts: files dns"):
        new.run("echo 'hosts: files dns' > /etc/nsswitch.conf")


def test_who_is_in_the_group(machines: Machines) -> None:
    new = machines.new
    group = new.run("getent group mesh").stdout.split(":")[2]

    def asked_by_nobody(*options: str) -> Check:
        # With the right to pass any folder: the programs under test may lie where others may not look.
        rights = "+dac_override,+dac_read_search"
        done = new.run(
            ["setpriv", "--reuid=65534", "--regid=65534", f"--inh-caps={rights}", f"--ambient-caps={rights}", *options,
             str(BIN / "meshctl"), "--json", "doctor"]
        )  # fmt: skip
        return next(one for one in json.loads(done.stdout) if one["check"] == "group mesh")

    found = asked_by_nobody("--clear-groups")
    assert (found["state"], found["found"]) == ("warning", "nobody is not in it: may look, and change nothing")
    assert found["fix"].startswith("sudo usermod -aG mesh nobody")
    new.run("usermod -aG mesh nobody")
    assert "this session is older" in asked_by_nobody("--clear-groups")["found"]
    found = asked_by_nobody(f"--groups={group}")
    assert (found["state"], found["found"]) == ("ok", "nobody")
    new.run("groupdel mesh")
    with named(new, "group mesh", "does not exist: only root can change anything", "groupadd --system mesh"):
        new.run("groupadd mesh")


def test_everything_is_fine_in_the_end(machines: Machines) -> None:
    for host in (machines.berlin, machines.paris, machines.new):
        wait_until(lambda h=host: all(one["state"] == "ok" for one in checks(h)), 15, f"{host.name}: {checks(host)}")
