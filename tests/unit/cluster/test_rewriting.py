"""Append-only files are rewritten, one node's at a time, and changes go on meanwhile. On real redis-servers."""

from __future__ import annotations

import asyncio
import shutil
import uuid
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from meshd.assembly.grown_file import GrownFile
from meshd.cluster import heartbeats, rewriting
from meshd.cluster.election.messages import Heartbeat
from meshd.cluster.heartbeats import Heartbeats
from meshd.cluster.turns import BEGUN_KEPT, TURN_KEPT, Want, next_turn
from meshd.model.errors import Failed
from meshd.model.position import Position
from meshd.model.state import State
from meshd.store import rewrite
from meshd.store.database import Database
from meshproto import local_pb2, node_pb2

DONE = node_pb2.ChangeResult.DONE


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a cluster is made."""
    monkeypatch.setattr(rewriting, "LOOK_EVERY", 0.1)
    monkeypatch.setattr(rewriting, "TURN_EVERY", 0.05)


async def size(node: Any) -> int:
    return int((await node.server.connection.info("persistence"))["aof_current_size"])


async def test_files_that_have_grown_are_rewritten_one_at_a_time(quick: None, cluster: Any, monkeypatch: Any) -> None:
    primary = await cluster.all_vote()
    at_once: list[int] = []
    after: list[int] = []
    running: set[str] = set()
    done: list[str] = []
    names: list[str] = ["gw", "gw", "gw"]

    for node in cluster.nodes.values():

        async def slowly(node: Any = node, carry_out: Any = node.server.rewrite) -> None:
            running.add(node.id)
            at_once.append(len(running))
            await carry_out()
            after.append(await size(node))
            await asyncio.sleep(0.5)  # more changes are asked for meanwhile
            running.discard(node.id)
            done.append(node.id)

        monkeypatch.setattr(node.server, "rewrite", slowly)
    for _ in range(3):  # what was changed often, and is short
        await primary.server.connection.call("SET", "big", bytes(200_000))
    await primary.server.connection.call("DEL", "big")
    for _ in range(400):  # it gets to the others by replication
        sizes = [await size(node) for node in cluster.nodes.values()]
        if min(sizes) > 600_000:
            break
        await asyncio.sleep(0.05)
    assert min(sizes) > 600_000
    monkeypatch.setattr(rewrite, "SMALLEST", 500_000)
    async with asyncio.timeout(60):
        while len(done) < 3:
            rename = node_pb2.RenameMember(id=primary.id, name=f"gw-{len(names)}")
            names.append(rename.name)
            change = node_pb2.Change(request_id=str(uuid.uuid4()), rename_member=rename)
            assert (await primary.submit(change)).outcome == DONE
    assert sorted(done) == sorted(cluster.nodes)
    assert max(at_once) == 1
    assert max(after) < 300_000
    assert (await primary.submit(cluster.change())).outcome == DONE
    last = primary.leadership.primary.head.position
    for node in cluster.nodes.values():
        await cluster.until(lambda node=node: node.elector.state.position >= last)
        view = State.from_view(await Database(node.server.connection).load())
        assert view.parsed[primary.id].name == names[-1]


async def test_a_file_that_was_not_rewritten_to_the_end_is_tried_again(
    quick: None, cluster: Any, monkeypatch: Any
) -> None:
    """It does not count until then: a voter would confirm nothing any more."""
    primary = await cluster.all_vote()
    node = next(one for one in cluster.nodes.values() if one is not primary)
    assert not (await node.server.rewrite_need()).wanted
    state = {"aof_last_bgrewrite_status": "err"}
    info = node.server.connection.info
    rewritten = asyncio.Event()
    carry_out = node.server.rewrite

    async def told(section: str) -> dict[str, str]:
        return {**await info(section), **state}

    async def again() -> None:
        state.clear()
        await carry_out()
        rewritten.set()

    monkeypatch.setattr(node.server.connection, "info", told)
    monkeypatch.setattr(node.server, "rewrite", again)
    async with asyncio.timeout(20):
        await rewritten.wait()
    assert (await primary.submit(cluster.change())).outcome == DONE


async def test_a_file_that_can_not_be_rewritten_keeps_the_others_from_it(
    quick: None, cluster: Any, monkeypatch: Any
) -> None:
    """Theirs have to count meanwhile: else all of the mesh is read-only one after the other."""
    primary = await cluster.all_vote()
    first, other = (one for one in cluster.nodes.values() if one is not primary)
    tries, rewritten = 0, []

    async def fails() -> None:
        nonlocal tries
        tries += 1
        raise Failed("the disk is full")

    async def says(node: Any) -> None:
        rewritten.append(node.id)

    async def wanted() -> rewrite.Need:
        return rewrite.Need(wanted=True, possible=True)

    async def failed() -> rewrite.Need:
        return rewrite.Need(wanted=True, possible=True, begun=tries > 0)

    monkeypatch.setattr(first.server, "rewrite", fails)
    monkeypatch.setattr(first.server, "rewrite_need", failed)
    await cluster.until(lambda: tries >= 2)
    for node in (other, primary):
        monkeypatch.setattr(node.server, "rewrite_need", wanted)
        monkeypatch.setattr(node.server, "rewrite", partial(says, node))
    before = tries
    await cluster.until(lambda: tries >= before + 5)
    assert rewritten == []
    assert (await primary.submit(cluster.change())).outcome == DONE


async def test_without_room_for_a_second_file_nothing_is_rewritten(cluster: Any, monkeypatch: Any) -> None:
    node = await cluster.primary()
    monkeypatch.setattr(rewrite, "SMALLEST", 1)
    assert (await node.server.rewrite_need()).wanted
    need = await rewrite.rewrite_need(node.server.connection, room=rewrite.SPARE)
    assert not need.wanted
    assert not need.possible


async def test_that_it_waits_for_room_is_told_once_and_until_there_is_some(
    quick: None, cluster: Any, monkeypatch: Any
) -> None:
    node = await cluster.primary()
    events: list[str] = []
    mesh: Any = SimpleNamespace(
        name="home", folder="/var/lib/meshd/home", event=lambda kind, text, **_: events.append(text)
    )
    grown = GrownFile(mesh, node.rewriting)
    grown.look()
    assert (grown.problem, grown.checks()) == ("", [])
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=5_000_000))
    monkeypatch.setattr(rewrite, "SMALLEST", 1)
    await cluster.until(lambda: node.rewriting.short)
    for _ in range(2):
        grown.look()
    (told,) = events
    assert "waits for room to be written anew: that takes 17 MB, and 5 MB are free in /var/lib/meshd/home" in told
    (check,) = grown.checks()
    assert (check.state, check.fix) == (
        local_pb2.WARNING,
        "make room on that disk; a full one stops this node's redis",
    )
    monkeypatch.undo()
    await cluster.until(lambda: not node.rewriting.short)
    grown.look()
    assert (grown.problem, len(events)) == ("", 1)


LEASE = 0.75


def test_whose_turn_it_is() -> None:
    now, turn = 100.0, ""
    seen: dict[str, Want] = {}
    own = Want(outgrown=True)

    def next_one() -> str:
        nonlocal turn
        turn = next_turn(turn, "a", own, seen, 0.0, now, LEASE)
        if turn in seen:
            seen[turn] = replace(seen[turn], told=now)
        return turn

    seen["c"] = Want(now, outgrown=True)
    seen["d"] = Want(now, outgrown=True, begun=True)
    assert next_one() == "d", "it was at it already"
    seen["b"] = Want(now, outgrown=True)
    assert next_one() == "d", "until it is done"
    seen["d"] = Want(now)
    assert next_one() == "b"
    seen["d"] = Want(now, outgrown=True, begun=True)
    assert next_one() == "", "it began since, or came back from elsewhere: and the other one may have begun, too"
    now += 0.1
    seen["b"] = replace(seen["b"], at=now)
    assert next_one() == "d", "who has not begun waits"
    seen["d"] = Want(now)
    assert next_one() == "b"
    now += TURN_KEPT / 2
    seen["c"] = seen["d"] = Want(now, outgrown=True)
    assert next_one() == "b", "it may be at it still"
    now += TURN_KEPT / 2
    seen["c"] = seen["d"] = Want(now, outgrown=True)
    assert next_one() == "c", "who does not answer holds nobody up for long"
    seen["c"] = seen["d"] = Want(now)
    assert next_one() == "a", "the primary is last"
    own = Want()
    assert next_one() == ""
    own = Want(outgrown=True, begun=True)
    seen["b"] = Want(now, outgrown=True)
    assert next_one() == "a", "but not when it is at it already, since it was a replica"


def test_who_said_that_it_is_at_it_and_fell_silent_is_not_forgotten_for_another_one() -> None:
    """It was paused or cut off; the other one wrote its file for a full copy, without a turn."""
    seen = {"b": Want(20.0, outgrown=True, begun=True), "c": Want(20.0, outgrown=True, begun=True)}
    own = Want(outgrown=True)
    assert next_turn("b", "a", own, seen, 0.0, 20.1, LEASE) == ""
    seen["c"] = Want(21.0, outgrown=True, begun=True)
    assert next_turn("b", "a", own, seen, 0.0, 21.1, LEASE) == ""
    seen["c"] = Want(22.0)
    assert next_turn("", "a", own, seen, 0.0, 22.1, LEASE) == "b"
    assert next_turn("", "a", own, seen, 0.0, 20.0 + TURN_KEPT, LEASE) == "a"


def test_an_answer_to_a_heartbeat_before_that_of_its_turn_ends_no_turn() -> None:
    """It came late, and says what was so before the files grew."""
    own, other = Want(outgrown=True), Want(20.4, outgrown=True)

    def next_one(told: Want) -> str:
        return next_turn("b", "a", own, {"b": told, "c": other}, 0.0, 20.5, LEASE)

    assert next_one(Want(20.0, told=20.3)) == "b"
    assert next_one(Want(20.3, told=20.3)) == "c", "it answered that there is nothing to rewrite, and drops the turn"


async def test_the_turn_moves_on_where_a_round_trip_takes_longer_than_a_heartbeat() -> None:
    """Then one that tells a turn is always under way."""
    outgrown = {"b": True, "c": True}

    class Caller:
        async def heartbeat(self, member: Any, request: Any, timeout: float) -> node_pb2.HeartbeatReply:
            await asyncio.sleep(0.05)
            if request.rewrite:
                outgrown[member.id] = False
            reply = node_pb2.HeartbeatReply(outgrown=outgrown[member.id])
            await asyncio.sleep(0.05)
            return reply

    beats = Heartbeats("a", Caller(), node_pb2.HeartbeatRequest, list, own_want=Want)  # type: ignore[arg-type]  # all that is called
    async with asyncio.timeout(10), asyncio.TaskGroup() as sending:
        while any(outgrown.values()):
            for name in outgrown:
                beat = Heartbeat(3, 1.0, Position(3, 5), open=True)
                sending.create_task(beats.send(SimpleNamespace(id=name), beat))  # type: ignore[arg-type]
            await asyncio.sleep(0.03)


async def test_who_was_told_that_it_is_its_turn_and_fell_silent_is_not_forgotten_for_another_one(
    monkeypatch: Any,
) -> None:
    """It may have begun, and could not say so. The other one writes its file for a full copy, without a turn."""
    answers: dict[str, node_pb2.HeartbeatReply | None] = {"b": node_pb2.HeartbeatReply(outgrown=True), "c": None}

    class Caller:
        async def heartbeat(self, member: Any, request: Any, timeout: float) -> node_pb2.HeartbeatReply | None:
            told[member.id] = request.rewrite
            numbers.append(request.number)
            return answers[member.id]

    now, told, numbers = 1000.0, dict[str, bool](), list[int]()
    monkeypatch.setattr(heartbeats.time, "monotonic", lambda: now)
    own = Want()
    beats = Heartbeats("a", Caller(), node_pb2.HeartbeatRequest, list, own_want=lambda: own)  # type: ignore[arg-type]  # all that is called

    async def turn() -> str:
        nonlocal now
        now += 0.2
        for name in ("b", "c"):
            await beats.send(SimpleNamespace(id=name), Heartbeat(3, 1.0, Position(3, 5), open=True))  # type: ignore[arg-type]
        return beats.turn()

    answers["c"] = node_pb2.HeartbeatReply()
    assert await turn() == "b"
    assert (await turn(), told) == ("b", {"b": True, "c": False})
    answers |= {"b": None, "c": node_pb2.HeartbeatReply(outgrown=True, rewriting=True)}
    assert await turn() == "", "two may be at it"
    own = Want(outgrown=True)
    answers["c"] = node_pb2.HeartbeatReply()
    for _ in range(5):
        assert await turn() == "b"
    answers["b"] = node_pb2.HeartbeatReply(outgrown=True, rewriting=True)
    assert await turn() == "b"
    answers["b"] = node_pb2.HeartbeatReply()
    assert await turn() == "a"
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_new_primary_that_was_paused_knows_who_is_at_it() -> None:
    """Its answers are older than the lease, and all that it has."""
    seen = {"b": Want(10.0, outgrown=True, begun=True), "c": Want(10.0)}
    assert next_turn("", "a", Want(outgrown=True), seen, 10.0, 10.0 + 2 * LEASE, LEASE) == "b"


async def test_a_primary_that_was_paused_has_no_turn_of_its_own(cluster: Any, monkeypatch: Any) -> None:
    """Another one may lead by now, and have told a third one that it is its turn."""
    primary = await cluster.all_vote()
    monkeypatch.setattr(primary.rewriting, "want", Want(outgrown=True))
    await cluster.until(primary.leadership.may_rewrite)
    monkeypatch.setattr(primary.elector, "_now", lambda: 1e12)  # as it reads after the pause
    assert not primary.leadership.may_rewrite()


async def test_a_file_that_does_not_count_is_tried_again_whoever_is_at_it() -> None:
    """Nothing is lost by that: waiting would keep it from counting for longer. Nobody else begins meanwhile."""
    need = [rewrite.Need(wanted=True, possible=True, begun=True)]
    again = asyncio.Event()

    async def told() -> rewrite.Need:
        return need.pop() if need else rewrite.Need(wanted=False, possible=True)

    async def carry_out() -> None:
        again.set()

    server = SimpleNamespace(rewrite_need=told, rewrite=carry_out)
    running = asyncio.create_task(rewriting.Rewriting(server).run(lambda: False))  # type: ignore[arg-type]  # all that is called
    async with asyncio.timeout(5):
        await again.wait()
    running.cancel()
    seen = {"b": Want(100.0, outgrown=True), "c": Want(100.0, outgrown=True, begun=True)}
    assert next_turn("", "a", Want(outgrown=True, begun=True), seen, 0.0, 100.0, LEASE) == ""


async def test_who_does_not_come_to_the_end_keeps_others_from_theirs_for_a_while_only(monkeypatch: Any) -> None:
    """Without room on its disk it may never."""

    class Caller:
        async def heartbeat(self, member: Any, request: Any, timeout: float) -> node_pb2.HeartbeatReply:
            return node_pb2.HeartbeatReply(outgrown=True, rewriting=member.id == "b")

    now = 1000.0
    monkeypatch.setattr(heartbeats.time, "monotonic", lambda: now)
    beats = Heartbeats("a", Caller(), node_pb2.HeartbeatRequest, list)  # type: ignore[arg-type]  # all that is called

    async def turn_after(seconds: float, *nodes: str) -> str:
        nonlocal now
        now += seconds
        for name in nodes:
            await beats.send(SimpleNamespace(id=name), Heartbeat(3, 1.0, Position(3, 5), open=True))  # type: ignore[arg-type]
        return beats.turn()

    assert await turn_after(0, "b", "c") == "b"
    assert await turn_after(BEGUN_KEPT - 1, "b", "c") == "b"
    assert await turn_after(2, "b", "c") == "c"
    beats.keep_only(["b"])
    assert await turn_after(1, "b") == "b", "it tries again when nobody else wants to"


def test_a_new_primary_waits_for_those_that_it_has_not_heard_yet() -> None:
    """One of them may be at it, since the primary before this one."""
    seen = {"b": Want(0.5, outgrown=True), "c": Want()}
    assert next_turn("", "a", Want(outgrown=True), seen, 0.0, 0.6, LEASE) == ""
    answered = {**seen, "c": Want(0.6, outgrown=True, begun=True)}
    assert next_turn("", "a", Want(outgrown=True), answered, 0.0, 0.7, LEASE) == "c"
    seen["b"] = Want(TURN_KEPT, outgrown=True)
    assert next_turn("", "a", Want(outgrown=True), seen, 0.0, TURN_KEPT, LEASE) == "b", "one that is gone delays nobody"


async def test_an_answer_that_comes_late_does_not_take_a_turn_away() -> None:
    """Calls overtake each other. The first was answered before the file had grown."""
    ways = [asyncio.get_running_loop().create_future() for _ in range(2)]

    class Caller:
        async def heartbeat(self, member: Any, request: Any, timeout: float) -> node_pb2.HeartbeatReply:
            reply: node_pb2.HeartbeatReply = await ways[sent.pop(0)]
            return reply

    sent = [0, 1]
    beats = Heartbeats("a", Caller(), node_pb2.HeartbeatRequest, list)  # type: ignore[arg-type]  # all that is called
    beat = Heartbeat(3, 1.0, Position(3, 5), open=True)
    member: Any = SimpleNamespace(id="b")
    calls = []
    for way in ways:
        calls.append(asyncio.create_task(beats.send(member, beat)))
        await asyncio.sleep(0)
        assert not way.done()
    ways[1].set_result(node_pb2.HeartbeatReply(outgrown=True))
    await calls[1]
    assert beats.turn() == "b"
    ways[0].set_result(node_pb2.HeartbeatReply())
    await calls[0]
    assert beats.turn() == "b"


def test_a_turn_that_was_answered_with_nothing_to_do_is_gone() -> None:
    """The primary gave it to another node when it heard that; the file may grow again right after."""
    turns = rewriting.Rewriting(SimpleNamespace(), lambda: 100.0)  # type: ignore[arg-type]  # not asked
    turns.want = Want(outgrown=True)
    turns.told(True, 0.75, 1, 1)
    assert turns.our_turn
    turns.want = Want()
    turns.told(True, 0.75, 1, 2)
    turns.want = Want(outgrown=True)
    assert not turns.our_turn
    turns.told(True, 0.75, 1, 3)
    assert turns.our_turn


async def test_a_turn_that_was_told_long_ago_is_over() -> None:
    now = 100.0
    turns = rewriting.Rewriting(SimpleNamespace(), lambda: now)  # type: ignore[arg-type]  # not asked
    assert not turns.our_turn
    turns.told(True, LEASE)
    assert turns.our_turn
    now += LEASE
    assert not turns.our_turn, "the primary may be another one, and have another one's turn"
    turns.told(True, LEASE)
    turns.told(False, LEASE)
    assert not turns.our_turn


async def test_a_turn_that_was_told_by_a_heartbeat_that_comes_late_is_over() -> None:
    """Another node may have got it since."""
    turns = rewriting.Rewriting(SimpleNamespace(), lambda: 100.0)  # type: ignore[arg-type]  # not asked
    turns.told(False, LEASE, epoch=3, number=8)
    turns.told(True, LEASE, epoch=3, number=7)
    assert not turns.our_turn
    turns.told(True, LEASE, epoch=3, number=9)
    turns.told(False, LEASE, epoch=3, number=7)
    assert turns.our_turn
    turns.told(False, LEASE, epoch=4, number=1)
    assert not turns.our_turn


async def test_a_rewrite_that_goes_on_over_a_restart_of_the_helper_is_told_at_once() -> None:
    looks = 0
    again = asyncio.Event()

    async def need() -> rewrite.Need:
        nonlocal looks
        looks += 1
        if looks == 2:
            again.set()
        return rewrite.Need(wanted=True, possible=False, begun=True)

    turns = rewriting.Rewriting(SimpleNamespace(rewrite_need=need))  # type: ignore[arg-type]  # all that is called
    assert turns.want == Want(outgrown=True, begun=True), "before it was looked at"
    running = asyncio.create_task(turns.run(lambda: True))
    async with asyncio.timeout(rewriting.LOOK_EVERY / 2):
        await again.wait()
    assert turns.want == Want(outgrown=True, begun=True)
    running.cancel()


async def test_a_redis_that_does_not_answer_counts_as_at_it(monkeypatch: Any) -> None:
    """It may be; and so it keeps others from theirs for a while only."""
    monkeypatch.setattr(rewriting, "TURN_EVERY", 0.0)
    answers = [rewrite.Need(wanted=True, possible=True)]
    failed = asyncio.Event()

    async def need() -> rewrite.Need:
        if answers:
            return answers.pop()
        failed.set()
        raise Failed("redis does not answer")

    turns = rewriting.Rewriting(SimpleNamespace(rewrite_need=need))  # type: ignore[arg-type]  # all that is asked
    running = asyncio.create_task(turns.run(lambda: False))
    async with asyncio.timeout(10):
        await failed.wait()
    await asyncio.sleep(0)
    assert turns.want == Want(outgrown=True, begun=True)
    running.cancel()
