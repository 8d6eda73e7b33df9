"""The command that installs a program, on each kind of machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from meshd import programs


@pytest.mark.parametrize(
    ("there", "install", "again"),
    [
        (["apt"], "apt install redis-server", "apt install --reinstall nftables"),
        (["dnf"], "dnf install valkey", "dnf reinstall nftables"),
        (["apt", "dnf"], "apt install redis-server", "apt install --reinstall nftables"),  # a Debian that has dnf, too
        ([], "apt install redis-server", "apt install --reinstall nftables"),
    ],
)
def test_a_fix_is_a_command_of_this_distribution(
    there: list[str], install: str, again: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in there:
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setattr(programs, "SYSTEM", str(tmp_path))
    assert programs.install("redis-server") == install
    assert programs.install("nftables", again=True) == again
