"""The icon on the bus: org.kde.StatusNotifierItem, registered with the watcher there is, again when it comes back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from meshtray import pictures
from meshtray.appearance import Appearance
from meshtray.bus import PROPERTIES, Bus, BusError, Interface, Method
from meshtray.dbusmenu import PATH as MENU_PATH
from meshtray.dbusmenu import DBusMenu
from meshtray.deeds import Deed, OpenMeshtui
from meshtray.notifications import escaped
from meshtray.values import Icon

log = logging.getLogger(__name__)

NAME, PATH = "org.kde.StatusNotifierItem", "/StatusNotifierItem"
WATCHER, WATCHER_PATH = "org.kde.StatusNotifierWatcher", "/StatusNotifierWatcher"

AGAIN_S = 1.0
"""After a watcher that refused or hung: it may still be starting."""

NOTHING_YET = Appearance(Icon.DISCONNECTED, "meshtray", "", ())


class StatusNotifierItem:
    """`present` shows an appearance. `clicked` gets the token of a click. `accepted`: by a watcher; `registered`: with
    one that has something to show icons. The status is never Passive: GNOME hides such items."""

    def __init__(self, bus: Bus, chosen: Callable[[Deed], None], clicked: Callable[[str], None]) -> None:
        self._bus = bus
        self._chosen = chosen
        self._clicked = clicked
        self._shown = NOTHING_YET
        self._registration: asyncio.Task[None] | None = None
        self.accepted = False
        self.registered = asyncio.Event()
        self._menu = DBusMenu(bus, chosen)
        bus.export(PATH, [self._interface()])

    def _interface(self) -> Interface:
        return Interface(
            NAME,
            {
                "Activate": Method("ii", "", self._activate),
                "SecondaryActivate": Method("ii", "", self._activate),
                "ContextMenu": Method("ii", "", lambda x, y: []),  # hosts that show our menu don't call it
                "Scroll": Method("is", "", lambda delta, orientation: []),
                "ProvideXdgActivationToken": Method("s", "", self._token_given),
            },
            {
                "Category": ("s", lambda: "Communications"),
                "Id": ("s", lambda: "meshtray"),
                "Title": ("s", lambda: "meshtray"),
                "Status": ("s", self._status),
                "WindowId": ("i", lambda: 0),
                "IconName": ("s", self._icon_name),
                "IconThemePath": ("s", lambda: str(pictures.THEMES)),
                "IconPixmap": ("a(iiay)", self._pixmaps),
                "OverlayIconName": ("s", str),
                "OverlayIconPixmap": ("a(iiay)", list),
                "AttentionIconName": ("s", self._icon_name),
                "AttentionIconPixmap": ("a(iiay)", self._pixmaps),
                "AttentionMovieName": ("s", str),
                "ToolTip": ("(sa(iiay)ss)", self._tooltip),
                # What Ayatana's hosts and GNOME's extension have a screen reader say; GNOME shows no tooltips.
                "IconAccessibleDesc": ("s", lambda: self._shown.title),
                "AttentionAccessibleDesc": ("s", lambda: self._shown.title),
                "ItemIsMenu": ("b", lambda: True),
                "Menu": ("o", lambda: MENU_PATH),
            },
            {
                "NewTitle": "", "NewIcon": "", "NewAttentionIcon": "", "NewOverlayIcon": "", "NewToolTip": "",
                "NewStatus": "s",
            },
        )  # fmt: skip

    def _activate(self, _x: int, _y: int) -> list[Any]:
        self._chosen(OpenMeshtui())
        return []

    def _token_given(self, token: str) -> list[Any]:
        """Plasma and GNOME's extension do so before they call Activate, under Wayland."""
        self._clicked(token)
        return []

    def _status(self) -> str:
        return "NeedsAttention" if self._shown.urgent else "Active"

    def _icon_name(self) -> str:
        return f"{self._shown.icon.value}{'-symbolic' if self._shown.symbolic else ''}"

    def _pixmaps(self) -> list[Any]:
        return [[one.width, one.height, one.argb] for one in pictures.pixmaps(self._icon_name())]

    def _tooltip(self) -> list[Any]:
        return ["", [], self._shown.title, escaped(self._shown.text)]  # a subset of HTML, says the specification

    def present(self, new: Appearance) -> None:
        before, self._shown = self._shown, new
        self._menu.show(new.menu)
        if (before.icon, before.symbolic) != (new.icon, new.symbolic):
            self._bus.emit(PATH, NAME, "NewIcon")
            self._bus.emit(PATH, NAME, "NewAttentionIcon")
        if before.urgent != new.urgent:
            self._bus.emit(PATH, NAME, "NewStatus", self._status())
        if (before.title, before.text) != (new.title, new.text):
            self._bus.emit(PATH, NAME, "NewToolTip")

    # --- the watcher ------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Registers with the watcher there is, and with each that comes. Raises BusError."""
        await self._bus.listen(WATCHER_PATH, WATCHER, "StatusNotifierHostRegistered", self._host_came, WATCHER)
        await self._bus.follow_owner(WATCHER, self._watcher_changed)

    async def stop(self) -> None:
        if self._registration is not None:
            self._registration.cancel()
            await asyncio.gather(self._registration, return_exceptions=True)

    def _watcher_changed(self, owner: str) -> None:
        log.debug("StatusNotifierWatcher: %s", owner or "none")
        self.accepted = False
        self.registered.clear()
        if self._registration is not None:
            self._registration.cancel()
            self._registration = None
        if owner:
            self._registration = asyncio.get_running_loop().create_task(self._register())

    async def _register(self) -> None:
        """Until it is: at login a watcher may hang for long."""
        said = ""
        while not self.accepted:
            try:
                # Not the path: a watcher that gets one looks for the item at the sender's, which some hosts misread.
                await self._bus.call(
                    WATCHER, WATCHER_PATH, WATCHER, "RegisterStatusNotifierItem", "s", self._bus.name, start=False
                )
                self.accepted = True
            except BusError as error:
                if str(error) != said:
                    log.warning("the icon could not be registered: %s", error)
                said = str(error)
                await asyncio.sleep(AGAIN_S)
        if await self._has_host():
            log.debug("the icon is registered")
            self.registered.set()
        else:
            log.debug("the icon is registered, and nothing there shows icons yet")

    async def _has_host(self) -> bool:
        """Some desktops have a watcher without a panel. One that does not say has."""
        try:
            (found,) = await self._bus.call(
                WATCHER, WATCHER_PATH, PROPERTIES, "Get", "ss", WATCHER, "IsStatusNotifierHostRegistered", start=False
            )
        except (BusError, ValueError):
            return True
        return getattr(found, "value", True) is not False

    def _host_came(self) -> None:
        if self.accepted:
            log.debug("something that shows icons has come")
            self.registered.set()
