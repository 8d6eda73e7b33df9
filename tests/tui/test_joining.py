"""The join wizard: every stage as it is, by key, invite and request, and where it ended when it failed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from meshproto import local_pb2
from meshproto.cluster_key import ClusterKey
from meshtui.app import MeshtuiApp
from meshtui.screens.progress_screen import ProgressScreen
from textual.pilot import Pilot
from tui.conftest import press, screen_text, settled, shows
from tui.recorded_meshd import RecordedMeshd
from tui.test_actions import invite, paste

from tui import recordings

MakeApp = Callable[..., MeshtuiApp]
MakeMeshd = Callable[..., RecordedMeshd]
SIZE = (100, 30)
STAGES = ("Find a node", "Check it", "Be let in", "Tunnel", "Handshake", "Synced")


async def begin(pilot: Pilot[None], what: str, host: str) -> None:
    """With the keys in a file."""
    await settled(pilot)
    await press(pilot, "a")
    if what:
        await paste(pilot, what)
    await press(pilot, "tab", *host, "tab", "tab", "space", "enter")


@pytest.mark.parametrize("reached", range(6))
async def test_each_stage_is_shown_as_it_is_and_where_it_failed(
    make_app: MakeApp, make_meshd: MakeMeshd, reached: int
) -> None:
    meshd = make_meshd(recordings.status())
    meshd.stages = meshd.stages[: reached + 1]
    meshd.held.clear()
    meshd.refuse = ("something was wrong", "do something else")
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await begin(pilot, ClusterKey.generate(b"a CA").text(), "192.0.2.1")
        before = [f"✓ {stage}" for stage in STAGES[:reached]]
        after = [f"○ {stage}" for stage in STAGES[reached + 1 :]]
        await shows(app, *before, f"◐ {STAGES[reached]}", meshd.stages[-1].text, *after, "the join goes on")
        meshd.held.set()
        await shows(app, *before, f"▲ {STAGES[reached]}", *after, "▲ something was wrong", "→ do something else")


async def test_what_is_heard_while_the_dialog_comes_up_is_shown(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    """At each turn of the event loop, with a layout just before it, as on a busy machine."""
    make_meshd(recordings.status())
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        for turns in range(32):
            screen = ProgressScreen(f"Joining {turns}")
            app.push_screen(screen)
            for _ in range(turns):
                await asyncio.sleep(0)
            screen._refresh_layout()
            screen.heard(local_pb2.JoinProgress(stage="resolve", text="looking for gw-berlin.example"))
            await shows(app, f"Joining {turns}", "gw-berlin.example", *(f"○ {stage}" for stage in STAGES[1:]))
            app.pop_screen()
            await pilot.pause()


async def test_asking_to_be_let_in_shows_the_fingerprint_until_people_decided(
    make_app: MakeApp, make_meshd: MakeMeshd
) -> None:
    meshd = make_meshd(recordings.status())
    waits = local_pb2.JoinProgress(
        stage="pending", text="waiting to be let in; on a node: meshctl peers authorize 4f2a", request_id="4f2a",
        fingerprint="b3f19a2077cd0e4f",
    )  # fmt: skip
    meshd.stages = [*meshd.stages[:2], waits]
    meshd.held.clear()
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await begin(pilot, "", "gw-berlin.example")
        await shows(app, "Asking to be let in", "◐ Be let in", "authorize 4f2a", "b3f19a2077cd0e4f")
        meshd.held.set()
        await shows(app, "✓ Be let in", "this machine is in office")
        assert "b3f19a2077cd0e4f" not in screen_text(app)
    call = meshd.calls[0]
    assert (call.what, list(call.hosts), call.request, call.always_on) == ("", ["gw-berlin.example"], True, True)
    assert call.timeout_ms >= 600_000, "people take their time"


async def test_a_stage_that_goes_on_by_itself_is_not_done(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    meshd = make_meshd(recordings.status())
    meshd.stages.insert(5, local_pb2.JoinProgress(stage="handshake", text="no answer from gw-berlin", open=True))
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await begin(pilot, invite(), "")
        await shows(
            app, "✓ Tunnel", "◐ Handshake    no answer from gw-berlin", "✓ Synced", "● this machine is in office"
        )
        await shows(app, "meshd goes on with what is open")


async def test_meshd_that_stops_meanwhile(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    meshd = make_meshd(recordings.status())
    meshd.stages = meshd.stages[:3]
    meshd.held.clear()
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await begin(pilot, ClusterKey.generate(b"a CA").text(), "192.0.2.1")
        await shows(app, "◐ Be let in")
        meshd.stop()
        await shows(app, "▲ Be let in", "meshd ended before it answered", "→ see `meshctl events`")
