"""Meshes that a person paused, and what connects them again when their time is over. Owned by `daemon`."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from meshd.cluster.identity import KeysNeeded
from meshd.lasting import keep_running
from meshd.model.errors import MeshError

if TYPE_CHECKING:
    from meshd.assembly.daemon import Daemon
    from meshd.assembly.mesh import Mesh

log = logging.getLogger(__name__)

LOOK_EVERY = 5.0
"""Seconds between looks at the clock while something is paused: a machine that slept, or whose clock was set, is late
by no more than that."""


class Pauses:
    """`look` after every change of a pause. Nothing runs while no mesh is paused."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    def start(self) -> None:
        self._task = keep_running(self._run, "pauses")
        self.look()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def look(self) -> None:
        self._changed.set()

    async def _run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            while (paused := self._paused()) and not self._changed.is_set():
                now_ms = time.time() * 1000
                for mesh in paused:
                    if mesh.choices.paused_until_ms <= now_ms:
                        await self._daemon.exclusively(self._end(mesh))
                next_ms = min((one.choices.paused_until_ms for one in self._paused()), default=now_ms)
                try:
                    async with asyncio.timeout(min(max((next_ms - time.time() * 1000) / 1000, 0), LOOK_EVERY)):
                        await self._changed.wait()
                except TimeoutError:
                    pass

    def _paused(self) -> list[Mesh]:
        return [one for one in self._daemon.meshes.values() if one.choices.paused_until_ms]

    async def _end(self, mesh: Mesh) -> None:
        """What keeps it from connecting is told; the mesh is wanted then, and tried again as after a start."""
        if not mesh.choices.paused_until_ms or self._daemon.meshes.get(mesh.name) is not mesh:
            return
        try:
            await self._daemon.connect(mesh, mesh.choices.connected_by)
        except KeysNeeded as error:  # the machine was restarted meanwhile
            await mesh.set_choices(up=True, paused_until_ms=0)
            mesh.event("state", f"the pause is over, but {error}")
            await mesh.notify()
        except MeshError as error:
            log.warning("%s: the pause is over, but %s", mesh.name, error)
