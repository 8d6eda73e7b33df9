"""Notifications of a real service on the bus: shown once, with actions that work; one that is absent, slow or new."""

from __future__ import annotations

import asyncio

import pytest
from dbus_next import Message
from meshproto import local_pb2
from meshproto.bus_connection import connect
from meshtray import notifications
from meshtray.bus import Bus
from meshtray.state import Notify
from tray.desktop import Desktop, Panel, until
from tray.services import NAME, PATH, NotificationService
from tui.recorded_meshd import RecordedMeshd

from tui import recordings


def difference(mesh: local_pb2.MeshStatus) -> local_pb2.WatchUpdate:
    return local_pb2.WatchUpdate(differences=[local_pb2.MeshDifference(mesh_id=mesh.id, head=head(mesh))])


def head(mesh: local_pb2.MeshStatus) -> local_pb2.MeshStatus:
    one = local_pb2.MeshStatus()
    one.CopyFrom(mesh)
    del one.members[:]
    return one


async def test_a_request_is_let_in_from_its_notification(desktop: Desktop, panel: Panel, meshd: RecordedMeshd) -> None:
    service = await NotificationService.start(desktop.address)
    desktop.start_tray()
    await panel.registered()
    await panel.until_icon("connected")
    mesh = recordings.mesh(pending=recordings.pending())
    meshd.push(difference(mesh))
    shown = await service.until_shown("desk-alan asks to join home")
    assert "b3f1 9a20" in shown.body
    await panel.until_icon("attention")
    service.click(shown, "Let it in")
    await until(lambda: meshd.calls, "the call")
    assert (meshd.calls[0].mesh, meshd.calls[0].id) == ("home", "4f2a")
    assert isinstance(meshd.calls[0], local_pb2.PeerRequest)
    await service.until_shown("desk-alan is let in to home")
    meshd.push(difference(recordings.mesh()))
    await until(lambda: service.withdrawn == [shown.number], "the request to be withdrawn")
    await service.stop()


async def test_a_click_that_another_program_pretends_is_not_obeyed(
    desktop: Desktop, panel: Panel, meshd: RecordedMeshd
) -> None:
    """Sent to the tray alone, past the rules of the bus."""
    service = await NotificationService.start(desktop.address)
    meshd.status = recordings.status(recordings.mesh(pending=recordings.pending()))
    desktop.start_tray()
    shown = await service.until_shown("desk-alan asks")
    await panel.registered()
    stranger = await connect(desktop.address)
    signal = Message.new_signal(PATH, NAME, "ActionInvoked", "us", [shown.number, "0"])  # "Let it in"
    signal.destination = panel.item
    await stranger.send(signal)
    await panel.until_icon("attention")  # asked and answered after it
    service.click(shown, "Refuse")
    await service.until_shown("desk-alan is refused")
    assert len(meshd.calls) == 1
    stranger.close()
    await service.stop()


async def test_none_is_repeated_by_a_new_tray(desktop: Desktop, panel: Panel, meshd: RecordedMeshd) -> None:
    service = await NotificationService.start(desktop.address)
    meshd.status = recordings.status(recordings.mesh(pending=recordings.pending()))
    tray = desktop.start_tray()
    await service.until_shown("desk-alan asks")
    assert await desktop.stop(tray) == 0
    desktop.start_tray()
    await until(lambda: len(panel.items) == 2, "the icon to be registered again")
    await panel.until_icon("attention")
    # Two later ones, each of which would be behind the repeated one.
    meshd.push(local_pb2.WatchUpdate(events=[recordings.event(90, 0, "an alarm", kind="alarm", severity="error")]))
    await panel.until_menu("I have seen it")
    assert [one.title for one in service.shown if "desk-alan" in one.title] == ["desk-alan asks to join home"]
    await service.stop()


async def test_a_kind_is_switched_off_in_the_menu(desktop: Desktop, panel: Panel, meshd: RecordedMeshd) -> None:
    service = await NotificationService.start(desktop.address)
    desktop.start_tray()
    await panel.registered()
    await panel.until_icon("connected")
    assert (await panel.find("A machine asks")).checked is True
    await panel.click("A machine asks")
    await until(lambda: '"request"' in (desktop.folder / ".config/meshtui/tray.json").read_text(), "it to be kept")
    assert (await panel.find("A machine asks")).checked is False
    mesh = recordings.mesh(pending=recordings.pending())
    meshd.push(difference(mesh))
    await panel.until_icon("attention")
    await panel.click("Refuse")
    await service.until_shown("desk-alan is refused")
    assert [one.title for one in service.shown] == ["desk-alan is refused"]
    await service.stop()


async def test_markup_is_not_obeyed(desktop: Desktop, panel: Panel, meshd: RecordedMeshd) -> None:
    service = await NotificationService.start(desktop.address, "body", "body-markup")
    pending = recordings.pending()
    pending[0].source = "<a href='x'>192.0.2.77</a> & more"
    meshd.status = recordings.status(recordings.mesh(pending=pending))
    desktop.start_tray()
    shown = await service.until_shown("desk-alan asks")
    assert "&lt;a href='x'&gt;192.0.2.77&lt;/a&gt; &amp; more" in shown.body
    assert shown.actions == []  # this service can't
    await service.stop()


