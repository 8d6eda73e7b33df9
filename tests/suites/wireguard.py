"""What every WireGuard backend must do. `BackendSuite` runs over all three, `RealBackendSuite` where packets flow."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Coroutine
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any, Protocol, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from meshd.dataplane.desired import Network, UdpEndpoint
from meshd.dataplane.wireguard.backend import Backend, DeviceChange, DeviceState, PeerChange
from meshd.dataplane.wireguard.memory import changed
from meshd.model.errors import Failed
from meshproto.keys import PrivateKey, PublicKey

T = TypeVar("T")

INTERFACE = f"wg{os.getpid()}"
"""The control sockets of wireguard-go share a folder, so the name is this process's own."""


class Place(Protocol):
    """Where a backend works: this process, or a host in a namespace."""

    backend: Backend
    foreign: str  # a link that is not ours

    def do(self, work: Coroutine[Any, Any, T]) -> T: ...


def private_key() -> PrivateKey:
    return PrivateKey.from_random(os.urandom(32))


def public_key(number: int) -> PublicKey:
    return PublicKey(number.to_bytes(32, "little"))


def networks(*texts: str) -> frozenset[Network]:
    return frozenset(map(ip_network, texts))


def endpoint(address: str, port: int = 10100) -> UdpEndpoint:
    return UdpEndpoint(ip_address(address), port)


def configured(state: DeviceState) -> DeviceState:
    """The part of a state that somebody set."""
    peers = {key: replace(peer, latest_handshake=None, rx_bytes=0, tx_bytes=0) for key, peer in state.peers.items()}
    return replace(state, peers=peers)


