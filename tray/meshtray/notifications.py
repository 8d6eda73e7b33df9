"""Notifications of the desktop (org.freedesktop.Notifications): shown, replaced, withdrawn; what is clicked on them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

from meshtray.bus import Bus, BusError, Variant
from meshtray.deeds import Deed
from meshtray.pictures import PROGRAM
from meshtray.state import Notify

log = logging.getLogger(__name__)

NAME, PATH = "org.freedesktop.Notifications", "/org/freedesktop/Notifications"
LIMIT_S = 5.0
LATE_S = 25.0
"""What the bus gives a call: an answer that comes so late is of use still, since what it shows can be clicked."""
LEAVE_S = 0.5
"""Nobody waits for a service that hangs when the tray ends."""
WAITING = 50
"""Notifications that wait for a service that hangs. More than that nobody reads."""
NORMAL, CRITICAL = 1, 2


class Notifications:
    """`run()` is its task: one notification after the other, so that a slow service holds up nothing else."""

    def __init__(self, bus: Bus, chosen: Callable[[Deed], None], clicked: Callable[[str], None]) -> None:
        self._bus = bus
        self._chosen = chosen
        self._clicked = clicked
        self._queue: asyncio.Queue[Notify | str] = asyncio.Queue(WAITING)
        self._ids: dict[str, int] = {}
        self._actions: dict[int, Sequence[tuple[str, Deed]]] = {}
        self._can: frozenset[str] | None = None
        self._late: set[asyncio.Task[None]] = set()
        self._asked: dict[str, asyncio.Task[None]] = {}
        self._unwanted: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Raises BusError."""
        await self._bus.listen(PATH, NAME, "ActivationToken", self._token_given, NAME)
        await self._bus.listen(PATH, NAME, "ActionInvoked", self._invoked, NAME)
        await self._bus.listen(PATH, NAME, "NotificationClosed", self._closed, NAME)
        await self._bus.listen_for_owner(NAME, self._service_changed)

    def show(self, one: Notify) -> None:
        self._put(one)

    def withdraw(self, key: str) -> None:
        """Also of one that still waits to be shown: it is shown before, and gone at once."""
        self._put(key)

    def _put(self, one: Notify | str) -> None:
        try:
            self._queue.put_nowait(one)
        except asyncio.QueueFull:
            log.warning("a notification is left out: the service for them hangs")

    async def run(self) -> None:
        """What it began ends with it."""
        try:
            await self._one_after_the_other()
        finally:
            for task in self._late:
                task.cancel()
            await asyncio.gather(*self._late, return_exceptions=True)

    async def _one_after_the_other(self) -> None:
        while True:
            one = await self._queue.get()
            try:
                if isinstance(one, Notify):
                    await self._show(one)
                else:
                    await self._withdraw(one)
            except (BusError, TypeError, ValueError) as error:  # also of a service that answers with something else
                log.info("a notification is not shown: %s", error)
            finally:
                self._queue.task_done()

    async def _withdraw(self, key: str) -> None:
        """What is asked for still is withdrawn when its number is known."""
        if (asked := self._asked.get(key)) is not None:
            self._unwanted.add(asked)
        if key in self._ids:
            await self._bus.call(NAME, PATH, NAME, "CloseNotification", "u", self._ids.pop(key))

    async def leave(self) -> None:
        """Takes back what could be clicked: nobody would hear it. The next tray shows in its menu what is still so."""
        with contextlib.suppress(BusError):
            for number in [number for number, actions in self._actions.items() if actions]:
                await self._bus.call(NAME, PATH, NAME, "CloseNotification", "u", number, limit_s=LEAVE_S)

    async def shown(self) -> None:
        """Until all are shown, or the service for them seems to hang."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LIMIT_S):
                await self._queue.join()

    async def _show(self, one: Notify) -> None:
        can = await self._capabilities()
        actions: list[str] = []
        if "actions" in can:
            for number, (label, _) in enumerate(one.actions):
                actions += [str(number), label]
        body = escaped(one.body) if "body-markup" in can else one.body
        hints = {"urgency": Variant("y", CRITICAL if one.urgent else NORMAL), "desktop-entry": Variant("s", "meshtray")}
        before = self._asked.get(one.key)
        asked = self._asked[one.key] = asyncio.create_task(self._notify(one, body, actions, hints, before))
        self._late.add(asked)

        def over(_: asyncio.Task[None]) -> None:
            self._late.discard(asked)
            self._unwanted.discard(asked)
            if self._asked.get(one.key) is asked:
                del self._asked[one.key]

        asked.add_done_callback(over)
        await asyncio.wait([asked], timeout=LIMIT_S)
        if not asked.done():
            asked.add_done_callback(lambda done: done.cancelled() or done.exception())
            raise BusError(f"{NAME} did not answer Notify within {LIMIT_S:g} s")
        asked.result()

    async def _notify(
        self, one: Notify, body: str, actions: list[str], hints: dict[str, Variant], before: asyncio.Task[None] | None
    ) -> None:
        if before is not None:  # whose number it takes
            await asyncio.wait([before])
            if self._asked.get(one.key) is not asyncio.current_task():
                return  # a newer one waits behind it
        (number,) = await self._bus.call(
            NAME, PATH, NAME, "Notify", "susssasa{sv}i",
            "meshtray", self._ids.get(one.key, 0), str(PROGRAM), one.title, body, actions, hints, -1, limit_s=LATE_S,
        )  # fmt: skip
        self._ids[one.key] = number
        self._actions[number] = one.actions
        if asyncio.current_task() in self._unwanted:
            await self._bus.call(NAME, PATH, NAME, "CloseNotification", "u", self._ids.pop(one.key))

    async def _capabilities(self) -> frozenset[str]:
        if self._can is None:
            (found,) = await self._bus.call(NAME, PATH, NAME, "GetCapabilities", limit_s=LIMIT_S)
            self._can = frozenset(found)
            log.debug("notifications can: %s", " ".join(sorted(self._can)))
        return self._can

    def _token_given(self, number: int, token: str) -> None:
        """Comes before ActionInvoked (specification 1.2), under Wayland."""
        if number in self._actions:
            self._clicked(token)

    def _invoked(self, number: int, key: str) -> None:
        actions = self._actions.get(number, ())
        if key.isdecimal() and int(key) < len(actions):
            self._chosen(actions[int(key)][1])

    def _closed(self, number: int, _reason: int) -> None:
        self._actions.pop(number, None)
        self._ids = {key: one for key, one in self._ids.items() if one != number}

    def _service_changed(self, _owner: str) -> None:
        """Another one knows nothing of the numbers of the one before."""
        self._can = None
        self._ids.clear()
        self._actions.clear()


def escaped(text: str) -> str:
    """For services that read markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
