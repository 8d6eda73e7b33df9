"""A desktop with a bus, a panel, and a helper that says what a test hands it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import meshproto.client  # noqa: F401  # before grpc: it silences the C core's own log
import pytest
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


@pytest.fixture
def meshd(desktop: Desktop) -> Iterator[RecordedMeshd]:
    one = RecordedMeshd(desktop.socket, recordings.status(recordings.mesh()))
    one.start()
    desktop.socket.chmod(0o666)
    yield one
    one.stop()
