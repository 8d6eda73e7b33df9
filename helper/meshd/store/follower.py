"""Reads the committed part of this node's data as it grows: entries where possible, a snapshot where not.

What is stored may run ahead of what is committed, and may be a tail that a new primary drops. Entry C is committed
when a heartbeat says so; so is every entry before C in a log that holds C, and, as one epoch has one log, every entry
of a log that has not reached C yet but ends in C's epoch. Nothing else is handed out.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from meshproto import state_pb2

from meshd.model.position import Position
from meshd.store.database import Database, Entry
from meshd.store.errors import Gap, StoreUnavailable

log = logging.getLogger(__name__)

BATCH = 1000
"""Entries in one update."""

LOOK_AGAIN = 0.25
"""Seconds to wait for the data to arrive, or for Redis to come back, before looking whether the commit moved on."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Takes the place of everything before."""

    view: state_pb2.View

    @property
    def position(self) -> Position:
        return Position.from_message(self.view.position)


@dataclass(frozen=True, slots=True)
class Entries:
    """Follow on the update before, oldest first. Never empty."""

    entries: tuple[Entry, ...]

    @property
    def position(self) -> Position:
        return self.entries[-1][0]


Update = Snapshot | Entries


class Follower:
    """An endless iterator of committed updates, for one consumer."""

    def __init__(self, database: Database, start: Position | None = None) -> None:
        """`start` is the position of the view that the consumer has; without it the first update is a snapshot."""
        self._database = database
        self._position = start
        self._committed = Position()
        self._held: state_pb2.View | None = None  # a snapshot that waits for its last entry to be committed
        self._advanced = asyncio.Event()
        self._available = True

    def advance(self, committed: Position) -> None:
        """A heartbeat of a promised epoch said that this is committed. Older news are ignored."""
        if committed > self._committed:
            self._committed = committed
            self._advanced.set()

    @property
    def position(self) -> Position | None:
        """Of the last update that was handed out."""
        return self._position

    def __aiter__(self) -> Follower:
        return self

    async def __anext__(self) -> Update:
        while True:
            self._advanced.clear()
            committed = self._committed
            if committed == Position() or (self._position is not None and self._position >= committed):
                await self._advanced.wait()
                continue
            try:
                update = await self._read(committed)
                if update is not None:
                    self._position = update.position
                    return update
                if await self._database.wait_position(committed, LOOK_AGAIN) >= committed:
                    await self._pause(LOOK_AGAIN / 10)  # it may have arrived just now
                self._note(True)
            except StoreUnavailable as error:
                self._note(False, error)
                await self._pause(LOOK_AGAIN)

    async def _read(self, committed: Position) -> Update | None:
        """What can be handed out now, or None."""
        if self._position is not None and self._held is None:
            bound = await self._bound(committed)
            if bound is None or bound <= self._position:
                return None  # the consumer is ahead of this data, which is still being copied
            try:
                entries = await self._database.entries(self._position, bound, BATCH)
                return Entries(tuple(entries)) if entries else None
            except Gap:
                log.info("the stream does not continue after %s: taking a snapshot", self._position)
        if self._held is None:
            self._held = await self._database.load()
        last = Position.from_message(self._held.position)
        stored, (kept, reached) = await self._database.contains(last, committed)
        if not kept or (self._position is not None and last <= self._position):
            self._held = None  # a tail that was dropped, so old that it was trimmed, or data that is still being copied
            return None
        if last.revision > committed.revision or not (reached or stored.epoch == committed.epoch):
            return None
        view, self._held = self._held, None
        return Snapshot(view)

    async def _bound(self, committed: Position) -> Position | None:
        """Up to where the stored entries are known to be committed."""
        stored, (reached,) = await self._database.contains(committed)
        if reached:
            return committed
        if stored.epoch == committed.epoch:
            return min(stored, committed)
        return None

    async def _pause(self, limit: float) -> None:
        """Until the commit moves on, at most `limit` seconds."""
        try:
            async with asyncio.timeout(limit):
                await self._advanced.wait()
        except TimeoutError:
            return

    def _note(self, available: bool, error: StoreUnavailable | None = None) -> None:
        if available != self._available:
            self._available = available
            log.warning("the store is %s", "back" if available else f"not available: {error}")
