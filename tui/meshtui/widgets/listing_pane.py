"""One tab: summary, table, and the story of the selected row below it where there is room."""

from __future__ import annotations

from typing import Any

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from meshtui.filter import Filter
from meshtui.listings.listing import Listing, Story
from meshtui.model import Member
from meshtui.paint import content
from meshtui.view import View
from meshtui.widgets.story_panel import StoryPanel
from meshtui.widgets.table import Table

HIGH_ENOUGH = 30
"""Lines of the terminal from which on the story stands below the table."""


class ListingPane(Vertical):
    def __init__(self, listing: Listing[Any]) -> None:
        super().__init__()
        self.listing = listing
        self.table = Table(listing)
        self._summary = Static(classes="summary", markup=False)
        self._empty = Static(classes="empty", markup=False)
        self._story = StoryPanel(markup=False)
        self.filter_text = ""
        self._rows: dict[str, Any] = {}
        self._order: list[str] = []
        self._sorted: tuple[str, bool] | None = None
        self._view: View | None = None
        self._shown = 0

    def compose(self) -> ComposeResult:
        yield self._summary
        yield self._empty
        yield self.table
        yield self._story

    def row(self) -> Any:
        """The one under the cursor; None when there is none."""
        return self._rows.get(self.table.key)

    def member(self) -> Member | None:
        row = self.row()
        return self.listing.member(row, self._view) if row is not None and self._view is not None else None

    def story(self) -> Story | None:
        row = self.row()
        return self.listing.story(row, self._view) if row is not None and self._view is not None else None

    def count(self) -> str:
        total = len(self._rows)
        noun = self.listing.noun if total != 1 else self.listing.noun.removesuffix("s")
        shown = f"{self._shown} of {total} {noun}" if self.filter_text else f"{total} {noun}"
        if self._sorted is None:
            return shown
        column, reverse = self._sorted
        return f"by {column.lower() or 'state'}{', reversed' if reverse else ''} · {shown}"

    def present(self, view: View) -> None:
        self._view = view
        self._rows = rows = self.listing.rows(view)
        # Rows keep their order until a person asks for another; new ones come at the end.
        known = set(self._order)
        self._order = [key for key in self._order if key in rows]
        self._order += [key for key in rows if key not in known]
        wanted = Filter.parse(self.filter_text)
        keys = [key for key in self._order if wanted.accepts(*self.listing.words(rows[key]))] if wanted else self._order
        self._shown = len(keys)
        cells = self.listing.summary(view)
        self._summary.display = bool(cells)
        if cells:
            self._summary.update(content(cells))
        self._empty.display = not rows
        self.table.display = bool(rows)
        if not rows:
            self._empty.update(self.listing.empty(view))
        hint = f"No {self.listing.noun} match /{self.filter_text}. Escape shows all." if rows and not keys else ""
        self.table.present(view, rows, keys, self._sorted, hint or self.listing.hint(view, len(rows)))
        self.present_story()

    def present_story(self) -> None:
        width = max(self.app.size.width - 4, 1)
        story = self.story() if self.app.size.height >= HIGH_ENOUGH else None
        self._story.display = story is not None
        if story is not None:
            self._story.present(story, width)

    # --- order ------------------------------------------------------------------------------------------------------

    def sort_by(self, title: str, reverse: bool) -> None:
        column = next((one for one in self.listing.columns if one.title == title), None)
        if column is None or column.order is None or self._view is None:
            return
        self._sorted = title, reverse
        order, view = column.order, self._view
        self._order.sort(key=lambda key: order(self._rows[key], view), reverse=reverse)
        self.present(view)

    def sort_next(self) -> None:
        """By the next column that is shown."""
        titles = [column.title for column in self.table.sortable()]
        if titles:
            at = titles.index(self._sorted[0]) + 1 if self._sorted and self._sorted[0] in titles else 0
            self.sort_by(titles[at % len(titles)], False)

    def sort_reversed(self) -> None:
        if self._sorted is None:
            self.sort_next()
        else:
            self.sort_by(self._sorted[0], not self._sorted[1])

    def sort_clicked(self, title: str) -> None:
        self.sort_by(title, self._sorted == (title, False))
