"""A Wayland session: waybar shows the icon, the clipboard goes through wl-clipboard's programs."""

from __future__ import annotations

import pytest
from meshproto import local_pb2
from tray.desktop import Desktop, Panel, until
from tray.test_panel import push
from tray.wayland import Wayland
from tray.xvfb import coloured, keep
from tui.recorded_meshd import RecordedMeshd

from tui import recordings


@pytest.fixture
async def session(desktop: Desktop) -> Wayland:
    one = Wayland(desktop)
    await one.start()
    return one


async def test_waybar_shows_the_state(desktop: Desktop, session: Wayland, meshd: RecordedMeshd) -> None:
    meshd.status = recordings.status(recordings.mesh(connected_by="nobody"))
    await session.start_waybar()
    desktop.start_tray(**session.environment())

    def sees(colour: str) -> tuple[int, int] | None:
        meshd.push(local_pb2.WatchUpdate(at_ms=1))  # the recorded one has no heart of its own
        return coloured(session.picture(), colour)

    await until(lambda: sees("green"), "a green icon", 30, desktop.log)
    assert "StatusNotifierItem with com.canonical.dbusmenu" in desktop.log()
    push(meshd, state=local_pb2.STALE, reason="no answer from gw-berlin for 8 s")
    await until(lambda: sees("amber"), "an amber icon", 10)
    assert sees("green") is None
    push(meshd)
    at = await until(lambda: sees("green"), "a green icon again", 10)
    keep(session.picture(), "meshtray-waybar", (at[0] - 60, 0, 800, 32))


async def test_the_clipboard_of_wayland(desktop: Desktop, session: Wayland, panel: Panel, meshd: RecordedMeshd) -> None:
    terminal = desktop.folder / "terminal"
    terminal.write_text('#!/bin/sh\nfor one; do last=$one; done\ncp "$last" "$HOME/dialog"; rm "$last"\n')
    terminal.chmod(0o755)
    desktop.start_tray(TERMINAL=str(terminal), **session.environment())
    await panel.registered()
    await panel.until_icon("connected")
    await panel.click("With the invite on the clipboard")
    await panel.until_menu("there is no invite on the clipboard")
    await panel.click("laptop-grace")
    await until(lambda: session.run("wl-paste", "--no-newline").stdout == "10.51.0.5", "the address", log=desktop.log)
    meshd.push(local_pb2.WatchUpdate(at_ms=1))  # the recorded one has no heart of its own
    await panel.click("On the clipboard")
    await until(lambda: session.run("wl-paste").stdout.startswith("mesh1-"), "the invite", log=desktop.log)
    await panel.click("With the invite on the clipboard")
    dialog = desktop.folder / "dialog"
    await until(lambda: dialog.exists() and "mesh1-" in dialog.read_text(), "the dialog", log=desktop.log)
