"""A panel that is late, as at a login, or that never comes: the tray works all the same, and says what is missing."""

from __future__ import annotations

import asyncio

from meshproto import local_pb2
from tray.desktop import Desktop, Panel, until
from tray.services import NotificationService
from tui.recorded_meshd import RecordedMeshd

from tui import recordings


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
