"""Other programs: this one anew, its siblings, a terminal of the person's choice, what opens a folder."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

log = logging.getLogger(__name__)

TERMINALS: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "xdg-terminal-exec": ((), ()),
    "x-terminal-emulator": ((), ("-e",)),
    "konsole": (("-p", "TerminalColumns={0}", "-p", "TerminalRows={1}"), ("-e",)),
    "gnome-terminal": (("--geometry={0}x{1}",), ("--",)),
    "ptyxis": ((), ("--",)),
    "kgx": ((), ("--",)),
    "xfce4-terminal": (("--geometry={0}x{1}",), ("-x",)),
    "mate-terminal": (("--geometry={0}x{1}",), ("-x",)),
    "foot": (("--window-size-chars={0}x{1}",), ()),
    "alacritty": ((), ("-e",)),
    "kitty": (
        ("-o", "remember_window_size=no", "-o", "initial_window_width={0}c", "-o", "initial_window_height={1}c"),
        (),
    ),
    "wezterm": (("start",), ("--",)),
    "qterminal": ((), ("-e",)),
    "terminator": (("--geometry={0}x{1}",), ("-x",)),
    "tilix": ((), ("-e",)),
    "lxterminal": (("--geometry={0}x{1}",), ("-e",)),
    "ghostty": ((), ("-e",)),
    "xterm": (("-geometry", "{0}x{1}"), ("-e",)),
}
"""What makes its window that wide and high, and what stands before the command. The first two are how a person, or
Debian, says which."""
SIZE = (80, 24)
"""Columns and lines, as they all have unless told otherwise."""

TOKEN = "XDG_ACTIVATION_TOKEN"

AT_ONCE_S = 1.0
"""A terminal that can't reach the screen ends within that."""


class NoProgram(Exception):
    """Raised when a program is not on this machine, or can't be started. `fix` is what to do."""

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.fix = fix


def local_path(what: str) -> Path:
    """Of a file's name or URI (RFC 8089): file managers hand over `file:///home/ada/home%20(1).mesh`.
    Raises ValueError."""
    name = unquote(urlsplit(what).path) if what.startswith("file:") else what
    if "\0" in name:
        raise ValueError("no file has such a name")
    return Path(name)


def own_command() -> list[str]:
    """How another of this program is started. Isolated: nothing in the folder that we happen to be in is imported."""
    return [sys.executable, "-I", "-m", "meshtray"]


def sibling(name: str) -> str:
    """The path of meshctl or meshtui. Raises NoProgram."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which(name)
    if found is None:
        raise NoProgram(f"{name} is not installed", f"install it beside meshtray: pip install 'meshtui[{name[4:]}]'")
    return found


def terminal_command(
    command: Sequence[str], environment: Mapping[str, str] = os.environ, size: tuple[int, int] = SIZE
) -> list[str]:
    """Runs a command in a terminal: $TERMINAL, which may have options, else the first there is. Raises NoProgram."""
    said = environment.get("TERMINAL", "")
    whole = shutil.which(said, path=environment.get("PATH"))  # its folder may have a space in its name
    chosen, *options = [said] if whole is not None else _words(said) or [""]
    for name in (chosen, *TERMINALS) if chosen else TERMINALS:
        found = shutil.which(name, path=environment.get("PATH"))
        if found is not None:
            # Debian's alternatives: the one that is meant knows about sizes.
            meant = os.path.basename(os.path.realpath(found)).removesuffix(".wrapper")
            if os.path.basename(found) == "x-terminal-emulator" and meant in TERMINALS:
                found = shutil.which(meant, path=environment.get("PATH")) or found
            sizing, between = TERMINALS.get(os.path.basename(found), ((), ("-e",)))
            sized = [one.format(*size) for one in sizing]
            return [found, *(options if name == chosen else ()), *sized, *between, *command]
    raise NoProgram("no terminal was found", "set TERMINAL, or install one: apt install xterm")


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return []


async def start(command: Sequence[str], token: str = "") -> None:
    """Leaves it running, in a session of its own: it outlives the tray. `token` is what a compositor of Wayland gave to
    whoever was clicked, so that the window comes to the front. Raises NoProgram, also if it fails at once."""
    log.debug("starting %s", command[0])
    nothing = asyncio.subprocess.DEVNULL
    environment = {name: value for name, value in os.environ.items() if name != TOKEN}  # that one was good for us
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True,
            env={**environment, TOKEN: token} if token else environment,
        )  # fmt: skip
    except OSError as error:
        raise NoProgram(f"{command[0]} can't be started: {error.strerror}") from error
    with contextlib.suppress(TimeoutError):
        if status := await asyncio.wait_for(process.wait(), AT_ONCE_S):
            raise NoProgram(f"{command[0]} ended at once with status {status}", f"try it by hand: {command[0]}")


async def output(command: Sequence[str], given: bytes = b"", limit_s: float = 10.0) -> bytes:
    """What a command prints. Raises NoProgram with what it says when it fails."""
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    except OSError as error:
        raise NoProgram(f"{command[0]} can't be started: {error.strerror}") from error
    try:
        async with asyncio.timeout(limit_s):
            out, wrong = await process.communicate(given)
    except TimeoutError as error:
        raise NoProgram(f"{command[0]} did not end within {limit_s:g} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        said = wrong.decode(errors="replace").strip().splitlines()
        raise NoProgram(said[0] if said else f"{command[0]} ended with status {process.returncode}")
    return out
