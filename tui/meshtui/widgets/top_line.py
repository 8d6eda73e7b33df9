"""The first line: is my network all right? Every mesh with its true state and the reason, the traffic, the time."""

from __future__ import annotations

from rich.cells import cell_len

from meshtui.format import rate
from meshtui.listings.listing import Cell
from meshtui.look import MESHES, Tone
from meshtui.model import Mesh, MeshState
from meshtui.paint import time_last
from meshtui.situations import answer, broken_link, census, replay_words
from meshtui.view import View
from meshtui.widgets.lines import Lines


class TopLine(Lines):
    cut = False
    """Whether what is wrong with the mesh had no room."""

    def present(self, view: View) -> None:
        width = max(self.app.size.width - 2, 20)
        # What goes where there is no room, first to last: the traffic, how many are online, the end of the rest.
        for counted, traffic in ((True, True), (True, False), (False, False)):
            left, right = self._cells(view, width, counted, traffic)
            if cell_len("".join(cell.text for cell in (*left, *right))) + 2 <= width:
                break
        shown = time_last(left, right, width)
        broken = broken_link(view)
        self.cut = bool(view.mesh and view.mesh.reason and not broken and view.mesh.reason not in shown.plain)
        self.show(shown)

    def _cells(self, view: View, width: int, counted: bool, traffic: bool) -> tuple[list[Cell], list[Cell]]:
        left = [Cell("⬡ ", Tone.GOOD), *([Cell("meshtui   ")] if width >= 100 or view.mesh is None else [])]
        if view.replayed is not None:
            left += replay_words(view.replayed)
        broken = broken_link(view)
        left += broken
        if view.mesh is not None and not broken:
            left += answer(view, view.mesh)
            if counted and view.mesh.state is MeshState.CONNECTED:
                left.append(Cell(f" · {census(view.mesh)}", Tone.DIM))
        elif not view.model.meshes and not broken:
            left.append(Cell("no mesh yet" if view.model.known else "", Tone.DIM))
        for mesh in view.model.meshes:
            if mesh is not view.mesh and not broken:  # what was so is said below, as what was
                mark = MESHES[mesh.state]
                left += [Cell(f"   {mesh.name} "), Cell(mark.shape, mark.tone), Cell(f" {mark.word}")]
        connected = view.mesh is not None and view.mesh.state is MeshState.CONNECTED and not broken
        right = _traffic(view.mesh) if view.mesh is not None and connected and traffic else []
        form = "%m-%d %H:%M:%S" if view.replayed is not None else "%H:%M"
        right.append(Cell(format(view.clock.local(view.now_ms), form), Tone.DIM))
        return left, right


def _traffic(mesh: Mesh) -> list[Cell]:
    others = [member for member in mesh.members.values() if not member.is_self]
    down, up = (rate(sum(getattr(one, which) for one in others)) for which in ("rx_rate", "tx_rate"))
    return [Cell(f"↓ {down:>8}  ↑ {up:>8}  ")]
