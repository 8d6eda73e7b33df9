"""A story that is open: it acts on its own row alone, and stays with it until it is gone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from meshproto import local_pb2
from meshtui.app import MeshtuiApp
from tui.conftest import FakeClock, press, screen_text, settled, shows, until
from tui.recorded_meshd import RecordedMeshd

from tui import recordings

MakeApp = Callable[..., MeshtuiApp]
MakeMeshd = Callable[..., RecordedMeshd]


async def test_a_story_acts_on_its_own_row_whatever_is_marked(
    make_app: MakeApp, make_meshd: MakeMeshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    copied: list[str] = []
    monkeypatch.setattr(app, "copy_to_clipboard", copied.append)
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "j", "j", "j", "j", "space", "g", "enter")
        await shows(app, "Members › gw-berlin", "24 hours")
        assert meshd.past_of == [recordings.members()[0].id]
        await press(pilot, "c", "r")
        await shows(app, "A new name for gw-berlin")
        assert copied == [recordings.members()[0].ipv4]
        await press(pilot, "escape", "p")
        await shows(app, "gw-berlin answered")
        assert [call.who for call in meshd.calls] == [recordings.members()[0].id]
        await press(pilot, "escape", "j", "enter")
        await shows(app, "Members › gw-paris")
        await press(pilot, "d")
        await shows(app, "Remove gw-paris from home?")


async def test_the_answer_in_a_story_goes_after_a_while(
    make_app: MakeApp, make_meshd: MakeMeshd, clock: FakeClock
) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "enter", "p")
        await shows(app, "gw-berlin answered")
        clock.now += 9
        meshd.push(local_pb2.WatchUpdate(at_ms=1))
        await until(lambda: "answered" not in screen_text(app), "the answer to go")


async def test_the_story_of_a_member_that_goes_says_so_and_offers_only_back(
    make_app: MakeApp, make_meshd: MakeMeshd
) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    async with app.run_test(size=(120, 30)) as pilot:
        await settled(pilot)
        await press(pilot, "j", "j", "j", "j", "enter")
        await shows(app, "Members › laptop-grace", "p ping")
        gone = local_pb2.MeshDifference(mesh_id="mesh-home", removed_member_ids=[recordings.members()[4].id])
        meshd.push(local_pb2.WatchUpdate(differences=[gone]))
        await shows(app, "Members › it is gone")
        assert screen_text(app).splitlines()[-1].split() == ["esc", "back"]
        await press(pilot, "p", "d", "r")
        await shows(app, "Members › it is gone")
        assert meshd.calls == []
        await press(pilot, "escape")
        await shows(app, "6 members")


async def test_events_stay_with_a_member_that_was_renamed(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    """And do not go to another one that has its old name now."""
    was, has_its_name = recordings.members()[4], recordings.members()[1]
    old = recordings.event(1, 60_000, "it joined by invite", subject=has_its_name.name, subject_id=was.id)
    make_meshd(recordings.status(recordings.mesh()), [old])
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "7", "o", "enter")
        await shows(app, f"Members › {was.name}", "it joined by invite")
        await press(pilot, "escape", *"/", *has_its_name.name, "enter", "enter")
        await shows(app, f"Members › {has_its_name.name}")
        assert "it joined by invite" not in screen_text(app)


async def test_the_story_of_an_event_stays_when_a_newer_one_comes(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh()), recordings.events())
    app = make_app()
    async with app.run_test(size=(120, 30)) as pilot:
        await settled(pilot)
        await press(pilot, "7", "k", "k", "enter")
        await shows(app, "Events › direct path to laptop-grace lost")
        meshd.push(local_pb2.WatchUpdate(events=[recordings.event(8, 0, "gw-oslo is back", subject="gw-oslo")]))
        await until(lambda: len(app.model.events) == 8, "the newer event")
        await pilot.pause()
        await shows(app, "Events › direct path to laptop-grace lost")
        await press(pilot, "p")
        await until(lambda: meshd.calls, "the ping")
        assert meshd.calls[0].who == recordings.members()[4].id


async def test_the_story_of_a_route_never_becomes_that_of_another_mesh(
    make_app: MakeApp, make_meshd: MakeMeshd
) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh(), recordings.mesh("office")))
    app = make_app()
    async with app.run_test(size=(120, 30)) as pilot:
        await settled(pilot)
        await press(pilot, "4", "enter")
        await shows(app, "Routes › 203.0.113.0/24")
        meshd.push(local_pb2.WatchUpdate(differences=[local_pb2.MeshDifference(mesh_id="mesh-home", removed=True)]))
        await shows(app, "Routes › it is gone")
        await press(pilot, "e", "d")
        await shows(app, "Routes › it is gone")
        assert meshd.calls == []


async def test_the_story_of_a_check_stays_when_another_is_mended(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh()))
    meshd.checks = recordings.checks()
    app = make_app()
    async with app.run_test(size=(120, 30)) as pilot:
        await settled(pilot)
        await shows(app, "8 Doctor ✖")
        await press(pilot, "8", "g", "j", "enter")
        await shows(app, "Doctor › group")
        checks = recordings.checks()
        checks[1].state = local_pb2.OK
        meshd.push(local_pb2.WatchUpdate(checks=checks, at_ms=recordings.NOW_MS + 1))
        await until(lambda: app.view().examination.at_ms == recordings.NOW_MS + 1, "the newer examination")
        await pilot.pause()
        await shows(app, "Doctor › group")
