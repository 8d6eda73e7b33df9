from __future__ import annotations

import json
import os
import signal
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshd.model.errors import Failed, MeshError
from meshd.model.position import Position
from meshd.model.voters import Voters
from meshd.store.database import Database
from meshd.store.durability import IN_FORCE, OK, Promise, Sight, look, why_not_in_force
from meshd.store.rewrite import SPARE, Need, rewrite, rewrite_need
from meshproto import state_pb2


async def slow_rewrite(connection) -> None:
    """Starts a rewrite of the append-only file that takes some seconds (a second of delay per key)."""
    for n in range(30):
        await connection.call("SET", f"filler-{n}", "x")
    await connection.call("CONFIG", "SET", "rdb-key-save-delay", 1_000_000)
    await connection.call("BGREWRITEAOF")


async def end_rewrite(connection) -> None:
    await connection.call("CONFIG", "SET", "appendonly", "no")
    await connection.call("CONFIG", "SET", "rdb-key-save-delay", 0, "appendonly", "yes")


async def test_sight_is_what_is_there_and_who_votes_in_it(database, fill, entry):
    last = await fill(database, 3)
    assert await look(database) == Sight(last, Voters(), True, OK)
    record = state_pb2.VoterRecord(current=["m-1"], next=["m-1", "m-2"])
    following = Position(1, last.revision + 1)
    await database.append(entry("voters", ("voters", "", record.SerializeToString())), last, following)
    assert await look(database) == Sight(following, Voters(("m-1",), ("m-1", "m-2")), True, OK)


async def test_nothing_is_in_force_while_the_file_is_rewritten(database, fill, until):
    connection = database._connection
    last = await fill(database, 1)
    await slow_rewrite(connection)
    assert await look(database) == Sight(last, Voters(), False, "redis is rewriting its append-only file")
    await end_rewrite(connection)

    async def in_force() -> bool:
        return (await look(database)).in_force

    await until(in_force)


async def test_nothing_is_in_force_without_the_file(database, fill):
    last = await fill(database, 1)
    await database._connection.call("CONFIG", "SET", "appendonly", "no")
    assert await look(database) == Sight(last, Voters(), False, "redis does not persist: aof_enabled is 0")


@pytest.mark.parametrize("name", IN_FORCE)
def test_each_condition_counts(name):
    assert why_not_in_force(dict(IN_FORCE)) == ""
    assert why_not_in_force({**IN_FORCE, name: "other"})
    assert why_not_in_force({key: value for key, value in IN_FORCE.items() if key != name})


async def test_dead_redis_can_not_be_looked_at(make_server):
    server = await make_server()
    database = Database(server.connection)
    await server.stop()
    with pytest.raises(MeshError):
        await look(database)
    await database.close()


def test_word_is_on_disk_when_save_returns(folder, monkeypatch):
    """The order of system calls: data, fsync, rename, fsync of the folder."""
    steps: list[str] = []
    for name in ("write", "fsync", "rename"):
        real = getattr(os, name)

        def wrapped(*args, name=name, real=real):
            steps.append(name)
            return real(*args)

        monkeypatch.setattr(os, name, wrapped)
    promise = Promise(7, Position(6, 12), "m-2", 4.5)
    promise.save(folder / "promise.json")
    assert [step for step in steps if step != "write"] == ["fsync", "rename", "fsync"]
    assert Promise.load(folder / "promise.json") == promise


def test_file_of_the_first_release_has_no_vote(folder):
    (folder / "promise.json").write_text('{"format": 1, "promised_epoch": 4, "floor": {"epoch": 3, "revision": 9}}')
    assert Promise.load(folder / "promise.json") == Promise(4, Position(3, 9))


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


async def test_entry_in_force_survives_sigkill(make_server, fill, until):
    server = await make_server()
    database = Database(server.connection)
    last = await fill(database, 20)
    assert (await look(database)).in_force
    run_id = server.run_id
    os.kill(server.pid, signal.SIGKILL)
    await until(lambda: server.run_id not in ("", run_id))
    assert await database.position() == last
    assert len(await database.entries(Position())) == 20
    await database.close()


async def test_rewrite_is_wanted_when_the_file_has_grown_and_shrinks_it(database, monkeypatch):
    connection = database._connection
    assert await rewrite_need(connection) == Need(False, True)
    for n in range(20):
        await connection.call("SET", "big", bytes([n]) * (1 << 20))
    assert await rewrite_need(connection) == Need(True, True)
    await rewrite(connection, 30)
    assert await rewrite_need(connection) == Need(False, True)
    assert int((await connection.info("persistence"))["aof_current_size"]) < 2 << 20


async def test_rewrite_takes_room_for_the_data_and_not_for_the_old_file(database):
    """One that has grown very much on a small disk could never shrink again."""
    connection = database._connection
    for n in range(20):
        await connection.call("SET", "big", bytes([n]) * (1 << 20))
    size = int((await connection.info("persistence"))["aof_current_size"])
    need = await rewrite_need(connection, size)
    assert (need.wanted, need.possible, need.free) == (True, True, None)
    few = await rewrite_need(connection, SPARE)
    assert (few.wanted, few.possible, few.size, few.free) == (False, False, size, SPARE)
    assert SPARE + (1 << 20) <= few.takes < SPARE + (4 << 20) < size + SPARE
    assert await rewrite_need(connection, few.takes) == Need(True, True)
    await rewrite(connection, 30)
    assert int((await connection.info("persistence"))["aof_current_size"]) <= few.takes - SPARE, (
        "it takes what was said"
    )
    assert await rewrite_need(connection, SPARE) == Need(False, False), "nothing waits for room"


@pytest.mark.parametrize("random", [False, True])
async def test_data_takes_no_more_room_in_a_file_than_in_memory(database, random):
    """Short and long values, few and many, that can be compressed and not."""
    connection = database._connection
    for n in range(300):
        for size in (3, 60, 500, 5000):
            value = os.urandom(size) if random else b"a" * size
            await connection.call("HSET", f"kind-{size}", f"key-{n}", value)
            await connection.call("XADD", "changes", f"{4 * n + 1}-{size}", "entry", value)
    takes = (await rewrite_need(connection, 0)).takes or int((await connection.info("memory"))["used_memory_dataset"])
    await rewrite(connection, 30)
    assert int((await connection.info("persistence"))["aof_base_size"]) < takes


async def test_rewrite_that_does_not_end_is_a_failure(database):
    connection = database._connection
    await slow_rewrite(connection)
    assert await rewrite_need(connection) == Need(wanted=True, possible=False, begun=True), "the others have to know"
    waits = await rewrite_need(connection, 1)
    assert (waits.wanted, waits.free) == (True, None), "what it writes takes room: it does not wait for more"
    with pytest.raises(Failed, match="rewrit"):
        await rewrite(connection, 0.2)
    await end_rewrite(connection)
