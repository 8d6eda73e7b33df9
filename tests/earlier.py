"""Earlier commits of this repository, which tests run beside the present one; packaging/earlier-releases has those that
members may still run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]


class CommitMissing(Exception):
    """Raised in a clone that has not got the whole history."""


def releases() -> list[tuple[str, str]]:
    """Version and commit of each, the oldest first."""
    lines = (TOP / "packaging/earlier-releases").read_text().splitlines()
    return [(version, commit) for version, commit in (line.split() for line in lines if not line.startswith("#"))]


def unpack(commit: str, folder: Path) -> Path:
    """Puts the files of a commit into an empty folder, which it returns. Raises CommitMissing."""
    done = subprocess.run(["git", "-C", TOP, "archive", commit], capture_output=True)
    if done.returncode:
        said = done.stderr.decode().strip()
        raise CommitMissing(
            f"commit {commit} is not in this clone; a shallow one needs `git fetch --unshallow`: {said}"
        )
    subprocess.run(["tar", "-x", "-C", folder], input=done.stdout, check=True)
    return folder


def program(tree: Path, name: str) -> Sequence[str]:
    """The command that runs meshd or meshctl of an unpacked tree, on this interpreter with its libraries."""
    folders = ":".join(str(tree / one) for one in ("protocol", "helper", "tui"))
    return ["env", f"PYTHONPATH={folders}", sys.executable, "-c", f"from {name}.main import run; run()"]
