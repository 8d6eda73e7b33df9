"""A mesh as a drawing: who is reached how from one machine, as text, DOT (Graphviz), Mermaid or SVG. Pure.

meshd tells each machine its own paths only, so a drawing is the view from there, and says so. Names come from other
machines: each format escapes them in its own way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from html import escape


class Reach(Enum):
    HERE = "this machine"
    DIRECT = "direct"
    RELAYED = "relayed"
    OFFLINE = "offline"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class Place:
    """A member. `relay` is the name of the node that relays to it, `behind` are networks that it is the way to."""

    name: str
    role: str
    reach: Reach
    relay: str = ""
    latency_ms: float | None = None
    behind: tuple[str, ...] = ()

    @property
    def how(self) -> str:
        way = f"relayed by {self.relay}" if self.reach is Reach.RELAYED else self.reach.value
        return way if self.latency_ms is None else f"{way}, {self.latency_ms:.1f} ms"


@dataclass(frozen=True, slots=True)
class Graph:
    """`places` hold this machine, once."""

    mesh: str
    places: tuple[Place, ...]

    @property
    def title(self) -> str:
        here = next((one.name for one in self.places if one.reach is Reach.HERE), "a machine")
        return f"{self.mesh}, seen from {here}"

    def tree(self) -> list[tuple[int, Place]]:
        """(depth, place): this machine, whom it reaches directly, each before those it relays to, then the rest."""
        found = [(0, one) for one in self.places if one.reach is Reach.HERE]
        direct = sorted((one for one in self.places if one.reach is Reach.DIRECT), key=lambda one: one.name)
        relayed = sorted((one for one in self.places if one.reach is Reach.RELAYED), key=lambda one: one.name)
        names = {one.name for one in direct}
        for place in direct:
            found.append((1, place))
            found += [(2, one) for one in relayed if one.relay == place.name]
        found += [(1, one) for one in relayed if one.relay not in names]
        away = (Reach.OFFLINE, Reach.DISABLED)
        return found + [(1, one) for one in sorted(self.places, key=lambda one: one.name) if one.reach in away]

    def edges(self) -> Iterator[tuple[Place, Place]]:
        """(from, to) of those that are reached."""
        at: dict[int, Place] = {}
        for depth, place in self.tree():
            at[depth] = place
            if depth and place.reach in (Reach.DIRECT, Reach.RELAYED) and depth - 1 in at:
                yield at[depth - 1], place


def text(graph: Graph) -> str:
    drawn = graph.tree()
    lines = [graph.title]
    for number, (depth, place) in enumerate(drawn):
        further = [one for one, _ in drawn[number + 1 :]]
        branch = ""
        if depth == 2:
            branch = "│  " if 1 in further else "   "
        if depth:
            last = depth not in further[: next((at for at, one in enumerate(further) if one < depth), len(further))]
            branch += "└─ " if last else "├─ "
        behind = f", before {', '.join(place.behind)}" if place.behind else ""
        lines.append(f"{branch}{place.name} ({place.role}) {place.how}{behind}")
    return "\n".join(lines)


def dot(graph: Graph) -> str:
    def quoted(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    ids = {place.name: f"n{number}" for number, place in enumerate(graph.places)}
    lines = [
        f"graph {quoted(graph.mesh)} {{",
        f"  label={quoted(graph.title)}; rankdir=LR; node [shape=box, style=rounded, fontname=sans];",
    ]
    for place in graph.places:
        label = quoted("\n".join([place.name, place.role, *place.behind])).replace("\n", "\\n")
        look = {Reach.HERE: ", penwidth=2", Reach.OFFLINE: ", color=gray, fontcolor=gray"}.get(place.reach, "")
        look = ", color=gray, fontcolor=gray, style=dashed" if place.reach is Reach.DISABLED else look
        lines.append(f"  {ids[place.name]} [label={label}{look}];")
    for one, other in graph.edges():
        style = ", style=dashed" if other.reach is Reach.RELAYED else ""
        lines.append(f"  {ids[one.name]} -- {ids[other.name]} [label={quoted(other.how)}{style}];")
    return "\n".join([*lines, "}"])


def mermaid(graph: Graph) -> str:
    def quoted(value: str) -> str:
        return f'"{escape(value, quote=False).replace(chr(34), "#quot;")}"'

    ids = {place.name: f"n{number}" for number, place in enumerate(graph.places)}
    lines = ["---", f"title: {quoted(graph.title)}", "---", "graph LR"]
    for place in graph.places:
        label = quoted("\n".join([place.name, place.role, *place.behind])).replace("\n", "<br>")
        lines.append(f"  {ids[place.name]}[{label}]")
    for one, other in graph.edges():
        line = "-.-" if other.reach is Reach.RELAYED else "---"
        lines.append(f"  {ids[one.name]} {line}|{quoted(other.how)}| {ids[other.name]}")
    away = [ids[one.name] for one in graph.places if one.reach in (Reach.OFFLINE, Reach.DISABLED)]
    if away:
        lines += ["  classDef away stroke-dasharray: 4, color: #888888", f"  class {','.join(away)} away"]
    return "\n".join(lines)


# Measures of the SVG, in its pixels.
WIDE, HIGH, ROW, STEP, EDGE = 250, 44, 58, 390, 20
BASE = 46


def svg(graph: Graph) -> str:
    drawn = graph.tree()
    middles = {place.name: (EDGE + depth * STEP, BASE + at * ROW) for at, (depth, place) in enumerate(drawn)}
    width = EDGE * 2 + WIDE + STEP * max((depth for depth, _ in drawn), default=0)
    height = BASE + ROW * len(drawn) + EDGE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        ' font-family="sans-serif" font-size="13">',
        f"<title>{escape(graph.title)}</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="{EDGE}" y="28" font-size="16" font-weight="bold">{escape(graph.title)}</text>',
    ]
    for one, other in graph.edges():
        (x, y), (to_x, to_y) = middles[one.name], middles[other.name]
        dashes = ' stroke-dasharray="5 4"' if other.reach is Reach.RELAYED else ""
        line = f"M {x + 16} {y + HIGH} V {to_y + HIGH // 2} H {to_x}"
        parts += [
            f'<path d="{line}" fill="none" stroke="#3b6ea5" stroke-width="1.5"{dashes}/>',
            f'<text x="{x + 28}" y="{to_y + HIGH // 2 - 5}" fill="#3b6ea5">{_line(other.how, 50)}</text>',
        ]
    for _, place in drawn:
        x, y = middles[place.name]
        away = place.reach in (Reach.OFFLINE, Reach.DISABLED)
        look = 'stroke="#999999" stroke-dasharray="4 3"' if away else 'stroke="#222222"'
        thick = ' stroke-width="2.5"' if place.reach is Reach.HERE else ""
        colour = "#777777" if away else "#111111"
        here = ["this machine"] if place.reach is Reach.HERE else []
        note = ", ".join([place.role, *here, *([place.how] if away else []), *place.behind])
        parts += [
            f'<rect x="{x}" y="{y}" width="{WIDE}" height="{HIGH}" rx="7" fill="#f6f8fa" {look}{thick}/>',
            f'<text x="{x + 10}" y="{y + 18}" fill="{colour}" font-weight="bold">{_line(place.name, 30)}</text>',
            f'<text x="{x + 10}" y="{y + 35}" fill="#555555">{_line(note, 36)}</text>',
        ]
    return "\n".join([*parts, "</svg>"])


def _line(value: str, most: int) -> str:
    return escape(value if len(value) <= most else f"{value[: most - 1]}…")


FORMATS: dict[str, Callable[[Graph], str]] = {"dot": dot, "mermaid": mermaid, "svg": svg, "text": text}


def with_networks(name: str, subnets: Sequence[str], routes: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """A member's own subnets, and the routes that are reached through it, of (network, chosen node)."""
    return (*subnets, *(cidr for cidr, chosen in routes if chosen == name))
