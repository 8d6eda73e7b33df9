"""Xfce's own panel under Xvfb: the icon of each state, and the open menu, as a person sees them."""

from __future__ import annotations

import pytest
from meshproto import local_pb2
from PIL import Image
from tray.desktop import Desktop, until
from tray.xvfb import Screen, free_display
from tui.recorded_meshd import RecordedMeshd

from tui import recordings

HOME = recordings.mesh(connected_by="nobody", members=recordings.members())


@pytest.fixture
async def screen(desktop: Desktop) -> Screen:
    one = Screen(desktop, free_display())
    await one.start()
    await one.start_panel()
    return one


def push(meshd: RecordedMeshd, **fields: object) -> None:
    mesh = recordings.mesh(**{"connected_by": "nobody", "members": [], **fields})
    meshd.push(local_pb2.WatchUpdate(differences=[local_pb2.MeshDifference(mesh_id=mesh.id, head=mesh)], at_ms=1))


async def shown(screen: Screen, meshd: RecordedMeshd, colour: str) -> tuple[int, int]:
    def look() -> tuple[int, int] | None:
        meshd.push(local_pb2.WatchUpdate(at_ms=1))  # the recorded one has no heart of its own
        return screen.find(screen.picture(), colour)

    found: tuple[int, int] = await until(look, f"something {colour} in the panel\n{screen.desktop.log()}", 30)
    return found


STATES = {
    "connecting": ("amber", {"state": local_pb2.CONNECTING, "reason": "no answer from gw-berlin yet"}),
    "degraded": ("amber", {"state": local_pb2.STALE, "reason": "no answer from gw-berlin, gw-paris for 8 s"}),
    "disconnected": ("grey", {"state": local_pb2.DOWN, "reason": "disconnected; connect with `meshctl up home`"}),
    "attention": ("red", {"pending": recordings.pending()}),
    "connected": ("green", {}),
}


async def test_each_state_and_the_menu(desktop: Desktop, screen: Screen, meshd: RecordedMeshd) -> None:
    meshd.status = recordings.status(HOME)
    desktop.start_tray(**screen.environment())
    await shown(screen, meshd, "green")
    assert "StatusNotifierItem with com.canonical.dbusmenu" in desktop.log()
    for name, (colour, fields) in STATES.items():
        push(meshd, **fields)
        at = await shown(screen, meshd, colour)
        if name != "connected":
            assert screen.find(screen.picture(), "green") is None, f"green while {name}"
        picture = screen.picture()
        screen.keep(picture, f"meshtray-{name}", (640, 0, 800, 32))
    before = screen.picture()
    screen.click(at)

    def open_menu() -> bool:
        meshd.push(local_pb2.WatchUpdate(at_ms=1))
        now = screen.picture()
        return sum(a != b for a, b in zip(before.tobytes(), now.tobytes(), strict=True)) > 30_000

    await until(open_menu, "the menu to open", 20)
    screen.keep(screen.picture(), "meshtray-menu", (400, 0, 800, 420))


async def test_a_helper_that_dies_is_grey_at_once(desktop: Desktop, screen: Screen, meshd: RecordedMeshd) -> None:
    desktop.start_tray(**screen.environment())
    await shown(screen, meshd, "green")
    meshd.stop()
    await until(lambda: screen.find(screen.picture(), "green") is None, "green to go", 5)
    await until(lambda: screen.find(screen.picture(), "grey"), "grey to come", 5)


TEXT, OURS = (46, 52, 54), (140, 140, 140)
"""Of Adwaita's light panel, and the one that a picture has where nobody paints it."""


def pixels(picture: Image.Image, colour: tuple[int, int, int]) -> int:
    rgb = picture.crop((0, 0, 800, 32)).tobytes()
    return sum(one == colour for one in zip(rgb[0::3], rgb[1::3], rgb[2::3], strict=True))


async def test_an_icon_without_colours_has_that_of_the_panels_text(
    desktop: Desktop, screen: Screen, meshd: RecordedMeshd
) -> None:
    file = desktop.folder / ".config/meshtui/tray.json"
    file.parent.mkdir()
    file.write_text('{"symbolic": true}')
    desktop.start_tray(**screen.environment())
    await until(lambda: "the icon is registered" in desktop.log(), "the icon", log=desktop.log)

    def painted() -> bool:
        meshd.push(local_pb2.WatchUpdate(at_ms=1))  # the recorded one has no heart of its own
        return pixels(screen.picture(), TEXT) > 100  # the clock alone has 43

    await until(painted, "the icon in the colour of the text", 20, desktop.log)
    assert pixels(screen.picture(), OURS) < 12
