"""The program `meshtui`: reads the arguments and runs the app. Imports Textual only when there is something to show."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from pathlib import Path

from meshproto import VERSION

from meshtui import crash

SWITCH_S = 0.001
"""A key does not wait while a thread folds 3,000 members: with Python's 5 ms it waits several times that."""

THEME_NAMES = ("dark", "light", "contrast")


def run() -> None:
    sys.exit(main(sys.argv[1:]))


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="meshtui",
        description="Watch and run private WireGuard networks. Press ? for the keys.",
        epilog="NO_COLOR=1 does without colours. meshctl does the same for scripts.",
    )
    parser.add_argument(
        "--socket",
        type=Path,
        default=Path(os.environ.get("MESHD_SOCKET", "/run/meshd/meshd.sock")),
        metavar="PATH",
        help="meshd's socket (default: $MESHD_SOCKET, else /run/meshd/meshd.sock)",
    )
    parser.add_argument("--mesh", default="", metavar="MESH", help="the mesh to show first")
    parser.add_argument(
        "--theme", choices=THEME_NAMES, default="", help="dark, light or high contrast (default: the one used last)"
    )
    parser.add_argument(
        "--record", type=Path, metavar="FILE", help="write what meshd says to a new file; no secret is in it"
    )
    parser.add_argument(
        "--replay", type=Path, metavar="FILE", help="show a recording; space pauses, . steps, < > speed"
    )
    parser.add_argument("--speed", type=_speed, default=1.0, metavar="N", help="of a recording (default 1)")
    parser.add_argument("--version", action="version", version=f"meshtui {VERSION}")
    return parser


def main(arguments: list[str]) -> int:
    gc.disable()  # until there is something to see: what is imported stays anyway
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.record and options.replay:
        parser.error("--record and --replay exclude each other")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        sys.stderr.write("meshtui: this is no terminal\nfix: use `meshctl status`, or run meshtui on a terminal\n")
        return 1
    try:
        from meshproto.recording import NoRecording

        from meshtui.app import MeshtuiApp
        from meshtui.preferences import default_path
    except ModuleNotFoundError as error:
        if error.name not in ("textual", "rich"):
            raise
        sys.stderr.write("meshtui: Textual is not installed\nfix: pip install 'meshtui[tui]'\n")
        return 1
    if not os.environ.get("NO_COLOR"):
        os.environ.pop("NO_COLOR", None)  # an empty one says nothing (https://no-color.org), but something to Textual
    try:
        app = MeshtuiApp(
            options.socket,
            options.mesh,
            options.theme,
            record=options.record,
            replay=options.replay,
            speed=options.speed,
            preferences=default_path(),
            seen=_collect_from_now_on,
        )
    except NoRecording as error:
        sys.stderr.write(f"meshtui: {error}\n")
        return 1
    sys.setswitchinterval(SWITCH_S)
    failure: BaseException | None = None
    try:
        app.run()
    except Exception as error:  # whatever it is, a person gets a sentence of it
        failure = error
    failure = app.failure or failure
    if failure is not None:
        sys.stderr.write(crash.told(failure, crash.default_path()))
        return 1
    return app.return_code or 0


def _collect_from_now_on() -> None:
    """What is there now is never looked through again, so that collecting takes no longer than a frame."""
    gc.freeze()
    gc.enable()


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = 0
    if not 0.1 <= speed <= 1000:
        raise argparse.ArgumentTypeError(f"a speed is a number between 0.1 and 1000, not {text!r}")
    return speed
