"""Every command and option of meshctl (INTERFACES.md), as argparse has them. Imports nothing slow."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

LONGEST_S = 30 * 86400
"""A month: in milliseconds it still fits the 32 bits that it has on the wire."""

COMMAND = "COMMAND"

Commands = Any  # argparse's type of a set of subparsers is private


class WrongUsage(Exception):
    """Raised when the arguments are none that meshctl knows. `program` is the command that they were for."""

    def __init__(self, program: str, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.program = program
        self.message = message
        self.fix = fix or f"see `{program} --help`"


class _Format(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30)

    def add_argument(self, action: argparse.Action) -> None:
        super().add_argument(action)
        if isinstance(action, argparse._SubParsersAction):
            self._action_max_length += 2  # argparse forgets that commands are indented once more


class Parser(argparse.ArgumentParser):
    """Takes no abbreviations, which scripts would come to rely on, and leaves it to the caller to report errors."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_Format, **options)
        self._mixing = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Takes options also between the words of a command: argparse by itself would not know the words after them."""
        if self._mixing or self._subparsers is not None:
            return super().parse_known_args(args, namespace)
        self._mixing = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._mixing = False

    def error(self, message: str) -> NoReturn:
        _, required, names = message.partition("arguments are required: ")
        if required:
            message = f"{'a command' if names == 'COMMAND' else names} is missing"
        raise WrongUsage(self.prog, message)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        known = [str(one) for one in action.choices]
        if action.metavar != COMMAND:
            name = "/".join(action.option_strings) or str(action.metavar or action.dest)
            raise WrongUsage(self.prog, f"{name}: {value!r} is not one of {', '.join(known)}")
        from difflib import get_close_matches

        near = get_close_matches(str(value), known, 1, 0.7)
        fix = f"did you mean `{self.prog} {near[0]}`?" if near else ""
        raise WrongUsage(self.prog, f"there is no command {value!r}", fix)


def _number(least: int, most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        try:
            found = int(text)
        except ValueError:
            found = least - 1
        if not least <= found <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number between {least} and {most}")
        return found

    return number


_port = _number(0, 65535)


def _seconds(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0
    if not 0 < found <= LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds between 0 and {LONGEST_S}")
    return found


def _anywhere(parser: argparse.ArgumentParser) -> None:
    """The options of meshctl itself, which may stand before a group, between group and command, or at the end."""
    hidden: dict[str, Any] = {"default": argparse.SUPPRESS, "help": argparse.SUPPRESS}
    parser.add_argument("--socket", metavar="PATH", **hidden)
    parser.add_argument("--mesh", metavar="MESH", **hidden)
    parser.add_argument("--json", action="store_true", **hidden)
    parser.add_argument("--timeout", type=_seconds, metavar="S", **hidden)


def _command(commands: Commands, name: str, text: str, examples: str = "") -> argparse.ArgumentParser:
    shown = f"Examples:\n{examples}\n\n" if examples else ""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text[0].upper() + text[1:] + ".", epilog=shown + _EPILOG
    )
    parser.set_defaults(command=name)
    _anywhere(parser)
    return parser


def _group(commands: Commands, name: str, text: str) -> Commands:
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", epilog=_EPILOG)
    parser.set_defaults(group=name)
    _anywhere(parser)
    return parser.add_subparsers(title="commands", metavar=COMMAND, required=True, dest="inner")


_EPILOG = "Options for every command (--socket, --mesh, --json, --timeout): meshctl --help"

_ABOUT = """\
These options may stand anywhere, before or after the command.
WHO is a member's name, id, beginning of an id, or overlay address. Durations: 30s 5m 2h 14d.

Exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 meshd can't be reached,
4 not permitted, 5 outcome unknown (not confirmed by a majority in time)."""

_FILTER = (
    "only those with all these words in name, role, address, path or state; !WORD: without; lgr finds laptop-grace"
)
_MESH = "which one, when this machine is in several"
_WHO = "name, id, beginning of an id, or overlay address"


def make_parser(only: str = "") -> Parser:
    """`only` leaves out all commands but the named one or the group it stands in: a third of the start-up time."""
    from meshproto import VERSION

    parser = Parser(prog="meshctl", description="Watch and run the private networks of this machine.", epilog=_ABOUT)
    parser.add_argument("--version", action="version", version=f"meshctl {VERSION}", help="show the version and exit")
    parser.add_argument(
        "--socket", metavar="PATH", help="meshd's socket (default $MESHD_SOCKET or /run/meshd/meshd.sock)"
    )
    parser.add_argument("--mesh", default="", metavar="MESH", help="which mesh, when this machine is in several")
    parser.add_argument("--json", action="store_true", help="answer in JSON, for programs")
    parser.add_argument(
        "--timeout", type=_seconds, metavar="S", help="seconds a command may take (default 10, join 25)"
    )
    commands = parser.add_subparsers(title="commands", metavar=COMMAND, required=True, dest="outer")
    wanted = next((make for make, names in _SECTIONS if only in names), None)
    for make, _ in _SECTIONS:
        if wanted in (None, make):
            make(commands)
    return parser


def _meshes(commands: Commands) -> None:
    create = _command(
        commands,
        "create",
        "make a mesh with this machine as its first node",
        "  meshctl create home\n  meshctl create home --endpoint gw-berlin.example --node-pool 10.20.0.0/16",
    )
    create.add_argument("name", metavar="NAME", help="what the mesh is called: small letters, digits, hyphens")
    create.add_argument("--endpoint", default="", metavar="HOST[:PORT]", help="where others reach this machine")
    create.add_argument("--node-pool", default="", metavar="CIDR", help="first node's subnet (default 10.11.0.0/16)")
    create.add_argument(
        "--node-prefix", type=_number(0, 128), default=0, metavar="N", help="prefix length of each node's subnet"
    )
    create.add_argument("--peer-pool", default="", metavar="CIDR", help="addresses of peers (default 10.51.0.0/16)")
    create.add_argument("--network", default="", metavar="CIDR", help="one network for everything, instead of pools")
    create.add_argument(
        "--addressing", default="", choices=["sequential", "hash"], help="how peers get addresses (default sequential)"
    )
    create.add_argument("--interface", default="", metavar="IF", help="name of the interface (default NAME)")
    create.add_argument(
        "--listen-port", type=_port, default=0, metavar="P", help="WireGuard's UDP port (default 10100)"
    )
    create.add_argument("--join-port", type=_port, metavar="P", help="TCP port to join at (default 9000); 0: none")
    create.add_argument("--dns-domain", default="", metavar="D", help="suffix of names (default NAME.wg)")
    create.add_argument(
        "--name", dest="member_name", default="", metavar="MEMBER", help="this machine's name (default: its host name)"
    )
    create.add_argument("--mtu", type=_number(0, 65535), default=0, metavar="N", help="of the tunnel (default 1420)")
    create.add_argument(
        "--election-timeout",
        type=_seconds,
        default=0.0,
        metavar="S",
        help="seconds without the primary until another one is elected (default 1): four round trips of slow links",
    )
    join = _command(
        commands,
        "join",
        "make this machine a member of a mesh",
        "  meshctl join - gw-berlin.example < key-file           as a node, with the cluster key\n"
        "  MESHD_KEY=… meshctl join gw-berlin.example            the same, from the environment\n"
        "  meshctl join laptop-ada.mesh                          as a peer, with an invite\n"
        "  meshctl join --request gw-berlin.example --wait 3600  as a peer, when somebody lets it in\n"
        "A peer's keys are kept in your keyring; `meshctl up` hands them to meshd. With --always-on they are in files.",
    )
    join.add_argument(
        "what",
        nargs="?",
        default="",
        metavar="WHAT",
        help="cluster key or invite: text, URI, file, or - for standard input; not needed with $MESHD_KEY",
    )
    join.add_argument("hosts", nargs="*", metavar="HOST[:PORT]", help="nodes to join through (with a cluster key)")
    join.add_argument(
        "--name", dest="member_name", default="", metavar="MEMBER", help="this machine's name (default: its host name)"
    )
    join.add_argument(
        "--endpoint", action="append", default=[], metavar="HOST[:PORT]", help="where others reach this machine"
    )
    join.add_argument("--listen-port", type=_port, default=0, metavar="P", help="WireGuard's UDP port (default 10100)")
    join.add_argument("--join-port", type=_port, metavar="P", help="nodes: TCP port to join at (default 9000); 0: none")
    join.add_argument("--interface", default="", metavar="IF", help="name of the interface (default: the mesh's)")
    join.add_argument(
        "--always-on",
        action="store_true",
        help="peers: keep the keys in files that only root reads, and connect when the machine starts",
    )
    join.add_argument("--wait", type=_seconds, metavar="S", help="wait that long for the mesh to be connected")
    join.add_argument("--request", metavar="HOST[:PORT]", help="ask to be let in as a peer")
    join.add_argument("--fingerprint", default="", metavar="F", help="the mesh CA's, to check (with --request)")
    for name, text in (
        ("up", "connect this machine to a mesh that it is a member of"),
        ("down", "disconnect this machine; it stays a member"),
        ("status", "show the meshes of this machine"),
    ):
        one = _command(commands, name, text)
        one.add_argument("mesh_name", nargs="?", default="", metavar="MESH", help=_MESH)
        if name == "down":
            one.add_argument("--for", dest="pause", default="", metavar="TIME", help="connect again after that: 5m, 1h")
    _watch(one)
    leave = _command(commands, "leave", "take this machine out of a mesh and clean up")
    leave.add_argument("mesh_name", metavar="MESH", help="which one")
    leave.add_argument("--yes", action="store_true", help="don't ask whether you are sure")
    wait = _command(commands, "wait", "wait until a mesh is connected")
    wait.add_argument("mesh_name", nargs="?", default="", metavar="MESH", help=_MESH)
    wait.add_argument(
        "--for",
        dest="wanted",
        choices=["connected"],
        default="connected",
        help="the state to wait for (default connected)",
    )


def _watch(command: argparse.ArgumentParser) -> None:
    command.add_argument("--watch", action="store_true", help="again with each change, until interrupted")


def _members(commands: Commands) -> None:
    for group, text in (("nodes", "the gateways of a mesh"), ("peers", "the laptops and desktops of a mesh")):
        inner = _group(commands, group, text)
        listed = _command(inner, "list", f"list the {group}")
        listed.add_argument("--filter", default="", metavar="WORDS", help=_FILTER)
        _watch(listed)
        for name, what in (("show", f"show all about a {group[:-1]}"), ("remove", f"remove a {group[:-1]} for good")):
            _command(inner, name, what).add_argument("who", metavar="WHO", help=_WHO)
        if group == "nodes":
            promote = _command(inner, "promote", "have a node lead the mesh: the primary hands over to it")
            promote.add_argument("who", metavar="WHO", help=_WHO)
            promote.add_argument(
                "--force",
                action="store_true",
                help="on WHO itself, when a majority is gone for good: it leads unasked, and changes may be lost",
            )
            promote.add_argument("--yes", action="store_true", help="with --force: don't ask whether you are sure")
            waits = _command(
                inner,
                "timeout",
                "have the nodes wait longer for their primary, for slow links",
                "  meshctl nodes timeout 4      where a round trip between nodes takes up to a second",
            )
            waits.add_argument(
                "seconds", type=_seconds, metavar="S", help="seconds without the primary until another one is elected"
            )
    _command(inner, "authorized", "list the peers that were let in")
    _watch(_command(inner, "pending", "list the machines that ask to be let in"))
    for name, what in (
        ("authorize", "let in a machine that asks"),
        ("deauthorize", "refuse a machine that asks, or remove a peer"),
    ):
        _command(inner, name, what).add_argument("id", metavar="ID", help="see `meshctl peers pending`")
    for name, what in (("enable", "give a peer its access back"), ("disable", "take a peer's access away for now")):
        _command(inner, name, what).add_argument("who", metavar="WHO", help=_WHO)
    rename = _command(inner, "rename", "give a peer another name")
    rename.add_argument("who", metavar="WHO", help=_WHO)
    rename.add_argument("name", metavar="NAME", help="the new name: small letters, digits, hyphens")
    admin = _command(inner, "admin", "let a peer change the mesh, or not")
    admin.add_argument("who", metavar="WHO", help=_WHO)
    admin.add_argument("state", choices=["on", "off"], help="whether it may")


def _routes(commands: Commands) -> None:
    inner = _group(commands, "routes", "subnets behind nodes")
    _watch(_command(inner, "list", "list the routes"))
    for name, text in (("add", "offer a subnet to the mesh"), ("remove", "stop offering a subnet")):
        parser = _command(inner, name, text)
        parser.add_argument("cidr", metavar="CIDR", help="such as 203.0.113.0/24")
        parser.add_argument("--node", default="", metavar="WHO", help="the node that offers it (default: this one)")
    for name, text in (
        ("accept", "install a route on this machine although it overlaps"),
        ("ignore", "never install a route on this machine"),
    ):
        _command(inner, name, text).add_argument("cidr", metavar="CIDR", help="see `meshctl routes list`")


def _invites(commands: Commands) -> None:
    inner = _group(commands, "invites", "what lets one machine in")
    create = _command(
        inner,
        "create",
        "make an invite",
        "  meshctl invites create laptop-ada --file laptop-ada.mesh\n"
        "  meshctl invites create --uses 5 --expires 2h --ephemeral 1d",
    )
    create.add_argument(
        "member", nargs="?", default="", metavar="MEMBER", help="the machine's name in the mesh (default: it chooses)"
    )
    create.add_argument("--expires", default="14d", metavar="TIME", help="when it ends (default 14d)")
    create.add_argument(
        "--uses", type=_number(1, 2**31 - 1), default=1, metavar="N", help="machines that it lets in (default 1)"
    )
    create.add_argument("--ephemeral", default="", metavar="TIME", help="remove its members when offline for so long")
    create.add_argument("--cidr", default="", metavar="NAME", help="block of addresses that its members get")
    create.add_argument("--admin", action="store_true", help="its members may change the mesh")
    create.add_argument("--node", action="store_true", help="for a node instead of a peer")
    create.add_argument("--file", metavar="FILE", help="write it to a .mesh file that only you can read")
    create.add_argument("--qr", action="store_true", help="show it as a QR code")
    _watch(_command(inner, "list", "list the invites"))
    show = _command(inner, "show", "show an invite")
    show.add_argument("id", metavar="ID", help="its id, or the beginning of it")
    show.add_argument(
        "--qr", action="store_true", help="with its secret as a QR code: while it is open, where it was made"
    )
    _command(inner, "revoke", "make an invite useless").add_argument(
        "id", metavar="ID", help="see `meshctl invites list`"
    )


def _rest(commands: Commands) -> None:
    key = _group(commands, "key", "the cluster key, which lets machines join as nodes")
    _command(key, "show", "show the cluster key")
    _command(key, "rotate", "make a new cluster key and show it: the old one lets nobody in, members stay")
    backup = _command(
        commands,
        "backup",
        "write the mesh's state to a file, encrypted under a passphrase: for the loss of the only node",
        "  meshctl backup home.backup",
    )
    backup.add_argument("file", metavar="FILE", help="a new file, which only you can read")
    restore = _command(
        commands,
        "restore",
        "make this machine a node of a mesh whose nodes are all lost, from a backup",
        "  meshctl restore home.backup --endpoint gw-berlin.example",
    )
    restore.add_argument("file", metavar="FILE", help="what `meshctl backup` wrote")
    restore.add_argument(
        "--name",
        dest="member_name",
        default="",
        metavar="MEMBER",
        help="the node to be (default: whose backup it is)",
    )
    restore.add_argument("--endpoint", default="", metavar="HOST[:PORT]", help="where others reach this machine")
    restore.add_argument("--interface", default="", metavar="IF", help="name of the interface")
    restore.add_argument("--listen-port", type=_port, default=0, metavar="P", help="WireGuard's UDP port")
    restore.add_argument("--join-port", type=_port, metavar="P", help="TCP port to join at; 0: none")
    events = _command(commands, "events", "show what happened")
    events.add_argument("--follow", action="store_true", help="go on with what happens, until interrupted")
    events.add_argument("--since", type=_number(0, 2**63 - 1), metavar="REVISION", help="only changes after this one")
    ping = _command(commands, "ping", "measure the way to a member")
    ping.add_argument("who", metavar="WHO", help=_WHO)
    ping.add_argument("--count", type=_number(1, 10_000), default=4, metavar="N", help="probes (default 4)")
    _command(commands, "doctor", "find what would stop a mesh from working here, and the fix")
    graph = _command(
        commands,
        "graph",
        "draw who is reached how from this machine",
        "  meshctl graph\n  meshctl graph --format svg > home.svg\n  meshctl graph --format dot | dot -Tpng > home.png",
    )
    graph.add_argument(
        "--format", choices=["dot", "mermaid", "svg", "text"], default="text", help="of the drawing (default text)"
    )
    report = _command(
        commands,
        "report",
        "write a file to send with a question: status, events and doctor, no secret",
        "  meshctl report home.report\n  meshtui --replay home.report",
    )
    report.add_argument("file", metavar="FILE", help="a new one, which only you can read")
    completions = _command(
        commands,
        "completions",
        "print a completion script",
        "  meshctl completions bash > /etc/bash_completion.d/meshctl\n"
        "  meshctl completions zsh > /usr/local/share/zsh/site-functions/_meshctl\n"
        "  meshctl completions fish > ~/.config/fish/completions/meshctl.fish",
    )
    completions.add_argument("shell", choices=["bash", "zsh", "fish"], help="for which shell")


_SECTIONS: tuple[tuple[Callable[[Commands], None], tuple[str, ...]], ...] = (
    (_meshes, ("create", "join", "up", "down", "leave", "status", "wait")),
    (_members, ("nodes", "peers")),
    (_routes, ("routes",)),
    (_invites, ("invites",)),
    (_rest, ("key", "backup", "restore", "events", "ping", "doctor", "graph", "report", "completions")),
)

NAMES = frozenset(name for _, names in _SECTIONS for name in names)
"""The first words of all commands."""
