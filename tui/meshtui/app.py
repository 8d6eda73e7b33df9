"""The application: holds the model, keeps it true through the connection, and hands a View to the screens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, ClassVar

from meshproto.recording import Recorder
from textual import events
from textual.app import App
from textual.binding import Binding, BindingType

from meshtui.actions.actions import Actions
from meshtui.clock import Clock
from meshtui.connection import LOOK_S, RETRY_S, Connection, Refused, client_modules
from meshtui.history import History
from meshtui.key_gate import KeyGate, Passed
from meshtui.listings.listing import Cell
from meshtui.look import Tone
from meshtui.mirror import check, fold, merge_events
from meshtui.model import Link, LinkState, Mesh, Model
from meshtui.no_color import NoColour
from meshtui.places import MEMBERS, OVERVIEW
from meshtui.preferences import Preferences, load, save
from meshtui.replay import Replay
from meshtui.screens.main_screen import MainScreen
from meshtui.screens.story_screen import StoryScreen
from meshtui.themes import DEFAULT, THEMES
from meshtui.view import Examination, Replayed, View

if TYPE_CHECKING:
    from meshproto import local_pb2 as wire
    from meshproto.figures import Figures
    from textual.command import Provider
    from textual.filter import LineFilter

    from meshtui.permissions import Subject

MANY = 200
"""Members in an update from which on it is folded in a thread, so that no key waits for it."""

STEADY_MS = 1900
"""A frame this old is drawn anew: as often as meshd says new figures, so that most frames bring both."""
MOVING_MS = 900
"""The same while somebody waits for meshd, or looks at a recording, whose clock shows seconds."""


def _commands() -> type[Provider]:
    from meshtui.commands import Commands

    return Commands


class MeshtuiApp(App[None]):
    TITLE = "meshtui"
    CSS_PATH: ClassVar[list[str | PurePath]] = [
        "screens/main_screen.tcss",
        "screens/story_screen.tcss",
        "screens/dialogs.tcss",
        "screens/palette.tcss",
        "widgets/table.tcss",
        "widgets/listing_pane.tcss",
    ]
    COMMANDS = {_commands}  # noqa: RUF012  # Textual's own declaration
    COMMAND_PALETTE_BINDING = "colon"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("T", "next_theme", "next theme", show=False),
        Binding("ctrl+c", "quit", "quit", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", "into the background", show=False, priority=True),
    ]

    def __init__(
        self,
        socket: Path,
        mesh: str = "",
        theme: str = "",
        clock: Clock | None = None,
        retry_s: float = RETRY_S,
        look_s: float = LOOK_S,
        record: Path | None = None,
        replay: Path | None = None,
        speed: float = 1.0,
        preferences: Path | None = None,
        seen: Callable[[], None] = lambda: None,
    ) -> None:
        """Without `theme` the one that was used last; without `preferences` nothing is kept. `seen` is called once
        there is something to see. Raises NoRecording."""
        super().__init__()
        self._no_colour = (NoColour(lambda: self.current_theme.dark),)
        for one in THEMES:
            self.register_theme(one)
        self._preferences_path = preferences
        self.preferences = load(preferences) if preferences is not None else Preferences()
        known = {one.name for one in THEMES}
        self.theme = next(one for one in (theme, self.preferences.theme, DEFAULT) if one in known)
        self._replay = Replay(replay, self, speed) if replay is not None else None
        if self._replay is not None:
            clock = Clock(self._replay.now_s, clock.zone if clock is not None else None)
        self._recorder = Recorder(record) if record is not None else None
        self._clock = clock or Clock()
        self._started_ms = self._clock.now_ms()
        self._wanted = mesh
        self._mesh_id = self._awaited = ""
        self._begun = False
        self._seen: Callable[[], None] | None = seen
        self.link = Link()
        self.model = Model()
        self._history = History()
        self._examination = Examination()
        self._has_journal = self._recalling = False
        self._main = MainScreen(Actions(self), self.preferences.orders, self.preferences.hidden)
        self._presented_ms = 0
        self.failure: BaseException | None = None
        self.gate = KeyGate(self, super().on_event)
        self.connection = self._replay or Connection(
            socket, self, self._clock.now_ms, retry_s, whole_past=record is not None, look_s=look_s
        )

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's own draws with shades of grey, and on its own ground, where no colour is wanted."""
        return self._no_colour if self.no_color else super().get_line_filters()

    def get_default_screen(self) -> MainScreen:
        return self._main

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Key | events.Paste) and not event.is_forwarded:
            self.gate.put(event)
        else:
            await super().on_event(event)

    def on_passed(self, message: Passed) -> None:
        message.seen.set()

    def on_ready(self) -> None:
        self.run_worker(self.gate.run(), name="keys", group="keys")
        self.present()
        self.set_interval(1.0, self._tick)
        self.app_resume_signal.subscribe(self, self._back_again)
        # gRPC takes a while to import: the first frame comes before it.
        self.call_after_refresh(self._connect)

    def _back_again(self, _: App[object]) -> None:
        """From the background: the terminal has forgotten all, and Textual draws what differs."""
        for widget in self.screen.walk_children(with_self=True):
            widget.refresh()

    def _handle_exception(self, error: Exception) -> None:
        self.failure = self.failure or error
        super()._handle_exception(error)

    def _fatal_error(self) -> None:
        """Textual's own prints the variables of every call, what was pasted among them: main says what happened."""
        self._close_messages_no_wait()

    def _print_error_renderables(self) -> None:
        """The same for errors that Textual draws itself."""
        self._exit_renderables.clear()

    def on_unmount(self) -> None:
        if self._recorder is not None:
            self._recorder.close()

    def _connect(self) -> None:
        self.run_worker(self.connection.run(), name="watch", group="watch")

    # --- what the helper says ---------------------------------------------------------------------------------------

    def link_changed(self, link: Link) -> None:
        if link.state is LinkState.LIVE and self.link.state is not LinkState.LIVE:
            self.run_worker(self._examine_once(), name="doctor", group="doctor", exclusive=True)
            self._has_journal = False
        self.link = link
        self.present()

    async def examine(self) -> None:
        """Has the helper look at this machine. Raises Refused."""
        self._examination = replace(self._examination, running=True, failure="")
        self.present()
        try:
            reply = await self.connection.call("Doctor", 25.0)
        except Refused as error:
            self._examination = replace(self._examination, running=False, failure=str(error))
            self.present()
            raise
        checks = tuple(check(one) for one in reply.checks)
        self._examination = Examination(checks, self._clock.now_ms())
        if self._recorder is not None:
            found = client_modules()[2].WatchUpdate(checks=reply.checks, at_ms=self._clock.now_ms())
            await self._record(found)
        self.present()

    async def _examine_once(self) -> None:
        with suppress(Refused):
            await self.examine()

    async def update_came(self, update: wire.WatchUpdate) -> None:
        await self._record(update)
        members = sum(len(one.members) for one in update.differences)
        members += sum(len(mesh.members) for mesh in update.snapshot.meshes)
        if members > MANY:
            self.model = await asyncio.to_thread(fold, self.model, update)
        else:
            self.model = fold(self.model, update)
        if update.checks:
            self._examination = Examination(tuple(check(one) for one in update.checks), update.at_ms)
        if update.past:
            await self._recall(update)
        self._history.learn(self.model, self._clock.now_ms())
        self.present()

    async def _recall(self, update: wire.WatchUpdate) -> None:
        """Of thousands it takes a moment, in which their table is there already; nothing is learnt meanwhile, for what
        is newer than the past ends it."""
        self.present()
        self._recalling = True
        try:
            await asyncio.to_thread(self._history.recall, update.past)
        finally:
            self._recalling = False

    def ask_for_events(self) -> None:
        """The whole journal of the helper, once on each connection: a snapshot has its end only."""
        if not self._has_journal and self.link.state is LinkState.LIVE:
            self._has_journal = True
            self.run_worker(self._read_journal(), name="journal", group="journal", exclusive=True)

    async def _read_journal(self) -> None:
        """Nothing where it can't be had, as in a recording."""
        found = (await asyncio.to_thread(client_modules))[2].WatchUpdate()
        with suppress(Refused):
            await self.connection.follow("ListEvents", found.events.append)
            await self._record(found)
            self.model = replace(self.model, events=merge_events(self.model.events, found.events))
            self.present()

    async def _record(self, update: wire.WatchUpdate) -> None:
        """In a thread: thousands of members take a moment."""
        recorder, now_ms = self._recorder, self._clock.now_ms()
        if recorder is None:
            return
        try:
            await asyncio.to_thread(lambda: recorder.write(now_ms, self._figures.shortened(update).SerializeToString()))
        except OSError as error:
            recorder.close()
            self._recorder = None
            self.say(Cell("▲ ", Tone.CAUTION), Cell(f"the recording ends here: {error.strerror}"))

    @cached_property
    def _figures(self) -> Figures:
        from meshproto.figures import Figures  # protobuf is there only once meshd is asked

        return Figures()

    def _tick(self) -> None:
        """Ages grow, and values that nobody corrected still hold."""
        now_ms = self._clock.now_ms()
        steady = self.link.state is LinkState.LIVE and self._replay is None
        if now_ms - self._presented_ms >= (STEADY_MS if steady else MOVING_MS):
            if not self._recalling:
                self._history.learn(self.model, now_ms)
            self.present()

    # --- what is shown ----------------------------------------------------------------------------------------------

    def view(self) -> View:
        return View(
            link=self.link,
            model=self.model,
            mesh=self._mesh(),
            wanted=self._wanted,
            started_ms=self._started_ms,
            now_ms=self._clock.now_ms(),
            clock=self._clock,
            history=self._history,
            examination=self._examination,
            replayed=Replayed(one.speed, one.paused, one.ended) if (one := self._replay) is not None else None,
        )

    def _mesh(self) -> Mesh | None:
        """The one chosen with m; else the one named on the command line; else the first."""
        awaited = next((mesh for mesh in self.model.meshes if mesh.name == self._awaited), None)
        if awaited is not None:
            self._mesh_id, self._awaited = awaited.id, ""
        chosen = self.model.mesh(self._mesh_id)
        if chosen is not None:
            return chosen
        if self._wanted:
            return next((mesh for mesh in self.model.meshes if mesh.name == self._wanted), None)
        return next(iter(self.model.meshes), None)

    def present(self) -> None:
        if self._seen is not None and (self.model.known or self.link.state is LinkState.LOST):
            self.call_after_refresh(self._seen)
            self._seen = None
        if self.model.known and not self._begun:
            self._begun = True
            if len(self.model.meshes) > 1 and not self._wanted:
                self._main.begin_with(OVERVIEW)
        view = self.view()
        self._presented_ms = view.now_ms
        for screen in self.screen_stack:
            if isinstance(screen, MainScreen | StoryScreen) and screen.is_mounted:
                screen.present(view)

    def next_mesh(self) -> None:
        meshes = self.model.meshes
        if meshes:
            shown = self._mesh()
            at = meshes.index(shown) + 1 if shown is not None else 0
            self._mesh_id = meshes[at % len(meshes)].id
            self.present()

    def steer(self, how: Callable[[Replay], None]) -> None:
        """A recording, where one is shown."""
        if self._replay is not None:
            how(self._replay)
            self.present()

    def show_mesh(self, name: str) -> None:
        """As soon as it is there."""
        self._awaited = name
        self._main.show_tab(MEMBERS)
        self.present()

    async def go_to(self, subject: Subject) -> None:
        """Its row, whatever screen is open."""
        while len(self.screen_stack) > 1:
            self.pop_screen()
        await self._main.go_to(subject)

    def say(self, *cells: Cell) -> None:
        """On the topmost screen with a status line."""
        for screen in reversed(self.screen_stack):
            if isinstance(screen, MainScreen | StoryScreen):
                screen.say(*cells)
                return

    def prefer(self, preferences: Preferences) -> None:
        self.preferences = preferences
        if self._preferences_path is not None:
            save(self._preferences_path, preferences)

    def action_keys(self) -> None:
        from meshtui.screens.help_screen import HelpScreen

        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen())

    def action_theme(self, name: str) -> None:
        self.theme = name
        self.prefer(replace(self.preferences, theme=name))

    def action_next_theme(self) -> None:
        names = [theme.name for theme in THEMES]
        self.action_theme(names[(names.index(self.theme) + 1) % len(names)])
