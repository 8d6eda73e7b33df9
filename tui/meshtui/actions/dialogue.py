"""The conversation of an action with the person and with the helper. The actions know the app through it only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from meshtui.listings.listing import Cell
from meshtui.look import Tone
from meshtui.screens.ask_screen import AskScreen
from meshtui.screens.form_screen import Field, FormScreen
from meshtui.screens.progress_screen import ProgressScreen
from meshtui.screens.secret_screen import SecretScreen

if TYPE_CHECKING:
    from textual.screen import Screen

    from meshtui.app import MeshtuiApp
    from meshtui.connection import Refused

Values = Mapping[str, str]


class Dialogue:
    def __init__(self, app: MeshtuiApp) -> None:
        self._app = app

    @property
    def now_ms(self) -> int:
        return self._app.view().now_ms

    # --- the person -------------------------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        self._app.say(Cell(text, Tone.DIM))

    def good(self, text: str, aside: str = "") -> None:
        self._app.say(Cell("✓ ", Tone.GOOD), Cell(text), Cell(aside and f"  {aside}", Tone.DIM))

    def caution(self, text: str, aside: str = "") -> None:
        self._app.say(Cell("▲ ", Tone.CAUTION), Cell(text), Cell(aside and f"  {aside}", Tone.DIM))

    def refused(self, why: str, fix: str) -> None:
        cells = [Cell("▲ ", Tone.CAUTION), Cell(why)]
        if fix:
            cells += [Cell("  → ", Tone.DIM), Cell(fix, Tone.STRONG)]
        self._app.say(*cells)

    async def ask(self, question: str, effect: str, yes: str) -> bool:
        screen: Screen[bool] = AskScreen(question, effect, yes)
        return await self._app.push_screen_wait(screen)

    async def form(
        self, title: str, text: str, fields: Sequence[Field], yes: str, judge: Callable[[Values], tuple[str, str]]
    ) -> Values | None:
        screen: Screen[Values | None] = FormScreen(title, text, fields, yes, judge)
        return await self._app.push_screen_wait(screen)

    def secret(self, title: str, lines: Sequence[str], secret: str, code: str = "") -> None:
        self._app.push_screen(SecretScreen(title, lines, secret, code))

    def progress(self, title: str) -> ProgressScreen:
        screen = ProgressScreen(title)
        self._app.push_screen(screen)
        return screen

    def copy(self, text: str) -> None:
        self._app.copy_to_clipboard(text)

    def show_mesh(self, name: str) -> None:
        self._app.show_mesh(name)

    def failed(self, screen: ProgressScreen, error: Refused) -> None:
        screen.fail(str(error), error.fix)

    # --- the helper -------------------------------------------------------------------------------------------------

    async def call(self, method: str, timeout_s: float = 10.0, **fields: Any) -> Any:
        """Raises Refused."""
        return await self._app.connection.call(method, timeout_s, **fields)

    async def follow(self, method: str, heard: Callable[[Any], None], timeout_s: float, **fields: Any) -> None:
        """Raises Refused."""
        await self._app.connection.follow(method, heard, timeout_s, **fields)

    async def examine(self) -> None:
        """Raises Refused."""
        await self._app.examine()
