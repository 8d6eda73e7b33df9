"""What a watcher hears when nothing happens."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from meshd.assembly import local_api
from meshd.assembly.local_api import LocalApi
from meshd.observe.journal import Journal
from meshd.rpc.actor import Actor, Tier
from meshproto import local_pb2


async def test_a_watcher_hears_that_meshd_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOOK_INTERVAL", "HEARTBEAT"):
        monkeypatch.setattr(local_api, name, 0.01)
    daemon = SimpleNamespace(meshes={}, machine=SimpleNamespace(journal=Journal()))
    api = LocalApi(daemon)  # type: ignore[arg-type]  # what `watch` uses of it
    heard = []
    async for update in api.watch(local_pb2.WatchRequest(), Actor(1000, Tier.OBSERVE, 1)):
        heard.append(update)
        if len(heard) == 3:
            break
    assert [one.HasField("snapshot") for one in heard] == [True, False, False]
    assert not heard[2].differences
    assert heard[2].at_ms >= heard[1].at_ms > 0
