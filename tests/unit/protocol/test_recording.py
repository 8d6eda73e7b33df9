"""The file of a recording: what was written is read, and nothing else breaks the reader."""

from __future__ import annotations

import contextlib
import gzip
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproto.recording import HEAD, MAGIC, OLD_MAGIC, PACKED, NoRecording, Recorder, read


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
    found = []
    for length in range(30, len(whole)):
        (tmp_path / "cut").write_bytes(whole[:length])
        with contextlib.suppress(NoRecording):  # not even the first line is whole
            found.append(list(read(tmp_path / "cut")))
    assert found[0] == []
    assert found[-1] == [(1, b"first"), (2, b"second")]
    assert all(one in ([], [(1, b"first")], [(1, b"first"), (2, b"second")]) for one in found)


def test_what_was_written_is_in_the_file_at_once(tmp_path: Path) -> None:
    """A crash loses nothing that `write` has done."""
    recorder = Recorder(tmp_path / "hour")
    for number in range(1, 4):
        recorder.write(number, b"update")
        assert list(read(tmp_path / "hour")) == [(at_ms, b"update") for at_ms in range(1, number + 1)]
    recorder.close()


def test_files_of_the_first_format_are_read(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(OLD_MAGIC + HEAD.pack(1, 5) + b"first" + HEAD.pack(2, 6) + b"second")
    assert list(read(tmp_path / "old")) == [(1, b"first"), (2, b"second")]


@pytest.mark.parametrize("content", [b"", b"hello", b"\x00" * 100, OLD_MAGIC[:-1], gzip.compress(b"hello")])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "other").write_bytes(content)
    with pytest.raises(NoRecording, match="is no recording"):
        list(read(tmp_path / "other"))


def test_a_missing_and_a_damaged_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(NoRecording, match="can't be read"):
        list(read(tmp_path / "none"))
    for bad in (
        OLD_MAGIC + b"\xff" * 40,
        gzip.compress(MAGIC + b"\xff" * 40),
        gzip.compress(MAGIC)[:12] + b"\xff" * 40,
    ):
        (tmp_path / "bad").write_bytes(bad)
        with pytest.raises(NoRecording, match="damaged"):
            list(read(tmp_path / "bad"))


@given(st.binary(max_size=300), st.sampled_from(("old", "packed", "unpacked")))
def test_whatever_follows_the_first_line_ends(data: bytes, form: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any"
        begins = {"old": OLD_MAGIC + data, "packed": gzip.compress(MAGIC + data), "unpacked": PACKED + data}
        path.write_bytes(begins[form])
        with contextlib.suppress(NoRecording):
            assert len(list(read(path))) <= len(data)
