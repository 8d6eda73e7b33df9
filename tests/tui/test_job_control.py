"""ctrl+z, as in every program of a terminal: into the background of the shell, and back."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

from lab.hosts.host import BIN
from lab.terminal import Screen
from tui.recorded_meshd import RecordedMeshd

from tui import recordings

MakeMeshd = Callable[..., RecordedMeshd]


def test_it_goes_into_the_background_and_comes_back(make_meshd: MakeMeshd, tmp_path: Path) -> None:
    make_meshd(recordings.status(recordings.mesh()))
    shell = Screen(
        ["env", f"HOME={tmp_path}", "PS1=here> ", "bash", "--norc", "--noprofile", "-i"], width=100, height=30
    )
    try:
        shell.shows("here>")
        shell.write(shlex.join([str(BIN / "meshtui"), "--socket", str(tmp_path / "meshd.sock")]))
        shell.press("Enter")
        shell.shows("7 members", limit=30)
        shell.press("C-z")
        shell.shows("Stopped")
        shell.write("echo $((6 * 7))")
        shell.press("Enter")
        shell.shows("\n42")
        shell.write("fg")
        shell.press("Enter")
        shell.shows("7 members")
        shell.press("4")
        shell.shows("THROUGH", "1 route")
        shell.press("q")
        shell.shows("Stopped", "echo $((6 * 7))")
    finally:
        shell.close()
