"""What a watcher hears when nothing happens."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from meshd.assembly import local_api
from meshd.assembly.local_api import LocalApi
from meshd.observe.day import Day
from meshd.observe.journal import Journal
from meshd.observe.past import Past
from meshd.rpc.actor import Actor, Tier
from meshproto import local_pb2
from meshproto.byte_scale import packed


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


async def test_the_first_word_has_the_past_of_the_mesh_and_its_day_where_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    past, day = Past(), Day()
    for one in (past, day):
        one.sample(1_760_000_000_000, {"ada": (5e6, 31.0)})  # type: ignore[attr-defined]  # both have it
    home, office = (
        SimpleNamespace(name=name, choices=SimpleNamespace(mesh_id=name), sessions=SimpleNamespace(past=kept, day=day))
        for name, kept in (("home", past), ("office", Past()))
    )
    daemon = SimpleNamespace(meshes={"1": home, "2": office}, machine=SimpleNamespace(journal=Journal()))
    monkeypatch.setattr(local_api, "mesh_status", lambda one: local_pb2.MeshStatus(name=one.name))
    monkeypatch.setattr(LocalApi, "_shape", lambda _: [])
    api = LocalApi(daemon)  # type: ignore[arg-type]  # what `watch` uses of it
    for days in (False, True):
        watch = api.watch(local_pb2.WatchRequest(days=days), Actor(1000, Tier.OBSERVE, 1))
        first = await anext(watch)
        await watch.aclose()  # type: ignore[attr-defined]  # an async generator
        assert [(one.mesh_id, one.member_id, one.traffic[-1]) for one in first.past] == [("home", "ada", packed(5e6))]
        assert [one.member_id for one in first.days] == (["ada", "ada"] if days else [])


async def test_a_watcher_of_one_mesh_hears_no_event_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_api, "LOOK_INTERVAL", 0.01)
    journal = Journal()
    home = SimpleNamespace(
        name="home",
        choices=SimpleNamespace(mesh_id="1"),
        sessions=SimpleNamespace(past=SimpleNamespace(messages=lambda _: [])),
    )
    daemon = SimpleNamespace(meshes={"1": home}, machine=SimpleNamespace(journal=journal), find=lambda _: home)
    monkeypatch.setattr(local_api, "mesh_status", lambda _: local_pb2.MeshStatus(name="home"))
    monkeypatch.setattr(LocalApi, "_shape", lambda _: [])
    for mesh in ("home", "office", ""):
        journal.add(mesh, "path", f"before, in {mesh}")
    api = LocalApi(daemon)  # type: ignore[arg-type]  # what `watch` uses of it
    heard: list[str] = []
    async for update in api.watch(local_pb2.WatchRequest(mesh="home"), Actor(1000, Tier.OBSERVE, 1)):
        if not heard:
            for mesh in ("office", "home"):
                journal.add(mesh, "path", f"later, in {mesh}")
        heard.extend(event.text for event in update.events)
        if len(heard) == 3:
            break
    assert heard == ["before, in home", "before, in ", "later, in home"]