class BackendSuite:
    """`place` comes from the class that inherits this."""

    @pytest.fixture
    def backend(self, place: Place) -> Any:
        place.do(place.backend.create(INTERFACE, 1420))
        yield place.backend
        place.do(place.backend.delete(INTERFACE))

    def change(self, place: Place, *peers: PeerChange, **fields: Any) -> DeviceState:
        place.do(place.backend.apply(INTERFACE, DeviceChange(peers=peers, **fields)))
        return place.do(place.backend.read(INTERFACE))

    def test_an_interface_is_made_once_adopted_then_and_removed(self, place: Place) -> None:
        backend = place.backend
        assert not place.do(backend.exists(INTERFACE))
        assert place.do(backend.create(INTERFACE, 1420)) is True
        assert place.do(backend.exists(INTERFACE))
        assert place.do(backend.create(INTERFACE, 1420)) is False
        fresh = place.do(backend.read(INTERFACE))
        assert (fresh.private_key, fresh.fwmark, fresh.peers) == (None, 0, {})
        place.do(backend.delete(INTERFACE))
        assert not place.do(backend.exists(INTERFACE))
        place.do(backend.delete(INTERFACE))

    def test_a_link_of_somebody_else_is_never_taken_nor_removed(self, place: Place) -> None:
        with pytest.raises(Failed, match=f"{place.foreign} already exists and is not ours"):
            place.do(place.backend.create(place.foreign, 1420))
        assert not place.do(place.backend.exists(place.foreign))
        place.do(place.backend.delete(place.foreign))
        with pytest.raises(Failed, match="already exists"):
            place.do(place.backend.create(place.foreign, 1420))

    def test_a_missing_interface_is_an_error_with_a_fix(self, place: Place) -> None:
        with pytest.raises(Failed, match=INTERFACE) as caught:
            place.do(place.backend.read(INTERFACE))
        assert caught.value.fix
        with pytest.raises(Failed, match=INTERFACE) as caught:
            place.do(place.backend.apply(INTERFACE, DeviceChange(fwmark=1)))
        assert caught.value.fix

    def test_everything_that_is_set_is_read_back(self, place: Place, backend: Backend) -> None:
        secret = private_key()
        one, two, three = (private_key().public for _ in range(3))
        everything = networks("0.0.0.0/0", "::/0", "10.51.0.1/32", "fd00::1/128", "2001:db8::/33", "192.0.2.128/25")
        state = self.change(
            place,
            PeerChange(one, endpoint=endpoint("192.0.2.1", 1), keepalive=25, allowed_ips=everything),
            PeerChange(two, endpoint=endpoint("2001:db8::5", 65535), keepalive=65535),
            PeerChange(three),
            private_key=secret,
            listen_port=10177,
            fwmark=0xFFFFFFFF,
        )
        assert (state.private_key, state.listen_port, state.fwmark) == (secret, 10177, 0xFFFFFFFF)
        assert set(state.peers) == {one, two, three}
        assert state.peers[one].endpoint == endpoint("192.0.2.1", 1)
        assert state.peers[one].allowed_ips == everything
        assert state.peers[one].keepalive == 25
        assert state.peers[two].endpoint == endpoint("2001:db8::5", 65535)
        assert (state.peers[two].keepalive, state.peers[two].allowed_ips) == (65535, frozenset())
        assert (state.peers[three].endpoint, state.peers[three].keepalive) == (None, 0)
        assert {peer.latest_handshake for peer in state.peers.values()} == {None}

    def test_what_a_change_does_not_name_stays(self, place: Place, backend: Backend) -> None:
        secret, key = private_key(), private_key().public
        first = PeerChange(key, endpoint=endpoint("192.0.2.1"), keepalive=25, allowed_ips=networks("10.1.0.0/16"))
        before = self.change(place, first, private_key=secret, listen_port=10177, fwmark=7)
        assert self.change(place) == before
        after = self.change(place, PeerChange(key, allowed_ips=networks("10.2.0.0/16")))
        assert (after.private_key, after.listen_port, after.fwmark) == (secret, 10177, 7)
        assert after.peers[key].endpoint == endpoint("192.0.2.1")
        assert after.peers[key].keepalive == 25
        assert after.peers[key].allowed_ips == networks("10.1.0.0/16", "10.2.0.0/16")
        assert self.change(place, PeerChange(key, keepalive=0)).peers[key].keepalive == 0
        assert self.change(place, fwmark=0).fwmark == 0

    def test_allowed_ips_are_replaced_as_a_whole(self, place: Place, backend: Backend) -> None:
        key = private_key().public
        self.change(place, PeerChange(key, allowed_ips=networks("10.1.0.0/16", "fd00::/64")))
        wanted = networks("10.1.0.0/16", "10.3.0.0/16")
        state = self.change(place, PeerChange(key, allowed_ips=wanted, replace_allowed_ips=True))
        assert state.peers[key].allowed_ips == wanted
        assert self.change(place, PeerChange(key, replace_allowed_ips=True)).peers[key].allowed_ips == frozenset()

    def test_an_address_belongs_to_the_peer_that_got_it_last(self, place: Place, backend: Backend) -> None:
        one, two = public_key(1), public_key(2)
        self.change(place, PeerChange(one, allowed_ips=networks("10.1.0.1/32", "10.1.0.2/32", "10.1.0.0/24")))
        state = self.change(place, PeerChange(two, allowed_ips=networks("10.1.0.2/32")))
        assert state.peers[one].allowed_ips == networks("10.1.0.1/32", "10.1.0.0/24")
        assert state.peers[two].allowed_ips == networks("10.1.0.2/32")

    def test_update_only_and_remove_make_no_peer(self, place: Place, backend: Backend) -> None:
        many = frozenset(ip_network((0x0A000000 + number, 32)) for number in range(3000))
        state = self.change(
            place,
            PeerChange(public_key(1), update_only=True, keepalive=5, allowed_ips=many, replace_allowed_ips=True),
            PeerChange(public_key(2), remove=True),
        )
        assert state.peers == {}

    def test_remove_and_add_in_one_change_is_a_fresh_peer(self, place: Place, backend: Backend) -> None:
        one, other = public_key(1), PeerChange(public_key(2), keepalive=9, allowed_ips=networks("10.2.0.0/16"))
        first = PeerChange(one, endpoint=endpoint("192.0.2.1"), keepalive=25, allowed_ips=networks("10.1.0.0/16"))
        before = self.change(place, first, other)
        again = PeerChange(one, allowed_ips=networks("10.3.0.0/16"))
        state = self.change(place, PeerChange(one, remove=True), again)
        assert (state.peers[one].endpoint, state.peers[one].keepalive) == (None, 0)
        assert state.peers[one].allowed_ips == networks("10.3.0.0/16")
        assert state.peers[other.public_key] == before.peers[other.public_key]

    def test_a_machine_is_not_its_own_peer(self, place: Place, backend: Backend) -> None:
        first, second = private_key(), private_key()
        state = self.change(place, PeerChange(first.public), PeerChange(second.public), private_key=first)
        assert set(state.peers) == {second.public}
        assert self.change(place, private_key=second).peers == {}

    def test_thousands_of_peers_and_of_allowed_ips(self, place: Place, backend: Backend) -> None:
        busy = public_key(1)
        many = frozenset(
            [ip_network((0x0A000000 + number, 32)) for number in range(5000)]
            + [ip_network((0xFD << 120 | number, 128)) for number in range(2000)]
        )
        peers = [PeerChange(busy, keepalive=25, endpoint=endpoint("192.0.2.1"), allowed_ips=many)]
        peers += [
            PeerChange(public_key(number), allowed_ips=networks(f"10.200.{number // 250}.{number % 250}/32"))
            for number in range(2, 3000)
        ]
        state = self.change(place, *peers)
        assert {key: peer.allowed_ips for key, peer in state.peers.items()} == {
            peer.public_key: peer.allowed_ips for peer in peers
        }
        assert (state.peers[busy].keepalive, state.peers[busy].endpoint) == (25, endpoint("192.0.2.1"))
        others = frozenset(ip_network((0x0B000000 + number, 32)) for number in range(5000))
        state = self.change(place, PeerChange(busy, update_only=True, allowed_ips=others, replace_allowed_ips=True))
        assert state.peers[busy].allowed_ips == others
        assert len(state.peers) == len(peers)
        gone = [PeerChange(peer.public_key, remove=True) for peer in peers[1:]]
        assert set(self.change(place, *gone).peers) == {busy}

    def test_changes_and_reads_at_once_all_happen(self, place: Place, backend: Backend) -> None:
        async def at_once() -> None:
            changes = [
                backend.apply(INTERFACE, DeviceChange(peers=(PeerChange(public_key(one)),))) for one in range(1, 41)
            ]
            reads = [backend.read(INTERFACE) for _ in range(20)]
            await asyncio.gather(*changes, *reads)

        place.do(at_once())
        assert set(place.do(backend.read(INTERFACE)).peers) == {public_key(one) for one in range(1, 41)}


