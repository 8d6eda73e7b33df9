"""What a person should know about the whole, in words: why there is no table, and what is wrong with the mesh shown.

Every sentence that is not about one row is declared here, with what to do next. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from meshproto.plain_text import plain

from meshtui.format import age
from meshtui.listings.listing import Cell
from meshtui.look import MESHES, Tone
from meshtui.model import LinkState, Mesh, MeshState
from meshtui.view import Replayed, View

TRYING = "trying again every second"
PATIENCE_MS = 3000
"""After this long without the first snapshot, meshd is said to be silent."""


@dataclass(frozen=True, slots=True)
class Situation:
    """Shown in the place of everything else. `commands` are what a person may type next, with what each does."""

    shape: str
    tone: Tone
    title: str
    text: str
    commands: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Notice:
    """One line above the tables."""

    shape: str
    tone: Tone
    text: str
    fix: str = ""


def situation(view: View) -> Situation | None:
    """None when there is a mesh to show."""
    if not view.model.known:
        return _before_the_first_snapshot(view)
    if not view.model.meshes:
        return Situation(
            "⬡",
            Tone.PLAIN,
            "No mesh yet.",
            "This machine is in no mesh. It appears here as soon as it is.",
            ()
            if view.replayed is not None
            else (
                ("a", "joins one, with an invite or a cluster key"),
                ("n", "begins one on this machine, its first node"),
                ("meshctl doctor", "says what would stop a mesh from working here"),
            ),
        )
    if view.mesh is None:
        joined = ", ".join(mesh.name for mesh in view.model.meshes)
        return Situation(
            "▲",
            Tone.CAUTION,
            f"This machine is not in a mesh named {plain(view.wanted)}.",
            f"It is in {joined}: press m to see that.",
        )
    return None


def _before_the_first_snapshot(view: View) -> Situation:
    link = view.link
    if link.state is LinkState.LOST:
        fix = ((link.fix, "in another terminal"),) if link.fix else ()
        return Situation("▲", Tone.BAD, f"{link.reason}.", f"{TRYING[0].upper()}{TRYING[1:]}.", fix)
    if view.now_ms - view.started_ms > PATIENCE_MS:
        return Situation(
            "◐",
            Tone.CAUTION,
            f"meshd has not answered for {age(view.started_ms, view.now_ms).removesuffix(' ago')}.",
            "It was reached, but says nothing. Still waiting.",
            (("sudo systemctl restart meshd", "tunnels stay up meanwhile"), ("journalctl -u meshd", "its log")),
        )
    return Situation("◌", Tone.DIM, "Asking meshd …", "The first snapshot is on its way.")


def answer(view: View, mesh: Mesh) -> list[Cell]:
    """Is this network all right? With the reason where it is not."""
    mark = MESHES[mesh.state]
    cells = [Cell(f"{mesh.name} ", Tone.STRONG), Cell(f"{mark.shape} ", mark.tone), Cell(mark.word)]
    if mesh.reason:
        cells.append(Cell(f": {mesh.reason}", mark.tone))
    return cells


def replay_words(replayed: Replayed) -> list[Cell]:
    """How the recording runs."""
    if replayed.ended:
        return [Cell("■ ", Tone.STRONG), Cell("end of the recording   ")]
    pace = f"{replayed.speed:g}×"
    if replayed.paused:
        return [Cell("‖ ", Tone.STRONG), Cell(f"recording, paused at {pace}   ")]
    return [Cell("▶ ", Tone.STRONG), Cell(f"recording {pace}   ")]


def census(mesh: Mesh) -> str:
    """`4 of 5 online`. Disabled members don't count: they are off by decision."""
    reached, enabled = online(mesh)
    return f"{reached} of {enabled} online"


def online(mesh: Mesh) -> tuple[int, int]:
    """How many, and of how many."""
    enabled = [member for member in mesh.members.values() if member.enabled]
    return sum(member.online or member.is_self for member in enabled), len(enabled)


def broken_link(view: View) -> list[Cell]:
    """Said before everything else while what is shown is old."""
    if view.link.state is LinkState.LIVE or not view.model.known:
        return []
    if view.replayed is not None:
        return [Cell("▲ ", Tone.BAD), Cell(view.link.reason, Tone.BAD)]
    goes_on = "still waiting" if view.link.state is LinkState.SILENT else TRYING
    return [Cell("▲ ", Tone.BAD), Cell(f"{view.link.reason or 'meshd is gone'}, {goes_on}", Tone.BAD)]


def alarms(mesh: Mesh) -> list[str]:
    """What a person should know about a mesh, a sentence each."""
    found = [f"{warning[:1].upper()}{warning[1:]}." for warning in mesh.warnings]
    if not mesh.writable and mesh.state is MeshState.CONNECTED:
        found.append("No change is accepted now: no majority of the nodes answers.")
    return found + [f"{one.name} at {one.source} asks to be let in." for one in mesh.pending]


def _disabled(mesh: Mesh) -> bool:
    own = mesh.own()
    return own is not None and not own.enabled


def notices(view: View) -> list[Notice]:
    """What the first line has no room for. Worst first."""
    found: list[Notice] = []
    if view.link.state is not LinkState.LIVE and view.model.known and view.replayed is None:
        since = age(view.link.since_ms, view.now_ms)
        found.append(Notice("▲", Tone.BAD, f"Below is what meshd said {since}.", view.link.fix))
    mesh = view.mesh
    if mesh is None:
        return found
    if mesh.state is MeshState.DOWN and len(mesh.members) > 1:
        found.append(Notice("○", Tone.DIM, f"Below is what {mesh.name} was like while this machine was connected."))
    if mesh.state is MeshState.STALE:
        since = f" Last word {age(mesh.stale_since_ms, view.now_ms)}." if mesh.stale_since_ms else ""
        fix = "" if _disabled(mesh) else "meshctl doctor"
        found.append(Notice("▲", Tone.BAD, f"Below is what {mesh.name} was like.{since}", fix))
    if not mesh.writable and mesh.state is MeshState.CONNECTED:
        found.append(Notice("▲", Tone.CAUTION, "No change is accepted now: no majority of the nodes answers."))
    found.extend(Notice("▲", Tone.CAUTION, f"{warning[:1].upper()}{warning[1:]}.") for warning in mesh.warnings)
    found.extend(
        Notice("①", Tone.CAUTION, f"{one.name} at {one.source} asks to be let in.", view.hint("5, then y or d"))
        for one in mesh.pending
    )
    return found
