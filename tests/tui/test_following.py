"""The cursor of Events: on the newest, unless a person has it on another one."""

from __future__ import annotations

from collections.abc import Callable

from meshproto import local_pb2
from meshtui.app import MeshtuiApp
from tui.conftest import FakeClock, press, screen_text, settled, shows, until
from tui.recorded_meshd import RecordedMeshd
from tui.test_behaviour import main_screen

from tui import recordings

MakeApp = Callable[..., MeshtuiApp]
MakeMeshd = Callable[..., RecordedMeshd]
SMALL = (80, 24)


async def test_new_events_are_followed(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    many = [recordings.event(number, 60_000 - number, f"event number {number}") for number in range(60)]
    meshd = make_meshd(recordings.status(recordings.mesh()), many)
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await press(pilot, "7")
        await shows(app, "event number 59")
        meshd.push(local_pb2.WatchUpdate(events=[recordings.event(60, 0, "the newest event")]))
        await shows(app, "the newest event")
        await press(pilot, "g")
        await shows(app, "event number 0 ")
        meshd.push(local_pb2.WatchUpdate(events=[recordings.event(61, 0, "one more")]))
        await shows(app, "62 events")
        assert "one more" not in screen_text(app)


async def test_a_cursor_that_was_just_moved_waits_before_it_follows(
    make_app: MakeApp, make_meshd: MakeMeshd, clock: FakeClock
) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh()), [recordings.event(0, 0, "what was looked for")])
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await press(pilot, "7", "G")

        def under_cursor() -> str:
            return str(main_screen(app).pane.row().text)

        for number in (1, 2):
            meshd.push(local_pb2.WatchUpdate(events=[recordings.event(number, 0, f"event number {number}")]))
            await shows(app, f"{1 + number} events")
            assert under_cursor() == "what was looked for"
        clock.now += 6
        await until(lambda: under_cursor() == "event number 2", "the cursor on the newest")


async def test_the_row_that_the_cursor_follows_to_is_on_screen(
    make_app: MakeApp, make_meshd: MakeMeshd, clock: FakeClock
) -> None:
    many = [recordings.event(number, 60_000 - number, f"event number {number}") for number in range(60)]
    meshd = make_meshd(recordings.status(recordings.mesh()), many)
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await press(pilot, "7", "G")
        meshd.push(
            local_pb2.WatchUpdate(events=[recordings.event(one, 0, f"a new one {one}") for one in range(60, 70)])
        )
        await shows(app, "70 events")
        assert "a new one" not in screen_text(app)
        clock.now += 6
        await shows(app, "a new one 69")


async def test_after_a_filter_that_nothing_passed_the_newest_is_followed(
    make_app: MakeApp, make_meshd: MakeMeshd, clock: FakeClock
) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh()), [recordings.event(n, 0, f"event {n}") for n in range(3)])
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await press(pilot, "7", "k", "slash", *"nothing")
        await shows(app, "0 of 3 events")
        await press(pilot, "escape")
        await until(lambda: main_screen(app).pane.row() is not None, "a row under the cursor")
        clock.now += 6
        meshd.push(local_pb2.WatchUpdate(events=[recordings.event(3, 0, "the newest")]))
        await until(lambda: main_screen(app).pane.row().text == "the newest", "the cursor on the newest")
