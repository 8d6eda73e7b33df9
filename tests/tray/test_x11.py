"""Without a StatusNotifierHost: a system tray of X11 through pystray, in Xfce's panel; and the clipboard of X11."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from meshproto import local_pb2
from meshtray.appearance import appearance
from meshtray.state import State
from meshtray.values import Icon
from meshtray.x11_icon import X11Icon, tray_owner
from tray.desktop import BIN, Desktop, Panel, until
from tray.test_dialogs import invite
from tray.test_panel import push
from tray.xvfb import Screen, free_display
from tui.recorded_meshd import INVITE, RecordedMeshd
from Xlib.display import Display

from tui import recordings


@pytest.fixture
async def screen(desktop: Desktop) -> Screen:
    one = Screen(desktop, free_display())
    await one.start()
    return one


async def test_pystray_shows_the_state_and_a_click_opens_meshtui(
    desktop: Desktop, screen: Screen, meshd: RecordedMeshd
) -> None:
    terminal = desktop.folder / "terminal"
    terminal.write_text('#!/bin/sh\necho "$@" > "$HOME/opened"\n')
    terminal.chmod(0o755)
    elsewhere = Desktop()
    try:
        await elsewhere.start_bus()
        panel = {**screen.environment(), "DBUS_SESSION_BUS_ADDRESS": elsewhere.address}
        first = desktop.start("xfce4-panel", "--disable-wm-check", log="panel.log", environment=panel)
        await until(lambda: "_NET_SYSTEM_TRAY" in screen.run("xlsatoms").stdout, "the panel", 30)
        tray = desktop.start_tray("--wait", "1", TERMINAL=str(terminal), **screen.environment())

        def sees(colour: str) -> tuple[int, int] | None:
            meshd.push(local_pb2.WatchUpdate(at_ms=1))
            return screen.find(screen.picture(), colour)

        at = await until(lambda: sees("green"), "a green icon", 30, desktop.log)
        assert "the tray is one of X11, through pystray" in desktop.log()
        push(meshd, state=local_pb2.STALE, reason="no answer from gw-berlin for 8 s")
        await until(lambda: sees("amber"), "an amber icon", 10)
        assert sees("green") is None
        screen.keep(screen.picture(), "meshtray-x11", (at[0] - 60, 0, 800, 32))
        screen.click(at)
        opened = desktop.folder / "opened"
        await until(lambda: opened.exists() and opened.read_text(), "meshtui in a terminal")
        assert opened.read_text().split()[:2] == ["-e", str(BIN / "meshtui")]
        first.terminate()
        await until(lambda: sees("amber") is None, "the panel to be gone")
        desktop.start("xfce4-panel", "--disable-wm-check", log="panel.log", environment=panel)
        await until(lambda: sees("amber"), "the icon to be back with the panel", 30, desktop.log)
        assert await desktop.stop(tray) == 0
    finally:
        elsewhere.close()


async def test_a_panel_that_starts_late_gets_the_icon_with_its_menu(
    desktop: Desktop, screen: Screen, meshd: RecordedMeshd
) -> None:
    elsewhere = Desktop()
    try:
        await elsewhere.start_bus()
        own = {**screen.environment(), "DBUS_SESSION_BUS_ADDRESS": elsewhere.address}
        desktop.start("xfce4-panel", "--disable-wm-check", log="panel.log", environment=own)
        await until(lambda: "_NET_SYSTEM_TRAY" in screen.run("xlsatoms").stdout, "the panel", 30)
        tray = desktop.start_tray("--wait", "0.1", **screen.environment())

        def sees(colour: str) -> tuple[int, int] | None:
            meshd.push(local_pb2.WatchUpdate(at_ms=1))
            return screen.find(screen.picture(), colour)

        await until(lambda: sees("green"), "a green icon", 30, desktop.log)
        late = await Panel.start(desktop.address, has_host=False)  # as a desktop's service that comes before its panel
        await until(lambda: "nothing there shows icons yet" in desktop.log(), "it to be known", log=desktop.log)
        assert sees("green")
        late.host_comes()
        await late.until_icon("connected")
        await late.until_menu("● home: connected")
        await until(lambda: sees("green") is None, "the icon of X11 to be gone", log=desktop.log)
        assert await desktop.stop(tray) == 0
        await late.stop()
    finally:
        elsewhere.close()


@asynccontextmanager
async def own_panel(desktop: Desktop, screen: Screen, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """For an icon in this very process: Xfce's panel, on a bus of its own."""
    elsewhere = Desktop()
    try:
        await elsewhere.start_bus()
        own = {**screen.environment(), "DBUS_SESSION_BUS_ADDRESS": elsewhere.address}
        desktop.start("xfce4-panel", "--disable-wm-check", log="panel.log", environment=own)
        for name, value in screen.environment().items():
            monkeypatch.setenv(name, value)
        await until(tray_owner, "the panel", 30)
        yield
    finally:
        elsewhere.close()


