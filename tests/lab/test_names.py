"""Names of members: the hosts block on every member, and the DNS server of nodes asked by the real dig."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from lab.hosts.host import CommandFailed, Host, wait_until
from lab.hosts.network import Network

FOREIGN = "192.0.2.9\tprinter # in the hall\n"


@dataclass
class Names:
    network: Network
    berlin: Host
    paris: Host
    ada: Host


def dnsmasq(host: Host, address: str, *options: str) -> None:
    """A real resolver on a host, that knows www.example.org."""
    host.record(
        ["dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--user=root", "--pid-file",
         "--address=/www.example.org/192.0.2.80", "--bind-interfaces", f"--listen-address={address}", *options],
        "dnsmasq",
    )  # fmt: skip


def dig(host: Host, *arguments: str) -> list[str]:
    return host.run(["dig", "+short", "+time=3", "+tries=2", *arguments]).stdout.split()


@pytest.fixture(scope="module")
def names() -> Iterator[Names]:
    network = Network()
    try:
        berlin, paris, ada = (network.host(name) for name in ("gw-berlin", "gw-paris", "laptop-ada"))
        resolver = network.host("resolver")
        dnsmasq(resolver, network.address("resolver"))
        for host in (berlin, paris, ada):
            host.run(f"printf '127.0.0.1 localhost\\n{FOREIGN}' > /etc/hosts")
            host.run(f"echo nameserver {network.address('resolver')} > /etc/resolv.conf")
            host.start_meshd()
        key = berlin.meshctl("create", "home", "--dns-domain", "mesh.example.net")["cluster_key"]
        paris.meshctl("join", "-", network.address("gw-berlin"), input=key)
        text = berlin.meshctl("invites", "create", "laptop-ada")["text"]
        ada.meshctl("join", "-", "--always-on", "--wait", "15", input=text)
        yield Names(network, berlin, paris, ada)
    finally:
        network.close()


def test_the_hosts_block_has_everybody_under_the_chosen_domain(names: Names) -> None:
    for host in (names.berlin, names.paris, names.ada):
        for name, address in (("gw-berlin", "10.11.0.1"), ("gw-paris", "10.12.0.1"), ("laptop-ada", "10.51.0.1")):
            wait_until(
                lambda h=host, n=name, a=address: (
                    a in h.run(["getent", "ahostsv4", f"{n}.mesh.example.net"], check=False).stdout
                ),
                5,
                f"{host.name} to know {name}",
            )
        found = host.run(["getent", "hosts", "gw-paris.mesh.example.net"]).stdout
        assert re.match(r"fd[0-9a-f:]+ +gw-paris\.mesh\.example\.net", found)
        assert host.run("cat /etc/hosts").stdout.startswith(f"127.0.0.1 localhost\n{FOREIGN}# meshd home begin\n")


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
@pytest.mark.parametrize("node", ["gw-berlin", "gw-paris"])
def test_dig_from_a_peer(names: Names, node: str, transport: str) -> None:
    status = names.ada.meshctl("status")["meshes"][0]
    members = {member["name"]: member for member in status["members"]}
    for server in (members[node]["ipv4"], members[node]["ipv6"]):
        ask = (f"@{server}", transport)
        for name in ("gw-berlin", "gw-paris", "laptop-ada"):
            assert dig(names.ada, *ask, f"{name}.mesh.example.net") == [members[name]["ipv4"]]
            assert dig(names.ada, *ask, "AAAA", f"{name}.mesh.example.net") == [members[name]["ipv6"]]
            for address in (members[name]["ipv4"], members[name]["ipv6"]):
                assert dig(names.ada, *ask, "-x", address) == [f"{name}.mesh.example.net."]
        assert dig(names.ada, *ask, "www.example.org") == ["192.0.2.80"]
        answer = names.ada.run(["dig", *ask, "nobody.mesh.example.net"]).stdout
        assert "status: NXDOMAIN" in answer
        assert "flags: qr aa rd ra" in answer


def test_dig_from_the_node_itself(names: Names) -> None:
    assert dig(names.berlin, "@10.11.0.1", "gw-paris.mesh.example.net") == ["10.12.0.1"]


def test_a_host_behind_a_node_is_answered_and_one_on_the_underlay_is_not(names: Names) -> None:
    names.berlin.run("ip addr add 10.11.7.1/24 dev lo")
    assert dig(names.berlin, "-b", "10.11.7.1", "@10.11.0.1", "gw-paris.mesh.example.net") == ["10.12.0.1"]
    underlay = names.network.address("gw-berlin")
    answer = names.berlin.run(["dig", "-b", underlay, "@10.11.0.1", "gw-paris.mesh.example.net"]).stdout
    assert "status: REFUSED" in answer
    names.berlin.run("ip addr del 10.11.7.1/24 dev lo")


def test_an_upstream_that_is_gone_is_a_servfail_in_time(names: Names) -> None:
    names.paris.run("cp /etc/resolv.conf /run/kept; echo nameserver 198.51.100.254 > /etc/resolv.conf")

    def fails() -> bool:  # within two seconds the new resolver is known
        return (
            "status: SERVFAIL" in names.ada.run(["dig", "+time=6", "+tries=1", "@10.12.0.1", "www.example.org"]).stdout
        )

    wait_until(fails, 20, "SERVFAIL")
    assert dig(names.ada, "@10.12.0.1", "gw-berlin.mesh.example.net") == ["10.11.0.1"]
    names.paris.run("cat /run/kept > /etc/resolv.conf")
    wait_until(lambda: dig(names.ada, "@10.12.0.1", "www.example.org") == ["192.0.2.80"], 20, "the resolver to be back")


def test_garbage_leaves_no_traceback(names: Names) -> None:
    program = (
        "import os, socket\n"
        "udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "for n in range(600): udp.sendto(os.urandom(n % 200), ('10.11.0.1', 53))\n"
        "for n in range(30):\n"
        "    tcp = socket.create_connection(('10.11.0.1', 53), 5)\n"
        "    tcp.sendall(os.urandom(n * 10)); tcp.close()\n"
    )
    names.ada.run(["python3", "-c", program])
    wait_until(lambda: dig(names.ada, "@10.11.0.1", "gw-paris.mesh.example.net") == ["10.12.0.1"], 10, "an answer")
    assert "Traceback" not in names.berlin.log()
    assert '"levelname": "ERROR"' not in names.berlin.log()


def test_a_renamed_member_is_found_under_its_new_name_and_a_removed_one_not(names: Names) -> None:
    names.berlin.meshctl("peers", "rename", "laptop-ada", "laptop-lovelace")
    for node in ("10.11.0.1", "10.12.0.1"):
        ask = ("@" + node, "laptop-lovelace.mesh.example.net")
        wait_until(lambda a=ask: dig(names.ada, *a) == ["10.51.0.1"], 5, f"{node} to know the new name")
        assert dig(names.ada, f"@{node}", "laptop-ada.mesh.example.net") == []
    wait_until(lambda: "laptop-lovelace" in names.paris.run("cat /etc/hosts").stdout, 5, "the block to follow")
    assert "laptop-ada.mesh" not in names.paris.run("cat /etc/hosts").stdout
    names.berlin.meshctl("peers", "rename", "laptop-lovelace", "laptop-ada")
    wait_until(
        lambda: dig(names.ada, "@10.11.0.1", "laptop-ada.mesh.example.net") == ["10.51.0.1"], 5, "the old name again"
    )


def test_a_taken_port_is_named_and_dns_comes_when_it_is_free(names: Names) -> None:
    paris = names.paris
    paris.stop_meshd()
    dnsmasq(paris, "0.0.0.0", "--except-interface=nothing")
    wait_until(lambda: ":53 " in paris.run("ss -lnu").stdout, 5, "dnsmasq to listen")
    paris.run("pgrep dnsmasq > /run/dnsmasq.pid")
    paris.start_meshd()

    def check() -> dict[str, str]:
        return next((one for one in paris.meshctl("doctor") if one["check"] == "dns home"), {})

    found = wait_until(lambda: check() if check().get("state") == "warning" else None, 10, "the warning")
    assert re.match(r"UDP port 53 of 10\.12\.0\.1 is taken by dnsmasq \(pid \d+\)", found["found"])
    assert "--dns off" in found["fix"]
    assert "taken by dnsmasq" in paris.meshctl_raw("status").stdout
    status = wait_until(
        lambda: (one := paris.meshctl("status")["meshes"][0])["state"] == "connected" and one, 15, "connected"
    )
    assert any("taken by dnsmasq" in warning for warning in status["warnings"])
    assert "10.11.0.1" in paris.run(["getent", "ahostsv4", "gw-berlin.mesh.example.net"]).stdout
    paris.run("kill $(cat /run/dnsmasq.pid)")
    wait_until(lambda: check().get("state") == "ok", 15, "the port to be taken over")
    assert dig(names.ada, "@10.12.0.1", "gw-berlin.mesh.example.net") == ["10.11.0.1"]
    assert paris.meshctl("status")["meshes"][0]["warnings"] == []


def test_the_switches(names: Names) -> None:
    paris, berlin = names.paris, names.berlin
    before = paris.run("cat /etc/hosts").stdout
    paris.stop_meshd()
    paris.start_meshd("--hosts-file", "off", "--dns", "off")
    wait_until(lambda: "meshd home" not in paris.run("cat /etc/hosts").stdout, 10, "the block to go")
    assert paris.run("cat /etc/hosts").stdout == f"127.0.0.1 localhost\n{FOREIGN}"
    with pytest.raises(CommandFailed, match="ended with 9"):
        dig(names.ada, "@10.12.0.1", "gw-berlin.mesh.example.net")
    assert dig(names.ada, "@10.11.0.1", "gw-paris.mesh.example.net") == ["10.12.0.1"]
    assert berlin.run(["getent", "ahostsv4", "gw-paris.mesh.example.net"]).stdout
    paris.stop_meshd()
    paris.start_meshd()
    wait_until(lambda: paris.run("cat /etc/hosts").stdout == before, 10, "the block to be back")
    wait_until(
        lambda: "10.11.0.1" in paris.run("dig +short @10.12.0.1 gw-berlin.mesh.example.net", check=False).stdout,
        10,
        "DNS to be back",
    )


def test_a_hosts_file_that_nobody_may_write_is_named(names: Names) -> None:
    ada = names.ada
    ada.run("mount --bind /etc/hosts /etc/hosts && mount -o remount,bind,ro /etc/hosts")
    names.berlin.meshctl("peers", "rename", "laptop-ada", "laptop-lovelace")

    def check() -> dict[str, str]:
        return next((one for one in ada.meshctl("doctor") if one["check"] == "hosts file home"), {})

    found = wait_until(lambda: check() if check().get("state") == "warning" else None, 10, "the warning")
    assert found["found"].startswith("/etc/hosts can't be written: Read-only file system")
    assert ada.meshctl("status")["meshes"][0]["state"] == "connected"
    ada.run("umount /etc/hosts")
    wait_until(lambda: check().get("state") == "ok", 10, "the file to be written")
    assert "laptop-lovelace" in ada.run("cat /etc/hosts").stdout
    names.berlin.meshctl("peers", "rename", "laptop-lovelace", "laptop-ada")
    # Before anybody else writes to the file.
    wait_until(lambda: "laptop-ada.mesh" in ada.run("cat /etc/hosts").stdout, 5, "the block to follow")


def test_leaving_takes_the_lines_and_only_them(names: Names) -> None:
    ada = names.ada
    ada.run("printf '192.0.2.10 scanner\\n' >> /etc/hosts")
    ada.meshctl("leave", "home", "--yes")
    assert ada.run("cat /etc/hosts").stdout == f"127.0.0.1 localhost\n{FOREIGN}192.0.2.10 scanner\n"
