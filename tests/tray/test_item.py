"""The icon and its menu over D-Bus, asked as a panel asks."""

from __future__ import annotations

from meshproto import local_pb2
from tray.desktop import Desktop, Panel, until
from tui.recorded_meshd import RecordedMeshd

from tui import recordings


async def test_a_panel_sees_icon_tooltip_and_menu(desktop: Desktop, panel: Panel, meshd: RecordedMeshd) -> None:
    desktop.start_tray()
    await panel.registered()
    await panel.until_icon("connected")
    found = await panel.properties()
    assert found["Status"] == "Active"
    assert found["Id"] == "meshtray"
    assert found["ItemIsMenu"] is True
    assert [one[0] for one in found["IconPixmap"]] == [16, 22, 24, 32, 48]
    assert "home: connected, 10.51.0.4" in await panel.tooltip()
    menu = await panel.menu()
    text = menu.text()
    assert "● home: connected  (off)" in text
    assert "laptop-ada: 10.51.0.4" in text
    assert "  ● laptop-grace  10.51.0.5 through gw-berlin" in text
    assert "Quit (home stays as it is)" in text
    assert "StatusNotifierItem" in desktop.log()


async def test_connect_and_disconnect(desktop: Desktop, panel: Panel, meshd: RecordedMeshd) -> None:
    mesh = recordings.mesh(connected_by="nobody")
    meshd.status = recordings.status(mesh)
    desktop.start_tray()
    await panel.registered()
    await panel.until_menu("Disconnect")
    await panel.click("Disconnect")
    await until(lambda: meshd.calls, "a call")
    assert meshd.calls == [local_pb2.DisconnectRequest(mesh="home")]
    mesh.state, mesh.reason = local_pb2.DOWN, "disconnected; connect with `meshctl up home`"
    del mesh.members[:]
    meshd.push(local_pb2.WatchUpdate(differences=[local_pb2.MeshDifference(mesh_id=mesh.id, head=mesh)]))
    await panel.until_icon("disconnected")
    await panel.until_menu("Connect")
    await panel.click("Connect")
    await until(lambda: len(meshd.calls) == 2, "a second call")
    assert meshd.calls[1] == local_pb2.ConnectRequest(mesh="home")
    mesh.state, mesh.reason = local_pb2.CONNECTED, ""
    meshd.push(local_pb2.WatchUpdate(differences=[local_pb2.MeshDifference(mesh_id=mesh.id, head=mesh)]))
    await panel.until_icon("connected")
