"""A locked keyring, and GNOME's own prompt for it on a screen: answered, dismissed, and left alone."""

from __future__ import annotations

import subprocess

import pytest
from meshproto import local_pb2
from meshtray.bus import DAEMON, DAEMON_PATH, Variant
from tray.desktop import MENU, Desktop, Panel, until
from tray.test_keyring import WAITING, begin, keys_given, lock, start_keyring, waiting
from tray.xvfb import Screen, free_display
from tui.recorded_meshd import RecordedMeshd

from tui import recordings


@pytest.fixture
async def bare(desktop: Desktop, panel: Panel) -> Screen:
    one = Screen(desktop, free_display())
    await one.start()
    # As a session does at its start, so that what the bus starts finds the screen.
    found = {**desktop.environment(), **one.environment()}
    await panel.bus.call(DAEMON, DAEMON_PATH, DAEMON, "UpdateActivationEnvironment", "a{ss}", found)
    return one


@pytest.fixture
async def keyring(desktop: Desktop, bare: Screen) -> subprocess.Popen[bytes]:
    return await start_keyring(desktop)


@pytest.fixture
def screen(desktop: Desktop, bare: Screen, meshd: RecordedMeshd, keyring: subprocess.Popen[bytes]) -> Screen:
    """With a keyring that is locked, and a mesh that waits for the keys in it."""
    meshd.keyring_entry = begin(desktop)
    meshd.status = waiting(meshd.keyring_entry)
    lock(desktop)
    return bare


async def asked(screen: Screen, panel: Panel, meshd: RecordedMeshd) -> None:
    """Until the prompt is there and the tray says so."""

    def prompt() -> str:
        meshd.push(local_pb2.WatchUpdate(at_ms=1))  # the recorded one has no heart of its own
        return screen.run("xdotool", "search", "--onlyvisible", "--class", "gcr-prompter").stdout

    await until(prompt, "the prompt", 30, screen.desktop.log)
    await panel.registered()
    meshd.push(local_pb2.WatchUpdate(at_ms=1))
    await panel.until_menu("home: waiting for your keyring to be unlocked …")
    assert await panel.icon() == "attention"
    assert not keys_given(meshd)


def answer(screen: Screen, *keys: str) -> None:
    """Typed on the keyboard, where the pointer is: there is no window manager."""
    window = screen.run("xdotool", "search", "--onlyvisible", "--class", "gcr-prompter").stdout.split()[-1]
    done = screen.run("xdotool", "windowfocus", window, *keys)
    assert done.returncode == 0, done.stderr


async def test_a_prompt_that_is_answered_connects(
    desktop: Desktop, screen: Screen, panel: Panel, meshd: RecordedMeshd
) -> None:
    desktop.start_tray()
    await asked(screen, panel, meshd)
    answer(screen, "type", "--delay", "5", "a password")
    answer(screen, "key", "Return")
    await until(lambda: keys_given(meshd), "the keys", 20, desktop.log)


async def test_a_prompt_that_is_dismissed_is_not_shown_again_unless_asked_for(
    desktop: Desktop, screen: Screen, panel: Panel, meshd: RecordedMeshd
) -> None:
    desktop.start_tray()
    await asked(screen, panel, meshd)
    answer(screen, "key", "Escape")
    meshd.push(local_pb2.WatchUpdate(at_ms=1))
    await panel.until_menu("▲ The keyring can't be used", 20)
    assert await panel.icon() == "disconnected"
    meshd.push(local_pb2.WatchUpdate(snapshot=waiting(meshd.keyring_entry)))
    await panel.until_menu("Connect")
    assert "gcr-prompter" not in screen.run("xdotool", "search", "--onlyvisible", "--class", "gcr-prompter").stdout
    await panel.click("Connect")
    await asked(screen, panel, meshd)
    answer(screen, "type", "--delay", "5", "a password")
    answer(screen, "key", "Return")
    await until(lambda: keys_given(meshd), "the keys", 20, desktop.log)


async def test_a_prompt_that_nobody_answers_holds_up_nothing(
    desktop: Desktop, screen: Screen, panel: Panel, meshd: RecordedMeshd
) -> None:
    home = recordings.mesh(
        state=local_pb2.DOWN, reason=WAITING, wanted=True, keyring_entry=meshd.keyring_entry, person="nobody"
    )
    meshd.status = recordings.status(home, recordings.mesh("work", connected_by="nobody"))
    tray = desktop.start_tray()
    await asked(screen, panel, meshd)
    await panel.click("Disconnect")
    await until(lambda: local_pb2.DisconnectRequest(mesh="work") in meshd.calls, "the other mesh to be let go")
    asked_for = [one for one in meshd.calls if isinstance(one, local_pb2.ConnectRequest)]
    assert len(asked_for) == 1
    await panel.click("Quit")
    await until(lambda: tray.poll() is not None, "the tray to end", 5)
    assert tray.returncode == 0


async def test_a_prompt_is_answered_once_for_all_meshes(
    desktop: Desktop, screen: Screen, panel: Panel, meshd: RecordedMeshd
) -> None:
    """Dismissed once, it does not come for the next one; and unlocked once, both get their keys."""

    def waits(name: str) -> local_pb2.MeshStatus:
        return recordings.mesh(
            name, state=local_pb2.DOWN, reason=WAITING, wanted=True, keyring_entry=meshd.keyring_entry, person="nobody"
        )

    meshd.status = recordings.status(waits("home"), waits("work"))
    desktop.start_tray()
    await asked(screen, panel, meshd)
    answer(screen, "key", "Escape")
    await until(lambda: desktop.log().count("could not be connected") == 2, "both to be told of", 20, desktop.log)
    assert screen.run("xdotool", "search", "--onlyvisible", "--class", "gcr-prompter").stdout == ""
    meshd.push(local_pb2.WatchUpdate(at_ms=1))
    for name in ("home", "work"):
        menu = await panel.menu()
        (one,) = (entry for entry in menu.children if f"{name}: disconnected" in entry.label)
        (connect,) = (entry for entry in one.children if entry.label == "Connect")
        await panel.bus.call(
            panel.item, "/Menu", MENU, "Event", "isvu", connect.number, "clicked", Variant("s", ""), 0
        )  # fmt: skip
    await asked(screen, panel, meshd)
    answer(screen, "type", "--delay", "5", "a password")
    answer(screen, "key", "Return")

    def given() -> set[str]:
        found = (one for one in meshd.calls if isinstance(one, local_pb2.ConnectRequest))
        return {one.mesh for one in found if one.HasField("keys")}

    await until(lambda: given() == {"home", "work"}, "the keys of both", 20, desktop.log)


async def test_a_keyring_that_dies_with_its_prompt_is_noticed(
    desktop: Desktop, screen: Screen, panel: Panel, meshd: RecordedMeshd, keyring: subprocess.Popen[bytes]
) -> None:
    desktop.start_tray()
    await asked(screen, panel, meshd)
    keyring.kill()
    keyring.wait()
    meshd.push(local_pb2.WatchUpdate(at_ms=1))
    await panel.until_menu("▲ The keyring ended while it was asked → try again", 10)
    assert await panel.icon() == "disconnected"
