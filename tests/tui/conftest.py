"""The app against a recorded meshd, at a fixed moment, so that pictures are the same every time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import meshproto.client  # noqa: F401  # before grpc: it silences the C core's own log
import pytest
from meshproto import local_pb2
from meshtui.app import MeshtuiApp
from meshtui.clock import Clock
from meshtui.model import LinkState
from textual.app import App
from textual.pilot import Pilot
from tui.recorded_meshd import RecordedMeshd

from tui import recordings


class FakeClock:
    """Unix seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now = recordings.NOW_MS / 1000

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


class Keys(asyncio.Queue[Any]):
    """Of an app's gate; `idle` while it waits for the next one: what all before it did is on the screen."""

    idle = False

    def put_nowait(self, item: Any) -> None:
        self.idle = False
        super().put_nowait(item)

    async def get(self) -> Any:
        self.idle = self.empty()
        return await super().get()


@pytest.fixture
def make_app(tmp_path: Path, clock: FakeClock) -> Callable[..., MeshtuiApp]:
    def make(**options: Any) -> MeshtuiApp:
        patience = {"look_s": 1000.0, **options}  # a recorded meshd says nothing by itself
        app = MeshtuiApp(tmp_path / "meshd.sock", clock=Clock(clock, UTC), retry_s=0.05, **patience)
        app.gate._keys = Keys()
        return app

    return make


@pytest.fixture
def make_meshd(tmp_path: Path) -> Iterator[Callable[..., RecordedMeshd]]:
    made: list[RecordedMeshd] = []

    def make(status: local_pb2.Status, events: list[local_pb2.Event] | None = None) -> RecordedMeshd:
        meshd = RecordedMeshd(tmp_path / "meshd.sock", status, events)
        meshd.start()
        made.append(meshd)
        return meshd

    yield make
    for meshd in made:
        meshd.stop()


async def until(condition: Callable[[], Any], what: str, limit: float = 10) -> None:
    """Waits while the app runs on."""
    deadline = asyncio.get_running_loop().time() + limit
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"waited {limit} s for: {what}")
        await asyncio.sleep(0.01)


async def settled(pilot: Pilot[None]) -> None:
    """The first snapshot and what doctor found then, or the first refusal, is on screen."""
    app = pilot.app
    assert isinstance(app, MeshtuiApp)

    def examined() -> bool:
        found = app.view().examination
        return not found.running and bool(found.at_ms or found.failure)

    await until(lambda: app.link.state is LinkState.LOST or app.model.known, "a first word about meshd")
    await until(lambda: app.link.state is LinkState.LOST or examined(), "what doctor says")
    await pilot.pause()


async def acted(pilot: Pilot[None]) -> None:
    """What all keys did that were pressed, or sent to the app, is on the screen, however busy the machine is."""
    app = pilot.app
    assert isinstance(app, MeshtuiApp)
    keys: Any = app.gate._keys  # Keys
    arrived = asyncio.Event()
    app.call_later(arrived.set)  # behind them
    await until(lambda: (arrived.is_set() and keys.idle) or not app.is_running or app._exit, "the keys to be acted on")
    await pilot.pause()


def typing(*keys: str, wait: str = "") -> Callable[[Pilot[None]], Awaitable[None]]:
    """For `run_before`: settles, then presses keys, and waits for a text."""

    async def run(pilot: Pilot[None]) -> None:
        await settled(pilot)
        await press(pilot, *keys)
        await until(lambda: wait in screen_text(pilot.app), wait)
        await pilot.pause()

    return run


def screen_text(app: App[None]) -> str:
    """What is on screen, as lines of plain text."""
    width, height = app.size
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in strips[:height])[: width * height + height]


async def shows(app: MeshtuiApp, *texts: str) -> None:
    """All of them, at once."""
    try:
        await until(lambda: all(text in screen_text(app) for text in texts), f"{texts} on screen")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{screen_text(app)}") from None


async def press(pilot: Pilot[None], *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
    await acted(pilot)
