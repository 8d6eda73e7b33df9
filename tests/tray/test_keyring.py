"""Keys in a real Secret Service (gnome-keyring): unlocked, locked, missing, and unlocked later."""

from __future__ import annotations

import subprocess

from meshproto import local_pb2
from tray.desktop import BIN, Desktop, Panel, until
from tray.services import NotificationService
from tui.recorded_meshd import RecordedMeshd

from tui import recordings

BEGIN = "from meshproto import person_keys; print(person_keys.begin().name)"
LOCK = "import secretstorage; c = secretstorage.dbus_init(); secretstorage.get_default_collection(c).lock()"
UNLOCKED = (
    "import secretstorage; c = secretstorage.dbus_init(); "
    "raise SystemExit(secretstorage.get_default_collection(c).is_locked())"
)
WAITING = "its keys are in the keyring of nobody; connect with `meshctl up home`"


async def start_keyring(desktop: Desktop) -> subprocess.Popen[bytes]:
    """With its password, as at a login."""
    daemon = run_keyring(desktop)
    await until(lambda: is_unlocked(desktop), "the keyring", 30)
    return daemon


def is_unlocked(desktop: Desktop) -> bool:
    done = subprocess.run(
        ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", str(BIN / "python"), "-c", UNLOCKED],
        env=desktop.environment(), capture_output=True, check=False, cwd="/",
    )  # fmt: skip
    return done.returncode == 0


def run_keyring(desktop: Desktop) -> subprocess.Popen[bytes]:
    daemon = subprocess.Popen(
        ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--pdeathsig=KILL",
         "gnome-keyring-daemon", "--foreground", "--components=secrets", "--unlock"],
        env=desktop.environment(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    desktop.own(daemon)
    assert daemon.stdin is not None
    daemon.stdin.write(b"a password")
    daemon.stdin.close()
    return daemon


def lock(desktop: Desktop) -> None:
    subprocess.run(
        ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", str(BIN / "python"), "-c", LOCK],
        env=desktop.environment(), check=True, cwd="/",
    )  # fmt: skip


def begin(desktop: Desktop) -> str:
    """New keys in the keyring; the name of their entry."""
    done = subprocess.run(
        ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", str(BIN / "python"), "-c", BEGIN],
        env=desktop.environment(), capture_output=True, text=True, check=False, cwd="/",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def waiting(entry: str, **fields: object) -> local_pb2.Status:
    mesh = recordings.mesh(
        state=local_pb2.DOWN, reason=WAITING, wanted=True, keyring_entry=entry, person="nobody", **fields
    )
    return recordings.status(mesh)


def keys_given(meshd: RecordedMeshd) -> bool:
    return any(isinstance(one, local_pb2.ConnectRequest) and one.HasField("keys") for one in meshd.calls)


async def test_at_login_the_keys_are_handed_over(desktop: Desktop, panel: Panel, meshd: RecordedMeshd) -> None:
    await start_keyring(desktop)
    entry = begin(desktop)
    meshd.keyring_entry = entry
    meshd.status = waiting(entry)
    desktop.start_tray()
    await until(lambda: keys_given(meshd), "the keys")
    given = next(one for one in meshd.calls if one.HasField("keys"))
    assert len(given.keys.wireguard) == 32
    assert given.keys.wireguard.hex() not in desktop.log()
    await panel.registered()
    await panel.until_menu("Connect")  # the recorded one shows no change
    assert len(meshd.calls) == 2  # without keys, and with them


async def test_a_locked_keyring_is_a_state_and_unlocking_it_helps(
    desktop: Desktop, panel: Panel, meshd: RecordedMeshd
) -> None:
    daemon = await start_keyring(desktop)
    entry = begin(desktop)
    service = await NotificationService.start(desktop.address)
    lock(desktop)
    meshd.keyring_entry = entry
    meshd.status = waiting(entry)
    desktop.start_tray()
    shown = await service.until_shown("Home could not be connected")
    assert "keyring" in shown.body
    assert "unlock" in shown.body
    await panel.registered()
    await panel.until_menu("The keyring can't be used")
    assert await panel.icon() == "disconnected"
    assert not keys_given(meshd)
    asked = len(meshd.calls)
    meshd.push(local_pb2.WatchUpdate(at_ms=1))
    daemon.kill()
    daemon.wait()
    await start_keyring(desktop)  # with the password: as a person who logs in, or unlocks it
    assert len(meshd.calls) == asked  # nobody was asked again and again
    service.click(shown, "Try again")
    await until(lambda: keys_given(meshd), "the keys")
    await service.stop()


async def test_a_missing_keyring_is_a_state(desktop: Desktop, panel: Panel, meshd: RecordedMeshd) -> None:
    meshd.keyring_entry = "an entry"
    meshd.status = waiting("an entry")
    desktop.start_tray()
    await panel.registered()
    await panel.until_menu("keyring", 30)
    await panel.until_menu("▲", 30)
    assert await panel.icon() == "disconnected"
    assert (await panel.find("Connect")).enabled


async def test_keys_of_somebody_else_are_not_looked_for(desktop: Desktop, panel: Panel, meshd: RecordedMeshd) -> None:
    mesh = recordings.mesh(state=local_pb2.DOWN, reason="its keys are in the keyring of grace", wanted=True)
    mesh.keyring_entry, mesh.person = "an entry", "grace"
    meshd.status = recordings.status(mesh)
    desktop.start_tray()
    await panel.registered()
    await panel.until_menu("Its keys are in the keyring of grace")
    assert meshd.calls == []
