"""Every command and option of meshctl (INTERFACES.md), as argparse has them. Imports nothing slow."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

LONGEST_S = 30 * 86400
"""A month: in milliseconds it still fits the 32 bits that it has on the wire."""

Commands = Any  # argparse's type of a set of subparsers is private


def _number(least: int, most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        found = int(text)
        if not least <= found <= most:
            raise argparse.ArgumentTypeError(f"{text} is not between {least} and {most}")
        return found

    return number


_port = _number(0, 65535)


def _seconds(text: str) -> float:
    found = float(text)
    if not 0 < found <= LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds between 0 and {LONGEST_S}")
    return found


def _command(commands: Commands, name: str, text: str, **options: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text[0].upper() + text[1:] + ".", **options
    )
    parser.set_defaults(command=name)
    # What stands before the command may also stand after it.
    hidden: dict[str, Any] = {"default": argparse.SUPPRESS, "help": argparse.SUPPRESS}
    parser.add_argument("--json", action="store_true", **hidden)
    parser.add_argument("--mesh", **hidden)
    parser.add_argument("--socket", **hidden)
    if name != "wait":
        parser.add_argument("--timeout", type=_seconds, **hidden)
    return parser


def _group(commands: Commands, name: str, text: str) -> Commands:
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(group=name)
    return parser.add_subparsers(metavar="COMMAND", required=True, dest="inner")


def make_parser() -> argparse.ArgumentParser:
    from meshproto import VERSION

    parser = argparse.ArgumentParser(
        prog="meshctl",
        description="Watch and run the private networks of this machine.",
        epilog="WHO is a member's name, id, beginning of an id, or overlay address. Durations: 30s 5m 2h 14d.",
    )
    parser.add_argument("--version", action="version", version=f"meshctl {VERSION}")
    parser.add_argument(
        "--socket", metavar="PATH", help="meshd's socket (default $MESHD_SOCKET or /run/meshd/meshd.sock)"
    )
    parser.add_argument("--mesh", default="", metavar="MESH", help="which mesh, when this machine is in several")
    parser.add_argument("--json", action="store_true", help="answer in JSON, for programs")
    parser.add_argument(
        "--timeout", type=_seconds, metavar="S", help="seconds a command may take (default 10, join 25)"
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True, dest="outer")
    _meshes(commands)
    _members(commands)
    _routes(commands)
    _invites(commands)
    _rest(commands)
    return parser


def _meshes(commands: Commands) -> None:
    create = _command(commands, "create", "make a mesh with this machine as its first node")
    create.add_argument("name", metavar="NAME")
    create.add_argument("--endpoint", default="", metavar="HOST[:PORT]", help="where others reach this machine")
    create.add_argument("--node-pool", default="", metavar="CIDR", help="first node's subnet (default 10.11.0.0/16)")
    create.add_argument(
        "--node-prefix", type=_number(0, 128), default=0, metavar="N", help="prefix length of a node's subnet"
    )
    create.add_argument("--peer-pool", default="", metavar="CIDR", help="addresses of peers (default 10.51.0.0/16)")
    create.add_argument("--network", default="", metavar="CIDR", help="one network for everything")
    create.add_argument("--addressing", default="", choices=["", "sequential", "hash"], help="how peers get addresses")
    create.add_argument("--interface", default="", metavar="IF")
    create.add_argument(
        "--listen-port", type=_port, default=0, metavar="P", help="WireGuard's UDP port (default 10100)"
    )
    create.add_argument("--join-port", type=_port, metavar="P", help="TCP port to join at (default 9000); 0: none")
    create.add_argument("--dns-domain", default="", metavar="D", help="suffix of names (default NAME.wg)")
    create.add_argument("--name", dest="member_name", default="", metavar="MEMBER", help="this machine's name in it")
    create.add_argument("--mtu", type=_number(0, 65535), default=0, metavar="N")
    join = _command(commands, "join", "make this machine a member of a mesh")
    join.add_argument(
        "what", nargs="?", default="", metavar="WHAT", help="cluster key, invite, or - for standard input"
    )
    join.add_argument("hosts", nargs="*", metavar="HOST[:PORT]", help="nodes to join through (with a cluster key)")
    join.add_argument("--name", dest="member_name", default="", metavar="MEMBER")
    join.add_argument("--endpoint", action="append", default=[], metavar="HOST[:PORT]")
    join.add_argument("--listen-port", type=_port, default=0, metavar="P")
    join.add_argument("--join-port", type=_port, metavar="P")
    join.add_argument("--interface", default="", metavar="IF")
    join.add_argument("--always-on", action="store_true", help="keep the keys in a file that only root reads")
    join.add_argument("--wait", type=_seconds, metavar="S", help="wait that long for the mesh to be connected")
    join.add_argument("--request", metavar="HOST[:PORT]", help="ask to be let in as a peer")
    join.add_argument("--fingerprint", default="", metavar="F", help="the mesh CA's, to check (with --request)")
    for name, text in (
        ("up", "connect this machine to a mesh it is a member of"),
        ("down", "disconnect; the membership stays"),
        ("status", "show the meshes of this machine"),
    ):
        _command(commands, name, text).add_argument("mesh_name", nargs="?", default="", metavar="MESH")
    leave = _command(commands, "leave", "take this machine out of a mesh and clean up")
    leave.add_argument("mesh_name", metavar="MESH")
    leave.add_argument("--yes", action="store_true", help="don't ask")
    wait = _command(commands, "wait", "wait until a mesh is connected")
    wait.add_argument("mesh_name", nargs="?", default="", metavar="MESH")
    wait.add_argument("--for", dest="wanted", choices=["connected"], default="connected")
    wait.add_argument("--timeout", dest="wait_timeout", type=_seconds, metavar="S")


def _members(commands: Commands) -> None:
    for group, text in (("nodes", "the gateways of a mesh"), ("peers", "the laptops and desktops of a mesh")):
        inner = _group(commands, group, text)
        _command(inner, "list", f"list the {group}")
        for name, what in (("show", "show one in full"), ("remove", "remove one from the mesh")):
            _command(inner, name, what).add_argument("who", metavar="WHO")
    _command(inner, "authorized", "list who was let in")
    _command(inner, "pending", "list who asks to be let in")
    for name, what in (
        ("authorize", "let a machine in that asks"),
        ("deauthorize", "refuse one that asks, or remove one"),
    ):
        _command(inner, name, what).add_argument("id", metavar="ID")
    for name, what in (("enable", "give a peer its access back"), ("disable", "take a peer's access away for now")):
        _command(inner, name, what).add_argument("who", metavar="WHO")
    rename = _command(inner, "rename", "give a peer another name")
    rename.add_argument("who", metavar="WHO")
    rename.add_argument("name", metavar="NAME")
    admin = _command(inner, "admin", "let a peer change the mesh, or not")
    admin.add_argument("who", metavar="WHO")
    admin.add_argument("state", choices=["on", "off"])


def _routes(commands: Commands) -> None:
    inner = _group(commands, "routes", "subnets behind nodes")
    _command(inner, "list", "list the routes")
    for name, text in (("add", "offer a subnet to the mesh"), ("remove", "stop offering one")):
        parser = _command(inner, name, text)
        parser.add_argument("cidr", metavar="CIDR")
        parser.add_argument("--node", default="", metavar="WHO", help="the node that offers it (default: this one)")
    for name, text in (
        ("accept", "install a route here although it overlaps"),
        ("ignore", "never install a route here"),
    ):
        _command(inner, name, text).add_argument("cidr", metavar="CIDR")


def _invites(commands: Commands) -> None:
    inner = _group(commands, "invites", "what lets one machine in")
    create = _command(inner, "create", "make an invite")
    create.add_argument("member", nargs="?", default="", metavar="MEMBER", help="the name its user will have")
    create.add_argument("--expires", default="14d", metavar="TIME")
    create.add_argument("--uses", type=_number(1, 2**31 - 1), default=1, metavar="N")
    create.add_argument("--ephemeral", default="", metavar="TIME", help="remove its members when offline for so long")
    create.add_argument("--cidr", default="", metavar="NAME")
    create.add_argument("--admin", action="store_true")
    create.add_argument("--node", action="store_true", help="for a node instead of a peer")
    create.add_argument("--file", metavar="FILE", help="write it to a .mesh file that only you can read")
    create.add_argument("--qr", action="store_true", help="show it as a QR code")
    _command(inner, "list", "list the invites")
    _command(inner, "show", "show one, without its secret").add_argument("id", metavar="ID")
    _command(inner, "revoke", "make one useless").add_argument("id", metavar="ID")


def _rest(commands: Commands) -> None:
    _command(_group(commands, "key", "the cluster key, which lets machines join as nodes"), "show", "show it")
    events = _command(commands, "events", "show what happened")
    events.add_argument("--follow", action="store_true", help="go on with what happens")
    events.add_argument("--since", type=_number(0, 2**63 - 1), metavar="REVISION")
    ping = _command(commands, "ping", "measure the way to a member")
    ping.add_argument("who", metavar="WHO")
    ping.add_argument("--count", type=_number(1, 10_000), default=4, metavar="N")
    _command(commands, "doctor", "find what would stop a mesh from working here, and the fix")
    completions = _command(commands, "completions", "print a completion script")
    completions.add_argument("shell", choices=["bash", "zsh", "fish"])
