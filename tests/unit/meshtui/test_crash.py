"""What is said when meshtui fails, and what is kept of it: never a variable, never a secret."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

from meshtui import crash
from textual.worker import WorkerFailed

KEY = "meshkey1-" + "abcdefghijklmnopqrstuvwxyz234567" * 2
PRIVATE = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="


def failure(said: str) -> ValueError:
    pasted = f"{KEY} {PRIVATE}"
    try:
        raise ValueError(said.format(pasted))
    except ValueError as error:
        return error


def test_it_says_where_and_keeps_the_trace_for_this_person(tmp_path: Path) -> None:
    path = tmp_path / "state" / "crash.txt"
    said = crash.told(failure("odd"), path)
    assert "fault of its own (ValueError, test_crash.py line" in said
    assert str(path) in said
    assert len(said.splitlines()) == 2
    assert path.stat().st_mode & 0o777 == 0o600
    assert "ValueError: odd" in path.read_text()
    assert "raise ValueError" in path.read_text()


def test_no_secret_is_said_or_kept(tmp_path: Path) -> None:
    path = tmp_path / "crash.txt"
    try:
        raise RuntimeError(f"again {KEY[:30]}") from failure("what was pasted: {}")
    except RuntimeError as error:
        caught = error
    together = crash.told(caught, path) + path.read_text()
    assert "what was pasted: " in together
    assert "RuntimeError: again " in together
    for secret in (KEY, KEY[9:], KEY[:30], PRIVATE, PRIVATE[:20]):
        assert secret not in together


def test_of_a_worker_the_error_in_it(tmp_path: Path) -> None:
    assert "ValueError" in crash.told(WorkerFailed(failure("odd")), tmp_path / "crash.txt")


def test_a_trace_that_cannot_be_kept_is_said(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    assert "could not be kept" in crash.told(failure("odd"), tmp_path / "state" / "crash.txt")


def test_the_program_prints_no_variables(tmp_path: Path) -> None:
    """A fault in a form with a cluster key in it, in the real program on a real terminal."""
    script = f"""
import sys
from meshtui import app, main
def fail(self):
    pasted = {KEY!r}[::-1][::-1]
    raise RuntimeError("judged " + pasted)
app.MeshtuiApp.on_ready = fail
sys.exit(main.main(["--socket", {str(tmp_path / "none")!r}]))
"""
    ours, theirs = pty.openpty()
    try:
        ran = subprocess.Popen(
            [sys.executable, "-c", script], stdin=theirs, stdout=theirs, stderr=theirs,
            env={**os.environ, "XDG_STATE_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "TERM": "xterm"},
        )  # fmt: skip
        os.close(theirs)
        shown = b""
        while True:
            try:
                more = os.read(ours, 65536)
            except OSError:  # EIO, pty(7): the other end is closed
                break
            if not more:
                break
            shown += more
        assert ran.wait(60) == 1
    finally:
        os.close(ours)
    text = shown.decode(errors="replace")
    assert "fault of its own (RuntimeError" in text
    assert str(tmp_path / "meshtui" / "crash.txt") in text
    assert "pasted" not in text
    assert KEY[9:40] not in text
    kept = (tmp_path / "meshtui" / "crash.txt").read_text()
    assert "judged " in kept
    assert KEY[9:40] not in kept
