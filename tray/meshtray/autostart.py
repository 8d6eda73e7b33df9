"""Start at login (Desktop Application Autostart Specification): a desktop file of the person's own, which takes the
place of the one that a package may have put there for everybody."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from meshtray.preferences import config_home

FILE = "meshtray.desktop"
WAIT_S = 120
"""For a panel, as packaging/desktop has it: at login everything starts at once, and extensions of GNOME come last."""


def _path() -> Path:
    return config_home() / "autostart" / FILE


def _for_everybody() -> list[Path]:
    folders = (os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")
    return [Path(one) / "autostart" / FILE for one in folders if one]


def is_on() -> bool:
    for path in (_path(), *_for_everybody()):
        try:
            text = path.read_text(errors="replace")
        except OSError:
            continue
        values = {line.replace(" ", "").lower() for line in text.splitlines()}
        return not values & {"hidden=true", "x-gnome-autostart-enabled=false"}
    return False


def program() -> str:
    """How this program is started: by its name where a login finds it, else by its place."""
    beside = Path(sys.argv[0]).absolute()
    if beside.name != "meshtray" or not os.access(beside, os.X_OK):
        beside = Path(sys.executable).parent / "meshtray"
    found = shutil.which("meshtray")
    return "meshtray" if found and Path(found).resolve() == beside.resolve() else str(beside)


def _quoted(text: str) -> str:
    """For Exec (Desktop Entry Specification, "The Exec key")."""
    plain = all(one.isalnum() or one in "/._-+" for one in text)
    escaped = "".join(f"\\{one}" if one in '"`$\\' else one for one in text).replace("%", "%%")
    return text if plain else '"' + escaped.replace("\\", "\\\\") + '"'


def set_on(on: bool) -> None:
    """Off is written down too: a package that is installed later must not switch it on. Raises OSError."""
    path = _path()
    if on:
        path.unlink(missing_ok=True)
        if is_on():
            return
    lines = [
        "[Desktop Entry]", "Type=Application", "Name=meshtray", "Comment=Connect and disconnect private networks",
        f"Exec={_quoted(program())} --wait {WAIT_S}", "Icon=meshtray", "Terminal=false",
        "X-GNOME-Autostart-enabled=true" if on else "Hidden=true",
    ]  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(f".{os.getpid()}")
    new.write_text("\n".join(lines) + "\n")
    new.replace(path)
