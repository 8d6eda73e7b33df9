"""Completion scripts, made from the parser."""

from __future__ import annotations

import argparse
from collections.abc import Iterator


def _subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def words(parser: argparse.ArgumentParser, path: str = "") -> Iterator[tuple[str, list[str]]]:
    """("nodes list", what may follow) for every command."""
    options = [option for action in parser._actions for option in action.option_strings if option.startswith("--")]
    inner = _subcommands(parser)
    yield path, [*inner, *options]
    for name, one in inner.items():
        yield from words(one, f"{path} {name}".strip())


def script(shell: str, parser: argparse.ArgumentParser) -> str:
    table = list(words(parser))
    if shell == "fish":
        lines = ["complete -c meshctl -f"]
        for path, following in table:
            condition = f"__fish_seen_subcommand_from {path.split()[-1]}" if path else "__fish_use_subcommand"
            for word in following:
                kind = f"-l {word[2:]}" if word.startswith("--") else f"-a {word}"
                lines.append(f"complete -c meshctl -n '{condition}' {kind}")
        return "\n".join(lines)
    cases = "\n".join(f"        '{path}') words='{' '.join(following)}' ;;" for path, following in table)
    body = f"""_meshctl() {{
    local path='' word words='' index
    for ((index = 1; index < COMP_CWORD; index++)); do
        word=${{COMP_WORDS[index]}}
        case $word in -*) continue ;; esac
        path="${{path:+$path }}$word"
    done
    case "$path" in
{cases}
    esac
    COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -F _meshctl meshctl"""
    if shell == "zsh":
        return f"#compdef meshctl\nautoload -U +X bashcompinit && bashcompinit\n{body}"
    return body
