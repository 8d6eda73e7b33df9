"""The file of a recording: what was written is read, and nothing else breaks the reader."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproto.recording import HEAD, MAGIC, NoRecording, Recorder, read


@given(st.lists(st.tuples(st.integers(0, 1 << 62), st.binary(max_size=200))))
def test_what_is_written_is_read(records: list[tuple[int, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hour"
        recorder = Recorder(path)
        for at_ms, update in records:
            recorder.write(at_ms, update)
        recorder.close()
        assert list(read(path)) == records
        assert path.stat().st_mode & 0o777 == 0o600


def test_an_existing_file_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "hour").write_text("mine")
    with pytest.raises(NoRecording, match="exists already"):
        Recorder(tmp_path / "hour")
    with pytest.raises(NoRecording, match="can't be written"):
        Recorder(tmp_path / "no" / "folder")


def test_the_end_may_be_cut_off(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "hour")
    recorder.write(1, b"first")
    recorder.write(2, b"second")
    recorder.close()
    whole = (tmp_path / "hour").read_bytes()
    for length in range(len(whole) - len(b"second") - HEAD.size, len(whole)):
        (tmp_path / "cut").write_bytes(whole[:length])
        assert list(read(tmp_path / "cut")) == [(1, b"first")]


@pytest.mark.parametrize("content", [b"", b"hello", b"\x00" * 100, MAGIC[:-1]])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "other").write_bytes(content)
    with pytest.raises(NoRecording, match="is no recording"):
        list(read(tmp_path / "other"))


def test_a_missing_and_a_damaged_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(NoRecording, match="can't be read"):
        list(read(tmp_path / "none"))
    (tmp_path / "bad").write_bytes(MAGIC + b"\xff" * 40)
    with pytest.raises(NoRecording, match="damaged"):
        list(read(tmp_path / "bad"))


@given(st.binary(max_size=300))
def test_whatever_follows_the_first_line_ends(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any"
        path.write_bytes(MAGIC + data)
        with contextlib.suppress(NoRecording):
            assert len(list(read(path))) <= len(data)
