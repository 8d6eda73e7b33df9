"""The table of commands, by the words that name them."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from meshproto import state_pb2
from meshproto.client import HelperError
from meshproto.format_error import FormatError

from meshctl import backups, invites, members, meshes
from meshctl.session import Session

_NO_PEERS = "No peers yet. `meshctl invites create NAME` invites one."


def _drawing(name: str) -> Callable[[Session], None]:
    def command(session: Session) -> None:
        from meshctl import drawing  # for these two alone

        getattr(drawing, name)(session)

    return command


COMMANDS: dict[str, Callable[[Session], None]] = {
    "create": meshes.create,
    "join": meshes.join,
    "up": meshes.up,
    "down": meshes.down,
    "leave": meshes.leave,
    "status": meshes.status,
    "wait": meshes.wait,
    "nodes list": members.list_members(state_pb2.ROLE_NODE, "No nodes."),
    "nodes show": members.show_member(state_pb2.ROLE_NODE),
    "nodes promote": members.promote,
    "nodes timeout": members.election_timeout,
    "nodes remove": members.remove_member(state_pb2.ROLE_NODE),
    "peers list": members.list_members(state_pb2.ROLE_PEER, _NO_PEERS),
    "peers authorized": members.list_members(state_pb2.ROLE_PEER, _NO_PEERS),
    "peers show": members.show_member(state_pb2.ROLE_PEER),
    "peers remove": members.remove_member(state_pb2.ROLE_PEER),
    "peers pending": members.pending,
    "peers authorize": members.decide("AuthorizePeer", "was let in"),
    "peers deauthorize": members.decide("DeauthorizePeer", "has no access"),
    "peers enable": members.enable(True),
    "peers disable": members.enable(False),
    "peers rename": members.rename,
    "peers admin": members.admin,
    "routes list": members.list_routes,
    "routes add": members.change_route("AddRoute", "is offered to the mesh"),
    "routes remove": members.change_route("RemoveRoute", "is no longer offered"),
    "routes accept": members.prefer_route(True),
    "routes ignore": members.prefer_route(False),
    "invites create": invites.create,
    "invites list": invites.list_invites,
    "invites show": invites.show,
    "invites revoke": invites.revoke,
    "key show": meshes.key_show,
    "key rotate": meshes.key_rotate,
    "backup": backups.back_up,
    "restore": backups.restore,
    "events": meshes.events,
    "ping": meshes.ping,
    "doctor": meshes.doctor,
    "graph": _drawing("graph"),
    "report": _drawing("report"),
}


def run_command(name: str, options: argparse.Namespace) -> None:
    """Raises HelperError."""
    try:
        if getattr(options, "watch", False):
            from meshctl.watching import watch

            watch(Session(options), COMMANDS[name])
        else:
            COMMANDS[name](Session(options))
    except FormatError as error:
        raise HelperError("invalid", error.message, error.fix) from error
    except BrokenPipeError:
        raise
    except FileExistsError as error:
        raise HelperError("failed", f"{error.filename} exists already", "choose another --file") from error
    except OSError as error:
        raise HelperError("failed", f"{error.filename or 'a file'}: {error.strerror}") from error
