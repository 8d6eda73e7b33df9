"""What the completion scripts ask for while somebody types: `meshctl __names KIND WORD…`, a name and a tab and what it
is in each line. Silent where there is nothing to say, also without a helper: a shell shows every message in the line.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshproto import local_pb2

COMMAND = "__names"
LIMIT_S = 1.0
"""Nobody waits longer for a completion."""
PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]*")
"""What a shell takes as it is: bash would carry out a name such as `$(reboot)`."""

Named = tuple[str, str]

KINDS = ("meshes", "members", "nodes", "peers", "invites", "pending", "routes")


def print_names(arguments: Sequence[str]) -> None:
    """`arguments` are the kind, and the words of the line so far, of which --mesh and --socket count."""
    kind, *words = arguments or [""]
    place = Path(named("--socket", words) or os.environ.get("MESHD_SOCKET") or "/run/meshd/meshd.sock")
    if kind not in KINDS or not _answers(place):
        return
    import grpc
    from meshproto import local_pb2
    from meshproto.client import connect

    _, stub = connect(place)
    try:
        status = stub.GetStatus(local_pb2.GetStatusRequest(mesh=named("--mesh", words)), timeout=LIMIT_S)
    except grpc.RpcError:
        return
    print("\n".join(f"{name}\t{text}" for name, text in found(kind, status) if PLAIN.fullmatch(name)))


def found(kind: str, status: local_pb2.Status) -> Iterable[Named]:
    for mesh in status.meshes:
        if kind == "meshes":
            yield mesh.name, "mesh"
        elif kind in ("members", "nodes", "peers"):
            roles = {"members": (1, 2, 3), "nodes": (1,), "peers": (2, 3)}[kind]
            for one in mesh.members:
                if one.role in roles:
                    state = "online" if one.online else "offline" if one.enabled else "disabled"
                    yield one.name, f"{'node' if one.role == 1 else 'peer'}, {state}"
        elif kind == "invites":
            for invite in mesh.invites:
                if invite.state == 1:
                    yield invite.id, "an open invite"
        elif kind == "pending":
            for asking in mesh.pending:
                yield asking.id, "asks to be let in"
        else:
            for route in mesh.routes:
                yield route.cidr, "a route"


def kind_of(action: argparse.Action, path: str) -> str:
    """Of the value of an option or of the first argument of the command `path`; "" where no name is wanted."""
    group = path.partition(" ")[0]
    match action.metavar:
        case "MESH":
            return "meshes"
        case "WHO" if action.option_strings:
            return "nodes"
        case "WHO":
            return group if group in ("nodes", "peers") else "members"
        case "ID":
            return "invites" if group == "invites" else "pending"
        case "CIDR" if group == "routes" and path != "routes add":
            return "routes"
        case _:
            return ""


def named(option: str, words: Sequence[str]) -> str:
    """bash makes three words of `--mesh=home`."""
    text = " ".join(words).replace(" = ", "=")
    values = re.findall(rf"(?:^| ){option}[= ](\S+)", text)
    return values[-1] if values else ""


def _answers(place: Path) -> bool:
    """Asked without gRPC, whose import takes longer than all the rest."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(LIMIT_S)
        try:
            probe.connect(str(place))
        except OSError:
            return False
    return True
