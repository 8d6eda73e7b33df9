"""Columns: hidden, shown again, sorted by though hidden, and found again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from meshtui.app import MeshtuiApp
from meshtui.screens.main_screen import MainScreen
from tui.conftest import press, screen_text, settled, shows
from tui.recorded_meshd import RecordedMeshd

from tui import recordings

MakeApp = Callable[..., MeshtuiApp]
MakeMeshd = Callable[..., RecordedMeshd]
SMALL = (80, 24)


def header(app: MeshtuiApp) -> list[str]:
    """The titles on screen."""
    return next(line for line in screen_text(app).splitlines() if "NAME" in line or "MESH" in line).split()


async def test_a_column_is_hidden_and_its_room_given_to_the_next(
    make_app: MakeApp, make_meshd: MakeMeshd, tmp_path: Path
) -> None:
    make_meshd(recordings.status(recordings.mesh()))
    app = make_app(preferences=tmp_path / "preferences.json")
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        assert "HANDSHAKE" in header(app)
        assert "ROLE" not in header(app)
        await press(pilot, "C")
        await shows(app, "Columns of Members", "ROLE", "no room at this width")
        await press(pilot, *"jjjj", "space")
        await shows(app, "○ HANDSHAKE", "✓ ROLE")
        await press(pilot, "escape")
        assert "HANDSHAKE" not in header(app)
        assert "ROLE" in header(app)
    again = make_app(preferences=tmp_path / "preferences.json")
    async with again.run_test(size=SMALL) as pilot:
        await settled(pilot)
        assert "HANDSHAKE" not in header(again)
        assert "ROLE" in header(again)
        await press(pilot, "3")
        assert "HANDSHAKE" in header(again), "another table has its own columns"
        await press(pilot, "2", "C", "r", "escape")
        assert "HANDSHAKE" in header(again)
        assert again.preferences.hidden["Members"] == frozenset()


async def test_it_is_sorted_by_a_column_that_is_not_shown(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await press(pilot, "C", *"jjjjj", "space", "s")
        await shows(app, "○ LATENCY", "hidden · sorted by it ↑")
        await press(pilot, "s")
        await shows(app, "hidden · sorted by it ↓")
        await press(pilot, "escape")
        await shows(app, "by latency, reversed · 7 members")
        main = app.screen
        assert isinstance(main, MainScreen)
        order = [main.pane.column_states()[5].sorted, *main.pane.table.keys]
        known = [one.latency_ms or float("inf") for one in map(app.model.meshes[0].members.__getitem__, order[1:])]
        assert order[0] == "reversed"
        assert known == sorted(known, reverse=True)


async def test_every_column_of_every_table_has_an_order_but_the_tree_s(
    make_app: MakeApp, make_meshd: MakeMeshd
) -> None:
    mesh = recordings.mesh(routes=recordings.routes(), invites=recordings.invites(), pending=recordings.pending())
    meshd = make_meshd(recordings.status(mesh), recordings.events())
    meshd.checks = recordings.checks()
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        main = app.screen
        assert isinstance(main, MainScreen)
        for number, pane in enumerate(main.panes):
            await press(pilot, str(number + 1))
            titles = [one.title for one in pane.listing.columns if one.title]
            if pane.listing.name == "Topology":
                assert not pane.sortable()
                assert not pane.sort_by(titles[0], False)
                continue
            for title in titles:
                assert pane.sort_by(title, False), title
                assert f"by {title.lower()} · " in pane.count()


async def test_the_last_column_stays(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await press(pilot, "C", "space", *["j", "space"] * 8)
        await shows(app, "One column has to stay.", "✓ 15 MIN")


async def test_the_mouse_and_the_palette_choose_columns_too(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await pilot.click("Table", offset=(6, 0), button=3)
        await shows(app, "Columns of Members")
        await pilot.click("ColumnList", offset=(4, 3))
        await shows(app, "○ PATH")
        await press(pilot, "escape")
        assert "PATH" not in header(app)
        await press(pilot, "colon", *"sort by role")
        await shows(app, "Sort by role")
        await press(pilot, "enter")
        await shows(app, "by role · 7 members")
        await press(pilot, "colon", *"columns")
        await shows(app, "Key C: show, hide")
        await press(pilot, "enter")
        await shows(app, "Columns of Members", "○ PATH")
