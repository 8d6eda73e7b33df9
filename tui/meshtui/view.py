"""What a frame is made from, in one value. Widgets get it through `present(view)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from meshtui.clock import Clock
from meshtui.history import History, Past
from meshtui.model import Check, Event, Link, Member, Mesh, Model


@dataclass(frozen=True, slots=True)
class Examination:
    """What doctor found last; `failure` is why it could not be asked, "" when it could."""

    checks: tuple[Check, ...] = ()
    at_ms: int = 0
    running: bool = False
    failure: str = ""


class Replayed(NamedTuple):
    """That a recording is shown, and how it runs."""

    speed: float
    paused: bool
    ended: bool


@dataclass(frozen=True, slots=True)
class View:
    """`mesh` is the chosen one; `wanted` what the command line asked for, "" when nothing."""

    link: Link
    model: Model
    mesh: Mesh | None
    wanted: str
    started_ms: int
    now_ms: int
    clock: Clock
    history: History
    examination: Examination = Examination()
    replayed: Replayed | None = None

    def hint(self, text: str) -> str:
        """What a person may do; nothing in a recording, where nothing can be done."""
        return text if self.replayed is None else ""

    def events(self) -> tuple[Event, ...]:
        """Those of the chosen mesh and those of the helper itself, newest last."""
        name = self.mesh.name if self.mesh else ""
        return tuple(event for event in self.model.events if event.mesh in ("", name))

    def past(self, member: Member) -> Past:
        return self.history.of(self.mesh.id if self.mesh else "", member.id)

    def moment(self, at_ms: int) -> str:
        """`14:02:11` today, `11-19 14:02` earlier; a dash for never."""
        if at_ms <= 0:
            return "–"
        then, now = self.clock.local(at_ms), self.clock.local(self.now_ms)
        return f"{then:%H:%M:%S}" if then.date() == now.date() else f"{then:%m-%d %H:%M}"

    def day(self, at_ms: int) -> str:
        return f"{self.clock.local(at_ms):%Y-%m-%d %H:%M}" if at_ms > 0 else "–"
