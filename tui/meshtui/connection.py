"""The connection to the helper: one task that keeps `Watch` running, and the calls behind the actions.

The client is imported on first use, in a thread, so that the first frame does not wait for gRPC.
"""

from __future__ import annotations

import asyncio
import importlib
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from meshproto.plain_text import plain

from meshtui.model import Link, LinkState

if TYPE_CHECKING:
    from meshproto import local_pb2 as wire

RETRY_S = 1.0
CALL_TIMEOUT_S = 10.0
LOOKS = 6
"""With a second between: meshd says something every two seconds (its HEARTBEAT), and has three tries."""
LOOK_S = 1.0
SILENT = "meshd does not answer"


T = TypeVar("T")


class Refused(Exception):
    """Raised when the helper, or the way to it, says no. `str()` is why, `fix` what to do."""

    def __init__(self, message: str, fix: str = "", code: str = "") -> None:
        super().__init__(plain(message))
        self.fix = plain(fix)
        self.code = code


class Listener(Protocol):
    def link_changed(self, link: Link) -> None: ...
    async def update_came(self, update: wire.WatchUpdate) -> None: ...


class Connection:
    """Owned by the app: `run()` is its task, the rest are the actions."""

    def __init__(
        self,
        socket: Path,
        listener: Listener,
        now_ms: Callable[[], int],
        retry_s: float = RETRY_S,
        whole_past: bool = False,
        look_s: float = LOOK_S,
    ) -> None:
        """With `whole_past` the watch also tells the last 24 hours of everybody, as recordings have it."""
        self._socket = socket
        self._listener = listener
        self._now_ms = now_ms
        self._retry_s = retry_s
        self._whole_past = whole_past
        self._look_s = look_s
        self._lost_since_ms = 0
        self._link = Link()
        self._heard_ms = 0
        self._quiet = 0
        """Looks since something was heard: they are counted, so that a machine that slept is no silence."""

    async def run(self) -> None:
        """Watches for ever; says through the listener how it goes. Ends by cancellation only."""
        await asyncio.to_thread(client_modules)
        while True:
            try:
                await self._with_stub(self._watch)
            except Refused as error:
                self._lost_since_ms = self._lost_since_ms or self._now_ms()
                self._become(Link(LinkState.LOST, str(error), error.fix, self._lost_since_ms))
            await asyncio.sleep(self._retry_s)

    def _become(self, link: Link) -> None:
        self._link = link
        self._listener.link_changed(link)

    async def _watch(self, stub: Any, local: Any) -> None:
        guard = asyncio.create_task(self._guard())
        try:
            async for update in stub.Watch(local.WatchRequest(days=self._whole_past)):
                self._quiet, self._heard_ms = 0, self._now_ms()
                if update.HasField("snapshot") or self._link.state is LinkState.SILENT:
                    self._lost_since_ms = 0
                    self._become(Link(LinkState.LIVE))
                await self._listener.update_came(update)
        finally:
            guard.cancel()
            await asyncio.gather(guard, return_exceptions=True)
        raise Refused("meshd ended the connection", "sudo systemctl start meshd")

    async def _guard(self) -> None:
        """Says that meshd is silent. The stream stays: one that froze may come back."""
        self._quiet = 0
        while True:
            await asyncio.sleep(self._look_s)
            self._quiet += 1
            if self._quiet >= LOOKS and self._link.state is LinkState.LIVE:
                self._lost_since_ms = self._heard_ms
                self._become(Link(LinkState.SILENT, SILENT, "sudo systemctl restart meshd", self._heard_ms))

    async def call(self, method: str, timeout_s: float = CALL_TIMEOUT_S, **fields: Any) -> Any:
        """One call of `Meshd` with the fields of its request; a change gets a request id. Raises Refused."""

        async def use(stub: Any, local: Any) -> Any:
            return await getattr(stub, method)(_request(local, method, fields), timeout=timeout_s)

        return await self._with_stub(use, method)

    async def follow(
        self, method: str, heard: Callable[[Any], None], timeout_s: float = CALL_TIMEOUT_S, **fields: Any
    ) -> None:
        """The same for a call that answers with several messages. Raises Refused."""

        async def use(stub: Any, local: Any) -> None:
            async for message in getattr(stub, method)(_request(local, method, fields), timeout=timeout_s):
                heard(message)

        await self._with_stub(use, method)

    async def _with_stub(self, use: Callable[[Any, Any], Awaitable[T]], method: str = "") -> T:
        """Runs `use` with a stub on a connection of its own. Raises Refused."""
        client, grpc, local = client_modules()
        channel, stub = client.connect_async(self._socket)
        async with channel:
            try:
                return await use(stub, local)
            except grpc.aio.AioRpcError as error:
                raise self._refusal(client.error_of(error, self._socket, method)) from error

    def _refusal(self, error: Any) -> Refused:
        if error.code != "helper-unreachable":
            return Refused(error.message, error.fix, error.code)
        if client_modules()[0].barred(self._socket):
            return Refused(f"You may not open {self._socket}", error.fix, error.code)
        return Refused("meshd is not running", error.fix, error.code)


def _request(local: Any, method: str, fields: dict[str, Any]) -> Any:
    kind = local.DESCRIPTOR.services_by_name["Meshd"].methods_by_name[method].input_type
    if "request_id" in kind.fields_by_name:
        fields = {"request_id": str(uuid.uuid4()), **fields}
    return getattr(local, kind.name)(**fields)


def client_modules() -> tuple[Any, Any, Any]:
    """The typed client, gRPC, and the generated messages."""
    names = ("meshproto.client", "grpc.aio", "grpc", "meshproto.local_pb2")
    client, _, grpc, local = (importlib.import_module(name) for name in names)
    return client, grpc, local
