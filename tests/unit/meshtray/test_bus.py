"""Names on a real bus that somebody takes, or gives back, just as the tray asks who has them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from meshtray.bus import Bus, Interface, Method
from meshtray.item import WATCHER, WATCHER_PATH, StatusNotifierItem
from private_bus import PrivateBus, overtaken, until

NAME = "org.example.Service"


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[PrivateBus]:
    one = PrivateBus(tmp_path)
    one.start()
    yield one
    one.stop()


async def test_a_watcher_that_comes_while_it_is_asked_for_gets_the_icon(
    daemon: PrivateBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"unix:path={daemon.path}"
    watcher = await Bus.connect(address)
    registered: list[str] = []
    method = Method("s", "", lambda name: registered.append(name) or [])
    watcher.export(WATCHER_PATH, [Interface(WATCHER, {"RegisterStatusNotifierItem": method})])

    async def comes() -> None:
        assert await watcher.claim(WATCHER)

    overtaken(monkeypatch, WATCHER, comes, question=2)  # the first is whose signals count
    bus = await Bus.connect(address)
    item = StatusNotifierItem(bus, lambda _: None, lambda _: None)
    await item.start()
    async with asyncio.timeout(30):
        await item.registered.wait()
    assert registered == [bus.name]
    await item.stop()
    await bus.close()
    await watcher.close()


@pytest.mark.parametrize("there", [True, False])
async def test_who_had_a_name_before_is_not_told_after_who_has_it_now(
    daemon: PrivateBus, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    address = f"unix:path={daemon.path}"
    service = await Bus.connect(address)
    if there:
        assert await service.claim(NAME)

    async def changes() -> None:
        if there:
            await service.close()
        else:
            assert await service.claim(NAME)

    overtaken(monkeypatch, NAME, changes)
    bus = await Bus.connect(address)
    told: list[str] = []
    await bus.follow_owner(NAME, told.append)
    assert told == ["" if there else service.name]
    await bus.close()
    await service.close()


async def test_signals_of_a_service_that_comes_while_it_is_asked_for(
    daemon: PrivateBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"unix:path={daemon.path}"
    service = await Bus.connect(address)
    service.export("/", [Interface(NAME, signals={"Said": "s"})])

    async def comes() -> None:
        assert await service.claim(NAME)

    overtaken(monkeypatch, NAME, comes)
    bus = await Bus.connect(address)
    heard: list[Any] = []
    await bus.listen("/", NAME, "Said", heard.append, NAME)
    service.emit("/", NAME, "Said", "hello")
    await until(lambda: heard == ["hello"], "the signal")
    await bus.close()
    await service.close()
