"""Completions, tried in the shells that they are for."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import meshd.settings
import meshtray.main
import meshtui.main
import pytest
from meshctl.completions import OTHER_PROGRAMS, Place, places, script
from meshctl.names import named
from meshctl.parser import make_parser
from meshproto import local_pb2, state_pb2

SCRIPTS = {shell: script(shell, make_parser()) for shell in ("bash", "zsh", "fish")}


def _run(shell: str, *text: str) -> list[str]:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run([shell, *text], capture_output=True, text=True, check=False, env=environment)
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


@pytest.fixture
def mesh(helper: Any) -> None:
    """What the helper that the shells find says."""
    members = [
        local_pb2.MemberStatus(name="gw-berlin", role=state_pb2.ROLE_NODE, online=True, enabled=True),
        local_pb2.MemberStatus(name="laptop-ada", role=state_pb2.ROLE_PEER, enabled=True),
        local_pb2.MemberStatus(name="laptop-$(touch${IFS}/tmp/x)", role=state_pb2.ROLE_PEER),
        local_pb2.MemberStatus(name="--force", role=state_pb2.ROLE_PEER),
    ]
    invites = [
        local_pb2.InviteStatus(id="4f1c77aa", state=state_pb2.INVITE_STATE_OPEN),
        local_pb2.InviteStatus(id="5e5e5e5e", state=state_pb2.INVITE_STATE_REVOKED),
    ]
    helper.meshes = [
        local_pb2.MeshStatus(
            name="home",
            members=members,
            invites=invites,
            pending=[local_pb2.PendingStatus(id="77aa")],
            routes=[local_pb2.RouteStatus(cidr="203.0.113.0/24")],
        )
    ]


NAMES = [
    (["nodes", "show", ""], ["gw-berlin"]),
    (["nodes", "promote", "g"], ["gw-berlin"]),
    (["peers", "disable", ""], ["laptop-ada"]),
    (["peers", "rename", "laptop-ada", "l"], []),
    (["peers", "authorize", ""], ["77aa"]),
    (["ping", ""], ["gw-berlin", "laptop-ada"]),
    (["routes", "remove", ""], ["203.0.113.0/24"]),
    (["routes", "add", "2"], []),
    (["routes", "add", "203.0.113.0/24", "--node", ""], ["gw-berlin"]),
    (["invites", "revoke", ""], ["4f1c77aa"]),
    (["leave", ""], ["home"]),
    (["--mesh", ""], ["home"]),
]


@pytest.mark.parametrize(("words", "offered"), NAMES)
@pytest.mark.parametrize("shell", [in_bash, in_zsh, in_fish], ids=["bash", "zsh", "fish"])
def test_names_come_from_the_helper(mesh: None, shell: object, words: list[str], offered: list[str]) -> None:
    found = shell("meshctl", *words)  # type: ignore[operator]
    if not offered:  # then options may be
        found = [one for one in found if not one.startswith("--")]
    assert sorted(found) == offered


@pytest.mark.parametrize("shell", [in_bash, in_zsh], ids=["bash", "zsh"])
def test_options_are_offered_after_a_dash_or_where_nothing_else_may_follow(mesh: None, shell: Any) -> None:
    assert "--wait" in shell("meshctl", "join", "-")
    assert sorted(shell("meshctl", "peers", "disable", "--m")) == ["--mesh"]
    assert "--json" in shell("meshctl", "peers", "disable", "laptop-ada", "")
    assert "--json" in shell("meshctl", "doctor", "")
    assert not [one for one in shell("meshctl", "") if one.startswith("-")]


@pytest.mark.parametrize("shell", [in_bash, in_zsh, in_fish], ids=["bash", "zsh", "fish"])
def test_the_mesh_of_meshtui(mesh: None, shell: object) -> None:
    assert shell("meshtui", "--mesh", "h") == ["home"]  # type: ignore[operator]


@pytest.mark.parametrize("shell", [in_bash, in_zsh, in_fish], ids=["bash", "zsh", "fish"])
def test_without_a_helper_there_are_no_names_and_no_message(
    shell: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`_run` asserts that nothing is written to standard error."""
    monkeypatch.setenv("MESHD_SOCKET", str(tmp_path / "none"))
    assert [one for one in shell("meshctl", "ping", "") if not one.startswith("--")] == []  # type: ignore[operator]


def test_the_mesh_and_the_socket_of_the_line_count() -> None:
    assert named("--mesh", ["--mesh", "home", "ping"]) == "home"
    assert named("--mesh", ["--mesh", "=", "home", "ping"]) == "home"
    assert named("--socket", ["ping", "--socket=/run/a"]) == "/run/a"
    assert named("--mesh", ["ping"]) == ""


def test_bash_splits_at_the_sign() -> None:
    assert in_bash("meshctl", "--mesh", "=", "home", "peers", "re") == ["remove", "rename"]
    assert in_bash("meshctl", "create", "--addressing", "=", "h") == ["hash"]


def test_a_value_is_no_command() -> None:
    assert in_bash("meshctl", "--mesh", "nodes", "key", "") == ["show", "rotate"]


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
        return [(one.name, one.takes_value, one.choices, one.files, one.names) for one in place.options]

    (theirs,) = places(parser)
    (ours,) = OTHER_PROGRAMS[program]
    assert facts(ours) == facts(theirs)
