"""Small real services for a session bus: notifications, as a desktop has them, with what can be wrong with them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from meshtray.bus import Bus, Interface, Method
from tray.desktop import until

NAME, PATH = "org.freedesktop.Notifications", "/org/freedesktop/Notifications"


@dataclass
class Shown:
    number: int
    replaces: int
    title: str
    body: str
    actions: list[str]
    urgency: int


class NotificationService:
    """`delay_s` is how long it takes to answer."""

    def __init__(self, bus: Bus, capabilities: list[str]) -> None:
        self.bus = bus
        self.shown: list[Shown] = []
        self.withdrawn: list[int] = []
        self.delay_s = 0.0
        self._capabilities = capabilities
        self._count = 0

    @classmethod
    async def start(cls, address: str, *capabilities: str, first: int = 0) -> NotificationService:
        service = cls(await Bus.connect(address), list(capabilities or ("actions", "body")))
        service._count = first
        service.bus.export(
            PATH,
            [
                Interface(
                    NAME,
                    {
                        "GetCapabilities": Method("", "as", lambda: [service._capabilities]),
                        "Notify": Method("susssasa{sv}i", "u", service._notify),
                        "CloseNotification": Method("u", "", service._close),
                    },
                    {},
                    {"ActivationToken": "us", "ActionInvoked": "us", "NotificationClosed": "uu"},
                )
            ],
        )
        assert await service.bus.claim(NAME)
        return service

    async def stop(self) -> None:
        await self.bus.close()

    async def _notify(
        self, program: str, replaces: int, icon: str, title: str, body: str, actions: list[str], hints: dict[str, Any],
        expires: int,
    ) -> list[int]:  # fmt: skip
        await asyncio.sleep(self.delay_s)
        number = replaces
        if not replaces:
            self._count += 1
            number = self._count
        self.shown.append(Shown(number, replaces, title, body, actions, hints["urgency"].value))
        return [number]

    def _close(self, number: int) -> list[Any]:
        self.withdrawn.append(number)
        self.bus.emit(PATH, NAME, "NotificationClosed", number, 3)
        return []

    def click(self, shown: Shown, label: str, token: str = "") -> None:
        if token:
            self.bus.emit(PATH, NAME, "ActivationToken", shown.number, token)
        key = shown.actions[shown.actions.index(label) - 1]
        self.bus.emit(PATH, NAME, "ActionInvoked", shown.number, key)

    async def until_shown(self, title: str, count: int = 1) -> Shown:
        def found() -> list[Shown]:
            return [one for one in self.shown if title in one.title]

        await until(lambda: len(found()) >= count, f"{count} notifications {title!r}; there are {self.shown}", 25)
        return found()[-1]
