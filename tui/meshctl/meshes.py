"""Commands about whole meshes: create, join, up, down, leave, status, wait, key, events, ping, doctor."""

from __future__ import annotations

import argparse
import os
import pwd
import signal
import sys
from pathlib import Path
from typing import Any

from meshproto import local_pb2
from meshproto.client import HelperError
from meshproto.durations import parse_duration_ms

from meshctl import as_json, as_text
from meshctl.session import DEFAULT_TIMEOUT, Session, request_id

JOIN_TIMEOUT = 25.0
"""Seconds; INTERFACES.md."""

LONGEST_SECRET = 65536
"""Characters; an invite's file is about a thousand."""


def create(session: Session) -> None:
    options = session.options
    request = local_pb2.CreateMeshRequest(
        name=options.name,
        endpoint=options.endpoint,
        node_pool=options.node_pool,
        node_prefix=options.node_prefix,
        peer_pool=options.peer_pool,
        network=options.network,
        addressing=options.addressing,
        interface=options.interface,
        listen_port=options.listen_port,
        join_port=options.join_port,
        dns_domain=options.dns_domain,
        member_name=options.member_name,
        mtu=options.mtu,
        election_timeout_ms=round(options.election_timeout * 1000),
    )
    reply = session.change("CreateMesh", request, "meshctl status")
    about = "The cluster key lets machines join as nodes."
    # Only where a person reads it: a log or a file would keep it.
    about += f" Keep it secret:\n{reply.cluster_key}" if sys.stdout.isatty() else " See it with: meshctl key show"
    session.show(
        {"mesh": as_json.mesh(reply.mesh), "cluster_key": reply.cluster_key}, f"{as_text.mesh(reply.mesh)}\n\n{about}"
    )


def _is_secret(text: str) -> bool:
    return text.strip().lower().startswith(("mesh1-", "meshkey", "mesh:"))


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # too long for a name: then it is none, and may be a secret that nobody shows
        return False


def _standard_input(limit: float) -> str:
    """All of it. A person may take their time; a pipe that nobody closes may not."""
    if sys.stdin.isatty():
        return sys.stdin.readline()

    def give_up(*_: Any) -> None:
        raise HelperError(
            "timeout", f"standard input did not end within {limit:g} s", "close it, or give more --timeout"
        )

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        return sys.stdin.read(LONGEST_SECRET)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _what(options: argparse.Namespace, limit: float) -> tuple[str, list[str]]:
    """The key or invite, from the argument, a file, standard input, or MESHD_KEY; and the hosts."""
    given, hosts = str(options.what), list(options.hosts)
    key = os.environ.get("MESHD_KEY", "")
    if key and given != "-" and not _is_secret(given) and not _is_file(given):
        given, hosts = key, [given, *hosts] if given else hosts
    if given == "-":
        given = _standard_input(limit).strip()
    if not given:
        raise HelperError("invalid", "nothing to join with", "give a cluster key or an invite, or - for standard input")
    if not _is_secret(given) and _is_file(given):
        return Path(given).read_text(errors="replace")[:LONGEST_SECRET], hosts
    return given, hosts


def join(session: Session) -> None:
    options = session.options
    # To be connected, a machine that asks has to be let in first: --wait waits for that, too.
    session.timeout = options.timeout or max(JOIN_TIMEOUT, (options.wait or 0) if options.request else 0)
    what, hosts = ("", [options.request]) if options.request else _what(options, session.timeout)
    from meshctl import keyring_use  # not for every command: it takes a while

    with keyring_use.keys_to_join(session, what) as entry:
        final = _join(session, what, hosts, entry.message() if entry is not None else None)
    if options.wait is not None:
        # A --timeout that was given holds for everything; the default is meant for the join alone.
        session.extend(min(options.wait, session.remaining()) if options.timeout else options.wait)
        final = _await_connected(session, final.name, options.wait)
    session.show(as_json.mesh(final), as_text.mesh(final))


def _join(session: Session, what: str, hosts: list[str], keys: local_pb2.MemberKeys | None) -> local_pb2.MeshStatus:
    options = session.options
    request = local_pb2.JoinMeshRequest(
        what=what,
        hosts=hosts,
        member_name=options.member_name,
        endpoints=options.endpoint,
        listen_port=options.listen_port,
        join_port=options.join_port,
        interface=options.interface,
        always_on=options.always_on,
        timeout_ms=session.helper_ms(),
        request=bool(options.request),
        fingerprint=options.fingerprint,
        keys=keys,
    )
    final: local_pb2.MeshStatus | None = None
    for progress in session.stream("JoinMesh", request):
        if progress.stage == "done":
            final = progress.mesh
        elif progress.stage == "pending":
            text = f"request {progress.request_id}, fingerprint of the mesh: {progress.fingerprint}"
            print(as_text.clean(text), file=sys.stderr)
            print(as_text.clean(progress.text), file=sys.stderr)
        elif not options.json:
            print(as_text.clean(f"{progress.stage}: {progress.text}"), file=sys.stderr)
    if final is None:
        raise HelperError("failed", "the helper ended the join without an answer", "see the log of meshd")
    return final


