"""The conversation of an action with the person and with the helper. The actions know the app through it only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

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

T = TypeVar("T")


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

    async def ask(self, question: str, effect: str, yes: str, no: str = "keep it as it is") -> bool:
        return await self._answer(AskScreen(question, effect, yes, no))

    async def form(
        self, title: str, text: str, fields: Sequence[Field], yes: str, judge: Callable[[Values], tuple[str, str]]
    ) -> Values | None:
        return await self._answer(FormScreen(title, text, fields, yes, judge))

    async def _answer(self, screen: Screen[T]) -> T:
        answer = self._app.push_screen(screen, wait_for_dismiss=True)
        self._app.gate.release()
        return await answer

    def secret(self, title: str, lines: Sequence[str], secret: str, code: str = "") -> None:
        self._app.push_screen(SecretScreen(title, lines, secret, code))
        self._app.gate.release()

    def progress(self, title: str) -> ProgressScreen:
        screen = ProgressScreen(title)
        self._app.push_screen(screen)
        self._app.gate.release()
        return screen

    def copy(self, text: str) -> None:
        self._app.copy_to_clipboard(text)

    def show_mesh(self, name: str) -> None:
        self._app.show_mesh(name)

    def failed(self, screen: ProgressScreen, error: Refused) -> None:
        """On the screen, or in the status line where a person has hidden it."""
        if screen in self._app.screen_stack:
            screen.fail(str(error), error.fix)
        else:
            self.refused(str(error), error.fix)

    # --- the helper -------------------------------------------------------------------------------------------------

    async def call(self, method: str, timeout_s: float = 10.0, **fields: Any) -> Any:
        """Raises Refused."""
        self._app.gate.release()
        return await self._app.connection.call(method, timeout_s, **fields)

    async def follow(self, method: str, heard: Callable[[Any], None], timeout_s: float, **fields: Any) -> None:
        """Raises Refused."""
        self._app.gate.release()
        await self._app.connection.follow(method, heard, timeout_s, **fields)

    async def examine(self) -> None:
        """Raises Refused."""
        self._app.gate.release()
        await self._app.examine()


async def from_keyring(use: Callable[..., T], *arguments: Any) -> T:
    """In a thread, since the desktop may ask the person to unlock it. Raises Refused."""
    from meshproto.person_keys import NoKeyring

    from meshtui.connection import Refused

    try:
        return await asyncio.to_thread(use, *arguments)
    except NoKeyring as error:
        raise Refused(str(error), error.fix) from error
