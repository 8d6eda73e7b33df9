"""A new mesh, with this machine as its first node."""

from __future__ import annotations

import asyncio
import os
import socket
import time
import uuid

from meshproto import PROTOCOL_VERSION, local_pb2, node_pb2
from meshproto.cluster_key import ClusterKey
from meshproto.keys import PrivateKey

from meshd import defaults
from meshd.assembly.daemon import Daemon
from meshd.assembly.mesh import Mesh
from meshd.cluster.authority import CertificateAuthority
from meshd.cluster.certificates import new_private_key, signing_request
from meshd.cluster.identity import Choices, Identity, Keys
from meshd.dataplane import kernel_network
from meshd.model.addresses import check_local, make_pools
from meshd.model.changes import Context, create_mesh
from meshd.model.errors import InvalidInput
from meshd.model.members import Role
from meshd.model.names import check_label, label_from_host
from meshd.model.position import Position
from meshd.model.state import State


async def create(daemon: Daemon, asked: local_pb2.CreateMeshRequest) -> tuple[Mesh, str]:
    """Makes a mesh with this machine as its first node; nothing stays when it fails. Returns it and its key."""
    check_label(asked.name, "mesh name")
    daemon.check_new(asked.name)
    member_name = check_label(asked.member_name or label_from_host(socket.gethostname()), "member name")
    mesh_id = str(uuid.uuid4())
    pools = make_pools(mesh_id, asked.node_pool, asked.node_prefix, asked.peer_pool, asked.network, asked.addressing)
    check_local(pools, await asyncio.to_thread(kernel_network.local_networks))
    for mesh in daemon.meshes.values():
        check_local(pools, [member.subnet for member in mesh.members.values() if member.subnet])
    if asked.mtu and not 1280 <= asked.mtu <= 9000:
        raise InvalidInput(f"an MTU of {asked.mtu} can't carry a mesh", "use 1280 to 9000")
    interface = await daemon.pick_interface(asked.interface, asked.name)
    listen_port = daemon.pick_udp_port(asked.listen_port)
    join_port = daemon.pick_join_port(asked.join_port if asked.HasField("join_port") else None)
    endpoints, private = await daemon.endpoints([asked.endpoint], listen_port)
    daemon.new_folder(asked.name)
    authority = CertificateAuthority.create(mesh_id, asked.name)
    key = ClusterKey.generate(authority.certificate)
    wireguard_key = PrivateKey.from_random(os.urandom(32))
    certificate_key = new_private_key()
    applicant = node_pb2.Applicant(
        name=member_name,
        public_key=wireguard_key.public.data,
        certificate_request=signing_request(certificate_key, member_name),
        endpoints=endpoints,
        listen_port=listen_port,
        behind_nat=private,
        join_port=join_port,
        protocol_version=PROTOCOL_VERSION,
    )
    entry = create_mesh(
        asked.name,
        mesh_id,
        pools,
        asked.dns_domain or f"{asked.name}.{defaults.DOMAIN}",
        asked.mtu or defaults.MTU,
        authority.certificate,
        authority.encrypted_key(key.secret),
        applicant,
        Context(int(time.time() * 1000), os.urandom, authority),
        str(uuid.uuid4()),
        asked.election_timeout_ms,
    )
    position = Position(1, 1)
    state = State().with_entry(entry, position)
    member = state.members[entry.subject_id]
    choices = Choices(
        asked.name,
        mesh_id,
        member.id,
        Role.NODE,
        interface,
        listen_port,
        join_port,
        (asked.endpoint,) if asked.endpoint else (),
    )
    keys = Keys(wireguard_key, certificate_key)
    identity = Identity(choices, keys, member.certificate, authority.certificate, key.secret)
    return await daemon.begin_mesh(identity, entry, position), key.text()
