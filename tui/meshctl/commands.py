"""What each command asks the helper, and how its answer is shown."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import grpc
from meshproto import local_pb2, state_pb2
from meshproto.client import DEFAULT_SOCKET, HelperError, connect, error_of
from meshproto.durations import parse_duration_ms
from meshproto.format_error import FormatError

from meshctl import as_json, as_text

GRACE = 1.0
"""Seconds that the helper gets beyond its own deadline to say why it gave up."""


class Session:
    """One connection to the helper, the options of this run, and the moment by which it must be over."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.socket = Path(options.socket or os.environ.get("MESHD_SOCKET") or DEFAULT_SOCKET)
        self.timeout = options.timeout or 10.0
        self._channel, self.stub = connect(self.socket)

    @property
    def mesh(self) -> str:
        return getattr(self.options, "mesh_name", "") or str(self.options.mesh)

    def call(self, name: str, request: Any, timeout: float | None = None) -> Any:
        """The reply. Raises HelperError."""
        try:
            return getattr(self.stub, name)(request, timeout=timeout or self.timeout)
        except grpc.RpcError as failure:
            raise error_of(failure, self.socket) from failure

    def stream(self, name: str, request: Any, timeout: float | None) -> Iterator[Any]:
        """The replies, one by one. Raises HelperError."""
        try:
            yield from getattr(self.stub, name)(request, timeout=timeout)
        except grpc.RpcError as failure:
            raise error_of(failure, self.socket) from failure

    def status(self) -> local_pb2.Status:
        reply: local_pb2.Status = self.call("GetStatus", local_pb2.GetStatusRequest(mesh=self.mesh))
        return reply

    def one_mesh(self) -> local_pb2.MeshStatus:
        """The mesh that is meant. Raises HelperError when that is none or not clear."""
        found = list(self.status().meshes)
        if not found:
            raise HelperError("no-mesh", "this machine is in no mesh", "meshctl create NAME, or meshctl join …")
        if len(found) > 1:
            names = ", ".join(sorted(one.name for one in found))
            raise HelperError("conflict", f"this machine is in several meshes: {names}", "say which: --mesh NAME")
        return found[0]

    def show(self, data: Any, text: str) -> None:
        print(json.dumps(data) if self.options.json else text)

    def done(self, reply: local_pb2.ChangeReply, text: str) -> None:
        self.show({"epoch": reply.epoch, "revision": reply.revision}, text)


def _request_id() -> str:
    return str(uuid.uuid4())


def create(session: Session) -> None:
    options = session.options
    request = local_pb2.CreateMeshRequest(
        name=options.name,
        endpoint=options.endpoint,
        node_pool=options.node_pool,
        node_prefix=max(options.node_prefix, 0),
        peer_pool=options.peer_pool,
        network=options.network,
        addressing=options.addressing,
        interface=options.interface,
        listen_port=max(options.listen_port, 0),
        join_port=options.join_port,
        dns_domain=options.dns_domain,
        member_name=options.member_name,
        mtu=max(options.mtu, 0),
    )
    reply = session.call("CreateMesh", request)
    key = reply.cluster_key if sys.stdout.isatty() else "see it with: meshctl key show"
    text = f"{as_text.mesh(reply.mesh)}\n\nCluster key, which lets machines join as nodes. Keep it secret:\n{key}"
    session.show({"mesh": as_json.mesh(reply.mesh), "cluster_key": reply.cluster_key}, text)


def _is_secret(text: str) -> bool:
    return text.strip().lower().startswith(("mesh1-", "meshkey", "mesh:"))


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # too long for a name: then it is none, and may be a secret that nobody shows
        return False


def _what(options: argparse.Namespace) -> tuple[str, list[str]]:
    """The key or invite, from the argument, a file, standard input, or MESHD_KEY; and the hosts."""
    given, hosts = str(options.what), list(options.hosts)
    key = os.environ.get("MESHD_KEY", "")
    if key and given != "-" and not _is_secret(given) and not _is_file(given):
        given, hosts = key, [given, *hosts] if given else hosts
    if given == "-":
        return sys.stdin.read(65536).strip(), hosts
    if not given:
        raise HelperError("invalid", "nothing to join with", "give a cluster key or an invite, or - for standard input")
    if not _is_secret(given) and _is_file(given):
        return Path(given).read_text(errors="replace")[:65536], hosts
    return given, hosts


