"""A line of text to type, whose cursor stands still: nothing blinks."""

from __future__ import annotations

from textual import events
from textual.reactive import reactive
from textual.widgets import Input


class Entry(Input):
    cursor_blink = reactive(False, init=False)

    def _on_paste(self, event: events.Paste) -> None:
        """As if it were typed: as much as has room. Of several lines a secret takes all, for an invite may be wrapped
        or the contents of a file; else the first one that has words."""
        event.prevent_default()
        event.stop()
        lines = [line for line in event.text.splitlines() if line.strip()] or [""]
        text = "\n".join(lines) if self.password else lines[0]
        if event.text.splitlines() == [event.text]:  # without a line's end, as spaces that came at once
            text = event.text
        start, end = sorted(self.selection)
        if self.max_length:
            text = text[: max(self.max_length - len(self.value) + end - start, 0)]
        self.replace(text, start, end)
