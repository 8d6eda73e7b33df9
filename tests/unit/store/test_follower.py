from __future__ import annotations

import asyncio
import os
import signal
from ipaddress import IPv4Address

import pytest
from meshd.model.position import Position
from meshd.store.database import Database
from meshd.store.follower import Entries, Follower, Snapshot
from meshd.store.replication import Replication

LOCALHOST = IPv4Address("127.0.0.1")


async def following(follower: Follower):
    async with asyncio.timeout(10):
        return await anext(follower)


async def nothing(follower: Follower) -> None:
    """No update comes, in twice the time that the follower takes to look again."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.6):
            await anext(follower)


def positions(update) -> list[int]:
    assert isinstance(update, Entries)
    return [position.revision for position, _ in update.entries]


async def test_snapshot_then_entries(database, fill):
    await fill(database, 3)
    follower = Follower(database)
    follower.advance(Position(1, 3))
    first = await following(follower)
    assert isinstance(first, Snapshot)
    assert first.position == Position(1, 3)
    assert first.view == await database.load()
    await fill(database, 2)
    follower.advance(Position(1, 5))
    assert positions(await following(follower)) == [4, 5]
    assert follower.position == Position(1, 5)


async def test_resumes_from_the_view_on_disk(database, fill):
    await fill(database, 4)
    follower = Follower(database, start=Position(1, 2))
    follower.advance(Position(1, 4))
    assert positions(await following(follower)) == [3, 4]


async def test_nothing_uncommitted_is_handed_out(database, fill):
    await fill(database, 5)
    follower = Follower(database, start=Position(1, 2))
    await nothing(follower)
    follower.advance(Position(1, 3))
    assert positions(await following(follower)) == [3]
    await nothing(follower)
    follower.advance(Position(1, 2))
    await nothing(follower)


async def test_snapshot_waits_until_all_of_it_is_committed(database, fill):
    await fill(database, 5)
    follower = Follower(database)
    follower.advance(Position(1, 3))
    await nothing(follower)
    follower.advance(Position(1, 5))
    assert (await following(follower)).position == Position(1, 5)


async def test_commit_that_has_not_arrived_is_waited_for(database, fill):
    await fill(database, 2)
    follower = Follower(database, start=Position(1, 2))
    follower.advance(Position(1, 4))
    waiting = asyncio.create_task(following(follower))
    await fill(database, 1)
    assert positions(await waiting) == [3]
    waiting = asyncio.create_task(following(follower))
    await fill(database, 1)
    assert positions(await waiting) == [4]


async def test_tail_of_an_old_epoch_is_not_handed_out(database, fill):
    """Epoch 2 committed at revision 4; what is here of epoch 1 may have been dropped by it."""
    await fill(database, 4)
    follower = Follower(database, start=Position(1, 2))
    follower.advance(Position(2, 4))
    await nothing(follower)


async def test_trimmed_position_takes_a_snapshot(make_server, fill):
    server = await make_server()
    database = Database(server.connection, keep=5, slack=0)
    follower = Follower(database, start=Position(1, 2))
    last = await fill(database, 20)
    follower.advance(last)
    update = await following(follower)
    assert isinstance(update, Snapshot)
    assert update.position == last
    await database.close()


async def test_dropped_tail_takes_a_snapshot(database, fill):
    """The consumer's view is of a tail that never was committed, as a forced promotion leaves behind."""
    await fill(database, 2)
    last = await fill(database, 3, epoch=1 << 20)
    follower = Follower(database, start=Position(1, 4))
    follower.advance(last)
    update = await following(follower)
    assert isinstance(update, Snapshot)
    assert update.position == last


async def test_replica_follows_the_commit_through_a_full_copy(make_server, free_port, fill):
    a, b = await make_server("a"), await make_server("b")
    port = free_port()
    await a.open_tcp([LOCALHOST], port)
    here, there = Database(a.connection), Database(b.connection)
    last = await fill(here, 5)
    await fill(there, 2)
    follower = Follower(there, start=Position(1, 3))
    follower.advance(last)
    await nothing(follower)  # this node's own data is behind the view that it keeps
    await Replication(b.connection).follow(LOCALHOST, port, await Replication(a.connection).offer(1))
    assert positions(await following(follower)) == [4, 5]
    for _ in range(5):
        follower.advance(await fill(here, 1))
        await following(follower)
    assert follower.position == Position(1, 10)
    await there.close()


async def test_restart_of_redis_is_survived(make_server, fill):
    server = await make_server()
    database = Database(server.connection)
    follower = Follower(database, start=await fill(database, 1))
    last = await fill(database, 1)
    os.kill(server.pid, signal.SIGKILL)
    follower.advance(last)
    assert positions(await following(follower)) == [2]
    await database.close()


async def test_cancelled_wait_loses_nothing(database, fill):
    await fill(database, 1)
    follower = Follower(database, start=Position(1, 1))
    for revision in range(2, 8):
        await fill(database, 1)
        follower.advance(Position(1, revision))
        task = asyncio.create_task(anext(follower))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    assert positions(await following(follower))[-1] == 7
