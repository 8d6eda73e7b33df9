"""`meshctl doctor`: asks each part of this machine and its meshes what is wrong, and hands it to `observe.doctor`."""

from __future__ import annotations

import asyncio
import os
import time
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from socket import SOCK_DGRAM, SOCK_STREAM

from meshproto import local_pb2

import meshd
from meshd import defaults
from meshd.assembly.daemon import Daemon
from meshd.assembly.mesh import Mesh
from meshd.assembly.status import mesh_status
from meshd.dataplane import foreign, kernel_network
from meshd.dataplane.desired import Network
from meshd.dataplane.overlap import overlapping
from meshd.model.addresses import DEFAULT_NODE_POOL, DEFAULT_PEER_POOL, Pools
from meshd.model.errors import MeshError
from meshd.model.members import Role
from meshd.naming import resolv_conf
from meshd.naming.resolver_probe import find_silent
from meshd.observe import doctor
from meshd.observe.doctor import Check, Port
from meshd.observe.port_owner import port_owner
from meshd.rpc.actor import Actor, Tier

_ANY = IPv4Address("0.0.0.0")


async def examine(daemon: Daemon, mesh: str, actor: Actor) -> list[Check]:
    """Every check, the good ones too; of one mesh when it is named."""
    meshes = [daemon.find(mesh)] if mesh else list(daemon.meshes.values())
    up = [one for one in meshes if one.choices.up]
    checks = await _machine(daemon, up)
    checks.append(await asyncio.to_thread(doctor.check_group, actor.user, actor.tier is Tier.OPERATE))
    checks += await _names(daemon)
    own = await asyncio.to_thread(
        kernel_network.networks_by_interface, frozenset(one.choices.interface for one in daemon.meshes.values())
    )
    checks += await _firewall(up)
    if not daemon.meshes:
        checks.append(doctor.check_default_networks(overlapping((DEFAULT_NODE_POOL, DEFAULT_PEER_POOL), own)))
        checks.append(await _free_ports())
    checks += [doctor.check_unread(name, str(error), error.fix) for name, error in sorted(daemon.unread.items())]
    for one in meshes:
        checks += _state(daemon, one)
        if one.choices.up:
            checks.append(doctor.check_networks(one.name, overlapping(_networks(one), own)))
            checks.append(await _ports(one))
            checks += one.checks()
    return checks


async def _machine(daemon: Daemon, up: list[Mesh]) -> list[Check]:
    backend = daemon.machine.backend
    choice = await backend.choose_again()
    nodes = [one.name for one in up if one.is_node]
    newest, what = max((_newest(one) for one in up), default=(0.0, ""))
    ahead = {
        member.name: seconds
        for one in up
        for member in one.present
        if one.sessions.prober.answered(member.ipv4)
        and (seconds := one.sessions.prober.contact(member.ipv4).clock_ahead) is not None
    }

    def look() -> list[Check]:
        installed = Path(meshd.__file__).stat().st_mtime
        return [
            doctor.check_redis(nodes, bool(up) and not nodes, bool(daemon.settings.redis)),
            doctor.check_nft(),
            doctor.check_forwarding(nodes, any(one.ipv6 for one in up)),
            doctor.check_clock(time.time(), installed, newest, what, ahead),
            doctor.check_overcommit(),
        ]

    problem = choice.problem.fix if choice.problem else ""
    return [doctor.check_wireguard(choice.backend, choice.reason, problem), *await asyncio.to_thread(look)]


def _newest(mesh: Mesh) -> tuple[float, str]:
    """The latest time that others wrote down, in Unix seconds, and what happened then."""
    times = [(member.joined_ms / 1000, f"{member.name} joined {mesh.name}") for member in mesh.members.values()]
    times += [(one.created_ms / 1000, f"an invite of {mesh.name} was made") for one in mesh.state.invites.values()]
    return max(times, default=(0.0, ""))


async def _names(daemon: Daemon) -> list[Check]:
    resolvers = await asyncio.to_thread(resolv_conf.read)
    silent = await find_silent(resolvers)
    return await asyncio.to_thread(doctor.check_resolver, resolvers, silent, daemon.settings.hosts_file)


async def _firewall(up: list[Mesh]) -> list[Check]:
    needed = [] if up else foreign.packets("", defaults.LISTEN_PORT, defaults.JOIN_PORT)
    for mesh in up:
        choices = mesh.choices
        needed += foreign.packets(choices.interface, choices.listen_port, choices.join_port, forwarding=mesh.is_node)
    try:
        findings = await asyncio.to_thread(foreign.read_findings, needed)
    except MeshError as error:
        return doctor.check_firewall([(error.message, error.fix)])
    return doctor.check_firewall([(one.describe(), one.fix) for one in findings])


def _networks(mesh: Mesh) -> list[Network]:
    """The mesh's own, as they are used; not this node's subnet, whose hosts are here."""
    pools = Pools.from_settings(mesh.state.settings)
    networks: list[Network] = [pools.peer_pool, pools.ula, pools.transport]
    for member in mesh.members.values():
        if member.role is Role.NODE and member.subnet and member.id != mesh.choices.member_id:
            networks.append(member.subnet)
    return networks


async def _free_ports() -> Check:
    """For a machine in no mesh yet."""
    ports = [
        Port("WireGuard", _ANY, defaults.LISTEN_PORT, SOCK_DGRAM),
        Port("joins", _ANY, defaults.JOIN_PORT, SOCK_STREAM),
    ]
    return await asyncio.to_thread(
        doctor.check_ports,
        "ports",
        ports,
        port_owner,
        lambda program: False,
        "none needed: the next free one is taken; or choose with --listen-port and --join-port",
        local_pb2.WARNING,
    )


async def _ports(mesh: Mesh) -> Check:
    ports: list[Port] = []
    device = mesh.sessions.device
    if device is None or device.listen_port != mesh.choices.listen_port:
        ports.append(Port("WireGuard", _ANY, mesh.choices.listen_port, SOCK_DGRAM))
    addresses: list[IPv4Address | IPv6Address] = []
    if mesh.me is not None:
        ports.append(Port("probes", mesh.me.ipv4, defaults.MESH_PORT, SOCK_DGRAM))
        addresses = [mesh.me.ipv4, mesh.me.ipv6] if mesh.ipv6 else [mesh.me.ipv4]
    if mesh.is_node:
        ports += [Port("members", one, defaults.MESH_PORT, SOCK_STREAM) for one in addresses]
        if mesh.choices.join_port:
            ports.append(Port("joins", _ANY, mesh.choices.join_port, SOCK_STREAM))
    return await asyncio.to_thread(
        doctor.check_ports,
        f"ports {mesh.name}",
        ports,
        port_owner,
        lambda program: program.endswith(f"(pid {os.getpid()})"),
        "stop that program, or have it listen on other ports or addresses; meshd takes over within 5 s",
    )


def _state(daemon: Daemon, mesh: Mesh) -> list[Check]:
    status = mesh_status(mesh)
    checks = []
    if status.backend != daemon.machine.backend.choice.backend:
        checks.append(doctor.finding(f"wireguard of {mesh.name}", "", f"{status.backend}: {status.backend_reason}", ""))
    good = status.state == local_pb2.CONNECTED
    fix = f"see `meshctl --mesh {mesh.name} events`"
    checks.append(doctor.finding(f"mesh {mesh.name}", "" if good else status.reason, "connected", fix))
    for network, why in mesh.refused_routes.items():
        fix = f"meshctl routes accept {network}, or meshctl routes ignore {network}"
        checks.append(doctor.finding(f"route {network}", f"not installed: {why}", "", fix))
    return checks
