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


class Docked:
    """One icon of pystray's in one panel, shown by a thread of its own: pystray may wait for ever for a panel that is
    gone, and only that thread does."""

    def __init__(self, icon: Any, show: Callable[[Any, Appearance], None]) -> None:
        self._icon = icon
        self._show = show
        self._worker = ThreadPoolExecutor(1, "icon")
        self._lock = threading.Lock()
        self._next: Appearance | None = None

    def present(self, new: Appearance) -> None:
        """What was not shown yet of earlier ones never will be: a panel that hangs finds the last one only."""
        with self._lock:
            waiting, self._next = self._next, new
        if waiting is None:
            self._worker.submit(self._present)

    def _present(self) -> None:
        with self._lock:
            new, self._next = self._next, None
        try:
            if new is not None:
                self._show(self._icon, new)
        except Exception as error:  # of pystray, or of the panel's X11 window
            log.warning("the icon can't be shown: %s", error)

    def stop(self) -> None:
        """Without waiting. The process ends without that thread, too."""
        self._worker.submit(self._icon.stop)
        self._worker.shutdown(wait=False)


class X11Icon:
    """Enter it to show it; a panel that comes later gets a new icon. The loop never waits for a panel that hangs.
    `chosen` is called in the loop with what a person clicked."""

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
        self._last: Appearance | None = None
        self._docked: Docked | None = None
        self._panels = self._watch_panels()
        log.debug("the tray is one of X11, through pystray (%s)", pystray.Icon.__module__.rpartition("_")[2])

    def __enter__(self) -> X11Icon:
        self._dock()
        self._loop.add_reader(self._panels.fileno(), self._panel_may_have_come)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.remove_reader(self._panels.fileno())
        self._panels.close()
        if self._docked is not None:
            self._docked.stop()

    def _dock(self) -> None:
        if self._docked is not None:
            self._docked.stop()
        icon = self._pystray.Icon("meshtray", self._picture(Icon.DISCONNECTED.value), "meshtray", self._menu(()))
        self._ask_for_clicks(icon)
        icon.run_detached()
        self._docked = Docked(icon, self._show)
        if self._last is not None:
            self._docked.present(self._last)

    def _ask_for_clicks(self, icon: Any) -> None:
        """pystray 0.19 has a handler for clicks on X11, and never tells X11 that it wants them."""
        window = getattr(icon, "_window", None)
        if window is not None:
            from Xlib import X

            window.change_attributes(event_mask=X.ExposureMask | X.StructureNotifyMask | X.ButtonPressMask)

    def _watch_panels(self) -> Any:
        """A display that hears of each new one, by the message MANAGER to the root window (ICCCM, section 2.8)."""
        from Xlib import X
        from Xlib.display import Display

        display = Display()
        display.screen().root.change_attributes(event_mask=X.StructureNotifyMask)
        display.flush()
        return display

    def _panel_may_have_come(self) -> None:
        from Xlib import X, error

        display = self._panels
        trays = display.intern_atom(f"_NET_SYSTEM_TRAY_S{display.get_default_screen()}")
        manager = display.intern_atom("MANAGER")
        try:
            while display.pending_events():
                one = display.next_event()
                if one.type == X.ClientMessage and one.client_type == manager and one.data[1][1] == trays:
                    log.debug("another system tray of X11 has come")
                    self._dock()
        except (error.ConnectionClosedError, OSError) as failure:
            log.warning("X11 is gone: %s", failure)
            self._loop.remove_reader(display.fileno())

    def present(self, new: Appearance) -> None:
        self._last = new
        if self._docked is not None:
            self._docked.present(new)

    def _show(self, icon: Any, new: Appearance) -> None:
        icon.icon = self._picture(f"{new.icon.value}{'-symbolic' if new.symbolic else ''}")
        icon.title = new.title
        if self._pystray.Icon.HAS_MENU:
            icon.menu = self._menu(new.menu)

    def _picture(self, name: str) -> Any:
        """On a tile: pystray's X11 knows no transparency. What the library has for reading files is large: left out."""
        found = pictures.pixmaps(name)[-1]
        size = (found.width, found.height)
        alpha, red, green, blue = (self._image.frombytes("L", size, found.argb[one::4]) for one in range(4))
        tile = self._image.new("RGB", size, TILE)
        tile.paste(self._image.merge("RGB", (red, green, blue)), mask=alpha)
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
