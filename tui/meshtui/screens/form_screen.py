"""Some fields to fill in, checked while they are typed. What is wrong is said below; enter waits until nothing is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import ModalScreen
from textual.suggester import SuggestFromList
from textual.widgets import Input, Static

from meshtui.listings.listing import Cell
from meshtui.look import Tone
from meshtui.paint import content
from meshtui.widgets.choice import Choice
from meshtui.widgets.entry import Entry

Values = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Field:
    """With `choices` one of them is taken with space; else text is typed. `hidden` shows dots."""

    name: str
    label: str
    value: str = ""
    hint: str = ""
    choices: Sequence[str] = ()
    suggestions: Sequence[str] = ()
    longest: int = 200
    hidden: bool = False


class FormScreen(ModalScreen[Values | None]):
    """Dismissed with the values by name, or None. `judge` gives (what is wrong or "", what is good to know)."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "give_up", "leave it", priority=True),
        Binding("enter", "done", "do it"),
        Binding("question_mark,f1", "app.keys", "keys", show=False),  # a field of text takes ? as a letter
        Binding("down", "app.focus_next", "next field", show=False),
        Binding("up", "app.focus_previous", "previous field", show=False),
    ]

    def __init__(
        self, title: str, text: str, fields: Sequence[Field], yes: str, judge: Callable[[Values], tuple[str, str]]
    ) -> None:
        super().__init__()
        self._title, self._text, self._yes, self._judge = title, text, yes, judge
        self._fields = fields
        self._entries = {field.name: self._entry(field) for field in fields}
        self._reason = Static(classes="reason", markup=False)

    def _entry(self, field: Field) -> Choice | Entry:
        if field.choices:
            return Choice(field.choices, field.value, id=field.name)
        return Entry(
            field.value, placeholder=field.hint, password=field.hidden, max_length=field.longest, compact=True,
            suggester=SuggestFromList(field.suggestions) if field.suggestions else None, id=field.name,
        )  # fmt: skip

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog", can_focus=False):
            yield Static(content([Cell(self._title, Tone.STRONG)]))
            yield Static(content([Cell(self._text, Tone.DIM)]), classes="effect")
            for field in self._fields:
                with Horizontal(classes="field"):
                    yield Static(content([Cell(field.label)]), classes="label")
                    yield self._entries[field.name]
            yield self._reason

    def on_mount(self) -> None:
        self._check()

    @property
    def values(self) -> dict[str, str]:
        return {
            name: entry.value if isinstance(entry, Choice) else entry.value.strip()
            for name, entry in self._entries.items()
        }

    @on(Input.Changed)
    @on(Choice.Changed)
    def _check(self) -> None:
        wrong, known = self._judge(self.values)
        cells = [Cell(wrong, Tone.CAUTION)] if wrong else [Cell(known)] if known else []
        keys = Cell(f"{'' if wrong else f'enter: {self._yes}   '}escape: back, nothing is done", Tone.DIM)
        self._reason.update(content([*cells, Cell("\n" if cells else ""), keys]))

    @on(Input.Submitted)
    def action_done(self) -> None:
        """Not with priority: in a burst of keys, enter comes after the letters before it."""
        values = self.values
        if not self._judge(values)[0]:
            self.dismiss(values)
        else:
            self._check()  # what was right may have become wrong while it stood there

    def action_give_up(self) -> None:
        self.dismiss(None)
