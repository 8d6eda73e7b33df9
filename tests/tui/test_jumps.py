"""`o` leads from a row to what it is about: a member, a route, an invite, a request."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from meshproto import local_pb2
from meshtui.app import MeshtuiApp
from tui.conftest import press, screen_text, settled, shows, until
from tui.recorded_meshd import RecordedMeshd
from tui.test_behaviour import selected

from tui import recordings

MakeApp = Callable[..., MeshtuiApp]
MakeMeshd = Callable[..., RecordedMeshd]
SIZE = (140, 30)


def with_event(make_meshd: MakeMeshd, text: str, **fields: object) -> RecordedMeshd:
    mesh = recordings.mesh(routes=recordings.routes(), invites=recordings.invites(), pending=recordings.pending())
    return make_meshd(recordings.status(mesh), [recordings.event(1, 60_000, text, **fields)])


async def test_from_an_event_or_a_route_to_its_member(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    make_meshd(recordings.status(recordings.mesh()), recordings.events())
    app = make_app()
    async with app.run_test(size=(120, 30)) as pilot:
        await settled(pilot)
        await press(pilot, "slash", *"oslo", "enter", "7", "k", "k")
        await shows(app, "o go to laptop-grace")
        await press(pilot, "o")
        assert selected(app) == "laptop-grace"
        await shows(app, "7 members")
        assert "escape shows all" not in screen_text(app), "the filter that hid it has ended"
        await press(pilot, "4", "o")
        assert selected(app) == "gw-paris"


@pytest.mark.parametrize("screen", ["row", "story"])
@pytest.mark.parametrize(
    ("text", "about", "name", "shown"),
    [
        ("gw-berlin offers 203.0.113.0/24", "", "203.0.113.0/24", ("▸ ● 203.0.113.0/24", "3 routes")),
        ("route 192.0.2.0/24 is not installed here: eth0 has it", "", "192.0.2.0/24", ("▸ ▲ 192.0.2.0/24",)),
        ("invite 4f1cab02 was revoked", "4f1cab02", "invite 4f1cab02", ("▸ ● laptop-bob", "4 invites")),
        ("desk-alan asks to be let in", "4f2a", "desk-alan", ("▸ ① desk-alan", "invites and requests")),
    ],
)
async def test_from_an_event(
    make_app: MakeApp, make_meshd: MakeMeshd, text: str, about: str, name: str, shown: tuple[str, ...], screen: str
) -> None:
    with_event(make_meshd, text, subject_id=about)
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        await press(pilot, "7", *(["enter"] if screen == "story" else []))
        await shows(app, f"o go to {name}")
        await press(pilot, "o")
        await shows(app, *shown[:1])
        await press(pilot, "escape")
        await shows(app, text, "1 event")


async def test_the_actions_of_an_event_are_those_on_what_it_is_about(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    meshd = with_event(make_meshd, "gw-oslo offers 198.51.100.128/25", subject="gw-oslo")
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        await press(pilot, "7", "d")
        await shows(app, "Withdraw 198.51.100.128/25?")
        await press(pilot, "y")
        await until(lambda: meshd.calls, "the route to be withdrawn")
        assert isinstance(meshd.calls[0], local_pb2.RouteRequest)


async def test_who_was_let_in_takes_the_place_of_the_request(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    members = recordings.members()
    members[4].joined_by = "request 77aa"
    asked = recordings.event(1, 60_000, "somebody asks from 192.0.2.77 to be let in", subject_id="77aa")
    make_meshd(recordings.status(recordings.mesh(members=members)), [asked])
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        await press(pilot, "7", "o")
        assert selected(app) == members[4].name


async def test_what_is_gone_leads_nowhere(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    with_event(make_meshd, "invite 00000000 was made; gw-oslo no longer offers 192.0.2.0/28", subject_id="00000000")
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        await press(pilot, "7", "o", "d", "p")
        await shows(app, "1 event", "invite 00000000")
        assert "go to" not in screen_text(app)
