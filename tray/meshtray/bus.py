"""D-Bus, for the rest of the tray: the one module that knows the library. dbus-next is not maintained any more;
dbus-fast has the same names and takes its place by a change of the imports below."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import quoteattr

from dbus_next.aio.message_bus import MessageBus
from dbus_next.constants import MessageFlag, MessageType
from dbus_next.errors import AuthError, DBusError, InvalidAddressError
from dbus_next.message import Message
from dbus_next.signature import SignatureTree, Variant

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


class BusError(Exception):
    """Raised when the bus can't be reached or a call on it fails. `name` is the error's D-Bus name, "" for ours."""

    def __init__(self, message: str, name: str = "") -> None:
        super().__init__(message)
        self.name = name


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


class Bus:
    """A connection to a message bus, with our objects on it."""

    def __init__(self, connection: MessageBus) -> None:
        self._bus = connection
        self._objects: dict[str, dict[str, Interface]] = {}
        self._listeners: list[tuple[str, str, str, Callable[..., None]]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        connection.add_message_handler(self._received)

    @classmethod
    async def connect(cls, address: str | None = None) -> Bus:
        """The session bus unless told otherwise. Raises BusError."""
        connection = None
        try:
            connection = MessageBus(bus_address=address)
            return cls(await asyncio.wait_for(connection.connect(), CALL_LIMIT_S))
        except (OSError, EOFError, AuthError, DBusError, InvalidAddressError, TimeoutError, ValueError) as error:
            if connection is not None:
                _let_go(connection)
            raise BusError(f"there is no session bus: {error or type(error).__name__}") from error

    @property
    def name(self) -> str:
        return str(self._bus.unique_name)

    async def closed(self) -> None:
        """Until the bus ends the connection, or we do."""
        try:
            await asyncio.shield(self._bus.wait_for_disconnect())  # of one future for all who wait
        except (OSError, EOFError) as error:
            log.debug("the bus is gone: %s", error)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._bus.connected:
            self._bus.disconnect()
        await self.closed()
        _let_go(self._bus)

    # --- others -----------------------------------------------------------------------------------------------------

    async def call(
        self, service: str, path: str, interface: str, member: str, signature: str = "", *values: Any,
        limit_s: float = CALL_LIMIT_S, start: bool = True,
    ) -> list[Any]:  # fmt: skip
        """What the method answers. `start`: whether the bus may start the service for it. Raises BusError."""
        if not self._bus.connected:
            raise BusError("the session bus is gone")
        message = Message(
            destination=service, path=path, interface=interface, member=member, signature=signature,
            body=list(values), flags=MessageFlag.NONE if start else MessageFlag.NO_AUTOSTART,
        )  # fmt: skip
        try:
            reply = await asyncio.wait_for(self._bus.call(message), limit_s)
        except TimeoutError as error:
            raise BusError(f"{service} did not answer within {limit_s:g} s") from error
        except (OSError, EOFError) as error:
            raise BusError(f"the session bus is gone: {error}") from error
        if reply is None or reply.message_type is MessageType.ERROR:
            text = reply.body[0] if reply is not None and reply.body else "no answer"
            raise BusError(f"{service}: {text}", str(reply.error_name) if reply is not None else "")
        return list(reply.body)

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

    async def listen(self, path: str, interface: str, member: str, heard: Callable[..., None], rule: str = "") -> None:
        """Has `heard` called with the values of each such signal. Raises BusError."""
        self._listeners.append((path, interface, member, heard))
        match = f"type='signal',path='{path}',interface='{interface}',member='{member}'{rule}"
        await self.call(DAEMON, DAEMON_PATH, DAEMON, "AddMatch", "s", match)

    async def listen_for_owner(self, name: str, changed: Callable[[str], None]) -> None:
        """Has `changed` called with the new owner of a name, "" for nobody. Raises BusError."""

        def heard(about: str, _before: str, now: str) -> None:
            if about == name:
                changed(now)

        await self.listen(DAEMON_PATH, DAEMON, "NameOwnerChanged", heard, f",arg0='{name}'")

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
            for path, interface, member, heard in self._listeners:
                if (message.path, message.interface, message.member) == (path, interface, member):
                    try:
                        heard(*message.body)
                    except TypeError as error:  # somebody's signal with other arguments than the specification says
                        log.warning("a signal %s.%s can't be read: %s", interface, member, error)
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


def _let_go(connection: MessageBus) -> None:
    """The library shuts them down and leaves the rest to the garbage collector."""
    for one in ("_stream", "_sock"):
        getattr(connection, one).close()


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
