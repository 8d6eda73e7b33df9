"""Dialogs, as text in the person's terminal: joining with a confirmation, and codes for a phone to read. The tray opens
the terminal; what runs in it (`meshtray --dialog FILE`) is here too. docs/decisions/tray-dialogs.md says why so."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from meshproto.cluster_key import is_cluster_key
from meshproto.durations import format_left
from meshproto.format_error import FormatError
from meshproto.invite import Invite, is_invite, parse_invite
from meshproto.plain_text import plain
from meshproto.state_pb2 import ROLE_NODE

from meshtray import programs
from meshtray.main import DIALOG

CLOSE = "Press Enter to close. "
LOOK_S = 0.2
"""Between looks at the size of the terminal."""
MOST = 4
"""Nodes of an invite, and endpoints of a node, that are shown: which mesh it is must not move out of sight."""
BESIDE = 4
"""Lines for what stands above and below a code, of which the text may take two."""
CLEAR = "\x1b[2J\x1b[3J\x1b[H"


@dataclass(frozen=True, slots=True)
class Join:
    """`what` is an invite in any form; "" to ask for it."""

    what: str


@dataclass(frozen=True, slots=True)
class Code:
    title: str
    text: str
    secret: str


Dialog = Join | Code
KINDS: dict[str, type[Join] | type[Code]] = {"join": Join, "code": Code}


async def open_in_terminal(dialog: Dialog, token: str = "") -> None:
    """What it is about goes through a file that only this person reads, and that is gone once it was read: arguments
    show in `ps`, and some terminals hand no environment on. `token` as in programs.start. Raises NoProgram, OSError."""
    size = _size(page(dialog)[0]) if isinstance(dialog, Code) else programs.SIZE
    words = programs.terminal_command([*programs.own_command(), DIALOG], size=size)
    folder = os.environ.get("XDG_RUNTIME_DIR") or None
    descriptor, name = tempfile.mkstemp(prefix="meshtray-", suffix=".dialog", dir=folder)
    with os.fdopen(descriptor, "w") as file:
        kind, socket = type(dialog).__name__.lower(), os.environ.get("MESHD_SOCKET", "")
        json.dump({"kind": kind, "socket": socket, **asdict(dialog)}, file)
    try:
        await programs.start([*words, name], token)
    except BaseException:
        os.unlink(name)
        raise


# --- in the terminal --------------------------------------------------------------------------------------------------


def run(path: Path) -> int:
    """One dialog, from the file that says which. The exit status."""
    try:
        document = json.loads(path.read_text())
        path.unlink()
        socket = str(document.pop("socket", ""))
        dialog = KINDS[document.pop("kind")](**document)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        print("meshtray: this dialog was shown already", file=sys.stderr)
        return 1
    if socket:
        os.environ["MESHD_SOCKET"] = socket  # for meshctl
    try:
        if isinstance(dialog, Code):
            return _code(dialog)
        status = _join(dialog.what)
    except (KeyboardInterrupt, EOFError):
        return 130
    except programs.NoProgram as error:
        print(f"▲ {error}\n→ {error.fix}")
        status = 1
    _wait()
    return status


def _wait() -> None:
    """The terminal closes with us."""
    try:
        input(f"\n{CLOSE}")
    except (KeyboardInterrupt, EOFError):
        return


def page(dialog: Code) -> tuple[list[str], str]:
    """The code's lines, and all that is shown."""
    from meshproto.qr import in_colours, qr_text

    code = qr_text(dialog.secret.upper())
    return code.splitlines(), "\n".join([dialog.title, in_colours(code), dialog.text])


def _size(code: list[str]) -> tuple[int, int]:
    """The columns and lines that a terminal needs for it."""
    return max(len(code[0]), programs.SIZE[0]), len(code) + BESIDE


def _code(dialog: Code) -> int:
    code, whole = page(dialog)
    columns, lines = len(code[0]), _size(code)[1]
    small = f"The code needs {columns} columns and {lines} lines: make this window larger, or its letters smaller."
    shown = None
    while True:
        now = os.get_terminal_size()
        if now != shown:
            fits = now.columns >= columns and now.lines >= lines
            print(f"{CLEAR}{whole if fits else small}\n{CLOSE}", end="", flush=True)
            shown = now
        if select.select([sys.stdin], [], [], LOOK_S)[0]:
            return 0


def _join(what: str) -> int:
    if not what:
        print("Join a mesh\n\nPaste the invite (mesh1-… or mesh://…), or write the name of its .mesh file:")
        what = _from_file(input("> ").strip())
    try:
        invite = readable(what)
    except FormatError as error:
        print(f"▲ {plain(str(error))}\n→ {plain(error.fix)}")
        return 1
    print(question(invite, int(time.time() * 1000)))
    if input("\nJoin? [y/N] ").strip().lower() not in ("y", "yes"):
        print("Nothing was done.")
        return 0
    print()
    done = subprocess.run([programs.sibling("meshctl"), "join", "-"], input=invite.to_text(), text=True, check=False)
    return done.returncode


def _from_file(what: str) -> str:
    try:
        path = programs.local_path(what.strip("'\"")).expanduser()
        return path.read_text(errors="replace")[:65_536] if not is_invite(what) and path.is_file() else what
    except (OSError, ValueError, RuntimeError):  # the last one: ~ of nobody
        return what


def readable(what: str) -> Invite:
    """Raises FormatError for what is no invite, or one that is over."""
    if is_cluster_key(what):
        raise FormatError("that is a cluster key, which makes this machine a node", "use it with: meshctl join - HOST")
    if not is_invite(what):
        raise FormatError("that is no invite", "an invite begins with mesh1- or mesh://, or is a .mesh file")
    invite = parse_invite(what)
    if invite.expired(int(time.time() * 1000)):
        raise FormatError("the invite has expired", "ask for a new one")
    return invite


def question(invite: Invite, now_ms: int) -> str:
    """What is about to happen, for a person to judge: which mesh, by which node, as whom."""
    left = format_left(invite.expires_ms - now_ms)
    who = plain(invite.member) or "a name of this machine's choice"
    nodes = [f"{', '.join(map(plain, one.endpoints[:MOST])) or one.ipv4}" for one in invite.nodes]
    if len(nodes) > MOST:
        nodes[MOST:] = [f"and {len(nodes) - MOST} more"]
    keys = (
        "It becomes a node, and connects whenever it starts."
        if invite.role == ROLE_NODE
        else "Its keys go into your keyring: after a restart it connects when you log in."
    )
    return "\n".join(
        [
            f"Join the mesh {plain(invite.mesh_name)}?",
            "",
            f"  mesh     {plain(invite.mesh_name)}  ({plain(invite.mesh_id)})",
            f"  through  {nodes[0] if nodes else 'no node'}",
            *(f"           {one}" for one in nodes[1:]),
            f"  as       {who}",
            f"  CA       {invite.ca_fingerprint.hex()[:32]}…",
            f"  good for {left}",
            "",
            f"This machine will reach the members of {plain(invite.mesh_name)}, and they will reach it.",
            keys,
        ]
    )
