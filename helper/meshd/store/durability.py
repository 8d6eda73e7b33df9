"""What a voter says about its data and keeps to (DESIGN.md 6.5 and 7.3): promised epoch, floor, confirmation."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from meshd.model.errors import Conflict, Failed
from meshd.model.position import Position
from meshd.store.connection import parse_info
from meshd.store.database import Database
from meshd.store.errors import StoreFailed, StoreUnavailable
from meshd.store.files import write_atomically

log = logging.getLogger(__name__)

OK = "ok"

NOTHING = Position()

IN_FORCE = {
    "loading": "0",
    "aof_enabled": "1",
    "aof_rewrite_in_progress": "0",
    "aof_rewrite_scheduled": "0",
    "aof_last_bgrewrite_status": "ok",
    "aof_last_write_status": "ok",
}
"""What INFO persistence says while all that is in the data is on disk, too. After a full copy that takes a rewrite."""

RECHECK = 0.05
"""Seconds between looks at an AOF that is not in force, while the caller still waits."""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What a voter vouches for now."""

    promised_epoch: int
    confirmed: Position  # of the promised epoch and on this disk with all before it; (0, 0) when nothing is
    state: str  # "ok", or why the position that was asked about is not confirmed


@dataclass(frozen=True, slots=True)
class Promise:
    """What is on disk about this voter's word."""

    epoch: int = 0  # nothing older is confirmed
    floor: Position = NOTHING  # the highest position ever confirmed
    vote: str = ""  # id of the member that has this voter's vote in `epoch`; "" when nobody has

    def save(self, path: Path) -> None:
        document = {"format": 1, "promised_epoch": self.epoch, "vote": self.vote, "floor": asdict(self.floor)}
        write_atomically(path, json.dumps(document).encode() + b"\n")

    @classmethod
    def load(cls, path: Path) -> Promise:
        """A voter without the file promised nothing yet. Raises Failed when it can't be read: guessing is unsafe."""
        try:
            document = json.loads(path.read_bytes())
            if document["format"] != 1:
                raise ValueError(f"format {document['format']}")
            floor = Position(epoch=document["floor"]["epoch"], revision=document["floor"]["revision"])
            epoch = document["promised_epoch"]
            if any(type(number) is not int or number < 0 for number in (epoch, floor.epoch, floor.revision)):
                raise ValueError("not a number")
            vote = document.get("vote", "")  # files of the first release have none
            if not isinstance(vote, str):
                raise ValueError("the vote is not a member id")
            return cls(epoch, floor, vote)
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Failed(
                f"{path} can't be read ({error}); this node can't vote without knowing what it promised",
                "remove this node from the mesh and join it again",
            ) from error


def why_not_in_force(info: dict[str, str]) -> str:
    """Why the append-only file does not hold everything in the data; "" when it does. Pure."""
    if info.get("loading") != "0":
        return "redis is loading its data"
    if info.get("aof_rewrite_in_progress") != "0" or info.get("aof_rewrite_scheduled") != "0":
        return "redis is rewriting its append-only file"
    wrong = [f"{name} is {info.get(name, 'missing')}" for name, value in IN_FORCE.items() if info.get(name) != value]
    return f"redis does not persist: {', '.join(wrong)}" if wrong else ""


class Confirmer:
    """One voter's word. The only writer of its promise file."""

    def __init__(self, database: Database, promise_file: Path) -> None:
        """Reads the promise file; raises Failed when that is damaged."""
        self._database = database
        self._path = promise_file
        self._promise = Promise.load(promise_file)
        self._wanted = self._promise.floor
        self._lock = asyncio.Lock()

    @property
    def promised_epoch(self) -> int:
        return self._promise.epoch

    @property
    def floor(self) -> Position:
        """The highest position ever confirmed, as it is on disk."""
        return self._promise.floor

    async def promise(self, epoch: int) -> None:
        """From its return on, nothing of an older epoch is confirmed. Raises Conflict when a newer one is promised."""
        async with self._lock:
            if epoch < self._promise.epoch:
                raise Conflict(f"epoch {self._promise.epoch} is promised already, which is newer than {epoch}")
            if epoch > self._promise.epoch:
                await self._store(replace(self._promise, epoch=epoch, vote=""))

    async def confirm(self, position: Position, wait: float) -> Confirmation:
        """Vouches for a position, waiting at most `wait` seconds for it to arrive and for the AOF to be in force.

        When less than that is there, it vouches for what is. Never raises for a reason that lies in Redis or the disk:
        the state names it.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        while True:
            confirmed = NOTHING
            try:
                state, confirmed = await self._try(position, max(deadline - loop.time(), 0.0))
            except (StoreUnavailable, StoreFailed) as error:
                state = error.message
            except OSError as error:
                log.error("the promise file %s can't be written: %s", self._path, error)
                state = f"the promise file can't be written: {error.strerror}"
            final = state == OK or position.epoch != self._promise.epoch
            if final or deadline - loop.time() <= RECHECK:
                return Confirmation(self._promise.epoch, confirmed, state)
            await asyncio.sleep(RECHECK)

    async def _try(self, position: Position, wait: float) -> tuple[str, Position]:
        if state := self._other_epoch(position):
            return state, NOTHING
        await self._database.wait_position(position, wait)
        stored, info = await self._database.condition()  # both of one instant: what is seen is what is durable
        if stored.epoch != position.epoch:
            return f"the data is at {stored}, which is not of epoch {position.epoch}", NOTHING
        if state := why_not_in_force(parse_info(info)):
            return state, NOTHING
        self._wanted = max(self._wanted, stored)
        async with self._lock:  # all who wait here are served by one fsync of the highest position
            if state := self._other_epoch(position):
                return state, NOTHING
            if self._promise.floor < stored:
                await self._store(replace(self._promise, floor=self._wanted))
        return (OK if stored >= position else f"the data is at {stored}, not yet at {position}"), stored

    def _other_epoch(self, position: Position) -> str:
        if position.epoch == self._promise.epoch:
            return ""
        return f"epoch {self._promise.epoch} is promised, {position} is of another"

    async def _store(self, promise: Promise) -> None:
        """What is in memory is what is on disk: also when the caller is cancelled while the file is written."""
        writing = asyncio.create_task(asyncio.to_thread(promise.save, self._path))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait([writing])
            if writing.exception() is None:
                self._promise = promise
            raise
        self._promise = promise
