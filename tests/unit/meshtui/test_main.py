"""The program from outside."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from meshproto import VERSION

MESHTUI = Path(sys.executable).parent / "meshtui"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [MESHTUI, *arguments], capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL
    )


def test_version() -> None:
    assert run("--version").stdout == f"meshtui {VERSION}\n"


def test_help_names_every_option() -> None:
    text = run("--help").stdout
    assert all(option in text for option in ("--socket", "--mesh", "--theme", "--version", "MESHD_SOCKET", "NO_COLOR"))


def test_without_a_terminal_it_says_what_to_use() -> None:
    done = run()
    assert done.returncode == 1
    assert "meshctl status" in done.stderr


@pytest.mark.parametrize("arguments", [["--theme", "pink"], ["--nonsense"], ["extra"]])
def test_wrong_usage(arguments: list[str]) -> None:
    assert run(*arguments).returncode == 2


@pytest.mark.parametrize("speed", ["abc", "0", "nan", "1001", ""])
def test_a_wrong_speed_is_explained(speed: str) -> None:
    assert f"a speed is a number between 0.1 and 1000, not {speed!r}" in run("--speed", speed).stderr


def test_help_does_not_wait_for_textual() -> None:
    script = "import sys, meshtui.main; sys.exit('textual' in sys.modules or 'grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
