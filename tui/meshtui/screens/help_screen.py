"""What every key does, and what the shapes mean."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from meshtui.listings.listing import Cell
from meshtui.look import Tone
from meshtui.paint import content

KEYS = (
    ("Move", (
        ("j k ↓ ↑", "next, previous row"), ("g G", "first, last row"), ("ctrl+d ctrl+u", "half a page"),
        ("1 … 8", "tab"), ("tab h l", "next, previous tab"), ("⏎", "details"), ("esc", "back"),
        ("o", "to what it is about"), ("m", "next mesh"),
    )),
    ("Find", (
        ("/", "filter: words that must match, !word must not"), ("s", "sort by the next column"),
        ("S", "sort the other way round"), ("C", "columns: show, hide, sort by any"),
        ("space", "mark, to act on several"),
    )),
    ("Member", (
        ("p", "ping it through the tunnel"), ("c", "copy its address, over SSH too"),
        ("e", "disable or enable it"), ("r", "rename it"), ("A", "make it an admin, or not"),
        ("P", "make a node the primary"), ("d", "remove it from the mesh"), ("i", "make an invite for another"),
    )),
    ("Route", (
        ("a", "publish one"), ("d", "withdraw it"), ("e", "use it or not on this machine"), ("c", "copy it"),
    )),
    ("Invite", (
        ("i", "make one"), ("K", "show it again"), ("d", "revoke it"), ("y d", "let in or refuse a machine that asks"),
    )),
    ("Mesh", (
        ("⏎", "show its members"), ("e", "connect or disconnect this machine"), ("d", "leave it"),
        ("K", "show its cluster key"), ("a n", "join, create another"),
    )),
    ("Topology", (("w", "write it to a file: SVG, DOT, Mermaid, text"),)),
    ("Doctor", (("x", "examine again"), ("c", "copy the fix"))),
    ("Recording", (
        ("space", "pause, go on"), (".", "one step"), ("< >", "slower, faster"),
    )),
    ("Dialog", (
        ("y n", "yes, no"), ("tab ↓ ↑", "next, previous field"), ("space ← →", "another choice"), ("j k", "scroll"),
        ("⏎ esc", "do it, go back"), ("v", "QR code or text"), ("f1", "this, where ? is a letter"),
    )),
    ("Program", (
        (":", "every command by name"), ("T", "next theme"), ("?", "this"), ("q", "quit"),
        ("ctrl+z", "into the background; fg brings it back"),
    )),
)  # fmt: skip
SHAPES = (
    ("●", Tone.GOOD, "online, reached"), ("◐", Tone.CAUTION, "in between"), ("○", Tone.DIM, "offline"),
    ("⊘", Tone.DIM, "disabled"), ("▲", Tone.CAUTION, "look at this"), ("✖", Tone.BAD, "an error"),
    ("①", Tone.CAUTION, "somebody waits for an answer"), ("✓", Tone.PLAIN, "marked, or used up"),
    ("★", Tone.PLAIN, "primary"),
)  # fmt: skip


class HelpScreen(ModalScreen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,f1", "app.pop_screen", "back"),
        Binding("j", "scroll(1)", "down", show=False),
        Binding("k", "scroll(-1)", "up", show=False),
        Binding("ctrl+d,pagedown,space", "scroll(10)", "half a page down", show=False),
        Binding("ctrl+u,pageup", "scroll(-10)", "half a page up", show=False),
        Binding("g,home", "scroll(-1000)", "to the top", show=False),
        Binding("G,end", "scroll(1000)", "to the end", show=False),
    ]

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"), VerticalScroll(can_focus=False):
            for title, keys in KEYS:
                yield Static(content([Cell(title, Tone.STRONG)]))
                for key, text in keys:
                    yield Static(content([Cell(f"  {key:<14}"), Cell(text, Tone.DIM)]))
            yield Static(content([Cell("Shapes", Tone.STRONG)]))
            for shape, tone, text in SHAPES:
                yield Static(content([Cell(f"  {shape:<14}", tone), Cell(text, Tone.DIM)]))
            yield Static(content([Cell("\nEscape goes back.", Tone.DIM)]))

    def action_scroll(self, lines: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)
