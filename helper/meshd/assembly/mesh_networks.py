"""The networks that a mesh takes up, which nothing else on the machine may use."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from meshproto import state_pb2

from meshd.assembly.mesh import Mesh
from meshd.dataplane import kernel_network
from meshd.dataplane.desired import Network
from meshd.model.addresses import Pools, check_networks
from meshd.model.members import Member


def networks_of(settings: state_pb2.MeshSettings, members: Iterable[Member]) -> list[Network]:
    """Its pools, then the nodes' subnets that lie outside of them. Raises InvalidInput."""
    pools = Pools.from_settings(settings).networks
    subnets = {one.subnet for one in members if one.subnet is not None}
    outside = (one for one in subnets if not any(one.version == pool.version and one.subnet_of(pool) for pool in pools))
    return [*pools, *sorted(outside, key=str)]


async def check_free(networks: Sequence[Network], interface: str, meshes: Iterable[Mesh]) -> None:
    """Raises Conflict naming both where something here, but for that interface, or a mesh of this machine has one."""
    check_networks(networks, await asyncio.to_thread(kernel_network.local_networks, frozenset({interface})))
    for mesh in meshes:
        check_networks(networks, networks_of(mesh.state.settings, mesh.members.values()))
