"""The tray as a program: one for each session, panels and helpers that come and go, what it refuses, how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from datetime import UTC, datetime, timedelta

from lab.hosts.host import PATIENCE
from meshproto import local_pb2
from tray.desktop import BIN, ITEM, ITEM_PATH, Desktop, Panel, until
from tray.services import NotificationService
from tui.recorded_meshd import RecordedMeshd

from tui import recordings


async def test_it_registers_with_each_new_watcher(desktop: Desktop, panel: Panel, meshd: RecordedMeshd) -> None:
    desktop.start_tray()
    await panel.registered()
    for _ in range(3):
        await panel.stop()
        panel.bus = (new := await Panel.start(desktop.address)).bus
        await new.registered()
        await new.until_icon("connected")
        assert len(new.items) == 1


async def test_changes_are_shown_within_a_second_of_the_push(
    desktop: Desktop, panel: Panel, meshd: RecordedMeshd
) -> None:
    desktop.start_tray()
    await panel.registered()
    await panel.until_icon("connected")
    states = {
        "degraded": (local_pb2.STALE, "no answer from gw-berlin for 7 s"),
        "connecting": (local_pb2.CONNECTING, "no answer yet"),
        "disconnected": (local_pb2.DOWN, "disconnected"),
        "connected": (local_pb2.CONNECTED, ""),
    }
    for icon, (state, reason) in states.items():
        panel.changes.clear()
        began = time.monotonic()
        one = recordings.mesh(state=state, reason=reason, members=[])
        meshd.push(local_pb2.WatchUpdate(differences=[local_pb2.MeshDifference(mesh_id=one.id, head=one)]))
        await until(lambda: "NewIcon" in panel.changes, f"{icon} to be announced")
        assert time.monotonic() - began < 1.0 * PATIENCE
        assert await panel.icon() == icon
        assert reason in (await panel.menu()).text().lower()


async def test_a_silent_helper_is_not_green_and_is_believed_again(
    desktop: Desktop, panel: Panel, mute: RecordedMeshd
) -> None:
    desktop.start_tray()
    await panel.registered()
    mute.push(local_pb2.WatchUpdate(at_ms=1))  # getting so far may have taken longer than it is believed
    await panel.until_icon("connected")
    began = time.monotonic()
    await panel.until_icon("disconnected", 8 * PATIENCE)
    assert time.monotonic() - began < 6.5 * PATIENCE
    assert "The helper is not answering" in await panel.tooltip()
    assert "home" not in (await panel.menu()).text().replace("Join", "")
    mute.push(local_pb2.WatchUpdate(at_ms=1))
    await panel.until_icon("connected", 1 * PATIENCE)


async def test_a_helper_that_comes_goes_and_comes(desktop: Desktop, panel: Panel, meshd: RecordedMeshd) -> None:
    meshd.stop()
    desktop.start_tray()
    await panel.registered()
    await panel.until_menu("Meshd is not running")
    assert await panel.icon() == "disconnected"
    assert (await panel.find("Copy: sudo systemctl start meshd")).enabled
    meshd.start()
    desktop.socket.chmod(0o666)
    await panel.until_icon("connected")
    meshd.stop()
    await panel.until_icon("disconnected", 3)
    meshd.start()
    desktop.socket.chmod(0o666)
    await panel.until_icon("connected")


async def test_there_is_one_and_it_gets_the_invite(desktop: Desktop, panel: Panel, meshd: RecordedMeshd) -> None:
    terminal = desktop.folder / "terminal"
    terminal.write_text('#!/bin/sh\nfor one; do last=$one; done\ncp "$last" "$HOME/dialog"; rm "$last"\n')
    terminal.chmod(0o755)
    desktop.start_tray(TERMINAL=str(terminal))
    await panel.registered()
    second = desktop.start_tray("mesh://join/mesh1-abc")
    assert await until(lambda: second.poll() is not None, "the second to end") is True
    assert second.returncode == 0
    assert "it runs already; the invite is handed to it" in desktop.log()
    dialog = desktop.folder / "dialog"
    await until(dialog.exists, "a terminal with the dialog")
    await until(lambda: "mesh1-abc" in dialog.read_text(), "what it is about")
    assert len(panel.items) == 1


async def test_a_link_opens_its_dialog_also_beside_a_tray_that_hangs(
    desktop: Desktop, panel: Panel, meshd: RecordedMeshd
) -> None:
    terminal = desktop.folder / "terminal"
    terminal.write_text('#!/bin/sh\nfor one; do last=$one; done\ncp "$last" "$HOME/dialog"; rm "$last"\n')
    terminal.chmod(0o755)
    first = desktop.start_tray()
    await panel.registered()
    first.send_signal(signal.SIGSTOP)
    second = desktop.start_tray("mesh://join/mesh1-abc", TERMINAL=str(terminal))
    await until(lambda: second.poll() is not None, "the second to end")
    assert second.returncode == 1
    assert "meshtui.Tray did not answer Open within 5 s" in desktop.log()
    assert "mesh1-abc" in (desktop.folder / "dialog").read_text()


async def test_quit_leaves_the_mesh_as_it_is(desktop: Desktop, panel: Panel, meshd: RecordedMeshd) -> None:
    tray = desktop.start_tray()
    await panel.registered()
    await panel.until_menu("Quit (home stays as it is)")
    await panel.click("Quit")
    await until(lambda: tray.poll() is not None, "the tray to end")
    assert (tray.returncode, meshd.calls) == (0, [])


async def test_the_end_of_the_session_is_its_end(desktop: Desktop, panel: Panel, meshd: RecordedMeshd) -> None:
    tray = desktop.start_tray()
    await panel.registered()
    await panel.until_icon("connected")
    desktop.bus.send_signal(signal.SIGKILL)
    await until(lambda: tray.poll() is not None, "the tray to end")
    assert tray.returncode == 0
    assert meshd.calls == []


async def test_start_at_login(desktop: Desktop, panel: Panel, meshd: RecordedMeshd) -> None:
    desktop.start_tray()
    await panel.registered()
    await panel.until_icon("connected")
    assert (await panel.find("Start at login")).checked is False
    await panel.click("Start at login")
    file = desktop.folder / ".config/autostart/meshtray.desktop"
    await until(file.exists, "the file")
    program = re.search(r"^Exec=(.*)$", file.read_text(), re.MULTILINE)
    assert program is not None
    command, _, options = program[1].partition(" ")
    assert command in ("meshtray", str(BIN / "meshtray"))  # by its name where a login finds it
    assert options == "--wait 120"
    await panel.until_menu("Start at login", checked=True)
    await panel.click("Start at login")
    await until(lambda: "Hidden=true" in file.read_text(), "it to be switched off for this person")
    await panel.until_menu("Start at login", checked=False)


async def test_without_a_place_for_it_it_says_what_to_do(desktop: Desktop, meshd: RecordedMeshd) -> None:
    tray = desktop.start_tray("--wait", "0.2")
    await until(lambda: tray.poll() is not None, "the tray to end")
    assert tray.returncode == 1
    assert "meshtray: this session has no place for a tray icon" in desktop.log()
    assert "AppIndicator" in desktop.log()
    nothing = desktop.start_tray("--wait", "0.2", DBUS_SESSION_BUS_ADDRESS="unix:path=/nowhere")
    await until(lambda: nothing.poll() is not None, "the tray to end")
    assert nothing.returncode == 1
    assert desktop.log().count("this session has no place for a tray icon") == 2


def test_root_is_refused() -> None:
    assert os.geteuid() == 0
    done = subprocess.run([BIN / "meshtray"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "meshtray: this is for the person at the desktop, not for root\nfix: start it without sudo"
    )


async def test_who_may_only_look(desktop: Desktop, panel: Panel, meshd: RecordedMeshd) -> None:
    meshd.status = recordings.status(recordings.mesh(connected_by="nobody"), tier=local_pb2.TIER_OBSERVE)
    desktop.start_tray()
    await panel.registered()
    await panel.until_menu("nobody may only look")
    assert not (await panel.find("Disconnect")).enabled
    await panel.click("Disconnect")
    assert meshd.calls == []


async def test_what_the_helper_refuses_is_shown(desktop: Desktop, panel: Panel, meshd: RecordedMeshd) -> None:
    meshd.status = recordings.status(recordings.mesh(connected_by="nobody"))
    meshd.refuse = ("home is busy", "try again in a moment")
    desktop.start_tray()
    await panel.registered()
    await panel.until_menu("Disconnect")
    await panel.click("Disconnect")
    await panel.until_menu("home is busy → try again in a moment")
    assert await panel.icon() == "connected"


async def test_an_invite_becomes_a_file_for_its_person_alone(
    desktop: Desktop, panel: Panel, meshd: RecordedMeshd
) -> None:
    desktop.start_tray()
    await panel.registered()
    await panel.until_menu("As a file")
    await panel.click("As a file")
    file = desktop.folder / "home-4f1cab90.mesh"
    await until(file.exists, "the file")
    assert file.stat().st_mode & 0o777 == 0o600
    assert isinstance(meshd.calls[0], local_pb2.CreateInviteRequest)


async def test_a_report_is_written(desktop: Desktop, panel: Panel, meshd: RecordedMeshd) -> None:
    desktop.start_tray()
    await panel.registered()
    await panel.until_icon("connected")
    await panel.click("Report a problem")
    (file,) = await until(lambda: list(desktop.folder.glob("meshtui-*.report")), "the report")
    assert file.stat().st_mode & 0o777 == 0o600
    await until(lambda: file.stat().st_size > 100, "what is in it")


async def test_a_link_opens_its_dialog_also_where_there_is_no_place_for_an_icon(
    desktop: Desktop, meshd: RecordedMeshd
) -> None:
    terminal = desktop.folder / "terminal"
    terminal.write_text('#!/bin/sh\nfor one; do last=$one; done\ncp "$last" "$HOME/dialog"; rm "$last"\n')
    terminal.chmod(0o755)
    (desktop.folder / "home (1).mesh").write_text('invite = "mesh1-abc"\n')
    uri = (desktop.folder / "home (1).mesh").as_uri()  # a browser's second download, as a file manager hands it over
    assert "%20" in uri
    tray = desktop.start_tray("--wait", "0.01", uri, TERMINAL=str(terminal))
    await until(lambda: tray.poll() is not None, "the tray to end")
    assert (tray.returncode, "no place for a tray icon" in desktop.log()) == (1, True)
    assert "mesh1-abc" in (desktop.folder / "dialog").read_text()


async def test_a_terminal_that_fails_is_told_and_leaves_no_secret(
    desktop: Desktop, panel: Panel, meshd: RecordedMeshd
) -> None:
    terminal = desktop.folder / "terminal"
    terminal.write_text("#!/bin/sh\nexit 3\n")
    terminal.chmod(0o755)
    desktop.start_tray("mesh://join/mesh1-abc", TERMINAL=str(terminal))
    await panel.registered()
    await panel.until_menu("ended at once with status 3")
    assert list(desktop.folder.glob("*.dialog")) == []


async def test_a_file_given_at_the_start_opens_its_dialog(desktop: Desktop, panel: Panel, meshd: RecordedMeshd) -> None:
    terminal = desktop.folder / "terminal"
    terminal.write_text('#!/bin/sh\nfor one; do last=$one; done\ncp "$last" "$HOME/dialog"; rm "$last"\n')
    terminal.chmod(0o755)
    (desktop.folder / "home.mesh").write_text('invite = "mesh1-abc"\n')
    desktop.start_tray("home.mesh", TERMINAL=str(terminal))
    dialog = desktop.folder / "dialog"
    await until(lambda: dialog.exists() and "mesh1-abc" in dialog.read_text(), "the dialog")
    assert meshd.calls == []


async def test_pauses(desktop: Desktop, panel: Panel, meshd: RecordedMeshd) -> None:
    meshd.status = recordings.status(recordings.mesh(connected_by="nobody"))
    desktop.start_tray()
    await panel.registered()
    await panel.until_icon("connected")
    asked: list[int] = []
    for label in ("For 5 minutes", "For 1 hour", "Until tomorrow morning"):
        await panel.click(label)
        await until(lambda: len(meshd.calls) > len(asked), f"the call for {label!r}")
        asked.append(meshd.calls[-1].pause_ms)
        await panel.until_menu("● home: connected")  # it is done
        meshd.push(local_pb2.WatchUpdate(at_ms=1))
    assert asked[:2] == [300_000, 3_600_000]
    now = datetime.now(tz=UTC)
    morning = (now + timedelta(days=1)).replace(hour=7, minute=0, second=0, microsecond=0)
    assert abs(asked[2] - (morning - now).total_seconds() * 1000) < 60_000
    soon, tomorrow = now + timedelta(seconds=1), now + timedelta(days=1)
    for until_when, shown in ((soon, f"{soon:%H:%M}"), (tomorrow, f"{tomorrow:%a %H:%M}")):
        paused_ms = int(until_when.timestamp() * 1000)
        mesh = recordings.mesh(
            state=local_pb2.DOWN, reason=f"paused until {shown}", paused_until_ms=paused_ms, wanted=True,
            keyring_entry="an entry", person="nobody",
        )  # fmt: skip
        meshd.push(local_pb2.WatchUpdate(snapshot=recordings.status(mesh)))
        await panel.until_menu(f"○ home: paused until {shown}")
        assert await panel.icon() == "disconnected"
    assert len(meshd.calls) == 3  # nobody connects it meanwhile


async def test_what_opens_in_a_terminal(desktop: Desktop, panel: Panel, meshd: RecordedMeshd) -> None:
    terminal = desktop.folder / "terminal"
    terminal.write_text('#!/bin/sh\necho "$@" >> "$HOME/opened"\n')
    terminal.chmod(0o755)
    desktop.start_tray(TERMINAL=str(terminal))
    await panel.registered()
    await panel.until_icon("connected")
    await panel.click("Open meshtui")
    opened = desktop.folder / "opened"
    await until(opened.exists, "meshtui")
    await panel.click("With a file, a link or a text")
    await until(lambda: len(opened.read_text().splitlines()) == 2, "the dialog")
    first, second = opened.read_text().splitlines()
    assert first.split() == ["-e", str(BIN / "meshtui"), "--socket", str(desktop.socket)]
    assert second.split()[1:-1] == [str(BIN / "python"), "-I", "-m", "meshtray", "--dialog"]
    document = json.loads((desktop.folder / second.split()[-1]).read_text())
    assert document == {"kind": "join", "what": "", "socket": str(desktop.socket)}


async def test_what_was_clicked_comes_to_the_front(desktop: Desktop, panel: Panel, meshd: RecordedMeshd) -> None:
    """A compositor of Wayland lets a window do so that has the token of a click; it is good for one."""
    terminal = desktop.folder / "terminal"
    terminal.write_text('#!/bin/sh\necho "token: $XDG_ACTIVATION_TOKEN" >> "$HOME/opened"\n')
    terminal.chmod(0o755)
    service = await NotificationService.start(desktop.address)
    desktop.start_tray(TERMINAL=str(terminal))
    await panel.registered()
    await panel.until_icon("connected")
    opened = desktop.folder / "opened"

    async def until_opened(*tokens: str) -> None:
        def found() -> list[str]:
            return opened.read_text().splitlines() if opened.exists() else []

        await until(lambda: found() == [f"token: {one}" for one in tokens], f"{tokens}", log=found)

    await panel.bus.call(panel.item, ITEM_PATH, ITEM, "ProvideXdgActivationToken", "s", "of-the-panel")
    await panel.bus.call(panel.item, ITEM_PATH, ITEM, "Activate", "ii", 0, 0)
    await until_opened("of-the-panel")
    await panel.bus.call(panel.item, ITEM_PATH, ITEM, "Activate", "ii", 0, 0)
    await until_opened("of-the-panel", "")
    alarm = recordings.event(90, 0, "the key of gw-oslo changed", kind="alarm", severity="error")
    meshd.push(local_pb2.WatchUpdate(events=[alarm]))
    shown = await service.until_shown("Alarm: home")
    service.click(shown, "Open meshtui", token="of-the-notification")
    await until_opened("of-the-panel", "", "of-the-notification")
    await service.stop()
