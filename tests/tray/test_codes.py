"""A code that meshctl draws is read from the screen of a terminal, whatever that terminal's own colours are."""

from __future__ import annotations

import shlex

import pytest
from tray.desktop import BIN, Desktop, until
from tray.xvfb import Screen, free_display
from tui.recorded_meshd import INVITE, RecordedMeshd

COLOURS = {"light": ("black", "white"), "dark": ("gray90", "black"), "of a theme": ("#657b83", "#fdf6e3")}


@pytest.mark.parametrize("look", COLOURS)
async def test_an_invite_of_meshctl(desktop: Desktop, meshd: RecordedMeshd, look: str) -> None:
    screen = Screen(desktop, free_display())
    await screen.start()
    meshctl = shlex.join([str(BIN / "meshctl"), "--socket", str(desktop.socket), "invites", "create", "--qr"])
    front, back = COLOURS[look]
    # A theme says what the first 16 colours are: here black and white are the other way round.
    theme = ["-xrm", "XTerm*color0: #ffffff", "-xrm", "XTerm*color15: #000000"] if look == "of a theme" else []
    desktop.start(
        "xterm", "-fa", "DejaVu Sans Mono", "-fs", "7", "-geometry", "100x50", "-fg", front, "-bg", back, *theme,
        "-e", "sh", "-c", f"{meshctl}; exec sleep 60", log="xterm.log", environment=screen.environment(),
    )  # fmt: skip

    def read() -> str:
        screen.picture().save(desktop.folder / "code.png")
        return screen.run("zbarimg", "--quiet", "--raw", str(desktop.folder / "code.png")).stdout.strip()

    assert (await until(read, "the code to be readable", 30, desktop.log)).lower() == INVITE
