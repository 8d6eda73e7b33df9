"""Escape goes back where one came from."""

from __future__ import annotations

from collections.abc import Callable

from meshtui.app import MeshtuiApp
from tui.conftest import press, screen_text, settled, shows
from tui.recorded_meshd import RecordedMeshd
from tui.test_behaviour import selected

from tui import recordings

MakeApp = Callable[..., MeshtuiApp]
MakeMeshd = Callable[..., RecordedMeshd]


async def test_escape_goes_back_where_one_came_from(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    make_meshd(recordings.status(recordings.mesh()), recordings.events())
    app = make_app()
    async with app.run_test(size=(120, 30)) as pilot:
        await settled(pilot)
        await press(pilot, "7", "k", "k", "o")
        await shows(app, "7 members", "esc back")
        assert selected(app) == "laptop-grace"
        await press(pilot, "slash", *"grace", "enter", "escape")
        await shows(app, "7 members")
        await press(pilot, "escape")
        await shows(app, "7 events", "▸ ▲ 13:40:11")
        await press(pilot, "escape")
        await shows(app, "7 members")
        assert "esc back" not in screen_text(app)
        await press(pilot, "escape")
        await shows(app, "7 members")


async def test_escape_goes_back_from_the_members_of_the_only_mesh(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    async with app.run_test(size=(120, 30)) as pilot:
        await settled(pilot)
        await press(pilot, "1", "enter")
        await shows(app, "7 members")
        await press(pilot, "escape")
        await shows(app, "THIS MACHINE", "1 mesh")
