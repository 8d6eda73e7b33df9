from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
import time
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshd.model.errors import Conflict, Failed
from meshd.model.position import Position
from meshd.store import durability
from meshd.store.database import Database
from meshd.store.durability import IN_FORCE, OK, Confirmer, Promise, why_not_in_force
from meshd.store.rewrite import needs_rewrite, rewrite


@pytest.fixture
async def confirmer(database, folder) -> Confirmer:
    made = Confirmer(database, folder / "promise.json")
    await made.promise(1)
    return made


async def slow_rewrite(connection) -> None:
    """Starts a rewrite of the append-only file that takes some seconds (a second of delay per key)."""
    for n in range(30):
        await connection.call("SET", f"filler-{n}", "x")
    await connection.call("CONFIG", "SET", "rdb-key-save-delay", 1_000_000)
    await connection.call("BGREWRITEAOF")


async def end_rewrite(connection) -> None:
    await connection.call("CONFIG", "SET", "appendonly", "no")
    await connection.call("CONFIG", "SET", "rdb-key-save-delay", 0, "appendonly", "yes")


async def test_confirms_what_is_there(database, confirmer, fill, folder):
    last = await fill(database, 3)
    answer = await confirmer.confirm(Position(1, 2), 1)
    assert (answer.promised_epoch, answer.confirmed, answer.state) == (1, last, OK)
    assert Promise.load(folder / "promise.json") == Promise(1, last)


async def test_waits_for_the_entry(database, confirmer, fill):
    waiting = asyncio.create_task(confirmer.confirm(Position(1, 2), 10))
    await fill(database, 2)
    assert (await waiting).state == OK


async def test_missing_position_is_not_confirmed_but_what_is_there_is(database, confirmer, fill):
    last = await fill(database, 1)
    answer = await confirmer.confirm(Position(1, 2), 0.05)
    assert answer.confirmed == last == confirmer.floor
    assert answer.state == "the data is at 1-1, not yet at 2-1"


async def test_other_epochs_are_not_confirmed(database, confirmer, fill):
    await fill(database, 2)
    await confirmer.promise(2)
    old = await confirmer.confirm(Position(1, 2), 1)
    assert (old.promised_epoch, old.confirmed, old.state) == (2, Position(), "epoch 2 is promised, 2-1 is of another")
    new = await confirmer.confirm(Position(2, 2), 0.05)
    assert (new.confirmed, new.state) == (Position(), "the data is at 2-1, which is not of epoch 2")
    await fill(database, 1, epoch=2)
    assert (await confirmer.confirm(Position(2, 3), 1)).state == OK


async def test_promise_made_while_waiting_stops_the_confirmation(database, confirmer, fill):
    waiting = asyncio.create_task(confirmer.confirm(Position(1, 1), 5))
    await asyncio.sleep(0)
    await confirmer.promise(2)
    await fill(database, 1)
    answer = await waiting
    assert answer.state != OK
    assert (answer.confirmed, confirmer.floor) == (Position(), Position())


async def test_nothing_is_confirmed_while_the_file_is_rewritten(database, confirmer, fill):
    connection = database._connection
    last = await fill(database, 1)
    await slow_rewrite(connection)
    answer = await confirmer.confirm(last, 0.1)
    assert (answer.confirmed, answer.state) == (Position(), "redis is rewriting its append-only file")
    waiting = asyncio.create_task(confirmer.confirm(last, 20))
    await end_rewrite(connection)
    assert (await waiting).state == OK


async def test_nothing_is_confirmed_without_the_file(database, confirmer, fill):
    last = await fill(database, 1)
    await database._connection.call("CONFIG", "SET", "appendonly", "no")
    answer = await confirmer.confirm(last, 0)
    assert (answer.confirmed, answer.state) == (Position(), "redis does not persist: aof_enabled is 0")


@pytest.mark.parametrize("name", IN_FORCE)
def test_each_condition_counts(name):
    assert why_not_in_force(dict(IN_FORCE)) == ""
    assert why_not_in_force({**IN_FORCE, name: "other"})
    assert why_not_in_force({key: value for key, value in IN_FORCE.items() if key != name})


async def test_dead_and_hanging_redis_is_a_reason(make_server, folder, fill):
    server = await make_server()
    database = Database(server.connection)
    confirmer = Confirmer(database, folder / "promise.json")
    await confirmer.promise(1)
    last = await fill(database, 1)
    await server.stop()
    answer = await confirmer.confirm(last, 0.1)
    assert answer.confirmed == Position()
    assert "can't be reached" in answer.state
    await database.close()


async def test_word_survives_a_restart_of_the_helper(database, confirmer, fill, folder):
    last = await fill(database, 2)
    await confirmer.confirm(last, 1)
    await confirmer.promise(7)
    again = Confirmer(database, folder / "promise.json")
    assert (again.promised_epoch, again.floor) == (7, last)
    with pytest.raises(Conflict, match="epoch 7 is promised"):
        await again.promise(6)
    await again.promise(7)


