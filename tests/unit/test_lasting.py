from __future__ import annotations

import asyncio
import logging

import pytest
from meshd import lasting
from meshd.lasting import keep_running


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lasting, "FIRST_PAUSE", 0.001)


async def test_what_fails_is_told_and_starts_again(caplog: pytest.LogCaptureFixture) -> None:
    starts, told = 0, []
    again = asyncio.Event()

    async def work() -> None:
        nonlocal starts
        starts += 1
        if starts < 3:
            raise KeyError("gw-berlin")
        again.set()
        await asyncio.Event().wait()

    task = keep_running(work, "home: plan", told.append)
    async with asyncio.timeout(5):
        await again.wait()
    assert told == ["internal error in home: plan: KeyError; it starts again, and the log says more"] * 2
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.exc_info is not None for record in errors] == [True, True]
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_work_that_returns_is_done() -> None:
    async def work() -> None:
        pass

    async with asyncio.timeout(5):
        await keep_running(work, "home: once")


async def test_the_pause_grows_to_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    enough = asyncio.Event()
    sleep = asyncio.sleep

    async def recorded(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 5:
            enough.set()
        await sleep(0)

    monkeypatch.setattr(lasting.asyncio, "sleep", recorded)
    monkeypatch.setattr(lasting, "LONGEST_PAUSE", 0.007)

    async def work() -> None:
        raise ValueError

    task = keep_running(work, "home: plan")
    async with asyncio.timeout(5):
        await enough.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert pauses[:5] == [0.001, 0.002, 0.004, 0.007, 0.007]
