"""Keeps the committed view of one mesh on disk, beside the loop that has the machine follow it. Run by `mesh`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from meshd import defaults
from meshd.assembly.invite_keys import forget_closed
from meshd.model.errors import MeshError
from meshd.model.position import Position
from meshd.store.view_file import save_view

if TYPE_CHECKING:
    from meshd.assembly.mesh import Mesh


async def keep_view(mesh: Mesh) -> None:
    """Runs until cancelled. On a full disk the plan is followed all the same, and this tried again."""
    saved, seen, failed = Position(), -1, False
    while True:
        if mesh.state.position > saved:
            state = mesh.state
            try:
                await asyncio.to_thread(save_view, mesh.folder / "view", state.to_view())
                await asyncio.to_thread(forget_closed, mesh.folder, state)
            except (MeshError, OSError) as error:
                if not failed:
                    mesh.event("store", str(error), severity="error")
                failed = True
            else:
                saved, failed = state.position, False
        seen = await mesh.wait_changed(seen, defaults.COMPARE_INTERVAL)
