"""A Wayland session in memory: sway without a screen, and waybar, a tray host, on it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from PIL import Image
from tray.desktop import Desktop, until
from tray.wayland_pointer import Mouse

SCREEN = (800, 600)
SWAY = f"""
output HEADLESS-1 resolution {SCREEN[0]}x{SCREEN[1]} position 0 0
default_border none
"""
BAR = {"layer": "top", "position": "top", "height": 32, "modules-right": ["tray"], "tray": {"icon-size": 22}}
STYLE = "* { min-height: 0; } window#waybar { background: #2b2e33; }"


class Wayland:
    """Programs of the session's person run in its `environment()`."""

    def __init__(self, desktop: Desktop) -> None:
        self.desktop = desktop
        self.display = ""

    async def start(self) -> None:
        config = self.desktop.folder / "sway.conf"
        config.write_text(SWAY)
        self.desktop.folder.chmod(0o700)
        headless = {"WLR_BACKENDS": "headless", "WLR_RENDERER": "pixman", "WLR_LIBINPUT_NO_DEVICES": "1"}
        self.desktop.start("sway", "--config", str(config), log="sway.log", environment=headless)

        def found() -> list[Path]:
            return [one for one in self.desktop.folder.glob("wayland-*") if not one.name.endswith(".lock")]

        (path,) = await until(found, "the compositor", 20, (self.desktop.folder / "sway.log").read_text)
        self.display = path.name

    def environment(self) -> dict[str, str]:
        return {"WAYLAND_DISPLAY": self.display, "GTK_THEME": "Adwaita", "NO_AT_BRIDGE": "1", "GDK_BACKEND": "wayland"}

    async def start_waybar(self) -> None:
        for name, text in (("waybar.json", json.dumps(BAR)), ("waybar.css", STYLE)):
            (self.desktop.folder / name).write_text(text)
        files = [f"{self.desktop.folder}/waybar.{kind}" for kind in ("json", "css")]
        options = ("--config", files[0], "--style", files[1])
        self.desktop.start("waybar", *options, log="waybar.log", environment=self.environment())

    def mouse(self) -> Mouse:
        return Mouse(self.desktop.folder / self.display, *SCREEN)

    def run(self, *command: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """As the person: Wayland's socket is theirs."""
        environment = {**self.desktop.environment(), **self.environment()}
        return subprocess.run(
            ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *command], input=given,
            capture_output=True, text=True, check=False, env=environment, timeout=30, cwd="/",
        )  # fmt: skip

    def picture(self) -> Image.Image:
        path = self.desktop.folder / "screen.png"
        done = self.run("grim", str(path))
        assert done.returncode == 0, done.stderr
        with Image.open(path) as image:
            return image.convert("RGB")
