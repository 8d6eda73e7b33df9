"""Three electors with real redis-servers: elected, lost, cut off, handed over; what was done stays."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from meshd.cluster import elector, forcing, store_health
from meshd.cluster.election import machine
from meshd.cluster.election.messages import Appended, StoreSeen
from meshd.cluster.election.state import Timing, timing_of
from meshd.model.errors import Conflict, OutcomeUnknown
from meshd.model.position import Position
from meshd.store import durability
from meshd.store.durability import Promise, Sight
from meshproto import node_pb2, state_pb2

DONE = node_pb2.ChangeResult.DONE


async def routes(node: Any) -> set[str]:
    return {route.cidr for route in (await node.database.load()).routes}


async def test_all_become_voters_and_hold_what_is_committed(cluster: Any) -> None:
    primary = await cluster.all_vote()
    change = cluster.change()
    result = await primary.submit(change)
    assert result.outcome == DONE
    for node in cluster.nodes.values():
        await cluster.until(lambda n=node: n.committed.revision >= result.position.revision)
        assert change.add_route.cidr in await routes(node)
        assert Promise.load(node.folder / "promise.json").epoch == primary.elector.epoch


async def test_another_takes_over_and_the_old_one_follows_when_it_is_back(cluster: Any) -> None:
    old = await cluster.all_vote()
    done = [cluster.change() for _ in range(5)]
    for change in done:
        assert (await old.submit(change)).outcome == DONE
    began = time.monotonic()
    await old.stop()
    new = await cluster.primary()
    print(f"another primary after {time.monotonic() - began:.2f} s")
    assert new is not old
    assert {change.add_route.cidr for change in done} <= await routes(new)
    repeated = await new.submit(done[-1])
    assert repeated.outcome == DONE
    assert repeated.position.epoch < new.elector.epoch, "it was carried out a second time"
    await old.start()
    change = cluster.change()
    assert (await new.submit(change)).outcome == DONE
    await cluster.has(old, change.add_route.cidr)
    assert not old.elector.leading


async def test_primary_that_is_cut_off_refuses_and_drops_what_nobody_confirmed(cluster: Any) -> None:
    old = await cluster.all_vote()
    cluster.cut = {(old.id, other) for other in cluster.nodes if other != old.id}
    lost = cluster.change()
    result = await old.submit(lost, 3.0)
    assert result.outcome != DONE
    new = await cluster.primary(old)
    kept = cluster.change()
    assert (await new.submit(kept)).outcome == DONE
    await cluster.until(lambda: not old.elector.leading)
    assert not old.elector.writable()
    cluster.cut = set()
    await cluster.has(old, kept.add_route.cidr)
    assert await routes(old) == await routes(new)


async def test_redis_of_the_primary_is_killed(cluster: Any) -> None:
    old = await cluster.all_vote()
    change = cluster.change()
    assert (await old.submit(change)).outcome == DONE
    epoch = old.elector.epoch
    os.kill(old.server.pid, signal.SIGKILL)
    await cluster.until(lambda: old.elector.epoch > epoch or not old.elector.leading)
    new = await cluster.primary()
    assert new.elector.epoch > epoch
    assert change.add_route.cidr in await routes(new)


async def test_redis_of_the_primary_hangs_and_is_started_anew(cluster: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(store_health, "HANG_END", 4)
    old = await cluster.all_vote()
    pid = old.server.pid
    os.kill(pid, signal.SIGSTOP)
    await cluster.until(lambda: not old.elector.leading)
    new = await cluster.primary(old)
    change = cluster.change()
    assert (await new.submit(change)).outcome == DONE
    await cluster.until(lambda: old.server.pid not in (0, pid) and old.server.run_id)
    await cluster.has(old, change.add_route.cidr)


async def test_a_node_that_is_forced_leads_alone_and_who_comes_back_follows_it(cluster: Any) -> None:
    old = await cluster.all_vote()
    kept = cluster.change()
    assert (await old.submit(kept)).outcome == DONE
    alone, dead = (node for node in cluster.nodes.values() if node is not old)
    await cluster.has(alone, kept.add_route.cidr)
    with pytest.raises(Conflict, match="the primary is there"):
        alone.elector.check_force()
    await dead.stop()
    cluster.cut = {(old.id, alone.id)}
    await cluster.until(lambda: not old.elector.leading)
    await cluster.until(lambda: alone.elector.primary() == "")
    await alone.elector.force()
    assert alone.elector.epoch >= 1 << 20
    assert alone.leadership.primary.head.voters == state_pb2.VoterRecord(current=[alone.id])
    change = cluster.change()
    assert (await alone.submit(change)).outcome == DONE
    cluster.cut = set()
    await dead.start()
    for node in (old, dead):
        await cluster.has(node, change.add_route.cidr)
        assert {change.add_route.cidr, kept.add_route.cidr} <= await routes(node)
        (aside,) = node.folder.glob("replaced-*")
        assert any(path.stat().st_size for path in aside.iterdir())
    await cluster.all_vote()


async def test_a_node_that_is_forced_while_it_rewrites_its_file_leads_once_that_is_done(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await cluster.all_vote()
    alone, dead = (node for node in cluster.nodes.values() if node is not old)
    await old.stop()
    await dead.stop()
    await cluster.until(lambda: alone.elector.primary() == "")
    epoch, busy = alone.elector.state.promise.epoch, "redis is rewriting its append-only file"

    async def look(database: Any) -> Sight:
        return replace(await durability.look(database), in_force=False, state=busy)

    with monkeypatch.context() as rewriting:
        rewriting.setattr(elector, "look", look)
        rewriting.setattr(forcing, "LIMIT", 2.0)
        with pytest.raises(OutcomeUnknown, match=f"not on the disk of this node yet: {busy}"):
            await alone.elector.force()
        with pytest.raises(Conflict, match="it was forced to lead already"):
            await alone.elector.force()
        assert not alone.elector.writable()
        assert Promise.load(alone.folder / "promise.json").epoch == epoch
    await cluster.until(alone.elector.writable)
    assert Promise.load(alone.folder / "promise.json").epoch == alone.elector.epoch >= 1 << 20


async def test_a_forced_node_that_steps_down_says_so_at_once(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    old = await cluster.all_vote()
    alone, dead = (node for node in cluster.nodes.values() if node is not old)
    await old.stop()
    await dead.stop()
    await cluster.until(lambda: alone.elector.primary() == "")

    async def look(database: Any) -> Sight:
        return replace(await durability.look(database), in_force=False)

    monkeypatch.setattr(elector, "look", look)
    forced = asyncio.create_task(alone.elector.force())
    await cluster.until(lambda: alone.elector.state.term is not None and alone.elector.state.term.head is not None)
    await alone.elector.store_failed("it failed a write")
    began = time.monotonic()
    with pytest.raises(OutcomeUnknown, match="stepped down before its first change was confirmed"):
        await forced
    assert time.monotonic() - began < forcing.LIMIT / 2


async def test_a_promise_that_is_being_written_is_on_disk_when_the_election_has_ended(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a late thread writes an older promise over what was promised since."""
    old = await cluster.all_vote()
    voter = next(node for node in cluster.nodes.values() if node is not old)
    path, save = voter.folder / "promise.json", Promise.save
    writing, go_on = threading.Event(), threading.Event()

    def slow(promise: Promise, where: Path) -> None:
        if where == path:
            writing.set()
            go_on.wait(10)
        save(promise, where)

    monkeypatch.setattr(Promise, "save", slow)
    asked = asyncio.create_task(old.submit(cluster.change()))
    await cluster.until(writing.is_set)
    before = Promise.load(path)
    voter.task.cancel()
    await asyncio.wait([voter.task], timeout=0.3)
    ended_early = voter.task.done()
    go_on.set()
    await asyncio.wait([voter.task])
    assert not ended_early
    assert Promise.load(path).floor > before.floor
    assert (await asked).outcome == DONE