async def test_promise_and_floor_are_on_disk_before_they_count(database, confirmer, fill, monkeypatch):
    """The order of system calls: data, fsync, rename, fsync of the folder; and only then the new value is seen."""
    steps: list[str] = []
    for name in ("write", "fsync", "rename"):
        real = getattr(os, name)

        def wrapped(*args, name=name, real=real):
            steps.append(name)
            assert (confirmer.promised_epoch, confirmer.floor) == (1, Position())
            return real(*args)

        monkeypatch.setattr(os, name, wrapped)
    last = await fill(database, 1)
    steps.clear()
    await confirmer.confirm(last, 1)
    assert [step for step in steps if step != "write"] == ["fsync", "rename", "fsync"]
    assert confirmer.floor == last


async def test_unwritable_file_confirms_nothing(database, confirmer, fill, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durability, "write_atomically", full)
    last = await fill(database, 1)
    answer = await confirmer.confirm(last, 0.01)
    assert answer.state == "the promise file can't be written: No space left on device"
    assert (answer.confirmed, confirmer.floor) == (Position(), Position())
    with pytest.raises(OSError, match="No space"):
        await confirmer.promise(2)
    assert confirmer.promised_epoch == 1


async def test_concurrent_confirmations_share_an_fsync(database, confirmer, fill, monkeypatch):
    stores = 0
    real = durability.write_atomically

    def counted(*args):
        nonlocal stores
        stores += 1
        return real(*args)

    monkeypatch.setattr(durability, "write_atomically", counted)
    waiting = [asyncio.create_task(confirmer.confirm(Position(1, n), 10)) for n in range(1, 31)]
    await fill(database, 30)
    assert {(await task).state for task in waiting} == {OK}
    assert confirmer.floor == Position(1, 30)
    assert stores < 30


async def test_cancelled_store_leaves_memory_and_disk_the_same(database, confirmer, fill, folder):
    task = asyncio.create_task(confirmer.promise(9))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert Promise.load(folder / "promise.json").epoch == confirmer.promised_epoch


numbers = st.integers(-1, 2) | st.none() | st.booleans()
documents = st.fixed_dictionaries(
    {},
    optional={
        "format": st.just(1) | numbers,
        "promised_epoch": numbers,
        "vote": st.text(max_size=3) | numbers,
        "floor": numbers | st.fixed_dictionaries({}, optional={"epoch": numbers, "revision": numbers}),
    },
)


@given(st.binary(max_size=80) | documents.map(lambda document: json.dumps(document).encode()))
def test_damaged_promise_is_refused_and_never_guessed(tmp_path_factory, raw):
    path = tmp_path_factory.mktemp("promise") / "promise.json"
    path.write_bytes(raw)
    try:
        promise = Promise.load(path)
    except Failed:
        return
    document = json.loads(raw)
    expected = {"format": 1, "promised_epoch": promise.epoch, "vote": promise.vote, "floor": asdict(promise.floor)}
    assert {"vote": "", **document} == expected


async def test_entry_confirmed_survives_sigkill(make_server, folder, fill, until):
    server = await make_server()
    database = Database(server.connection)
    confirmer = Confirmer(database, folder / "promise.json")
    await confirmer.promise(1)
    last = await fill(database, 20)
    assert (await confirmer.confirm(last, 1)).state == OK
    run_id = server.run_id
    os.kill(server.pid, signal.SIGKILL)
    await until(lambda: server.run_id not in ("", run_id))
    assert await database.position() == last
    assert len(await database.entries(Position())) == 20
    assert (await confirmer.confirm(last, 5)).state == OK
    await database.close()


async def test_confirmation_takes_milliseconds(database, confirmer, fill):
    """The target is 2 ms at the median; the limit leaves room for a busy machine."""
    times = []
    for _ in range(40):
        last = await fill(database, 1)
        begun = time.perf_counter()
        assert (await confirmer.confirm(last, 1)).state == OK
        times.append(time.perf_counter() - begun)
    print(f"confirmation: median {statistics.median(times) * 1000:.2f} ms, worst {max(times) * 1000:.2f} ms")
    assert statistics.median(times) < 0.05


async def test_rewrite_is_wanted_when_the_file_has_grown_and_shrinks_it(database, monkeypatch):
    connection = database._connection
    assert not await needs_rewrite(connection)
    for n in range(20):
        await connection.call("SET", "big", bytes([n]) * (1 << 20))
    assert await needs_rewrite(connection)
    await rewrite(connection, 30)
    assert not await needs_rewrite(connection)
    assert int((await connection.info("persistence"))["aof_current_size"]) < 2 << 20


async def test_rewrite_that_does_not_end_is_a_failure(database):
    connection = database._connection
    await slow_rewrite(connection)
    assert not await needs_rewrite(connection)
    with pytest.raises(Failed, match="rewrit"):
        await rewrite(connection, 0.2)
    await end_rewrite(connection)
