"""What gives way where a screen has little room, and what comes back."""

from __future__ import annotations

from collections.abc import Callable

from meshproto import local_pb2
from meshtui.app import MeshtuiApp
from tui.conftest import FakeClock, press, screen_text, settled, shows, until
from tui.recorded_meshd import RecordedMeshd
from tui.test_behaviour import difference, main_screen

from tui import recordings

MakeApp = Callable[..., MeshtuiApp]
MakeMeshd = Callable[..., RecordedMeshd]
SMALL = (80, 24)


async def test_the_traffic_goes_first_and_the_time_stays(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await shows(app, "home ● connected · 5 of 6 online", "↓ ", "14:02")
        reason = "no answer from gw-berlin-of-the-old-house, gw-oslo, gw-paris for 6 s"
        meshd.push(difference(head=recordings.mesh(state=local_pb2.STALE, reason=reason, members=[])))
        await shows(app, "stale: no answer")
        assert screen_text(app).splitlines()[0].rstrip().endswith("14:02")
        await until(lambda: "gw-paris for 6 s" in " ".join(screen_text(app).split()), "the rest below it")


async def test_a_column_that_grew_gives_its_room_back(
    make_app: MakeApp, make_meshd: MakeMeshd, clock: FakeClock
) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await press(pilot, "1")
        await shows(app, "THIS MACHINE", "ALARMS")
        head = recordings.mesh(state=local_pb2.STALE, reason="this machine was disabled in home by gw-berlin")
        meshd.push(difference(head=head))
        await shows(app, "stale: this machine was disabled")
        assert "THIS MACHINE" not in screen_text(app)
        meshd.push(difference(head=recordings.mesh()))
        await until(lambda: "stale" not in screen_text(app), "the mesh to be connected")
        await pilot.pause()
        assert "THIS MACHINE" not in screen_text(app), "nothing jumps at once"
        for _ in range(2):
            clock.now += 16
            await until(lambda: main_screen(app).view.now_ms >= clock.now * 1000 - 1, "a frame")  # type: ignore[union-attr]
        await shows(app, "THIS MACHINE", "ALARMS")


async def test_what_may_not_be_done_gives_way_to_what_helps(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    members = [recordings.laptop_ada(admin=False) if one.is_self else one for one in recordings.members()]
    make_meshd(recordings.status(recordings.mesh(members=members)))
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await shows(app, "p ping", "c copy", "⏎ details", "space mark", "? help")
        assert "d remove" not in screen_text(app)
