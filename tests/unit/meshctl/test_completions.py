"""Completions, tried in the shells that they are for."""

from __future__ import annotations

import argparse
import subprocess

import meshd.settings
import meshtray.main
import meshtui.main
import pytest
from meshctl.completions import OTHER_PROGRAMS, Place, places, script
from meshctl.parser import make_parser

SCRIPTS = {shell: script(shell, make_parser()) for shell in ("bash", "zsh", "fish")}


def _run(shell: str, *text: str) -> list[str]:
    done = subprocess.run([shell, *text], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def in_bash(*words: str) -> list[str]:
    line = " ".join(f"'{word}'" for word in words)
    text = f"{SCRIPTS['bash']}\nCOMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; __{words[0]}_complete\n"
    return _run("bash", "--norc", "-c", text + 'printf "%s\\n" "${COMPREPLY[@]}"')


def in_zsh(*words: str) -> list[str]:
    """As bashcompinit calls it; zsh then takes what begins with the word."""
    line = " ".join(f"'{word}'" for word in words)
    text = f"""
    compdef() {{ : }}
    {SCRIPTS["zsh"]}
    call() {{
        emulate -L sh
        setopt kshglob noshglob braceexpand
        PREFIX='{words[-1]}'
        COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; __{words[0]}_complete
        printf "%s\\n" "${{COMPREPLY[@]}}"
    }}
    call
    """
    return [one for one in _run("zsh", "-f", "-c", text) if one.startswith(words[-1])]


def in_fish(*words: str) -> list[str]:
    """Without options: fish offers those only after a dash."""
    line = " ".join(words)
    text = f"{SCRIPTS['fish']}\ncomplete --do-complete '{line}' | string split -f1 \\t; true"
    return _run("fish", "--no-config", "-c", text)


LINES = [
    (["no"], ["nodes"]),
    (["peers", "a"], ["authorized", "authorize", "admin"]),
    (["--mesh", "home", "peers", "a"], ["authorized", "authorize", "admin"]),
    (["nodes", "--json", "l"], ["list"]),
    (["routes", "add", "203.0.113.0/24", "--n"], ["--node"]),
    (["routes", "add", "--node", ""], []),
    (["create", "home", "--addressing", ""], ["sequential", "hash"]),
    (["create", "home", "--addressing", "hash", "--li"], ["--listen-port"]),
    (["peers", "admin", "laptop-ada", "o"], ["on", "off"]),
    (["invites", "create", "--node", "--f"], ["--file"]),
]


@pytest.mark.parametrize(("words", "offered"), LINES)
@pytest.mark.parametrize("shell", [in_bash, in_zsh, in_fish], ids=["bash", "zsh", "fish"])
def test_what_is_offered(shell: object, words: list[str], offered: list[str]) -> None:
    assert sorted(shell("meshctl", *words)) == sorted(offered)  # type: ignore[operator]


@pytest.mark.parametrize("shell", [in_bash, in_zsh, in_fish], ids=["bash", "zsh", "fish"])
def test_the_other_programs(shell: object) -> None:
    assert shell("meshd", "--log-l") == ["--log-level"]  # type: ignore[operator]
    assert sorted(shell("meshd", "--backend", "")) == ["auto", "kernel", "userspace"]  # type: ignore[operator]
    assert shell("meshtui", "--theme", "l") == ["light"]  # type: ignore[operator]


def test_bash_splits_at_the_sign() -> None:
    assert in_bash("meshctl", "--mesh", "=", "home", "peers", "re") == ["remove", "rename"]
    assert in_bash("meshctl", "create", "--addressing", "=", "h") == ["hash"]


def test_a_value_is_no_command() -> None:
    assert in_bash("meshctl", "--mesh", "nodes", "key", "") == [
        "show", "rotate", "--help", "--socket", "--mesh", "--json", "--timeout",
    ]  # fmt: skip


def test_files_are_offered_where_one_is_wanted() -> None:
    for shell in (in_bash, in_zsh):
        assert "/etc/hosts" in shell("meshctl", "join", "/etc/hos")
        assert shell("meshctl", "nodes", "show", "/etc/hos") == []
    assert "/etc/hosts" in in_fish("meshctl", "join", "/etc/hos")
    assert in_fish("meshctl", "nodes", "show", "/etc/hos") == []


def test_zsh_completes_at_the_first_time(tmp_path: object) -> None:
    """compinit runs the file itself as the function `_meshctl`, which must already answer."""
    lines = SCRIPTS["zsh"].splitlines()
    assert lines[0] == "#compdef meshctl meshd meshtray meshtui"
    assert lines[-1].startswith("[[ $funcstack[1] == _meshctl ]]")


@pytest.mark.parametrize(
    ("program", "parser"),
    [
        ("meshd", meshd.settings.make_parser()),
        ("meshtray", meshtray.main.make_parser()),
        ("meshtui", meshtui.main.make_parser()),
    ],
)
def test_options_of_other_programs_are_theirs(program: str, parser: argparse.ArgumentParser) -> None:
    def facts(place: Place) -> list[object]:
        return [(one.name, one.takes_value, one.choices, one.files) for one in place.options]

    (theirs,) = places(parser)
    (ours,) = OTHER_PROGRAMS[program]
    assert facts(ours) == facts(theirs)
