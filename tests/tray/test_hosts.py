"""The menu as Plasma and GNOME keep it: what they show is what the tray means, after every change."""

from __future__ import annotations

from meshproto import local_pb2
from tray.desktop import Desktop, Panel
from tray.menu_hosts import Gnome, Plasma, unpacked
from tui.recorded_meshd import RecordedMeshd

from tui import recordings

STEPS: list[dict[str, object]] = [
    {},
    {"connected_by": "grace"},
    {"connected_by": "grace", "reason": "no answer from gw-berlin for 7 s", "state": local_pb2.STALE},
    {"pending": recordings.pending()},
    {"pending": recordings.pending(), "connected_by": "nobody", "warnings": ["DNS does not work here"]},
    {"state": local_pb2.DOWN, "reason": "disconnected"},
    {"state": local_pb2.CONNECTING, "reason": "no answer yet"},
    {"members": [*recordings.members()[:-1], recordings.member(9, "desk-alan"), recordings.member(10, "desk-ida")]},
    {"members": recordings.offline(recordings.members()[2:])},
    {},
]


async def test_a_change_is_shown_by_hosts_that_keep_what_they_know(
    desktop: Desktop, panel: Panel, meshd: RecordedMeshd
) -> None:
    desktop.start_tray()
    await panel.registered()
    await panel.until_icon("connected")
    hosts = {
        "plasma": Plasma(panel.bus, panel.item), "gnome, open": Gnome(panel.bus, panel.item),
        "gnome, closed": Gnome(panel.bus, panel.item),
    }  # fmt: skip
    for host in hosts.values():
        await host.start()
    for number, fields in enumerate(STEPS):
        mesh = recordings.mesh(**{"connected_by": "nobody", **fields})
        meshd.push(local_pb2.WatchUpdate(snapshot=recordings.status(mesh), at_ms=number))
        events = [recordings.event(100 + number, 0, f"alarm {number}", kind="alarm", severity="error")]
        meshd.push(local_pb2.WatchUpdate(events=events))
        await panel.until_menu(f"alarm {number}")
        meant = await text(panel)
        for name, host in hosts.items():
            for _ in range(50):
                shown = await host.opened()
                if shown == meant:
                    break
            assert shown == meant, f"{name} after step {number}"
            if isinstance(host, Gnome) and name == "gnome, closed":
                host.closed()


async def text(panel: Panel) -> str:
    """The whole menu, as a host shows it that reads all of it."""
    one = Gnome(panel.bus, panel.item)
    _, layout = await one.call("GetLayout", "iias", 0, -1, [])
    assert unpacked(layout)[0] == 0
    wanted: list[int] = []
    one.take(layout, wanted)
    await one.read_properties(wanted)
    return await one.opened()
