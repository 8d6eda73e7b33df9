"""A member that watches again and again takes no more than its share of a node."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from meshd.assembly.node_duties import WATCHES, NodeDuties
from meshd.model.errors import NotPermitted
from meshproto import node_pb2


async def test_a_member_has_some_watches_at_once() -> None:
    async def updates(member: Any) -> AsyncIterator[node_pb2.ViewUpdate]:
        while True:
            yield node_pb2.ViewUpdate()

    duties = NodeDuties.__new__(NodeDuties)
    duties._watching = Counter()
    duties._updates = updates  # type: ignore[method-assign]
    ada, bob = (SimpleNamespace(id=name, name=name) for name in ("laptop-ada", "laptop-bob"))

    async def watch(member: Any) -> Any:
        stream: Any = duties.watch_view(member, node_pb2.WatchViewRequest())
        await anext(stream)
        return stream

    streams = [await watch(ada) for _ in range(WATCHES)]
    with pytest.raises(NotPermitted, match="laptop-ada watches 16 times already"):
        await watch(ada)
    streams.append(await watch(bob))
    await streams.pop(0).aclose()
    streams.append(await watch(ada))
    for stream in streams:
        await stream.aclose()
    assert not duties._watching
