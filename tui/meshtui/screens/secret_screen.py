"""A secret to hand on, shown once: as text, and as a QR code where the terminal is large enough for one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from meshtui.listings.listing import Cell
from meshtui.look import Tone
from meshtui.paint import content

MARGIN = 6
"""Cells that the frame of the dialog takes, in each direction."""


class SecretScreen(ModalScreen[None]):
    """`lines` say what to do with it; `code` is the QR code, "" for none."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "app.pop_screen", "back"),
        Binding("c", "copy", "copy"),
        Binding("j,down", "scroll(1)", "down", show=False),
        Binding("k,up", "scroll(-1)", "up", show=False),
    ]

    def __init__(self, title: str, lines: Sequence[str], secret: str, code: str = "") -> None:
        super().__init__()
        self._title, self._lines, self._secret, self._code = title, lines, secret, code
        self._said = ""

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog", can_focus=False):
            yield Static(content([Cell(self._title, Tone.STRONG)]))
            yield Static(content([Cell("\n".join(self._lines))]), classes="effect")
            yield Static(Content.styled(self._secret, "$accent"), classes="secret")
            yield Static(classes="code", markup=False)
            yield Static(classes="reason", markup=False)

    def on_mount(self) -> None:
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        lines = self._code.splitlines()
        wide, high = max((len(line) for line in lines), default=0), len(lines)
        room = self.app.size.width >= wide + MARGIN and self.app.size.height >= high + len(self._lines) + MARGIN + 8
        code = self.query_one(".code", Static)
        code.display = bool(lines) and room
        self.query_one(".dialog").styles.width = max(72, wide + MARGIN) if room else 72
        if room:
            code.update(Content.styled(self._code, "#ffffff on #000000"))
        cells = [Cell(f"{self._said}\n", Tone.GOOD)] if self._said else []
        if lines and not room:
            cells.append(Cell(f"The QR code needs a terminal of {wide + MARGIN} × {high + 17}.\n", Tone.DIM))
        cells.append(Cell("c: copy   escape: back", Tone.DIM))
        self.query_one(".reason", Static).update(content(cells))

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(self._secret)
        self._said = "✓ it is on the clipboard"
        self._draw()

    def action_scroll(self, lines: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)