# --- where there are packets ----------------------------------------------------------------------------------------

OWN = PrivateKey.from_random(b"\x07" * 32)
_KEYS = [public_key(number) for number in range(1, 5)] + [OWN.public]
_NETWORKS = sorted(networks("10.0.0.0/8", "10.1.0.0/16", "10.1.0.1/32", "0.0.0.0/0"), key=str) + sorted(
    networks("fd00::/8", "fd00::1/128", "::/0"), key=str
)
_ENDPOINTS = [endpoint("192.0.2.1"), endpoint("2001:db8::1", 1), endpoint("198.51.100.7", 65535)]

_PEER_CHANGES = st.builds(
    PeerChange,
    st.sampled_from(_KEYS),
    remove=st.booleans(),
    update_only=st.booleans(),
    endpoint=st.none() | st.sampled_from(_ENDPOINTS),
    keepalive=st.none() | st.integers(0, 65535),
    allowed_ips=st.frozensets(st.sampled_from(_NETWORKS)),
    replace_allowed_ips=st.booleans(),
)
CHANGES = st.builds(
    DeviceChange,
    private_key=st.none() | st.just(OWN),
    listen_port=st.none(),
    fwmark=st.none() | st.integers(0, 0xFFFFFFFF),
    peers=st.lists(_PEER_CHANGES, max_size=6).map(tuple),
)


class RealBackendSuite(BackendSuite):
    """`place` is a host: it has `ip` too."""

    @given(changes=st.lists(CHANGES, max_size=6))
    @settings(
        max_examples=40,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
    )
    def test_any_changes_come_to_what_the_model_says(
        self, place: Place, backend: Backend, changes: list[DeviceChange]
    ) -> None:
        gone = tuple(PeerChange(key, remove=True) for key in _KEYS)
        place.do(backend.apply(INTERFACE, DeviceChange(private_key=OWN, listen_port=10177, fwmark=0, peers=gone)))
        model = DeviceState(OWN, 10177, 0, {})
        for change in changes:
            place.do(backend.apply(INTERFACE, change))
            model = changed(model, change)
            assert configured(place.do(backend.read(INTERFACE))) == model

    def test_a_taken_port_is_refused_by_name(self, place: Any, backend: Backend) -> None:
        other = f"{INTERFACE}b"
        place.do(backend.create(other, 1420))
        try:
            for name, port in ((INTERFACE, 10177), (other, 10178)):
                place.do(backend.apply(name, DeviceChange(private_key=private_key(), listen_port=port)))
                place.ip("link", "set", name, "up")
            with pytest.raises(Failed) as caught:
                place.do(backend.apply(other, DeviceChange(listen_port=10177)))
            assert caught.value.code == "port-taken"
            assert "--listen-port" in caught.value.fix
        finally:
            place.do(backend.delete(other))

    def test_one_changed_peer_of_a_thousand_costs_as_much_as_one_of_ten(self, place: Any, backend: Backend) -> None:
        async def apply(numbers: range) -> float:
            change = DeviceChange(
                peers=tuple(
                    PeerChange(
                        public_key(one), keepalive=25, allowed_ips=networks(f"172.16.{one // 250}.{one % 250}/32")
                    )
                    for one in numbers
                )
            )
            began = time.perf_counter()
            await backend.apply(INTERFACE, change)
            return time.perf_counter() - began

        async def quickest() -> float:
            """In ms; the quickest of 40 is what it costs, the others are what the machine did besides."""
            return min([await apply(range(5, 6)) for _ in range(40)]) * 1000

        place.do(apply(range(1, 11)))
        of_ten = place.do(quickest())
        all_at_once = place.do(apply(range(11, 1001))) * 1000
        of_thousand = place.do(quickest())
        print(f"one of 10: {of_ten:.2f} ms, one of 1,000: {of_thousand:.2f} ms, 990 at once: {all_at_once:.0f} ms")
        assert len(place.do(backend.read(INTERFACE)).peers) == 1000
        assert of_thousand < of_ten * 2 + 1
