from __future__ import annotations

import logging
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshd.model.errors import Failed
from meshd.store.formats import NewerFormat
from meshd.store.view_file import DamagedView, decode_view, encode_view, load_view, save_view
from meshproto import state_pb2


def view() -> state_pb2.View:
    made = state_pb2.View(position=state_pb2.Position(epoch=2, revision=9), primary_id="m-0")
    made.members.add(id="m-0", enabled=True)
    made.settings.name = "home"
    return made


def test_saved_view_is_loaded(tmp_path):
    path = tmp_path / "view"
    save_view(path, state_pb2.View())
    save_view(path, view())
    assert load_view(path) == view()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["view"]


def test_without_a_file_there_is_no_view(tmp_path):
    assert load_view(tmp_path / "view") is None


def test_unknown_fields_survive(tmp_path):
    newer = view().SerializeToString() + b"\xaa\x06\x03new"
    save_view(tmp_path / "view", state_pb2.View.FromString(newer))
    loaded = load_view(tmp_path / "view")
    assert loaded is not None
    assert loaded.SerializeToString().endswith(b"\xaa\x06\x03new")


def test_damaged_file_is_kept_aside(tmp_path, caplog):
    path = tmp_path / "view"
    raw = bytearray(encode_view(view()))
    raw[-1] ^= 1
    path.write_bytes(raw)
    with caplog.at_level(logging.ERROR):
        assert load_view(path) is None
    assert "the checksum is wrong" in caplog.text
    assert not path.exists()
    assert (tmp_path / "view.corrupt").read_bytes() == raw
    save_view(path, view())
    assert load_view(path) == view()


def test_interrupted_save_leaves_the_old_view(tmp_path, monkeypatch):
    path = tmp_path / "view"
    save_view(path, view())

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(Failed, match="No space left"):
        save_view(path, state_pb2.View())
    monkeypatch.undo()
    assert load_view(path) == view()


def test_later_format_is_named():
    raw = bytearray(encode_view(view()))
    raw[11] = 9
    with pytest.raises(NewerFormat, match="format 9"):
        decode_view(bytes(raw))


@given(st.binary(max_size=200))
def test_any_bytes(raw):
    with pytest.raises(DamagedView):
        decode_view(raw)


@given(st.data())
def test_any_edit_is_noticed(data):
    raw = encode_view(view())
    at = data.draw(st.integers(0, len(raw) - 1))
    edited = raw[:at] + bytes([data.draw(st.integers(0, 255).filter(lambda byte: byte != raw[at]))]) + raw[at + 1 :]
    for damaged in (edited, raw[:at], raw + b"\0"):
        with pytest.raises((DamagedView, NewerFormat)):
            decode_view(damaged)


@given(st.text(max_size=20), st.integers(0, 2**64 - 1))
def test_any_view(name, revision):
    made = state_pb2.View(position=state_pb2.Position(revision=revision))
    made.members.add(id=name)
    assert decode_view(encode_view(made)) == made
