"""A question before something is changed: what will happen, and yes or no."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from meshtui.listings.listing import Cell
from meshtui.look import Tone
from meshtui.paint import content


class AskScreen(ModalScreen[bool]):
    """Dismissed with True for yes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "yes"),
        Binding("n,escape,q", "answer(False)", "no"),
    ]

    def __init__(self, question: str, effect: str, yes: str) -> None:
        super().__init__()
        self._question, self._effect, self._yes = question, effect, yes

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(content([Cell(self._question, Tone.STRONG)]))
            yield Static(content([Cell(self._effect)]), classes="effect")
            yield Static(
                Content.assemble(("y", "$accent bold"), f" {self._yes}   ", ("n", "$accent bold"), " keep it as it is")
            )

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)
