"""The command `meshctl`: reads the arguments, runs one command, turns errors into text and exit status."""

from __future__ import annotations

import io
import json
import os
import sys

from meshctl.parser import make_parser


def run() -> None:
    """Entry point; see INTERFACES.md for the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without ● gets a question mark
    sys.exit(main(sys.argv[1:]))


def main(arguments: list[str]) -> int:
    parser = make_parser()
    if any("\udc80" <= letter <= "\udcff" for argument in arguments for letter in argument):
        parser.error("the arguments are not UTF-8")
    options = parser.parse_args(arguments)
    group = getattr(options, "group", "")
    name = f"{group} {options.command}".strip()
    if name == "completions":
        from meshctl.completions import script

        print(script(options.shell, parser))
        return 0
    from meshproto.client import HelperError

    from meshctl.commands import run_command

    try:
        run_command(name, options)
        sys.stdout.flush()
    except HelperError as error:
        if options.json:
            document = {"error": {"code": error.code, "message": error.message, "fix": error.fix or None}}
            print(json.dumps(document))
        from meshctl.as_text import clean

        sys.stderr.write(f"meshctl: {clean(error.message)}\n")
        if error.fix:
            sys.stderr.write(f"fix: {clean(error.fix)}\n")
        return error.exit_status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read us has gone; closing standard output again at exit must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0
