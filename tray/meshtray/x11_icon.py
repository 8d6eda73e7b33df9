"""The icon in a system tray of X11 (XEmbed), through pystray, where there is no host for StatusNotifierItems.

pystray's own backend for X11 knows a click but no menu, and needs nothing else installed; so a click opens meshtui,
which can do all that the menu can. With PYSTRAY_BACKEND=gtk, where the system has GTK, there is the menu, too.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from meshtray import pictures
from meshtray.appearance import Appearance
from meshtray.deeds import Deed, OpenMeshtui
from meshtray.menu import Item
from meshtray.values import Icon

log = logging.getLogger(__name__)

TILE = "#2b2e33"


class NoX11Tray(Exception):
    """Raised when there is no X11, or no system tray on it."""


def tray_owner() -> bool:
    """Whether somebody keeps a system tray (System Tray Protocol Specification). Raises NoX11Tray without X11."""
    if not os.environ.get("DISPLAY"):
        raise NoX11Tray("DISPLAY is not set")
    from Xlib import X, error
    from Xlib.display import Display

    try:
        display = Display()
    except (error.DisplayError, error.XauthError, OSError) as failure:
        raise NoX11Tray(f"X11 can't be reached: {failure}") from failure
    try:
        name = display.intern_atom(f"_NET_SYSTEM_TRAY_S{display.get_default_screen()}")
        return bool(display.get_selection_owner(name) != X.NONE)
    finally:
        display.close()


class X11Icon:
    """Enter it to show it. pystray has a thread of its own; what is shown goes there through one of ours, so that the
    loop never waits for a panel that hangs. `chosen` is called in the loop with what a person clicked."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        if not tray_owner():
            raise NoX11Tray("no system tray of X11 is there")
        # Importing it without DISPLAY raises, and without this it would try GTK first.
        os.environ.setdefault("PYSTRAY_BACKEND", "xorg")
        import pystray
        from PIL import Image

        self._pystray: Any = pystray
        self._image = Image
        self._loop = loop
        self.chosen: Callable[[Deed], None] = lambda deed: None
        self._worker = ThreadPoolExecutor(1, "icon")
        self._lock = threading.Lock()
        self._next: Appearance | None = None
        self._icon: Any = pystray.Icon("meshtray", self._picture(Icon.DISCONNECTED.value), "meshtray", self._menu(()))
        self._ask_for_clicks()
        log.debug("the tray is one of X11, through pystray (%s)", pystray.Icon.__module__.rpartition("_")[2])

    def _ask_for_clicks(self) -> None:
        """pystray 0.19 has a handler for clicks on X11, and never tells X11 that it wants them."""
        window = getattr(self._icon, "_window", None)
        if window is not None:
            from Xlib import X

            window.change_attributes(event_mask=X.ExposureMask | X.StructureNotifyMask | X.ButtonPressMask)

    def __enter__(self) -> X11Icon:
        self._icon.run_detached()
        return self

    def __exit__(self, *_: object) -> None:
        """Without waiting: pystray's own thread may not answer any more. The process ends without it."""
        self._worker.submit(self._icon.stop)
        self._worker.shutdown(wait=False)

    def present(self, new: Appearance) -> None:
        """What was not shown yet of earlier ones never will be: a panel that hangs finds the last one only."""
        with self._lock:
            waiting, self._next = self._next, new
        if waiting is None:
            self._worker.submit(self._present)

    def _present(self) -> None:
        with self._lock:
            new, self._next = self._next, None
        if new is None:
            return
        try:
            self._icon.icon = self._picture(f"{new.icon.value}{'-symbolic' if new.symbolic else ''}")
            self._icon.title = new.title
            if self._pystray.Icon.HAS_MENU:
                self._icon.menu = self._menu(new.menu)
        except Exception as error:  # of pystray, or of the panel's X11 window
            log.warning("the icon can't be shown: %s", error)

    def _picture(self, name: str) -> Any:
        """On a tile: pystray's X11 knows no transparency."""
        with self._image.open(pictures.path(name, max(pictures.SIZES))) as image:
            tile = self._image.new("RGBA", image.size, TILE)
            tile.alpha_composite(image.convert("RGBA"))
        return tile

    def _menu(self, items: Iterable[Item]) -> Any:
        click = self._pystray.MenuItem("Open meshtui", self._choosing(OpenMeshtui()), default=True, visible=False)
        return self._pystray.Menu(click, *map(self._item, items))

    def _item(self, item: Item) -> Any:
        if not item.label:
            return self._pystray.Menu.SEPARATOR
        if item.children:
            return self._pystray.MenuItem(
                item.label, self._pystray.Menu(*map(self._item, item.children)), enabled=item.enabled
            )
        checked = None if item.checked is None else (lambda _: bool(item.checked))
        return self._pystray.MenuItem(
            item.label, self._choosing(item.deed), checked=checked, enabled=item.enabled and item.deed is not None
        )

    def _choosing(self, deed: Deed | None) -> Callable[[Any, Any], None]:
        def choose(_icon: Any, _item: Any) -> None:
            if deed is not None:
                self._loop.call_soon_threadsafe(self.chosen, deed)

        return choose
