"""Completions, tried in the shell that they are for."""

from __future__ import annotations

import subprocess

import pytest
from meshctl.completions import script
from meshctl.parser import make_parser


def complete(*words: str) -> list[str]:
    """What bash offers for the last word."""
    line = " ".join(f"'{word}'" for word in ("meshctl", *words))
    text = f"{script('bash', make_parser())}\nCOMP_WORDS=({line}); COMP_CWORD={len(words)}; _meshctl\n"
    done = subprocess.run(
        ["bash", "-c", text + 'printf "%s\\n" "${COMPREPLY[@]}"'], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["no"], ["nodes"]),
        (["peers", "a"], ["authorized", "authorize", "admin"]),
        (["--mesh", "home", "peers", "a"], ["authorized", "authorize", "admin"]),
        (["--mesh", "=", "home", "peers", "re"], ["remove", "rename"]),
        (["--mesh", "nodes", "key", ""], ["show", "--help", "--socket", "--mesh", "--json", "--timeout"]),
        (["nodes", "--json", "l"], ["list"]),
        (["routes", "add", "203.0.113.0/24", "--n"], ["--node"]),
        (["routes", "add", "--node", ""], []),
        (["create", "home", "--addressing", ""], ["sequential", "hash"]),
        (["create", "home", "--addressing", "hash", "--li"], ["--listen-port"]),
        (["peers", "admin", "laptop-ada", "o"], ["on", "off"]),
        (["invites", "create", "--node", "--f"], ["--file"]),
    ],
)
def test_bash_offers(words: list[str], offered: list[str]) -> None:
    assert complete(*words) == offered


def test_files_are_offered_where_one_is_wanted() -> None:
    assert "/etc/hosts" in complete("join", "/etc/hos")
    assert complete("nodes", "show", "/etc/hos") == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_others_name_every_command(shell: str) -> None:
    text = script(shell, make_parser())
    assert "authorize" in text
    assert "peers admin" in text
