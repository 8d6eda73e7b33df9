"""Changes of the whole machine: one after the other, and to the end also when whoever asked has gone."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from meshd.assembly.daemon import Daemon, lock_run_dir
from meshd.model.errors import Conflict, Failed, NotFound
from meshd.settings import Settings


@pytest.fixture
def daemon() -> Daemon:
    machine: Any = SimpleNamespace()
    return Daemon(Settings(), machine)


async def test_a_change_ends_although_the_caller_has_gone(daemon: Daemon) -> None:
    begun, go_on, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work() -> str:
        begun.set()
        await go_on.wait()
        done.set()
        return "made"

    caller = asyncio.create_task(daemon.exclusively(work()))
    await begun.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    go_on.set()
    async with asyncio.timeout(5):
        await daemon.stop_meshes()
    assert done.is_set(), "stopping waits for it"


async def test_one_after_the_other(daemon: Daemon) -> None:
    now = 0

    async def work(number: int) -> int:
        nonlocal now
        now += 1
        assert now == 1
        await asyncio.sleep(0)
        now -= 1
        return number

    assert await asyncio.gather(*(daemon.exclusively(work(number)) for number in range(20))) == list(range(20))


async def test_a_refusal_reaches_the_caller(daemon: Daemon) -> None:
    async def work() -> None:
        raise Conflict("it is busy")

    with pytest.raises(Conflict, match="it is busy"):
        await daemon.exclusively(work())


async def test_a_refusal_that_nobody_waits_for_is_no_complaint(
    daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    go_on = asyncio.Event()

    async def work() -> None:
        await go_on.wait()
        raise Conflict("it is busy")

    caller = asyncio.create_task(daemon.exclusively(work()))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.wait([caller])
    go_on.set()
    await daemon.stop_meshes()
    assert [one for one in caplog.records if one.levelname in ("WARNING", "ERROR")] == []


async def test_a_mesh_that_was_left_meanwhile_is_not_brought_back(daemon: Daemon) -> None:
    left: Any = SimpleNamespace(name="home")
    for work in (daemon.connect(left, "ada"), daemon.disconnect(left, "ada"), daemon.leave(left, "ada", 5)):
        with pytest.raises(NotFound, match="has left home"):
            await daemon.exclusively(work)


def test_a_run_folder_is_one_helpers_until_it_ends(tmp_path: Path) -> None:
    lock = lock_run_dir(tmp_path / "run")
    with pytest.raises(Failed, match=rf"another meshd \(pid {os.getpid()}\) uses") as caught:
        lock_run_dir(tmp_path / "run")
    assert "--run-dir" in caught.value.fix
    os.close(lock_run_dir(tmp_path / "other"))
    os.close(lock)
    os.close(lock_run_dir(tmp_path / "run"))


def test_only_the_end_of_a_sleep_renews_sessions(daemon: Daemon) -> None:
    woken: list[str] = []
    mesh: Any = SimpleNamespace(sessions=SimpleNamespace(woke_up=lambda: woken.append("home")))
    daemon.meshes["home"] = mesh
    for member, arguments in (
        ("PrepareForSleep", [True]),
        ("PrepareForSleep", []),
        ("PrepareForShutdown", [False]),
        ("PrepareForSleep", ["rubbish"]),
    ):
        daemon.prepare_for_sleep(member, arguments)
    assert woken == []
    daemon.prepare_for_sleep("PrepareForSleep", [False])
    assert woken == ["home"]
