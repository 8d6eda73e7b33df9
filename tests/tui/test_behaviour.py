"""What keys and the helper's messages do, on the screen and at the helper."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from meshproto import local_pb2
from meshtui.app import MeshtuiApp
from meshtui.screens.main_screen import MainScreen
from tui.conftest import FakeClock, press, screen_text, settled, shows, until
from tui.recorded_meshd import RecordedMeshd

from tui import recordings

MakeApp = Callable[..., MeshtuiApp]
MakeMeshd = Callable[..., RecordedMeshd]
SMALL = (80, 24)


def main_screen(app: MeshtuiApp) -> MainScreen:
    return next(screen for screen in app.screen_stack if isinstance(screen, MainScreen))


def names(app: MeshtuiApp) -> list[str]:
    """Of the rows on screen, by what stands in the second column."""
    lines = screen_text(app).splitlines()[3:]
    return [line[4:].split()[0] for line in lines if line[2:3] in ("●", "◐", "○", "⊘")]


def selected(app: MeshtuiApp) -> str:
    row = main_screen(app).pane.row()
    return row.name if row is not None else ""


# --- the helper -------------------------------------------------------------------------------------------------------


async def test_it_starts_before_meshd_and_connects(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await shows(app, "meshd is not running.")
        await shows(app, "sudo systemctl start meshd")
        await shows(app, "Trying again every second.")
        make_meshd(recordings.status(recordings.mesh()))
        await shows(app, "gw-berlin")
        await press(pilot, "j")
        assert selected(app) == "gw-paris"


async def test_it_survives_a_restart_of_meshd(make_app: MakeApp, make_meshd: MakeMeshd, clock: FakeClock) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    async with app.run_test(size=(120, 24)) as pilot:
        await settled(pilot)
        await press(pilot, "j", "j")
        meshd.stop()
        await shows(app, "trying again every second")
        clock.now += 7
        await shows(app, "Below is what meshd said 7 s ago.")
        assert "gw-oslo" in names(app)
        await press(pilot, "p")
        await shows(app, "meshd is not connected")
        meshd.start()
        await until(lambda: "trying again" not in screen_text(app), "the news to go")
        assert selected(app) == "gw-oslo"


async def test_a_silent_meshd_is_named(make_app: MakeApp, make_meshd: MakeMeshd, clock: FakeClock) -> None:
    meshd = make_meshd(recordings.status())
    meshd.silent.set()
    app = make_app()
    async with app.run_test(size=SMALL):
        await shows(app, "Asking meshd")
        clock.now += 5
        await shows(app, "meshd has not answered for 5 s.")


async def test_a_socket_that_may_not_be_opened(
    make_app: MakeApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "meshd.sock").touch()
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).name != "meshd.sock")
    app = make_app()
    async with app.run_test(size=(160, 24)) as pilot:
        await settled(pilot)
        await shows(app, "You may not open", f"sudo chmod a+rw {tmp_path}/meshd.sock")


async def test_values_change_in_place(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        before = names(app)
        changed = recordings.members()[1]
        changed.latency_ms, changed.rx_rate = 99.5, 5_000_000
        meshd.push(difference(members=[changed]))
        await shows(app, "99.5 ms")
        await shows(app, "5.0 MB/s")
        assert names(app) == before


async def test_members_come_at_the_end_and_go_without_a_jump(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await press(pilot, "j", "j", "j", "j")
        assert selected(app) == "laptop-grace"
        new = recordings.member(9, "gw-aachen")
        meshd.push(difference(members=[new], removed_member_ids=[recordings.members()[0].id]))
        await until(lambda: "gw-aachen" in names(app), "the new one")
        assert names(app)[-1] == "gw-aachen"
        assert "gw-berlin" not in names(app)
        assert selected(app) == "laptop-grace"
        meshd.push(difference(removed_member_ids=[recordings.members()[4].id]))
        await until(lambda: selected(app) == "desk-edsger", "the row in its place to be selected")


async def test_the_state_of_the_mesh_is_answered_with_its_reason(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await shows(app, "home ● connected · 5 of 6 online")
        head = recordings.mesh(state=local_pb2.STALE, reason="no answer from gw-berlin for 6 s", members=[])
        meshd.push(difference(head=head))
        await shows(app, "home ▲ stale: no answer from gw-berlin for 6 s")
        meshd.push(local_pb2.WatchUpdate(differences=[local_pb2.MeshDifference(mesh_id="mesh-home", removed=True)]))
        await shows(app, "No mesh yet.")


@pytest.mark.parametrize(
    ("state", "reason", "said"),
    [
        (local_pb2.DOWN, "disconnected", "Below is what home was like while this machine was connected."),
        (local_pb2.STALE, "this machine was disabled in home", "Below is what home was like. Last word 9 s ago."),
    ],
)
async def test_what_is_old_is_said_to_be(
    make_app: MakeApp, make_meshd: MakeMeshd, state: local_pb2.MeshState.ValueType, reason: str, said: str
) -> None:
    down = state == local_pb2.DOWN
    members = recordings.offline(recordings.members()[:3])
    for one in members:
        one.primary, one.replica_lag, one.store_state = False, -1, ""
    mesh = recordings.mesh(
        state=state, reason=reason, writable=False, primary="", stale_since_ms=0 if down else recordings.NOW_MS - 9000,
        members=[*members, recordings.laptop_ada(enabled=down)],
    )  # fmt: skip
    make_meshd(recordings.status(mesh))
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "3")
        await shows(app, said, "duty not known")
        assert "replica" not in screen_text(app)
        assert "meshctl doctor" not in screen_text(app), "it would say what is above"


async def test_ages_grow(make_app: MakeApp, make_meshd: MakeMeshd, clock: FakeClock) -> None:
    make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await shows(app, "48 s ago")
        clock.now += 2
        await shows(app, "50 s ago")


# --- finding ----------------------------------------------------------------------------------------------------------


async def test_filter(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await press(pilot, "slash", *"lap", "space", *"!ada")
        assert names(app) == ["laptop-grace"]
        await shows(app, "1 of 7 members")
        await press(pilot, "enter")
        assert selected(app) == "laptop-grace"
        await press(pilot, "escape")
        assert len(names(app)) == 7
        assert selected(app) == "laptop-grace"


async def test_one_key_turns_the_order_round(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await press(pilot, "S")
        await shows(app, "by state, reversed")
        await press(pilot, "S")
        await shows(app, "by state · 7 members")


async def test_sort_is_kept_until_asked_again(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    async with app.run_test(size=(160, 24)) as pilot:
        await settled(pilot)
        await press(pilot, "s", "s")
        assert names(app) == sorted(names(app))
        await shows(app, "NAME ↑")
        await press(pilot, "S")
        assert names(app) == sorted(names(app), reverse=True)
        assert await pilot.click(main_screen(app).pane.table, offset=(84, 0))
        await pilot.pause()
        await shows(app, "by ↓ now")
        assert names(app)[0] == "gw-berlin"
        faster = recordings.members()[1]
        faster.rx_rate = 9_000_000
        meshd.push(difference(members=[faster]))
        await shows(app, "9.0 MB/s")
        assert names(app)[0] == "gw-berlin"


async def test_vim_keys_and_arrows_move(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    make_meshd(recordings.status(recordings.mesh(members=recordings.crowd(100))))
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        for keys, name in (
            (["j", "down"], "gw-oslo"), (["k", "up"], "gw-berlin"), (["G"], "laptop-0100"), (["g"], "gw-berlin"),
            (["end"], "laptop-0100"), (["home"], "gw-berlin"), (["ctrl+d"], "laptop-0010"), (["ctrl+u"], "gw-berlin"),
            (["pagedown"], "laptop-0019"), (["pageup"], "gw-berlin"), (["k"], "gw-berlin"),
        ):  # fmt: skip
            await press(pilot, *keys)
            assert selected(app) == name, keys
            assert name in names(app), f"{name} is selected but not on screen"


async def test_the_mouse_selects_opens_and_changes_tabs(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await pilot.click(main_screen(app).pane.table, offset=(6, 3))
        await until(lambda: selected(app) == "gw-oslo", "the row that was clicked")
        await pilot.click(main_screen(app).pane.table, offset=(6, 3), times=2)
        await shows(app, "Members › gw-oslo")
        await press(pilot, "escape")
        await pilot.click("TabBar", offset=(33, 0))
        await shows(app, "203.0.113.0/24")
        await press(pilot, "tab")
        await shows(app, "No invites yet.")
        await press(pilot, "h", "h")
        await shows(app, "Primary gw-berlin")


async def test_two_meshes(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    office = recordings.mesh("office", members=[recordings.laptop_ada(), recordings.member(8, "gw-hq")])
    make_meshd(recordings.status(recordings.mesh(), office))
    app = make_app(mesh="office")
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        assert names(app) == ["laptop-ada", "gw-hq"]
        await press(pilot, "m")
        assert "gw-berlin" in names(app)


# --- doing ------------------------------------------------------------------------------------------------------------


async def test_ping(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await press(pilot, "p")
        await shows(app, "gw-berlin answered 4 of 4: 28.2 / 31.0 / 44.5 ms")
        assert [(call.mesh, call.who) for call in meshd.calls] == [("home", recordings.members()[0].id)]


async def test_copy_goes_through_the_terminal(
    make_app: MakeApp, make_meshd: MakeMeshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        written: list[str] = []
        monkeypatch.setattr(app._driver, "write", written.append)
        await press(pilot, "c")
        await shows(app, "10.11.0.1 is on the clipboard")
        assert "\x1b]52;c;MTAuMTEuMC4x\x07" in "".join(written)


@pytest.mark.parametrize(
    ("row", "on", "question"), [(4, False, "Disable laptop-grace?"), (6, True, "Enable phone-barbara?")]
)
async def test_enable_and_disable_ask_first(
    make_app: MakeApp, make_meshd: MakeMeshd, row: int, on: bool, question: str
) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await press(pilot, *["j"] * row, "e")
        await shows(app, question)
        await press(pilot, "n")
        assert meshd.calls == []
        await press(pilot, "e", "y")
        await until(lambda: meshd.calls, "the call")
        call = meshd.calls[0]
        assert (call.who, call.on) == (recordings.members()[row].id, on)
        assert call.request_id
        await shows(app, f"is {'enabled' if on else 'disabled'}")


async def test_rename(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await press(pilot, "r", "end", *"-old!", "enter")
        await shows(app, "1 to 63 of a–z, 0–9 and -")
        await press(pilot, "backspace", "enter")
        await until(lambda: meshd.calls, "the call")
        assert meshd.calls[0].name == "gw-berlin-old"
        await shows(app, "gw-berlin is gw-berlin-old now")


async def test_what_the_helper_refuses_is_said_with_the_fix(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh()))
    meshd.refuse = ("the primary does not answer", "meshctl nodes list")
    app = make_app()
    async with app.run_test(size=(120, 24)) as pilot:
        await settled(pilot)
        await press(pilot, "j", "j", "j", "j", "e", "y")
        await shows(app, "the primary does not answer  → meshctl nodes list")


async def test_what_may_not_be_done_is_never_sent(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh(), tier=local_pb2.TIER_OBSERVE))
    app = make_app()
    async with app.run_test(size=(120, 24)) as pilot:
        await settled(pilot)
        await press(pilot, "e", "r")
        await shows(app, "may only look")
        assert meshd.calls == []


async def test_actions_work_from_the_story(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await press(pilot, "enter", "p")
        await shows(app, "gw-berlin answered 4 of 4")
        await shows(app, recordings.members()[0].id)


async def test_the_palette_finds_commands(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh(members=[recordings.member(1, "[b]x[/b]", primary=True)])))
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await press(pilot, "colon")
        await shows(app, "Ping [b]x[/b]")
        await press(pilot, *"ping", "enter")
        await until(lambda: meshd.calls, "the ping")


async def test_the_palette_can_be_clicked_without_colours(
    make_app: MakeApp, make_meshd: MakeMeshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    meshd = make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await press(pilot, "colon", *"ping")
        await shows(app, "Ping gw-berlin")
        lines = screen_text(app).splitlines()
        row = next(number for number, line in enumerate(lines) if "Ping gw-berlin" in line)
        await pilot.click(offset=(lines[row].index("Ping gw-berlin"), row))
        await until(lambda: meshd.calls, "the ping")


async def test_theme_key(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        seen = []
        for _ in range(3):
            await press(pilot, "T")
            seen.append(app.theme)
        assert seen == ["light", "contrast", "dark"]


@pytest.mark.parametrize("size", [(20, 5), (1, 1), (40, 12), (300, 100)])
async def test_any_size(make_app: MakeApp, make_meshd: MakeMeshd, size: tuple[int, int]) -> None:
    make_meshd(recordings.status(recordings.mesh(routes=recordings.routes())), recordings.events())
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await pilot.resize_terminal(*size)
        await press(
            pilot,
            "1",
            "3",
            "4",
            "5",
            "6",
            "7",
            "8",
            "2",
            "G",
            "enter",
            "escape",
            "slash",
            "x",
            "escape",
            "question_mark",
            "q",
        )
        await pilot.resize_terminal(*SMALL)
        await shows(app, "gw-berlin")


async def test_help_and_the_palette_are_there_on_a_story(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    make_meshd(recordings.status(recordings.mesh()))
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await press(pilot, "j", "j", "j", "j", "enter")
        await shows(app, "Members › laptop-grace", "? help")
        await press(pilot, "question_mark")
        await shows(app, "next, previous row")
        await press(pilot, "escape", "colon")
        await shows(app, "Rename laptop-grace")
        await press(pilot, *"back to")
        await shows(app, "Back to the list")
        await press(pilot, "enter")
        await shows(app, "7 members")


async def test_quitting_while_updates_come(make_app: MakeApp, make_meshd: MakeMeshd) -> None:
    meshd = make_meshd(recordings.status(recordings.mesh(members=recordings.crowd(500))))
    app = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        for _ in range(20):
            meshd.push(difference(members=recordings.crowd(500)))
        await press(pilot, "q")
    await asyncio.sleep(0)
    assert app.return_code == 0


def difference(**values: Any) -> local_pb2.WatchUpdate:
    update = local_pb2.MeshDifference(mesh_id="mesh-home", **values)
    return local_pb2.WatchUpdate(differences=[update], at_ms=recordings.NOW_MS)


async def test_look_and_order_are_found_again(make_app: MakeApp, make_meshd: MakeMeshd, tmp_path: Path) -> None:
    make_meshd(recordings.status(recordings.mesh()))
    kept = tmp_path / "config" / "preferences.json"
    app = make_app(preferences=kept)
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await press(pilot, "s", "s", "S", "T")
        await shows(app, "by name, reversed")
    again = make_app(preferences=kept)
    async with again.run_test(size=SMALL) as pilot:
        await settled(pilot)
        await shows(again, "by name, reversed")
        assert names(again) == sorted(names(again), reverse=True)
        assert again.theme == "light"
    other = make_app(preferences=kept, theme="contrast")
    assert other.theme == "contrast"
