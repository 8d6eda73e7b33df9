"""A dialog whose last line, with its keys, is always on screen: what stands above it scrolls where it is too long."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Static

FRAME = 4
"""Lines of border and padding, in dialogs.tcss."""
SIDES = 6
WIDE = 72
MARGIN = 1
"""Lines above the last line."""

T = TypeVar("T")


class FramedScreen(ModalScreen[T]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "scroll(1)", "down", show=False),
        Binding("k,up", "scroll(-1)", "up", show=False),
        Binding("ctrl+d,pagedown", "scroll(10)", "half a page down", show=False),
        Binding("ctrl+u,pageup", "scroll(-10)", "half a page up", show=False),
        Binding("question_mark,f1", "app.keys", "keys", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        # Kept: a screen that is left while it is mounted draws itself once more, when a query finds them no longer.
        self._dialog = Vertical(classes="dialog")
        self._body = VerticalScroll(can_focus=False)
        self._foot = Static(classes="reason", markup=False)

    def body(self) -> Iterable[Widget]:
        raise NotImplementedError

    def keys(self) -> Content:
        """The last line."""
        raise NotImplementedError

    def compose(self) -> ComposeResult:
        with self._dialog:
            with self._body:
                yield from self.body()
            yield self._foot

    def on_mount(self) -> None:
        self.draw()

    def on_resize(self) -> None:
        self.draw()

    def inner(self) -> tuple[int, int]:
        """Columns and lines within the frame."""
        width, height = self.app.size
        return max(min(WIDE, width * 96 // 100) - SIDES, 1), max(height * 96 // 100 - FRAME, 1)

    def draw(self) -> None:
        columns, lines = self.inner()
        keys = self.keys()
        self._foot.update(keys)
        self._body.styles.max_height = max(lines - len(keys.wrap(columns)) - MARGIN, 1)

    def action_scroll(self, lines: int) -> None:
        self._body.scroll_relative(y=lines, animate=False)
