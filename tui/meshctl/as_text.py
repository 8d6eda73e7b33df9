"""The helper's messages as text for people: aligned columns, a shape and a colour for each state."""

from __future__ import annotations

import os
import sys
import time
import unicodedata
from collections.abc import Sequence

from meshproto import local_pb2, state_pb2
from meshproto.durations import format_age, format_left, format_since

from meshctl import as_json

_COLOURS = {"●": "32", "◐": "33", "○": "90", "▲": "33", "✖": "31", "⊘": "90"}
"""Shapes mean what they mean in meshtui: in between, off, look at this, an error, disabled."""
_RED = "31"
_MESH_SHAPES = {local_pb2.CONNECTED: "●", local_pb2.CONNECTING: "◐", local_pb2.STALE: "▲", local_pb2.DOWN: "○"}
_CHECK_SHAPES = {local_pb2.OK: "●", local_pb2.WARNING: "▲", local_pb2.ERROR: "✖"}


def clean(text: str) -> str:
    """Without control characters and the like: names come from other machines."""
    return "".join(one if unicodedata.category(one)[0] != "C" else "�" for one in text)


def coloured() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def shape(mark: str, colour: str = "") -> str:
    return f"\x1b[{colour or _COLOURS[mark]}m{mark}\x1b[0m" if coloured() and mark in _COLOURS else mark


def table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> str:
    """Columns as wide as they need; those named in `right` end at the same place."""
    plain = [[clean(cell) for cell in row] for row in rows]
    widths = [max(len(line[column]) for line in [list(header), *plain]) for column in range(len(header))]
    lines = []
    for number, line in enumerate([list(header), *plain]):
        cells = [
            cell.rjust(width) if name in right else cell.ljust(width)
            for cell, width, name in zip(line, widths, header, strict=True)
        ]
        text = "  ".join(cells).rstrip()
        if number and text[:1] in _COLOURS:
            text = shape(text[0]) + text[1:]
        lines.append(text)
    return "\n".join(lines)


