"""The mesh's state in one Redis: one writer appends changes, everybody reads them. Called by the cluster.

Values are the protocol's own messages; how they lie in Redis is in `scripts.py`. Nothing is ever sent twice.
"""

from __future__ import annotations

import asyncio
from typing import Any

from google.protobuf.message import DecodeError, Message
from meshproto import node_pb2, state_pb2

from meshd.model.errors import InvalidInput
from meshd.model.position import Position
from meshd.model.requests import request_key
from meshd.store import scripts
from meshd.store.connection import COMMAND_TIMEOUT, Connection, Word
from meshd.store.errors import AppendConflict, Duplicate, Gap, StoreFailed, StoreUnavailable
from meshd.store.formats import NewerFormat

ENTRIES_KEPT = 10_000
"""Entries in the stream, and request ids that are known as done."""

TRIM_SLACK = 100
"""Entries above ENTRIES_KEPT before the oldest are dropped, so that not every change has to."""

WAIT_SLICE = 0.25
"""Seconds of one blocking read. Loading a snapshot from the primary wakes nobody, so waits are never longer."""

Entry = tuple[Position, state_pb2.ChangeEntry]


def parse_id(text: bytes) -> Position:
    """A stream id, `<revision>-<epoch>`, as a position. Raises StoreFailed."""
    revision, dash, epoch = text.partition(b"-")
    if not (dash and revision.isdigit() and epoch.isdigit() and len(text) <= 41):  # two numbers of 64 bits
        raise StoreFailed(f"{text[:60]!r} is not the id of a change")
    return Position(epoch=int(epoch), revision=int(revision))


def parse_entry(raw: Any) -> Entry:
    """One entry as XRANGE gives it. Raises StoreFailed."""
    try:
        identity, fields = raw
        position = parse_id(identity)
        values = dict(zip(fields[::2], fields[1::2], strict=True))
        return position, state_pb2.ChangeEntry.FromString(values[b"entry"])
    except (ValueError, TypeError, KeyError, AttributeError, DecodeError) as error:
        raise StoreFailed("an entry of the stream of changes can't be read", "restore a backup") from error


