"""What is said of a change whose outcome is not known, and of the same request again. On real redis-servers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from meshd.cluster.election import machine
from meshd.cluster.election.messages import Appended, Tick
from meshd.store.errors import StoreFailed
from meshproto import node_pb2

DONE, UNKNOWN = node_pb2.ChangeResult.DONE, node_pb2.ChangeResult.UNKNOWN


async def test_a_repeat_is_not_refused_while_the_first_waits_for_its_confirmation(cluster: Any) -> None:
    primary = await cluster.all_vote()
    confirm, late = primary.leadership._caller.confirm, asyncio.Event()

    async def confirm_late(member: Any, request: Any, timeout: float) -> Any:
        await late.wait()
        return await confirm(member, request, timeout)

    await cluster.until(lambda: primary.elector.writable())
    primary.leadership._caller.confirm = confirm_late
    change = cluster.change()
    assert (await primary.submit(change, 2.0)).outcome == UNKNOWN  # it may have to wait until it is written
    again = await primary.submit(change, 0.5)
    assert again.outcome == UNKNOWN, again
    assert "was written" in again.message
    late.set()
    assert (await primary.submit(change, 5.0)).outcome == DONE


async def test_a_repeat_with_less_time_than_the_first(cluster: Any) -> None:
    """The first holds the primary, be it written already or not."""
    primary = await cluster.all_vote()
    change, go_on, writing = cluster.change(), asyncio.Event(), asyncio.Event()
    append = primary.leadership.primary._changes.append

    async def append_late(*entry: Any) -> None:
        writing.set()
        await go_on.wait()
        await append(*entry)

    primary.leadership.primary._changes.append = append_late
    first = asyncio.create_task(primary.submit(change, 10.0))
    await writing.wait()
    again = await primary.submit(change, 0.1)
    other = await primary.submit(cluster.change(), 0.1)
    assert (again.outcome, again.message) == (UNKNOWN, "the same request is being carried out")
    assert other.code == "unavailable"
    go_on.set()
    assert (await first).outcome == DONE
    assert (await primary.submit(change, 5.0)).outcome == DONE


async def test_what_was_written_is_not_refused_because_the_node_stops(cluster: Any) -> None:
    node = await cluster.all_vote()
    await cluster.until(lambda: node.elector.writable())
    append = node.leadership.primary._changes.append

    async def answer_lost(*entry: Any) -> None:
        await append(*entry)
        node.elector._closed = True  # as at a stop
        raise StoreFailed("may or may not be written", "", "outcome-unknown")

    node.leadership.primary._changes.append = answer_lost
    change = cluster.change()
    result = await node.submit(change, 2.0)
    node.elector._closed = False
    assert result.outcome == UNKNOWN, result
    assert change.add_route.cidr in {route.cidr for route in (await node.database.load()).routes}


async def test_an_election_that_begins_anew_asks_all_for_confirmations(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended while questions had been queued and not yet asked."""
    old = await cluster.all_vote()
    step, armed = machine.step, asyncio.Event()

    def faulty(state: Any, event: Any, now: float) -> Any:
        if state.self_id == old.id and armed.is_set():
            raise RuntimeError("a fault of ours")
        if state.self_id == old.id and isinstance(event, Appended):
            armed.set()
            old.elector._events.put_nowait((Tick(), None))
        return step(state, event, now)

    monkeypatch.setattr(machine, "step", faulty)
    await old.submit(cluster.change())
    with pytest.raises(ExceptionGroup):
        await old.task
    monkeypatch.setattr(machine, "step", step)
    new = await cluster.primary(old)
    old.task = asyncio.create_task(old.elector.run())
    change = cluster.change()
    assert (await new.submit(change)).outcome == DONE
    await cluster.has(old, change.add_route.cidr)
    await new.elector.hand_over(old.id)
    await cluster.until(lambda: old.elector.writable())
    assert (await old.submit(cluster.change(), 5.0)).outcome == DONE
