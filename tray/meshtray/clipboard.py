"""The clipboard: wl-clipboard's programs under Wayland where they are installed, else x11_selection.py over X11."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Sequence

from meshtray.main import X11_COPY, X11_PASTE
from meshtray.programs import NoProgram, output, own_command

LONGEST = 65_536
"""Bytes. An invite has about 600."""
LIMIT_S = 5.0
NOTHING = ("No selection", "Nothing is copied")
"""What versions of wl-paste say."""


def _wayland(program: str, *options: str) -> list[str]:
    """The command, where it can work; [] elsewhere."""
    found = shutil.which(program) if os.environ.get("WAYLAND_DISPLAY") else None
    return [found, *options] if found else []


def _x11(option: str) -> list[str]:
    if not os.environ.get("DISPLAY"):
        fix = "install wl-clipboard" if os.environ.get("WAYLAND_DISPLAY") else "run meshtray in a desktop session"
        raise NoProgram("the clipboard can't be reached", fix)
    return [*own_command(), option]


async def paste() -> str:
    """What is on it. Raises NoProgram."""
    command = _wayland("wl-paste", "--no-newline") or _x11(X11_PASTE)
    try:
        return (await output(command, limit_s=LIMIT_S))[:LONGEST].decode(errors="replace")
    except NoProgram as error:
        if str(error) in NOTHING:
            return ""
        raise


async def copy(text: str) -> None:
    """Puts a text on it. A process stays as long as it is there, as X11 and Wayland have it. Raises NoProgram."""
    await _hand_over(_wayland("wl-copy") or _x11(X11_COPY), text.encode())


async def _hand_over(command: Sequence[str], data: bytes) -> None:
    nothing = asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=nothing,
            start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise NoProgram(f"{command[0]} can't be started: {error.strerror}") from error
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(data)
    process.stdin.close()
    try:
        async with asyncio.timeout(LIMIT_S):
            # Ours says so and stays; wl-copy ends, and leaves its output to another one of it that stays.
            said = asyncio.create_task(process.stdout.read(1))
            ended = asyncio.create_task(process.wait())
            try:
                await asyncio.wait([said, ended], return_when=asyncio.FIRST_COMPLETED)
                if not (said.done() and said.result()) and await ended != 0:
                    raise NoProgram("the clipboard did not take it", "copy it from meshtui")
            finally:
                said.cancel()
                ended.cancel()
                await asyncio.gather(said, ended, return_exceptions=True)
    except TimeoutError as error:
        process.kill()
        raise NoProgram(f"the clipboard did not take it within {LIMIT_S:g} s", "try again") from error
