"""The program `meshtui`: reads the arguments and runs the app. Imports Textual only when there is something to show."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from meshproto import VERSION

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
    parser.add_argument("--theme", choices=THEME_NAMES, default="dark", help="dark, light or high contrast")
    parser.add_argument("--version", action="version", version=f"meshtui {VERSION}")
    return parser


def main(arguments: list[str]) -> int:
    options = make_parser().parse_args(arguments)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        sys.stderr.write("meshtui: this is no terminal\nfix: use `meshctl status`, or run meshtui on a terminal\n")
        return 1
    try:
        from meshtui.app import MeshtuiApp
    except ModuleNotFoundError as error:
        if error.name not in ("textual", "rich"):
            raise
        sys.stderr.write("meshtui: Textual is not installed\nfix: pip install 'meshtui[tui]'\n")
        return 1
    app = MeshtuiApp(options.socket, options.mesh, options.theme)
    app.run()
    return app.return_code or 0
