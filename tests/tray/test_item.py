"""The icon and its menu over D-Bus, asked as a panel asks."""

from __future__ import annotations

from functools import partial

import pytest
from meshproto import local_pb2
from meshtray.bus import BusError
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
    assert found["IconAccessibleDesc"] == "home: connected, 10.51.0.4"
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


async def test_another_version_of_meshd_is_shown(desktop: Desktop, panel: Panel, meshd: RecordedMeshd) -> None:
    meshd.status.version = "9.9.9"
    desktop.start_tray()
    await panel.registered()
    await panel.until_menu("▲ meshd is 9.9.9, meshtray ")


async def test_markup_in_a_tooltip_is_not_obeyed(desktop: Desktop, panel: Panel, meshd: RecordedMeshd) -> None:
    """The text may hold a subset of HTML, and waybar reads the title as markup too."""
    pending = recordings.pending()
    pending[0].name = "<b>&x"
    warnings = ["<img src='http://192.0.2.1/'>", "a & b"]
    meshd.status = recordings.status(recordings.mesh(pending=pending, warnings=warnings))
    desktop.start_tray()
    await panel.registered()
    await panel.until_icon("degraded")
    _, _, title, text = (await panel.properties())["ToolTip"]
    assert title == "home: connected, 10.51.0.4"
    assert text.splitlines() == [
        "   &lt;b&gt;&amp;x asks to be let in", "   &lt;img src='http://192.0.2.1/'&gt;", "   a &amp; b",
    ]  # fmt: skip


async def test_it_answers_a_ping(desktop: Desktop, panel: Panel, meshd: RecordedMeshd) -> None:
    desktop.start_tray()
    await panel.registered()
    assert await panel.bus.call(panel.item, "/StatusNotifierItem", "org.freedesktop.DBus.Peer", "Ping") == []


async def test_properties_as_other_hosts_ask_for_them(desktop: Desktop, panel: Panel, meshd: RecordedMeshd) -> None:
    """One by one, by groups, only some of them; and what is not there is an error and not the end."""
    desktop.start_tray()
    await panel.registered()
    await panel.until_icon("connected")
    head = (await panel.menu()).children[0]
    ask = partial(panel.bus.call, panel.item, "/Menu", "com.canonical.dbusmenu")
    (value,) = await ask("GetProperty", "is", head.number, "label")
    assert value.value == "● home: connected"
    ((number, found),) = (await ask("GetGroupProperties", "aias", [head.number, 9999], ["label"]))[0]
    assert (number, list(found)) == (head.number, ["label"])
    _, (root, properties, inside) = await ask("GetLayout", "iias", 0, 0, [])
    assert (root, inside) == (0, [])
    assert properties["children-display"].value == "submenu"
    assert await ask("AboutToShowGroup", "ai", [0, 9999]) == [[], [9999]]
    for member, signature, *values in (
        ("GetProperty", "is", 9999, "label"), ("GetLayout", "iias", 9999, -1, []), ("Nothing", ""),
        ("GetProperty", "s", "label"),
    ):  # fmt: skip
        with pytest.raises(BusError):
            await ask(member, signature, *values)
    (xml,) = await panel.bus.call(panel.item, "/Menu", "org.freedesktop.DBus.Introspectable", "Introspect")
    assert '<method name="GetLayout">' in xml
    assert await panel.icon() == "connected"
