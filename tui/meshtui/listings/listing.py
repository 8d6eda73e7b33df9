"""The form that every listing has: columns that know how to draw, sort and give way, and the story of one row. Pure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from rich.cells import cell_len

from meshtui.look import Mark, Tone
from meshtui.permissions import Deed, Subject
from meshtui.view import View

Row = TypeVar("Row")
GAP = 2
"""Cells between two columns."""
LONGEST = 200
"""Cells of a text that rows are sorted by."""


class Cell(NamedTuple):
    text: str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True)
class Column(Generic[Row]):
    """`draw` gets the row, the view and the width. Sizes in terminal cells.

    A column without `longest` always takes `width`; with it, as much as its rows need, between `width` and `longest`.
    Columns with the highest `rank` go first where there is no room. Then wide ones give way; where even that is not
    enough, those with the highest `late` go. Without either a column stays.
    """

    title: str
    width: int
    draw: Callable[[Row, View, int], Cell]
    order: Callable[[Row, View], Any] | None = None
    longest: int = 0
    right: bool = False
    rank: int = 0
    late: int = 0
    stretches: tuple[int, ...] = ()
    """Widths that it takes where there is room to spare."""
    gap: int = GAP
    """Cells after it."""

    @property
    def sortable(self) -> bool:
        return self.order is not None or bool(self.title)

    def place_of(self, row: Row, view: View) -> Any:
        """What rows are sorted by: its order, else its text."""
        return self.order(row, view) if self.order is not None else self.draw(row, view, self.longest or LONGEST).text


class Placed(NamedTuple):
    """A column's place on the line."""

    column: Column[Any]
    at: int
    width: int


def place(columns: Sequence[Column[Any]], needs: Mapping[str, int], room: int) -> list[Placed]:
    """Which columns are shown, and how wide, in `room` cells. The least telling go first, then wide ones give way."""
    shown = list(columns)

    def wanted(column: Column[Any]) -> int:
        most = min(max(column.width, needs.get(column.title, 0)), column.longest) if column.longest else column.width
        return max(most, len(column.title))

    def least(column: Column[Any]) -> int:
        return max(column.width, len(column.title))

    def gaps() -> int:
        return sum(column.gap for column in shown[:-1])

    while sum(map(wanted, shown)) + gaps() > room and any(column.rank for column in shown):
        shown.remove(max(shown, key=lambda column: column.rank))
    while sum(map(least, shown)) + gaps() > room and any(column.late for column in shown):
        shown.remove(max(shown, key=lambda column: column.late))
    widths = {column.title: wanted(column) for column in shown}
    for column in sorted(shown, key=lambda one: -widths[one.title]):
        over = sum(widths.values()) + gaps() - room
        if over > 0 and column.longest:
            widths[column.title] -= min(over, max(widths[column.title] - column.width, 0))
    spare = room - sum(widths.values()) - gaps()
    for column in shown:
        for width in column.stretches:
            if width - column.width <= spare:
                widths[column.title] = width
    placed, at = [], 0
    for column in shown:
        placed.append(Placed(column, at, widths[column.title]))
        at += widths[column.title] + column.gap
    return placed


class Line(NamedTuple):
    """One line of a story: what it is about, and parts that follow one another."""

    label: str
    parts: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Story:
    """What there is to say about one row. `title` is its name, with what belongs beside it; `aside` stands at the end
    of that line; `more` is what only a screen of its own has room for."""

    title: tuple[Cell, ...]
    lines: tuple[Line, ...] = ()
    aside: tuple[Cell, ...] = ()
    more: tuple[Line, ...] = ()


class Listing(ABC, Generic[Row]):
    """`name` is the tab's; `noun` counts rows, `one` is its singular where that is more than a letter shorter."""

    name: ClassVar[str]
    noun: ClassVar[str]
    one: ClassVar[str] = ""
    follows: ClassVar[bool] = False
    """New rows come at the end, and a cursor at the end stays there."""
    keeps_order: ClassVar[bool] = False
    """Until a person sorts, its rows are always in the order in which they are given."""
    wants_events: ClassVar[bool] = False
    """All that the helper has, not the latest alone."""
    sortable: ClassVar[bool] = True
    """By any of its columns."""
    few: ClassVar[bool] = False
    """Rows: the story of one has room on a small terminal, too."""
    begin: ClassVar[tuple[Deed, ...]] = ()
    """What can be begun where it is shown, whatever is selected."""
    columns: tuple[Column[Row], ...]

    @abstractmethod
    def rows(self, view: View) -> Mapping[str, Row]:
        """By a key that a row keeps, in the order that it has until a person sorts."""

    @abstractmethod
    def words(self, row: Row) -> tuple[str, str]:
        """What the filter looks through: the name, and every field."""

    @abstractmethod
    def story(self, row: Row, view: View) -> Story: ...

    @abstractmethod
    def empty(self, view: View) -> str:
        """Said where there is no row."""

    def hint(self, view: View, count: int) -> str:
        """Said under the last row, where there is room."""
        return ""

    def summary(self, view: View) -> tuple[Cell, ...]:
        """A line above the table; none when empty."""
        return ()

    def badge(self, view: View) -> Mark | None:
        """What waits behind the tab."""
        return None

    def subject(self, row: Row, view: View) -> Subject | None:
        """What the actions on a row are about."""
        return None


def needs(columns: Sequence[Column[Any]], rows: Sequence[Any], view: View) -> dict[str, int]:
    """The longest text of each column whose width depends on it."""
    return {
        column.title: max((cell_len(column.draw(row, view, column.longest).text) for row in rows), default=0)
        for column in columns
        if column.longest
    }
