"""A panel that is late, as at a login, or that never comes: the tray works all the same, and says what is missing."""

from __future__ import annotations

import asyncio
import itertools
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from meshproto import local_pb2
from tray.desktop import Desktop, Panel, until
from tray.services import NotificationService
from tui.recorded_meshd import RecordedMeshd

from tui import recordings

ELSEWHERE = 'unset TZ; mount --bind "$0" /etc/localtime && exec "$@"'


async def test_a_panel_that_is_late_gets_the_icon_and_nothing_waits_for_it(
    desktop: Desktop, meshd: RecordedMeshd
) -> None:
    """What was connected is connected again before there is any place for an icon."""
    meshd.status = recordings.status(
        recordings.mesh(state=local_pb2.DOWN, wanted=True, keyring_entry="an entry", person="nobody", members=[])
    )
    desktop.start_tray("--wait", "60")
    await until(lambda: meshd.calls == [local_pb2.ConnectRequest(mesh="home")], "the call", log=desktop.log)
    meshd.push(local_pb2.WatchUpdate(snapshot=recordings.status(recordings.mesh())))
    await until(lambda: "there is no org.kde.StatusNotifierWatcher" in desktop.log(), "it to look elsewhere", 20)
    meshd.push(local_pb2.WatchUpdate(at_ms=1))  # the recorded one has no heart of its own
    panel = await Panel.start(desktop.address)
    await panel.registered()
    await panel.until_icon("connected")
    await panel.until_menu("● home: connected")
    await panel.stop()


async def test_a_person_who_can_see_no_icon_is_told_once(desktop: Desktop, meshd: RecordedMeshd) -> None:
    service = await NotificationService.start(desktop.address)
    for _ in range(2):
        tray = desktop.start_tray("--wait", "0.2")
        assert await asyncio.to_thread(tray.wait, 30) == 1
    (shown,) = service.shown
    assert shown.title == "meshtray can't show its icon"
    assert "on GNOME the extension AppIndicator" in shown.body
    assert desktop.log().count("meshtray: this session has no place for a tray icon") == 2
    await service.stop()


async def test_a_watcher_that_is_not_ready_is_asked_until_it_is(desktop: Desktop, meshd: RecordedMeshd) -> None:
    panel = await Panel.start(desktop.address, refusals=6)
    desktop.start_tray()
    await panel.registered()
    meshd.push(local_pb2.WatchUpdate(at_ms=1))  # the recorded one has no heart of its own
    await panel.until_icon("connected")
    assert desktop.log().count("could not be registered") == 1
    await panel.stop()


async def test_a_watcher_that_says_it_has_no_host_is_better_than_none(desktop: Desktop, meshd: RecordedMeshd) -> None:
    panel = await Panel.start(desktop.address, has_host=False)
    tray = desktop.start_tray("--wait", "0.5")
    await panel.registered()
    await panel.until_icon("connected")
    await until(lambda: "StatusNotifierItem with com.canonical.dbusmenu" in desktop.log(), "it to stay")
    assert tray.poll() is None
    await panel.stop()


async def test_what_shows_items_without_being_a_host_shows_how_it_is(desktop: Desktop, meshd: RecordedMeshd) -> None:
    """At once, and not only when the time for something better is over."""
    panel = await Panel.start(desktop.address, has_host=False)
    desktop.start_tray()
    await panel.registered()
    await panel.until_icon("connected")
    assert "● home: connected" in (await panel.menu()).text()
    await panel.stop()


async def test_whose_tray_it_is_does_not_hang_on_the_environment(
    desktop: Desktop, panel: Panel, meshd: RecordedMeshd
) -> None:
    meshd.status = recordings.status(recordings.mesh(connected_by="nobody"))
    desktop.start_tray(USER="grace", LOGNAME="grace")
    await panel.registered()
    await panel.until_menu("Disconnect")
    assert "connected it" not in (await panel.menu()).text()


def become(file: Path, zone: str, written: int) -> None:
    file.write_bytes((Path("/usr/share/zoneinfo") / zone).read_bytes())
    file.chmod(0o644)
    os.utime(file, (written, written))


async def test_a_machine_that_travels_shows_the_time_of_where_it_is(
    desktop: Desktop, panel: Panel, meshd: RecordedMeshd
) -> None:
    zone = desktop.folder / "localtime"
    become(zone, "Etc/GMT-3", written=1)  # the library looks at the second when it was
    # In its own view of the files, where the zone of the machine is that.
    desktop.start_tray(before=("unshare", "--mount", "sh", "-c", ELSEWHERE, str(zone)))
    await panel.registered()
    soon = datetime.now(tz=UTC) + timedelta(seconds=1)
    numbers = itertools.count()

    async def until_shown(hours: int) -> None:
        async with asyncio.timeout(15):
            while True:
                paused = recordings.mesh(state=local_pb2.DOWN, wanted=True, reason=f"paused, {next(numbers)}")
                paused.paused_until_ms = int(soon.timestamp() * 1000)
                meshd.status = recordings.status(paused)
                meshd.push(local_pb2.WatchUpdate(snapshot=meshd.status, at_ms=1))
                text = (await panel.menu()).text()
                if f"{soon + timedelta(hours=hours):%H:%M}" in text:
                    return
                await asyncio.sleep(0.1)

    await until_shown(3)
    become(zone, "Etc/GMT-5", written=2)
    await until_shown(5)