def join(session: Session) -> None:
    options = session.options
    timeout = options.timeout or (24 * 3600.0 if options.request else 25.0)
    request = local_pb2.JoinMeshRequest(
        hosts=[options.request] if options.request else [],
        member_name=options.member_name,
        endpoints=options.endpoint,
        listen_port=max(options.listen_port, 0),
        join_port=options.join_port,
        interface=options.interface,
        always_on=options.always_on,
        timeout_ms=int(timeout * 1000),
        request=bool(options.request),
        fingerprint=options.fingerprint,
    )
    if not options.request:
        request.what, hosts = _what(options)
        request.hosts.extend(hosts)
    final: local_pb2.MeshStatus | None = None
    for progress in session.stream("JoinMesh", request, timeout + GRACE):
        if progress.stage == "done":
            final = progress.mesh
        elif progress.stage == "pending":
            text = f"request {progress.request_id}, fingerprint of the mesh: {progress.fingerprint}"
            print(as_text.clean(text), file=sys.stderr)
            print(as_text.clean(progress.text), file=sys.stderr)
        elif not options.json:
            print(f"{progress.stage}: {as_text.clean(progress.text)}", file=sys.stderr)
    if final is None:
        raise HelperError("failed", "the helper ended the join without an answer", "see the log of meshd")
    if options.wait is not None:
        final = _await_connected(session, final.name, options.wait)
    session.show(as_json.mesh(final), as_text.mesh(final))


def _await_connected(session: Session, name: str, timeout: float) -> local_pb2.MeshStatus:
    """The mesh once it is connected. Raises HelperError with the reason why it is not."""
    deadline = time.monotonic() + timeout
    reason = "nothing is known about it yet"
    try:
        for update in session.stream("Watch", local_pb2.WatchRequest(mesh=name), timeout):
            heads = [*update.snapshot.meshes, *(one.head for one in update.differences if one.HasField("head"))]
            for head in heads:
                if head.state == local_pb2.CONNECTED:
                    reply = session.call("GetStatus", local_pb2.GetStatusRequest(mesh=name))
                    found: local_pb2.MeshStatus = reply.meshes[0]
                    return found
                reason = head.reason or reason
            if time.monotonic() > deadline:
                break
    except HelperError as error:
        if error.code != "timeout":
            raise
    raise HelperError("timeout", f"{name} is not connected after {timeout:g} s: {reason}", "meshctl doctor")


def wait(session: Session) -> None:
    name = session.mesh or session.one_mesh().name
    limit = session.options.wait_timeout or session.options.timeout or 10.0
    found = _await_connected(session, name, limit)
    session.show(as_json.mesh(found), as_text.mesh(found))


def up(session: Session) -> None:
    reply = session.call("Connect", local_pb2.ConnectRequest(mesh=session.mesh))
    session.show(as_json.mesh(reply.mesh), as_text.mesh(reply.mesh))


def down(session: Session) -> None:
    reply = session.call("Disconnect", local_pb2.DisconnectRequest(mesh=session.mesh))
    session.show(as_json.mesh(reply.mesh), as_text.mesh(reply.mesh))


def leave(session: Session) -> None:
    options = session.options
    if not options.yes:
        if not sys.stdin.isatty():
            raise HelperError("invalid", f"leaving {options.mesh_name} removes its keys from this machine", "add --yes")
        try:
            answer = input(f"Leave {options.mesh_name}? This machine's keys for it are deleted. [y/N] ")
        except EOFError:
            answer = ""
        if answer.strip().lower() not in ("y", "yes"):
            raise HelperError("failed", "nothing was changed")
    reply = session.call("LeaveMesh", local_pb2.LeaveMeshRequest(mesh=session.mesh), max(session.timeout, 15.0))
    text = f"left {as_text.clean(options.mesh_name)}"
    if reply.left_behind:
        text += f"; {as_text.clean(reply.left_behind)}"
    session.show({"left": options.mesh_name, "left_behind": reply.left_behind or None}, text)


def status(session: Session) -> None:
    found = session.status()
    session.show(
        {"version": found.version, "meshes": [as_json.mesh(one) for one in found.meshes]}, as_text.status(found)
    )


def _of_role(session: Session, role: state_pb2.Role.ValueType) -> list[local_pb2.MemberStatus]:
    return [one for one in session.one_mesh().members if one.role == role]


def _list(role: state_pb2.Role.ValueType, nothing: str) -> Callable[[Session], None]:
    def command(session: Session) -> None:
        found = _of_role(session, role)
        session.show([as_json.member(one) for one in found], as_text.members(found, nothing))

    return command


