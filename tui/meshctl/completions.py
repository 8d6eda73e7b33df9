"""Completion scripts, made from the parser. Names of members and the like they ask for when they are wanted."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

from meshctl.names import COMMAND, kind_of

FILES = ("PATH", "FILE", "DIR", "WHAT")
"""What the parser calls a value that is the name of a file."""


@dataclass(frozen=True, slots=True)
class Option:
    """`choices` are its values, where it has a few; `files` says that it takes the name of a file, `names` of what."""

    name: str
    text: str
    takes_value: bool
    choices: tuple[str, ...] = ()
    files: bool = False
    names: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """What may follow the words of `path`: "" is meshctl itself, "nodes" a group, "nodes list" a command."""

    path: str
    commands: dict[str, str]  # word -> what it does
    options: tuple[Option, ...]
    values: tuple[str, ...]  # of the positional arguments
    files: bool
    names: str = ""  # the kind that the first of them is, where it is a name


_HELP = Option("--help", "show help", takes_value=False)
_VERSION = Option("--version", "show the version", takes_value=False)

OTHER_PROGRAMS: dict[str, list[Place]] = {
    "meshd": [
        Place(
            "",
            {},
            (
                _HELP,
                _VERSION,
                Option("--config", "settings in TOML", takes_value=True, files=True),
                Option("--take-down", "take down what a stopped meshd left, and end", takes_value=False),
                Option("--state-dir", "where identities and data are kept", takes_value=True, files=True),
                Option("--run-dir", "where sockets are", takes_value=True, files=True),
                Option("--backend", "WireGuard of the kernel or not", True, ("auto", "kernel", "userspace")),
                Option("--redis", "an administrator's Redis", takes_value=True),
                Option("--hosts-file", "write names into the hosts file", True, ("on", "off")),
                Option("--dns", "on a node, answer DNS queries", True, ("on", "off")),
                Option("--split-dns", "have systemd-resolved ask nodes", True, ("on", "off")),
                Option("--log-level", "least severe messages", True, ("debug", "info", "warning", "error")),
                Option("--log-format", "how to log", True, ("text", "json")),
            ),
            (),
            files=False,
        )
    ],
    "meshtray": [
        Place(
            "",
            {},
            (
                _HELP,
                Option("--socket", "meshd's socket", takes_value=True, files=True),
                Option("--wait", "seconds to wait for a panel", takes_value=True),
                Option("--debug", "say what is done", takes_value=False),
                _VERSION,
            ),
            (),
            files=True,
        )
    ],
    "meshtui": [
        Place(
            "",
            {},
            (
                _HELP,
                Option("--socket", "meshd's socket", takes_value=True, files=True),
                Option("--mesh", "the mesh to show first", takes_value=True, names="meshes"),
                Option("--theme", "dark, light or high contrast", True, ("dark", "light", "contrast")),
                Option("--record", "write what meshd says to a file", takes_value=True, files=True),
                Option("--replay", "show a recording", takes_value=True, files=True),
                Option("--speed", "of a recording", takes_value=True),
                _VERSION,
            ),
            (),
            files=False,
        )
    ],
}
"""The options of the programs that meshctl can't import; a test compares them with their parsers."""


def _subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def places(parser: argparse.ArgumentParser, path: str = "") -> Iterator[Place]:
    """meshctl, its groups and its commands."""
    inner = _subcommands(parser)
    options: list[Option] = []
    values: list[str] = []
    files, names = False, ""
    for action in parser._actions:
        choices = tuple(str(one) for one in action.choices or ()) if not inner or action.option_strings else ()
        if action.option_strings:
            text = "" if action.help in (None, argparse.SUPPRESS) else str(action.help)
            options += [
                Option(name, text, action.nargs != 0, choices, action.metavar in FILES, kind_of(action, path))
                for name in action.option_strings
                if name.startswith("--")
            ]
        else:
            names = names or (kind_of(action, path) if not values else "")
            values += choices
            files |= action.metavar in FILES
    words = {name: one.description or "" for name, one in inner.items()}
    yield Place(path, words, tuple(options), tuple(values), files, names)
    for name, one in inner.items():
        yield from places(one, f"{path} {name}".strip())


def script(shell: str, parser: argparse.ArgumentParser) -> str:
    """For bash, zsh or fish: completes meshctl and the other programs."""
    programs = {"meshctl": list(places(parser)), **OTHER_PROGRAMS}
    if shell == "fish":
        return "\n".join(_fish(name, found) for name, found in programs.items())
    body = "\n".join(_bash(name, found) for name, found in programs.items())
    if shell == "bash":
        return body
    # Run by compinit as the function `_meshctl` when something is completed for the first time.
    return (
        f"#compdef {' '.join(programs)}\nautoload -U +X bashcompinit && bashcompinit\n{body}\n"
        '[[ $funcstack[1] == _meshctl ]] && _bash_complete -F "__${service}_complete"'
    )


