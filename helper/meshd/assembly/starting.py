"""Starts a mesh whose ports, Redis or WireGuard may not be there yet: what is in the way may go. Owned by `mesh`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from meshd.model.errors import MeshError

if TYPE_CHECKING:
    from meshd.assembly.machine import Duties
    from meshd.assembly.mesh import Mesh

log = logging.getLogger(__name__)

START_AGAIN = 5.0
"""Seconds until a mesh that could not start is tried again."""


class Starting:
    """`begin` once; `cancel` ends the further tries."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._task: asyncio.Task[None] | None = None
        self._obstacle = ""  # why it did not start

    async def begin(self, make_duties: Callable[[Mesh], Duties]) -> MeshError | None:
        """As `Mesh.start`. What is in the way is returned, and it is tried again until it works."""
        try:
            await self._mesh.start(make_duties)
        except MeshError as error:
            await self._failed(error)
            self._task = asyncio.create_task(self._try_again(make_duties), name=f"{self._mesh.name}: start")
            return error
        return None

    async def cancel(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _try_again(self, make_duties: Callable[[Mesh], Duties]) -> None:
        while True:
            await asyncio.sleep(START_AGAIN)
            try:
                await self._mesh.start(make_duties)
            except MeshError as error:
                await self._failed(error)
            else:
                self._obstacle = ""
                self._mesh.event("state", "is up now")
                return

    async def _failed(self, error: MeshError) -> None:
        mesh = self._mesh
        await mesh.halt(keep=False)
        if error.message != self._obstacle:
            log.error("%s does not come up: %s (%s)", mesh.name, error, error.fix)
            mesh.event("state", f"does not come up: {error}", severity="error")
        self._obstacle = mesh.problem = error.message
        await mesh.notify()
