"""A screen in memory with Xfce's panel on it: a real tray host to look at. Pictures go to docs/pictures when asked."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

from PIL import Image
from tray.desktop import TOP, Desktop, until

KEPT = TOP / "docs" / "pictures"
KEEP = bool(os.environ.get("KEEP_PICTURES"))
"""Set it to renew the pictures of the documentation."""

PANEL = """<?xml version="1.0" encoding="UTF-8"?>
<channel name="xfce4-panel" version="1.0">
  <property name="configver" type="int" value="2"/>
  <property name="panels" type="array">
    <value type="int" value="1"/>
    <property name="dark-mode" type="bool" value="true"/>
    <property name="panel-1" type="empty">
      <property name="position" type="string" value="p=6;x=0;y=0"/>
      <property name="length" type="uint" value="100"/>
      <property name="position-locked" type="bool" value="true"/>
      <property name="icon-size" type="uint" value="22"/>
      <property name="size" type="uint" value="32"/>
      <property name="plugin-ids" type="array">
        <value type="int" value="1"/><value type="int" value="2"/><value type="int" value="3"/>
      </property>
    </property>
  </property>
  <property name="plugins" type="empty">
    <property name="plugin-1" type="string" value="separator">
      <property name="expand" type="bool" value="true"/><property name="style" type="uint" value="0"/>
    </property>
    <property name="plugin-2" type="string" value="systray">
      <property name="square-icons" type="bool" value="true"/>
    </property>
    <property name="plugin-3" type="string" value="clock"/>
  </property>
</channel>
"""


def free_display() -> int:
    """Without what a screen that was killed left there: its lock names a process that may be anybody's by now."""
    return next(one for one in range(90, 300) if _is_free(one))


def _is_free(number: int) -> bool:
    lock, path = Path(f"/tmp/.X{number}-lock"), Path(f"/tmp/.X11-unix/X{number}")
    if not path.exists():
        return not lock.exists()  # one that starts has only that
    with socket.socket(socket.AF_UNIX) as one:
        if one.connect_ex(str(path)) == 0:
            return False
    path.unlink()
    lock.unlink(missing_ok=True)
    return True


COLOURS = {"green": (42, 157, 75), "amber": (201, 122, 0), "grey": (134, 139, 148), "red": (211, 49, 43)}
"""Those of packaging/generate-icons."""


def coloured(picture: Image.Image, colour: str) -> tuple[int, int] | None:
    """The middle of what has a colour of ours in the panel; None when it is not there."""
    red, green, blue = COLOURS[colour]
    rgb = picture.crop((0, 0, picture.width, 40)).tobytes()
    pixels = enumerate(zip(rgb[0::3], rgb[1::3], rgb[2::3], strict=True))
    near = (at for at, (r, g, b) in pixels if abs(r - red) < 12 and abs(g - green) < 12 and abs(b - blue) < 12)
    found = [(at % picture.width, at // picture.width) for at in near]
    if len(found) < 12:
        return None
    return sum(x for x, _ in found) // len(found), sum(y for _, y in found) // len(found)


def keep(picture: Image.Image, name: str, box: tuple[int, int, int, int] | None = None) -> None:
    if KEEP:
        KEPT.mkdir(exist_ok=True)
        (picture.crop(box) if box else picture).save(KEPT / f"{name}.png", optimize=True)


class Screen:
    """Xvfb and xfce4-panel as the desktop's person."""

    def __init__(self, desktop: Desktop, number: int) -> None:
        self.desktop = desktop
        self.display = f":{number}"

    async def start(self) -> None:
        folder = self.desktop.folder / ".config/xfce4/xfconf/xfce-perchannel-xml"
        folder.mkdir(parents=True)
        (folder / "xfce4-panel.xml").write_text(PANEL)
        for path in (self.desktop.folder / ".config", *(self.desktop.folder / ".config").rglob("*")):
            os.chown(path, *self._owner())
        # Without -noreset it would start over whenever its only client ends, and hang up on whoever comes then.
        options = ("-screen", "0", "800x600x24", "-nolisten", "tcp", "-noreset")
        self.desktop.start("Xvfb", self.display, *options, log="xvfb.log")
        await until(Path(f"/tmp/.X11-unix/X{self.display[1:]}").exists, "the screen")
        await until(lambda: self.run("xdpyinfo").returncode == 0, "the screen to answer")

    def _owner(self) -> tuple[int, int]:
        found = os.stat(self.desktop.folder)
        return found.st_uid, found.st_gid

    async def start_panel(self) -> None:
        self.desktop.start("xfce4-panel", "--disable-wm-check", log="panel.log", environment=self.environment())

    def environment(self) -> dict[str, str]:
        return {"DISPLAY": self.display, "GTK_THEME": "Adwaita", "NO_AT_BRIDGE": "1", "GDK_BACKEND": "x11"}

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **self.environment()}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=30)

    def picture(self) -> Image.Image:
        """The whole screen."""
        path = self.desktop.folder / "screen.png"
        done = self.run("import", "-window", "root", str(path))
        assert done.returncode == 0, done.stderr
        with Image.open(path) as image:
            return image.convert("RGB")

    def find(self, picture: Image.Image, colour: str) -> tuple[int, int] | None:
        return coloured(picture, colour)

    def click(self, at: tuple[int, int], button: int = 1) -> None:
        done = self.run("xdotool", "mousemove", str(at[0]), str(at[1]), "click", str(button))
        assert done.returncode == 0, done.stderr

    def keep(self, picture: Image.Image, name: str, box: tuple[int, int, int, int] | None = None) -> None:
        keep(picture, name, box)
