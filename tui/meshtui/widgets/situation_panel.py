"""Fills the screen where there is no mesh to show: what is so, and what to type next."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from meshtui.listings.listing import Cell
from meshtui.look import Tone
from meshtui.paint import content
from meshtui.situations import Situation


class SituationPanel(Static):
    def present(self, situation: Situation) -> None:
        widest = max((len(command) for command, _ in situation.commands), default=0)
        lines = [
            content([Cell(f"{situation.shape}  ", situation.tone), Cell(situation.title, Tone.STRONG)]),
            content([Cell(f"   {situation.text}", Tone.DIM)]),
            Content(""),
        ]
        for command, effect in situation.commands:
            text = f"   {command.ljust(widest)}"
            lines.append(content([Cell(text, Tone.STRONG), Cell(f"   {effect}", Tone.DIM)]))
        self.update(Content("\n").join(lines))