def _bash(program: str, found: list[Place]) -> str:
    """One function says what may follow a path, the other walks the line and leaves out options' values.

    No variable is called `path` or `words`: those are special in zsh, which runs this too.
    """
    lines = [f"__{program}_at() {{", "    case $1 in"]
    for place in found:
        offered = [*place.commands, *place.values]
        options = [one.name for one in place.options]
        taking = [one.name for one in place.options if one.takes_value]
        lines.append(
            f"    '{place.path}') offered='{' '.join(offered)}' options='{' '.join(options)}' "
            f"taking=' {' '.join(taking)} ' files={int(place.files)} names='{place.names}' ;;"
        )
    lines += ["    *) return 1 ;;", "    esac", "}", f"__{program}_values() {{", "    case $1 in"]
    for place in found:
        for one in place.options:
            if one.choices or one.files or one.names:
                choices = " ".join(one.choices)
                facts = f"offered='{choices}' options='' files={int(one.files)} names='{one.names}'"
                lines.append(f"    '{place.path} {one.name}') {facts} ;;")
    lines += [
        "    *) offered='' options='' files=0 names='' ;;",
        "    esac",
        "}",
        f"__{program}_complete() {{",
        "    local place='' offered options taking files=0 names='' said=0 word before='' index",
        "    local current=${COMP_WORDS[COMP_CWORD]}",
        f"    __{program}_at ''",
        "    for ((index = 1; index < COMP_CWORD; index++)); do",
        "        word=${COMP_WORDS[index]}",
        "        if [[ $word == '=' ]]; then continue; fi",
        "        if [[ $before ]]; then before=''; continue; fi",
        "        case $word in",
        '        -*) [[ $taking == *" $word "* ]] && before=$word ;;',
        '        *) word="${place:+$place }$word"',
        f'            if __{program}_at "$word"; then place=$word; else said=1; fi ;;',
        "        esac",
        "    done",
        "    if [[ $current == '=' ]]; then current=''; fi",
        f'    if [[ $before ]]; then __{program}_values "$place $before"; elif [[ $said == 1 ]]; then names=; fi',
        "    if [[ $names && $current != -* ]]; then",
        f'        offered+=" $(command meshctl {COMMAND} $names "${{COMP_WORDS[@]:1}}" 2>/dev/null | cut -f1)"',
        "    fi",
        "    # Options come with a dash, or where nothing else may follow: names and commands are what is looked for.",
        '    if [[ $current == -* || -z ${offered// /} && $files == 0 ]]; then offered+=" $options"; fi',
        '    COMPREPLY=($(compgen -W "$offered" -- "$current"))',
        "    if [[ $files == 1 ]]; then",
        "        compopt -o filenames 2>/dev/null",
        '        COMPREPLY+=($(compgen -f -- "$current"))',
        "    fi",
        "}",
        f"complete -F __{program}_complete {program}",
    ]
    return "\n".join(lines)


def _fish(program: str, found: list[Place]) -> str:
    lines = [
        f"function __{program}_at -a wanted most",
        "    set -l said 0",
        "    set -l place",
        "    set -l taking",
        "    set -l before 0",
        "    for word in '' (commandline -opc)[2..-1]",
        "        if test $before = 1",
        "            set before 0",
        "            continue",
        "        end",
        "        switch $word",
        "            case '-*'",
        "                contains -- $word $taking; and set before 1",
        "                continue",
        "        end",
        '        switch (string join " " $place $word)',
    ]
    for place in found:
        taking = " ".join(one.name for one in place.options if one.takes_value)
        lines.append(f"            case '{place.path}'")
        lines.append(f"                set taking {taking}")
        if place.path:
            lines.append("                set -a place $word")
    lines += [
        "            case '*'",
        "                set said 1",
        "        end",
        "    end",
        '    test "$place" = "$wanted"; and test "$most" != first -o $said = 0',
        "end",
        f"function __{program}_names -a kind",
        f"    command -q meshctl; and command meshctl {COMMAND} $kind (commandline -opc)[2..-1] 2>/dev/null",
        "end",
        f"complete -c {program} -f",
    ]
    for place in found:
        condition = f"complete -c {program} -n \"__{program}_at '{place.path}'\""
        lines += [f"{condition} -a {name} -d {_quoted(text)}" for name, text in place.commands.items()]
        lines += [f"{condition} -a {name}" for name in place.values]
        if place.names:
            first = f"complete -c {program} -n \"__{program}_at '{place.path}' first\""
            lines.append(f"{first} -a '(__{program}_names {place.names})'")
        if place.files:
            lines.append(f"{condition} -F")
        for one in place.options:
            kind = ""
            if one.takes_value:
                words = f"(__{program}_names {one.names})" if one.names else " ".join(one.choices)
                kind = " -r -F" if one.files else f" -x -a {_quoted(words)}" if words else " -x"
            lines.append(f"{condition} -l {one.name[2:]}{kind}" + (f" -d {_quoted(one.text)}" if one.text else ""))
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
