"""How a join comes along, stage by stage, until the mesh is there or it is said why not."""

from __future__ import annotations

import textwrap
from typing import Any, ClassVar

from meshproto.plain_text import plain
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from meshtui.listings.listing import Cell
from meshtui.look import Tone
from meshtui.paint import content

STAGES = {
    "resolve": "Find a node",
    "verify": "Check it",
    "redeem": "Be let in",
    "tunnel": "Tunnel",
    "handshake": "Handshake",
    "synced": "Synced",
}
"""Of JoinProgress, in their order, with the words for them."""
WAITS = "pending"
"""The stage in which people decide: it takes the place of `redeem`."""
LABEL = 13
WIDE = 50
"""Cells of a text beside it, in a dialog at 80 columns."""


class ProgressScreen(ModalScreen[None]):
    """`mesh` is its name once it is joined. Escape hides the screen; the join goes on."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "app.pop_screen", "back"),
        Binding("question_mark,f1", "app.keys", "keys", show=False),
    ]

    def __init__(self, title: str) -> None:
        super().__init__()
        self._title = title
        self._texts: dict[str, str] = {}
        """Of the stages that have begun: what was said last."""
        self._open: set[str] = set()
        """Stages that go on after others began."""
        self._at = ""
        self._fingerprint = ""
        self._why = self._fix = ""
        self.mesh = ""
        self._lines = Static(classes="effect", markup=False)
        self._keys = Static(classes="reason", markup=False)
        self._draw()

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(content([Cell(self._title, Tone.STRONG)]))
            with VerticalScroll():
                yield self._lines
            yield self._keys

    def heard(self, progress: Any) -> None:
        """A JoinProgress came."""
        stage = "redeem" if progress.stage == WAITS else progress.stage
        if progress.stage == WAITS:
            self._fingerprint = plain(progress.fingerprint)
        if stage == "done":
            self.mesh = plain(progress.mesh.name)
        elif stage in STAGES:
            self._at = stage
            self._texts[stage] = plain(progress.text)
            if progress.open:
                self._open.add(stage)
        self._draw()

    def fail(self, why: str, fix: str) -> None:
        self._why, self._fix = why, fix
        self._draw()

    def _mark(self, stage: str) -> Cell:
        if stage not in self._texts:
            return Cell("○", Tone.DIM)
        if stage == self._at and self._why:
            return Cell("▲", Tone.BAD)
        if stage in self._open or (stage == self._at and not self.mesh):
            return Cell("◐", Tone.CAUTION)
        return Cell("✓", Tone.GOOD)

    def _draw(self) -> None:
        ended = bool(self.mesh or self._why)
        cells: list[Cell] = []
        for stage, words in STAGES.items():
            mark = self._mark(stage)
            done = mark.tone is Tone.GOOD and stage != "verify"  # who was found goes on being worth a word
            cells += [mark, Cell(f" {words.ljust(LABEL)}", Tone.PLAIN if stage in self._texts else Tone.DIM)]
            text = "" if done else self._texts.get(stage, "")
            cells.append(Cell(f"\n{' ' * (LABEL + 2)}".join(textwrap.wrap(text, WIDE)) + "\n"))
        if self._fingerprint and self._at == "redeem" and not ended:
            cells += [Cell("\nOn a node: 5, then y. It shows the same fingerprint of the mesh as this:\n", Tone.DIM)]
            cells += [Cell(self._fingerprint, Tone.STRONG)]
        if self.mesh:
            cells += [Cell("\n● ", Tone.GOOD), Cell(f"this machine is in {self.mesh}")]
            if self._open:
                cells.append(Cell("; meshd goes on with what is open (◐)", Tone.DIM))
        if self._why:
            cells += [Cell("\n▲ ", Tone.BAD), Cell(self._why)]
            if self._fix:
                cells += [Cell("\n→ ", Tone.DIM), Cell(self._fix, Tone.STRONG)]
        drawn = content(cells if self._texts or ended else [Cell("Asking meshd …", Tone.DIM)])
        self._lines.update(drawn)
        # Textual keeps the height of before where it lays out between two updates; not where a style is another one.
        self._lines.styles.min_height = drawn.plain.count("\n") + 1
        text = "escape: back" if ended else "escape: hide this; the join goes on"
        self._keys.update(content([Cell(text, Tone.DIM)]))
