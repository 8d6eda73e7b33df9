"""A Wayland session: waybar shows the icon, the clipboard goes through wl-clipboard's programs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from meshproto import local_pb2
from PIL import Image, ImageChops
from tray.desktop import Desktop, Panel, until
from tray.test_panel import push
from tray.wayland import SCREEN, Wayland
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


class Bar:
    """Waybar with the tray in it, and a mouse. `before` is the screen with the menu closed."""

    def __init__(self, desktop: Desktop, session: Wayland, meshd: RecordedMeshd) -> None:
        self.desktop, self.session, self.meshd = desktop, session, meshd
        self.mouse = session.mouse()
        self.shown = b""

    def look(self) -> Image.Image:
        self.meshd.push(local_pb2.WatchUpdate(at_ms=1))  # the recorded one has no heart of its own
        return self.session.picture()

    async def open_menu(self) -> tuple[int, int, int, int]:
        """Its place on the screen."""
        at = await until(lambda: coloured(self.look(), "green"), "a green icon", 30, self.desktop.log)
        without = self.look().tobytes()
        self.mouse.move(*at)  # it is in the picture, too
        await until(lambda: self.look().tobytes() != without, "the pointer to be there")
        self.before = self.look()
        self.mouse.click(*at)
        return await self.menu()

    async def menu(self) -> tuple[int, int, int, int]:
        """Its place, once it shows something new and is drawn as a whole."""
        looks = [b""]

        def place() -> tuple[int, int, int, int] | None:
            """Where the picture has changed much."""
            now = self.look()
            looks.append(now.tobytes())
            box = ImageChops.difference(self.before, now).crop((0, 32, *SCREEN)).getbbox()
            still = looks[-1] == looks[-2] != self.shown
            return box if still and box is not None and box[3] - box[1] > 100 else None

        log = (self.desktop.folder / "waybar.log").read_text
        left, top, right, bottom = await until(place, "the menu", 30, log)
        self.shown = looks[-1]
        return left, top, right, bottom

    async def quit(self, tray: Any, menu: tuple[int, int, int, int]) -> None:
        """By the last entry, wherever that is: a window that is open keeps its size."""
        left, _, _, bottom = menu
        texts = self.look().crop((left + 25, 40, left + 60, 32 + bottom - 4)).convert("L").point(lambda one: one < 100)
        box = texts.getbbox()
        assert box is not None
        self.mouse.click(left + 60, 40 + box[3] - 5)
        await until(lambda: tray.poll() is not None, "Quit to be chosen", 10, self.desktop.log)
        assert tray.returncode == 0


@pytest.fixture
async def bar(desktop: Desktop, session: Wayland, meshd: RecordedMeshd) -> AsyncIterator[Bar]:
    meshd.status = recordings.status(recordings.mesh(connected_by="nobody"))
    await session.start_waybar()
    one = Bar(desktop, session, meshd)
    yield one
    one.mouse.close()


async def test_a_click_in_waybar_opens_the_menu_and_chooses(desktop: Desktop, bar: Bar) -> None:
    tray = desktop.start_tray(**bar.session.environment())
    menu = await bar.open_menu()
    keep(bar.look(), "meshtray-waybar-menu", (max(menu[0] - 20, 0), 0, SCREEN[0], 32 + menu[3] + 10))
    await bar.quit(tray, menu)


async def test_a_helper_that_ends_while_the_menu_is_open(desktop: Desktop, bar: Bar, meshd: RecordedMeshd) -> None:
    """The open menu becomes what is so now, and is still obeyed."""
    tray = desktop.start_tray(**bar.session.environment())
    await bar.open_menu()
    meshd.stop()
    await bar.quit(tray, await bar.menu())


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
