"""backup and restore: the file, the passphrase, and what can be wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from meshctl import backups
from meshctl.main import main
from meshproto import local_pb2

if TYPE_CHECKING:
    from conftest import Canned

PASSPHRASE = "correct horse battery"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESHD_PASSPHRASE", PASSPHRASE)


def test_the_file_is_for_its_owner_only(helper: Canned, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "home.backup"
    assert main(["backup", str(path)]) == 0
    assert path.read_bytes() == b"sealed"
    assert path.stat().st_mode & 0o777 == 0o600
    assert helper.passphrases == [PASSPHRASE]
    assert f"{path} has home as of change 7" in capsys.readouterr().out


def test_nothing_is_overwritten(helper: Canned, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "home.backup"
    path.symlink_to(tmp_path / "nowhere")
    assert main(["backup", str(path)]) == 1
    assert "exists already" in capsys.readouterr().err
    assert main(["backup", str(tmp_path / "no" / "folder")]) == 1
    assert "can't be written: No such file" in capsys.readouterr().err


def test_restore_sends_the_file_and_the_options(helper: Canned, tmp_path: Path) -> None:
    helper.meshes = [local_pb2.MeshStatus(name="home", state=local_pb2.CONNECTED)]
    path = tmp_path / "home.backup"
    path.write_bytes(b"sealed")
    line = ["restore", str(path), "--name", "gw-berlin", "--endpoint", "192.0.2.1", "--join-port", "0"]
    assert main(line) == 0
    (asked,) = helper.restored
    assert (asked.data, asked.passphrase, asked.member_name) == (b"sealed", PASSPHRASE, "gw-berlin")
    assert (asked.endpoint, asked.HasField("join_port"), asked.join_port) == ("192.0.2.1", True, 0)


def test_files_that_can_not_be_one(helper: Canned, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(backups.LARGEST + 1)
    for path, why in ((tmp_path / "none", "can't be read"), (tmp_path, "can't be read"), (large, "too large")):
        assert main(["restore", str(path)]) == 2
        assert why in capsys.readouterr().err
    assert helper.restored == []


def test_without_a_terminal_it_has_to_be_in_the_environment(
    helper: Canned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MESHD_PASSPHRASE")
    assert main(["backup", str(tmp_path / "home.backup")]) == 2
    assert "MESHD_PASSPHRASE" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [] or not (tmp_path / "home.backup").exists()
