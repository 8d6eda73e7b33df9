"""The view on disk is the last one that was followed, however the helper ends."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from meshd.assembly import kept_view
from meshd.assembly.kept_view import keep_view
from meshd.model.position import Position
from meshd.model.state import State
from meshd.store.view_file import load_view


class FakeMesh:
    name = "home"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = State(position=Position(2, 5))
        self.waits = asyncio.Event()

    async def wait_changed(self, seen: int, limit: float) -> int:
        self.waits.set()
        return await asyncio.get_running_loop().create_future()

    @property
    def kept(self) -> Position:
        view = load_view(self.folder / "view")
        assert view is not None
        return State.from_view(view).position


async def end(keeping: asyncio.Task[None]) -> None:
    keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping


async def test_what_came_last_is_saved_before_it_ends(tmp_path: Path) -> None:
    mesh: Any = FakeMesh(tmp_path)
    keeping = asyncio.create_task(keep_view(mesh))
    await mesh.waits.wait()
    assert mesh.kept == Position(2, 5)
    mesh.state = replace(mesh.state, position=Position(2, 6))
    await end(keeping)
    assert mesh.kept == Position(2, 6)


async def test_it_ends_while_it_saves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, begun, go_on = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def slow(path: Path, view: Any) -> None:
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(10)
        save(path, view)

    save = kept_view.save_view
    monkeypatch.setattr(kept_view, "save_view", slow)
    mesh: Any = FakeMesh(tmp_path)
    keeping = asyncio.create_task(keep_view(mesh))
    await begun.wait()
    mesh.state = replace(mesh.state, position=Position(2, 6))
    keeping.cancel()
    loop.call_later(0.1, go_on.set)
    await asyncio.wait([keeping])
    assert mesh.kept == Position(2, 6), "not the older one, whose thread was at it"