async def test_what_changes_while_the_icon_comes_up_is_shown(
    desktop: Desktop, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At any moment of its coming up, and it goes when it is told to."""
    async with own_panel(desktop, screen, monkeypatch):
        shown = appearance(State("ada", "1", 0, 0))

        def sees(colour: str) -> bool:
            return screen.find(screen.picture(), colour) is not None

        files = len(os.listdir("/proc/self/fd"))
        for milliseconds in range(0, 48, 2):
            with X11Icon(asyncio.get_running_loop()) as icon:
                icon.present(replace(shown, icon=Icon.CONNECTING))
                await asyncio.sleep(milliseconds / 1000)  # not for anything: the moment is what is tried
                icon.present(replace(shown, icon=Icon.CONNECTED))
                await until(lambda: sees("green"), f"a green icon after {milliseconds} ms", 10)
            await until(lambda: not sees("green"), "the icon to be gone", 10)
        await until(lambda: "pystray" not in [one.name for one in threading.enumerate()], "its threads to end")
        assert len(os.listdir("/proc/self/fd")) <= files


async def test_a_panel_that_destroys_the_icon_gets_another_one(
    desktop: Desktop, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with own_panel(desktop, screen, monkeypatch):
        shown = replace(appearance(State("ada", "1", 0, 0)), icon=Icon.CONNECTED)
        with X11Icon(asyncio.get_running_loop()) as icon:
            icon.present(shown)
            await until(lambda: screen.find(screen.picture(), "green"), "a green icon", 10)
            first = icon._docked
            assert first is not None
            panel = Display()
            panel.create_resource_object("window", first._icon._window.id).destroy()
            panel.sync()
            panel.close()
            await until(lambda: icon._docked is not first, "another icon", 10)
            await until(lambda: screen.find(screen.picture(), "green"), "it to be green", 10)
            first = None
            gc.collect()  # pystray's finalizer waits for ever for a loop that it believes to run


async def test_an_address_goes_to_the_clipboard_and_an_invite_comes_from_it(
    desktop: Desktop, screen: Screen, panel: Panel, meshd: RecordedMeshd
) -> None:
    terminal = desktop.folder / "terminal"
    terminal.write_text('#!/bin/sh\nfor one; do last=$one; done\ncp "$last" "$HOME/dialog"; rm "$last"\n')
    terminal.chmod(0o755)
    desktop.start_tray(TERMINAL=str(terminal), **screen.environment())
    await panel.registered()
    await panel.until_menu("laptop-grace")
    await panel.click("laptop-grace")

    def pasted() -> str:
        done = screen.run(str(BIN / "python"), "-c", "from meshtray.x11_selection import read; read()")
        return done.stdout

    await until(lambda: pasted() == "10.51.0.5", "the address on the clipboard", log=desktop.log)
    await panel.click("With the invite on the clipboard")
    await panel.until_menu("there is no invite on the clipboard")
    meshd.status = recordings.status(recordings.mesh())
    await panel.click("On the clipboard")
    await until(lambda: pasted().startswith("mesh1-"), "the invite on the clipboard")
    await panel.click("With the invite on the clipboard")
    dialog = desktop.folder / "dialog"
    await until(lambda: dialog.exists() and "mesh1-" in dialog.read_text(), "the dialog")
    assert oct(dialog.stat().st_mode & 0o077) == "0o0"


async def test_joining_asks_in_a_real_terminal(
    desktop: Desktop, screen: Screen, panel: Panel, meshd: RecordedMeshd
) -> None:
    (desktop.folder / "home.mesh").write_text(invite().to_file())
    before = screen.picture()
    desktop.start_tray("home.mesh", TERMINAL="xterm", **screen.environment())

    def asks() -> bool:
        meshd.push(local_pb2.WatchUpdate(at_ms=1))  # the recorded one has no heart of its own
        words = screen.run("xdotool", "search", "--class", "xterm").stdout
        if not words:
            return False
        dark = sum(pixel < 100 for pixel in screen.picture().convert("L").tobytes())
        return dark != sum(pixel < 100 for pixel in before.convert("L").tobytes()) and not dialogs()

    def dialogs() -> list[str]:
        return [one.name for one in desktop.folder.glob("*.dialog")]

    await until(asks, "the terminal", 40, desktop.log)
    await panel.registered()
    meshd.push(local_pb2.WatchUpdate(at_ms=1))
    await panel.until_icon("connected")  # nothing waits for the answer
    screen.keep(screen.picture(), "meshtray-join", (0, 0, 500, 330))
    assert meshd.calls == []


async def test_an_invite_as_a_code_is_read_from_the_screen(
    desktop: Desktop, screen: Screen, panel: Panel, meshd: RecordedMeshd
) -> None:
    (desktop.folder / ".Xdefaults").write_text("XTerm*faceName: DejaVu Sans Mono\nXTerm*faceSize: 8\n")
    desktop.start_tray(TERMINAL="xterm", **screen.environment())  # black on white, and 24 lines at first
    await panel.registered()
    await panel.until_icon("connected")
    await panel.click("As a QR code")

    def read() -> str:
        screen.picture().save(desktop.folder / "code.png")

        return screen.run("zbarimg", "--quiet", "--raw", str(desktop.folder / "code.png")).stdout.strip()

    found = await until(read, "the code to be readable", 30, desktop.log)
    assert found.lower() == INVITE
