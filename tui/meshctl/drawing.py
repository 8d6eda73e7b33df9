"""`graph` and `report`: a drawing of a mesh, and a file to send with a question about one."""

from __future__ import annotations

import time
from pathlib import Path

from meshproto import local_pb2
from meshproto.client import HelperError
from meshproto.graph import FORMATS, Graph, Place, Reach, with_networks
from meshproto.recording import NoRecording, Recorder

from meshctl import as_json, as_text
from meshctl.session import Session


def graph_of(mesh: local_pb2.MeshStatus) -> Graph:
    routes = [(route.cidr, route.chosen) for route in mesh.routes]
    return Graph(as_text.clean(mesh.name), tuple(_place(one, routes) for one in mesh.members))


def _place(one: local_pb2.MemberStatus, routes: list[tuple[str, str]]) -> Place:
    if one.is_self:
        reach = Reach.HERE
    elif not one.enabled:
        reach = Reach.DISABLED
    elif not one.online or one.path == local_pb2.PATH_NONE:
        reach = Reach.OFFLINE
    else:
        reach = Reach.RELAYED if one.path == local_pb2.PATH_RELAYED else Reach.DIRECT
    latency = one.latency_ms if one.latency_ms > 0 and reach in (Reach.DIRECT, Reach.RELAYED) else None
    behind = with_networks(one.name, one.subnets, routes)
    role = as_json.ROLES.get(one.role, "peer")
    return Place(as_text.clean(one.name), role, reach, as_text.clean(one.relay), latency, behind)


def graph(session: Session) -> None:
    found = graph_of(session.one_mesh())
    drawn = FORMATS[session.options.format](found)
    session.show({"format": session.options.format, "graph": drawn}, drawn)


def report(session: Session) -> None:
    """What everybody on this machine may see, in one file: no secret is in it."""
    path = Path(session.options.file)
    update = next(session.stream("Watch", local_pb2.WatchRequest(mesh=session.mesh, days=True)), None)
    if update is None:
        raise HelperError("failed", "meshd ended the report", "see the log of meshd")
    update.checks.extend(session.call("Doctor", local_pb2.DoctorRequest(mesh=session.mesh)).checks)
    try:
        recorder = Recorder(path)
    except NoRecording as error:
        raise HelperError("failed", str(error)) from error
    recorder.write(update.at_ms or int(time.time() * 1000), update.SerializeToString())
    recorder.close()
    members = sum(len(mesh.members) for mesh in update.snapshot.meshes)
    wrong = sum(check.state != local_pb2.OK for check in update.checks)
    counts = {"meshes": len(update.snapshot.meshes), "members": members, "events": len(update.events), "wrong": wrong}
    what = f"{_count(counts['meshes'], 'mesh', 'meshes')} with {_count(members, 'member', 'members')}"
    found = f"{_count(counts['events'], 'event', 'events')}, {_count(wrong, 'finding', 'findings')} of doctor"
    text = (
        f"written to {as_text.clean(str(path))}: {what}, {found}\n"
        "It holds names of members and of the accounts here that changed something, addresses and public keys, and no "
        "secret.\n"
        f"To look at it, on any machine: meshtui --replay {as_text.clean(str(path))}"
    )
    session.show({"file": str(path), **counts}, text)


def _count(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"