def amount(number: float) -> str:
    """Bytes with a short unit."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def _now_ms() -> int:
    return int(time.time() * 1000)


def _ago(unix_ms: int) -> str:
    return format_since(unix_ms, _now_ms()) if unix_ms else "–"


def moment(unix_ms: int) -> str:
    """When something ends: the date here and how far off it is."""
    if not unix_ms:
        return "–"
    remaining = unix_ms - _now_ms()
    day = time.strftime("%Y-%m-%d %H:%M", time.localtime(unix_ms / 1000))
    return f"{day} (in {format_left(remaining)})" if remaining > 0 else f"{day} ({format_age(-remaining)})"


def _member_row(one: local_pb2.MemberStatus) -> list[str]:
    mark = "⊘" if not one.enabled else "●" if one.online else "○"
    path = as_json.PATHS.get(one.path, "none")
    if one.relay:
        path += f" {one.relay}"
    if not one.enabled:
        path = "disabled"
    name = one.name + (" ★" if one.primary else "")
    latency = f"{one.latency_ms:.1f} ms" if one.latency_ms else "–"
    return [
        f"{mark} {name}",
        as_json.ROLES.get(one.role, "peer"),
        one.ipv4,
        "–" if path == "none" else path,
        "–" if one.is_self else format_since(one.latest_handshake_ms, _now_ms()),
        latency,
        amount(one.rx_bytes),
        amount(one.tx_bytes),
    ]


_MEMBER_HEADER = ("  NAME", "ROLE", "ADDRESS", "PATH", "HANDSHAKE", "LATENCY", "RECEIVED", "SENT")


def members(found: Sequence[local_pb2.MemberStatus], nothing: str) -> str:
    if not found:
        return nothing
    return table(_MEMBER_HEADER, [_member_row(one) for one in found], ("HANDSHAKE", "LATENCY", "RECEIVED", "SENT"))


def mesh(one: local_pb2.MeshStatus) -> str:
    state = as_json.STATES.get(one.state, "down")
    mark = shape(_MESH_SHAPES.get(one.state, "○"), _RED if one.state == local_pb2.STALE else "")
    head = f"{mark} {clean(one.name)}  {state}"
    if one.reason:
        head += f": {clean(one.reason)}"
    primary = f"primary {clean(one.primary)}" if one.primary else "no primary known"
    wireguard = one.backend
    if one.backend == "userspace" and one.backend_reason:
        wireguard += f": {clean(one.backend_reason)}"
    facts = f"  {one.interface} ({wireguard}), {primary}, revision {one.revision} of epoch {one.epoch}"
    if not one.writable and one.state == local_pb2.CONNECTED:
        facts += ", can't be changed now"
    lines = [head, facts, "", members(one.members, "  no members")]
    lines += [f"{shape('▲')} {clean(warning)}" for warning in one.warnings]
    waiting = len(one.pending)
    if waiting:
        lines.append(f"{waiting} machine{'s' * (waiting != 1)} waiting to be let in: meshctl peers pending")
    return "\n".join(lines)


def status(found: local_pb2.Status) -> str:
    if not found.meshes:
        return "This machine is in no mesh. `meshctl create NAME` makes one, `meshctl join -` joins one."
    return "\n\n".join(mesh(one) for one in found.meshes)


def member(one: local_pb2.MemberStatus) -> str:
    facts = [
        ("name", one.name),
        ("id", one.id),
        ("role", as_json.ROLES.get(one.role, "peer") + (", admin" if one.admin else "")),
        ("addresses", ", ".join(text for text in (one.ipv4, one.ipv6) if text)),
        ("subnets", ", ".join(one.subnets)),
        ("key", one.public_key),
        ("online", "yes" if one.online else "no"),
        ("enabled", "yes" if one.enabled else "no"),
        ("path", as_json.PATHS.get(one.path, "none") + (f" through {one.relay}" if one.relay else "")),
        ("because", one.path_reason),
        ("endpoint", one.endpoint),
        ("handshake", "" if one.is_self else format_since(one.latest_handshake_ms, _now_ms())),
        ("traffic", f"{amount(one.rx_bytes)} received, {amount(one.tx_bytes)} sent"),
        ("protocol", f"version {one.protocol_version}" if one.protocol_version else ""),
        ("joined", f"{_ago(one.joined_ms)} by {one.joined_by}"),
    ]
    if one.role == state_pb2.ROLE_NODE:
        lag = "unknown" if one.replica_lag < 0 else f"{one.replica_lag} behind"
        facts.append(("replica", ("primary, " if one.primary else "") + ("voter, " if one.voter else "") + lag))
        facts.append(("store", "" if one.store_state == "ok" else one.store_state))
    return "\n".join(f"{name:>10}  {clean(value)}" for name, value in facts if value)


def routes(found: Sequence[local_pb2.RouteStatus]) -> str:
    if not found:
        return "No routes. `meshctl routes add CIDR` on a node offers one."
    rows = [
        [
            f"{'▲' if one.not_installed else '●' if one.chosen else '○'} {one.cidr}",
            ", ".join(one.nodes),
            one.chosen or "–",
            one.not_installed or ("masqueraded" if one.masquerade else ""),
        ]
        for one in found
    ]
    return table(("  CIDR", "OFFERED BY", "CHOSEN", "NOTE"), rows)


def invites(found: Sequence[local_pb2.InviteStatus]) -> str:
    if not found:
        return "No invites. `meshctl invites create NAME` makes one."
    rows = [
        [
            f"{'●' if one.state == state_pb2.INVITE_STATE_OPEN else '○'} {one.id}",
            one.member or "anybody",
            as_json.ROLES.get(one.role, "peer") + (", admin" if one.admin else ""),
            f"{one.used}/{one.uses}",
            as_json.INVITES.get(one.state, "open"),
            moment(one.expires_ms),
            one.created_by,
        ]
        for one in found
    ]
    return table(("  ID", "FOR", "ROLE", "USED", "STATE", "EXPIRES", "BY"), rows, ("USED",))


def pending(found: Sequence[local_pb2.PendingStatus]) -> str:
    if not found:
        return "Nobody asks to be let in."
    rows = [[one.id, one.name, one.source, _ago(one.since_ms), one.public_key] for one in found]
    fingerprint = f"fingerprint of the mesh, the same as on their screens: {clean(found[0].fingerprint)}"
    return table(("ID", "NAME", "FROM", "SINCE", "KEY"), rows) + "\n\n" + fingerprint


def event(one: local_pb2.Event) -> str:
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.at_ms / 1000))
    mark = {"warning": "▲", "error": "✖"}.get(one.severity, " ")
    actor = f"  · by {one.actor}" if one.actor and one.kind == "change" else ""
    return f"{at} {shape(mark)} {clean(one.mesh or '–'):10} {clean(one.text)}{clean(actor)}"


def doctor(found: Sequence[local_pb2.Check]) -> str:
    lines = []
    for one in found:
        lines.append(f"{shape(_CHECK_SHAPES.get(one.state, '✖'))} {clean(one.check)}: {clean(one.found)}")
        if one.fix:
            lines.append(f"    fix: {clean(one.fix)}")
    return "\n".join(lines)


def ping(who: str, one: local_pb2.PingReply) -> str:
    path = as_json.PATHS.get(one.path, "none")
    if not one.received:
        return f"{clean(who)}: no answer to {one.sent} probes ({path})"
    trips = f"{one.min_ms:.1f}/{one.avg_ms:.1f}/{one.max_ms:.1f} ms (min/avg/max)"
    return f"{clean(who)}: {one.received} of {one.sent} answered, {trips}, {path}"
