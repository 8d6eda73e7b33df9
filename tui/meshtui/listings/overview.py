"""Overview: every mesh of this machine, its true state with the reason, and what waits there."""

from __future__ import annotations

from typing import ClassVar, Literal

from meshtui.format import NOTHING, rate
from meshtui.listings.listing import Cell, Column, Line, Listing, Story
from meshtui.look import MESHES, Mark, Tone
from meshtui.model import Mesh, MeshState
from meshtui.permissions import Deed
from meshtui.situations import alarms, census, online
from meshtui.view import View


def _mark(mesh: Mesh, view: View, width: int) -> Cell:
    mark = MESHES[mesh.state]
    return Cell(mark.shape, mark.tone)


def _state(mesh: Mesh, view: View, width: int) -> Cell:
    mark = MESHES[mesh.state]
    return Cell(f"{mark.word}: {mesh.reason}" if mesh.reason else mark.word, mark.tone if mesh.reason else Tone.PLAIN)


def _self(mesh: Mesh, view: View, width: int) -> Cell:
    own = mesh.own()
    return Cell(f"{own.name} ({own.role.value})" if own is not None else NOTHING)


def _traffic(mesh: Mesh, which: Literal["rx_rate", "tx_rate"]) -> Cell:
    if mesh.state is MeshState.DOWN:
        return Cell(NOTHING, Tone.DIM)
    return Cell(rate(_rate(mesh, which)))


def _rate(mesh: Mesh, which: Literal["rx_rate", "tx_rate"]) -> float:
    others = (member for member in mesh.members.values() if not member.is_self)
    return sum(member.rx_rate if which == "rx_rate" else member.tx_rate for member in others)


def _alarms(mesh: Mesh, view: View, width: int) -> Cell:
    found = alarms(mesh)
    return Cell(f"▲ {len(found)}", Tone.CAUTION) if found else Cell("none", Tone.DIM)


class Overview(Listing[Mesh]):
    name = "Overview"
    noun = "meshes"
    one = "mesh"
    few = True
    begin: ClassVar[tuple[Deed, ...]] = (Deed.JOIN, Deed.CREATE)
    columns = (
        Column("", 1, _mark, gap=1),
        Column("MESH", 6, lambda mesh, view, width: Cell(mesh.name, Tone.STRONG if mesh is view.mesh else Tone.PLAIN),
               lambda mesh, view: mesh.name, longest=63),
        Column("STATE", 9, _state, lambda mesh, view: list(MeshState).index(mesh.state), longest=60),
        Column("ONLINE", 14, lambda mesh, view, width: Cell(census(mesh)), lambda mesh, view: -online(mesh)[0],
               longest=24, late=1),
        Column("THIS MACHINE", 12, _self, longest=40, rank=3),
        Column("PRIMARY", 9, lambda mesh, view, width: Cell(mesh.primary or "not known"), longest=30, rank=5),
        Column("↓ NOW", 8, lambda mesh, view, width: _traffic(mesh, "rx_rate"),
               lambda mesh, view: -_rate(mesh, "rx_rate"), right=True, rank=2),
        Column("↑ NOW", 8, lambda mesh, view, width: _traffic(mesh, "tx_rate"),
               lambda mesh, view: -_rate(mesh, "tx_rate"), right=True, rank=4),
        Column("ALARMS", 6, _alarms, lambda mesh, view: -len(alarms(mesh)), rank=1),
    )  # fmt: skip

    def rows(self, view: View) -> dict[str, Mesh]:
        return {mesh.id: mesh for mesh in view.model.meshes}

    def words(self, row: Mesh) -> tuple[str, str]:
        return row.name, f"{row.name} {row.state.value} {row.reason} {row.primary}"

    def subject(self, row: Mesh, view: View) -> Mesh:
        return row

    def empty(self, view: View) -> str:
        return "This machine is in no mesh."

    def badge(self, view: View) -> Mark | None:
        others = (mesh for mesh in view.model.meshes if mesh is not view.mesh)
        bad = any(mesh.state in (MeshState.STALE, MeshState.CONNECTING) or alarms(mesh) for mesh in others)
        return Mark("▲", Tone.CAUTION, "something is wrong in another mesh") if bad else None

    def story(self, row: Mesh, view: View) -> Story:
        mark = MESHES[row.state]
        own = row.own()
        nodes = row.nodes()
        names = f" · names in .{row.dns_domain}" if row.dns_domain else ""
        why = f" ({row.backend_reason})" if row.backend_reason else ""
        settings = f"interface {row.interface} · {row.backend} WireGuard{why}{names}"
        change = "changes are accepted" if row.writable else "no change is accepted now"
        lines = [
            Line("State", (Cell(f"{mark.shape} ", mark.tone), Cell(f"{row.reason or mark.word} · {census(row)}"))),
            Line("Here", (Cell(settings if row.interface else "not connected"),)),
            Line("Nodes", (Cell(f"{len(nodes)}, primary {row.primary or 'not known'} · {change}"),)),
        ]
        if own is not None:
            addresses = " · ".join(str(one) for one in (own.ipv4, own.ipv6) if one)
            lines.insert(1, Line("This is", (Cell(f"{own.name}, {own.role.value} · {addresses}"),)))
        lines += [
            Line("" if number else "Alarms", (Cell("▲ ", Tone.CAUTION), Cell(text)))
            for number, text in enumerate(alarms(row))
        ]
        more = (Line("Id", (Cell(row.id),)), Line("At", (Cell(f"epoch {row.epoch}, revision {row.revision}"),)))
        return Story((Cell(row.name, Tone.STRONG), Cell(f"  {mark.word}", Tone.DIM)), tuple(lines), more=more)
