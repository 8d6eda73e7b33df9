"""The local server: denies first, then hands each call of `Meshd` to `LocalApi` with its actor."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from meshproto import local_pb2
from meshproto.group import way_in
from meshproto.tiers import METHODS, SERVICE

from meshd import defaults
from meshd.model.errors import MeshError, NotPermitted
from meshd.rpc.actor import Actor, Tier, actor_of
from meshd.rpc.front_door import FrontDoor
from meshd.rpc.status_codes import abort

log = logging.getLogger(__name__)

REQUEST_LIMIT = 1024 * 1024  # bytes; the largest request is an invite's text

Audit = Callable[[Actor, str, bool], None]


def _check(actor: Actor, tier: local_pb2.Tier.ValueType) -> None:
    if tier == local_pb2.TIER_OBSERVE or (tier == local_pb2.TIER_OPERATE and actor.tier is Tier.OPERATE):
        return
    name = actor.user if not actor.user.startswith("uid ") else "USER"
    raise NotPermitted(
        f"{actor.user} may look but not change anything here: not root, and not in group {defaults.GROUP}",
        way_in(name),
    )


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # not subscriptable at run time
    """Serves the methods in the table and denies every other path, whatever it looks like."""

    def __init__(self, api: object, audit: Audit, streams: set[asyncio.Task[Any]]) -> None:
        self._api = api
        self._audit = audit
        self._streams = streams
        self._messages = {
            f"/{SERVICE}/{method.name}": method for method in local_pb2.DESCRIPTOR.services_by_name["Meshd"].methods
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        path = handler_call_details.method
        method = METHODS.get(path) if isinstance(path, str) else None
        if method is None:
            return grpc.unary_unary_rpc_method_handler(self._deny)
        descriptor = self._messages[method.path]
        request_type = getattr(local_pb2, descriptor.input_type.name)
        reply_type = getattr(local_pb2, descriptor.output_type.name)
        make = grpc.unary_stream_rpc_method_handler if method.streams_reply else grpc.unary_unary_rpc_method_handler
        behaviour = (
            self._stream(method.path, method.tier) if method.streams_reply else self._unary(method.path, method.tier)
        )
        return make(
            behaviour, request_deserializer=request_type.FromString, response_serializer=reply_type.SerializeToString
        )

    async def _deny(self, request: bytes, context: Any) -> bytes:
        log.warning("a call of an unknown method was denied")
        await abort(context, NotPermitted("there is no such method"))

    def _enter(self, context: Any, path: str, tier: local_pb2.Tier.ValueType) -> Actor:
        actor = actor_of(context.peer())
        try:
            _check(actor, tier)
        except NotPermitted:
            self._audit(actor, path, False)
            raise
        if tier == local_pb2.TIER_OPERATE:
            self._audit(actor, path, True)
        return actor

    def _unary(self, path: str, tier: local_pb2.Tier.ValueType) -> Callable[[Any, Any], Awaitable[Any]]:
        target = getattr(self._api, _snake(path))

        async def behaviour(request: Any, context: Any) -> Any:
            try:
                return await target(request, self._enter(context, path, tier))
            except MeshError as error:
                await abort(context, error)
            except Exception:
                log.exception("%s failed", path)
                await abort(context, MeshError("internal error", "see the log of meshd: journalctl -u meshd"))

        return behaviour

    def _stream(self, path: str, tier: local_pb2.Tier.ValueType) -> Callable[[Any, Any], AsyncIterator[Any]]:
        target = getattr(self._api, _snake(path))

        async def behaviour(request: Any, context: Any) -> AsyncIterator[Any]:
            task = asyncio.current_task()
            assert task is not None
            self._streams.add(task)
            try:
                async for reply in target(request, self._enter(context, path, tier)):
                    yield reply
            except MeshError as error:
                await abort(context, error)
            except Exception:
                log.exception("%s failed", path)
                await abort(context, MeshError("internal error", "see the log of meshd: journalctl -u meshd"))
            finally:
                self._streams.discard(task)

        return behaviour


def _snake(path: str) -> str:
    name = path.rpartition("/")[2]
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


class LocalServer:
    """Front door and gRPC server of one run folder. `api` has a method for each RPC, named in snake case, that takes
    the request and the Actor and returns the reply, or an async iterator of them."""

    def __init__(self, run_dir: Path, api: object, audit: Audit) -> None:
        self._inner = run_dir / "inner" / "grpc.sock"
        self._streams: set[asyncio.Task[Any]] = set()
        self._handlers = _Handlers(api, audit, self._streams)
        self._door = FrontDoor(run_dir / "meshd.sock", self._inner, defaults.GROUP)
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        self._inner.parent.mkdir(mode=0o700, exist_ok=True)
        self._inner.parent.chmod(0o700)
        self._inner.unlink(missing_ok=True)
        self._server = grpc.aio.server(
            options=(("grpc.max_receive_message_length", REQUEST_LIMIT), ("grpc.max_send_message_length", -1))
        )
        self._server.add_generic_rpc_handlers((self._handlers,))
        before = os.umask(0o177)
        try:
            self._server.add_insecure_port(f"unix:{self._inner}")
            await self._server.start()
        finally:
            os.umask(before)
        await self._door.start()

    async def stop(self) -> None:
        await self._door.stop()
        if self._server is not None:
            await self._server.stop(0.1)
        self._inner.unlink(missing_ok=True)