async def test_without_a_service_nothing_is_lost_but_the_notification(
    desktop: Desktop, panel: Panel, meshd: RecordedMeshd
) -> None:
    meshd.status = recordings.status(recordings.mesh(pending=recordings.pending()))
    desktop.start_tray()
    await panel.registered()
    await panel.until_icon("attention")
    await until(lambda: "a notification is not shown" in desktop.log(), "the log")
    await panel.click("Let desk-alan in")
    await until(lambda: meshd.calls, "the call")
    # One that comes later is used.
    service = await NotificationService.start(desktop.address)
    await panel.click("Refuse")
    await service.until_shown("desk-alan is refused")
    await service.stop()


async def test_a_slow_service_holds_up_nothing(desktop: Desktop, panel: Panel, meshd: RecordedMeshd) -> None:
    service = await NotificationService.start(desktop.address)
    service.delay_s = 60.0
    meshd.status = recordings.status(recordings.mesh(pending=recordings.pending(), connected_by="nobody"))
    desktop.start_tray()
    await panel.registered()
    await panel.until_icon("attention")
    await panel.click("Disconnect")
    await until(lambda: meshd.calls, "the call", 4)  # and not once it has given up the service
    await until(lambda: "did not answer Notify within 5 s" in desktop.log(), "the tray to give up")
    await service.stop()


async def test_what_a_slow_service_has_not_shown_yet_is_withdrawn_and_replaced(
    desktop: Desktop, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await NotificationService.start(desktop.address)
    bus = await Bus.connect(desktop.address)
    ours = notifications.Notifications(bus, lambda _: None, lambda _: None)
    await ours.start()
    running = asyncio.create_task(ours.run())
    ours.show(Notify("first", "first", ""))
    await service.until_shown("first")
    monkeypatch.setattr(notifications, "LIMIT_S", 0.05)
    service.delay_s = 0.5
    ours.show(Notify("gone", "gone", ""))
    ours.withdraw("gone")
    ours.show(Notify("twice", "once", ""))
    ours.show(Notify("twice", "again", ""))
    gone, once, again = [await service.until_shown(title) for title in ("gone", "once", "again")]
    assert (once.replaces, again.replaces) == (0, once.number)
    await until(lambda: service.withdrawn == [gone.number], "it to be withdrawn")
    ours.show(Notify("first", "anew", ""))
    ours.withdraw("first")
    ours.show(Notify("first", "after all", ""))
    after = await service.until_shown("after all")
    assert after.number not in service.withdrawn
    assert service.withdrawn[-1] == (await service.until_shown("anew")).number
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await bus.close()
    await service.stop()


async def test_what_a_slow_service_shows_can_be_clicked(desktop: Desktop, panel: Panel, meshd: RecordedMeshd) -> None:
    """Its answer, with the number, comes after the tray has given it up and gone on."""
    service = await NotificationService.start(desktop.address)
    service.delay_s = 7.0
    meshd.status = recordings.status(recordings.mesh(pending=recordings.pending()))
    desktop.start_tray()
    shown = await service.until_shown("desk-alan asks")
    service.delay_s = 0.0
    assert "did not answer Notify within 5 s" in desktop.log()

    def clicked() -> bool:
        service.click(shown, "Let it in")  # the answer is on its way
        return bool(meshd.calls)

    await until(clicked, "the call")
    await service.stop()


async def test_nothing_that_can_not_be_clicked_any_more_stays(
    desktop: Desktop, panel: Panel, meshd: RecordedMeshd
) -> None:
    """An ended tray hears no click. Its successor repeats nothing, and has the request in its menu."""
    service = await NotificationService.start(desktop.address)
    meshd.status = recordings.status(recordings.mesh(pending=recordings.pending()))
    tray = desktop.start_tray()
    shown = await service.until_shown("desk-alan asks")
    await panel.registered()
    await panel.click("Quit")
    assert await asyncio.to_thread(tray.wait, 20) == 0
    assert service.withdrawn == [shown.number]
    desktop.start_tray()
    await until(lambda: len(panel.items) == 2, "the icon to be registered again")
    await panel.until_menu("Let desk-alan in")
    assert len(service.shown) == 1
    await service.stop()


async def test_a_service_that_was_restarted_gets_new_numbers(
    desktop: Desktop, panel: Panel, meshd: RecordedMeshd
) -> None:
    service = await NotificationService.start(desktop.address)
    desktop.start_tray()
    await panel.registered()
    await panel.until_icon("connected")
    alarm = recordings.event(90, 0, "the key of gw-oslo changed", kind="alarm", severity="error")
    meshd.push(local_pb2.WatchUpdate(events=[alarm]))
    old = await service.until_shown("Alarm: home")
    assert old.urgency == 2
    await service.stop()
    new = await NotificationService.start(desktop.address, first=100)
    meshd.push(difference(recordings.mesh(pending=recordings.pending())))
    shown = await new.until_shown("desk-alan asks")
    assert (shown.number, shown.replaces) == (101, 0)
    new.click(shown, "Refuse")
    await until(lambda: meshd.calls, "the call")
    await new.stop()
