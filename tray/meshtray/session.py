"""One run in a person's session: the only one there, on the kind of tray that the session has, until it ends."""

from __future__ import annotations

import asyncio
import logging
import os
import pwd
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from meshtray import keyring
from meshtray.app import App
from meshtray.bus import Bus, BusError, Interface, Method
from meshtray.item import NOTHING_YET, WATCHER, StatusNotifierItem
from meshtray.notifications import Notifications
from meshtray.preferences import default_path
from meshtray.state import Nowhere

if TYPE_CHECKING:
    from meshtray.x11_icon import X11Icon

log = logging.getLogger(__name__)

NAME, PATH = "meshtui.Tray", "/meshtui/Tray"


class NoTray(Exception):
    """Raised when there is no place for an icon. `fix` is what to do."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.fix = fix


BETTER_S = 10.0
"""For so long a StatusNotifierWatcher is waited for, rather than to take a system tray of X11."""
LOOK_S = 1.0
"""Between looks for a system tray of X11."""

NOWHERE = NoTray(
    "this session has no place for a tray icon: neither a StatusNotifierWatcher on its bus, nor a system tray of X11",
    "add one: on GNOME the extension AppIndicator, with sway the module tray of waybar, on Xfce the item Status Tray "
    "of the panel; without any, use meshtui",
)


def _person() -> str:
    """As meshd calls them, whatever the environment says."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


async def serve(socket: Path, what: str, wait_s: float) -> None:
    """Until the person quits, the session ends, or SIGTERM. Raises NoTray."""
    try:
        bus = await Bus.connect()
    except BusError as error:  # a session of X11 without a bus
        log.debug("%s", error)
        app = App(_person(), socket, default_path())
        app.open(what)
        await _with_icon(app, None, None, wait_s)
        return
    try:
        app = App(_person(), socket, default_path())

        def opened(handed: str) -> list[str]:
            app.open(handed)
            return []

        bus.export(PATH, [Interface(NAME, {"Open": Method("s", "", opened)})])
        if not await bus.claim(NAME):
            await _hand_over(bus, app, what)
            log.warning("it runs already%s", "; the invite is handed to it" if what else "")
            return
        app.open(what)  # whether there is a place for an icon or not
        await _on_bus(app, bus, wait_s)
    except BusError as error:
        raise NoTray(str(error), "log out and in again") from error
    finally:
        await bus.close()


async def _hand_over(bus: Bus, app: App, what: str) -> None:
    """To the tray that runs already; to its own dialog where that hangs. Raises BusError."""
    try:
        await bus.call(NAME, PATH, NAME, "Open", "s", what, start=False)
    except BusError:
        app.open(what)
        await app.finish()
        raise


async def _on_bus(app: App, bus: Bus, wait_s: float) -> None:
    """Raises NoTray, BusError."""
    notifications = Notifications(bus, app.choose, app.clicked)
    await notifications.start()
    await bus.follow_owner(keyring.SERVICE, app.keyring.owner_changed)
    app.notify_through(notifications)
    showing = asyncio.create_task(notifications.run())
    item = StatusNotifierItem(bus, app.choose, app.clicked)
    try:
        await item.start()
        await _with_icon(app, bus, item, wait_s)
    except NoTray as error:  # at login nobody reads what a program prints
        app.happened(Nowhere(str(error), error.fix))
        await notifications.shown()
        raise
    finally:
        await item.stop()
        showing.cancel()
        await asyncio.gather(showing, return_exceptions=True)
        await notifications.leave()


async def _with_icon(app: App, bus: Bus | None, item: StatusNotifierItem | None, wait_s: float) -> None:
    """Works from the first moment: what was connected is connected again also where the panel is late.
    Raises NoTray."""
    with ExitStack() as shown:
        placing = asyncio.create_task(_place(shown, app, item, wait_s))
        placing.add_done_callback(lambda done: app.stop() if not done.cancelled() and done.exception() else None)
        try:
            await _until_the_end(app, bus)
        finally:
            placing.cancel()
            (ended,) = await asyncio.gather(placing, return_exceptions=True)
        if isinstance(ended, Exception):
            raise ended


async def _place(shown: ExitStack, app: App, item: StatusNotifierItem | None, wait_s: float) -> None:
    """The icon where the session can have it, and later where that is better: a panel may start very late at login.
    Raises NoTray when there is no place in time, and everything that was begun is done."""
    now = asyncio.get_running_loop().time
    late = now() + wait_s
    registered = item.registered if item is not None else asyncio.Event()
    if item is not None:  # already: what shows items need not be a host
        app.show_on(item)
    if item is None or not await _within(registered, min(wait_s, BETTER_S)):
        log.debug("there is no %s: trying a system tray of X11", WATCHER)
        while (x11 := _x11_icon()) is None:
            if await _within(registered, min(LOOK_S, late - now())):
                break
            if now() >= late and item is not None and item.accepted:
                break  # by a watcher that says it has nothing to show icons: it may be wrong
            if now() >= late:
                await app.finish()
                raise NOWHERE
        else:
            shown.enter_context(x11).chosen = app.choose
            app.show_on(x11)
            if item is not None:
                item.present(NOTHING_YET)  # rather than what is no longer so
            await registered.wait()
            log.debug("a StatusNotifierWatcher has come: leaving the system tray of X11")
            shown.close()
    assert item is not None
    log.debug("the tray is a StatusNotifierItem with com.canonical.dbusmenu")
    app.show_on(item)


async def _within(event: asyncio.Event, limit_s: float) -> bool:
    try:
        async with asyncio.timeout(limit_s):
            return await event.wait()
    except TimeoutError:
        return False


def _x11_icon() -> X11Icon | None:
    """None where there is no place for it."""
    from meshtray.x11_icon import NoX11Tray, X11Icon

    try:
        return X11Icon(asyncio.get_running_loop())
    except NoX11Tray as error:
        log.debug("%s", error)
        return None


async def _until_the_end(app: App, bus: Bus | None) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, app.stop)
    ends = loop.create_task(bus.closed()) if bus is not None else None
    if ends is not None:
        ends.add_done_callback(lambda _: app.stop())
    try:
        await app.run()
    finally:
        if ends is not None:
            ends.cancel()
            await asyncio.gather(ends, return_exceptions=True)