def _show(role: state_pb2.Role.ValueType) -> Callable[[Session], None]:
    def command(session: Session) -> None:
        who = session.options.who.lower()
        found = [one for one in _of_role(session, role) if who in (one.name, one.id, one.ipv4, one.ipv6)]
        found = found or [one for one in _of_role(session, role) if len(who) >= 4 and one.id.startswith(who)]
        if len(found) != 1:
            raise HelperError(
                "not-found", f"there is no {as_json.ROLES[role]} {who!r}", f"meshctl {as_json.ROLES[role]}s list"
            )
        session.show(as_json.member(found[0]), as_text.member(found[0]))

    return command


def _remove(role: state_pb2.Role.ValueType) -> Callable[[Session], None]:
    def command(session: Session) -> None:
        request = local_pb2.MemberRequest(
            mesh=session.mesh, who=session.options.who, request_id=_request_id(), role=role
        )
        session.done(session.call("RemoveMember", request), f"{as_text.clean(session.options.who)} was removed")

    return command


def _enable(on: bool) -> Callable[[Session], None]:
    def command(session: Session) -> None:
        request = local_pb2.SetMemberFlagRequest(
            mesh=session.mesh, who=session.options.who, on=on, request_id=_request_id()
        )
        text = f"{as_text.clean(session.options.who)} is {'enabled' if on else 'disabled'}"
        session.done(session.call("SetMemberEnabled", request), text)

    return command


def peers_admin(session: Session) -> None:
    on = session.options.state == "on"
    request = local_pb2.SetMemberFlagRequest(
        mesh=session.mesh, who=session.options.who, on=on, request_id=_request_id()
    )
    text = f"{as_text.clean(session.options.who)} is {'now' if on else 'no longer'} an admin"
    session.done(session.call("SetMemberAdmin", request), text)


def peers_rename(session: Session) -> None:
    request = local_pb2.RenameMemberRequest(
        mesh=session.mesh, who=session.options.who, name=session.options.name, request_id=_request_id()
    )
    session.done(
        session.call("RenameMember", request), f"{as_text.clean(session.options.who)} is now {session.options.name}"
    )


def peers_pending(session: Session) -> None:
    found = session.one_mesh().pending
    session.show([as_json.pending(one) for one in found], as_text.pending(found))


def _decide(method: str, text: str) -> Callable[[Session], None]:
    def command(session: Session) -> None:
        request = local_pb2.PeerRequest(mesh=session.mesh, id=session.options.id, request_id=_request_id())
        session.done(session.call(method, request), f"{as_text.clean(session.options.id)} {text}")

    return command


def routes_list(session: Session) -> None:
    found = session.one_mesh().routes
    session.show([as_json.route(one) for one in found], as_text.routes(found))


def _route(method: str, text: str) -> Callable[[Session], None]:
    def command(session: Session) -> None:
        options = session.options
        request = local_pb2.RouteRequest(
            mesh=session.mesh, cidr=options.cidr, node=options.node, request_id=_request_id()
        )
        session.done(session.call(method, request), f"{as_text.clean(options.cidr)} {text}")

    return command


def _prefer(accept: bool) -> Callable[[Session], None]:
    def command(session: Session) -> None:
        request = local_pb2.RoutePreferenceRequest(mesh=session.mesh, cidr=session.options.cidr, accept=accept)
        reply = session.call("SetRoutePreference", request)
        text = f"{as_text.clean(session.options.cidr)} is {'accepted' if accept else 'ignored'} on this machine"
        session.show(as_json.mesh(reply.mesh), text)

    return command


def _new_file(path: str) -> TextIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8")


def invites_create(session: Session) -> None:
    options = session.options
    request = local_pb2.CreateInviteRequest(
        mesh=session.mesh,
        member=options.member,
        lifetime_ms=parse_duration_ms(options.expires),
        uses=max(options.uses, 0),
        ephemeral_ms=parse_duration_ms(options.ephemeral) if options.ephemeral else 0,
        cidr=options.cidr,
        admin=options.admin,
        node=options.node,
        request_id=_request_id(),
    )
    # The file comes first: an invite whose secret could not be kept would stay open for nobody.
    file = _new_file(options.file) if options.file else None
    try:
        reply = session.call("CreateInvite", request)
    except HelperError:
        if file:
            file.close()
            os.unlink(options.file)
        raise
    lines = [f"invite {reply.invite.id} for {as_text.clean(reply.invite.member) or 'anybody'}"]
    lines[0] += f", until {as_json.moment(reply.invite.expires_ms)}"
    if file:
        with file:
            file.write(reply.file)
        lines.append(f"written to {options.file}; on the other machine: meshctl join {options.file} --always-on")
    if options.qr:
        from meshproto.qr import qr_text

        lines.append(qr_text(reply.text.upper()))
    if not options.file and not options.qr:
        lines += ["on the other machine, with this on its standard input: meshctl join - --always-on", reply.text]
    session.show({"invite": as_json.invite(reply.invite), "text": reply.text, "uri": reply.uri}, "\n".join(lines))


