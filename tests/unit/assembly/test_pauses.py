"""A paused mesh is connected again when its time is over, and only then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from meshd.assembly.pauses import Pauses
from meshd.cluster.identity import Choices, KeysNeeded
from meshd.model.errors import Failed
from meshd.model.members import Role

CHOICES = Choices("home", "m", "1", Role.PEER, "home", 10100, up=False, connected_by="ada", person="ada")


@dataclass
class FakeMesh:
    choices: Choices
    events: list[str] = field(default_factory=list)
    name: str = "home"

    async def set_choices(self, **changes: Any) -> None:
        self.choices = replace(self.choices, **changes)

    def event(self, kind: str, text: str) -> None:
        self.events.append(text)

    async def notify(self) -> None:
        pass


class FakeDaemon:
    def __init__(self) -> None:
        self.mesh = FakeMesh(CHOICES)
        self.meshes = {"home": self.mesh}
        self.connected: list[str] = []
        self.tried = asyncio.Event()
        self.problem: Exception | None = None

    async def exclusively(self, work: Awaitable[None]) -> None:
        await work

    async def connect(self, mesh: FakeMesh, user: str) -> None:
        self.tried.set()
        if isinstance(self.problem, KeysNeeded):
            raise self.problem
        await mesh.set_choices(up=True, paused_until_ms=0)
        if self.problem is not None:
            raise self.problem
        self.connected.append(user)

    async def pause(self, seconds: float) -> None:
        await self.mesh.set_choices(up=False, paused_until_ms=int((time.time() + seconds) * 1000))


@pytest.fixture
async def running() -> AsyncIterator[tuple[FakeDaemon, Pauses]]:
    daemon: Any = FakeDaemon()
    pauses = Pauses(daemon)
    pauses.start()
    yield daemon, pauses
    await pauses.stop()


async def test_it_is_connected_by_whoever_had_connected_it(running: tuple[FakeDaemon, Pauses]) -> None:
    daemon, pauses = running
    began = time.monotonic()
    await daemon.pause(0.2)
    pauses.look()
    async with asyncio.timeout(5):
        await daemon.tried.wait()
    assert time.monotonic() - began > 0.15
    assert daemon.connected == ["ada"]
    assert daemon.mesh.choices.paused_until_ms == 0


async def test_a_pause_that_was_made_longer_holds(running: tuple[FakeDaemon, Pauses]) -> None:
    daemon, pauses = running
    await daemon.pause(1.0)
    pauses.look()
    await asyncio.sleep(0.1)
    await daemon.pause(60)
    pauses.look()
    await asyncio.sleep(1.1)
    assert not daemon.connected


async def test_one_that_ended_while_the_machine_was_off_is_over_at_the_start() -> None:
    daemon: Any = FakeDaemon()
    await daemon.pause(-3600)
    pauses = Pauses(daemon)
    pauses.start()
    async with asyncio.timeout(5):
        await daemon.tried.wait()
    await pauses.stop()
    assert daemon.connected == ["ada"]


async def test_without_the_keys_it_waits_for_the_person(running: tuple[FakeDaemon, Pauses]) -> None:
    daemon, pauses = running
    daemon.problem = KeysNeeded(CHOICES)
    await daemon.pause(0)
    pauses.look()
    async with asyncio.timeout(5):
        await daemon.tried.wait()
    await asyncio.sleep(0)
    assert daemon.mesh.choices.up
    assert daemon.mesh.events == ["the pause is over, but the keys of home are in the keyring of ada"]


async def test_what_is_in_the_way_is_logged(
    running: tuple[FakeDaemon, Pauses], caplog: pytest.LogCaptureFixture
) -> None:
    daemon, pauses = running
    daemon.problem = Failed("UDP port 10100 is taken")
    await daemon.pause(0)
    pauses.look()
    async with asyncio.timeout(5):
        await daemon.tried.wait()
    await asyncio.sleep(0)
    assert "home: the pause is over, but UDP port 10100 is taken" in caplog.text
    assert daemon.mesh.choices.up, "tried again as after a start"
