"""What the palette offers: every action by name, with the reason beside those that are not allowed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from meshtui.offers import BEGINNINGS
from meshtui.screens.main_screen import MainScreen
from meshtui.screens.story_screen import StoryScreen
from meshtui.themes import THEMES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Command(NamedTuple):
    name: str
    help: str
    action: str
    allowed: bool = True


class Commands(Provider):
    def _commands(self) -> Iterator[Command]:
        screen = self.screen
        if isinstance(screen, MainScreen):
            for offer in screen.offers(everywhere=True):
                about = str(offer.refusal) if offer.refusal is not None else offer.about
                begins = offer.deed in BEGINNINGS
                action = f"screen.begin('{offer.deed.value}')" if begins else f"screen.do('{offer.key}')"
                yield Command(offer.title, about, action, offer.refusal is None)
            names = [pane.listing.name.lower() for pane in screen.panes]
            for number, listed in enumerate(names):
                yield Command(f"Show {listed}", f"Key {number + 1}", f"screen.tab({number})")
            yield Command("Filter", "Key /: words that must match, !word must not", "screen.filter")
            yield Command("Sort by the next column", "Key s", "screen.sort")
            for title in filter(None, screen.pane.sortable()):
                yield Command(f"Sort by {title.lower()}", "Shown or hidden", f"screen.sort_by({title!r})")
            yield Command("Columns", "Key C: show, hide, sort by any", "screen.columns")
            yield Command("Sort the other way round", "Key S", "screen.reverse")
        elif isinstance(screen, StoryScreen):
            for offer in screen.offers():
                about = str(offer.refusal) if offer.refusal is not None else offer.about
                yield Command(offer.title, about, f"screen.do('{offer.key}')", offer.refusal is None)
            yield Command("Back to the list", "Key escape", "app.pop_screen")
        for theme in THEMES:
            yield Command(f"Theme: {theme.name}", "Key T goes through them", f"app.theme('{theme.name}')")
        yield Command("Help", "Key ?", "screen.help")
        yield Command("Quit", "Key q; the mesh runs on", "app.quit")

    def _run(self, command: Command) -> Callable[[], Awaitable[object]]:
        async def run() -> None:
            await self.app.run_action(command.action, self.screen)

        return run

    async def discover(self) -> Hits:
        for one in self._commands():
            title = Content.styled(one.name, "" if one.allowed else "dim")
            yield DiscoveryHit(title, self._run(one), text=one.name, help=one.help)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for one in self._commands():
            score = matcher.match(one.name)
            if score > 0:
                title = matcher.highlight(one.name)
                yield Hit(score, title if one.allowed else title.stylize("dim"), self._run(one), help=one.help)