def invites_list(session: Session) -> None:
    found = session.one_mesh().invites
    session.show([as_json.invite(one) for one in found], as_text.invites(found))


def invites_show(session: Session) -> None:
    found = [one for one in session.one_mesh().invites if one.id.startswith(session.options.id)]
    if len(found) != 1:
        raise HelperError("not-found", f"there is no invite {session.options.id!r}", "meshctl invites list")
    session.show(as_json.invite(found[0]), as_text.invites(found))


def invites_revoke(session: Session) -> None:
    request = local_pb2.RevokeInviteRequest(mesh=session.mesh, id=session.options.id, request_id=_request_id())
    session.done(session.call("RevokeInvite", request), f"invite {as_text.clean(session.options.id)} was revoked")


def key_show(session: Session) -> None:
    reply = session.call("ShowKey", local_pb2.ShowKeyRequest(mesh=session.mesh))
    session.show({"cluster_key": reply.cluster_key}, reply.cluster_key)


def events(session: Session) -> None:
    options = session.options
    request = local_pb2.ListEventsRequest(mesh=session.mesh, follow=options.follow, since_revision=options.since)
    for one in session.stream("ListEvents", request, None if options.follow else session.timeout):
        session.show(as_json.event(one), as_text.event(one))
        if options.follow:
            sys.stdout.flush()


def ping(session: Session) -> None:
    options = session.options
    limit = options.timeout or max(10.0, options.count * 2.5)
    request = local_pb2.PingRequest(
        mesh=session.mesh, who=options.who, count=max(options.count, 1), timeout_ms=int(limit * 1000)
    )
    reply = session.call("Ping", request, limit + GRACE)
    session.show(as_json.ping(reply), as_text.ping(options.who, reply))
    if not reply.received:
        sys.exit(1)


def doctor(session: Session) -> None:
    found = session.call("Doctor", local_pb2.DoctorRequest(mesh=session.mesh)).checks
    session.show([as_json.check(one) for one in found], as_text.doctor(found))


COMMANDS: dict[str, Callable[[Session], None]] = {
    "create": create,
    "join": join,
    "up": up,
    "down": down,
    "leave": leave,
    "status": status,
    "wait": wait,
    "nodes list": _list(state_pb2.ROLE_NODE, "No nodes."),
    "nodes show": _show(state_pb2.ROLE_NODE),
    "nodes remove": _remove(state_pb2.ROLE_NODE),
    "peers list": _list(state_pb2.ROLE_PEER, "No peers yet. `meshctl invites create NAME` invites one."),
    "peers authorized": _list(state_pb2.ROLE_PEER, "No peers yet. `meshctl invites create NAME` invites one."),
    "peers show": _show(state_pb2.ROLE_PEER),
    "peers remove": _remove(state_pb2.ROLE_PEER),
    "peers pending": peers_pending,
    "peers authorize": _decide("AuthorizePeer", "was let in"),
    "peers deauthorize": _decide("DeauthorizePeer", "has no access"),
    "peers enable": _enable(True),
    "peers disable": _enable(False),
    "peers rename": peers_rename,
    "peers admin": peers_admin,
    "routes list": routes_list,
    "routes add": _route("AddRoute", "is offered to the mesh"),
    "routes remove": _route("RemoveRoute", "is no longer offered"),
    "routes accept": _prefer(True),
    "routes ignore": _prefer(False),
    "invites create": invites_create,
    "invites list": invites_list,
    "invites show": invites_show,
    "invites revoke": invites_revoke,
    "key show": key_show,
    "events": events,
    "ping": ping,
    "doctor": doctor,
}


def run_command(name: str, options: argparse.Namespace) -> None:
    """Raises HelperError."""
    try:
        COMMANDS[name](Session(options))
    except FormatError as error:
        raise HelperError("invalid", error.message, error.fix) from error
    except BrokenPipeError:
        raise
    except FileExistsError as error:
        raise HelperError("failed", f"{error.filename} exists already", "choose another --file") from error
    except OSError as error:
        raise HelperError("failed", f"{error.filename or 'a file'}: {error.strerror}") from error
