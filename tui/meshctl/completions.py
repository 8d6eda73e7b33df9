"""Completion scripts, made from the parser."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

FILES = ("PATH", "FILE", "WHAT")
"""What the parser calls a value that is the name of a file."""


@dataclass(frozen=True, slots=True)
class Option:
    """`choices` are its values, where it has a few; `files` says that it takes the name of one."""

    name: str
    text: str
    takes_value: bool
    choices: tuple[str, ...] = ()
    files: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """What may follow the words of `path`: "" is meshctl itself, "nodes" a group, "nodes list" a command."""

    path: str
    commands: dict[str, str]  # word -> what it does
    options: tuple[Option, ...]
    values: tuple[str, ...]  # of the positional arguments
    files: bool


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
    files = False
    for action in parser._actions:
        choices = tuple(str(one) for one in action.choices or ()) if not inner or action.option_strings else ()
        if action.option_strings:
            text = "" if action.help in (None, argparse.SUPPRESS) else str(action.help)
            options += [
                Option(name, text, action.nargs != 0, choices, action.metavar in FILES)
                for name in action.option_strings
                if name.startswith("--")
            ]
        else:
            values += choices
            files |= action.metavar in FILES
    yield Place(
        path, {name: one.description or "" for name, one in inner.items()}, tuple(options), tuple(values), files
    )
    for name, one in inner.items():
        yield from places(one, f"{path} {name}".strip())


def script(shell: str, parser: argparse.ArgumentParser) -> str:
    """For bash, zsh or fish."""
    found = list(places(parser))
    if shell == "fish":
        return _fish(found)
    body = _bash(found)
    if shell == "zsh":
        return f"#compdef meshctl\nautoload -U +X bashcompinit && bashcompinit\n{body}"
    return body


def _bash(found: list[Place]) -> str:
    """One function says what may follow a path, the other walks the line and leaves out options' values."""
    lines = ["_meshctl_at() {", "    case $1 in"]
    for place in found:
        words = [*place.commands, *place.values, *(one.name for one in place.options)]
        taking = [one.name for one in place.options if one.takes_value]
        lines.append(
            f"    '{place.path}') words='{' '.join(words)}' taking=' {' '.join(taking)} ' files={int(place.files)} ;;"
        )
    lines += ["    *) return 1 ;;", "    esac", "}", "_meshctl_values() {", "    case $1 in"]
    for place in found:
        for one in place.options:
            if one.choices or one.files:
                choices = " ".join(one.choices)
                lines.append(f"    '{place.path} {one.name}') words='{choices}' files={int(one.files)} ;;")
    lines += [
        "    *) words='' files=0 ;;",
        "    esac",
        "}",
        "_meshctl() {",
        "    local path='' words taking files=0 word before='' index current=${COMP_WORDS[COMP_CWORD]}",
        "    _meshctl_at ''",
        "    for ((index = 1; index < COMP_CWORD; index++)); do",
        "        word=${COMP_WORDS[index]}",
        "        if [[ $word == '=' ]]; then continue; fi",
        "        if [[ $before ]]; then before=''; continue; fi",
        "        case $word in",
        '        -*) [[ $taking == *" $word "* ]] && before=$word ;;',
        '        *) _meshctl_at "${path:+$path }$word" && path="${path:+$path }$word" ;;',
        "        esac",
        "    done",
        "    if [[ $current == '=' ]]; then current=''; fi",
        '    if [[ $before ]]; then _meshctl_values "$path $before"; fi',
        '    COMPREPLY=($(compgen -W "$words" -- "$current"))',
        "    if [[ $files == 1 ]]; then",
        "        compopt -o filenames 2>/dev/null",
        '        COMPREPLY+=($(compgen -f -- "$current"))',
        "    fi",
        "}",
        "complete -F _meshctl meshctl",
    ]
    return "\n".join(lines)


def _fish(found: list[Place]) -> str:
    lines = [
        "function __meshctl_at -a wanted",
        "    set -l path",
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
        '        switch (string join " " $path $word)',
    ]
    for place in found:
        taking = " ".join(one.name for one in place.options if one.takes_value)
        lines.append(f"            case '{place.path}'")
        lines.append(f"                set taking {taking}")
        if place.path:
            lines.append("                set -a path $word")
    lines += [
        "        end",
        "    end",
        '    test "$path" = "$wanted"',
        "end",
        "complete -c meshctl -f",
    ]
    for place in found:
        condition = f"complete -c meshctl -n \"__meshctl_at '{place.path}'\""
        lines += [f"{condition} -a {name} -d {_quoted(text)}" for name, text in place.commands.items()]
        lines += [f"{condition} -a {name}" for name in place.values]
        if place.files:
            lines.append(f"{condition} -F")
        for one in place.options:
            kind = ""
            if one.takes_value:
                kind = " -r -F" if one.files else f" -x -a {_quoted(' '.join(one.choices))}" if one.choices else " -x"
            lines.append(f"{condition} -l {one.name[2:]}{kind}" + (f" -d {_quoted(one.text)}" if one.text else ""))
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
