"""Plans applied on real hosts: nothing is lost, what is removed by hand comes back, and leaving leaves nothing."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from meshd.dataplane import kernel_network, route_dump
from meshd.dataplane.desired import Desired, DesiredPeer, DesiredRoute, UdpEndpoint
from meshd.dataplane.watch import KernelWatch
from meshd.model.errors import Conflict
from meshproto.keys import PrivateKey

from .meshes import Pair, pair
from .namespaces import Flood, Host, wire

pytestmark = [
    pytest.mark.root,
    # wireguard-go is meant to outlive the object that started it.
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
]

TURNS = 10 if "LAB_VM" in os.environ else 100
"""An emulated machine takes 2 s for a turn."""

SYSCTLS = ("net.ipv4.conf", "net.ipv4.ip_forward", "net.ipv6.conf")


def connect(hosts: dict[str, Host]) -> Pair:
    both = pair()
    hosts["gateway"].do(hosts["gateway"].network.apply(both.node))
    hosts["laptop"].do(hosts["laptop"].network.apply(both.peer))
    hosts["laptop"].run("ping", "-c", "1", "-W", "10", "10.1.0.1")
    return both


def snapshot(host: Host) -> frozenset[str]:
    """Everything that a mesh could leave behind, without counters and ages."""
    links = json.loads(host.ip("-j", "link"))
    routes = [
        {key: value for key, value in route.items() if key != "flags"}
        for family in ("-4", "-6")
        for route in json.loads(host.ip("-j", family, "route", "show", "table", "all"))
    ]
    addresses = [
        (link["ifname"], one["local"], one["prefixlen"])
        for link in json.loads(host.ip("-j", "addr"))
        for one in link["addr_info"]
    ]
    found = {
        "link": [f"{one['ifname']} {one['mtu']} {one['operstate']}" for one in links],
        "address": addresses,
        "route": [json.dumps(route, sort_keys=True) for route in routes],
        "rule": host.ip("rule").splitlines() + host.ip("-6", "rule").splitlines(),
        "nft": host.run("nft", "list", "ruleset").splitlines(),
        "sysctl": host.run("sysctl", *SYSCTLS).splitlines(),
    }
    return frozenset(f"{kind} {one}" for kind, several in found.items() for one in several)


def quiet(host: Host) -> None:
    """Waits until the kernel's own addresses are no longer tentative: a snapshot would change by itself."""
    for _ in range(200):
        if "tentative" not in host.ip("addr"):
            return
        threading.Event().wait(0.05)
    raise AssertionError("addresses stay tentative")


def stranger() -> DesiredPeer:
    key = PrivateKey.from_random(os.urandom(32)).public
    return DesiredPeer(key, frozenset({ip_network("10.99.0.0/16")}), UdpEndpoint(ip_address("192.0.2.77"), 10100))


def test_a_second_apply_changes_nothing(hosts: dict[str, Host]) -> None:
    both = connect(hosts)
    assert hosts["gateway"].do(hosts["gateway"].network.apply(both.node)) == ()
    assert hosts["laptop"].do(hosts["laptop"].network.apply(both.peer)) == ()
    actual = hosts["laptop"].do(hosts["laptop"].network.read(both.peer))
    assert actual.addresses == both.peer.addresses
    assert actual.routes == both.peer.routes
    assert actual.firewall == both.peer.firewall


