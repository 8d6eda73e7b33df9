"""Answers that are longer than a line: whole on the smallest screen, with what to do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from meshproto import local_pb2
from meshtui.app import MeshtuiApp
from tui.conftest import press, screen_text, settled, shows
from tui.recorded_meshd import RecordedMeshd

from tui import recordings

MakeApp = Callable[..., MeshtuiApp]
MakeMeshd = Callable[..., RecordedMeshd]
WHY = "the keys of this mesh are not in your keyring"
FIX = "connect as the person who joined, in their session; or leave the mesh and join again"


def flat(app: MeshtuiApp) -> str:
    return " ".join(screen_text(app).split())


async def test_why_a_mesh_is_down_is_whole_at_80_columns(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    reason = "its keys are in the keyring of ada; connect with `meshctl up home`"
    mesh = recordings.mesh(state=local_pb2.DOWN, reason=reason, writable=False)
    make_meshd(recordings.status(mesh, recordings.mesh("office")))
    app = make_app(mesh="home")
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await shows(app, "home ○ down")
        assert f"home ○ down: {reason}" in flat(app), screen_text(app)
        await pilot.resize_terminal(140, 30)
        await shows(app, reason)
        assert screen_text(app).count("its keys are in") == 1


@pytest.mark.parametrize("keys", [("d", "y"), ("enter", "d", "y")], ids=["list", "story"])
async def test_a_refusal_is_whole_at_80_columns(
    make_app: MakeApp, make_meshd: MakeMeshd, keys: tuple[str, ...]
) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh()))
    meshd.refuse = (WHY, FIX)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await press(pilot, "j", *keys)
        await shows(app, "the keys of this mesh")
        said = flat(app).replace("7 members", "").replace("  ", " ")
        assert WHY in said, screen_text(app)
        assert FIX in said, screen_text(app)
