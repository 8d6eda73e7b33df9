"""The story of one row: what it is, how it is reached, what happened to it."""

from __future__ import annotations

from textual.content import Content

from meshtui.listings.listing import Line, Story
from meshtui.look import Tone
from meshtui.paint import STYLES, beside, content
from meshtui.widgets.lines import Lines

LABEL = 10
"""Cells for what a line is about."""


class StoryPanel(Lines):
    def present(self, story: Story, width: int) -> None:
        """Each line of the story on one line, cut at `width`."""
        lines = [beside(story.title, story.aside, width)]
        lines += [_labelled(line, content(line.parts)).truncate(width, ellipsis=True) for line in story.lines]
        self.show(Content("\n").join(lines))

    def present_whole(self, story: Story, width: int) -> None:
        """Everything, wrapped."""
        lines = [content(story.title).truncate(width, ellipsis=True), Content("")]
        for line in (*story.more, *story.lines):
            wrapped = content(line.parts).wrap(max(width - LABEL, 1))
            lines += [_labelled(line if number == 0 else None, part) for number, part in enumerate(wrapped)]
        self.show(Content("\n").join(lines))


def _labelled(line: Line | None, text: Content) -> Content:
    return Content.assemble(((line.label if line else "").ljust(LABEL), STYLES[Tone.DIM]), text)
