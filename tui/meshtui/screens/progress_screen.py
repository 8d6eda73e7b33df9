"""How a join comes along, stage by stage, until the mesh is there or it is said why not."""

from __future__ import annotations

from typing import Any, ClassVar

from meshproto.plain_text import plain
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from meshtui.listings.listing import Cell
from meshtui.look import Tone
from meshtui.paint import content


class ProgressScreen(ModalScreen[None]):
    """`mesh` is its name once it is joined. Escape hides the screen; the join goes on."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,q", "app.pop_screen", "back")]

    def __init__(self, title: str) -> None:
        super().__init__()
        self._title = title
        self._stages: list[str] = []
        self._why = self._fix = ""
        self.mesh = ""
        self._lines = Static(classes="effect", markup=False)
        self._keys = Static(classes="reason", markup=False)
        self._draw()

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(content([Cell(self._title, Tone.STRONG)]))
            yield self._lines
            yield self._keys

    def heard(self, progress: Any) -> None:
        """A JoinProgress came."""
        if progress.stage == "done":
            self.mesh = plain(progress.mesh.name)
        else:
            self._stages.append(plain(progress.text) or plain(progress.stage))
        self._draw()

    def fail(self, why: str, fix: str) -> None:
        self._why, self._fix = why, fix
        self._draw()

    def _draw(self) -> None:
        ended = bool(self.mesh or self._why)
        cells: list[Cell] = []
        for number, text in enumerate(self._stages):
            last = number == len(self._stages) - 1
            if last and not self.mesh:
                mark = Cell("▲ ", Tone.BAD) if self._why else Cell("◐ ", Tone.CAUTION)
            else:
                mark = Cell("✓ ", Tone.GOOD)
            cells += [mark, Cell(f"{text}\n")]
        if self.mesh:
            cells += [Cell("● ", Tone.GOOD), Cell(f"this machine is in {self.mesh}")]
        if self._why:
            cells += [Cell("▲ ", Tone.BAD), Cell(self._why)]
            if self._fix:
                cells += [Cell("\n→ ", Tone.DIM), Cell(self._fix, Tone.STRONG)]
        self._lines.update(content(cells or [Cell("Asking meshd …", Tone.DIM)]))
        text = "escape: back" if ended else "escape: hide this; the join goes on"
        self._keys.update(content([Cell(text, Tone.DIM)]))
