"""A desktop with a bus, a panel, and a helper that says what a test hands it."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator

import meshproto.client  # noqa: F401  # before grpc: it silences the C core's own log
import pytest
from meshproto import local_pb2
from tray.desktop import Desktop, Panel
from tui.recorded_meshd import RecordedMeshd

from tui import recordings


@pytest.fixture
async def desktop() -> AsyncIterator[Desktop]:
    one = Desktop()
    try:
        await one.start_bus()
        yield one
        assert "Traceback" not in one.log(), one.log()
    finally:
        one.close()


@pytest.fixture
async def panel(desktop: Desktop) -> AsyncIterator[Panel]:
    one = await Panel.start(desktop.address)
    yield one
    await one.stop()


HEARTBEAT = 1.0
"""Seconds. A tray takes a helper that says nothing for longer for one that is frozen, and a busy test for that."""


@pytest.fixture
def mute(desktop: Desktop) -> Iterator[RecordedMeshd]:
    """It says nothing by itself after the snapshot: as meshd when it is frozen, its socket still open."""
    one = RecordedMeshd(desktop.socket, recordings.status(recordings.mesh()))
    one.start()
    desktop.socket.chmod(0o666)
    yield one
    one.stop()


@pytest.fixture
def meshd(mute: RecordedMeshd) -> Iterator[RecordedMeshd]:
    """With a heart, as the real one has."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(HEARTBEAT):
            mute.push(local_pb2.WatchUpdate(at_ms=1))

    heart = threading.Thread(target=beat, name="heart")
    heart.start()
    yield mute
    ended.set()
    heart.join()
