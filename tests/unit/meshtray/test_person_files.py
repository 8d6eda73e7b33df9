"""Preferences, autostart, programs, downloads: files and programs of a person."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import pytest
from meshproto.format_error import FormatError
from meshtray import actions, autostart, dialogs, preferences, programs
from meshtray.connection import Refused
from meshtray.values import Kind, Preferences


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "etc/xdg"))
    return tmp_path


def test_preferences_are_found_again() -> None:
    kept = Preferences(frozenset({Kind.ALARM, Kind.REQUEST}), True, ("request/x",), ("alarm/y",))
    preferences.save(preferences.default_path(), kept)
    assert preferences.load(preferences.default_path()) == kept


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"muted": 3, "told": {"a": 1}, "seen": [1, null], "symbolic": "yes"}', '{"muted": ["x"]}']
)
def test_preferences_that_can_not_be_read_are_none(text: str, home: Path) -> None:
    path = home / "tray.json"
    path.write_text(text)
    assert preferences.load(path) == Preferences()


def test_preferences_that_can_not_be_written_stop_nothing(home: Path) -> None:
    (home / "file").write_text("")
    preferences.save(home / "file" / "tray.json", Preferences())


def test_autostart_is_what_its_file_says(home: Path) -> None:
    assert not autostart.is_on()
    autostart.set_on(True)
    assert autostart.is_on()
    file = home / ".config/autostart/meshtray.desktop"
    text = file.read_text()
    (line,) = (one for one in text.splitlines() if one.startswith("Exec="))
    assert shlex.split(line.removeprefix("Exec="))[0].endswith("meshtray")
    file.write_text(text + "Hidden = True\n")  # how a desktop's own settings switch it off
    assert not autostart.is_on()
    autostart.set_on(True)
    assert file.read_text() == text
    for _ in range(2):
        autostart.set_on(False)
        assert not autostart.is_on()


def test_off_stays_off_when_a_package_comes_later(home: Path) -> None:
    autostart.set_on(False)
    everybody = home / "etc/xdg/autostart/meshtray.desktop"
    everybody.parent.mkdir(parents=True)
    everybody.write_text("[Desktop Entry]\nExec=meshtray\n")
    assert not autostart.is_on()


def test_what_a_package_starts_for_everybody_is_switched_off_for_one(home: Path) -> None:
    everybody = home / "etc/xdg/autostart/meshtray.desktop"
    everybody.parent.mkdir(parents=True)
    everybody.write_text("[Desktop Entry]\nExec=meshtray\n")
    own = home / ".config/autostart/meshtray.desktop"
    assert autostart.is_on()
    autostart.set_on(False)
    assert not autostart.is_on()
    assert "Hidden=true" in own.read_text()
    autostart.set_on(True)
    assert autostart.is_on()
    assert not own.exists()


@pytest.mark.parametrize(("path", "quoted"), [("/opt/a/meshtray", "/opt/a/meshtray"), ("/a b/x%", '"/a b/x%%"')])
def test_what_a_desktop_file_would_misread_is_quoted(path: str, quoted: str) -> None:
    assert autostart._quoted(path) == quoted


def make_program(folder: Path, name: str) -> None:
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("there", "chosen", "expected"),
    [
        (["xterm", "konsole"], "", ["konsole", "-p", "TerminalColumns=80", "-p", "TerminalRows=36", "-e", "x", "y"]),
        (["xterm", "gnome-terminal"], "", ["gnome-terminal", "--geometry=80x36", "--", "x", "y"]),
        (["xterm", "foot"], "foot", ["foot", "--window-size-chars=80x36", "x", "y"]),
        (["xterm", "mine"], "mine", ["mine", "-e", "x", "y"]),
        (["xterm", "terminator"], "terminator", ["terminator", "--geometry=80x36", "-x", "x", "y"]),
        (["foot"], "foot --app-id 'a b'", ["foot", "--app-id", "a b", "--window-size-chars=80x36", "x", "y"]),
        (["xterm"], "foot --app-id", ["xterm", "-geometry", "80x36", "-e", "x", "y"]),
        (["qterminal"], "it's broken", ["qterminal", "-e", "x", "y"]),
        (["xterm", "my term"], "my term", ["my term", "-e", "x", "y"]),
        (["xterm"], "gone", ["xterm", "-geometry", "80x36", "-e", "x", "y"]),
        (
            ["xterm", "gnome-terminal", "x-terminal-emulator -> gnome-terminal.wrapper"],
            "",
            ["gnome-terminal", "--geometry=80x36", "--", "x", "y"],
        ),
        (["xterm", "x-terminal-emulator -> lxterm"], "", ["x-terminal-emulator", "-e", "x", "y"]),
        (["xterm", "xdg-terminal-exec"], "", ["xdg-terminal-exec", "x", "y"]),
    ],
)
def test_the_terminal_of_the_person(there: list[str], chosen: str, expected: list[str], home: Path) -> None:
    for name in there:
        link, _, program = name.rpartition(" -> ")
        make_program(home, program)
        if link:
            (home / link).symlink_to(home / program)
    found = programs.terminal_command(["x", "y"], {"PATH": str(home), "TERMINAL": chosen}, (80, 36))
    assert [os.path.basename(found[0]), *found[1:]] == expected


async def test_the_token_of_an_earlier_click_is_not_handed_on(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(programs.TOKEN, "earlier")
    for token in ("", "now"):
        await programs.start(["sh", "-c", f'echo "${programs.TOKEN}" >> "$HOME/tokens"'], token)
    assert (home / "tokens").read_text().splitlines() == ["", "now"]


def test_without_a_terminal_one_is_named(home: Path) -> None:
    with pytest.raises(programs.NoProgram, match="no terminal was found") as raised:
        programs.terminal_command(["x"], {"PATH": str(home)})
    assert "xterm" in raised.value.fix


async def test_a_program_that_fails_says_why() -> None:
    with pytest.raises(programs.NoProgram, match="it is broken"):
        await programs.output(["sh", "-c", "echo it is broken >&2; exit 3"])
    with pytest.raises(programs.NoProgram, match="did not end within"):
        await programs.output(["sleep", "60"], limit_s=0.05)
    with pytest.raises(programs.NoProgram, match="can't be started"):
        await programs.output(["/nowhere/program"])
    assert await programs.output(["cat"], b"text") == b"text"


def test_downloads_are_where_the_desktop_has_them(home: Path) -> None:
    assert actions.downloads() == home
    (home / "Downloads").mkdir()
    assert actions.downloads() == home / "Downloads"
    (home / ".config").mkdir()
    (home / "Herunterladen").mkdir()
    (home / ".config/user-dirs.dirs").write_text('# x\nXDG_DOWNLOAD_DIR="$HOME/Herunterladen"\n')
    assert actions.downloads() == home / "Herunterladen"


def test_secrets_are_for_their_person_alone(home: Path) -> None:
    path = actions.write_secret(home / "x.mesh", "secret")
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        actions.write_secret(home / "x.mesh", "other")


def test_what_a_desktop_hands_over(home: Path) -> None:
    file = home / "home.mesh"
    file.write_text("invite = 'x'")
    assert actions.contents(str(file)) == "invite = 'x'"
    assert actions.contents(f"file://{file}") == "invite = 'x'"
    again = home / "home (1)#2?%.mesh"
    again.write_text("invite = 'y'")
    for uri in (again.as_uri(), f"file://localhost{quote(str(again))}", f"file:{quote(str(again))}"):
        assert actions.contents(uri) == dialogs._from_file(uri) == "invite = 'y'"
    assert actions.contents("mesh://join/mesh1-abc") == "mesh://join/mesh1-abc"
    assert actions.contents("") == ""
    with pytest.raises(FileNotFoundError):
        actions.contents(str(home / "gone.mesh"))


def test_until_tomorrow_morning() -> None:
    now = datetime(2026, 11, 21, 23, 30).astimezone()
    left = actions.until_morning_ms(int(now.timestamp() * 1000))
    assert left == 7.5 * 3_600_000


@pytest.mark.parametrize(
    ("evening", "hours"), [("2026-10-24T22:00+02:00", 10), ("2026-03-28T22:00+01:00", 8), ("2026-07-01T22:00+02:00", 9)]
)
def test_until_tomorrow_morning_in_a_night_when_the_clocks_are_changed(
    evening: str, hours: int, in_berlin: None
) -> None:
    left = actions.until_morning_ms(int(datetime.fromisoformat(evening).timestamp() * 1000))
    assert left == hours * 3_600_000


@pytest.fixture
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("what", ["file:///home/ada/%00.mesh", "file://[", "home\0.mesh"])
def test_a_name_that_no_file_can_have(what: str) -> None:
    with pytest.raises(Refused):
        actions.contents(what)
    assert dialogs._from_file(what) == what


def test_the_home_of_nobody() -> None:
    assert dialogs._from_file("~no-such-user/home.mesh") == "~no-such-user/home.mesh"


@pytest.mark.parametrize("what", ["", "hello", "meshkey1-x", "mesh1-", "mesh://join/x", "invite = 3"])
def test_a_dialog_refuses_what_is_no_invite(what: str) -> None:
    with pytest.raises(FormatError) as raised:
        dialogs.readable(what)
    assert raised.value.fix
