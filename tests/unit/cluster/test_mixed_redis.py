"""Nodes whose redis-servers don't read one another's copies: real ones of one kind, that are said to be of several."""

from __future__ import annotations

from typing import Any

from meshd.model.position import Position
from meshd.store.copy_format import CopyFormat
from meshproto import node_pb2

OLD, NEW = CopyFormat("Redis 7.0.15", 10), CopyFormat("Redis 8.0.2", 12)
DONE = node_pb2.ChangeResult.DONE


async def led_by(cluster: Any, node: Any) -> None:
    primary = await cluster.primary()
    if primary is not node:
        await primary.elector.hand_over(node.id)
        await cluster.until(lambda: node.elector.writable())


async def test_who_can_be_copied_by_a_quorum_is_elected(cluster: Any) -> None:
    """The oldest one would be first."""
    await cluster.all_vote()
    oldest, second, third = cluster.nodes.values()
    oldest.server._copy_format, second.server._copy_format, third.server._copy_format = NEW, OLD, OLD
    await led_by(cluster, second)
    kept = cluster.change()
    assert (await second.submit(kept)).outcome == DONE
    for node in (oldest, third):
        await cluster.has(node, kept.add_route.cidr)
    await second.stop()
    new = await cluster.primary()
    assert new is third
    change = cluster.change()
    assert (await third.submit(change)).outcome == DONE
    await cluster.has(oldest, change.add_route.cidr)


async def test_what_could_not_be_loaded_is_not_copied(cluster: Any) -> None:
    """The primary's redis-server was upgraded. The others keep what they have, and one of them leads."""
    old = await cluster.all_vote()
    kept = cluster.change()
    assert (await old.submit(kept)).outcome == DONE
    rest = [node for node in cluster.nodes.values() if node is not old]
    for node in rest:
        await cluster.has(node, kept.add_route.cidr)
        node.server._copy_format = OLD
    old.server._copy_format = NEW
    await cluster.until(lambda: all(node.replica.unread for node in rest))
    assert rest[0].replica.unread == "Redis 7.0.15 here can't read the copies that Redis 8.0.2 makes"
    assert old.leadership.not_copying(old.id) == {node.id: OLD for node in rest}
    assert old.leadership.not_copying(rest[0].id) == {}
    for node in rest:
        assert (await node.replication.link()).parked
        assert await node.database.position() > Position()
    lost = cluster.change()
    assert (await old.submit(lost, 1.0)).outcome != DONE
    await cluster.until(lambda: any(node.elector.writable() for node in rest))
    change = cluster.change()
    new = await cluster.primary(old)
    assert (await new.submit(change)).outcome == DONE
    await cluster.has(old, change.add_route.cidr)
    assert all(not node.replica.unread for node in (old, *rest) if node is not new)
