"""The running tray: hands what happens to step.py, carries the effects out, and has the icon show what comes of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from meshproto import VERSION
from meshproto import local_pb2 as wire

from meshtray import autostart, preferences
from meshtray.actions import Actions
from meshtray.appearance import Appearance, appearance
from meshtray.connection import Connection, boot_time
from meshtray.deeds import Deed, Join
from meshtray.fold import fold
from meshtray.keyring import Keyring
from meshtray.state import (
    AtLogin,
    Chosen,
    Effect,
    Ended,
    Event,
    Heard,
    Leave,
    LinkChanged,
    Notify,
    Perform,
    Save,
    State,
    Ticked,
    Withdraw,
)
from meshtray.step import step
from meshtray.values import Link

log = logging.getLogger(__name__)

TICK_S = 1.0


class Icon(Protocol):
    def present(self, new: Appearance) -> None: ...


class Notifier(Protocol):
    def show(self, one: Notify) -> None: ...
    def withdraw(self, key: str) -> None: ...


def _boot_ms() -> int:
    return int(boot_time() * 1000)


class App:
    """`run()` until a person quits or `stop()`. Deeds run beside it as tasks of its own."""

    def __init__(
        self,
        user: str,
        socket: Path,
        preferences_path: Path,
        now_ms: Callable[[], int] = lambda: int(time.time() * 1000),
    ) -> None:
        self._now_ms = now_ms
        self._preferences_path = preferences_path
        self._icon: Icon | None = None
        self._notifier: Notifier | None = None
        self._over = asyncio.Event()
        self._deeds: set[asyncio.Task[None]] = set()
        self.connection = Connection(socket, self)
        self.keyring = Keyring()
        self._actions = Actions(self.connection, self.keyring, lambda: self.state, now_ms, self.happened)
        self.state = State(
            user,
            VERSION,
            now_ms(),
            _boot_ms(),
            preferences=preferences.load(preferences_path),
            at_login=autostart.is_on(),
        )
        self._shown = appearance(self.state)

    def show_on(self, icon: Icon) -> None:
        self._icon = icon
        icon.present(self._shown)

    def notify_through(self, notifier: Notifier) -> None:
        """Without one, nothing is shown but the menu."""
        self._notifier = notifier

    async def run(self) -> None:
        watching = asyncio.create_task(self.connection.run())
        ticking = asyncio.create_task(self._tick())
        over = asyncio.create_task(self._until_over())
        try:
            await asyncio.wait([watching, ticking, over], return_when=asyncio.FIRST_COMPLETED)
            for task in (watching, ticking):
                if task.done():
                    task.result()  # never ends but by a fault of ours
        finally:
            mine = [watching, ticking, over, *self._deeds]
            for task in mine:
                task.cancel()
            await asyncio.gather(*mine, return_exceptions=True)

    async def finish(self) -> None:
        """Until every deed is done: before an end that nobody asked for."""
        await asyncio.gather(*self._deeds, return_exceptions=True)

    async def _until_over(self) -> None:
        await self._over.wait()

    def stop(self) -> None:
        self._over.set()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            time.tzset()  # a laptop travels, and the zone of the machine is read once, or when that is asked for
            self.happened(Ticked(self._now_ms(), _boot_ms()))

    # --- what happens -----------------------------------------------------------------------------------------------

    def link_changed(self, link: Link) -> None:
        self.happened(LinkChanged(link, self._now_ms(), _boot_ms()))

    def update_came(self, update: wire.WatchUpdate) -> None:
        snapshot = fold(self.state.snapshot, update)
        if snapshot is not self.state.snapshot:
            self.happened(Heard(snapshot, self._now_ms(), _boot_ms()))

    def choose(self, deed: Deed) -> None:
        self.happened(Chosen(deed, self._now_ms()))

    def clicked(self, token: str) -> None:
        self._actions.clicked(token)

    def open(self, what: str) -> None:
        """A link or a file that the desktop handed to a program; "" for nothing."""
        if what:
            self.choose(Join(what))

    def happened(self, event: Event) -> None:
        before = self.state
        self.state, effects = step(before, event)
        for effect in effects:
            self._carry_out(effect)
        # Most of the time only the time has changed, and what is shown goes by minutes.
        if (
            replace(self.state, now_ms=before.now_ms, boot_ms=before.boot_ms) == before
            and self.state.minute == before.minute
        ):
            return
        new = appearance(self.state)
        if new != self._shown:
            self._shown = new
            if self._icon is not None:
                self._icon.present(new)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Perform():
                task = asyncio.get_running_loop().create_task(self._perform(effect.deed))
                self._deeds.add(task)
                task.add_done_callback(self._deeds.discard)
            case Notify():
                log.debug("notification: %s", effect.title)
                if self._notifier is not None:
                    self._notifier.show(effect)
            case Withdraw():
                if self._notifier is not None:
                    self._notifier.withdraw(effect.key)
            case Save():
                preferences.save(self._preferences_path, self.state.preferences)
            case Leave():
                self._over.set()

    async def _perform(self, deed: Deed) -> None:
        log.debug("doing: %s", type(deed).__name__)  # its fields may be a secret
        ended: Ended = await self._actions.perform(deed)
        self.happened(ended)
        self.happened(AtLogin(autostart.is_on()))
