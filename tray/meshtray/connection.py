"""The connection to the helper: one task that keeps `Watch` running, and the calls behind the deeds."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from meshproto import client
from meshproto import local_pb2 as wire
from meshproto.plain_text import plain

from meshtray.values import Link, LinkState

# Behind meshproto.client, which silences its log.
import grpc  # isort: skip
import grpc.aio  # isort: skip

log = logging.getLogger(__name__)

RETRY_S = 1.0
CALL_LIMIT_S = 10.0
SILENCE_S = 5.0
"""meshd says something every 2 s (HEARTBEAT in its watch); who hears nothing for this long knows nothing."""
LOOK_S = 0.5
"""Between looks at the clock for that."""

T = TypeVar("T")


class Refused(Exception):
    """Raised when the helper, or the way to it, says no. `str()` is why, `fix` what to do."""

    def __init__(self, message: str, fix: str = "", code: str = "") -> None:
        super().__init__(plain(message))
        self.fix = plain(fix)
        self.code = code


class Listener(Protocol):
    def link_changed(self, link: Link) -> None: ...
    def update_came(self, update: wire.WatchUpdate) -> None: ...


def boot_time() -> float:
    """Seconds that go on while a laptop sleeps, and don't care what the clock is set to."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Connection:
    """Owned by the app: `run()` is its task, the rest are the deeds."""

    def __init__(
        self, socket: Path, listener: Listener, now_s: Callable[[], float] = boot_time, retry_s: float = RETRY_S
    ) -> None:
        self._socket = socket
        self._listener = listener
        self._now_s = now_s
        self._retry_s = retry_s
        self._heard_s = 0.0
        self._link = Link()

    async def run(self) -> None:
        """Watches for ever; says through the listener how it goes. Ends by cancellation only."""
        while True:
            try:
                await self._with_stub(self._watch)
            except Refused as error:
                self._become(Link(LinkState.LOST, str(error), error.fix))
            await asyncio.sleep(self._retry_s)

    def _become(self, link: Link) -> None:
        if link != self._link:
            log.debug("link: %s %s", link.state.value, link.reason)
            self._link = link
            self._listener.link_changed(link)

    async def _watch(self, stub: Any) -> None:
        """Until the helper ends it, or it is silent: a helper that froze may come back, so the stream stays."""
        self._heard_s = self._now_s()
        guard = asyncio.create_task(self._guard())
        try:
            async for update in stub.Watch(wire.WatchRequest()):
                self._heard_s = self._now_s()
                self._listener.update_came(update)
                self._become(Link(LinkState.LIVE))  # after it: what was heard before the silence is not said again
        finally:
            guard.cancel()
            await asyncio.gather(guard, return_exceptions=True)
        raise Refused("meshd ended the connection", "sudo systemctl start meshd")

    async def _guard(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            if self._now_s() - self._heard_s >= SILENCE_S:
                self._become(Link(LinkState.SILENT, "the helper is not answering", "sudo systemctl restart meshd"))

    async def call(self, method: str, limit_s: float = CALL_LIMIT_S, **fields: Any) -> Any:
        """One call of `Meshd` with the fields of its request; a change gets a request id. Raises Refused."""

        async def use(stub: Any) -> Any:
            return await getattr(stub, method)(request(method, fields), timeout=limit_s)

        return await self._with_stub(use, method)

    async def _with_stub(self, use: Callable[[Any], Awaitable[T]], method: str = "") -> T:
        """Runs `use` with a stub on a connection of its own. Raises Refused."""
        channel, stub = client.connect_async(self._socket)
        async with channel:
            try:
                return await use(stub)
            except grpc.aio.AioRpcError as error:
                raise self._refusal(client.error_of(error, self._socket, method)) from error

    def _refusal(self, error: client.HelperError) -> Refused:
        if error.code != "helper-unreachable":
            return Refused(error.message, error.fix, error.code)
        if client.barred(self._socket):
            return Refused(f"you may not open {self._socket}", error.fix, error.code)
        return Refused("meshd is not running", error.fix, error.code)


def request(method: str, fields: dict[str, Any]) -> Any:
    """The request message of a method, with an id where it takes one."""
    kind = wire.DESCRIPTOR.services_by_name["Meshd"].methods_by_name[method].input_type
    if "request_id" in kind.fields_by_name:
        fields = {"request_id": str(uuid.uuid4()), **fields}
    return getattr(wire, kind.name)(**fields)
