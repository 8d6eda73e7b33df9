"""The whole helper: the meshes of this machine, and what creates, joins and leaves them."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import socket
import time
import uuid
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from meshproto import VERSION, node_pb2, state_pb2

from meshd import defaults, service_manager
from meshd.assembly.machine import Duties, Machine
from meshd.assembly.mesh import GOODBYE, Mesh
from meshd.assembly.node_duties import NodeDuties
from meshd.assembly.own_endpoints import find_endpoints
from meshd.assembly.pauses import Pauses
from meshd.assembly.peer_duties import PeerDuties
from meshd.assembly.status import states_line
from meshd.cluster.held_keys import drop_keys, held_keys, hold_keys
from meshd.cluster.identity import (
    Identity,
    Keys,
    KeysNeeded,
    delete_identity,
    list_identities,
    load_identity,
    save_identity,
)
from meshd.cluster.joining import Joined
from meshd.dataplane import kernel_network
from meshd.dataplane.apply import HostNetwork
from meshd.dataplane.wireguard.choice import ChosenBackend
from meshd.dataplane.wireguard.kernel import KernelBackend
from meshd.dataplane.wireguard.userspace import UserspaceBackend
from meshd.lasting import keep_running
from meshd.model.errors import Conflict, Failed, MeshError, NotFound
from meshd.model.names import check_interface, default_interface
from meshd.model.position import Position
from meshd.model.state import State
from meshd.observe.journal import Journal
from meshd.rpc.actor import Actor
from meshd.rpc.local_server import LocalServer
from meshd.settings import Settings
from meshd.store.database import Database
from meshd.store.durability import Promise
from meshd.store.external import ExternalServer
from meshd.store.server import RedisServer, StoreServer, socket_path
from meshd.store.view_file import load_view, save_view

log = logging.getLogger(__name__)

Result = TypeVar("Result")

LEAVE_LIMIT = 4.0
"""Seconds that leaving tries to tell the mesh; then this machine is cleaned up all the same."""


class Daemon:
    """Holds the lock of the run folder. One `change_lock`: meshes are created, joined and left one at a time."""

    def __init__(self, settings: Settings, machine: Machine) -> None:
        self.settings = settings
        self.machine = machine
        self.meshes: dict[str, Mesh] = {}
        self.unread: dict[str, MeshError] = {}  # meshes of this machine whose files can't be used, and why
        self.change_lock = asyncio.Lock()
        self.meshes_changed = asyncio.Event()
        self.pauses = Pauses(self)
        self._unfinished: set[asyncio.Task[Any]] = set()

    # --- finding ----------------------------------------------------------------------------------------------------

    def find(self, name: str) -> Mesh:
        """By name or id; "" when there is exactly one. Raises NotFound or Conflict, or why it can't be read."""
        if name:
            for mesh in self.meshes.values():
                if name in (mesh.name, mesh.choices.mesh_id):
                    return mesh
            if name in self.unread:
                raise self.unread[name]
            raise NotFound(f"this machine is not in a mesh {name!r}", "see `meshctl status`")
        if not self.meshes:
            for error in self.unread.values():
                raise error
            raise NotFound("this machine is in no mesh", "meshctl create NAME, or meshctl join …", "no-mesh")
        if len(self.meshes) > 1:
            raise Conflict(
                f"this machine is in several meshes: {', '.join(sorted(self.meshes))}", "say which: --mesh NAME"
            )
        return next(iter(self.meshes.values()))

    def check_new(self, name: str) -> None:
        if name in self.meshes:
            raise Conflict(f"this machine is in {name} already", f"meshctl leave {name}, or choose another name")

    # --- life -------------------------------------------------------------------------------------------------------

    async def start_meshes(self) -> None:
        """Brings back what was there before the helper ended. One that can't come back doesn't hold up the others."""
        for folder in await asyncio.to_thread(list_identities, self.settings.state_dir):
            try:
                identity = await asyncio.to_thread(load_identity, folder)
                view = await asyncio.to_thread(load_view, folder / "view")
                await asyncio.to_thread(Promise.load, folder / "promise.json")
                if identity.held is None:
                    held = await asyncio.to_thread(held_keys, self.settings.run_dir, identity.choices.mesh_id)
                    identity = identity.with_keys(held)
                mesh = Mesh(self.machine, identity, folder, view)
                self.meshes[mesh.name] = mesh
                if identity.choices.up and identity.held is not None:
                    await mesh.starting.begin(self._duties)
            except MeshError as error:
                if folder.name not in self.meshes:
                    self.unread[folder.name] = error
                log.error("%s does not come up: %s (%s)", folder.name, error, error.fix)
                self.machine.journal.add(folder.name, "state", f"does not come up: {error}", severity="error")
        self.pauses.start()

    async def stop_meshes(self) -> None:
        await self.pauses.stop()
        await asyncio.gather(*self._unfinished, return_exceptions=True)
        await asyncio.gather(*(mesh.stop() for mesh in self.meshes.values()))

    def _duties(self, mesh: Mesh) -> Duties:
        if mesh.is_node:
            return NodeDuties(mesh, self.settings.run_dir, self.settings.redis)
        return PeerDuties(mesh)

    def added(self, mesh: Mesh) -> None:
        self.meshes[mesh.name] = mesh
        self.meshes_changed.set()

    def backend_died(self, interface: str) -> None:
        """wireguard-go of that interface ended: its mesh makes it again at once."""
        for mesh in self.meshes.values():
            if mesh.choices.interface == interface and mesh.choices.up:
                mesh.event("repair", f"wireguard-go of {interface} ended; it is started again", severity="warning")
                mesh.wake()

    def prepare_for_sleep(self, member: str, arguments: list[Any]) -> None:
        """logind's signal: True before the machine sleeps, False when it is awake again."""
        if member == "PrepareForSleep" and arguments == [False]:
            log.info("this machine woke up")
            for mesh in self.meshes.values():
                mesh.sessions.woke_up()

    # --- what this machine brings along -----------------------------------------------------------------------------

    async def pick_interface(self, asked: str, mesh: str) -> str:
        taken = await asyncio.to_thread(kernel_network.interface_names)
        if not asked:
            return check_interface(default_interface(mesh, taken))
        check_interface(asked)
        if asked in taken:
            raise Conflict(f"interface {asked} already exists and is not ours", "remove it, or choose --interface")
        return asked

    def pick_udp_port(self, asked: int) -> int:
        """The asked-for port, which must be free; else the default or the next free one."""
        if asked:
            if not _udp_free(asked):
                raise Conflict(f"UDP port {asked} is taken", "choose another --listen-port")
            return asked
        used = {mesh.choices.listen_port for mesh in self.meshes.values()}
        return next(port for port in range(defaults.LISTEN_PORT, 65536) if port not in used and _udp_free(port))

    def pick_join_port(self, asked: int | None) -> int:
        """0 closes it. The asked-for port must be free; else the default or the next free one."""
        if asked == 0:
            return 0
        if asked is not None:
            if not 0 < asked < 65536 or not _tcp_free(asked):
                raise Conflict(f"TCP port {asked} is taken", "choose another --join-port, or 0 for none")
            return asked
        used = {mesh.choices.join_port for mesh in self.meshes.values()} | {defaults.MESH_PORT}
        return next(port for port in range(defaults.JOIN_PORT, 65536) if port not in used and _tcp_free(port))

    async def endpoints(self, given: list[str], listen_port: int) -> tuple[tuple[str, ...], bool]:
        """As `find_endpoints`, before there is a mesh."""
        return await find_endpoints(given, listen_port, frozenset(self.machine.interfaces))

    async def exclusively(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Changes what meshes this machine is in: one after the other, and to the end also when the caller goes away
        in the middle."""

        async def in_turn() -> Result:
            async with self.change_lock:
                return await work

        task = asyncio.create_task(in_turn())
        self.let_finish(task)
        return await asyncio.shield(task)

    def let_finish(self, task: asyncio.Task[Any]) -> None:
        """Work that is done to the end, whoever waits for it; `stop_meshes` does."""
        self._unfinished.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._unfinished.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.debug("ended with: %s", task.exception())  # whoever asked has it, if still there

    # --- create, join, leave ----------------------------------------------------------------------------------------

    def new_folder(self, name: str) -> Path:
        """Where a mesh that begins here keeps its files. Raises Conflict when something is there."""
        folder = self.settings.state_dir / name
        if folder.exists():
            raise Conflict(f"{folder} exists already", f"move it away: mv {folder} {folder}.old")
        return folder

    async def begin_mesh(self, identity: Identity, entry: state_pb2.ChangeEntry, position: Position) -> Mesh:
        """Has a mesh begin with this machine as its only node and with that entry. Nothing stays when it fails."""
        folder = self.new_folder(identity.choices.mesh)
        state = State().with_entry(entry, position)
        server: StoreServer | None = None
        made: Mesh | None = None
        try:
            await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True)
            server = self._store(folder, identity)
            await server.start()
            database = Database(server.connection)
            await database.append(entry, Position(), position)
            await database.close()
            await server.detach()
            await asyncio.to_thread(save_view, folder / "view", state.to_view())
            await asyncio.to_thread(save_identity, folder, identity)
            made = Mesh(self.machine, identity, folder, state.to_view())
            await made.start(self._duties)
            if made.problem:
                raise Failed(made.problem, "see `meshctl doctor`")
        except BaseException:
            if made is not None:
                await made.stop()
            await self._undo(folder, identity, server)
            raise
        self.added(made)
        return made

    def _store(self, folder: Path, identity: Identity) -> StoreServer:
        choices = identity.choices
        if self.settings.redis:
            return ExternalServer(
                self.settings.redis, mesh_id=choices.mesh_id, member_id=choices.member_id, on_exit=log.warning
            )
        return RedisServer(folder / "redis", socket_path(self.settings.run_dir, choices.mesh), on_exit=log.warning)

    async def _undo(self, folder: Path, identity: Identity, server: StoreServer | None) -> None:
        """Takes back what a failed create or join did on this machine."""
        await self.machine.network.remove(identity.choices.interface, frozenset())
        if server is not None:
            try:
                await server.start()
                await server.erase()
            except MeshError as error:
                log.warning("redis of %s could not be removed: %s", identity.choices.mesh, error)
        await asyncio.to_thread(delete_identity, folder)
        await asyncio.to_thread(drop_keys, self.settings.run_dir, identity.choices.mesh_id)

    async def adopt(self, joined: Joined, user: str) -> Mesh:
        """Makes a machine that was let in a running member. `user` is who asked for it here."""
        identity = joined.identity.with_choices(connected_by=user)
        folder = self.settings.state_dir / identity.choices.mesh
        await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True, exist_ok=True)
        await asyncio.to_thread(save_view, folder / "view", joined.view)
        await asyncio.to_thread(save_identity, folder, identity)
        if not identity.choices.always_on:
            await asyncio.to_thread(hold_keys, self.settings.run_dir, identity.choices.mesh_id, identity.keys)
        mesh = Mesh(self.machine, identity, folder, joined.view)
        try:
            await mesh.start(self._duties)
        except BaseException:
            await mesh.stop()
            await self._undo(folder, identity, None)
            raise
        self.added(mesh)
        return mesh

    def _check_joined(self, mesh: Mesh) -> None:
        if self.meshes.get(mesh.name) is not mesh:
            raise NotFound(f"this machine has left {mesh.name} already", "see `meshctl status`")

    async def connect(self, mesh: Mesh, user: str, keys: Keys | None = None) -> None:
        """`keys` come from a person's keyring; `user` is who asks. Raises KeysNeeded when they are missing."""
        self._check_joined(mesh)
        if not mesh.choices.up or mesh.duties is None:
            if keys is not None and not mesh.choices.always_on:
                mesh.identity = mesh.identity.with_keys(keys)
                await asyncio.to_thread(hold_keys, self.settings.run_dir, mesh.choices.mesh_id, keys)
            if mesh.identity.held is None:
                raise KeysNeeded(mesh.choices)
            await mesh.set_choices(up=True, connected_by=user, paused_until_ms=0)
            await mesh.stop()  # it may be waiting to be tried again
            problem = await mesh.starting.begin(self._duties)
            if problem is not None:
                raise problem
            mesh.event("state", f"connected by {user}", actor=user)

    async def disconnect(self, mesh: Mesh, user: str, pause_ms: int = 0) -> None:
        """With `pause_ms` it is connected again after that long, so keys of a keyring are held until then."""
        self._check_joined(mesh)
        was_up = mesh.choices.up
        if was_up or mesh.choices.paused_until_ms:
            until = int(time.time() * 1000) + pause_ms if pause_ms else 0
            by = mesh.choices.connected_by if until else ""
            await mesh.set_choices(up=False, connected_by=by, paused_until_ms=until)
            if was_up:
                await mesh.down()
            if not mesh.choices.always_on and not until:
                mesh.identity = mesh.identity.with_keys(None)
                await asyncio.to_thread(drop_keys, self.settings.run_dir, mesh.choices.mesh_id)
            mesh.event("state", f"paused by {user}" if until else f"disconnected by {user}", actor=user)
            self.pauses.look()

    async def _submit_patiently(self, duties: Duties, change: node_pb2.Change, limit: float) -> node_pb2.ChangeResult:
        """Asks again for a few seconds while no node can be reached: right after a start that passes by itself."""
        deadline = time.monotonic() + limit
        while True:
            result = await duties.submit(change, max(deadline - time.monotonic(), 0.1))
            if result.code != "unavailable" or time.monotonic() + 0.3 > deadline:
                return result
            await asyncio.sleep(0.3)

    async def leave(self, mesh: Mesh, actor: str, limit: float) -> str:
        """Takes this machine out of the mesh.

        `limit`: seconds that the caller waits, 0 for a default. Returns what stays behind elsewhere, "" for nothing.
        """
        self._check_joined(mesh)
        left_behind = await self._tell_and_erase(mesh, actor, min(limit / 2 or LEAVE_LIMIT, LEAVE_LIMIT))
        self.meshes_changed.set()
        self.machine.journal.add(mesh.name, "state", "left", actor=actor)
        return left_behind

    async def _tell_and_erase(self, mesh: Mesh, actor: str, limit: float) -> str:
        left_behind = ""
        me = mesh.me
        if me is not None and mesh.duties is not None and len(mesh.members) > 1:
            change = node_pb2.Change(
                request_id=str(uuid.uuid4()), actor=actor, remove_member=node_pb2.RemoveMember(id=me.id)
            )
            mesh.leaves = True
            result = await self._submit_patiently(mesh.duties, change, limit)
            if result.outcome != node_pb2.ChangeResult.DONE:
                left_behind = f"{me.name} stays in the member list of {mesh.name}: {result.message}"
            elif mesh.is_node:
                await asyncio.sleep(GOODBYE)  # what others send through here still passes
        elif me is not None and mesh.duties is None and len(mesh.members) > 1:
            left_behind = f"{me.name} stays in the member list of {mesh.name}: it is disconnected"
        if mesh.duties is None and mesh.is_node:
            server = self._store(mesh.folder, mesh.identity)
            try:
                await server.start()
                await server.erase()
            except MeshError as error:
                left_behind += f"; the mesh's data stay in its store: {error.message}"
        await mesh.erase()
        await asyncio.to_thread(drop_keys, self.settings.run_dir, mesh.choices.mesh_id)
        self.meshes.pop(mesh.name, None)
        return left_behind


def _udp_free(port: int) -> bool:
    return _free(port, socket.SOCK_DGRAM)


def _tcp_free(port: int) -> bool:
    return _free(port, socket.SOCK_STREAM)


def _free(port: int, kind: socket.SocketKind) -> bool:
    for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        try:
            with socket.socket(family, kind) as probe:
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                if kind == socket.SOCK_STREAM:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
        except OSError as error:
            if error.errno == 98:  # EADDRINUSE
                return False
    return True


def lock_run_dir(run_dir: Path) -> int:
    """Holds the run folder for this helper until the process ends. Raises Failed naming the other one."""
    run_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    descriptor = os.open(run_dir / "meshd.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        other = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise Failed(
            f"another meshd (pid {other}) uses {run_dir}", "stop it, or give this one its own --run-dir and --state-dir"
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


async def serve(settings: Settings, make_api: Callable[[Daemon], object]) -> None:
    """Runs the helper until SIGTERM or SIGINT."""
    lock = lock_run_dir(settings.run_dir)
    settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    userspace = UserspaceBackend(settings.run_dir / "wireguard")
    backend = ChosenBackend(settings.backend, KernelBackend(), userspace)
    choice = await backend.choose_again()
    if choice.problem is None:
        log.info("WireGuard: %s (%s)", choice.backend, choice.reason)
    else:
        log.error("WireGuard: no new interface can be made: %s (%s)", choice.problem, choice.problem.fix)
    journal = Journal()
    network = HostNetwork(backend, settings.state_dir)
    machine = Machine(
        backend,
        network,
        journal,
        settings.state_dir,
        settings.run_dir,
        settings.redis,
        hosts_file=settings.hosts_file,
        dns=settings.dns,
        split_dns=settings.split_dns,
    )
    daemon = Daemon(settings, machine)
    userspace.on_died = daemon.backend_died

    def audit(actor: Actor, method: str, allowed: bool) -> None:
        name = method.rpartition("/")[2]
        log.info("%s called %s: %s", actor.user, name, "allowed" if allowed else "denied")
        journal.add(
            "",
            "audit",
            f"{actor.user} {'called' if allowed else 'was denied'} {name}",
            severity="info" if allowed else "warning",
            actor=actor.user,
            action=name,
        )

    server = LocalServer(settings.run_dir, make_api(daemon), audit)
    machine.bus.on_signal.append(daemon.prepare_for_sleep)
    bus = keep_running(machine.bus.run, "system bus")
    await daemon.start_meshes()
    await server.start()
    log.info("meshd %s is ready, pid %d", VERSION, os.getpid())
    try:
        await service_manager.keep_informed(stopping, lambda: states_line(list(daemon.meshes.values())))
    finally:
        log.info("stopping; tunnels stay up")
        await daemon.stop_meshes()
        await server.stop()
        bus.cancel()
        await asyncio.gather(bus, return_exceptions=True)
        await backend.close()
        os.close(lock)
