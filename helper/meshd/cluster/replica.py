"""A node's answers to the primary: follows its Redis, confirms positions, tells how far it is.

Also serves the primary itself, which confirms its own data by the same test.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from ipaddress import ip_address

from meshproto import node_pb2

from meshd.model.errors import MeshError, NotPermitted
from meshd.model.position import Position
from meshd.store.durability import Confirmer
from meshd.store.replication import Credentials, Replication

log = logging.getLogger(__name__)


class Replica:
    """Accepts heartbeats of the one primary that the committed state names."""

    def __init__(
        self,
        self_id: str,
        primary_id: Callable[[], str],
        confirmer: Confirmer,
        replication: Replication,
        stored: Callable[[], Awaitable[Position]],
        applied: Callable[[], Position],
        presence: Callable[[], list[node_pb2.Presence]],
        on_heartbeat: Callable[[node_pb2.HeartbeatRequest], None],
    ) -> None:
        self._self_id = self_id
        self._primary_id = primary_id
        self._confirmer = confirmer
        self._replication = replication
        self._stored = stored
        self._applied = applied
        self._presence = presence
        self._on_heartbeat = on_heartbeat
        self._store_state = ""

    def _check_primary(self, caller_id: str, claimed_id: str) -> None:
        if caller_id != claimed_id or caller_id != self._primary_id() or caller_id == self._self_id:
            raise NotPermitted(f"{claimed_id} is not the primary of this mesh")

    async def heartbeat(self, caller_id: str, request: node_pb2.HeartbeatRequest) -> node_pb2.HeartbeatReply:
        """Takes the sign of life in. Raises NotPermitted for anybody but the primary, Conflict for an old epoch."""
        self._check_primary(caller_id, request.primary_id)
        await self._confirmer.promise(request.epoch)
        state = "ok"
        stored = Position()
        try:
            if request.redis_user:
                await self._replication.follow(
                    ip_address(request.redis_host),
                    request.redis_port,
                    Credentials(request.redis_user, request.redis_password),
                )
            stored = await self._stored()
            committed = Position.from_message(request.committed)
            if stored < committed:
                state = f"{max(committed.revision - stored.revision, 0)} changes behind"
        except (MeshError, ValueError) as error:
            state = str(error)
        if state != self._store_state:
            log.info("replica state: %s", state)
            self._store_state = state
        self._on_heartbeat(request)
        return node_pb2.HeartbeatReply(
            promised_epoch=self._confirmer.promised_epoch,
            confirmed=self._confirmer.floor.message,
            stored=stored.message,
            presence=self._presence(),
            store_state=state,
            applied=self._applied().message,
        )

    async def confirm(self, caller_id: str, request: node_pb2.ConfirmRequest) -> node_pb2.ConfirmReply:
        """Waits for the position to be here and durable, at most as long as the primary said and never over 10 s."""
        self._check_primary(caller_id, request.primary_id)
        position = Position.from_message(request.position)
        if position.epoch > self._confirmer.promised_epoch:
            await self._confirmer.promise(position.epoch)
        confirmation = await self._confirmer.confirm(position, min(request.wait_ms, 10_000) / 1000)
        return node_pb2.ConfirmReply(
            promised_epoch=confirmation.promised_epoch,
            confirmed=confirmation.confirmed.message,
            store_state=confirmation.state,
        )
