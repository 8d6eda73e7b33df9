"""A table of any listing. Draws only the rows on screen, and redraws only those that read differently."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import Any, ClassVar, NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from meshtui.format import fit
from meshtui.listings.listing import Cell, Column, Listing, Placed, needs, place
from meshtui.look import Tone
from meshtui.view import View

GUTTER = 2
"""Cells before the first column: the cursor, and the mark of a marked row."""

SETTLED_MS = 15_000
"""For how long all texts of a column must have been shorter before it gives up what it doesn't need."""

RESTING_MS = 5_000
"""For how long a cursor that a person moved stays on its row before it follows new ones."""

MEASURED = 40
"""Rows whose width is looked at again in each frame."""


class Drawn(NamedTuple):
    """A line on screen."""

    key: str
    chosen: bool
    """Under the cursor."""
    marked: bool
    cells: tuple[Cell, ...]


class Table(ScrollView, can_focus=True):
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "table--header", "table--sorted", "table--hint", "table--cursor", "table--cursor-blur",
        *(f"table--{tone.value}" for tone in Tone),
    }  # fmt: skip
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("pageup,ctrl+b", "page(-1)", "page up", show=False),
        Binding("pagedown,ctrl+f", "page(1)", "page down", show=False),
        Binding("ctrl+u", "page(-0.5)", "half a page up", show=False),
        Binding("ctrl+d", "page(0.5)", "half a page down", show=False),
        Binding("home,g", "edge(False)", "first row", show=False),
        Binding("end,G", "edge(True)", "last row", show=False),
        Binding("enter", "open", "open", show=False),
    ]

    class Moved(Message):
        """The cursor came to another row, or its row is gone."""

    class Opened(Message):
        """Enter, or a second click, on a row."""

    class HeaderClicked(Message):
        def __init__(self, title: str, other_button: bool) -> None:
            super().__init__()
            self.title, self.other_button = title, other_button

    def __init__(self, listing: Listing[Any], **options: Any) -> None:
        super().__init__(**options)
        self.listing = listing
        self._columns: Sequence[Column[Any]] = listing.columns
        self.key = ""
        """Of the row under the cursor; "" when there is none."""
        self._follows = listing.follows
        """The cursor is on the last row, or was until new ones came."""
        self._moved_ms = 0
        """When a person moved the cursor last."""
        self._keys: Sequence[str] = ()
        self._places: dict[str, int] = {}
        self._rows: Mapping[str, Any] = {}
        self._view: View | None = None
        self._needs: dict[str, int] = {}
        self._lately: dict[str, int] = {}
        """What `_needs` becomes when `SETTLED_MS` are over and every row was measured since `_lately_from`."""
        self._lately_from = 0
        self._measured: Collection[str] = ()
        self._measure_from = 0
        self._layout_of: tuple[int, tuple[int, ...]] | None = None
        self._placed: list[Placed] = []
        self._lines: dict[int, Drawn | None] = {}
        """By row, those that were on screen last."""
        self._strips: dict[int, Strip] = {}
        """The same as they are drawn, by their place on screen."""
        self._styles: dict[tuple[Tone, bool], Style] = {}
        self._sorted: tuple[str, bool] | None = None
        self._hint = ""
        self._marks: frozenset[str] = frozenset()

    # --- what is shown ----------------------------------------------------------------------------------------------

    def present(
        self,
        view: View,
        rows: Mapping[str, Any],
        keys: Sequence[str],
        order: tuple[str, bool] | None,
        hint: str,
        marks: frozenset[str],
    ) -> None:
        """`keys` are those of `rows` to be shown, in order; `order` is (column title, reversed) for the arrow."""
        # What was seen under the cursor must still be there when a key acts on it.
        follows = self._follows and not (self.key and 0 <= view.now_ms - self._moved_ms < RESTING_MS)
        at, before = self._index(), self.key
        self._view, self._rows, self._marks = view, rows, marks
        if keys != self._keys:
            self._keys = keys
            self._places = {key: place for place, key in enumerate(keys)}
        if order != self._sorted or hint != self._hint:
            self._sorted, self._hint = order, hint
            self._redraw()
        if follows and keys:
            self._select(keys[-1])
        elif self.key not in self._places:
            self._select(keys[min(at, len(keys) - 1)] if keys else "")
            self._follows = self.listing.follows and at >= len(keys) - 1
        if self.virtual_size != (size := Size(self.size.width, len(keys) + 1)):
            self.virtual_size = size
        if follows and self.key != before:
            self._show_cursor()
        self._place_columns()
        self._refresh_changed()

    def _index(self) -> int:
        return self._places.get(self.key, 0)

    def _place_columns(self) -> None:
        if self._view is None:
            return
        wanted = needs(self._columns, self._to_measure(), self._view)
        self._needs |= {title: max(width, self._needs.get(title, 0)) for title, width in wanted.items()}
        self._lately |= {title: max(width, self._lately.get(title, 0)) for title, width in wanted.items()}
        # Columns shrink late, so that nothing jumps when the longest text gets shorter for a moment.
        if not self._measure_from and not 0 <= self._view.now_ms - self._lately_from < SETTLED_MS:
            self._needs, self._lately, self._lately_from = self._lately, dict(wanted), self._view.now_ms
        basis = self.size.width, tuple(self._needs.values())
        if basis != self._layout_of:
            self._layout_of = basis
            self._placed = place(self._columns, self._needs, max(self.size.width - GUTTER - 1, 0))
            self._redraw()

    def _to_measure(self) -> list[Any]:
        """Rows that were never measured, those on screen, and some of the rest in turn: all of 3,000 cost 40 ms."""
        rows = self._rows
        keys = [key for key in rows if key not in self._measured]
        self._measured = rows.keys()
        first = self.scroll_offset.y
        keys += self._keys[first : first + self.size.height]
        keys += list(islice(rows, self._measure_from, self._measure_from + MEASURED))
        self._measure_from = self._measure_from + MEASURED if self._measure_from + MEASURED < len(rows) else 0
        return [rows[key] for key in keys]

    def _redraw(self) -> None:
        self._forget_drawn()
        self.refresh()

    def _forget_drawn(self) -> None:
        self._lines.clear()
        self._strips.clear()
        self._styles.clear()

    def _refresh_changed(self) -> None:
        """Asks for what differs from what is on screen: of most lines a few cells."""
        first = self.scroll_offset.y
        before, self._lines = self._lines, {}
        for y in range(1, self.size.height):
            index = first + y - 1
            line = self._lines[index] = self._line_of(index)
            was = before.get(index)
            if line != was or index not in before:
                self._strips.pop(y, None)
                self.refresh(*self._difference(y, was, line))

    def _difference(self, y: int, was: Drawn | None, now: Drawn | None) -> list[Region]:
        if was is None or now is None or was[:3] != now[:3] or len(was.cells) != len(now.cells):
            return [Region(0, y, self.size.width, 1)]
        changed = zip(self._placed, was.cells, now.cells, strict=True)
        return [Region(GUTTER + one.at, y, one.width, 1) for one, old, new in changed if old != new]

    def _line_of(self, index: int) -> Drawn | None:
        if index >= len(self._keys) or self._view is None:
            return None
        key = self._keys[index]
        row, view = self._rows[key], self._view
        cells = tuple(one.column.draw(row, view, one.width) for one in self._placed)
        return Drawn(key, key == self.key, key in self._marks, cells)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Textual's own looks for border, padding and links around every line, which there are not."""
        background, filters = self.background_colors[1], self.get_line_filters()
        strips = []
        for y in crop.line_range:
            if (strip := self._strips.get(y)) is None:
                strip = self._strips[y] = self.render_line(y)
            for one in filters:
                strip = strip.apply_filter(one, background)
            strips.append(strip.crop(crop.x, crop.right))
        return strips

    def render_line(self, y: int) -> Strip:
        if y == 0:
            return self._header()
        index = self.scroll_offset.y + y - 1
        line = self._lines[index] if index in self._lines else self._line_of(index)
        self._lines[index] = line
        if line is None:
            return self._below(y)
        _, chosen, marked, cells = line
        gutter = f"{'▸' if chosen else ' '}{'✓' if marked else ' '}"
        segments = [Segment(gutter, self._style(Tone.STRONG, chosen))]
        for one, cell in zip(self._placed, cells, strict=True):
            text = fit(cell.text, one.width, one.column.right) + " " * one.column.gap
            segments.append(Segment(text, self._style(cell.tone, chosen)))
        return Strip(segments).adjust_cell_length(self.size.width, self._style(Tone.PLAIN, chosen))

    def _header(self) -> Strip:
        base = self.get_component_rich_style("table--header")
        segments = [Segment(" " * GUTTER, base)]
        title, reverse = self._sorted or ("", False)
        for one in self._placed:
            name = one.column.title
            sorted_by = bool(name) and name == title
            gap = " " * one.column.gap
            if sorted_by:
                arrow = "↓" if reverse else "↑"
                if len(name) + 2 <= one.width:
                    name = f"{name} {arrow}"
                else:
                    gap = arrow + gap[1:]
            style = self.get_component_rich_style("table--sorted") if sorted_by else base
            segments.append(Segment(fit(name, one.width, one.column.right), style))
            segments.append(Segment(gap, style))
        return Strip(segments).adjust_cell_length(self.size.width, base)

    def _below(self, y: int) -> Strip:
        base = self._style(Tone.PLAIN, False)
        if self._hint and y == len(self._keys) + 2 - self.scroll_offset.y:
            style = self.get_component_rich_style("table--hint")
            return Strip([Segment("  " + fit(self._hint, max(self.size.width - 2, 0)), style)])
        return Strip.blank(self.size.width, base)

    def _style(self, tone: Tone, chosen: bool) -> Style:
        found = self._styles.get((tone, chosen))
        if found is None:
            found = self.get_component_rich_style(f"table--{tone.value}")
            if chosen:
                cursor = self.get_component_rich_style("table--cursor" if self.has_focus else "table--cursor-blur")
                found += Style(bgcolor=cursor.bgcolor)
            self._styles[tone, chosen] = found
        return found

    # --- moving -----------------------------------------------------------------------------------------------------

    def _select(self, key: str) -> None:
        if key != self.key:
            self.key = key
            self.post_message(self.Moved())

    def move_to(self, index: int) -> None:
        if not self._keys or self._view is None:
            return
        index = max(0, min(index, len(self._keys) - 1))
        self._select(self._keys[index])
        self._follows = self.listing.follows and index == len(self._keys) - 1
        self._moved_ms = self._view.now_ms
        self._show_cursor()
        self._refresh_changed()

    @property
    def keys(self) -> Sequence[str]:
        """Of the rows that are listed, in order."""
        return self._keys

    def go_to(self, key: str) -> None:
        if key in self._places:
            self.move_to(self._places[key])

    def _show_cursor(self) -> None:
        index, rows = self._index(), max(self.size.height - 1, 1)
        first = self.scroll_offset.y
        if index < first:
            self.scroll_to(y=index, animate=False)
        elif index >= first + rows:
            self.scroll_to(y=index - rows + 1, animate=False)

    def action_move(self, steps: int) -> None:
        self.move_to(self._index() + steps)

    def action_page(self, pages: float) -> None:
        self.move_to(self._index() + int(pages * max(self.size.height - 2, 1)))

    def action_edge(self, last: bool) -> None:
        self.move_to(len(self._keys) - 1 if last else 0)

    def action_open(self) -> None:
        if self.key:
            self.post_message(self.Opened())

    def on_click(self, event: events.Click) -> None:
        if event.y == 0:
            for one in self._placed:
                if one.at <= event.x - GUTTER < one.at + one.width + one.column.gap and one.column.sortable:
                    self.post_message(self.HeaderClicked(one.column.title, event.button > 1))
            return
        index = self.scroll_offset.y + event.y - 1
        if index < len(self._keys):
            self.move_to(index)
            if event.chain > 1:
                self.action_open()

    def on_resize(self) -> None:
        self.virtual_size = Size(self.size.width, len(self._keys) + 1)
        self._place_columns()
        self._show_cursor()
        self._redraw()

    def on_focus(self) -> None:
        self._redraw()

    def on_blur(self) -> None:
        self._redraw()

    def show_columns(self, columns: Sequence[Column[Any]]) -> None:
        """Those of the listing that are to be shown where there is room."""
        self._columns, self._layout_of, self._measured = columns, None, ()
        self._place_columns()
        self._refresh_changed()

    def placed(self) -> frozenset[str]:
        """Titles of the columns on screen."""
        return frozenset(one.column.title for one in self._placed)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._forget_drawn()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        self._strips.clear()
        super().watch_scroll_y(old_value, new_value)