def _await_connected(session: Session, name: str, limit: float) -> local_pb2.MeshStatus:
    """The mesh once it is connected. Raises HelperError with the reason why it is not."""
    reason = "nothing is known about it yet"
    known: dict[str, str] = {}
    try:
        for update in session.stream("Watch", local_pb2.WatchRequest(mesh=name)):
            heads = [*update.snapshot.meshes, *(one.head for one in update.differences if one.HasField("head"))]
            for head in heads:
                known[head.id] = head.name
                reason = head.reason or reason
                if head.state == local_pb2.CONNECTED:
                    found = session.status(name).meshes
                    if found:
                        return found[0]
            if any(one.removed for one in update.differences):
                raise HelperError("not-found", f"this machine has left {name}", "see `meshctl status`")
    except HelperError as error:
        if error.code != "timeout":
            raise
        raise HelperError(
            "timeout", f"{name} is not connected after {limit:g} s: {reason}", "see `meshctl doctor`"
        ) from error
    raise HelperError("failed", f"meshd ended the report about {name}", "see the log of meshd")


def wait(session: Session) -> None:
    limit = session.options.timeout or DEFAULT_TIMEOUT
    found = _await_connected(session, session.mesh or session.one_mesh().name, limit)
    session.show(as_json.mesh(found), as_text.mesh(found))


def up(session: Session) -> None:
    try:
        reply = session.change("Connect", local_pb2.ConnectRequest(mesh=session.mesh), "meshctl status")
    except HelperError as error:
        if error.code != "keys-needed":
            raise
        from meshctl import keyring_use

        reply = keyring_use.connect(session)
    session.show(as_json.mesh(reply.mesh), as_text.mesh(reply.mesh))


def down(session: Session) -> None:
    options = session.options
    if sys.stdin.isatty() and not options.json:
        found = session.status(session.mesh).meshes
        by = found[0].connected_by if len(found) == 1 else ""
        if by not in ("", "root", _user()):
            name = as_text.clean(found[0].name)
            session.confirm(f"{as_text.clean(by)} connected {name} on this machine. Disconnect it?", "")
    pause_ms = parse_duration_ms(options.pause) if options.pause else 0
    reply = session.change(
        "Disconnect", local_pb2.DisconnectRequest(mesh=session.mesh, pause_ms=pause_ms), "meshctl status"
    )
    session.show(as_json.mesh(reply.mesh), as_text.mesh(reply.mesh))


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def leave(session: Session) -> None:
    options = session.options
    if not options.yes:
        session.confirm(
            f"Leave {as_text.clean(options.mesh_name)}? This machine's keys for it are deleted.",
            f"leaving {options.mesh_name} removes its keys from this machine",
        )
    request = local_pb2.LeaveMeshRequest(mesh=session.mesh, timeout_ms=session.helper_ms())
    reply = session.change("LeaveMesh", request, "meshctl status")
    text = f"left {options.mesh_name}"
    left_behind = [reply.left_behind] if reply.left_behind else []
    if reply.keyring_entry:
        from meshctl import keyring_use

        left_behind += filter(None, [keyring_use.forget(reply.keyring_entry)])
    text = "; ".join([text, *left_behind])
    session.show({"left": options.mesh_name, "left_behind": "; ".join(left_behind) or None}, as_text.clean(text))


def status(session: Session) -> None:
    found = session.status()
    session.show(
        {"version": found.version, "meshes": [as_json.mesh(one) for one in found.meshes]}, as_text.status(found)
    )


def key_show(session: Session) -> None:
    reply = session.call("ShowKey", local_pb2.ShowKeyRequest(mesh=session.mesh))
    session.show({"cluster_key": reply.cluster_key}, reply.cluster_key)


def key_rotate(session: Session) -> None:
    request = local_pb2.RotateKeyRequest(mesh=session.mesh, request_id=request_id())
    reply = session.change("RotateKey", request, "meshctl key show")
    session.show({"cluster_key": reply.cluster_key}, reply.cluster_key)


def events(session: Session) -> None:
    options = session.options
    request = local_pb2.ListEventsRequest(mesh=session.mesh, follow=options.follow, since_revision=options.since)
    for one in session.stream("ListEvents", request, endless=options.follow and not options.timeout):
        session.show(as_json.event(one), as_text.event(one))
        if options.follow:
            sys.stdout.flush()


def ping(session: Session) -> None:
    options = session.options
    # Without --timeout a lost probe costs its 2 s, however many were asked for.
    session.timeout = options.timeout or max(DEFAULT_TIMEOUT, options.count * 2.5)
    request = local_pb2.PingRequest(
        mesh=session.mesh, who=options.who, count=options.count, timeout_ms=session.helper_ms()
    )
    reply = session.call("Ping", request)
    session.show(as_json.ping(reply), as_text.ping(options.who, reply))
    if not reply.received:
        sys.exit(1)


def doctor(session: Session) -> None:
    found = session.call("Doctor", local_pb2.DoctorRequest(mesh=session.mesh)).checks
    session.show([as_json.check(one) for one in found], as_text.doctor(found))
