"""A secret to hand on, shown once: as text, and as a QR code where the terminal is large enough for one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from meshtui.listings.listing import Cell
from meshtui.look import Tone
from meshtui.paint import content
from meshtui.screens.framed_screen import MARGIN, SIDES, WIDE, FramedScreen


class SecretScreen(FramedScreen[None]):
    """`lines` say what to do with it; `code` is the QR code, "" for none. It stands below the text where both have
    room, else alone, without a frame."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "app.pop_screen", "back"),
        Binding("c", "copy", "copy"),
        Binding("v", "turn", "QR code or text"),
    ]

    def __init__(self, title: str, lines: Sequence[str], secret: str, code: str = "") -> None:
        super().__init__()
        self._title, self._text, self._secret, self._code = title, "\n".join(lines), secret, code
        self._picture = Static(Content.styled(code, "#ffffff on #000000"), classes="code", markup=False)
        self._wide = max((len(line) for line in code.splitlines()), default=0)
        self._high = len(code.splitlines())
        self._said = ""
        self._alone = False

    def body(self) -> Iterable[Widget]:
        yield Static(content([Cell(self._title, Tone.STRONG)]), classes="text")
        yield Static(content([Cell(self._text)]), classes="above below text")
        yield Static(Content.styled(self._secret, "$accent"), classes="secret text")
        yield self._picture

    def inner(self) -> tuple[int, int]:
        columns, lines = super().inner()
        if self._alone:
            return self.app.size
        if self._fits_below():
            return max(WIDE - SIDES, self._wide), lines
        return columns, lines

    def _fits_below(self) -> bool:
        """The code, with the text above it and the keys below it."""
        width, height = self.app.size
        columns = max(WIDE - SIDES, self._wide)
        text = len(content([Cell(self._text)]).wrap(columns)) + -(-len(self._secret) // columns) + 4
        frame = self._foot_lines(columns) + MARGIN + 4
        return (
            bool(self._code)
            and columns + SIDES <= width * 96 // 100
            and text + self._high + frame <= height * 96 // 100
        )

    def _fits_alone(self) -> bool:
        width, height = self.app.size
        return bool(self._code) and self._wide <= width and self._high + self._foot_lines(width) <= height

    def _foot_lines(self, columns: int) -> int:
        """At most: what is said of the clipboard comes later."""
        return 2

    def keys(self) -> Content:
        cells = [Cell(f"{self._said}\n", Tone.GOOD)] if self._said else []
        below = self._fits_below()
        turned = ""
        if not below and self._fits_alone():
            turned = "v: text   " if self._alone else "v: QR code   "
        elif self._code and not below:
            need = f"The QR code needs a terminal of {self._wide} × {self._high + self._foot_lines(self._wide)}.\n"
            cells.append(Cell(need, Tone.DIM))
        cells.append(Cell(f"{turned}c: copy   escape: back", Tone.DIM))
        return content(cells)

    def draw(self) -> None:
        below = self._fits_below()
        self._alone = self._alone and not below and self._fits_alone()
        self._dialog.set_class(self._alone, "bare")
        self._picture.display = below or self._alone
        for one in self.query(".text"):
            one.display = not self._alone
        self._dialog.styles.width = self._wide if self._alone else max(WIDE, self._wide + SIDES) if below else WIDE
        super().draw()
        if self._alone:
            self._body.styles.max_height = self._high

    def action_turn(self) -> None:
        self._alone = not self._alone
        self.draw()

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(self._secret)
        self._said = "✓ it is on the clipboard"
        self.draw()
