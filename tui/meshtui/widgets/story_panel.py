"""The story of one row: what it is, how it is reached, what happened to it."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from meshtui.listings.listing import Story
from meshtui.look import Tone
from meshtui.paint import STYLES, content

LABEL = 10
"""Cells for what a line is about."""


class StoryPanel(Static):
    def present(self, story: Story | None, width: int) -> None:
        self.update(story_content(story, width) if story is not None else Content(""))


def story_content(story: Story, width: int) -> Content:
    """Each line of the story is one line on screen, cut at `width`."""
    lines = [content(story.title).truncate(width, ellipsis=True)]
    for label, parts in story.lines:
        begin = Content.styled(label.ljust(LABEL), STYLES[Tone.DIM])
        lines.append(Content.assemble(begin, content(parts)).truncate(width, ellipsis=True))
    return Content("\n").join(lines)