async def test_full_copies_may_take_longer_than_a_primary_goes_on_without_confirmations(cluster: Any) -> None:
    """All machines were rebooted: what was known of the others' data is gone, and everything is copied anew."""
    cluster.timing = Timing(stuck=1.5)
    old = await cluster.all_vote()
    change = cluster.change()
    assert (await old.submit(change)).outcome == DONE
    for node in cluster.nodes.values():
        await node.stop()
        await node.server.start()
        await node.server.stop()
    for node in cluster.nodes.values():
        await node.start()
        await node.server.connection.call("CONFIG", "SET", "rdb-key-save-delay", 800_000)  # us; there are six keys
    began, first = time.monotonic(), await cluster.primary()
    await cluster.until(lambda: first.elector.writable(), 40)
    assert time.monotonic() - began > 2 * cluster.timing.stuck, "the copies were no longer than that"
    assert change.add_route.cidr in await routes(first)
    assert (await first.submit(cluster.change())).outcome == DONE


async def test_hand_over_takes_no_time_out(cluster: Any) -> None:
    cluster.timing = timing_of(3.0)  # so that a busy machine is quicker than that, too
    old = await cluster.all_vote()
    assert (await old.submit(cluster.change())).outcome == DONE
    target = next(node for node in cluster.nodes.values() if node is not old)
    began = time.monotonic()
    await old.elector.hand_over(target.id)
    new = await cluster.primary()
    took = time.monotonic() - began
    print(f"handed over in {took:.2f} s")
    assert new is target
    assert took < cluster.timing.timeout


