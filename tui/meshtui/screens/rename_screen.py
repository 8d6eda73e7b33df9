"""A new name for a member, checked while it is typed."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from meshtui.listings.listing import Cell
from meshtui.look import Tone
from meshtui.paint import content

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
"""A DNS label, RFC 1123 section 2.1."""


def objection(name: str, old: str, taken: Collection[str]) -> str:
    """Why `name` can't be it; "" when it can."""
    if not name:
        return "a name has at least one letter or digit"
    if not NAME.fullmatch(name):
        return "at most 63 of a–z, 0–9 and -, which neither begins nor ends it"
    if name != old and name in taken:
        return f"{name} is taken by another member"
    return ""


class RenameScreen(ModalScreen[str | None]):
    """Dismissed with the new name, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "give_up", "leave it")]

    def __init__(self, name: str, taken: Collection[str]) -> None:
        super().__init__()
        self._old, self._taken = name, taken

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(content([Cell(f"A new name for {self._old}", Tone.STRONG)]))
            yield Static(content([Cell("Its address and its connections stay; its DNS name changes.", Tone.DIM)]))
            yield Input(self._old, max_length=63, compact=True)
            yield Static(classes="reason", markup=False)

    def on_mount(self) -> None:
        self._check(self._old)

    @on(Input.Changed)
    def _typed(self, message: Input.Changed) -> None:
        self._check(message.value)

    def _check(self, name: str) -> None:
        why = objection(name, self._old, self._taken)
        cells = [Cell(why, Tone.CAUTION)] if why else [Cell("enter renames, escape leaves it", Tone.DIM)]
        self.query_one(".reason", Static).update(content(cells))

    @on(Input.Submitted)
    def _done(self, message: Input.Submitted) -> None:
        if not objection(message.value, self._old, self._taken):
            self.dismiss(message.value if message.value != self._old else None)

    def action_give_up(self) -> None:
        self.dismiss(None)
