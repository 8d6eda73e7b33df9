"""What was chosen is found again; a broken file is none."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshtui.preferences import Preferences, default_path, load, save


def test_what_is_saved_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "preferences.json"
    chosen = Preferences("light").sorted_by("Members", ("NAME", True)).sorted_by("Nodes", ("LAG", False))
    chosen = chosen.without("Members", frozenset(("ROLE", "PATH"))).without("Routes", frozenset())
    save(path, chosen)
    assert load(path) == chosen
    assert [one.name for one in path.parent.iterdir()] == ["preferences.json"]


def test_nobody_is_kept_out_by_a_folder_that_can_t_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    save(tmp_path / "file" / "preferences.json", Preferences("light"))
    assert load(tmp_path / "file" / "preferences.json") == Preferences()


def test_it_lies_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/somewhere")
    assert default_path() == Path("/somewhere/meshtui/preferences.json")
    monkeypatch.setenv("XDG_CONFIG_HOME", "")
    monkeypatch.setenv("HOME", "/home/ada")
    assert default_path() == Path("/home/ada/.config/meshtui/preferences.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


FILES = JSON | JSON.map(lambda one: {"theme": one, "orders": {"Members": one}, "hidden": {"Members": one}, "more": one})


@given(st.binary() | FILES.map(lambda one: json.dumps(one).encode()))
def test_whatever_is_in_the_file(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "preferences.json"
        path.write_bytes(content)
        found = load(path)
        assert isinstance(found.theme, str)
        assert all(isinstance(title, str) for columns in found.hidden.values() for title in columns)
        assert all(isinstance(title, str) and isinstance(back, bool) for title, back in found.orders.values())
