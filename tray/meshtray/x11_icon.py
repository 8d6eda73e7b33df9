"""The icon in a system tray of X11 (XEmbed), through pystray, where there is no host for StatusNotifierItems.

pystray's own backend for X11 knows a click but no menu, and needs nothing else installed; so a click opens meshtui,
which can do all that the menu can.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import threading
from collections.abc import Callable, Iterator
from typing import Any

from meshtray import pictures
from meshtray.appearance import Appearance
from meshtray.deeds import Deed, OpenMeshtui
from meshtray.values import Icon

log = logging.getLogger(__name__)

TILE = "#2b2e33"

AGAIN_S = 1.0
"""After which an icon that is gone is made again."""


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
    """One icon of pystray's in one panel, with a thread of its own: pystray may wait for ever for a panel that is gone,
    and only that thread does.

    While it runs nothing else calls pystray or its connection to X11. python-xlib forgets to wake a thread that waits
    for an answer when another one was sending (0.33, `send_and_recv` where it returns early), and pystray shows nothing
    of what changes while another thread makes its icon visible. So its thread waits for our changes, too. `ended` is
    called there when it ends without being told to: the panel destroyed the window, or pystray failed.
    """

    def __init__(self, icon: Any, show: Callable[[Any, Appearance], None], ended: Callable[[Docked], None]) -> None:
        self._icon = icon
        self._show = show
        self._ended = ended
        self._lock = threading.Lock()
        self._next: Appearance | None = None
        self._over = False
        self._wake: Any = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)  # None when its thread is over
        icon._events = self._events
        threading.Thread(target=self._run, name="pystray", daemon=True).start()

    def _run(self) -> None:
        from Xlib import error

        icon = self._icon
        try:
            icon.run(lambda _: None)
        finally:
            with self._lock:
                os.close(self._wake)
                self._wake, over = None, self._over
            # Else its finalizer would ask this thread to stop it, and wait for the answer for ever.
            icon._running = False
            with contextlib.suppress(error.ConnectionClosedError, OSError):
                icon._display.close()
            icon._display.close = lambda: None  # which its finalizer calls again
            if not over:
                self._ended(self)

    def present(self, new: Appearance) -> None:
        """What was not shown yet of earlier ones never will be: a panel that hangs finds the last one only."""
        with self._lock:
            self._next = new
            self._wake_up()

    def stop(self) -> None:
        """Without waiting. The process ends without that thread, too."""
        with self._lock:
            self._over = True
            self._wake_up()

    def _wake_up(self) -> None:
        if self._wake is not None:
            os.eventfd_write(self._wake, 1)

    def _events(self) -> Iterator[Any]:
        """In pystray's thread, instead of its own, which hears X11 alone. It ends when the window is gone."""
        display, wake = self._icon._display, self._wake
        self._icon.visible = True
        while self._carry_out():
            display.sync()
            if not display.pending_events():
                ready, _, _ = select.select([display, wake], [], [])
                if wake in ready:
                    os.eventfd_read(wake)
            while display.pending_events():
                yield display.next_event()

    def _carry_out(self) -> bool:
        """False when the icon was stopped."""
        with self._lock:
            new, self._next = self._next, None
            over = self._over
        if over:
            self._icon.stop()
            return False
        try:
            if new is not None:
                self._show(self._icon, new)
        except Exception as error:  # of pystray, or of the panel's X11 window
            log.warning("the icon can't be shown: %s", error)
        return True


class X11Icon:
    """Enter it to show it; a panel that comes later gets a new icon. The loop never waits for a panel that hangs.
    `chosen` is called in the loop with what a person clicked."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        if not tray_owner():
            raise NoX11Tray("no system tray of X11 is there")
        # Importing it without DISPLAY raises, and without this it would try GTK first.
        os.environ["PYSTRAY_BACKEND"] = "xorg"
        import pystray
        from PIL import Image

        self._pystray: Any = pystray
        self._image = Image
        self._loop = loop
        self.chosen: Callable[[Deed], None] = lambda deed: None
        self._last: Appearance | None = None
        self._docked: Docked | None = None
        self._panels = self._watch_panels()
        log.debug("the tray is one of X11, through pystray")

    def __enter__(self) -> X11Icon:
        self._dock()
        self._loop.add_reader(self._panels.fileno(), self._panel_may_have_come)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.remove_reader(self._panels.fileno())
        self._panels.close()
        if self._docked is not None:
            self._docked.stop()
        self._docked = None

    def _dock(self) -> None:
        if self._docked is not None:
            self._docked.stop()
        click = self._pystray.MenuItem("Open meshtui", self._clicked, default=True, visible=False)
        picture = self._picture(Icon.DISCONNECTED.value)
        icon = self._pystray.Icon("meshtray", picture, "meshtray", self._pystray.Menu(click))
        self._ask_for_clicks(icon)
        self._docked = Docked(icon, self._show, self._undocked)
        if self._last is not None:
            self._docked.present(self._last)

    def _undocked(self, docked: Docked) -> None:
        log.debug("the icon of X11 is gone from its panel")
        with contextlib.suppress(RuntimeError):  # the loop is over
            self._loop.call_soon_threadsafe(self._loop.call_later, AGAIN_S, self._dock_again, docked)

    def _dock_again(self, docked: Docked) -> None:
        from Xlib import error

        if self._docked is not docked:
            return  # another panel has come, or nobody wants it any more
        try:
            self._dock()
        except (error.DisplayError, error.ConnectionClosedError, OSError) as failure:
            log.warning("the icon can't be shown: %s", failure)

    def _ask_for_clicks(self, icon: Any) -> None:
        """pystray 0.19 has a handler for clicks on X11, and never tells X11 that it wants them."""
        from Xlib import X

        mask = X.ExposureMask | X.StructureNotifyMask | X.ButtonPressMask
        icon._window.change_attributes(event_mask=mask)

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

    def _picture(self, name: str) -> Any:
        """On a tile: pystray's X11 knows no transparency. What the library has for reading files is large: left out."""
        found = pictures.pixmaps(name)[-1]
        size = (found.width, found.height)
        alpha, red, green, blue = (self._image.frombytes("L", size, found.argb[one::4]) for one in range(4))
        tile = self._image.new("RGB", size, TILE)
        tile.paste(self._image.merge("RGB", (red, green, blue)), mask=alpha)
        return tile

    def _clicked(self, _icon: Any, _item: Any) -> None:
        self._loop.call_soon_threadsafe(self.chosen, OpenMeshtui())
