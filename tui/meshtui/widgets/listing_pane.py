"""One tab: summary, table, and the story of the selected row below it where there is room."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any, NamedTuple

from meshproto.filter import Filter
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message

from meshtui.listings.listing import Column, Listing, Story
from meshtui.model import Member
from meshtui.paint import content
from meshtui.permissions import Subject
from meshtui.view import View
from meshtui.widgets.lines import Lines
from meshtui.widgets.story_panel import StoryPanel
from meshtui.widgets.table import Table

HIGH_ENOUGH = 30
"""Lines of the terminal from which on the story stands below the table."""
HIGH_ENOUGH_FOR_FEW = 24
"""The same for tables of a few rows."""


class ColumnState(NamedTuple):
    """Of one column. `has_room` says that it is on screen; `sorted` is "", "yes" or "reversed"."""

    title: str
    shown: bool
    has_room: bool
    sorted: str


class ListingPane(Vertical):
    class Sorted(Message):
        """A person chose an order."""

        def __init__(self, tab: str, order: tuple[str, bool]) -> None:
            super().__init__()
            self.tab, self.order = tab, order

    class Arranged(Message):
        """A person chose the columns."""

        def __init__(self, tab: str, hidden: frozenset[str]) -> None:
            super().__init__()
            self.tab, self.hidden = tab, hidden

    def __init__(
        self, listing: Listing[Any], order: tuple[str, bool] | None = None, hidden: frozenset[str] = frozenset()
    ) -> None:
        """`order` is (column title, reversed), `hidden` the columns that are not shown, as it was chosen before."""
        super().__init__()
        self.listing = listing
        self.table = Table(listing)
        self._summary = Lines(classes="summary", markup=False)
        self._empty = Lines(classes="empty", markup=False)
        self._story = StoryPanel(markup=False)
        self.filter_text = ""
        self.marks: set[str] = set()
        self._rows: Mapping[str, Any] = {}
        self._order: list[str] = []
        self._listed: Set[str] = frozenset()
        self._sorted: tuple[str, bool] | None = None
        self._chosen_before = order
        self._view: View | None = None
        self._shown = 0
        self._hidden = hidden & {column.title for column in listing.columns if column.title}
        if self._hidden:
            self.table.show_columns(self._shown_columns())

    def compose(self) -> ComposeResult:
        yield self._summary
        yield self._empty
        yield self.table
        yield self._story

    def row(self) -> Any:
        """The one under the cursor; None when there is none."""
        return self._rows.get(self.table.key)

    def subjects(self) -> list[Subject]:
        """Those marked that the filter shows; without any, the one under the cursor."""
        if self._view is None:
            return []
        rows = [self._rows[key] for key in self._marked()]
        if not rows and (row := self.row()) is not None:
            rows = [row]
        found = [self.listing.subject(row, self._view) for row in rows]
        if len(rows) > 1:  # several are members: what a marked event is about may have become something else
            found = [subject for subject in found if isinstance(subject, Member)]
        # One member may stand in several rows, as in Events.
        return list({id(subject): subject for subject in found if subject is not None}.values())

    def _marked(self) -> list[str]:
        return [key for key in self.table.keys if key in self.marks] if self.marks else []

    def go_to(self, key: str) -> None:
        """Selects this row; a filter that hides it ends."""
        if self._view is not None:
            if key not in self.table.keys:
                self.filter_text = ""
            self.present(self._view)
            self.table.go_to(key)

    def mark(self) -> None:
        """Marks or unmarks the row under the cursor, and goes on to the next."""
        subject = self.subjects()
        if self.table.key and subject and isinstance(subject[0], Member):
            self.marks ^= {self.table.key}
            self.table.action_move(1)
            self._present_again()

    def unmark(self) -> None:
        self.marks.clear()
        self._present_again()

    def _present_again(self) -> None:
        if self._view is not None:
            self.present(self._view)

    def story(self) -> Story | None:
        row = self.row()
        return self.listing.story(row, self._view) if row is not None and self._view is not None else None

    def count(self) -> str:
        total = len(self._rows)
        noun = self.listing.noun if total != 1 else self.listing.one or self.listing.noun.removesuffix("s")
        shown = f"{self._shown} of {total} {noun}" if self.filter_text else f"{total} {noun}"
        if marked := self._marked():
            shown = f"{len(marked)} marked · {shown}"
        if self._sorted is None:
            return shown
        column, reverse = self._sorted
        return f"by {column.lower() or 'state'}{', reversed' if reverse else ''} · {shown}"

    def present(self, view: View) -> None:
        self._view = view
        self._rows = rows = self.listing.rows(view)
        # Rows keep their order until a person asks for another; new ones come at the end.
        if self.listing.keeps_order and self._sorted is None:
            self._order = list(rows)
        elif rows.keys() != self._listed:
            self._order = [key for key in self._order if key in rows]
            self._order += [key for key in rows if key not in self._listed]
        self._listed = rows.keys()
        self.marks &= rows.keys()
        if self._chosen_before is not None and rows:
            before, self._chosen_before = self._chosen_before, None
            self._order_by(*before)
        wanted = Filter.parse(self.filter_text)
        keys = [key for key in self._order if wanted.accepts(*self.listing.words(rows[key]))] if wanted else self._order
        self._shown = len(keys)
        cells = self.listing.summary(view)
        self._summary.display = bool(cells)
        if cells:
            self._summary.show(content(cells))
        self._empty.display = not rows
        self.table.display = bool(rows)
        if not rows:
            self._empty.show(Content(self.listing.empty(view)))
        hint = f"No {self.listing.noun} match /{self.filter_text}. Escape shows all." if rows and not keys else ""
        hint = hint or self.listing.hint(view, len(rows))
        self.table.present(view, rows, keys, self._sorted, hint, frozenset(self.marks))
        self.present_story()

    def present_story(self) -> None:
        width = max(self.app.size.width - 4, 1)
        high = HIGH_ENOUGH_FOR_FEW if self.listing.few else HIGH_ENOUGH
        story = self.story() if self.app.size.height >= high else None
        self._story.display = story is not None
        if story is not None:
            self._story.present(story, width)

    # --- order ------------------------------------------------------------------------------------------------------

    def sort_by(self, title: str, reverse: bool) -> bool:
        """By any column, on screen or not. False when this table has no such order."""
        if self._view is None or title not in self.sortable():
            return False
        self._order_by(title, reverse)
        self.post_message(self.Sorted(self.listing.name, (title, reverse)))
        self.present(self._view)
        return True

    def sortable(self) -> list[str]:
        """Titles of the columns that have an order, on screen or not."""
        return [one.title for one in self.listing.columns if one.sortable] if self.listing.sortable else []

    def _order_by(self, title: str, reverse: bool) -> None:
        column = next((one for one in self.listing.columns if one.title == title), None)
        if column is not None and title in self.sortable() and self._view is not None:
            order, view = column.place_of, self._view
            self._sorted = title, reverse
            self._order = sorted(self._order, key=lambda key: order(self._rows[key], view), reverse=reverse)

    def sort_next(self) -> None:
        """By the next column, on screen or not."""
        titles = self.sortable()
        if titles:
            at = titles.index(self._sorted[0]) + 1 if self._sorted and self._sorted[0] in titles else 0
            self.sort_by(titles[at % len(titles)], False)

    def sort_reversed(self) -> None:
        """By the column that it is sorted by; before a person sorted, by the first one."""
        title, reverse = self._sorted or (next(iter(self.sortable()), ""), False)
        self.sort_by(title, not reverse)

    def sort_clicked(self, title: str) -> bool:
        """The other way round where it is sorted by that already."""
        return self.sort_by(title, self._sorted == (title, False))

    # --- columns ----------------------------------------------------------------------------------------------------

    def _shown_columns(self) -> list[Column[Any]]:
        return [column for column in self.listing.columns if column.title not in self._hidden]

    def column_states(self) -> list[ColumnState]:
        """Of those that have a title."""
        placed = self.table.placed()
        by, reverse = self._sorted or ("", False)
        return [
            ColumnState(
                title, title not in self._hidden, title in placed, ("reversed" if reverse else "yes") * (title == by)
            )
            for title in (column.title for column in self.listing.columns)
            if title
        ]

    def turn_column(self, title: str) -> bool:
        """Hides a column, or shows it again. False when it is the last one."""
        hidden = self._hidden ^ {title}
        if all(one.title in hidden for one in self.column_states()):
            return False
        self._arrange(hidden)
        return True

    def show_all_columns(self) -> None:
        self._arrange(frozenset())

    def _arrange(self, hidden: frozenset[str]) -> None:
        self._hidden = hidden
        self.table.show_columns(self._shown_columns())
        self.post_message(self.Arranged(self.listing.name, hidden))
        self._present_again()
