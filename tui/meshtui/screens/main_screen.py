"""The main screen: first line, tabs, the listing of the chosen tab, status line and key hints; and its keys."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Input

from meshtui.actions.actions import Actions
from meshtui.listings.doctor import Doctor
from meshtui.listings.events import Events
from meshtui.listings.invites import Invites
from meshtui.listings.listing import Cell, Listing
from meshtui.listings.members import Members
from meshtui.listings.nodes import Nodes
from meshtui.listings.overview import Overview
from meshtui.listings.routes import Routes
from meshtui.listings.topology import Topology
from meshtui.look import Tone
from meshtui.model import Member, Mesh
from meshtui.offers import BEGINNINGS, KEYS, Offer, name_of, offers
from meshtui.permissions import Deed, Subject
from meshtui.places import MEMBERS, led_to, place_of
from meshtui.screens.columns_screen import ColumnsScreen
from meshtui.screens.help_screen import HelpScreen
from meshtui.screens.story_screen import StoryScreen
from meshtui.situations import situation
from meshtui.view import View
from meshtui.widgets.key_hints import Hint, KeyHints, offer_hints, replay_hints
from meshtui.widgets.listing_pane import ListingPane
from meshtui.widgets.notice_lines import NoticeLines
from meshtui.widgets.situation_panel import SituationPanel
from meshtui.widgets.status_line import StatusLine
from meshtui.widgets.tab_bar import TabBar
from meshtui.widgets.table import Table
from meshtui.widgets.top_line import TopLine

REMEMBERED = 30
"""Places that `esc` goes back to."""


class MainScreen(Screen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(str(number), f"tab({number - 1})", f"tab {number}", show=False) for number in range(1, 9)),
        Binding("tab,right,l", "next_tab(1)", "next tab"),
        Binding("shift+tab,left,h", "next_tab(-1)", "previous tab"),
        Binding("o", "jump", "go to what a row is about"),
        Binding("slash", "filter", "filter"),
        Binding("escape", "back", "back"),
        Binding("s", "sort", "sort by the next column"),
        Binding("S", "reverse", "sort the other way round"),
        Binding("C", "columns", "columns"),
        Binding("space", "mark", "mark"),
        Binding("full_stop", "step", "one step of a recording", show=False),
        Binding("greater_than_sign", "faster(1)", "a recording faster", show=False),
        Binding("less_than_sign", "faster(-1)", "a recording slower", show=False),
        *(Binding(key, f"do('{key}')", "act on what is selected", show=False) for key in sorted(set(KEYS.values()))),
        Binding("m", "next_mesh", "next mesh"),
        Binding("question_mark", "help", "help"),
        Binding("q", "app.quit", "quit"),
    ]

    def __init__(
        self, actions: Actions, orders: Mapping[str, tuple[str, bool]], hidden: Mapping[str, frozenset[str]]
    ) -> None:
        """`orders` and `hidden` columns of the tables, by tab, as they were chosen before."""
        super().__init__()
        self._actions = actions
        self.listings: tuple[Listing[Any], ...] = (
            Overview(), Members(), Nodes(), Routes(), Invites(), Topology(), Events(), Doctor(),
        )  # fmt: skip
        self.panes = [
            ListingPane(one, orders.get(one.name), hidden.get(one.name, frozenset())) for one in self.listings
        ]
        self._top = TopLine(markup=False)
        self._tabs = TabBar(self.listings)
        self._notices = NoticeLines(markup=False)
        self._situation = SituationPanel(markup=False)
        self._status = StatusLine()
        self._keys = KeyHints()
        self._active = MEMBERS
        self.view: View | None = None
        self._been: deque[tuple[int, str]] = deque(maxlen=REMEMBERED)
        """Tabs and their rows that were shown before, the latest last."""

    def compose(self) -> ComposeResult:
        yield self._top
        yield self._tabs
        yield self._notices
        yield self._situation
        yield self.pane  # the others are mounted when they are wanted: a quick start
        yield self._status
        yield self._keys

    @property
    def listed(self) -> bool:
        """Whether there is a listing to act on."""
        return self.view is not None and situation(self.view) is None

    @property
    def pane(self) -> ListingPane:
        return self.panes[self._active]

    # --- drawing ----------------------------------------------------------------------------------------------------

    def present(self, view: View) -> None:
        self.view = view
        found = situation(view)
        self._top.present(view)
        self._notices.present(view, self._top.cut)
        self._situation.display = found is not None
        self._tabs.display = found is None
        if found is not None:
            self._situation.present(found)
        else:
            self._tabs.present(view, self._active)
        for number, pane in enumerate(self.panes):
            pane.display = found is None and number == self._active
        if found is None:
            if self.pane.listing.wants_events:
                self._actions.ask_for_events()
            self.pane.present(view)
            if self.focused is None:
                self._focus_table()
        self._status.let_go(view.now_ms)
        self._present_hints()

    def _present_hints(self) -> None:
        view = self.view
        if view is None:
            return
        hints = [
            Hint(":", "command", "app.command_palette", rank=2),
            Hint("?", "help", "help"),
            Hint("q", "quit", "app.quit"),
        ]
        self._status.count(self.pane.count() if self.listed else "")
        looks = []
        if self.listed:
            looks = [
                Hint("⏎", "details", "open", rank=3),
                Hint("/", "filter", "filter", rank=1),
                *([Hint("s", "sort", "sort", rank=6)] if self.pane.sortable() else []),
                Hint("C", "columns", "columns", rank=7),
            ]
            if (subject := self._about()) is not None:
                rank = 1 if isinstance(self.pane.listing, Events) else 2
                looks.insert(1, Hint("o", f"go to {name_of(subject)}", "jump", rank=rank))
            if view.replayed is None and any(isinstance(subject, Member) for subject in self.pane.subjects()):
                looks.insert(0, Hint("space", "mark", "mark", rank=5))
            if len(view.model.meshes) > 1:
                looks.append(Hint("m", "next mesh", "next_mesh"))
            if self._been:
                looks.append(Hint("esc", "back", "back", rank=2))
        if view.replayed is not None:
            hints = [*replay_hints(view.replayed.paused), *looks, *hints]
        else:
            hints = [*offer_hints(self.offers()), *looks, *hints]
        self._keys.present(hints, self.app.size.width)

    def say(self, *cells: Cell) -> None:
        """The answer to an action; without cells, clears it."""
        self._status.say(*cells, at_ms=self.view.now_ms if self.view is not None else 0)

    def on_resize(self) -> None:
        if self.view is not None:
            self.call_after_refresh(self.present, self.view)

    # --- keys -------------------------------------------------------------------------------------------------------

    @on(TabBar.Chosen)
    def _tab_clicked(self, message: TabBar.Chosen) -> None:
        self.show_tab(message.number)

    def show_tab(self, number: int) -> None:
        """Soon."""
        if self._choose(number):
            self.call_later(self._show_chosen)

    async def action_tab(self, number: int) -> None:
        if self._choose(number):
            await self._show_chosen()

    def _choose(self, number: int) -> bool:
        """Whether another tab is to be shown."""
        if number == self._active or not self.listed:
            return False
        self._been.append((self._active, self.pane.table.key))
        self._active = number
        return True

    async def _show_chosen(self) -> None:
        """When it returns, the next key is for the table of the new tab."""
        if not self.pane.is_attached:
            await self.mount(self.pane, before=self._status)
        self._close_filter()
        if self.view is not None:
            self.present(self.view)

    def _focus_table(self) -> None:
        """At once, not through the queue: a key may come before."""
        if self.pane.table.is_attached:
            self.set_focus(self.pane.table)

    def begin_with(self, number: int) -> None:
        """Before anything is shown."""
        self._active = number
        if not self.pane.is_attached:
            self.mount(self.pane, before=self._status)

    async def action_next_tab(self, steps: int) -> None:
        await self.action_tab((self._active + steps) % len(self.listings))

    async def action_jump(self) -> None:
        """From an event to the member, route, invite or request it is about; from a route to its node."""
        if (subject := self._about()) is not None:
            await self.go_to(subject)

    async def go_to(self, subject: Subject) -> None:
        """Its row, on the tab of its kind."""
        if (place := place_of(subject)) is not None:
            await self.action_tab(place[0])
            self.pane.go_to(place[1])
            if not self._status.input.display:
                self._close_filter()  # one that hid the row has ended

    def _about(self) -> Subject | None:
        """What `o` leads to; None where that is the row itself."""
        subjects = self.pane.subjects() if self.listed else []
        return led_to(subjects[0], self._active, self.view.mesh if self.view else None) if subjects else None

    def action_next_mesh(self) -> None:
        self._actions.next_mesh()

    def action_sort(self) -> None:
        self.pane.sort_next()
        self._present_hints()

    def action_reverse(self) -> None:
        self.pane.sort_reversed()
        self._present_hints()

    def action_sort_by(self, title: str) -> None:
        self.pane.sort_by(title, False)
        self._present_hints()

    def action_columns(self) -> None:
        if self.listed:
            self.app.push_screen(ColumnsScreen(self.pane))

    def action_help(self) -> None:
        self.app.push_screen(HelpScreen())

    def action_open(self) -> None:
        pane, view = self.pane, self.view
        if view is None or pane.row() is None:
            return
        if isinstance(mesh := pane.row(), Mesh):
            self._actions.show_mesh(mesh.name)
        else:
            self.app.push_screen(StoryScreen(self._actions, pane.listing, self._active, pane.table.key, view))

    def offers(self, everywhere: bool = False) -> list[Offer]:
        """What may be done now; with `everywhere` also what other tabs begin."""
        if self.view is None or not self.view.model.known:
            return []
        if not self.view.model.meshes:
            return offers(self.view, (), (Deed.JOIN, Deed.CREATE))
        if not self.listed:
            return []
        return offers(self.view, self.pane.subjects(), BEGINNINGS if everywhere else self.pane.listing.begin)

    def action_do(self, key: str) -> None:
        for offer in self.offers():
            if offer.key == key and self.view is not None:
                self._actions.do(offer.deed, self.view, self.pane.subjects() if offer.deed not in BEGINNINGS else ())
                return

    def action_begin(self, deed: str) -> None:
        if self.view is not None:
            self._actions.do(Deed(deed), self.view, ())

    def action_step(self) -> None:
        self._actions.step()

    def action_faster(self, steps: int) -> None:
        self._actions.faster(steps)

    def action_pause(self) -> None:
        self._actions.pause()

    def action_mark(self) -> None:
        if self.view is not None and self.view.replayed is not None:
            self.action_pause()
        elif self.listed:
            self.pane.mark()
            self._present_hints()

    @on(KeyHints.Chosen)
    async def _hint_clicked(self, message: KeyHints.Chosen) -> None:
        await self.run_action(message.action)

    @on(Table.Moved)
    def _moved(self) -> None:
        self.pane.present_story()
        self._present_hints()

    @on(Table.Opened)
    def _opened(self) -> None:
        self.action_open()

    @on(ListingPane.Sorted)
    def _sorted(self, message: ListingPane.Sorted) -> None:
        self._actions.remember_order(message.tab, message.order)
        self._present_hints()

    @on(ListingPane.Arranged)
    def _arranged(self, message: ListingPane.Arranged) -> None:
        self._actions.remember_columns(message.tab, message.hidden)

    @on(Table.HeaderClicked)
    def _header_clicked(self, message: Table.HeaderClicked) -> None:
        if message.other_button:
            self.action_columns()
            return
        self.pane.sort_clicked(message.title)
        self._present_hints()

    # --- filter -----------------------------------------------------------------------------------------------------

    def action_filter(self) -> None:
        if not self.listed:
            return
        self._status.show_filter(True)
        self._status.input.value = self.pane.filter_text
        self._status.input.focus()

    @on(Input.Changed, "#filter")
    def _filter_typed(self, message: Input.Changed) -> None:
        if self._status.input.display:
            self._set_filter(message.value)

    @on(Input.Submitted, "#filter")
    def _filter_done(self) -> None:
        self._close_filter()

    def _set_filter(self, text: str) -> None:
        self.pane.filter_text = text
        if self.view is not None:
            self.pane.present(self.view)
            self._present_hints()

    def _close_filter(self) -> None:
        self._status.show_filter(False)
        text = self.pane.filter_text
        self._status.say(*([Cell(f"/{text}", Tone.STRONG), Cell("  escape shows all", Tone.DIM)] if text else []))
        self._focus_table()

    async def action_back(self) -> None:
        if self.pane.filter_text or self._status.input.display:
            self._set_filter("")
            self._close_filter()
        elif self.pane.marks:
            self.pane.unmark()
            self._present_hints()
        elif self._been and self.listed:
            self._active, key = self._been.pop()
            await self._show_chosen()
            if key in self.pane.table.keys:
                self.pane.go_to(key)
