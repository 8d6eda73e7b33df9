"""The journal: bounded, in order, and nobody who follows it misses an event that it still has."""

from __future__ import annotations

import asyncio

import pytest
from meshd.observe import journal
from meshd.observe.journal import Journal


async def test_events_are_numbered_and_dated() -> None:
    one = Journal(now=lambda: 12.5)
    one.add("home", "state", "connected", actor="ada")
    one.add("home", "change", "gw-paris joined", revision=7, epoch=2, at_ms=99)
    first, second = one.after(0)
    assert (first.sequence, first.at_ms, first.severity, first.actor) == (1, 12_500, "info", "ada")
    assert (second.sequence, second.at_ms, second.revision, second.epoch) == (2, 99, 7, 2)
    assert one.after(1) == [second]
    assert one.after(one.last_sequence) == []


async def test_only_the_latest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "KEPT", 3)
    one = Journal()
    for number in range(10):
        one.add("home", "state", str(number))
    assert [event.text for event in one.after(0)] == ["7", "8", "9"]
    assert one.last_sequence == 10


async def test_whoever_follows_hears_what_was_and_what_comes() -> None:
    one = Journal()
    one.add("home", "state", "before")
    heard: list[str] = []
    enough = asyncio.Event()

    async def follow() -> None:
        async for event in one.follow(0):
            heard.append(event.text)
            if len(heard) == 101:
                enough.set()

    followers = [asyncio.create_task(follow())]
    for number in range(100):
        one.add("home", "state", str(number))
        if number % 7 == 0:
            await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await enough.wait()
    assert heard == ["before", *map(str, range(100))]
    followers[0].cancel()
    await asyncio.wait(followers)


async def test_following_from_the_end_waits() -> None:
    one = Journal()
    one.add("home", "state", "before")
    following = one.follow(one.last_sequence)
    coming = asyncio.ensure_future(anext(following))
    await asyncio.sleep(0)
    assert not coming.done()
    one.add("home", "state", "after")
    async with asyncio.timeout(5):
        assert (await coming).text == "after"
    await following.aclose()  # type: ignore[attr-defined]