class Database:
    """The data of one mesh in the Redis behind a connection."""

    def __init__(self, connection: Connection, *, keep: int = ENTRIES_KEPT, slack: int = TRIM_SLACK) -> None:
        self._connection = connection
        self._keep = keep
        self._slack = slack
        self._growth: tuple[Position, asyncio.Task[Any]] | None = None

    async def append(self, entry: state_pb2.ChangeEntry, expected: Position, position: Position) -> None:
        """Writes a change as a whole. Primary only.

        `expected` is the last position that the change was decided on, `position` the new one. Raises AppendConflict,
        Duplicate (the request id comes first: a repeated request is a duplicate whatever came after it), InvalidInput,
        and StoreFailed, after which the term is over. After a cancellation the change may have been written.
        """
        if position.revision <= expected.revision or position.epoch < max(expected.epoch, 1):
            raise InvalidInput(f"change {position} can't follow {expected}")
        keys: list[Word] = [scripts.CHANGES, scripts.REQUESTS]
        arguments: list[Word] = [
            str(expected), str(position), request_key(entry.asker, entry.request_id) if entry.request_id else "",
            entry.SerializeToString(), self._keep, self._slack,
        ]  # fmt: skip
        for write in entry.writes:
            if write.kind not in scripts.KINDS:
                raise InvalidInput(f"there is no kind of object called {write.kind!r}")
            keys.append(write.kind)
            arguments += [write.key, int(write.HasField("value")), write.value]
        try:
            outcome, detail = await self._connection.script(scripts.APPEND, keys, arguments)
        except StoreUnavailable as error:
            raise StoreFailed(
                f"change {position} may or may not be written: {error}", "check what is there", "outcome-unknown"
            ) from error
        if outcome == b"duplicate":
            raise Duplicate(entry.request_id, parse_id(detail))
        if outcome == b"conflict":
            raise AppendConflict(expected, parse_id(detail))
        if outcome != b"done":
            raise StoreFailed(
                f"{self._connection.name}: {detail.decode(errors='replace')} holds foreign data",
                "use a Redis of its own",
            )

    async def check_format(self) -> None:
        """Raises NewerFormat when a later release wrote the data."""
        number = await self._connection.call("GET", scripts.FORMAT_KEY)
        if number is None:
            return
        if not isinstance(number, bytes) or not number.isdigit() or len(number) > 9:
            raise StoreFailed(f"{number!r} is no number of a format", "restore a backup")
        if int(number) > scripts.FORMAT:
            raise NewerFormat(f"the data in {self._connection.name}", int(number), scripts.FORMAT)

    async def position(self) -> Position:
        """The last entry of the data; (0, 0) without any. Also on a replica, and while its link is down."""
        return parse_id(await self._connection.script(scripts.POSITION, [scripts.CHANGES], []))

    async def load(self) -> state_pb2.View:
        """Everything, as of one position. Objects are in the order of their keys."""
        position, *tables = await self._connection.script(scripts.LOAD, [scripts.CHANGES, *scripts.KINDS], [])
        objects = {
            kind: sorted(zip(flat[::2], flat[1::2], strict=True))
            for kind, flat in zip(scripts.KINDS, tables, strict=True)
        }
        view = state_pb2.View(position=parse_id(position).message)
        repeated = {
            "member": view.members, "route": view.routes, "invite": view.invites, "request": view.requests
        }  # fmt: skip
        try:
            for kind, field in repeated.items():
                for key, value in objects[kind]:
                    _parse(field.add(), kind, key, value)  # type: ignore[attr-defined]  # joined type of the four
            for key, value in objects["settings"]:
                _parse(view.settings, "settings", key, value)
            for key, value in objects["voters"]:
                _parse(view.voters, "voters", key, value)
            for _, value in objects["primary"]:
                view.primary_id = value.decode()
        except UnicodeDecodeError as error:
            raise StoreFailed("the stored primary is not a member id", "restore a backup") from error
        return view

    async def entries(self, after: Position, up_to: Position | None = None, limit: int = 1000) -> list[Entry]:
        """The entries that follow `after`, oldest first, at most `limit`, none past `up_to`.

        Raises Gap when `after` is not in the stream: trimmed, or part of a tail that was dropped.
        """
        arguments: list[Word] = [str(after), str(up_to) if up_to else "+", limit]
        reply = await self._connection.script(scripts.ENTRIES, [scripts.CHANGES], arguments)
        if reply is None:
            raise Gap(after)
        return [parse_entry(raw) for raw in reply]

    async def find_request(
        self, asker: str, request_id: str
    ) -> tuple[Position, state_pb2.ChangeEntry, node_pb2.ChangeResult] | None:
        """Where a request was carried out, its entry and its result; None when it was not, or too long ago. Also one
        that an earlier release kept, whose asker is not known: `check_repeat` is for the caller."""
        keys: list[Word] = [request_key(asker, request_id), request_id]
        reply = await self._connection.script(scripts.REQUEST, [scripts.CHANGES, scripts.REQUESTS], keys)
        if not reply:
            return None
        position, entry = parse_entry(reply[0])
        result = node_pb2.ChangeResult()
        _parse(result, "result", request_id.encode(), entry.result)
        return position, entry, result

    async def contains(self, *positions: Position) -> tuple[Position, tuple[bool, ...]]:
        """The last position, and for each given one whether that very entry is in the stream, at one instant."""
        ids: list[Word] = [str(position) for position in positions]
        last, *found = await self._connection.script(scripts.COMMITTED, [scripts.CHANGES], ids)
        return parse_id(last), tuple(bool(count) for count in found)

    async def condition(self) -> tuple[Position, bytes, state_pb2.VoterRecord]:
        """The last position, INFO persistence, and the voter record, at one instant."""
        last, info, voters = await self._connection.script(scripts.CONDITION, [scripts.CHANGES, "voters"], [])
        record = state_pb2.VoterRecord()
        _parse(record, "voters", b"", voters or b"")
        return parse_id(last), info, record

    async def wait_position(self, at_least: Position, timeout: float) -> Position:
        """Waits at most `timeout` seconds for the data to reach a position; returns the one that it has then."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while True:
            position = await self.position()
            remaining = deadline - loop.time()
            if position >= at_least or remaining <= 0:
                return position
            await self._grown(position, remaining)

    async def _grown(self, seen: Position, limit: float) -> None:
        """Until there may be an entry after `seen`. All who wait share one blocking read on a connection of its own."""
        if self._growth is None or self._growth[1].done():
            milliseconds = int(WAIT_SLICE * 1000)
            read = self._connection.call(
                "XREAD", "COUNT", 1, "BLOCK", milliseconds, "STREAMS", scripts.CHANGES, str(seen),
                timeout=WAIT_SLICE + COMMAND_TIMEOUT,
            )  # fmt: skip
            task = asyncio.create_task(read, name="wait for changes")
            task.add_done_callback(_seen)
            self._growth = seen, task
        began, task = self._growth
        if began > seen:  # somebody saw more already, or a tail was dropped
            await asyncio.sleep(0.002)
            return
        await asyncio.wait([task], timeout=limit)
        if task.done() and not task.cancelled():
            try:
                task.result()
            except StoreFailed as error:
                if "UNBLOCKED" not in error.message:  # the server became a replica, or stopped being one
                    raise

    async def close(self) -> None:
        """Ends the shared wait. The connection belongs to the server."""
        if self._growth is not None:
            self._growth[1].cancel()
            await asyncio.wait([self._growth[1]])
            self._growth = None


def _seen(task: asyncio.Task[Any]) -> None:
    """Takes note of a failed read, also when everybody who waited has gone."""
    if not task.cancelled():
        task.exception()


def _parse(message: Message, kind: str, key: bytes, value: bytes) -> None:
    try:
        message.ParseFromString(value)
    except DecodeError as error:
        raise StoreFailed(f"the stored {kind} {key!r} can't be read", "restore a backup") from error
