"""Settings of meshd: which source wins, and that nothing foreign gets through."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshd import settings
from meshd.model.errors import InvalidInput
from meshd.settings import Settings, load_settings, read_file

ALL = {
    "state_dir": ("/a", Path("/a")),
    "run_dir": ("/b", Path("/b")),
    "backend": ("kernel", "kernel"),
    "redis": ("redis://:secret@192.0.2.1/0", "redis://:secret@192.0.2.1/0"),
    "hosts_file": ("off", False),
    "dns": ("off", False),
    "log_level": ("debug", "debug"),
    "log_format": ("json", "json"),
}


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(settings, "CONFIG", tmp_path / "meshd.toml")


def test_nothing_given() -> None:
    assert load_settings([], {}) == Settings()


@pytest.mark.parametrize("name", ALL)
def test_each_setting_from_each_source(name: str, tmp_path: Path) -> None:
    text, value = ALL[name]
    other, _ = {
        "backend": ("userspace", 0),
        "log_level": ("error", 0),
        "log_format": ("text", 0),
        "hosts_file": ("on", 0),
        "dns": ("on", 0),
    }.get(name, ("/z", 0))
    file = tmp_path / "other.toml"
    file.write_text(f'{name} = "{text}"\n')
    flag, variable = "--" + name.replace("_", "-"), "MESHD_" + name.upper()
    for arguments, environment in (
        ([flag, text], {}),
        ([], {variable: text}),
        (["--config", str(file)], {}),
        ([], {"MESHD_CONFIG": str(file)}),
        ([flag, text], {variable: other}),
        (["--config", str(file)], {"MESHD_CONFIG": "/none.toml"}),
    ):
        assert getattr(load_settings(arguments, environment), name) == value, (arguments, environment)
    file.write_text(f'{name} = "{other}"\n')
    assert getattr(load_settings(["--config", str(file)], {variable: text}), name) == value


def test_the_usual_file_is_read_when_it_is_there(tmp_path: Path) -> None:
    (tmp_path / "meshd.toml").write_text('log-level = "warning"\n')
    assert load_settings([], {}).log_level == "warning"


def test_an_empty_variable_is_none() -> None:
    assert load_settings([], {"MESHD_BACKEND": "", "MESHD_CONFIG": ""}) == Settings()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("backend = 3", "backend must be a text"),
        ('backend = "best"', "'best' is not one of auto, kernel, userspace"),
        ('state_dir = "here"', "'here' must be an absolute path"),
        ('state_dir = "/a\\u0000b"', "state_dir must be a text"),
        ('colour = "red"', "unknown key 'colour'"),
        ("[backend]\na = 1", "backend must be a text"),
        ("backend", "is not TOML"),
        pytest.param("backend = " + "[" * 5000, "is not TOML", id="deep"),
        ("redis = '\udcff'", "is not TOML"),
    ],
)
def test_a_wrong_file_is_refused_by_file_and_key(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "meshd.toml"
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InvalidInput) as caught:
        load_settings([], {})
    assert str(file) in caught.value.message
    assert message in caught.value.message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="can't be read: No such file"):
        load_settings(["--config", str(tmp_path / "none.toml")], {})
    with pytest.raises(InvalidInput, match="can't be read: Is a directory"):
        load_settings([], {"MESHD_CONFIG": str(tmp_path)})


def test_a_wrong_variable_is_named() -> None:
    with pytest.raises(InvalidInput, match="MESHD_LOG_LEVEL: 'loud' is not one of"):
        load_settings([], {"MESHD_LOG_LEVEL": "loud"})


def test_a_password_is_not_printed() -> None:
    assert "secret" not in repr(load_settings([], {"MESHD_REDIS": ALL["redis"][0]}))


def test_meshd_describes_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        load_settings(["--help"], {})
    text = capsys.readouterr().out
    assert all("--" + name.replace("_", "-") in text for name in ALL)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: f'redis = "{text}"'.encode(errors="replace")))
def test_any_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "fuzz.toml"
    file.write_bytes(data)
    with contextlib.suppress(InvalidInput):
        Settings(**read_file(file))


@pytest.mark.parametrize("name", ["hosts_file", "dns"])
def test_a_switch_in_a_file_is_a_word_or_true_or_false(name: str, tmp_path: Path) -> None:
    file = tmp_path / "meshd.toml"
    for text, value in (("true", True), ("false", False), ('"on"', True), ('"off"', False)):
        file.write_text(f"{name} = {text}")
        assert getattr(load_settings([], {}), name) is value
    for text, message in (("1", "must be a text"), ('"perhaps"', "'perhaps' is not one of on, off")):
        file.write_text(f"{name} = {text}")
        with pytest.raises(InvalidInput, match=message):
            load_settings([], {})
    file.write_text("backend = true")
    with pytest.raises(InvalidInput, match="'on' is not one of"):
        load_settings([], {})
