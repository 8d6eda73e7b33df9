"""Members: everybody in the mesh, what state they are in, and how they are reached."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from meshtui.format import NOTHING, age, milliseconds, rate, short_ipv6, shortened, size, sparkline
from meshtui.listings.listing import Cell, Column, Line, Listing, Story
from meshtui.look import ROLE_ORDER, Tone, member_mark, path_words, role_word
from meshtui.model import Member, Path, Role
from meshtui.permissions import Deed
from meshtui.view import View

BARS = 30
"""Half a minute each, in the story of a member."""
ADDRESS_LENGTH = 15
"""The longest IPv4 address."""


def _mark(member: Member, view: View, width: int) -> Cell:
    mark = member_mark(member, view.now_ms)
    return Cell(mark.shape, mark.tone)


def name_cell(member: Member, view: View, width: int) -> Cell:
    if not member.name:
        return Cell(shortened(member.id), Tone.DIM)
    return Cell(member.name, Tone.STRONG if member.is_self else Tone.PLAIN)


def address_cell(member: Member, view: View, width: int) -> Cell:
    return Cell(str(member.ipv4) if member.ipv4 else short_ipv6(member.ipv6))


def _path(member: Member, view: View, width: int) -> Cell:
    if not member.enabled:
        return Cell("disabled", Tone.DIM)
    if not member.online and not member.is_self:
        return Cell("offline", Tone.DIM)
    return Cell(path_words(member), Tone.DIM if member.is_self else Tone.PLAIN)


def handshake_cell(member: Member, view: View, width: int) -> Cell:
    if member.is_self:
        return Cell(NOTHING, Tone.DIM)
    return Cell(age(member.handshake_ms, view.now_ms), Tone.PLAIN if member.online else Tone.DIM)


def latency_cell(member: Member, view: View, width: int) -> Cell:
    known = member.online and member.latency_ms is not None
    return Cell(milliseconds(member.latency_ms) if known else NOTHING, Tone.PLAIN if known else Tone.DIM)


def _rate(value: float, member: Member) -> Cell:
    if member.is_self or not member.online:
        return Cell(NOTHING, Tone.DIM)
    return Cell(rate(value), Tone.PLAIN if value >= 1 else Tone.DIM)


def _spark(member: Member, view: View, width: int) -> Cell:
    past = view.past(member)
    return Cell(sparkline(past.traffic.bars(view.now_ms, width)), Tone.PLAIN)


def _spark_order(member: Member, view: View) -> float:
    return -(view.past(member).traffic.worst(view.now_ms) or 0.0)


def _state_order(member: Member, view: View) -> tuple[int, str]:
    return (0 if member.is_self else 1 if member.online else 2 if member.enabled else 3), member.name


class Members(Listing[Member]):
    name = "Members"
    noun = "members"
    begin: ClassVar[tuple[Deed, ...]] = (Deed.INVITE,)
    columns: tuple[Column[Member], ...] = (
        Column("", 1, _mark, _state_order, gap=1),
        Column("NAME", 10, name_cell, lambda member, view: member.name, longest=63),
        Column(
            "ROLE", 6, lambda member, view, width: Cell(role_word(member)),
            lambda member, view: (not member.primary, ROLE_ORDER[member.role], member.name), rank=1,
        ),
        Column(
            "ADDRESS", 8, address_cell,
            lambda member, view: (member.ipv4 is None, int(member.ipv4 or 0)), longest=ADDRESS_LENGTH, late=3,
        ),
        Column("PATH", 8, _path, lambda member, view: (member.path.value, member.relay, member.name), longest=40),
        Column("HANDSHAKE", 10, handshake_cell, lambda member, view: -member.handshake_ms, right=True, late=2),
        Column(
            "LATENCY", 8, latency_cell,
            lambda member, view: member.latency_ms if member.latency_ms is not None else float("inf"),
            right=True, late=1,
        ),
        Column(
            "↓ NOW", 8, lambda member, view, width: _rate(member.rx_rate, member),
            lambda member, view: -member.rx_rate, right=True, late=4,
        ),
        Column(
            "↑ NOW", 8, lambda member, view, width: _rate(member.tx_rate, member),
            lambda member, view: -member.tx_rate, right=True, rank=2,
        ),
        Column("15 MIN", 12, _spark, _spark_order, rank=3, stretches=(15, 20, 30, 60)),
    )  # fmt: skip

    def rows(self, view: View) -> Mapping[str, Member]:
        return view.mesh.members if view.mesh else {}

    def words(self, row: Member) -> tuple[str, str]:
        state = "disabled" if not row.enabled else "online" if row.online or row.is_self else "offline"
        return row.name, f"{row.name} {row.role.value} {row.ipv4} {row.ipv6} {path_words(row)} {state} {row.id}"

    def subject(self, row: Member, view: View) -> Member:
        return row

    def empty(self, view: View) -> str:
        return "No members are known yet: the first view of the mesh is on its way."

    def hint(self, view: View, count: int) -> str:
        if count != 1 or view.mesh is None:
            return ""
        own = view.mesh.own()
        if own is not None and own.role is Role.NODE:
            return f"Nobody else is here yet.{view.hint(' Key i makes an invite.')}"
        return "Nobody else is here yet."

    def story(self, row: Member, view: View) -> Story:
        title = (
            Cell(row.name, Tone.STRONG),
            Cell(f"  {role_word(row)} · id {shortened(row.id)} · key {shortened(row.public_key)}", Tone.DIM),
        )
        addresses = " · ".join([str(row.ipv4 or ""), short_ipv6(row.ipv6) if row.ipv6 else ""]).strip(" ·")
        more = (
            Line("IPv4", (Cell(str(row.ipv4 or NOTHING)),)),
            Line("IPv6", (Cell(str(row.ipv6 or NOTHING)),)),
            Line("Id", (Cell(row.id),)),
            Line("Key", (Cell(row.public_key),)),
        )
        lines = [Line("State", _state(row, view)), Line("Path", _way(row))]
        if not row.is_self:
            lines += [_latency(row, view), _traffic(row, view)]
        if row.role is Role.NODE:
            lines.append(Line("Node", _store(row, view)))
        routes = [*row.subnets, *(one.cidr for one in (view.mesh.routes if view.mesh else ()) if row.name in one.nodes)]
        if routes:
            lines.append(Line("Routes", (Cell(", ".join(routes)),)))
        joined_by = f" by {row.joined_by}" if row.joined_by else ""
        lines.append(Line("Joined", (Cell(f"{view.day(row.joined_ms)}{joined_by}"),)))
        told = [event for event in view.events() if event.is_about(row)][-20:]
        for number, event in enumerate(reversed(told)):
            lines.append(
                Line("" if number else "Events", (Cell(f"{view.moment(event.at_ms)}  ", Tone.DIM), Cell(event.text)))
            )
        return Story(title, tuple(lines), (Cell(addresses),), more)


def _state(member: Member, view: View) -> tuple[Cell, ...]:
    mark = member_mark(member, view.now_ms)
    cells = [Cell(f"{mark.shape} ", mark.tone), Cell(mark.word)]
    if member.admin:
        cells.append(Cell(" · may change the mesh (admin)"))
    if not member.is_self:
        cells.append(Cell(f" · last handshake {age(member.handshake_ms, view.now_ms)}"))
    return tuple(cells)


def _way(member: Member) -> tuple[Cell, ...]:
    if member.is_self:
        return (Cell(f"endpoint {member.endpoint}" if member.endpoint else "this machine"),)
    if member.path is Path.RELAYED:
        text = f"relayed through {member.relay}, end to end encrypted"
    elif member.path is Path.DIRECT:
        text = f"direct to {member.endpoint}" if member.endpoint else "direct"
    else:
        text = "none"
    cells = [Cell(text)]
    if member.path_reason:
        cells.append(Cell(f" · {member.path_reason}"))
    direct = member.path is Path.DIRECT
    others = [one for one in dict.fromkeys(member.candidates) if not direct or one != member.endpoint]
    if others:
        cells.append(Cell(f" · known: {', '.join(others[:6])}", Tone.DIM))
    return tuple(cells)


def _latency(member: Member, view: View) -> Line:
    bars = Cell(f"{sparkline(view.past(member).latency.bars(view.now_ms, BARS))}  ", Tone.DIM)
    return Line("Latency", (bars, latency_words(member, view)))


def latency_words(member: Member, view: View) -> Cell:
    """Now, and over the 15 minutes of the bars."""
    series = view.past(member).latency
    worst, middle = series.worst(view.now_ms), series.middle(view.now_ms)
    known = member.online and member.latency_ms is not None
    parts = [f"{milliseconds(member.latency_ms)} now" if known else "not known now"]
    if worst is not None and middle is not None:
        parts.append(f"{milliseconds(middle)} median, {milliseconds(worst)} at worst in 15 min")
    return Cell(", ".join(parts), Tone.PLAIN if known else Tone.DIM)


def _traffic(member: Member, view: View) -> Line:
    bars = sparkline(view.past(member).traffic.bars(view.now_ms, BARS))
    return Line("Traffic", (Cell(f"{bars}  ", Tone.DIM), traffic_words(member, view)))


def traffic_words(member: Member, view: View) -> Cell:
    highest = view.past(member).traffic.worst(view.now_ms)
    most = f"{rate(highest)} at most in 15 min, " if highest is not None else ""
    return Cell(f"{most}{size(member.rx_bytes)} in, {size(member.tx_bytes)} out so far")


def duty_words(member: Member, view: View) -> str:
    """Where no primary is known, any node may be it."""
    if member.primary:
        return "primary"
    return "replica" if member.is_self or (view.mesh is not None and view.mesh.primary) else "not known"


def _store(member: Member, view: View) -> tuple[Cell, ...]:
    duty = duty_words(member, view).replace("not known", "duty not known")
    cells = [Cell(duty), Cell(", votes" if member.voter else ", does not vote")]
    if not member.primary:
        cells.append(Cell(f", {lag_words(member)}"))
    if member.store_state not in ("", "ok"):
        cells.append(Cell(f" · store: {member.store_state}", Tone.CAUTION))
    return tuple(cells)


def lag_words(member: Member) -> str:
    if member.replica_lag is None:
        return "lag not known"
    return "up to date" if member.replica_lag == 0 else f"{member.replica_lag} behind"
