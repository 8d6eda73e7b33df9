"""The command `meshctl`: reads the arguments, runs one command, turns errors into text and exit status."""

from __future__ import annotations

import io
import os
import sys

from meshctl.parser import NAMES, WrongUsage, make_parser


def run() -> None:
    """Entry point; see INTERFACES.md for the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without ● gets a question mark
    try:
        try:
            status = main(sys.argv[1:])
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 1
        sys.stdout.flush()
    except BrokenPipeError:
        status = 1  # whoever read us has gone
    except KeyboardInterrupt:
        status = 130  # as shells have it for SIGINT
    # Without the interpreter's own tidying, which takes as long as most commands.
    os._exit(status)


def main(arguments: list[str]) -> int:
    """The exit status. `--help` and `--version` raise SystemExit."""
    try:
        return _main(arguments)
    except WrongUsage as error:
        return _report("invalid", error.message, error.fix, 2, "--json" in arguments, error.program)
    except KeyboardInterrupt:
        return 130


def _main(arguments: list[str]) -> int:
    if arguments[:1] == ["__names"]:
        from meshctl.names import print_names

        print_names(arguments[1:])
        return 0
    if any("\udc80" <= letter <= "\udcff" for argument in arguments for letter in argument):
        raise WrongUsage("meshctl", "the arguments are not UTF-8")
    try:
        options, unknown = make_parser(next((one for one in arguments if one in NAMES), "")).parse_known_args(arguments)
    except WrongUsage:
        # It was an option's value, or the error wants all commands.
        options, unknown = make_parser().parse_known_args(arguments)
    name = f"{getattr(options, 'group', '')} {options.command}".strip()
    if unknown:
        raise WrongUsage(f"meshctl {name}", f"unknown arguments: {' '.join(unknown)}")
    if name == "completions":
        from meshctl.completions import script

        print(script(options.shell, make_parser()))
        return 0
    from meshproto.client import HelperError

    from meshctl.commands import run_command

    try:
        run_command(name, options)
        sys.stdout.flush()
    except HelperError as error:
        return _report(error.code, error.message, error.fix, error.exit_status, options.json)
    return 0


def _report(code: str, message: str, fix: str, status: int, as_json: bool, program: str = "meshctl") -> int:
    """One or two lines for a person; the same as JSON for a program."""
    if as_json:
        import json

        print(json.dumps({"error": {"code": code, "message": message, "fix": fix or None}}), flush=True)
    from meshctl.as_text import clean

    sys.stderr.write(f"{program}: {clean(message)}\n")
    if fix:
        sys.stderr.write(f"fix: {clean(fix)}\n")
    return status
