"""D-Bus, for the rest of the tray: the one module of it that knows the library, besides meshproto.bus_connection."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from xml.sax.saxutils import quoteattr

from dbus_next.aio.message_bus import MessageBus
from dbus_next.constants import MessageFlag, MessageType
from dbus_next.message import Message
from dbus_next.signature import SignatureTree, Variant
from meshproto import bus_connection
from meshproto.bus_connection import BusError

__all__ = ["Bus", "BusError", "Interface", "Method", "Refuse", "Variant"]

log = logging.getLogger(__name__)

DAEMON, DAEMON_PATH = "org.freedesktop.DBus", "/org/freedesktop/DBus"
PROPERTIES, INTROSPECTABLE = "org.freedesktop.DBus.Properties", "org.freedesktop.DBus.Introspectable"

PEER = "org.freedesktop.DBus.Peer"

CALL_LIMIT_S = 5.0
"""A service of a desktop that takes longer hangs."""

DO_NOT_QUEUE = 4
"""Flag of RequestName (D-Bus specification, "Message Bus Messages")."""
PRIMARY_OWNER, ALREADY_OWNER = 1, 4


class Refuse(Exception):
    """Raised by a method of ours: the caller gets a D-Bus error with that name and text."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


@dataclass(frozen=True, slots=True)
class Method:
    """`call` gets the arguments and returns the list of results, or something to await that does."""

    takes: str
    gives: str
    call: Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface of an object of ours. Properties: name -> (signature, what is its value now)."""

    name: str
    methods: Mapping[str, Method] = field(default_factory=dict)
    properties: Mapping[str, tuple[str, Callable[[], Any]]] = field(default_factory=dict)
    signals: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Listener:
    """`sender` "": whoever it comes from."""

    path: str
    interface: str
    member: str
    heard: Callable[..., None]
    sender: str

    def takes(self, message: Message, owner: str) -> bool:
        """`owner` is who has the sender's name now."""
        told = (message.path, message.interface, message.member) == (self.path, self.interface, self.member)
        return told and (not self.sender or message.sender == owner)


