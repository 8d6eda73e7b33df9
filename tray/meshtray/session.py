"""One run in a person's session: the only one there, on the kind of tray that the session has, until it ends."""

from __future__ import annotations

import asyncio
import getpass
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from meshtray.app import App
from meshtray.bus import Bus, BusError, Interface, Method
from meshtray.item import WATCHER, StatusNotifierItem
from meshtray.notifications import Notifications
from meshtray.preferences import default_path
from meshtray.state import Notify

if TYPE_CHECKING:
    from meshtray.x11_icon import X11Icon

log = logging.getLogger(__name__)

NAME, PATH = "meshtui.Tray", "/meshtui/Tray"


class NoTray(Exception):
    """Raised when there is no place for an icon. `fix` is what to do."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.fix = fix


NOWHERE = NoTray(
    "this session has no place for a tray icon: neither a StatusNotifierWatcher on its bus, nor a system tray of X11",
    "add one: on GNOME the extension AppIndicator, with sway the module tray of waybar, on Xfce the item Status Tray "
    "of the panel; without any, use meshtui",
)


class NoNotifications:
    """Where there is no session bus."""

    def show(self, one: Notify) -> None:
        log.info("%s: %s", one.title, one.body)

    def withdraw(self, key: str) -> None:
        return


async def serve(socket: Path, what: str, wait_s: float) -> None:
    """Until the person quits, the session ends, or SIGTERM. Raises NoTray."""
    try:
        bus = await Bus.connect()
    except BusError as error:
        log.debug("%s", error)
        await _without_bus(socket, what)
        return
    try:
        app = App(getpass.getuser(), socket, default_path())

        def opened(handed: str) -> list[str]:
            app.open(handed)
            return []

        bus.export(PATH, [Interface(NAME, {"Open": Method("s", "", opened)})])
        if not await bus.claim(NAME):
            await _hand_over(bus, app, what)
            log.warning("it runs already%s", "; the invite is handed to it" if what else "")
            return
        app.open(what)  # whether there is a place for an icon or not
        try:
            async with _icon(bus, app, wait_s):
                await _until_the_end(app, bus)
        except NoTray:
            await app.finish()
            raise
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


async def _without_bus(socket: Path, what: str) -> None:
    """A session of X11 without a bus. Raises NoTray."""
    app = App(getpass.getuser(), socket, default_path())
    app.open(what)
    try:
        with _x11_icon() as icon:
            icon.chosen = app.choose
            app.show_on(icon, NoNotifications())
            await _until_the_end(app, None)
    except NoTray:
        await app.finish()
        raise


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


@asynccontextmanager
async def _icon(bus: Bus, app: App, wait_s: float) -> AsyncIterator[None]:
    """The icon, as the session can have it, and notifications. Raises NoTray, BusError."""
    notifications = Notifications(bus, app.choose)
    await notifications.start()
    showing = asyncio.create_task(notifications.run())
    item = StatusNotifierItem(bus, app.choose)
    try:
        await item.start()
        try:
            async with asyncio.timeout(wait_s):
                await item.registered.wait()
        except TimeoutError:
            log.debug("there is no %s: trying a system tray of X11", WATCHER)
            with ExitStack() as shown:
                x11 = shown.enter_context(_x11_icon())
                x11.chosen = app.choose
                app.show_on(x11, notifications)
                moving = asyncio.create_task(_move(shown, app, item, notifications))
                try:
                    yield
                finally:
                    moving.cancel()
                    await asyncio.gather(moving, return_exceptions=True)
        else:
            log.debug("the tray is a StatusNotifierItem with com.canonical.dbusmenu")
            app.show_on(item, notifications)
            yield
    finally:
        await item.stop()
        showing.cancel()
        await asyncio.gather(showing, return_exceptions=True)


async def _move(shown: ExitStack, app: App, item: StatusNotifierItem, notifications: Notifications) -> None:
    """From a system tray of X11 to the better place, once there is one: a panel may start very late at login."""
    await item.registered.wait()
    log.debug("a StatusNotifierWatcher has come: leaving the system tray of X11")
    shown.close()
    app.show_on(item, notifications)


def _x11_icon() -> X11Icon:
    """Raises NoTray."""
    from meshtray.x11_icon import NoX11Tray, X11Icon

    try:
        return X11Icon(asyncio.get_running_loop())
    except NoX11Tray as error:
        log.debug("%s", error)
        raise NOWHERE from error
