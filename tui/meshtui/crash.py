"""What a person is told of a fault of meshtui itself: two lines, and where the trace is. No variables or secrets.

Called by main once the terminal is itself again.
"""

from __future__ import annotations

import os
import re
import traceback
from pathlib import Path

from meshproto.plain_text import plain

SECRETS = re.compile(r"mesh(?:key)?1-\S*|[A-Za-z0-9+/]{42,}=?|[a-z2-7]{32,}", re.IGNORECASE)
"""Invites and cluster keys, whole or cut, and keys of WireGuard: an error may quote what was pasted."""


def default_path() -> Path:
    """XDG Base Directory Specification."""
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(home) / "meshtui" / "crash.txt"


def told(error: BaseException, path: Path) -> str:
    """Keeps the trace in `path`, which only this person reads, and gives what to say."""
    error = getattr(error, "error", error)  # of a worker of Textual
    frames = traceback.extract_tb(error.__traceback__)
    where = f", {Path(frames[-1].filename).name} line {frames[-1].lineno}" if frames else ""
    said = f"meshtui: it failed by a fault of its own ({type(error).__name__}{where}); the mesh is not concerned\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(trace(error))
    except OSError as failure:
        return f"{said}fix: start it again; the trace could not be kept in {path}: {failure.strerror}\n"
    return f"{said}fix: start it again, and report it with {path}, which has no secret\n"


def trace(error: BaseException) -> str:
    """Lines of code and what each error says; values of variables are not in it."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=False)
    found: list[str] = []
    _add(shown, found)
    return "\n".join(found) + "\n"


def _add(shown: traceback.TracebackException, found: list[str]) -> None:
    before = shown.__cause__ or (None if shown.__suppress_context__ else shown.__context__)
    if before is not None:
        _add(before, found)
        found.append("\nfollowed by\n")
    found += "".join(shown.stack.format()).splitlines()
    # Only what an error says is made from values; lines of code stay as they are.
    found += [SECRETS.sub("…", plain(line)) for text in shown.format_exception_only() for line in text.splitlines()]
    for number, one in enumerate(shown.exceptions or ()):
        found.append(f"\npart {number + 1}\n")
        _add(one, found)
