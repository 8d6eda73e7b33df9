"""The system's D-Bus, where there is one: who owns the names that matter here, their signals, and calls to them.

dbus-next is imported only once a bus is there. May be imported by every part of meshd.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from meshproto import bus_connection
from meshproto.bus_connection import BusError

__all__ = ["LOGIND", "RESOLVED", "BusError", "SystemBus", "bus_path"]

log = logging.getLogger(__name__)

RESOLVED, LOGIND = "org.freedesktop.resolve1", "org.freedesktop.login1"

SIGNALS = ((LOGIND, "org.freedesktop.login1.Manager", "PrepareForSleep"),)
"""(name of the sender, interface, member) of what is listened to."""

BUS = "org.freedesktop.DBus"

CONNECT_LIMIT = 5.0
"""Seconds until a bus that accepts but says nothing is given up."""

LOOK_AGAIN = 5.0
"""Seconds until a bus that is not there, or that ended, is looked for again."""

CALL_LIMIT = 3.0
"""Seconds for one call."""

Listener = Callable[[str, str], None]


def bus_path() -> Path | None:
    """The socket as $DBUS_SYSTEM_BUS_ADDRESS says, else the usual one; None for an address of another kind."""
    address = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/run/dbus/system_bus_socket")
    for one in address.split(";"):
        if one.startswith("unix:path="):
            return Path(one.removeprefix("unix:path=").partition(",")[0])
    return None


class SystemBus:
    """`run` is a task that keeps the connection. `on_owner` are called with (name, unique name of its owner or "") when
    that changes, and when the bus comes and goes; `on_signal` with (member, arguments)."""

    def __init__(self) -> None:
        self.on_owner: list[Listener] = []
        self.on_signal: list[Callable[[str, list[Any]], None]] = []
        self._owners: dict[str, str] = {}
        self._heard: set[str] = set()
        self._bus: Any = None
        self._told = ""

    def owner(self, name: str) -> str:
        """The unique name of whoever has that name on the bus; "" when nobody has, or there is no bus."""
        return self._owners.get(name, "")

    async def call(
        self, name: str, path: str, interface: str, member: str, signature: str = "", body: Sequence[Any] = ()
    ) -> list[Any]:
        """The arguments of the answer. Starts no service. Raises BusError."""
        if self._bus is None:
            raise BusError("there is no system bus")
        return await bus_connection.call(
            self._bus, name, path, interface, member, signature, body, limit_s=CALL_LIMIT, start=False
        )

    async def run(self) -> None:
        while True:
            path = bus_path()
            if path is not None and path.exists():
                try:
                    await self._stay_connected(path)
                    self._tell("the system bus ended")
                except BusError as error:
                    self._tell(f"no connection to the system bus: {error}")
            await asyncio.sleep(LOOK_AGAIN)

    def _tell(self, text: str) -> None:
        if text != self._told:
            log.info("%s", text)
        self._told = text

    async def _stay_connected(self, path: Path) -> None:
        bus = await bus_connection.connect(f"unix:path={path}", CONNECT_LIMIT)
        try:
            self._heard.clear()
            bus.add_message_handler(self._received)
            self._bus = bus
            for name in (RESOLVED, LOGIND):
                await self._match(f"sender='{BUS}',interface='{BUS}',member='NameOwnerChanged',arg0='{name}'")
            for name, interface, member in SIGNALS:
                await self._match(f"sender='{name}',interface='{interface}',member='{member}'")
            for name in (RESOLVED, LOGIND):
                with contextlib.suppress(BusError):  # nobody has it
                    owner = str((await self._ask("GetNameOwner", name))[0])
                    if name not in self._heard:  # else the answer is older: dbus-next handles a signal first
                        self._owned(name, owner)
            self._told = ""
            with contextlib.suppress(Exception):  # whatever ended it, as dbus-next met it
                await bus.wait_for_disconnect()
        finally:
            self._bus = None
            bus.close()
            for name in list(self._owners):
                self._owned(name, "")

    async def _match(self, rule: str) -> None:
        await self._ask("AddMatch", f"type='signal',{rule}")

    async def _ask(self, member: str, text: str) -> list[Any]:
        return await self.call(BUS, "/org/freedesktop/DBus", BUS, member, "s", [text])

    def _owned(self, name: str, owner: str) -> None:
        if self.owner(name) == owner:
            return
        self._owners[name] = owner
        for listener in list(self.on_owner):
            listener(name, owner)

    def _received(self, message: Any) -> None:
        from dbus_next import MessageType

        if message.message_type is not MessageType.SIGNAL:
            return
        if message.sender == BUS and message.member == "NameOwnerChanged":
            name, _, owner = message.body
            if name in (RESOLVED, LOGIND):
                self._heard.add(name)
                self._owned(name, owner)
            return
        for name, interface, member in SIGNALS:
            # Anybody may send a signal to us alone, past the rules: the sender is whom the bus says it is.
            known = message.sender and message.sender == self.owner(name)
            if known and (message.interface, message.member) == (interface, member):
                for listener in list(self.on_signal):
                    listener(member, message.body)
