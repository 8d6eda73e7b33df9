"""One connection to a D-Bus message bus, for meshd and for the tray: dbus-next without five of its faults.

It blocks in connect(); reads for ever when the bus hangs up early; leaves sockets to the garbage collector; prints
traces of calls that nobody waits for any more, and keeps them. The library is imported only when a connection is
opened. It is not maintained; dbus-fast has the same names.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from typing import Any

LONGEST_LINE = 4096
"""Bytes of a line while logging in (D-Bus specification, "Authentication Protocol")."""

BUSY_S = 0.05
"""Until a bus is tried again where more programs want to connect at once than it has room for, as at login."""


class BusError(Exception):
    """Raised when a bus can't be used, or a call on it was not done. `name` is the error's on D-Bus, "" for ours."""

    def __init__(self, text: str, name: str = "") -> None:
        super().__init__(text)
        self.name = name


async def connect(address: str | None = None, limit_s: float = 5.0) -> Any:
    """A connection of dbus-next, to be closed with `close`; of the session's bus unless told otherwise.
    Raises BusError."""
    connection = None
    try:
        async with asyncio.timeout(limit_s):
            while connection is None:
                try:
                    connection = _connection(address)
                except BlockingIOError:
                    await asyncio.sleep(BUSY_S)
            await connection.connect()
    except BaseException as error:
        if connection is not None:
            connection.close()
        if isinstance(error, Exception):  # of the library: about foreign bytes, addresses and more
            raise BusError(str(error) or type(error).__name__) from error
        raise
    return connection


async def call(
    connection: Any, service: str, path: str, interface: str, member: str, signature: str = "",
    values: Sequence[Any] = (), limit_s: float = 5.0, start: bool = True,
) -> list[Any]:  # fmt: skip
    """The values of the answer. `start`: whether the bus may start the service for it. Raises BusError."""
    from dbus_next.constants import MessageFlag, MessageType
    from dbus_next.message import Message

    if not connection.connected:
        raise BusError("the bus has ended")
    message = Message(
        destination=service, path=path, interface=interface, member=member, signature=signature, body=list(values),
        flags=MessageFlag.NONE if start else MessageFlag.NO_AUTOSTART,
    )  # fmt: skip
    try:
        async with asyncio.timeout(limit_s):
            reply = await connection.call(message)
    except TimeoutError:
        raise BusError(f"{service} did not answer {member} within {limit_s:g} s") from None
    except (OSError, EOFError) as error:
        raise BusError(f"the bus ended during {member}") from error
    except Exception as error:  # of the library: about what it can't read, which ends all calls, or write
        raise BusError(f"{member} failed: {str(error) or type(error).__name__}") from error
    finally:
        connection._method_return_handlers.pop(message.serial, None)  # what comes late is for nobody
    if reply is None:
        raise BusError(f"the bus ended during {member}")
    if reply.message_type is MessageType.ERROR:
        text = reply.body[0] if reply.body and isinstance(reply.body[0], str) else reply.error_name
        raise BusError(f"{service} refuses {member}: {text}", str(reply.error_name))
    return list(reply.body)


def _connection(address: str | None) -> Any:
    from dbus_next.aio.message_bus import MessageBus

    class Connection(MessageBus):  # type: ignore[misc]  # dbus-next has no types
        def _setup_socket(self) -> None:
            found: OSError = FileNotFoundError("its address names no socket of this machine")
            for transport, options in self._bus_address:
                name = options.get("path") or f"\0{options.get('abstract', '')}"
                if transport != "unix" or name == "\0":
                    continue
                kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
                self._sock = socket.socket(socket.AF_UNIX, kind)
                self._stream = self._sock.makefile("rwb")
                self._fd = self._sock.fileno()
                try:
                    self._sock.connect(name)
                except OSError as error:
                    found = found if isinstance(found, BlockingIOError) else error
                    self._stream.close()
                    self._sock.close()
                else:
                    return
            raise found

        async def _auth_readline(self) -> str:
            line = b""
            while not line.endswith(b"\r\n"):
                more = await self._loop.sock_recv(self._sock, 1)
                if not more or len(line) > LONGEST_LINE:
                    raise EOFError("the bus hung up")
                line += more
            return line[:-2].decode(errors="replace")

        def send(self, message: Any) -> asyncio.Future[Any]:
            future: asyncio.Future[Any] = super().send(message)
            future.add_done_callback(_seen)  # whoever calls waits for the reply, not for this
            return future

        def close(self) -> None:
            self._finalize(None)
            _seen(self._disconnect_future)
            with contextlib.suppress(OSError, ValueError):
                self._stream.close()
            self._sock.close()

    return Connection(bus_address=address)


def _seen(future: asyncio.Future[Any]) -> None:
    """Its exception needs no further mention."""
    if future.done() and not future.cancelled():
        future.exception()
