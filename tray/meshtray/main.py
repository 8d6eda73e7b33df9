"""The program `meshtray`: reads the arguments, and imports the rest only when there is something to show."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
from pathlib import Path

from meshproto import VERSION

WAIT_S = 10.0
"""A panel may start after us at login."""

DIALOG, KEYRING, X11_COPY, X11_PASTE = INNER = ("--dialog", "--keyring", "--x11-copy", "--x11-paste")
"""What this program starts itself with: a dialog in a terminal, a question to the keyring, both ways of a clipboard."""


def run() -> None:
    """Ends without waiting for threads: one may stand before a keyring that a person is asked to unlock."""
    try:
        status = main(sys.argv[1:])
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    except KeyboardInterrupt:
        status = 130  # as shells have it for SIGINT
    with contextlib.suppress(OSError):  # whoever read us has gone; or the clipboard's process closed it
        sys.stdout.flush()
    os._exit(status)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="meshtray",
        description="The tray icon of private WireGuard networks: state at a glance, connect and disconnect.",
        epilog="A second start hands WHAT to the one that runs already, and ends.",
    )
    parser.add_argument(
        "--socket",
        type=Path,
        default=Path(os.environ.get("MESHD_SOCKET", "/run/meshd/meshd.sock")),
        metavar="PATH",
        help="meshd's socket (default: $MESHD_SOCKET, else /run/meshd/meshd.sock)",
    )
    parser.add_argument(
        "--wait", type=float, default=WAIT_S, metavar="S", help="seconds to wait for a panel (default 10)"
    )
    parser.add_argument("--debug", action="store_true", help="say what is done, and which kind of tray is used")
    parser.add_argument("--version", action="version", version=f"meshtray {VERSION}")
    parser.add_argument(
        "what", nargs="?", default="", metavar="WHAT", help="a mesh:// link or a .mesh file to join with"
    )
    return parser


def complain(message: str, fix: str) -> int:
    sys.stderr.write(f"meshtray: {message}\n{f'fix: {fix}' if fix else ''}\n")
    return 1


def main(arguments: list[str]) -> int:
    inner = arguments[0] if arguments and arguments[0] in INNER else ""
    options = make_parser().parse_args([] if inner else arguments)
    if os.geteuid() == 0:
        return complain(
            "this is for the person at the desktop, not for root",
            "start it without sudo; group mesh may connect: sudo usermod -aG mesh USER, then log in again",
        )
    logging.basicConfig(level=logging.WARNING, format="meshtray: %(message)s", stream=sys.stderr)
    logging.getLogger("pystray").setLevel(logging.CRITICAL)  # it prints tracebacks of what it then repairs by itself
    if options.debug:
        logging.getLogger("meshtray").setLevel(logging.DEBUG)
    try:
        return _run_inner(inner, arguments[1:]) if inner else _run(options)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("dbus_next", "keyring", "pystray", "Xlib", "PIL"):
            raise
        return complain(f"{error.name} is not installed", "pip install 'meshtui[tray]'")


def _run_inner(what: str, arguments: list[str]) -> int:
    if what == DIALOG:
        from meshtray import dialogs

        return dialogs.run(Path(arguments[0]))
    if what == KEYRING:
        from meshtray import keyring_process

        return keyring_process.serve(sys.stdin.buffer, sys.stdout.buffer)
    from meshtray import x11_selection

    return x11_selection.hold(sys.stdin.buffer.read()) if what == X11_COPY else x11_selection.read()


def _run(options: argparse.Namespace) -> int:
    import asyncio

    from meshtray.session import NoTray, serve

    os.environ["MESHD_SOCKET"] = str(options.socket)  # for meshctl and meshtui, when we start them
    what = options.what
    if what and not what.startswith("file:") and os.path.isfile(what):
        what = os.path.abspath(what)  # the tray that runs already is in another folder
    try:
        asyncio.new_event_loop().run_until_complete(serve(options.socket, what, options.wait))
    except NoTray as error:
        return complain(str(error), error.fix)
    return 0
