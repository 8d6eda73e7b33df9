"""A line of text to type, whose cursor stands still: nothing blinks."""

from __future__ import annotations

from textual.reactive import reactive
from textual.widgets import Input


class Entry(Input):
    cursor_blink = reactive(False, init=False)
