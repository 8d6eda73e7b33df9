"""A meshd that hangs: its stream stays open and brings nothing. What is shown then must not look live."""

from __future__ import annotations

from collections.abc import Callable

from meshproto import local_pb2
from meshtui.app import MeshtuiApp
from tui.conftest import FakeClock, press, screen_text, settled, shows
from tui.recorded_meshd import RecordedMeshd

from tui import recordings

MakeApp = Callable[..., MeshtuiApp]
MakeMeshd = Callable[..., RecordedMeshd]


async def test_a_meshd_that_falls_silent_is_not_shown_as_live(
    make_app: MakeApp, make_meshd: MakeMeshd, clock: FakeClock
) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh(), recordings.mesh("office")))
    app = make_app(mesh="home", look_s=0.05)
    async with app.run_test(size=(120, 24)) as pilot:
        await settled(pilot)
        await shows(app, "meshd does not answer, still waiting")
        clock.now += 9
        await shows(app, "Below is what meshd said 9 s ago.", "sudo systemctl restart meshd")
        top = screen_text(app).splitlines()[0]
        assert "connected" not in top
        assert "↓" not in top
        await press(pilot, "p")
        await shows(app, "meshd does not answer  → sudo systemctl restart meshd")
        assert not meshd.calls
        app.connection._look_s = 1000.0  # one more look, and it stays as it is heard
        meshd.push(local_pb2.WatchUpdate())
        await shows(app, "home ● connected")
        assert "Below is what" not in screen_text(app)


async def test_a_silent_meshd_that_ends_was_heard_when_it_spoke(
    make_app: MakeApp, make_meshd: MakeMeshd, clock: FakeClock
) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh()))
    app = make_app(look_s=0.05)
    async with app.run_test(size=(120, 24)) as pilot:
        await settled(pilot)
        await shows(app, "meshd does not answer, still waiting")
        clock.now += 30
        meshd.stop()
        await shows(app, "trying again every second", "Below is what meshd said 30 s ago.")
