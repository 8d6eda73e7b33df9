"""The difference between plan and machine, executed on a small model of the kernel and compared again."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from meshd.dataplane.desired import (
    Desired,
    DesiredFirewall,
    DesiredPeer,
    DesiredRoute,
    Network,
    RouteKind,
    UdpEndpoint,
)
from meshd.dataplane.difference import Actual, difference, is_repair
from meshd.dataplane.operations import (
    AddAddress,
    AddRoute,
    ChangeDevice,
    MakeInterface,
    Operation,
    RemoveAddress,
    RemoveRoute,
    ReplaceRoute,
    SetFirewall,
    SetLink,
    SetSysctl,
)
from meshd.dataplane.wireguard.backend import DeviceChange, DeviceState, PeerState
from meshproto.keys import PrivateKey, PublicKey

SECRET = PrivateKey.from_random(bytes(range(32)))
KEYS = [PublicKey(bytes([number] * 32)) for number in range(1, 7)]
NETWORKS = [ip_network(f"10.{number}.0.0/16") for number in range(12, 18)] + [ip_network("fd00:1::/64")]
ENDPOINTS = [UdpEndpoint(ip_address("192.0.2.1"), 10100), UdpEndpoint(ip_address("2001:db8::1"), 10101)]
ADDRESSES = [ip_interface(text) for text in ("10.11.0.1/32", "fd00::1/128", "fd01::1/128")]
FIREWALL = DesiredFirewall(
    frozenset({ADDRESSES[0].ip}), frozenset(), 16379, frozenset(), 9000, None, frozenset(), frozenset()
)


class Machine:
    """What the kernel does with the operations: an allowed-ip is at one peer, a route at one place."""

    def __init__(self, actual: Actual, desired: Desired) -> None:
        self.actual, self.desired = actual, desired
        self.touched: set[PublicKey] = set()

    def run(self, operations: tuple[Operation, ...]) -> None:
        for operation in operations:
            self._run(operation)

    def _run(self, operation: Operation) -> None:
        now = self.actual
        match operation:
            case MakeInterface():
                assert now.device is None
                self.actual = replace(now, device=DeviceState(None, 40000, 0, {}), mtu=1280)
            case ChangeDevice(change):
                self._change(change)
            case SetLink(mtu):
                self.actual = replace(now, up=True, mtu=mtu)
            case AddAddress(address):
                assert address not in now.addresses
                self.actual = replace(now, addresses=now.addresses | {address})
            case RemoveAddress(address):
                assert all(route.source != address.ip for route in now.routes), "the kernel would drop its routes"
                self.actual = replace(now, addresses=now.addresses - {address})
            case AddRoute(route):
                assert self._at(route) is None, "a route is there"
                assert now.up
                self.actual = replace(now, routes=now.routes | {route})
            case ReplaceRoute(route):
                old = self._at(route)
                assert old is not None
                self.actual = replace(now, routes=now.routes - {old} | {route})
            case RemoveRoute(route):
                assert route in now.routes
                self.actual = replace(now, routes=now.routes - {route})
            case SetFirewall():
                self.actual = replace(now, firewall=self.desired.firewall)
            case SetSysctl(name, value):
                self.actual = replace(now, sysctls={**now.sysctls, name: value})

    def _at(self, route: DesiredRoute) -> DesiredRoute | None:
        place = (route.destination, route.metric)
        return next((one for one in self.actual.routes if (one.destination, one.metric) == place), None)

    def _change(self, change: DeviceChange) -> None:
        device = self.actual.device
        assert device is not None
        peers = dict(device.peers)
        for one in change.peers:
            self.touched.add(one.public_key)
            assert not one.replace_allowed_ips, "replacing leaves a gap"
            if one.remove:
                peers.pop(one.public_key, None)
                continue
            if one.public_key not in peers:
                if one.update_only:
                    continue
                peers[one.public_key] = PeerState(one.public_key, None, frozenset(), 0, None, 0, 0)
            for key in peers:
                peers[key] = replace(peers[key], allowed_ips=peers[key].allowed_ips - one.allowed_ips)
            peer = peers[one.public_key]
            peers[one.public_key] = replace(
                peer,
                allowed_ips=peer.allowed_ips | one.allowed_ips,
                endpoint=one.endpoint or peer.endpoint,
                keepalive=peer.keepalive if one.keepalive is None else one.keepalive,
            )
        if change.listen_port is not None:
            assert change.listen_port != device.listen_port, "the same port again drops packets"
        self.actual = replace(
            self.actual,
            device=DeviceState(
                change.private_key or device.private_key,
                device.listen_port if change.listen_port is None else change.listen_port,
                device.fwmark if change.fwmark is None else change.fwmark,
                peers,
            ),
        )


def owned(chosen: list[set[int]]) -> list[frozenset[Network]]:
    """Each network at one peer only."""
    taken: set[int] = set()
    result = []
    for numbers in chosen:
        result.append(frozenset(NETWORKS[number] for number in numbers - taken))
        taken |= numbers
    return result


numbers = st.sets(st.integers(0, len(NETWORKS) - 1))
routes = st.frozensets(
    st.builds(
        DesiredRoute,
        st.sampled_from(NETWORKS),
        st.sampled_from(RouteKind),
        st.sampled_from([0, 1328]),
        st.none(),
        st.sampled_from([0, 7]),
    )
)


@st.composite
def plans(draw: st.DrawFn) -> Desired:
    keys = draw(st.lists(st.sampled_from(KEYS), unique=True))
    networks = owned([draw(numbers) for _ in keys])
    peers = {
        key: DesiredPeer(key, allowed, draw(st.sampled_from([None, *ENDPOINTS])), draw(st.sampled_from([0, 25])))
        for key, allowed in zip(keys, networks, strict=True)
    }
    return Desired(
        interface="home",
        private_key=SECRET,
        listen_port=draw(st.sampled_from([0, 10100, 10101])),
        mtu=1420,
        addresses=draw(st.frozensets(st.sampled_from(ADDRESSES))),
        peers=peers,
        routes=draw(routes),
        firewall=replace(FIREWALL, redis_port=draw(st.sampled_from([0, 16379]))),
        forwarding=draw(st.booleans()),
        fwmark=draw(st.sampled_from([0, 51])),
    )


def unique(chosen: frozenset[DesiredRoute]) -> frozenset[DesiredRoute]:
    return frozenset({(route.destination, route.metric): route for route in chosen}.values())


@st.composite
def machines(draw: st.DrawFn) -> Actual:
    if draw(st.booleans()) and draw(st.booleans()):
        return Actual(None, ipv6=draw(st.booleans()))
    keys = draw(st.lists(st.sampled_from(KEYS), unique=True))
    networks = owned([draw(numbers) for _ in keys])
    peers = {
        key: PeerState(
            key, draw(st.sampled_from([None, *ENDPOINTS])), allowed, draw(st.sampled_from([0, 25])), 1.0, 5, 5
        )
        for key, allowed in zip(keys, networks, strict=True)
    }
    up = draw(st.booleans())
    return Actual(
        DeviceState(draw(st.sampled_from([None, SECRET])), draw(st.sampled_from([10100, 10101])), 0, peers),
        up=up,
        mtu=draw(st.sampled_from([1420, 1280])),
        addresses=draw(st.frozensets(st.sampled_from(ADDRESSES))),
        routes=unique(draw(routes)) if up else frozenset(),
        firewall=draw(st.sampled_from([None, FIREWALL])),
        sysctls=draw(
            st.dictionaries(
                st.sampled_from(
                    [
                        "net/ipv4/ip_forward",
                        "net/ipv6/conf/all/forwarding",
                        "net/ipv4/conf/all/rp_filter",
                        "net/ipv4/conf/eth0/rp_filter",
                        "net/ipv6/conf/eth0/accept_ra",
                    ]
                ),
                st.sampled_from(["0", "1", "2"]),
            )
        ),
        ipv6=draw(st.booleans()),
    )


@given(plans(), machines())
@settings(max_examples=300)
def test_the_machine_comes_to_the_plan_and_then_nothing_is_left(desired: Desired, actual: Actual) -> None:
    machine = Machine(actual, desired)
    machine.run(difference(desired, actual))
    after = machine.actual
    assert difference(desired, after) == ()
    assert after.device is not None
    assert {key: peer.allowed_ips for key, peer in after.device.peers.items()} == {
        key: peer.allowed_ips for key, peer in desired.peers.items()
    }
    assert after.up
    versions = {4, 6} if actual.ipv6 else {4}
    assert after.addresses == {one for one in desired.addresses if one.version in versions}
    places = {(route.destination, route.metric) for route in desired.routes if route.destination.version in versions}
    assert {(route.destination, route.metric) for route in after.routes} == places
    assert after.routes <= desired.routes
    assert after.firewall == desired.firewall


@given(plans(), machines())
@settings(max_examples=150)
def test_a_peer_that_is_right_is_never_mentioned(desired: Desired, actual: Actual) -> None:
    machine = Machine(actual, desired)
    machine.run(difference(desired, actual))
    for key, known in (actual.device.peers if actual.device else {}).items():
        wanted = desired.peers.get(key)
        if (
            wanted is not None
            and known.allowed_ips == wanted.allowed_ips
            and known.keepalive == wanted.keepalive
            and (known.endpoint is not None or wanted.endpoint is None)
        ):
            assert key not in machine.touched


@given(plans(), machines())
@settings(max_examples=150)
def test_an_endpoint_that_is_known_is_left_alone(desired: Desired, actual: Actual) -> None:
    machine = Machine(actual, desired)
    machine.run(difference(desired, actual))
    assert machine.actual.device is not None
    for key, known in (actual.device.peers if actual.device else {}).items():
        if key in desired.peers and known.endpoint is not None:
            assert machine.actual.device.peers[key].endpoint == known.endpoint


def plan(*peers: DesiredPeer, **fields: object) -> Desired:
    base = Desired(
        "home",
        SECRET,
        10100,
        1420,
        frozenset(),
        {peer.public_key: peer for peer in peers},
        frozenset(),
        FIREWALL,
        False,
    )
    return replace(base, **fields)  # type: ignore[arg-type]  # fields of Desired


def machine_with(*peers: PeerState, **fields: object) -> Actual:
    device = DeviceState(SECRET, 10100, 0, {peer.public_key: peer for peer in peers})
    return replace(Actual(device, True, 1420, firewall=FIREWALL), **fields)  # type: ignore[arg-type]


def state(key: PublicKey, *networks: Network) -> PeerState:
    return PeerState(key, ENDPOINTS[0], frozenset(networks), 0, 1.0, 0, 0)


def test_a_network_moves_to_its_new_peer_before_the_old_one_goes() -> None:
    desired = plan(DesiredPeer(KEYS[1], frozenset({NETWORKS[0]}), ENDPOINTS[0]))
    (operation,) = difference(desired, machine_with(state(KEYS[0], NETWORKS[0])))
    assert isinstance(operation, ChangeDevice)
    assert [(one.public_key, one.remove) for one in operation.change.peers] == [(KEYS[1], False), (KEYS[0], True)]


def test_who_loses_access_is_removed_before_the_firewall_forgets_the_address() -> None:
    actual = machine_with(state(KEYS[0], NETWORKS[0]), firewall=None)
    kinds = [type(one) for one in difference(plan(), actual)]
    assert kinds == [ChangeDevice, SetFirewall]


def test_who_gets_access_is_added_after_the_firewall_knows_the_address() -> None:
    desired = plan(DesiredPeer(KEYS[1], frozenset({NETWORKS[0]})))
    kinds = [type(one) for one in difference(desired, machine_with(firewall=None))]
    assert kinds == [SetFirewall, ChangeDevice]


def test_two_routes_for_one_place_do_not_replace_each_other_for_ever() -> None:
    twice = frozenset({DesiredRoute(NETWORKS[0]), DesiredRoute(NETWORKS[0], mtu=1328)})
    desired = plan(routes=twice)
    machine = Machine(machine_with(), desired)
    machine.run(difference(desired, machine.actual))
    assert difference(desired, machine.actual) == ()


def test_each_operation_says_what_was_wrong() -> None:
    route = DesiredRoute(ip_network("10.12.0.0/16"))
    operations = difference(plan(DesiredPeer(KEYS[0], frozenset()), routes=frozenset({route})), machine_with())
    assert [one.describe() for one in operations] == ["1 peer was missing", "route 10.12.0.0/16 was missing"]


def repairs(before: Desired, now: Desired, actual: Actual) -> list[str]:
    return [one.describe() for one in difference(now, actual) if is_repair(one, before, now)]


def test_only_what_somebody_else_undid_is_a_repair() -> None:
    """A change of the plan at the same moment hides nothing and adds nothing."""
    old, new = DesiredRoute(NETWORKS[0]), DesiredRoute(NETWORKS[1])
    before, now = plan(routes=frozenset({old})), plan(routes=frozenset({old, new}))
    machine = Machine(machine_with(), before)
    machine.run(difference(before, machine.actual))
    in_place = machine.actual
    assert repairs(before, now, in_place) == []
    assert repairs(before, now, replace(in_place, routes=frozenset())) == [f"route {NETWORKS[0]} was missing"]
    assert repairs(before, before, replace(in_place, routes=frozenset({old, new}))) == [
        f"route {NETWORKS[1]} was not planned"
    ]
    assert repairs(before, now, replace(in_place, firewall=None)) == [
        f"firewall table meshd-{before.interface} was not as planned"
    ]
    assert repairs(before, replace(now, firewall=replace(FIREWALL, redis_port=1)), in_place) == []


@given(plans(), machines())
def test_with_the_same_plan_everything_is_a_repair(desired: Desired, actual: Actual) -> None:
    assume(actual.ipv6)
    assert all(is_repair(one, desired, desired) for one in difference(desired, actual))


@given(plans(), plans(), machines())
def test_nothing_is_a_repair_where_nobody_interfered(before: Desired, now: Desired, actual: Actual) -> None:
    assume(actual.ipv6)
    machine = Machine(actual, before)
    machine.run(difference(before, actual))
    untouched = [one for one in difference(now, machine.actual) if is_repair(one, before, now)]
    assert [one for one in untouched if not isinstance(one, ReplaceRoute)] == []
