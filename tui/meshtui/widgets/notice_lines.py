"""What a person should know, a line each, above the table; takes no room when there is nothing."""

from __future__ import annotations

from textual.content import Content

from meshtui.listings.listing import Cell
from meshtui.look import Tone
from meshtui.paint import content
from meshtui.situations import answer, notices
from meshtui.view import View
from meshtui.widgets.lines import Lines

MOST = 3


class NoticeLines(Lines):
    def present(self, view: View, whole_answer: bool = False) -> None:
        """With `whole_answer` also what the first line had no room for, over as many lines as it takes."""
        found = notices(view)
        lines: list[Content] = []
        if whole_answer and view.mesh is not None:
            lines += content(answer(view, view.mesh)).wrap(max(self.app.size.width - 2, 1))
        for notice in found[: MOST if len(found) <= MOST else MOST - 1]:
            cells = [Cell(f"{notice.shape} ", notice.tone), Cell(notice.text)]
            if notice.fix:
                cells += [Cell("  → ", Tone.DIM), Cell(notice.fix, Tone.STRONG)]
            lines.append(content(cells).truncate(max(self.app.size.width - 2, 1), ellipsis=True))
        if len(found) > MOST:
            lines.append(content([Cell(f"  and {len(found) - MOST + 1} more: meshctl doctor", Tone.DIM)]))
        self.display = bool(lines)
        self.show(Content("\n").join(lines))
