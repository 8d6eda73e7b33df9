"""A mesh that can't start is tried again until it can, or until somebody stops it."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from meshd.assembly import starting
from meshd.assembly.mesh import Mesh
from meshd.assembly.starting import Starting
from meshd.model.errors import Failed, MeshError


class Stubborn:
    """Stands for a mesh: starts when nothing is in the way any more."""

    name = "home"

    def __init__(self, *obstacles: str) -> None:
        self.obstacles = list(obstacles)
        self.tries = 0
        self.halts = 0
        self.problem = ""
        self.events: list[str] = []
        self.up = asyncio.Event()

    async def start(self, make_duties: object) -> None:
        self.tries += 1
        self.problem = ""
        if self.obstacles:
            raise Failed(self.obstacles.pop(0), "wait")
        self.up.set()

    async def halt(self, keep: bool = True) -> None:
        assert not keep  # a Redis that nobody uses would stay behind
        self.halts += 1

    async def notify(self) -> None:
        pass

    def event(self, kind: str, text: str, severity: str = "info") -> None:
        self.events.append(text)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "START_AGAIN", 0.01)


def no_duties(mesh: Mesh) -> Any:
    pytest.fail("the mesh makes its duties itself")


async def begin(mesh: Stubborn) -> tuple[Starting, MeshError | None]:
    one = Starting(cast(Mesh, mesh))
    return one, await one.begin(no_duties)


async def test_nothing_in_the_way() -> None:
    mesh = Stubborn()
    one, problem = await begin(mesh)
    assert (problem, mesh.tries, mesh.halts, mesh.events) == (None, 1, 0, [])
    await one.cancel()


async def test_what_is_in_the_way_is_told_once_and_tried_again() -> None:
    mesh = Stubborn("port taken", "port taken", "no redis")
    one, problem = await begin(mesh)
    assert problem is not None
    assert problem.message == mesh.problem == "port taken"
    async with asyncio.timeout(5):
        await mesh.up.wait()
    await asyncio.sleep(0)
    assert (mesh.tries, mesh.halts, mesh.problem) == (4, 3, "")
    assert mesh.events == ["does not come up: port taken", "does not come up: no redis", "is up now"]
    await one.cancel()


async def test_stopping_ends_the_tries() -> None:
    mesh = Stubborn(*["port taken"] * 1000)
    one, _ = await begin(mesh)
    await one.cancel()
    tries = mesh.tries
    await asyncio.sleep(0.05)
    assert mesh.tries == tries
