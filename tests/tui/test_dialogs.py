"""Dialogs on small screens: their keys are always there, the rest scrolls; help, and what is offered, in each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from meshtui.actions import invites
from meshtui.app import MeshtuiApp
from meshtui.screens.ask_screen import AskScreen
from meshtui.screens.columns_screen import ColumnsScreen
from meshtui.screens.form_screen import Field, FormScreen
from meshtui.screens.help_screen import HelpScreen
from meshtui.screens.progress_screen import ProgressScreen
from meshtui.screens.secret_screen import SecretScreen
from textual.screen import Screen
from tui.conftest import press, screen_text, settled, shows
from tui.recorded_meshd import RecordedMeshd

from tui import recordings

MakeApp = Callable[..., MeshtuiApp]
MakeMeshd = Callable[..., RecordedMeshd]
LONG = "\n".join(f"Line {number} of what would happen." for number in range(80))
INVITE = "mesh1-" + "abcdefghijklmnopqrstuvwxyz234567" * 16
LINES = [
    "On the other machine: press a in meshtui, or `meshctl join -`, and paste this.",
    "It lasts 14 d. On this machine",
]


@pytest.mark.parametrize("size", [(80, 24), (40, 10)])
async def test_a_question_shows_its_keys_and_scrolls(
    make_app: MakeApp, make_meshd: MakeMeshd, size: tuple[int, int]
) -> None:
    make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        app.push_screen(AskScreen("Remove it?", LONG, "remove", "keep it"))
        await shows(app, "y remove   n keep it", "Remove it?")
        assert "Line 79 " not in screen_text(app)
        await press(pilot, *["pagedown"] * 12)
        await shows(app, "y remove   n keep it", "Line 79 ")


async def test_a_question_fits_a_terminal_that_shrinks(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "j", "d")
        await shows(app, "n keep it as it is")
        await pilot.resize_terminal(40, 10)
        await shows(app, "n keep it as")


@pytest.mark.parametrize("size", [(160, 48), (80, 48), (100, 56), (100, 60), (100, 70)])
async def test_the_code_of_an_invite_is_whole_on_screen(
    make_app: MakeApp, make_meshd: MakeMeshd, size: tuple[int, int]
) -> None:
    make_meshd(recordings.status(recordings.mesh()))
    code = invites._code(INVITE)
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        app.push_screen(SecretScreen("Invite", LINES, INVITE, code))
        await shows(app, "c: copy   escape: back")
        if "v: QR code" in screen_text(app):
            await press(pilot, "v")
            await shows(app, "v: text")
        await press(pilot, "c")
        await shows(app, "it is on the clipboard", "c: copy   escape: back")
        shown = screen_text(app)
        assert all(line.strip() in shown for line in code.splitlines()), shown


async def test_a_small_terminal_says_what_the_code_needs(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    make_meshd(recordings.status(recordings.mesh()))
    code = invites._code(INVITE)
    wide, high = len(code.splitlines()[0]), len(code.splitlines()) + 2
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        app.push_screen(SecretScreen("Invite", LINES, INVITE, code))
        await shows(app, f"The QR code needs a terminal of {wide} × {high}.", "c: copy")
        await press(pilot, "v")
        await shows(app, "mesh1-")
        await pilot.resize_terminal(wide, high)
        await shows(app, "v: QR code")
        await press(pilot, "v")
        await shows(app, "v: text", code.splitlines()[-1].strip())
        await pilot.resize_terminal(wide, high - 1)
        await shows(app, "The QR code needs", "mesh1-")


FIELDS = [Field("role", "Role", choices=("peer", "node")), Field("name", "Name")]
DIALOGS = pytest.mark.parametrize(
    "dialog",
    [
        lambda app: AskScreen("Remove?", "", "remove", "keep it"),
        lambda app: SecretScreen("Invite", LINES, INVITE),
        lambda app: ProgressScreen("Joining"),
        lambda app: ColumnsScreen(app._main.pane),
        lambda app: FormScreen("New", "", FIELDS, "do it", lambda values: ("", "")),
    ],
    ids=["question", "secret", "progress", "columns", "form"],
)


@DIALOGS
@pytest.mark.parametrize("leave", [MeshtuiApp.pop_screen, MeshtuiApp.exit], ids=["the dialog", "meshtui"])
@pytest.mark.parametrize("turns", [0, 1, 2])
async def test_leaving_while_a_dialog_comes_up(
    make_app: MakeApp,
    make_meshd: MakeMeshd,
    dialog: Callable[[MeshtuiApp], Screen[object]],
    leave: Callable[[MeshtuiApp], object],
    turns: int,
) -> None:
    """`turns` of the event loop after it was opened. A fault of the app comes out of run_test."""
    make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    async with app.run_test(size=(100, 60)) as pilot:
        await settled(pilot)
        app.push_screen(dialog(app))
        for _ in range(turns):
            await asyncio.sleep(0)
        leave(app)
        await pilot.pause()


@DIALOGS
@pytest.mark.parametrize("key", ["question_mark", "f1"])
async def test_help_is_everywhere(
    make_app: MakeApp, make_meshd: MakeMeshd, dialog: Callable[[MeshtuiApp], Screen[object]], key: str
) -> None:
    make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    async with app.run_test(size=(100, 60)) as pilot:
        await settled(pilot)
        opened = dialog(app)
        app.push_screen(opened)
        await pilot.pause()
        await press(pilot, key)
        assert isinstance(app.screen, HelpScreen)
        await press(pilot, "escape")
        assert app.screen is opened


async def test_help_in_a_field_of_text(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    make_meshd(recordings.status())
    app = make_app()
    async with app.run_test(size=(100, 60)) as pilot:
        await settled(pilot)
        await press(pilot, "n")
        await shows(app, "A new mesh")
        await press(pilot, "f1")
        assert isinstance(app.screen, HelpScreen)


async def test_a_mesh_that_was_made_is_not_being_made(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    make_meshd(recordings.status())
    app = make_app()
    async with app.run_test(size=(100, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "n", *"cafe", "enter")
        await shows(app, "The cluster key of cafe")
        await press(pilot, "escape")
        await shows(app, "cafe is there")
        assert "Creating" not in screen_text(app)


async def test_a_member_in_two_marked_events_is_one(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    events = [
        recordings.event(number, 60_000 - number, f"laptop-grace word {number}", subject="laptop-grace")
        for number in range(3)
    ]
    make_meshd(recordings.status(recordings.mesh()), events)
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "7", "g", "space", "space")
        await shows(app, "2 marked")
        await press(pilot, "e")
        await shows(app, "Disable laptop-grace?")
