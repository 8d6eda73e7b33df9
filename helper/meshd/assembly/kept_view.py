"""Keeps the committed view of one mesh on disk, beside the loop that has the machine follow it. Run by `mesh`."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from meshd import defaults
from meshd.assembly.invite_keys import forget_closed
from meshd.model.errors import MeshError
from meshd.model.position import Position
from meshd.store.view_file import save_view

if TYPE_CHECKING:
    from meshd.assembly.mesh import Mesh

log = logging.getLogger(__name__)


async def keep_view(mesh: Mesh) -> None:
    """Runs until cancelled, and then saves what came last. On a full disk the plan is followed all the same, and this
    tried again."""
    kept, seen = _KeptView(mesh), -1
    while True:
        saving = asyncio.create_task(kept.save(), name=f"{mesh.name}: saving the view")
        try:
            await asyncio.shield(saving)
            seen = await mesh.wait_changed(seen, defaults.COMPARE_INTERVAL)
        except asyncio.CancelledError:
            try:
                await saving
                await kept.save()
            except Exception:  # whoever ends this waits for the end
                log.exception("%s: the last view was not saved", mesh.name)
            raise


class _KeptView:
    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._saved = Position()
        self._failed = False

    async def save(self) -> None:
        """When it is newer than what was saved last."""
        mesh, state = self._mesh, self._mesh.state
        if state.position <= self._saved:
            return
        try:
            await asyncio.to_thread(save_view, mesh.folder / "view", state.to_view())
            await asyncio.to_thread(forget_closed, mesh.folder, state)
        except (MeshError, OSError) as error:
            if not self._failed:
                mesh.event("store", str(error), severity="error")
            self._failed = True
        else:
            self._saved, self._failed = state.position, False
