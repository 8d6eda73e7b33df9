from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshd.model.errors import InvalidInput
from meshd.model.position import Position
from meshd.store.database import Database, parse_entry, parse_id
from meshd.store.errors import AppendConflict, Duplicate, Gap, StoreFailed
from meshproto import state_pb2

FIRST = Position(1, 1)


async def test_empty(database):
    assert await database.position() == Position()
    assert await database.load() == state_pb2.View(position=state_pb2.Position())
    assert await database.entries(Position()) == []
    assert await database.find_request("", "r") is None


async def test_every_kind_is_written_and_loaded(database, entry):
    settings = state_pb2.MeshSettings(id="mesh", name="home", encrypted_ca_key=b"\0\xff")
    members = [state_pb2.Member(id=f"m-{n}", enabled=True) for n in range(3)]
    route = state_pb2.Route(cidr="192.0.2.0/24", node_id="m-0")
    invite = state_pb2.Invite(id="4f1c0000")
    request = state_pb2.JoinRequest(id="r", name="laptop-ada")
    voters = state_pb2.VoterRecord(current=["m-0"])
    change = entry(
        "first",
        ("settings", "", settings.SerializeToString()),
        *(("member", member.id, member.SerializeToString()) for member in reversed(members)),
        ("route", "192.0.2.0/24 m-0", route.SerializeToString()),
        ("invite", invite.id, invite.SerializeToString()),
        ("request", request.id, request.SerializeToString()),
        ("voters", "", voters.SerializeToString()),
        ("primary", "", b"m-0"),
    )
    await database.append(change, Position(), FIRST)
    assert await database.load() == state_pb2.View(
        position=FIRST.message,
        settings=settings,
        members=members,
        routes=[route],
        invites=[invite],
        requests=[request],
        voters=voters,
        primary_id="m-0",
    )
    assert await database.entries(Position()) == [(FIRST, change)]
    position, _, result = await database.find_request("", "first")
    assert (position, result.member_id) == (FIRST, "m-1")


async def test_delete_and_empty_value_are_different(database, entry):
    await database.append(entry("a", ("member", "m-0", b""), ("member", "m-1", b"")), Position(), FIRST)
    await database.append(entry("b", ("member", "m-0", None)), FIRST, Position(1, 2))
    assert len((await database.load()).members) == 1


async def test_of_two_appends_with_the_same_expectation_one_wins(database, entry):
    async def attempt(n: int) -> str:
        try:
            await database.append(entry(f"r{n}", ("member", "m", f"\n\x01{n}".encode())), Position(), FIRST)
            return "won"
        except AppendConflict as error:
            return f"lost to {error.found}"

    outcomes = await asyncio.gather(*(attempt(n) for n in range(8)))
    assert sorted(outcomes) == ["lost to 1-1"] * 7 + ["won"]
    ((_, winner),) = await database.entries(Position())
    assert (await database.load()).members[0].id == winner.request_id[1:]


async def test_conflict_writes_nothing(database, entry):
    await database.append(entry("a"), Position(), FIRST)
    with pytest.raises(AppendConflict):
        await database.append(entry("b", ("member", "m", b"")), Position(1, 7), Position(1, 8))
    assert await database.position() == FIRST
    assert not (await database.load()).members
    assert await database.find_request("", "b") is None


async def test_repeated_request_is_a_duplicate_wherever_it_is_tried(database, entry):
    await database.append(entry("a"), Position(), FIRST)
    await database.append(entry("b"), FIRST, Position(1, 2))
    for expected in (FIRST, Position(1, 2)):
        with pytest.raises(Duplicate) as caught:
            await database.append(entry("a", ("member", "m", b"")), expected, Position(1, 3))
        assert caught.value.position == FIRST
    assert not (await database.load()).members


async def test_epoch_grows_with_the_revision(database, entry):
    await database.append(entry("a"), Position(), FIRST)
    await database.append(entry("b", ("primary", "", b"m-1")), FIRST, Position(1 << 20, 2))
    assert await database.position() == Position(1 << 20, 2)
    assert (await database.load()).primary_id == "m-1"


@pytest.mark.parametrize("position", [Position(1, 1), Position(0, 2), Position(1, 0)])
async def test_position_that_does_not_follow_is_refused(database, entry, position):
    await database.append(entry("a"), Position(), FIRST)
    with pytest.raises(InvalidInput, match="can't follow"):
        await database.append(entry("b"), FIRST, position)


async def test_unknown_kind_is_refused(database, entry):
    with pytest.raises(InvalidInput, match="'changes'"):
        await database.append(entry("a", ("changes", "", b"")), Position(), FIRST)


async def test_foreign_data_in_a_table_stops_the_whole_change(database, make_server, entry):
    connection = database._connection
    await connection.call("SET", "route", "foreign")
    with pytest.raises(StoreFailed, match="route holds foreign data"):
        await database.append(entry("a", ("member", "m", b""), ("route", "r", b"")), Position(), FIRST)
    assert await database.position() == Position()
    assert await connection.call("EXISTS", "member") == 0


async def test_replica_takes_no_change(database, entry):
    await database._connection.call("REPLICAOF", "127.0.0.1", 0)
    with pytest.raises(StoreFailed, match="read only replica"):
        await database.append(entry("a"), Position(), FIRST)
    assert await database.position() == Position()


