"""How little is drawn: what reads as it did stays on the screen untouched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from meshproto import local_pb2
from meshtui.app import MeshtuiApp
from tui.conftest import press, settled, shows, until
from tui.recorded_meshd import RecordedMeshd

from tui import recordings

MakeApp = Callable[..., MeshtuiApp]
MakeMeshd = Callable[..., RecordedMeshd]
SMALL = (80, 24)


async def test_three_thousand_members_stay_quick(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    """Only visible rows are drawn: a change of everybody draws no more lines than the screen has."""
    members = recordings.crowd(3000)
    meshd = make_meshd(recordings.status(recordings.mesh(members=members)))
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        drawn: list[int] = []
        table = app._main.pane.table
        render = table.render_line

        def counted(y: int) -> Any:
            drawn.append(y)
            return render(y)

        table.render_line = counted  # type: ignore[method-assign]  # counts
        for one in members[4:]:
            one.latency_ms = 77.7
        difference = local_pb2.MeshDifference(mesh_id="mesh-home", members=members[4:])
        meshd.push(local_pb2.WatchUpdate(differences=[difference], at_ms=recordings.NOW_MS))
        await shows(app, "77.7 ms")
        assert len(drawn) <= 3 * 24
        drawn.clear()
        await press(pilot, "j")
        assert len(drawn) <= 4


async def test_an_unchanged_screen_is_not_drawn_again(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        drawn: list[object] = []
        display = app._display
        app._display = lambda screen, update: (drawn.append(update), display(screen, update))[1]  # type: ignore[method-assign]
        version = app.model.at_ms
        meshd.push(local_pb2.WatchUpdate(at_ms=recordings.NOW_MS + 1))
        await until(lambda: app.model.at_ms != version, "the update")
        await pilot.pause()
        assert [one for one in drawn if one is not None] == []