class Bus:
    """A connection to a message bus, with our objects on it."""

    def __init__(self, connection: MessageBus) -> None:
        self._bus = connection
        self._objects: dict[str, dict[str, Interface]] = {}
        self._listeners: list[Listener] = []
        self._owners: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        connection.add_message_handler(self._received)

    @classmethod
    async def connect(cls, address: str | None = None) -> Bus:
        """The session bus unless told otherwise. Raises BusError."""
        try:
            return cls(await bus_connection.connect(address, CALL_LIMIT_S))
        except BusError as error:
            raise BusError(f"there is no session bus: {error}") from error

    @property
    def name(self) -> str:
        return str(self._bus.unique_name)

    async def closed(self) -> None:
        """Until the bus ends the connection, or we do."""
        try:
            await asyncio.shield(self._bus.wait_for_disconnect())  # of one future for all who wait
        except Exception as error:  # of the library, also about what it can't read
            log.debug("the bus is gone: %s", error)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._bus.connected:
            self._bus.disconnect()
        await self.closed()
        self._bus.close()

    # --- others -----------------------------------------------------------------------------------------------------

    async def call(
        self, service: str, path: str, interface: str, member: str, signature: str = "", *values: Any,
        limit_s: float = CALL_LIMIT_S, start: bool = True,
    ) -> list[Any]:  # fmt: skip
        """What the method answers. `start`: whether the bus may start the service for it. Raises BusError."""
        return await bus_connection.call(
            self._bus, service, path, interface, member, signature, values, limit_s=limit_s, start=start
        )

    async def owner(self, name: str) -> str:
        """Who has the name now, "" for nobody. Raises BusError."""
        try:
            (found,) = await self.call(DAEMON, DAEMON_PATH, DAEMON, "GetNameOwner", "s", name)
        except BusError as error:
            if error.name == "org.freedesktop.DBus.Error.NameHasNoOwner":
                return ""
            raise
        return str(found)

    async def claim(self, name: str) -> bool:
        """Whether the name is ours from now on. Raises BusError."""
        (answer,) = await self.call(DAEMON, DAEMON_PATH, DAEMON, "RequestName", "su", name, DO_NOT_QUEUE)
        return answer in (PRIMARY_OWNER, ALREADY_OWNER)

    async def listen(
        self, path: str, interface: str, member: str, heard: Callable[..., None], sender: str = "", rule: str = ""
    ) -> None:
        """Has `heard` called with the values of each such signal; with `sender`, a name, only of whoever has it then:
        anybody may send a signal to us alone, past the rules of the bus. Raises BusError."""
        if sender not in ("", DAEMON) and not sender.startswith(":") and sender not in self._owners:
            self._owners[sender] = ""
            await self.follow_owner(sender, partial(self._owners.__setitem__, sender))
        self._listeners.append(Listener(path, interface, member, heard, sender))
        match = f"type='signal',path='{path}',interface='{interface}',member='{member}'{rule}"
        if sender:
            match += f",sender='{sender}'"
        await self.call(DAEMON, DAEMON_PATH, DAEMON, "AddMatch", "s", match)

    async def listen_for_owner(self, name: str, changed: Callable[[str], None]) -> None:
        """Has `changed` called with the new owner of a name, "" for nobody. Raises BusError."""

        def heard(about: str, _before: str, now: str) -> None:
            if about == name:
                changed(now)

        await self.listen(DAEMON_PATH, DAEMON, "NameOwnerChanged", heard, DAEMON, f",arg0='{name}'")

    async def follow_owner(self, name: str, changed: Callable[[str], None]) -> None:
        """The same, and at first with whoever has it. Raises BusError."""
        heard = False

        def told(owner: str) -> None:
            nonlocal heard
            heard = True
            changed(owner)

        await self.listen_for_owner(name, told)
        owner = await self.owner(name)
        if not heard:  # else the answer is older: the library handles a signal before whoever waits for a reply goes on
            changed(owner)

    # --- ours -------------------------------------------------------------------------------------------------------

    def export(self, path: str, interfaces: Iterable[Interface]) -> None:
        self._objects[path] = {one.name: one for one in interfaces}

    def emit(self, path: str, interface: str, member: str, *values: Any) -> None:
        """A signal of an object of ours. Nobody hears it when the bus is gone."""
        if self._bus.connected:
            signature = self._objects[path][interface].signals[member]
            self._send(Message.new_signal(path, interface, member, signature, list(values)))

    def _send(self, message: Message) -> None:
        self._bus.send(message).add_done_callback(lambda done: done.cancelled() or done.exception())

    def _received(self, message: Message) -> bool:
        """True when it is done with."""
        if message.message_type is MessageType.SIGNAL:
            for one in self._listeners:
                if one.takes(message, self._owners.get(one.sender, one.sender)):
                    try:
                        one.heard(*message.body)
                    except TypeError as error:  # somebody's signal with other arguments than the specification says
                        log.warning("a signal %s.%s can't be read: %s", one.interface, one.member, error)
            return False
        if message.message_type is not MessageType.METHOD_CALL or message.path not in self._objects:
            return False
        if message.interface == PEER:
            return False  # the library answers these
        task = asyncio.get_running_loop().create_task(self._answer(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _answer(self, message: Message) -> None:
        try:
            signature, values = await self._result(message)
            reply = Message.new_method_return(message, signature, values)
        except Refuse as error:
            reply = Message.new_error(message, error.name, str(error))
        except Exception:
            log.exception("%s.%s failed", message.interface, message.member)
            reply = Message.new_error(message, "org.freedesktop.DBus.Error.Failed", "internal error")
        if self._bus.connected and not message.flags & MessageFlag.NO_REPLY_EXPECTED:
            self._send(reply)

    async def _result(self, message: Message) -> tuple[str, list[Any]]:
        path, name = str(message.path), message.interface
        interfaces = self._objects[path]
        if name == PROPERTIES:
            return self._property(interfaces, str(message.member), message.body)
        if name == INTROSPECTABLE:
            return "s", [introspection(interfaces.values())]
        for interface in interfaces.values():
            method = interface.methods.get(str(message.member)) if name in (None, interface.name) else None
            if method is None:
                continue
            if message.signature != method.takes:
                raise Refuse("org.freedesktop.DBus.Error.InvalidArgs", f"{message.member} takes ({method.takes})")
            found = method.call(*message.body)
            return method.gives, list((await found) if inspect.isawaitable(found) else found)
        raise Refuse("org.freedesktop.DBus.Error.UnknownMethod", f"there is no method {name}.{message.member}")

    @staticmethod
    def _property(interfaces: Mapping[str, Interface], member: str, body: list[Any]) -> tuple[str, list[Any]]:
        interface = interfaces.get(str(body[0])) if body else None
        if interface is None:
            raise Refuse("org.freedesktop.DBus.Error.UnknownInterface", "there is no such interface")
        if member == "GetAll":
            found = {name: Variant(kind, value()) for name, (kind, value) in interface.properties.items()}
            return "a{sv}", [found]
        if member == "Get" and len(body) == 2 and body[1] in interface.properties:
            kind, value = interface.properties[body[1]]
            return "v", [Variant(kind, value())]
        if member == "Set":
            raise Refuse("org.freedesktop.DBus.Error.PropertyReadOnly", "it can't be set")
        raise Refuse("org.freedesktop.DBus.Error.UnknownProperty", "there is no such property")


def introspection(interfaces: Iterable[Interface]) -> str:
    """The XML of org.freedesktop.DBus.Introspectable."""
    lines = ['<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"', '"">', "<node>"]
    for one in interfaces:
        lines.append(f"<interface name={quoteattr(one.name)}>")
        for name, method in one.methods.items():
            lines += [f"<method name={quoteattr(name)}>", *_arguments(method.takes, "in")]
            lines += [*_arguments(method.gives, "out"), "</method>"]
        for name, (kind, _) in one.properties.items():
            lines.append(f'<property name={quoteattr(name)} type={quoteattr(kind)} access="read"/>')
        for name, kind in one.signals.items():
            lines += [f"<signal name={quoteattr(name)}>", *_arguments(kind, ""), "</signal>"]
        lines.append("</interface>")
    return "\n".join([*lines, "</node>"])


def _arguments(signature: str, direction: str) -> list[str]:
    way = f' direction="{direction}"' if direction else ""
    return [f"<arg type={quoteattr(one.signature)}{way}/>" for one in SignatureTree._get(signature).types]
