"""Backups on this machine: makes one of a mesh, and has a lost mesh begin again from one."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
import uuid

from meshproto import PROTOCOL_VERSION, local_pb2, node_pb2, state_pb2
from meshproto.keys import PrivateKey

from meshd.assembly.daemon import Daemon
from meshd.assembly.mesh import Mesh
from meshd.cluster.authority import CertificateAuthority
from meshd.cluster.backup import seal, unseal
from meshd.cluster.certificates import new_private_key, signing_request
from meshd.cluster.election import worlds
from meshd.cluster.identity import Choices, Identity, Keys
from meshd.dataplane import kernel_network
from meshd.model.addresses import Pools, check_local
from meshd.model.changes import Context
from meshd.model.changes.restore import restore_mesh, restored_position
from meshd.model.errors import InvalidInput
from meshd.model.members import Role
from meshd.model.state import State


async def back_up(mesh: Mesh, passphrase: str) -> local_pb2.BackUpReply:
    """Raises NotFound on a peer, InvalidInput for a passphrase that is too short."""
    secret, _ = mesh.cluster_keys.present()
    backup = state_pb2.Backup(
        view=mesh.state.to_view(),
        cluster_secret=secret,
        node_id=mesh.choices.member_id,
        made_ms=int(time.time() * 1000),
    )
    data = await asyncio.to_thread(seal, backup, passphrase)
    return local_pb2.BackUpReply(data=data, mesh=mesh.name, position=mesh.state.position.message)


async def restore(daemon: Daemon, asked: local_pb2.RestoreRequest) -> Mesh:
    """Makes this machine a node of the lost mesh, in the place of the one named, with new keys. Raises MeshError."""
    backup = await asyncio.to_thread(unseal, asked.data, asked.passphrase)
    state = State.from_view(backup.view)
    settings = state.settings
    daemon.check_new(settings.name)
    daemon.new_folder(settings.name)
    authority = CertificateAuthority.open(settings, backup.cluster_secret)
    node = state.find_member(asked.member_name or backup.node_id, Role.NODE)
    if node.subnet is None:
        raise InvalidInput(f"{node.name} has no subnet in this backup", "name another node: --name")
    check_local(Pools.from_settings(settings), await asyncio.to_thread(kernel_network.local_networks))
    interface = await daemon.pick_interface(asked.interface, settings.name)
    listen_port = daemon.pick_udp_port(asked.listen_port)
    join_port = daemon.pick_join_port(asked.join_port if asked.HasField("join_port") else None)
    endpoints, private = await daemon.endpoints([asked.endpoint], listen_port)
    wireguard_key, certificate_key = PrivateKey.from_random(os.urandom(32)), new_private_key()
    applicant = node_pb2.Applicant(
        name=node.name,
        public_key=wireguard_key.public.data,
        certificate_request=signing_request(certificate_key, node.name),
        endpoints=endpoints,
        listen_port=listen_port,
        behind_nat=private,
        join_port=join_port,
        protocol_version=PROTOCOL_VERSION,
    )
    context = Context(int(time.time() * 1000), os.urandom, authority)
    begins_s = max(time.time(), backup.made_ms / 1000)  # a clock that was reset must not put it before its backup
    epoch = worlds.restored_epoch(state.position.epoch, begins_s, secrets.randbelow(worlds.DRAWS))
    entry = restore_mesh(state, node, applicant, context, str(uuid.uuid4()), epoch)
    position = restored_position(state, epoch)
    choices = Choices(
        settings.name,
        settings.id,
        node.id,
        Role.NODE,
        interface,
        listen_port,
        join_port,
        (asked.endpoint,) if asked.endpoint else (),
    )
    certificate = State().with_entry(entry, position).members[node.id].certificate
    identity = Identity(
        choices, Keys(wireguard_key, certificate_key), certificate, settings.ca_certificate, backup.cluster_secret
    )
    return await daemon.begin_mesh(identity, entry, position)
