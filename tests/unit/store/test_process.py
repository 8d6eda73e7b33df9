"""Which program keeps the data."""

from __future__ import annotations

from pathlib import Path

import pytest
from meshd.model.errors import Failed
from meshd.store import process


def program(folder: Path, name: str) -> Path:
    (folder / name).touch(mode=0o755)
    return folder / name


def test_valkey_serves_where_there_is_no_redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "FOLDERS", "")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Failed, match="redis-server is not installed"):
        process.find_binary(None)
    valkey = program(tmp_path, "valkey-server")
    assert process.find_binary(None) == valkey
    redis = program(tmp_path, "redis-server")
    assert process.find_binary(None) == redis
    assert process.find_binary(valkey) == valkey
