"""What wakes the plan again and again does not take all of the processor; a change is carried out at once."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from meshd.assembly import mesh as assembled
from meshd.assembly.mesh import Mesh
from meshd.model.position import Position


def at(position: Position, applied: Position) -> Any:
    return SimpleNamespace(state=SimpleNamespace(position=position), applied=applied, _new_state=asyncio.Event())


async def test_the_plan_rests_until_there_is_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembled, "LONGEST_REST", 60.0)
    mesh = at(Position(1, 5), Position(1, 5))
    mesh._new_state.set()  # of a change that was carried out
    rest = asyncio.create_task(Mesh._rest(mesh, 60.0))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not rest.done()
    mesh._new_state.set()
    await asyncio.wait_for(rest, 5)


async def test_a_change_that_came_while_the_plan_was_carried_out_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembled, "LONGEST_REST", 60.0)
    await asyncio.wait_for(Mesh._rest(at(Position(1, 6), Position(1, 5)), 60.0), 5)


async def test_a_rest_is_no_longer_than_the_look_took() -> None:
    await asyncio.wait_for(Mesh._rest(at(Position(1, 5), Position(1, 5)), 0.001), 5)
