"""Plans for the hosts of the lab: `gateway` is a node with the subnet 10.12.0.0/16, `laptop` is a peer."""

from __future__ import annotations

import os
from dataclasses import dataclass
from ipaddress import IPv6Network, ip_address, ip_interface, ip_network

from meshd.dataplane.desired import Desired, DesiredFirewall, DesiredPeer, DesiredRoute, RouteKind, UdpEndpoint
from meshproto.keys import PrivateKey

REDIS, REDEEM = 16379, 9000


@dataclass(frozen=True, slots=True)
class Pair:
    """Two members of one mesh, each with its plan. Interface names differ: the control sockets share a folder."""

    node: Desired
    peer: Desired


def pair(number: int = 1, node_underlay: str = "192.0.2.1", peer_underlay: str = "192.0.2.2") -> Pair:
    secrets = [PrivateKey.from_random(os.urandom(32)) for _ in range(2)]
    tag = f"{os.getpid() % 100000}{number}"
    port = 10100 + number
    node4, node6 = ip_address(f"10.{number}.0.1"), ip_address(f"fd00:{number}::1")
    peer4, peer6 = ip_address(f"10.5{number}.0.9"), ip_address(f"fd00:{number}::9")
    pool, ula = ip_network(f"10.5{number}.0.0/16"), ip_network(f"fd00:{number}::/64")
    transport = IPv6Network(f"fd01:{number}::/64")
    lan = ip_network("10.12.3.0/24")
    node = Desired(
        interface=f"node{tag}",
        private_key=secrets[0],
        listen_port=port,
        mtu=1420,
        addresses=frozenset(map(ip_interface, (node4, node6))),
        peers={
            secrets[1].public: DesiredPeer(
                secrets[1].public,
                frozenset(map(ip_network, (peer4, peer6))),
                UdpEndpoint(ip_address(peer_underlay), port),
            )
        },
        routes=frozenset(
            {
                DesiredRoute(pool, mtu=1328, source=node4),
                DesiredRoute(ula, mtu=1328, source=node6),
                DesiredRoute(ip_network(f"10.{number}.0.0/16"), RouteKind.UNREACHABLE, metric=0xFFFF0000),
            }
        ),
        firewall=DesiredFirewall(
            own_addresses=frozenset({node4, node6}),
            nodes=frozenset(),
            redis_port=REDIS,
            temporary=frozenset(),
            redeem_port=REDEEM,
            transport_prefix=transport,
            forward_to=frozenset({lan}),
            masquerade_to=frozenset({lan}),
        ),
        forwarding=True,
    )
    allowed = [ip_network(node4), ip_network(node6), transport]
    routes = [ip_network(f"10.{number}.0.0/16")]
    if number == 1:
        allowed.append(lan)
        routes.append(lan)
    peer = Desired(
        interface=f"peer{tag}",
        private_key=secrets[1],
        listen_port=port,
        mtu=1420,
        addresses=frozenset(map(ip_interface, (peer4, peer6))),
        peers={
            secrets[0].public: DesiredPeer(
                secrets[0].public, frozenset(allowed), UdpEndpoint(ip_address(node_underlay), port), 25
            )
        },
        routes=frozenset(
            {DesiredRoute(one, source=peer4) for one in routes} | {DesiredRoute(ula, mtu=1328, source=peer6)}
        ),
        firewall=DesiredFirewall(
            own_addresses=frozenset({peer4, peer6}),
            nodes=frozenset({node4, node6}),
            redis_port=0,
            temporary=frozenset(),
            redeem_port=0,
            transport_prefix=None,
            forward_to=frozenset(),
            masquerade_to=frozenset(),
        ),
        forwarding=False,
    )
    return Pair(node, peer)
