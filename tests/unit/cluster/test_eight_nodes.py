"""Eight nodes with real redis-servers: seven vote; the eighth holds everything, and votes when one is removed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from meshd.store.durability import Promise
from meshproto import node_pb2, state_pb2

if TYPE_CHECKING:
    from conftest import Cluster, Node

DONE = node_pb2.ChangeResult.DONE


@pytest.fixture
async def eight(cluster_of: type[Cluster]) -> AsyncIterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="meshd-cluster-"))
    made = cluster_of(folder)
    try:
        await made.create(8)
        yield made
    finally:
        await made.close()
        shutil.rmtree(folder, ignore_errors=True)


async def voted_by(cluster: Cluster, wanted: list[Node]) -> Node:
    """The primary, once exactly these vote."""
    record = state_pb2.VoterRecord(current=[node.id for node in wanted])

    def found() -> Node | None:
        for node in cluster.nodes.values():
            primary = node.leadership.primary
            if primary is not None and primary.writable and primary.head.voters == record:
                return node
        return None

    node: Node = await cluster.until(found, 60)
    return node


def confirmed(node: Node) -> Promise:
    return Promise.load(node.folder / "promise.json")


async def test_the_eighth_follows_without_a_vote_and_votes_when_one_is_removed(eight: Cluster) -> None:
    nodes = list(eight.nodes.values())
    eighth = nodes[7]
    primary = await voted_by(eight, nodes[:7])
    change = eight.change()
    assert (await primary.submit(change, 20)).outcome == DONE
    await eight.has(eighth, change.add_route.cidr)
    assert confirmed(eighth).floor.revision == 0, "its word was asked for, and it does not vote"

    gone = next(node for node in nodes[:7] if node is not primary)
    await gone.stop()
    removal = node_pb2.Change(request_id="remove", remove_member=node_pb2.RemoveMember(id=gone.id))
    assert (await primary.submit(removal, 20)).outcome == DONE
    rest = [node for node in nodes if node is not gone]
    primary = await voted_by(eight, rest)

    # Four of seven are a quorum only with the eighth: the three others that vote are gone.
    for node in [one for one in rest if one not in (primary, eighth)][-3:]:
        await node.stop()
    change = eight.change()
    assert (await primary.submit(change, 20)).outcome == DONE
    head = primary.leadership.primary.head.position if primary.leadership.primary else None
    assert confirmed(eighth).floor == head
    await primary.stop()
    await eight.has(eighth, change.add_route.cidr)