def test_a_hundred_changes_of_everything_else_lose_no_packet(hosts: dict[str, Host]) -> None:
    both = connect(hosts)
    gateway, laptop = hosts["gateway"], hosts["laptop"]
    flood = Flood(laptop, "10.1.0.1")

    def variant(base: Desired, turn: int) -> Desired:
        """Another peer, its route, a network that comes and goes at the flooded peer itself, other sets and rules."""
        extra = ip_network("198.51.100.0/24")
        peers = {
            key: replace(peer, allowed_ips=peer.allowed_ips | {extra} if turn % 2 else peer.allowed_ips)
            for key, peer in base.peers.items()
        }
        other = stranger()
        routes = {DesiredRoute(ip_network("10.99.0.0/16"), mtu=1328 if turn % 2 else 0)}
        return replace(
            base,
            peers={**peers, other.public_key: other},
            routes=base.routes | routes | ({DesiredRoute(extra)} if turn % 2 else set()),
            firewall=replace(
                base.firewall,
                nodes=frozenset({ip_address(f"10.12.0.{turn + 1}")}),
                temporary=frozenset({ip_address(f"10.51.1.{turn + 1}")}),
                redis_port=0 if turn % 3 else 16379,
                forward_to=base.firewall.forward_to | {ip_network(f"10.200.{turn}.0/24")},
            ),
        )

    changed = 0
    for turn in range(TURNS):
        changed += len(gateway.do(gateway.network.apply(variant(both.node, turn))))
        changed += len(laptop.do(laptop.network.apply(variant(both.peer, turn))))
    lost, sent = flood.lost()
    assert changed >= 6 * TURNS
    assert sent > 20 * TURNS
    assert lost == 0, f"{lost} of {sent}"


def test_what_is_removed_by_hand_comes_back_and_is_named(hosts: dict[str, Host]) -> None:
    both = connect(hosts)
    host, interface = hosts["gateway"], both.node.interface
    peer = str(next(iter(both.node.peers)))
    removals: dict[str, Callable[[], str]] = {
        "route 10.51.0.0/16 was missing": lambda: host.ip("route", "del", "10.51.0.0/16"),
        "route 10.1.0.0/16 was missing": lambda: host.ip("route", "del", "unreachable", "10.1.0.0/16"),
        "address fd00:1::1 was missing": lambda: host.ip("addr", "del", "fd00:1::1/128", "dev", interface),
        f"firewall table meshd-{interface} was not as planned": lambda: host.run(
            "nft", "flush", "chain", "inet", f"meshd-{interface}", "input"
        ),
        "1 peer was missing": lambda: host.run("wg", "set", interface, "peer", peer, "remove"),
        "the interface was not up with MTU 1420": lambda: host.ip("link", "set", interface, "mtu", "1400"),
        "sysctl net.ipv4.ip_forward was not 1": lambda: host.run("sysctl", "-q", "net.ipv4.ip_forward=0"),
    }
    for sentence, remove in removals.items():
        remove()
        assert sentence in [one.describe() for one in host.do(host.network.apply(both.node))]
        assert host.do(host.network.apply(both.node)) == ()
    host.run("nft", "delete", "table", "inet", f"meshd-{interface}")
    host.ip("link", "set", interface, "down")
    assert len(host.do(host.network.apply(both.node))) > 2
    assert host.do(host.network.apply(both.node)) == ()
    host.run("ping", "-c", "1", "-W", "10", "10.51.0.9")  # who lost the session starts the new one


def test_leaving_leaves_nothing_also_by_another_process(hosts: dict[str, Host]) -> None:
    host = hosts["gateway"]
    host.run("sysctl", "-q", "net.ipv4.conf.up0.rp_filter=1", "net.ipv6.conf.up0.accept_ra=1")
    quiet(host)
    before = snapshot(host)
    both = connect(hosts)
    changed = host.run("sysctl", *SYSCTLS)
    assert "net.ipv4.conf.up0.rp_filter = 2" in changed
    assert "net.ipv6.conf.up0.accept_ra = 2" in changed
    assert snapshot(host) != before
    host.restart_helper()
    host.do(host.network.remove(both.node.interface))
    assert snapshot(host) ^ before == set()
    assert not (host.folder / ".network").exists()


def test_a_new_process_adopts_what_it_finds(hosts: dict[str, Host]) -> None:
    both = connect(hosts)
    host = hosts["gateway"]
    flood = Flood(hosts["laptop"], "10.1.0.1")
    for _ in range(5):
        host.restart_helper()
        # It can't know that nobody touched the table meanwhile, and fills it anew; nothing else.
        done = [one.describe() for one in host.do(host.network.apply(both.node))]
        assert done == [f"firewall table meshd-{both.node.interface} was not as planned"]
    assert flood.lost()[0] == 0


