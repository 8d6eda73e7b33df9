"""Keys that arrive at once, as over a slow link or pasted: each acts on what the one before it brought up."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from meshproto import local_pb2
from meshtui import forms
from meshtui.app import MeshtuiApp
from textual import events
from tui.conftest import acted, screen_text, settled, shows, until
from tui.recorded_meshd import RecordedMeshd
from tui.test_actions import invite

from tui import recordings

MakeApp = Callable[..., MeshtuiApp]
MakeMeshd = Callable[..., RecordedMeshd]


def burst(app: MeshtuiApp, *keys: str) -> None:
    """Nobody waits for anything in between."""
    for key in keys:
        app.post_message(events.Key(key, key if len(key) == 1 else None))


def everything() -> local_pb2.Status:
    return recordings.status(
        recordings.mesh(routes=recordings.routes(), invites=recordings.invites(), pending=recordings.pending())
    )


@pytest.mark.parametrize("tab", ["3", "4", "5", "6"])
async def test_a_row_of_another_tab(make_app: MakeApp, make_meshd: MakeMeshd, tab: str) -> None:
    make_meshd(everything())
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        for _ in range(3):  # the first time the tab is made, then it is only shown
            burst(app, tab, "g", "j")
            await acted(pilot)
            table = app._main.panes[int(tab) - 1].table
            assert app.focused is table
            assert table.key == table.keys[1]
            burst(app, "2", "g")
            await acted(pilot)
            assert app.focused is app._main.panes[1].table


async def test_a_question_and_its_answer(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    meshd = make_meshd(everything())
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        burst(app, "G", "k", "e", "y")
        await until(lambda: meshd.calls, "the peer to be disabled")
        assert isinstance(meshd.calls[0], local_pb2.SetMemberFlagRequest)
        await shows(app, "is disabled")
        burst(app, "e", "n", "d", "n", "e", "y")
        await until(lambda: len(meshd.calls) == 2, "the peer to be disabled again")
        assert isinstance(meshd.calls[1], local_pb2.SetMemberFlagRequest)


async def test_a_form_and_what_is_typed_into_it(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    meshd = make_meshd(everything())
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        burst(app, "i", *"laptop", "enter")
        await until(lambda: meshd.calls, "the invite to be made")
        assert isinstance(meshd.calls[0], local_pb2.CreateInviteRequest)
        assert meshd.calls[0].member == "laptop"


async def test_an_invite_that_is_typed_is_checked_once_not_with_each_letter(
    make_app: MakeApp, make_meshd: MakeMeshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal without bracketed paste types what is pasted; and says enter for the end of a line."""
    checked: list[str] = []
    judge = forms.judge_join

    def counted(values: forms.Values, now_ms: int) -> forms.Verdict:
        checked.append(values["what"])
        return judge(values, now_ms)

    monkeypatch.setattr(forms, "judge_join", counted)
    make_meshd(recordings.status())
    app, secret = make_app(), invite()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        burst(app, "a", *secret[:200], "enter", *secret[200:], "tab", *"gw-hq 192.0.2.1")
        await shows(app, "An invite to office", "gw-hq 192.0.2.1")
        assert secret in checked
        assert len(checked) < 12, "all letters that are there at once are one"


def wrapped(secret: str) -> str:
    return "\n".join(secret[at : at + 60] for at in range(0, len(secret), 60))


def as_file(secret: str) -> str:
    return f'# An invite for one machine. Keep it secret.\nversion = 1\ninvite = "{secret}"\n'


@pytest.mark.parametrize("form", [wrapped, as_file], ids=["wrapped", "contents of a file"])
async def test_a_pasted_invite_of_several_lines(
    make_app: MakeApp, make_meshd: MakeMeshd, form: Callable[[str], str]
) -> None:
    make_meshd(recordings.status())
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        burst(app, "a")
        await shows(app, "Paste an invite")
        app.post_message(events.Paste(f"\n{form(invite())}\n"))
        await shows(app, "An invite to office, good for 1 h.")


async def test_what_is_pasted_is_cut_where_typing_would_end(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    make_meshd(everything())
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        burst(app, "i")
        await shows(app, "whoever joins chooses")
        app.post_message(events.Paste(f"\n{'a' * 70}\nsecond line"))
        await shows(app, "a" * 63, "join as peer, for 14d")
        assert "a" * 64 not in screen_text(app)


async def test_spaces_that_come_at_once_are_typed(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    make_meshd(everything())
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        burst(app, "i")
        await shows(app, "whoever joins chooses")
        for typed in ("a", "   ", "b", "\n"):
            app.post_message(events.Paste(typed))
        await shows(app, "a   b")
