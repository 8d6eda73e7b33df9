"""The story of one row on the whole screen, with the actions on it alone; it goes on changing while it is open."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen

from meshtui.actions.actions import Actions
from meshtui.listings.day import Day, day_lines, quarter_lines
from meshtui.listings.listing import Cell, Line, Listing, Story
from meshtui.look import Tone
from meshtui.model import Member
from meshtui.offers import KEYS, Offer, name_of, offers
from meshtui.paint import content
from meshtui.permissions import Subject
from meshtui.places import led_to
from meshtui.screens.help_screen import HelpScreen
from meshtui.view import View
from meshtui.widgets.key_hints import Hint, KeyHints, offer_hints, replay_hints
from meshtui.widgets.lines import Lines
from meshtui.widgets.status_line import StatusLine
from meshtui.widgets.story_panel import LABEL, StoryPanel
from meshtui.widgets.top_line import TopLine


class StoryScreen(Screen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,backspace,left,h", "app.pop_screen", "back"),
        Binding("o", "jump", "go to what it is about"),
        Binding("question_mark", "help", "help"),
        Binding("j", "scroll(1)", "down", show=False),
        Binding("k", "scroll(-1)", "up", show=False),
        Binding("space", "pause", "pause a recording", show=False),
        Binding("full_stop", "step", "one step of a recording", show=False),
        Binding("greater_than_sign", "faster(1)", "a recording faster", show=False),
        Binding("less_than_sign", "faster(-1)", "a recording slower", show=False),
        *(Binding(key, f"do('{key}')", "act on it", show=False) for key in sorted(set(KEYS.values()))),
    ]

    def __init__(self, actions: Actions, listing: Listing[Any], tab: int, key: str, view: View) -> None:
        """Of the row `key` of a tab in the mesh of the view, whichever is selected or chosen later."""
        super().__init__()
        self._actions = actions
        self._listing = listing
        self._tab = tab
        self._key = key
        self._mesh_id = view.mesh.id if view.mesh is not None else ""
        self._latest = self._view = view
        self._row: Any = None
        self._day = Day((), ())
        self._top = TopLine(markup=False)
        self._crumbs = Lines(id="crumbs", markup=False)
        self._story = StoryPanel(markup=False)
        self._status = StatusLine()
        self._keys = KeyHints()

    def compose(self) -> ComposeResult:
        yield self._top
        yield self._crumbs
        with VerticalScroll():
            yield self._story
        yield self._status
        yield self._keys

    def on_mount(self) -> None:
        self.present(self._latest)
        self._ask_for_day()
        self._actions.ask_for_events()
        self.set_interval(60, self._ask_for_day)

    def _ask_for_day(self) -> None:
        for subject in self._subjects():
            if isinstance(subject, Member) and self._view.mesh is not None:
                self._actions.ask_for_day(self._view.mesh, subject, self._show_day)

    def _show_day(self, day: Day) -> None:
        self._day = day
        self.present(self._latest)

    def on_resize(self) -> None:
        self.call_after_refresh(lambda: self.present(self._latest))

    def present(self, view: View) -> None:
        self._latest = view
        self._view = replace(view, mesh=view.model.mesh(self._mesh_id))
        self._row = self._listing.rows(self._view).get(self._key)
        self._top.present(view)
        self._status.let_go(view.now_ms)
        crumbs = [Cell(f"{self._listing.name} › ", Tone.DIM)]
        hints = [Hint("esc", "back", "app.pop_screen")]
        if self._row is None:
            crumbs.append(Cell("it is gone", Tone.DIM))
        else:
            story = self._listing.story(self._row, self._view)
            crumbs.append(Cell(story.title[0].text, Tone.STRONG))
            width = max(self.app.size.width - 4, 1)
            self._story.present_whole(self._with_the_past(story, width), width)
            found = self.offers()
            if view.replayed is not None:
                found = [offer for offer in found if offer.refusal is None]
            if (subject := self._about()) is not None:
                hints.insert(0, Hint("o", f"go to {name_of(subject)}", "jump", rank=1))
            hints = [*offer_hints(found), *hints]
            hints += [Hint(":", "command", "app.command_palette", rank=2), Hint("?", "help", "help", rank=1)]
        if view.replayed is not None:
            hints = [*replay_hints(view.replayed.paused), *hints]
        self._crumbs.show(content(crumbs))
        self._keys.present(hints, self.app.size.width)

    def _with_the_past(self, story: Story, width: int) -> Story:
        """Of a member that is not this machine: in the place of its two short lines."""
        lines = list(story.lines)
        at = next((place for place, line in enumerate(lines) if line.label == "Latency"), len(lines))
        past: list[Line] = []
        if at < len(lines) and isinstance(subject := next(iter(self._subjects()), None), Member):
            past = quarter_lines(subject, self._view, width - LABEL)
            past += day_lines(self._day, self._view.past(subject), self._view.now_ms)
        return replace(story, lines=(*lines[:at], *past, *lines[at + 2 :]))

    def say(self, *cells: Cell) -> None:
        self._status.say(*cells, at_ms=self._latest.now_ms)

    def _subjects(self) -> list[Subject]:
        """What the actions are about: one at most."""
        subject = self._listing.subject(self._row, self._view) if self._row is not None else None
        return [subject] if subject is not None else []

    def offers(self) -> list[Offer]:
        return offers(self._view, self._subjects(), ())

    def action_do(self, key: str) -> None:
        for offer in self.offers():
            if offer.key == key:
                self._actions.do(offer.deed, self._view, self._subjects())
                return

    def _about(self) -> Subject | None:
        subjects = self._subjects()
        return led_to(subjects[0], self._tab, self._view.mesh) if subjects else None

    async def action_jump(self) -> None:
        if (subject := self._about()) is not None:
            await self._actions.go_to(subject)

    def action_pause(self) -> None:
        self._actions.pause()

    def action_step(self) -> None:
        self._actions.step()

    def action_faster(self, steps: int) -> None:
        self._actions.faster(steps)

    def action_help(self) -> None:
        self.app.push_screen(HelpScreen())

    def action_scroll(self, lines: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)

    async def on_key_hints_chosen(self, message: KeyHints.Chosen) -> None:
        await self.run_action(message.action)
