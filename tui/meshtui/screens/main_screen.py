"""The main screen: first line, tabs, the listing of the chosen tab, status line and key hints; and its keys."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Input

from meshtui.actions import Actions
from meshtui.listings.events import Events
from meshtui.listings.listing import Cell
from meshtui.listings.members import Members
from meshtui.listings.nodes import Nodes
from meshtui.listings.routes import Routes
from meshtui.look import Tone
from meshtui.permissions import Deed, refusal
from meshtui.screens.help_screen import HelpScreen
from meshtui.screens.story_screen import StoryScreen
from meshtui.situations import situation
from meshtui.view import View
from meshtui.widgets.key_hints import Hint, KeyHints
from meshtui.widgets.listing_pane import ListingPane
from meshtui.widgets.notice_lines import NoticeLines
from meshtui.widgets.situation_panel import SituationPanel
from meshtui.widgets.status_line import StatusLine
from meshtui.widgets.tab_bar import TabBar
from meshtui.widgets.table import Table
from meshtui.widgets.top_line import TopLine

SAID_MS = 8000
"""How long the answer to an action stays."""


class MainScreen(Screen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(str(number), f"tab({number - 1})", f"tab {number}", show=False) for number in range(1, 5)),
        Binding("tab,right,l", "next_tab(1)", "next tab"),
        Binding("shift+tab,left,h", "next_tab(-1)", "previous tab"),
        Binding("slash", "filter", "filter"),
        Binding("escape", "back", "back"),
        Binding("s", "sort", "sort by the next column"),
        Binding("S", "reverse", "sort the other way round"),
        Binding("c", "act('copy')", "copy address"),
        Binding("p", "act('ping')", "ping"),
        Binding("e", "act('enable')", "enable or disable"),
        Binding("r", "act('rename')", "rename"),
        Binding("m", "next_mesh", "next mesh"),
        Binding("question_mark", "help", "help"),
        Binding("q", "app.quit", "quit"),
    ]

    def __init__(self, actions: Actions) -> None:
        super().__init__()
        self._actions = actions
        self.listings = (Members(), Nodes(), Routes(), Events())
        self._active = 0
        self.view: View | None = None
        self._said_ms = 0

    def compose(self) -> ComposeResult:
        yield TopLine(markup=False)
        yield TabBar(self.listings)
        yield NoticeLines(markup=False)
        yield SituationPanel(markup=False)
        for listing in self.listings:
            yield ListingPane(listing)
        yield StatusLine()
        yield KeyHints()

    @property
    def listed(self) -> bool:
        """Whether there is a listing to act on."""
        return self.view is not None and situation(self.view) is None

    @property
    def panes(self) -> list[ListingPane]:
        return list(self.query(ListingPane))

    @property
    def pane(self) -> ListingPane:
        return self.panes[self._active]

    # --- drawing ----------------------------------------------------------------------------------------------------

    def present(self, view: View) -> None:
        self.view = view
        found = situation(view)
        self.query_one(TopLine).present(view)
        self.query_one(NoticeLines).present(view)
        panel = self.query_one(SituationPanel)
        panel.display = found is not None
        tabs = self.query_one(TabBar)
        tabs.display = found is None
        if found is not None:
            panel.present(found)
        else:
            tabs.present(view, self._active)
        for number, pane in enumerate(self.panes):
            pane.display = found is None and number == self._active
        if found is None:
            self.pane.present(view)
        if self._said_ms and view.now_ms - self._said_ms > SAID_MS:
            self.say()
        self._present_hints()

    def _present_hints(self) -> None:
        view = self.view
        if view is None:
            return
        status = self.query_one(StatusLine)
        hints = [
            Hint(":", "command", "app.command_palette", rank=1),
            Hint("?", "help", "help"),
            Hint("q", "quit", "app.quit"),
        ]
        if situation(view) is None:
            status.count(self.pane.count())
            member = self.pane.member()
            deeds = [
                Hint(key, text, f"act('{deed.value}')", refusal(deed, view, member) is None)
                for key, text, deed in (
                    ("p", "ping", Deed.PING),
                    ("c", "copy", Deed.COPY),
                    ("e", "enable" if member is not None and not member.enabled else "disable", Deed.ENABLE),
                    ("r", "rename", Deed.RENAME),
                )
            ]
            looks = [Hint("⏎", "details", "open"), Hint("/", "filter", "filter"), Hint("s", "sort", "sort", rank=2)]
            if len(view.model.meshes) > 1:
                looks.append(Hint("m", "next mesh", "next_mesh"))
            hints = [*(deeds if member is not None else []), *looks, *hints]
        else:
            status.count("")
        self.query_one(KeyHints).present(hints, self.app.size.width)

    def say(self, *cells: Cell) -> None:
        """The answer to an action; without cells, clears it."""
        self._said_ms = self.view.now_ms if cells and self.view is not None else 0
        self.query_one(StatusLine).say(*cells)

    def on_mount(self) -> None:
        self.pane.table.focus()

    def on_resize(self) -> None:
        if self.view is not None:
            self.call_after_refresh(self.present, self.view)

    # --- keys -------------------------------------------------------------------------------------------------------

    @on(TabBar.Chosen)
    def _tab_clicked(self, message: TabBar.Chosen) -> None:
        self.action_tab(message.number)

    def action_tab(self, number: int) -> None:
        if number == self._active or not self.listed:
            return
        self._active = number
        self._close_filter()
        if self.view is not None:
            self.present(self.view)
        self.pane.table.focus()

    def action_next_tab(self, steps: int) -> None:
        self.action_tab((self._active + steps) % len(self.listings))

    def action_next_mesh(self) -> None:
        self._actions.next_mesh()

    def action_sort(self) -> None:
        self.pane.sort_next()
        self._present_hints()

    def action_reverse(self) -> None:
        self.pane.sort_reversed()
        self._present_hints()

    def action_help(self) -> None:
        self.app.push_screen(HelpScreen())

    def action_open(self) -> None:
        pane = self.pane
        if self.view is not None and pane.row() is not None:
            self.app.push_screen(StoryScreen(pane.listing.name, pane.story, self.view))

    def action_act(self, deed: str) -> None:
        view = self.view
        if view is not None and self.listed:
            self._actions.do(Deed(deed), view, self.pane.member())

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

    @on(Table.HeaderClicked)
    def _header_clicked(self, message: Table.HeaderClicked) -> None:
        self.pane.sort_clicked(message.title)
        self._present_hints()

    # --- filter -----------------------------------------------------------------------------------------------------

    def action_filter(self) -> None:
        if not self.listed:
            return
        status = self.query_one(StatusLine)
        status.show_filter(True)
        status.input.value = self.pane.filter_text
        status.input.focus()

    @on(Input.Changed, "#filter")
    def _filter_typed(self, message: Input.Changed) -> None:
        if self.query_one(StatusLine).input.display:
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
        status = self.query_one(StatusLine)
        status.show_filter(False)
        text = self.pane.filter_text
        self.say(*([Cell(f"/{text}", Tone.STRONG), Cell("  escape shows all", Tone.DIM)] if text else []))
        self._said_ms = 0
        self.pane.table.focus()

    def action_back(self) -> None:
        if self.pane.filter_text or self.query_one(StatusLine).input.display:
            self._set_filter("")
            self._close_filter()
