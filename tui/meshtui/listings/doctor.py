"""Doctor: what would stop a mesh from working on this machine, and the fix for each."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

from meshtui.format import age
from meshtui.listings.listing import Cell, Column, Line, Listing, Story
from meshtui.look import Mark, Tone
from meshtui.model import Check, Severity
from meshtui.permissions import Deed
from meshtui.view import View

CHECKS = {
    Severity.INFO: Mark("●", Tone.GOOD, "good"),
    Severity.WARNING: Mark("▲", Tone.CAUTION, "warning"),
    Severity.ERROR: Mark("✖", Tone.BAD, "error"),
}
ORDER = (Severity.ERROR, Severity.WARNING, Severity.INFO)


def _mark(check: Check, view: View, width: int) -> Cell:
    mark = CHECKS[check.severity]
    return Cell(mark.shape, mark.tone)


class Doctor(Listing[Check]):
    name = "Doctor"
    noun = "checks"
    keeps_order = True
    begin: ClassVar[tuple[Deed, ...]] = (Deed.EXAMINE,)
    columns = (
        Column("", 1, _mark, lambda check, view: ORDER.index(check.severity), gap=1),
        Column("CHECK", 12, lambda check, view, width: Cell(check.name), lambda check, view: check.name, longest=24),
        Column("FOUND", 20, lambda check, view, width: Cell(check.found), longest=90),
        Column("FIX", 16, lambda check, view, width: Cell(check.fix, Tone.STRONG), longest=90, late=1),
    )  # fmt: skip

    def rows(self, view: View) -> dict[str, Check]:
        """What is wrong comes first. Two meshes may have a check of the same name."""
        named: Counter[str] = Counter()
        rows = {}
        for check in view.examination.checks:
            rows[f"{check.name}/{named[check.name]}"] = check
            named[check.name] += 1
        return dict(sorted(rows.items(), key=lambda one: ORDER.index(one[1].severity)))

    def words(self, row: Check) -> tuple[str, str]:
        return row.name, f"{row.name} {row.found} {row.fix} {CHECKS[row.severity].word}"

    def subject(self, row: Check, view: View) -> Check:
        return row

    def empty(self, view: View) -> str:
        if view.replayed is not None:
            return "No examination is in this recording, up to here."
        if view.examination.failure:
            return f"The examination failed: {view.examination.failure}. Key x tries again."
        return "Examining this machine …"

    def summary(self, view: View) -> tuple[Cell, ...]:
        checks = view.examination.checks
        if not checks:
            return ()
        bad = sum(check.severity is not Severity.INFO for check in checks)
        when = f"Examined {age(view.examination.at_ms, view.now_ms)}"
        found = Cell(f"{bad} to look at", Tone.CAUTION) if bad else Cell("nothing wrong", Tone.GOOD)
        again = Cell(" · examining again …" if view.examination.running else view.hint(" · x examines again"), Tone.DIM)
        return Cell(f"{when}: ", Tone.DIM), found, again

    def badge(self, view: View) -> Mark | None:
        worst = min((ORDER.index(check.severity) for check in view.examination.checks), default=2)
        return CHECKS[ORDER[worst]] if worst < 2 else None

    def story(self, row: Check, view: View) -> Story:
        mark = CHECKS[row.severity]
        lines = [Line("State", (Cell(f"{mark.shape} ", mark.tone), Cell(mark.word))), Line("Found", (Cell(row.found),))]
        if row.fix:
            lines.append(Line("Fix", (Cell(row.fix, Tone.STRONG), Cell("   c copies it", Tone.DIM))))
        return Story((Cell(row.name, Tone.STRONG),), tuple(lines))
