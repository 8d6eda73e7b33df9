"""Text that is drawn again only where it reads differently, and laid out again only where its size changes."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static


class Lines(Static):
    _shown: Content | None = None

    def show(self, text: Content) -> None:
        """As it is, without markup."""
        before, self._shown = self._shown, text
        if before is not None and before.is_same(text):
            return
        self.update(text, layout=before is None or not self._fits(before, text))

    def _fits(self, before: Content, text: Content) -> bool:
        width = self.styles.width
        if width is not None and width.is_auto and before.cell_length != text.cell_length:
            return False
        return before.plain.count("\n") == text.plain.count("\n")