def test_a_route_of_somebody_else_is_not_replaced(hosts: dict[str, Host]) -> None:
    host = hosts["gateway"]
    host.ip("route", "add", "10.51.0.0/16", "via", "192.0.2.2")
    both = pair()
    with pytest.raises(Conflict, match=r"10\.51\.0\.0/16"):
        host.do(host.network.apply(both.node))
    assert "via 192.0.2.2" in host.ip("route", "show", "10.51.0.0/16")
    assert "fd00:1::/64" in host.ip("-6", "route", "show", "proto", str(kernel_network.PROTOCOL))


def test_a_stale_unreachable_route_goes(hosts: dict[str, Host]) -> None:
    both = connect(hosts)
    host = hosts["gateway"]
    plain = frozenset(route for route in both.node.routes if not route.metric)
    host.restart_helper()
    host.do(host.network.apply(replace(both.node, routes=plain)))
    assert "unreachable" not in host.ip("route")


def test_without_ipv6_the_rest_works(hosts: dict[str, Host]) -> None:
    host = hosts["gateway"]
    host.run("sysctl", "-q", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
    both = connect(hosts)
    assert host.do(host.network.apply(both.node)) == ()
    assert "fd00:1::1" not in host.ip("addr")


def test_two_meshes_do_not_disturb_each_other(hosts: dict[str, Host]) -> None:
    gateway, lan = hosts["gateway"], hosts["lan"]
    quiet(gateway)
    before = snapshot(gateway)
    both = connect(hosts)
    other = pair(2, "10.12.3.1", "10.12.3.2")
    flood = Flood(hosts["laptop"], "10.1.0.1")
    for _ in range(3):
        gateway.do(gateway.network.apply(other.node))
        lan.do(lan.network.apply(other.peer))
        lan.run("ping", "-c", "1", "-W", "10", "10.2.0.1")
        gateway.do(gateway.network.remove(other.node.interface))
        lan.do(lan.network.remove(other.peer.interface))
    assert flood.lost()[0] == 0
    assert gateway.do(gateway.network.apply(both.node)) == ()
    gateway.do(gateway.network.apply(other.node))
    gateway.do(gateway.network.remove(both.node.interface))
    assert gateway.run("sysctl", "-n", "net.ipv4.ip_forward").strip() == "1"
    gateway.do(gateway.network.remove(other.node.interface))
    assert snapshot(gateway) ^ before == set()


async def heard(trigger: tuple[str, ...], times: int = 1) -> bool:
    changed = asyncio.Event()
    watch = KernelWatch(changed.set)
    watch.start()
    try:
        for _ in range(times):
            process = await asyncio.create_subprocess_exec(*trigger)
            assert await process.wait() == 0
        async with asyncio.timeout(2):
            await changed.wait()
        return True
    except TimeoutError:
        return False
    finally:
        watch.stop()


@pytest.mark.parametrize(
    ("trigger", "expected"),
    [
        (("ip", "route", "add", "198.51.100.0/24", "via", "192.0.2.2"), True),
        (("ip", "addr", "add", "2001:db8::7/128", "dev", "up0"), True),
        (("ip", "link", "set", "up0", "mtu", "1400"), True),
        (("nft", "add", "table", "inet", "theirs"), True),
        (("ip", "route"), False),
        (("nft", "list", "ruleset"), False),
    ],
    ids=["route", "address", "link", "nftables", "reading routes", "reading nftables"],
)
def test_the_kernel_tells_of_changes(hosts: dict[str, Host], trigger: tuple[str, ...], expected: bool) -> None:
    quiet(hosts["gateway"])
    assert hosts["gateway"].do(heard(trigger)) is expected


def test_an_overflow_is_a_change_too(hosts: dict[str, Host]) -> None:
    host = hosts["gateway"]
    batch = host.folder / "batch"
    batch.write_text("".join(f"route add 100.64.{n // 250}.{n % 250}/32 dev up0\n" for n in range(5000)))

    async def overflow() -> list[str]:
        calls: list[str] = []
        again = asyncio.Event()

        def changed() -> None:
            calls.append("changed")
            again.set()

        watch = KernelWatch(changed)
        watch.start()
        try:
            host.run("ip", "-batch", str(batch))  # blocks this loop: nobody reads the socket meanwhile
            async with asyncio.timeout(5):
                await again.wait()
                again.clear()
                host.run("ip", "route", "flush", "100.64.0.0/32")
                host.ip("route", "del", "100.64.1.1/32")
                await again.wait()
            return calls
        finally:
            watch.stop()

    assert len(host.do(overflow())) >= 2


def test_networks_of_the_machine_are_told_from_ours(hosts: dict[str, Host]) -> None:
    both = connect(hosts)
    host = hosts["gateway"]

    async def read() -> tuple[object, ...]:
        without = frozenset({both.node.interface})
        own = await asyncio.to_thread(kernel_network.networks_by_interface, without)
        return own, await asyncio.to_thread(kernel_network.uplinks)

    own, uplinks = host.do(read())
    assert own == {
        ip_network("192.0.2.0/24"): "up0",
        ip_network("192.0.2.1/32"): "up0",
        ip_network("10.12.3.0/24"): "lan0",
        ip_network("10.12.3.1/32"): "lan0",
    }
    assert uplinks == {"up0"}


def test_a_third_cable_is_watched_for_strict_filtering(hosts: dict[str, Host]) -> None:
    both = connect(hosts)
    host = hosts["gateway"]
    wire(host, hosts["lan"], "up1", "eth8", ("203.0.113.1/24", "203.0.113.2/24"))
    host.run("sysctl", "-q", "net.ipv4.conf.up1.rp_filter=1")
    host.ip("route", "add", "default", "via", "203.0.113.2", "metric", "10")
    done = [one.describe() for one in host.do(host.network.apply(both.node))]
    assert done == [
        "sysctl net.ipv6.conf.up1.accept_ra was not 2",
        "sysctl net.ipv4.conf.up1.rp_filter was not 2",
    ]


def test_routes_are_read_as_ip_shows_them(hosts: dict[str, Host]) -> None:
    host = hosts["gateway"]
    quiet(host)
    for text in (
        "198.51.100.0/24 via 192.0.2.2 mtu 1328 metric 7 src 192.0.2.1",
        "203.0.113.0/24 nexthop via 192.0.2.2 nexthop via 10.12.3.2",
        "unreachable 10.77.0.0/16 metric 9",
        "2001:db8::/64 dev up0 proto 109",
    ):
        host.ip("route", "add", *text.split())

    async def read() -> tuple[list[route_dump.KernelRoute], list[route_dump.KernelRoute]]:
        return route_dump.read_routes(), route_dump.read_routes(kernel_network.PROTOCOL)

    found, ours = host.do(read())
    shown = [
        one for family in ("-4", "-6") for one in json.loads(host.ip("-j", family, "route")) if one["dst"] != "ff00::/8"
    ]
    assert sorted(str(one.destination) for one in found) == sorted(
        str(ip_network({"default": "0.0.0.0/0"}.get(one["dst"], one["dst"]))) for one in shown
    )
    by_destination = {str(one.destination): one for one in found}
    rich = by_destination["198.51.100.0/24"]
    assert (rich.mtu, rich.metric, str(rich.source), len(rich.interfaces)) == (1328, 7, "192.0.2.1", 1)
    assert len(by_destination["203.0.113.0/24"].interfaces) == 2
    assert (by_destination["10.77.0.0/16"].kind, by_destination["10.77.0.0/16"].metric) == (7, 9)
    assert [str(one.destination) for one in ours] == ["2001:db8::/64"]