async def test_voter_is_removed_in_three_entries(cluster: Any) -> None:
    primary = await cluster.all_vote()
    gone = next(node for node in reversed(cluster.nodes.values()) if node is not primary)
    await gone.stop()
    change = node_pb2.Change(request_id="remove", remove_member=node_pb2.RemoveMember(id=gone.id))
    before = primary.leadership.primary.head.position.revision
    result = await primary.submit(change)
    assert result.outcome == DONE, result.message
    assert result.position.revision == before + 3
    head = primary.leadership.primary.head
    assert gone.id not in {*head.voters.current, *head.voters.next}
    assert len(head.voters.current) == 2


async def test_only_the_next_step_of_a_change_of_voters_is_written(cluster: Any) -> None:
    primary = await cluster.all_vote()
    record = state_pb2.VoterRecord(current=list(cluster.nodes)[:2])
    change = node_pb2.Change(request_id="stale", set_voters=node_pb2.SetVoters(voters=record))
    result = await primary.submit(change)
    assert (result.outcome, result.code) == (node_pb2.ChangeResult.REFUSED, "unavailable")
    assert len(primary.leadership.primary.head.voters.current) == 3


async def test_election_that_ended_by_a_fault_of_ours_is_run_again(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it knew is gone, as after a start; what it promised is not. What it was writing is not called done."""
    old = await cluster.all_vote()
    kept = cluster.change()
    assert (await old.submit(kept)).outcome == DONE
    step, promised = machine.step, old.elector.state.promise

    def faulty(state: Any, event: Any, now: float) -> Any:
        if state.self_id == old.id and isinstance(event, Appended):
            raise RuntimeError("a fault of ours")
        return step(state, event, now)

    monkeypatch.setattr(machine, "step", faulty)
    change = cluster.change()
    result = await old.submit(change)
    assert result.outcome == node_pb2.ChangeResult.UNKNOWN, result
    with pytest.raises(ExceptionGroup):
        await old.task
    assert not old.elector.writable()
    assert not old.elector.leading
    new = await cluster.primary(old)
    monkeypatch.setattr(machine, "step", step)
    old.task = asyncio.create_task(old.elector.run())
    assert old.elector.state.promise.epoch >= promised.epoch
    assert (await new.submit(cluster.change())).outcome == DONE
    last = cluster.change()
    assert (await new.submit(last)).outcome == DONE
    await cluster.has(old, last.add_route.cidr)
    assert old.leadership.primary is None
    assert await routes(old) == await routes(new)
    assert kept.add_route.cidr in await routes(new)
    await cluster.until(lambda: new.elector.state.term.confirmed.get(old.id, Position()) >= new.elector.committed)


async def test_stopping_is_no_fault_whatever_is_under_way(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped in the middle of a step that a part of the elector itself waits for: here one of looking at Redis."""
    node = await cluster.all_vote()
    saving = asyncio.Event()

    right = node.elector._step

    async def step(event: Any, done: Any) -> None:
        if isinstance(event, StoreSeen):
            saving.set()
            await asyncio.Event().wait()
        await right(event, done)

    monkeypatch.setattr(node.elector, "_step", step)
    node.elector._look_wanted.set()
    await saving.wait()
    node.elector._sending.add(asyncio.create_task(asyncio.sleep(60)))  # that a message is under way takes time, too
    node.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await node.task
    node.task = asyncio.create_task(asyncio.sleep(0))  # for the end of the test, which stops what runs


async def test_others_hear_how_the_redis_of_the_primary_is(cluster: Any) -> None:
    primary = await cluster.all_vote()
    await cluster.until(primary.elector.writable)
    request = primary.leadership._request()
    assert {one.member_id for one in request.nodes} == set(cluster.nodes)
    own = next(one for one in request.nodes if one.member_id == primary.id)
    assert (own.store_state, own.reachable) == ("ok", True)
    assert Position.from_message(own.stored) == primary.elector.committed


async def test_a_heartbeat_that_was_overtaken_shortens_no_lease(cluster: Any) -> None:
    primary = await cluster.all_vote()
    voter = next(one for one in cluster.nodes.values() if one is not primary)
    epoch, late = primary.elector.epoch, 1_000_000

    async def hears(number: int, timeout_ms: int) -> float:
        beat = node_pb2.HeartbeatRequest(
            primary_id=primary.id, epoch=epoch, number=number, election_timeout_ms=timeout_ms
        )
        await voter.replica.heartbeat(voter.elector, primary.id, beat)
        return float(voter.elector.state.patience)

    assert await hears(late, 4000) == 4.0
    assert await hears(late - 1, 1000) == 4.0
    assert await hears(late + 1, 1000) == voter.elector.state.timing.timeout
