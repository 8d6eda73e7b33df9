"""packaging/demo as a person starts it: in a terminal, kept, looked at again, interrupted, removed; and its check."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from lab.hosts.host import NETWORK_STATE, PATIENCE, wait_until
from lab.terminal import Screen

DEMO = Path(__file__).parents[2] / "packaging/demo"
RECORD, CHECK_RECORD = Path("/run/meshtui-demo.json"), Path("/run/meshtui-demo-check.json")
BUILT = 60
"""Seconds that building the mesh may take."""
QUESTION = "[k]eep it or [r]emove it?"


def machine() -> dict[str, str]:
    """What of this machine's network a demo must leave as it was; its processes are in `Traces`."""
    names = ("links", "addresses", "routes", "rules", "nftables", "sysctls", "hosts")
    return {name: subprocess.check_output(["sh", "-c", NETWORK_STATE[name]], text=True) for name in names}


class Traces:
    """What demos make on this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._before = machine()

    def __call__(self) -> list[str]:
        """Records, folders of hosts, and processes that were told to use them."""
        found = [str(path) for path in (RECORD, CHECK_RECORD, *self._folder.iterdir()) if path.exists()]
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it ended just now
                if f"LAB_STATE={self._folder}/".encode() in (process / "environ").read_bytes():
                    found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        return found

    def vanish(self) -> None:
        try:
            wait_until(lambda: not self(), 5, "nothing to be left")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self()}") from None
        assert machine() == self._before


@pytest.fixture
def traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Traces]:
    if RECORD.exists() or CHECK_RECORD.exists():
        pytest.fail(f"a demo runs or was kept on this machine: {DEMO} --remove")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    yield Traces(tmp_path)
    subprocess.run([str(DEMO), "--remove"], check=False, stdout=subprocess.DEVNULL)


def test_kept_looked_at_again_and_removed(traces: Traces) -> None:
    screen = Screen([str(DEMO)])
    try:
        screen.shows("meshtui", "5 of 5 online", "laptop-grace", limit=BUILT)
        screen.press("q")
        screen.shows(QUESTION)
        screen.press("x", "Enter")
        wait_until(lambda: screen.text().count(QUESTION) == 2, 5, "the question again after an answer that is none")
        screen.press("k", "Enter")
        screen.shows("It is kept", "--remove", "ended with 0")
    finally:
        screen.close()
    inits = {host["pid"] for host in json.loads(RECORD.read_text())["hosts"]}
    screen = Screen([str(DEMO)])
    try:
        screen.shows("5 of 5 online", limit=15)
        screen.press("q")
        screen.shows(QUESTION)
        assert {host["pid"] for host in json.loads(RECORD.read_text())["hosts"]} == inits, "the same mesh, no other"
        screen.press("Enter")
        screen.shows("the mesh is removed", "ended with 0")
    finally:
        screen.close()
    traces.vanish()


@pytest.mark.parametrize(
    ("number", "step"),
    [(signal.SIGTERM, "five hosts"), (signal.SIGHUP, "five hosts"), (signal.SIGINT, "gw-paris: meshctl join")],
)
def test_stopped_while_it_builds_it_leaves_nothing(traces: Traces, number: signal.Signals, step: str) -> None:
    demo = subprocess.Popen([str(DEMO), "--check"], stdout=subprocess.PIPE, text=True)
    assert demo.stdout is not None
    with demo.stdout:
        wait_until(lambda: step in demo.stdout.readline(), BUILT, step)  # type: ignore[union-attr]
        demo.send_signal(number)
        assert demo.wait(30 * PATIENCE) == 128 + number
    traces.vanish()


def test_what_a_killed_one_left_is_removed_by_the_next_which_passes_its_check(traces: Traces) -> None:
    demo = subprocess.Popen([str(DEMO), "--check"], stdout=subprocess.PIPE, text=True)
    assert demo.stdout is not None
    with demo.stdout:
        wait_until(lambda: "meshd runs on each" in demo.stdout.readline(), BUILT, "the first hosts")  # type: ignore[union-attr]
        demo.kill()
        demo.wait()
    assert traces()
    done = subprocess.run([str(DEMO), "--check"], capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("removed what an interrupted demo had left\n")
    assert "all 20 pairs reach each other by IPv4 and IPv6" in done.stdout
    assert "all good: " in done.stdout
    traces.vanish()


def test_only_one_at_a_time(traces: Traces) -> None:
    first = subprocess.Popen([str(DEMO), "--check"], stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    with first.stdout:
        first.stdout.readline()
        second = subprocess.run([str(DEMO), "--check"], capture_output=True, text=True, check=False)
        first.terminate()
        first.wait(30 * PATIENCE)
    assert second.returncode == 1
    assert "another one is open" in second.stderr
    traces.vanish()


def test_without_a_terminal_it_says_what_works(traces: Traces) -> None:
    done = subprocess.run([str(DEMO)], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--check needs none" in done.stderr
    assert not traces()
