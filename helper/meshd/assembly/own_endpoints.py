"""Where this machine may be reached: found on its interfaces, and told to the mesh whenever that changes."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from meshproto import node_pb2

from meshd import defaults
from meshd.dataplane import kernel_network
from meshd.dataplane.desired import Address
from meshd.model.errors import MeshError
from meshd.model.members import Endpoint, Member
from meshd.paths.local_endpoints import candidates, is_public, source_towards

if TYPE_CHECKING:
    from meshd.assembly.mesh import Mesh

log = logging.getLogger(__name__)

LIMIT = 16
"""Endpoints of one member."""

SETTLE = 1.5
"""Seconds that new addresses must stay: a machine that changes its network has none, or the old ones, for a moment."""

LOOK_EVERY = 30.0
"""Seconds between looks when the kernel tells of no change."""

RETRY = 10.0
"""Seconds until the next try when the mesh did not take the change."""

PROBE_ADDRESSES = (IPv4Address("192.0.2.1"), IPv6Address("2001:db8::1"))
"""Where a default route is looked up; nothing is sent there (documentation prefixes, RFC 5737 and RFC 3849)."""


async def find_endpoints(
    given: Iterable[str],
    listen_port: int,
    without: frozenset[str],
    is_inside: Callable[[Address], bool] = lambda _: False,
) -> tuple[tuple[str, ...], bool]:
    """(endpoints, best first; whether all are private). What a person gave comes first.

    `without` are interfaces that don't count, `is_inside` tells addresses that don't: those of meshes. Raises
    InvalidInput for what was given.
    """
    first = [str(Endpoint.parse(text, listen_port)) for text in given if text]
    addresses = await asyncio.to_thread(kernel_network.local_addresses, without)
    used = [source for probe in PROBE_ADDRESSES if (source := source_towards(probe)) is not None]
    found = [address for address in candidates(addresses, used) if not is_inside(address)]
    texts = [str(Endpoint(str(address), listen_port)) for address in found]
    private = not first and not any(is_public(address) for address in found)
    return tuple(dict.fromkeys([*first, *texts]))[:LIMIT], private


class OwnEndpoints:
    """Compares this machine's addresses with what the mesh knows of it, and sends the difference.

    When they change, the sessions hear of it at once: they go on from the new ones.
    """

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._changed = asyncio.Event()
        self._found: tuple[str, ...] = ()
        self._uplink: tuple[Address | None, ...] = ()  # what packets to others are sent from

    def look_soon(self) -> None:
        """The kernel changed something."""
        self._changed.set()

    async def find(self) -> tuple[tuple[str, ...], bool]:
        """As `find_endpoints`, for this mesh."""
        mesh = self._mesh
        return await find_endpoints(
            mesh.choices.endpoints,
            mesh.choices.listen_port,
            frozenset(mesh.machine.interfaces),
            mesh.addresses.is_inside,
        )

    async def run(self) -> None:
        while True:
            self._changed.clear()
            pause = LOOK_EVERY
            try:
                change = await self._difference()
                if change is not None:
                    await asyncio.sleep(SETTLE)
                    if change == await self._difference():
                        pause = LOOK_EVERY if await self._tell(change) else RETRY
                    else:
                        continue
            except MeshError as error:
                log.warning("%s: where this machine is reached: %s", self._mesh.name, error)
            try:
                async with asyncio.timeout(pause):
                    await self._changed.wait()
            except TimeoutError:
                pass

    def _name(self) -> str:
        return self._mesh.me.name if self._mesh.me else ""

    async def _difference(self) -> node_pb2.UpdateEndpoints | None:
        """What to tell; None when the mesh knows it, or nothing can be told."""
        mesh = self._mesh
        me = mesh.me
        if me is None or mesh.leaves:
            return None
        endpoints, private = await self.find()
        if not endpoints:
            self._uplink = ()
            return None  # offline: the last ones may be right again
        before, self._found = self._found, endpoints
        uplink = tuple(source_towards(probe) for probe in PROBE_ADDRESSES)
        moved = uplink != self._uplink and any(uplink)
        if before and (before != endpoints or moved):
            await mesh.sessions.start_from_new_addresses()
        self._uplink = uplink
        known = _told(me)
        now = node_pb2.UpdateEndpoints(
            id=me.id,
            endpoints=endpoints,
            listen_port=mesh.choices.listen_port,
            behind_nat=private,
            join_port=mesh.choices.join_port,
        )
        return None if now == known else now

    async def _tell(self, change: node_pb2.UpdateEndpoints) -> bool:
        mesh = self._mesh
        if mesh.duties is None or not mesh.duties.writable:
            return False
        began = time.monotonic()
        result = await mesh.duties.submit(
            node_pb2.Change(request_id=str(uuid.uuid4()), actor=f"{self._name()} (meshd)", update_endpoints=change),
            defaults.COMMIT_TIMEOUT,
        )
        done = result.outcome == node_pb2.ChangeResult.DONE
        log.info(
            "%s: told the mesh where this machine is reached: %s, after %.1f s",
            mesh.name,
            "done" if done else result.message,
            time.monotonic() - began,
        )
        return done


def _told(me: Member) -> node_pb2.UpdateEndpoints:
    """What the mesh knows, as the change that would have said it."""
    return node_pb2.UpdateEndpoints(
        id=me.id,
        endpoints=map(str, me.endpoints),
        listen_port=me.listen_port,
        behind_nat=me.behind_nat,
        join_port=me.join_port,
    )