async def test_lost_answer_is_an_unknown_outcome(make_server, entry):
    server = await make_server()
    database = Database(server.connection)
    await server.stop()
    with pytest.raises(StoreFailed) as caught:
        await database.append(entry("a"), Position(), FIRST)
    assert caught.value.code == "outcome-unknown"


async def test_stream_and_requests_are_trimmed_in_step(make_server, fill, entry):
    server = await make_server()
    database = Database(server.connection, keep=20, slack=5)
    last = await fill(database, 60)
    connection = server.connection
    length = await connection.call("XLEN", "changes")
    assert 20 <= length <= 25
    assert await connection.call("HLEN", "requests-done") == length
    assert await database.find_request("", f"request-{last}") is not None
    assert await database.find_request("", "request-1-1") is None
    assert await database.position() == last
    with pytest.raises(Gap):
        await database.entries(Position())
    with pytest.raises(Gap):
        await database.entries(Position(1, 3))
    assert len((await database.load()).routes) == 60


async def test_entries_by_range(database, fill):
    await fill(database, 5)
    await fill(database, 3, epoch=2)
    positions = [position for position, _ in await database.entries(Position(1, 4), Position(2, 7))]
    assert positions == [Position(1, 5), Position(2, 6), Position(2, 7)]
    assert len(await database.entries(Position(), limit=2)) == 2
    assert await database.entries(Position(2, 8)) == []


async def test_entry_of_a_dropped_tail_is_a_gap(database, fill):
    await fill(database, 5)
    with pytest.raises(Gap) as caught:
        await database.entries(Position(2, 5))
    assert caught.value.after == Position(2, 5)
    with pytest.raises(Gap):
        await database.entries(Position(1, 9))


async def test_position_survives_a_restart_and_trimming_to_nothing(make_server, fill):
    server = await make_server()
    last = await fill(Database(server.connection), 3)
    await server.connection.call("XTRIM", "changes", "MAXLEN", 0)
    await server.stop()
    again = await make_server()
    assert await Database(again.connection).position() == last


async def test_wait_position_wakes_with_the_entry(database, fill):
    await fill(database, 1)
    waiting = [asyncio.create_task(database.wait_position(Position(1, n), 10)) for n in (2, 3, 3)]
    await fill(database, 2)
    assert [await task for task in waiting] >= [Position(1, 2), Position(1, 3), Position(1, 3)]


async def test_wait_position_ends_in_time(database, fill):
    last = await fill(database, 1)
    begun = asyncio.get_running_loop().time()
    assert await database.wait_position(Position(1, 2), 0.1) == last
    assert 0.09 < asyncio.get_running_loop().time() - begun < 2


async def test_cancelled_wait_disturbs_nobody(database, fill):
    await fill(database, 1)
    cancelled = asyncio.create_task(database.wait_position(Position(1, 2), 10))
    other = asyncio.create_task(database.wait_position(Position(1, 2), 10))
    await asyncio.sleep(0)
    cancelled.cancel()
    await fill(database, 1)
    assert await other == Position(1, 2)


async def test_unknown_fields_survive(database, entry):
    newer = state_pb2.Member(id="m-0").SerializeToString() + b"\xaa\x06\x03new"  # field 101, as a later version has it
    await database.append(entry("a", ("member", "m-0", newer)), Position(), FIRST)
    member = (await database.load()).members[0]
    member.enabled = True
    await database.append(entry("b", ("member", "m-0", member.SerializeToString())), FIRST, Position(1, 2))
    assert b"\xaa\x06\x03new" in (await database.load()).members[0].SerializeToString()
    ((_, first), _) = await database.entries(Position())
    assert first.writes[0].value == newer


async def test_damaged_object_is_named(database, entry):
    await database.append(entry("a", ("member", "m-0", b"\xff")), Position(), FIRST)
    with pytest.raises(StoreFailed, match="member b'm-0' can't be read"):
        await database.load()


async def test_load_is_one_instant(database, entry):
    """The member's text is the revision that wrote it; a torn view would show another one."""
    stop = asyncio.Event()

    async def write() -> None:
        position = Position()
        while not stop.is_set():
            following = Position(1, position.revision + 1)
            member = state_pb2.Member(id="m", joined_by=str(following)).SerializeToString()
            await database.append(entry(f"r{following}", ("member", "m", member)), position, following)
            position = following

    writer = asyncio.create_task(write())
    try:
        await database.wait_position(FIRST, 5)
        for _ in range(100):
            view = await database.load()
            assert view.members[0].joined_by == str(Position.from_message(view.position))
    finally:
        stop.set()
        await writer


@given(st.binary(max_size=60))
def test_ids_of_any_bytes(raw):
    try:
        position = parse_id(raw)
    except StoreFailed:
        return
    assert parse_id(str(position).encode()) == position


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_ids_of_positions(epoch, revision):
    assert parse_id(str(Position(epoch, revision)).encode()) == Position(epoch, revision)


foreign = st.recursive(st.none() | st.integers() | st.binary(max_size=30), lambda inner: st.lists(inner, max_size=4))


@given(foreign | st.tuples(st.just(b"1-1"), st.tuples(st.just(b"entry"), st.binary(max_size=200))))
def test_entries_of_any_shape(raw):
    try:
        _, entry = parse_entry(raw)
    except StoreFailed:
        return
    assert isinstance(entry, state_pb2.ChangeEntry)
